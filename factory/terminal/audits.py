"""What `factory audit` prints: for each claim the lower bound, what it is compared with, and what an audit cannot see.

dp_lora claims (1.99, 1e-05)-differential privacy: 60 steps, noise 1.01, sample rate 0.04

audit      lower bound  claimed  at most  right      steps  canaries
---------  -----------  -------  -------  ---------  -----  --------
white-box         0.31     1.94     3.12  141 of 200     60     1,000
"""

from __future__ import annotations

from factory.auditing import CANARIES, AuditReport, Found, StepAudit
from factory.privacy.claim import Claim, shown
from factory.terminal.layout import fill, printable, table

HEADINGS = ("audit", "lower bound", "claimed", "at most", "right", "steps", "canaries")
LIMITS = (
    "An audit is a lower bound, at 95 % confidence: it finds faults such as noise or clipping that is missing, and never "
    "shows that something is safe. It does not see half of the noise, or a batch that is clipped as a whole; the "
    "factory's own tests look for these.",
    "lower bound: epsilon is at least this; claimed: epsilon of the audited steps by the accountant; at most: what the "
    "audit could have shown, all guesses right; right: guesses that were.",
)
FEW_BITS = 1.44  # mean exposure of a text like any other: log2(e)


def audit_text(report: AuditReport) -> str:
    """Each claim, then what an audit is worth."""
    parts = [_step(step) for step in report.steps]
    if any(step.found for step in report.steps):
        parts += [*map(fill, LIMITS)]
    if report.violation:
        parts.append(fill("VIOLATION: a claim does not hold. Do not publish what this run made."))
    return printable("\n\n".join(parts))


def _step(step: StepAudit) -> str:
    name = step.claim.step
    if not step.found:
        return fill(f"{name} {step.note}.")
    lines = [fill(f"{name} {_claim(step.claim)}"), "", table(HEADINGS, [_row(each) for each in step.found])]
    notes = [*_notes(step), *(_remembered(each) for each in step.found if each.remembered is not None)]
    return "\n".join([*lines, *([""] if notes else []), *map(fill, notes)])


def _claim(claim: Claim) -> str:
    clipped = f", clipping norm {claim.max_grad_norm:g}" if claim.max_grad_norm is not None else ""
    return (
        f"claims ({shown(claim.epsilon)}, {claim.delta:.3g})-differential privacy for adding or removing {claim.unit}: "
        f"{claim.steps:,} {'step' if claim.steps == 1 else 'steps'}, noise {claim.noise_multiplier:g}{clipped}, sample "
        f"rate {claim.sample_rate:.4g}"
    )


def _row(found: Found) -> tuple[str, ...]:
    finding, bound = found.finding, found.finding.bound
    return (
        found.kind if found.seed is None else f"{found.kind}, seed {found.seed}",
        f"{bound.lower:.2f}",
        shown(finding.claimed),
        f"{bound.ceiling:.2f}",
        f"{bound.correct} of {bound.guesses}",
        f"{finding.steps:,}",
        f"{bound.canaries:,}",
    )


def _notes(step: StepAudit) -> list[str]:
    notes = [step.note] if step.note else []
    if step.understated:
        notes.append(
            f"VIOLATION: the claim says {shown(step.claim.epsilon)}, and what it says was done costs "
            f"{shown(step.recomputed)}."
        )
    for found in step.found:
        finding = found.finding
        if finding.unpaid:
            notes.append(f"VIOLATION: {finding.unpaid:,} of {finding.steps:,} steps were released without being paid.")
        if finding.bound.lower > finding.claimed:
            notes.append(
                f"VIOLATION: {found.kind}: {finding.bound.correct} of {finding.bound.guesses} guesses were right, more "
                f"than an epsilon of {shown(finding.claimed)} allows."
            )
    first = step.found[0].finding
    if first.steps < step.claim.steps:
        notes.append(
            f"{first.steps:,} of {step.claim.steps:,} steps were audited: where much is claimed, an audit sees nothing, "
            "even if all guesses are right."
        )
    notes += [
        f"{kind}: the audit could show {_at_most(step, kind):.2f} at most, which is not above what is claimed: here it "
        "cannot see a fault."
        for kind in dict.fromkeys(found.kind for found in step.found if found.finding.blind)
    ]
    return notes


def _at_most(step: StepAudit, kind: str) -> float:
    return max(found.finding.bound.ceiling for found in step.found if found.kind == kind)


def _remembered(found: Found) -> str:
    kept = found.remembered
    assert kept is not None
    return (
        f"{CANARIES}: {kept.taken_part:,} of {found.finding.bound.canaries:,} made-up texts were trained on; exposure "
        f"{kept.mean:.2f} bits on average (of texts that nothing is remembered of: {FEW_BITS}), {kept.most:.2f} at most "
        f"({kept.possible:.2f} possible)."
    )
