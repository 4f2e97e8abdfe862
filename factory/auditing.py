"""`factory.audit`: a lower bound beside each epsilon that a run claims.

    audit("runs/dp_text")    ->  AuditReport(name="dp_text", steps=(StepAudit(claim=…, found=(…)),))

The mechanism of each claim is run on canaries (`factory.privacy.auditing`); where canaries took part in the training itself,
what it remembers of them is measured on the trained artifact (`factory.canary_auditing`). What was found goes into
`privacy.json`, the manifest and the card of the run. An audit finds faults; it never shows that something is safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from factory.canary_auditing import Remembered, Scorer, losses_under, read_canaries, remembered
from factory.card import card
from factory.claims import FILE, claims_of, not_private
from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError, UserError
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.auditing import Finding, play, setting_of
from factory.privacy.canaries import FILE as CANARIES_FILE
from factory.privacy.claim import Audit, Claim, decoded, encoded
from factory.privacy.one_run import CONFIDENCE
from factory.privacy.randomness import SecureRandomness, SeededRandomness
from factory.rundir import RunDir

MADE_BY: Final = "factory audit"
EXIT_HELD, EXIT_VIOLATION = 0, 5
WHITE_BOX, CANARIES, ACCOUNTANT = "white-box", "canaries", "accountant"
ARITHMETIC_ERROR = 1e-3


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One audit of a step.

    Attributes:
        kind: `white-box` or `canaries`.
        finding: The bound, and what it is compared with.
        seed: Seed of its randomness; None for that of the operating system.
        remembered: Of canaries that took part in the training.
    """

    kind: str
    finding: Finding
    seed: int | None = None
    remembered: Remembered | None = None


class StepAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about the claim of a step.

    Attributes:
        claim: The claim.
        recomputed: Epsilon of its noise, rate, steps and counts, by the accountant; None where nothing is claimed.
        found: The audits.
        note: Why there are none; empty where there are.
    """

    claim: Claim
    recomputed: float | None
    found: tuple[Found, ...]
    note: str = ""

    @property
    def understated(self) -> bool:
        """Whether less is claimed than what the claim says was done costs."""
        claimed = self.claim.epsilon
        return self.recomputed is not None and claimed is not None and self.recomputed > claimed + ARITHMETIC_ERROR

    @property
    def violation(self) -> bool:
        """Whether the claim does not hold."""
        return self.understated or any(each.finding.violation for each in self.found)


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit of a run found.

    Attributes:
        name: Of the run directory.
        steps: One for each claim.
    """

    name: str
    steps: tuple[StepAudit, ...]

    @property
    def violation(self) -> bool:
        """Whether a claim does not hold."""
        return any(step.violation for step in self.steps)

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return EXIT_VIOLATION if self.violation else EXIT_HELD


def audit(
    directory: str | Path,
    *,
    steps: int | None = None,
    canaries: bool = True,
    seed: int | None = None,
    repeats: int = 1,
    scorer: Scorer | None = None,
) -> AuditReport:
    """Audit the claims of a run, and write what was found into its claims, manifest and card.

    Args:
        directory: Run directory.
        steps: Steps of training to audit; by default as many as cost an epsilon of 2, at most 300.
        canaries: Whether to look at canaries that took part in the training.
        seed: Of the first audit, for one that can be repeated; by default the operating system's randomness.
        repeats: How many times the mechanism is audited; all bounds hold together.
        scorer: Computes losses under what was trained; that of the factory by default.

    Raises:
        UserError: If it is no run, claims nothing, or is in use.
    """
    if repeats < 1 or (steps is not None and steps < 1):
        raise UserError("audit: expected at least one step and one repetition.")
    run = RunDir(Path(directory))
    run.require_manifest()
    with run.locked():
        manifest = run.require_manifest()
        seeds = [None if seed is None else seed + number for number in range(repeats)]
        done = []
        for claim in _claims(run, manifest):
            found = _mechanism(claim, steps, seeds) if _claims_something(claim) else []
            if found and canaries:
                found += _memory(run, manifest, claim, scorer)
            done.append(_step(claim, found))
        _file(run, manifest, done)
    return AuditReport(name=run.path.resolve().name, steps=tuple(done))


