"""What may be said of a training on private texts: by what the ledger counts, never by what the recipe wished."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from factory import __version__
from factory.context.context import Context
from factory.context.private_options import PrivateTextOptions, drowning_remark, stays_private
from factory.errors import UserError
from factory.privacy.accounting import accountant_of
from factory.privacy.claim import MOST_EPSILON, Claim, no_bound, shown
from factory.privacy.ledger import Ledger, Run, composed

if TYPE_CHECKING:
    from factory.privacy.fitting import Report  # imports torch

DP_SGD = "DP-SGD: clipped gradient of each text, Gaussian noise, Poisson samples"
ORDINARY = "ordinary training on Poisson samples, without clipping or noise"


class Learnt(NamedTuple):
    """A training that has ended.

    Attributes:
        name: Its id in the ledger.
        run: What it was begun as.
        delta: Of the claim.
        records: Number of texts, as far as it may be known.
        records_policy: How that number may be known.
        about: What the trained model tells of its training.
        randomness: Where the noise came from.
        counted: Whether there are noisy counts of the classes.
    """

    name: str
    run: Run
    delta: float
    records: int
    records_policy: str
    about: Report
    randomness: str
    counted: bool


def claim_of(ctx: Context, options: PrivateTextOptions, ledger: Ledger, learnt: Learnt) -> Claim:
    """What may be said, by what the ledger counts.

    Raises:
        UserError: If the ledger has fewer steps than were taken.
    """
    run, delta, about = learnt.run, learnt.delta, learnt.about
    paid = paid_of(options, ledger, learnt.name, run, steps=about.spent)
    spent = composed([msgspec.structs.replace(paid, noise_multiplier=run.noise_multiplier)], delta)
    accountant, error = accountant_of(msgspec.structs.replace(run, spent=paid.spent).mechanism, delta)
    runs = [each for each in ledger.runs() if each.paid]
    together = composed(runs, delta, unit=options.data.unit)
    why = stays_private(options) or (no_bound(spent) if MOST_EPSILON < spent < math.inf else "")
    return Claim(
        step=ctx.step,
        method=ctx.method,
        run=learnt.name,
        private=not why and math.isfinite(spent),
        why_not=why,
        epsilon=spent if math.isfinite(spent) else None,
        delta=delta,
        accountant=accountant,
        accountant_error=error,
        mechanism=DP_SGD if options.noisy else ORDINARY,
        noise_multiplier=run.noise_multiplier,
        max_grad_norm=options.max_grad_norm if options.noisy else None,
        sample_rate=run.sample_rate,
        steps=paid.spent,
        records=learnt.records,
        records_policy=learnt.records_policy,
        unit=options.data.unit,
        sampler="Poisson",
        randomness=learnt.randomness,
        labels=_labels_policy(options, paid.epsilon_counts, counted=learnt.counted),
        epsilon_counts=paid.epsilon_counts,
        trained=about.trained,
        dimensions=about.dimensions,
        expected_batch=float(options.batch_size),
        private_source=options.data.private,
        ledger_runs=max(1, len(runs)),
        ledger_epsilon=together if math.isfinite(together) else None,
        version=__version__,
    )


def paid_of(options: PrivateTextOptions, ledger: Ledger, name: str, run: Run, *, steps: int) -> Run:
    """What the ledger has of a run that has taken so many steps.

    Raises:
        UserError: If that is less: the ledger was removed, or the private file moved or put back without it.
    """
    paid = ledger.find(name)
    if paid is not None and paid.spent >= steps:
        return paid
    if options.data.private:
        raise UserError(
            f"{ledger.path}: the privacy ledger lacks {'steps of ' if paid else ''}the run {name}, which this run "
            "directory has paid, so that nobody can say what was spent; restore the ledger from a copy, or name it in "
            "'data.ledger'."
        )
    counts = options.label_counts  # public texts: what lies in the run directory may be lost
    return msgspec.structs.replace(run, id=name, spent=steps, epsilon_counts=counts.epsilon if counts else 0.0)


def _labels_policy(options: PrivateTextOptions, cost: float, *, counted: bool) -> str:
    if not options.classes:
        return "none"
    if counted:
        return f"noisy counts (geometric noise, epsilon {cost:g}, part of the whole)"
    return "shares named in the recipe, taken as public" if options.shares else "equal shares"


def tell(ctx: Context, claim: Claim, about: Report, noise: float) -> None:
    """Put a claim into the manifest, and beside it what a reader has to know."""
    ctx.stats.privacy = msgspec.to_builtins(claim)
    ctx.stats.trained = f"`{ctx.method}` trained ({claim.trained})"
    if not claim.private:  # a claim that holds is told by itself
        ctx.note(f"NOT PRIVATE: {claim.why_not}")
    if about.lost:
        ctx.note(f"{about.lost:,} of {claim.steps:,} steps were paid and lost to a kill; they count")
    if claim.ledger_runs > 1:
        ctx.note(
            f"the ledger has {claim.ledger_runs:,} runs on these texts: together they come to epsilon "
            f"{shown(claim.ledger_epsilon)}"
        )
    drowned = drowning_remark(noise, claim.dimensions, claim.expected_batch)
    for sentence in (drowned, *about.notes):
        if sentence:
            ctx.note(sentence)
