"""`factory.audit`: a lower bound beside each epsilon that a run claims.

    audit("runs/dp_text")    ->  AuditReport(steps=(StepAudit("dp_lora", claimed=1.99, findings=(…)),))

The mechanism of each claim is run on canaries (`factory.privacy.auditing`); where canaries took part in the training itself,
what it remembers of them is measured on the trained artifact (`factory.privacy.canaries`). What was found goes into
`privacy.json`, the manifest and the card of the run. An audit finds faults; it never shows that something is safe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError, UserError
from factory.manifest import card, file_hash
from factory.privacy import canaries as canary_texts
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.auditing import MOST_DELTA, Finding, play, setting_of, taking_part
from factory.privacy.claim import Audit, Claim, decoded, encoded
from factory.privacy.one_run import CONFIDENCE
from factory.privacy.randomness import Randomness, SecureRandomness, SeededRandomness
from factory.rundir import RunDir

CLAIM: Final = "privacy.json"
MADE_BY: Final = "factory audit"
EXIT_HELD, EXIT_VIOLATION = 0, 5
REFERENCES = 256
WHITE_BOX, CANARIES = "white-box", "canaries"
ARITHMETIC_ERROR = 1e-3


class Scorer(Protocol):
    """Loss of each text under what was trained."""

    def __call__(self, folder: Path, texts: Sequence[str], labels: Sequence[str]) -> Sequence[float]:
        """From the folder of the artifact, the texts and their classes."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """How much a trained thing remembers of canaries.

    Attributes:
        taking_part: Canaries that were trained on.
        mean: Their mean exposure in bits; about 1.4 for a model that remembers none.
        most: The largest.
        possible: The largest that there can be.
    """

    taking_part: int
    mean: float
    most: float
    possible: float


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One audit of a step.

    Attributes:
        kind: `white-box` or `canaries`.
        finding: The bound, and what it is compared with.
        seed: Seed of its randomness; None for that of the operating system.
        remembered: Of canaries.
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
        note: Why there are none, or what they cannot see; empty for nothing to say.
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
        canaries: Whether to score canaries that took part in the training.
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
        claims = _claims(run, manifest)
        seeds = [None if seed is None else seed + number for number in range(repeats)]
        done = tuple(_step(run, claim, steps, seeds, scorer if canaries else None, canaries) for claim in claims)
        _file(run, manifest, done)
    return AuditReport(name=run.path.resolve().name, steps=done)


def _claims(run: RunDir, manifest: dict[str, Any]) -> list[Claim]:
    """Claims of the steps, as their files have them."""
    listed = (manifest.get("privacy") or {}).get("claims") or []
    if not listed:
        raise UserError(
            f"{run.path}: no step of this run claims differential privacy, so that there is nothing to audit."
        )
    found = []
    for each in listed:
        path = run.artifacts / str(each.get("step")) / CLAIM
        try:
            found.append(decoded(path.read_bytes()))
        except (OSError, msgspec.DecodeError) as error:
            raise RunDirError(
                f"{path}: the claim cannot be read ({error}); run the recipe again in this directory, which makes it anew."
            ) from error
        if _bare(msgspec.to_builtins(found[-1])) != _bare(each):
            raise RunDirError(
                f"{path}: differs from the claim in the manifest; run the recipe again in this directory, which makes both."
            )
    return found


def _bare(claim: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in json.loads(json.dumps(claim)).items() if name not in ("audits", "format")}


def _step(
    run: RunDir, claim: Claim, steps: int | None, seeds: Sequence[int | None], scorer: Scorer | None, canaries: bool
) -> StepAudit:
    if not claim.private or claim.epsilon is None or claim.noise_multiplier <= 0:
        why = f": {claim.why_not}" if claim.why_not else ""
        return StepAudit(claim=claim, recomputed=None, found=(), note=f"claims no epsilon{why}; nothing to audit")
    spent = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=claim.steps)
    setting = setting_of(claim, steps)
    confidence = 1 - (1 - CONFIDENCE) / len(seeds)
    found = [
        Found(
            kind=WHITE_BOX,
            finding=play(setting, _randomness(seed), delta=claim.delta, confidence=confidence),
            seed=seed,
        )
        for seed in seeds
    ]
    found += list(_remembered(run, claim, scorer)) if canaries else []
    return StepAudit(claim=claim, recomputed=epsilon([spent], claim.delta) + claim.epsilon_counts, found=tuple(found))


def _randomness(seed: int | None) -> Randomness:
    return SecureRandomness() if seed is None else SeededRandomness(seed)


def _remembered(run: RunDir, claim: Claim, scorer: Scorer | None) -> Iterator[Found]:
    """What the trained artifact shows of each file of canaries."""
    for path in sorted((run.artifacts / claim.step).rglob(canary_texts.FILE)):
        try:
            drawn = canary_texts.decoded(path.read_bytes())
        except msgspec.DecodeError as error:
            raise RunDirError(f"{path}: no file of canaries ({error}).") from error
        if any(canary.included for canary in drawn):
            yield _score(path.parent, drawn, claim, scorer or _scorer())


def _scorer() -> Scorer:
    from factory.privacy.scoring import losses

    return losses


def _score(folder: Path, drawn: Sequence[canary_texts.Canary], claim: Claim, scorer: Scorer) -> Found:
    labels = sorted({canary.label for canary in drawn} - {""})
    others = canary_texts.draw(REFERENCES, SecureRandomness(), labels)
    every = [*drawn, *others]
    losses = scorer(folder, [each.text for each in every], [each.label for each in every])
    own, coins = list(losses[: len(drawn)]), [canary.included for canary in drawn]
    left_out = [loss for loss, coin in zip(own, coins, strict=True) if not coin] + list(losses[len(drawn) :])
    exposures = canary_texts.exposure([loss for loss, coin in zip(own, coins, strict=True) if coin], left_out)
    delta = min(claim.delta, MOST_DELTA)
    share = taking_part(claim.sample_rate, claim.steps)
    spent = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=claim.steps)
    finding = Finding(
        bound=canary_texts.canary_bound([-loss for loss in own], coins, delta, share=share),
        claimed=epsilon([spent], delta),
        delta=delta,
        steps=claim.steps,
        unpaid=0,
    )
    remembered = Remembered(
        taking_part=len(exposures),
        mean=float(np.mean(exposures)),
        most=max(exposures),
        possible=math.log2(len(left_out) + 1),
    )
    return Found(kind=CANARIES, finding=finding, remembered=remembered)


# --- where it is written ------------------------------------------------------------------------------


def _file(run: RunDir, manifest: dict[str, Any], done: Sequence[StepAudit]) -> None:
    """Into the claims, then the card, then the manifest; each file whole or as it was."""
    for step in done:
        claim = msgspec.structs.replace(step.claim, audits=_audits(step))
        write_whole(run.artifacts / claim.step / CLAIM, encoded(claim))
        plain = msgspec.to_builtins(claim.audits)
        listed = [each for each in manifest["privacy"]["claims"] if each.get("step") == claim.step]
        listed += [each["privacy"] for each in manifest["steps"] if each["step"] == claim.step and each.get("privacy")]
        for each in listed:
            each["audits"] = plain
    data = run.path / "data"
    if data.is_dir() and (run.path / "README.md").exists():
        size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        write_whole(run.path / "README.md", card(manifest, size, file_hash(data)).encode())
    run.write_manifest(manifest)


def _audits(step: StepAudit) -> tuple[Audit, ...]:
    """The highest bound of each kind; what was found to be violated before stays so until the run is made anew."""
    best = {each.kind: each for each in step.claim.audits if each.violation}
    for found in sorted(step.found, key=lambda each: each.finding.bound.lower):
        earlier = best.get(found.kind)
        if found.finding.violation or earlier is None or not earlier.violation:
            best[found.kind] = _entry(found)
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
    encoded_ = msgspec.json.encode({"made_by": MADE_BY, "violation": report.violation, "audit": report})
    write_whole(Path(path), msgspec.json.format(encoded_, indent=2) + b"\n")