def _claims(run: RunDir, manifest: dict[str, Any]) -> list[Claim]:
    """Claims of the steps, as their files have them; the manifest must say the same."""
    listed = claims_of(manifest)
    if not listed:
        why = not_private(manifest)
        raise UserError(
            f"{run.path}: no step of this run claims differential privacy, so that there is nothing to audit."
            f"{f' {why}' if why else ''}"
        )
    held = []
    for claim in listed:
        path = run.artifacts / claim.step / FILE
        try:
            found = decoded(path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise RunDirError(
                f"{path}: the claim cannot be read ({error}); run the recipe again in this directory, which makes it anew."
            ) from error
        if msgspec.structs.replace(found, audits=claim.audits) != claim:
            raise RunDirError(
                f"{path}: differs from the claim in the manifest; run the recipe again in this directory, which makes both."
            )
        held.append(found)
    return held


def _claims_something(claim: Claim) -> bool:
    return claim.private and claim.epsilon is not None and claim.noise_multiplier > 0 and claim.steps > 0


def _step(claim: Claim, found: Sequence[Found]) -> StepAudit:
    if not _claims_something(claim):
        why = f" ({claim.why_not})" if claim.why_not else ""
        return StepAudit(
            claim=claim, recomputed=None, found=(), note=f"claims no finite epsilon{why}: nothing to audit"
        )
    spent = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=claim.steps)
    cost = epsilon([spent], claim.delta) + claim.epsilon_counts
    return StepAudit(claim=claim, recomputed=cost, found=tuple(found))


def _mechanism(claim: Claim, steps: int | None, seeds: Sequence[int | None]) -> list[Found]:
    """The mechanism on canaries, once for each seed."""
    setting = setting_of(claim, steps)
    confidence = 1 - (1 - CONFIDENCE) / len(seeds)
    found = []
    for seed in seeds:
        randomness = SecureRandomness() if seed is None else SeededRandomness(seed)
        finding = play(setting, randomness, delta=claim.delta, confidence=confidence)
        found.append(Found(kind=WHITE_BOX, finding=finding, seed=seed))
    return found


def _memory(run: RunDir, manifest: dict[str, Any], claim: Claim, scorer: Scorer | None) -> Iterator[Found]:
    """What the trained artifact remembers, where canaries took part."""
    folder = run.artifacts / claim.step
    for path in sorted(folder.rglob(CANARIES_FILE)):
        drawn = read_canaries(path)
        if scorer is None:
            options = _options(manifest, claim.step)
            scorer = losses_under(folder, str(options.get("model", "embedded")), options.get("revision"))
        kept = remembered(drawn, claim, scorer)
        yield Found(kind=CANARIES, finding=kept.finding, remembered=kept)


def _options(manifest: dict[str, Any], step: str) -> dict[str, Any]:
    """Options of a step, as the recipe has them."""
    written = [next(iter(each.values())) for each in manifest["recipe"]["steps"]]
    return next((options for told, options in zip(manifest["steps"], written, strict=True) if told["step"] == step), {})


# --- where it is written ------------------------------------------------------------------------------


def _file(run: RunDir, manifest: dict[str, Any], done: Sequence[StepAudit]) -> None:
    """Into the claims, then the card, then the manifest; each file whole or as it was."""
    for step in done:
        claim = msgspec.structs.replace(step.claim, audits=_audits(step))
        write_whole(run.artifacts / claim.step / FILE, encoded(claim))
        listed = [each for each in manifest["privacy"]["claims"] if each["step"] == claim.step]
        listed += [each["privacy"] for each in manifest["steps"] if each["step"] == claim.step and each.get("privacy")]
        for each in listed:
            each["audits"] = msgspec.to_builtins(claim.audits)
    data = run.path / "data"
    if data.is_dir() and (run.path / "README.md").exists():
        write_whole(run.path / "README.md", card(manifest, data, run.recipe_text()).encode())
    run.write_manifest(manifest)


def _audits(step: StepAudit) -> tuple[Audit, ...]:
    """The highest bound of each kind; what was found to be violated before stays so until the run is made anew."""
    best = {each.kind: each for each in step.claim.audits if each.violation}
    for found in sorted(step.found, key=lambda each: (each.finding.violation, each.finding.bound.lower)):
        if found.finding.violation or found.kind not in best or not best[found.kind].violation:
            best[found.kind] = _entry(found)
    if step.understated and step.recomputed is not None:
        best[ACCOUNTANT] = Audit(kind=ACCOUNTANT, lower_bound=step.recomputed, confidence=1.0, violation=True)
    return tuple(best.values())


def _entry(found: Found) -> Audit:
    finding = found.finding
    return Audit(
        kind=found.kind,
        lower_bound=finding.bound.lower,
        confidence=CONFIDENCE,
        violation=finding.violation,
        claimed=finding.claimed,
        delta=finding.delta,
        steps=finding.steps,
        canaries=finding.bound.canaries,
    )


def check_out(path: str | Path) -> None:
    """Make sure that writing there takes the place of nothing but an earlier audit.

    Raises:
        RunDirError: If something else lies there, or there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise RunDirError(f"{path}: there is no folder {path.parent}.")
    if not path.exists():
        return
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("made_by") != MADE_BY:
        raise RunDirError(f"{path}: exists and is no audit; choose another file.")


def write(report: AuditReport, path: str | Path) -> None:
    """Write everything as JSON, whole or not at all.

    Raises:
        DiskError: If it cannot be written.
    """
    found = msgspec.json.encode({"made_by": MADE_BY, "violation": report.violation, "audit": report})
    write_whole(Path(path), msgspec.json.format(found, indent=2) + b"\n")
