"""The section `## Privacy` of a dataset card: what is claimed, what the claim rests on, and what it does not cover.

    section([claim])
    ->  ["`dp_lora`: this is (2, 1e-05)-differentially private for adding or removing one record.", "",
         "| epsilon | 1.9903, of which at most 0.01 is the accountant's error |", …]

Everything in it is in the claim; nothing is counted, measured or read for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from factory.privacy.claim import Audit, Claim, shown

ONE_RECORD = "one record"
POLICIES = {
    "public": "public: the user says that it may be known",
    "rounded": "rounded down to two digits",
    "given": "known from elsewhere",
}
NOT_COVERED = (
    "What the base model was trained on before: a text that it has seen there is not protected, even if it is one of the "
    "private ones.",
    "Training on the same data that their ledger does not know of: settings that were tuned on them elsewhere, runs on a "
    "copy of the file.",
    "What the recipe says: its prompts, labels, shares and names of columns are taken as public.",
    "Attacks on the last digits of the noise (Mironov 2012): they are made harder, not impossible.",
)
SEVERAL = (
    "Several records of one person: one record is protected. Whoever has k of them is protected by k times the epsilon, at "
    "a larger delta."
)
ROUNDED = "The rounded number of records, from which sample rate, noise and delta follow: it is told without noise."
LOWER_BOUND = (
    "An audit gives a lower bound of epsilon. It can show that a claim is wrong; an audit proves nothing safe, and does not "
    "see every fault."
)


def section(claims: Sequence[Claim]) -> list[str]:
    """Lines of the section, without its heading."""
    lines: list[str] = []
    for claim in claims:
        lines += [f"`{claim.step}`: this is {claim.sentence}.", "", *_table(claim), ""]
        if claim.audits:
            lines += [LOWER_BOUND, ""]
    several_runs = list({claim.run: claim for claim in claims if claim.private_source}.values())
    if len(several_runs) > 1 and all(claim.private for claim in claims):
        lines += [_together(several_runs), ""]
    if any(claim.private for claim in claims):
        several = [SEVERAL] if any(claim.unit == ONE_RECORD for claim in claims) else []
        told = [ROUNDED] if any(claim.records_policy == "rounded" for claim in claims) else []
        lines += [
            "What this does not cover:",
            "",
            *(f"- {sentence}" for sentence in (*NOT_COVERED, *told, *several)),
            "",
        ]
    return lines


def _together(claims: Sequence[Claim]) -> str:
    """What holds for whoever is in the texts of several steps: epsilons and deltas add up, if they protect the same."""
    if len({claim.unit for claim in claims}) > 1:
        return "The steps protect different units, so that nothing is claimed for the rows of all together."
    epsilon = sum(claim.epsilon or 0.0 for claim in claims)
    delta = sum(claim.delta for claim in claims)
    return (
        f"The rows of all steps together are ({shown(epsilon)}, {delta:.3g})-differentially private for adding or removing "
        f"{claims[0].unit} whose texts all of them have read."
    )


def contradicted(claim: Claim) -> Audit | None:
    """The audit that found more than what is claimed."""
    return next((audit for audit in claim.audits if audit.violation), None)


def _table(claim: Claim) -> list[str]:
    rows = [(name, _cell(value)) for name, value in (*_mechanism(claim), *_circumstances(claim)) if value]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _mechanism(claim: Claim) -> list[tuple[str, str]]:
    """What epsilon rests on."""
    error = f", of which at most {claim.accountant_error:g} is the accountant's error" if claim.accountant_error else ""
    counts = f", {claim.epsilon_counts:g} of it for label counts" if claim.epsilon_counts else ""
    return [
        ("epsilon", shown(None) if claim.epsilon is None else f"{_rounded_up(claim.epsilon)}{error}{counts}"),
        ("delta", f"{claim.delta:g}"),
        ("accountant", claim.accountant),
        ("mechanism", claim.mechanism),
        ("noise multiplier", f"{claim.noise_multiplier:g}"),
        ("clipping norm", "" if claim.max_grad_norm is None else f"{claim.max_grad_norm:g}"),
        ("sample rate", f"{claim.sample_rate:.4g}"),
        ("steps", f"{claim.steps:,}"),
        ("sampler", claim.sampler),
        ("randomness", claim.randomness),
    ]


def _circumstances(claim: Claim) -> list[tuple[str, str]]:
    """What it holds for, and what else was done with the same data."""
    together = f"{claim.ledger_runs:,}, together epsilon {shown(claim.ledger_epsilon)}"
    return [
        ("records", f"{claim.records:,} ({POLICIES.get(claim.records_policy, claim.records_policy)})"),
        ("unit of privacy", claim.unit),
        ("labels", claim.labels),
        ("trained", claim.trained),
        ("source", "declared private" if claim.private_source else "declared public"),
        ("runs in the ledger of the data", together if claim.private_source else ""),
        ("audits", "; ".join(map(_audit, claim.audits)) or "none"),
    ]


def _rounded_up(epsilon: float) -> str:
    """Four decimals, and never less than what was computed."""
    return f"{math.ceil(epsilon * 10_000 - 1e-6) / 10_000:.4f}"


def _audit(audit: Audit) -> str:
    against = ", **which contradicts the claim**" if audit.violation else ""
    audited = f" of {audit.steps:,} {'step' if audit.steps == 1 else 'steps'}" if audit.steps else ""
    claimed = f", claimed {shown(audit.claimed)}" if audit.claimed is not None else ""
    sure = f"{claimed}, confidence {audit.confidence:.0%}"
    seen = "" if audit.lower_bound else "; a bound of 0 tells nothing"
    return (
        f"{audit.kind}: epsilon{audited} is at least {audit.lower_bound:.2f} ({sure.removeprefix(', ')}){against}{seen}"
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
