"""What a vote costs: noise and delta from the public size of the private texts.

    Budget.of(options, 8_396)   ->   Budget(size=8300, policy="rounded", delta=1e-05, noise=11.72)     for epsilon 1 and 10 rounds

Each round is a Gaussian mechanism of sensitivity 1 on all records, so that the exact formula for their composition holds
(Balle and Wang 2018, arXiv 1805.06530).
"""

from __future__ import annotations

import msgspec

from factory.context.private_options import sound_delta
from factory.errors import OptionError
from factory.methods.private_evolution.options import Options
from factory.privacy.accounting import noise_for

VOTES_EACH = 50  # private texts for each candidate; with fewer the user is warned


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What is public of the cost.

    Attributes:
        size: Number of private texts, as far as it is known.
        policy: How it is known: `public`, `rounded` or `given`.
        delta: Probability that the guarantee does not hold.
        noise: Standard deviation of the noise on the votes; 0 for none.
    """

    size: int
    policy: str
    delta: float
    noise: float

    @staticmethod
    def of(options: Options, count: int) -> Budget:
        """The budget for so many private texts.

        Raises:
            OptionError: If delta is too large to mean anything.
        """
        size, policy = options.data.records(count)
        delta = sound_delta(options.delta, size)
        return Budget(size=size, policy=policy, delta=delta, noise=_noise(options, delta))

    def drowned(self, options: Options) -> str | None:
        """A sentence for the user where noise drowns the votes."""
        candidates, per_row, classes = options.candidates, 1 + options.variations, max(1, len(options.labels))
        votes = self.size / candidates
        if votes >= VOTES_EACH:
            return None
        most = int(self.size / VOTES_EACH) // per_row
        times = f", {votes / self.noise:.2g} times the standard deviation of the noise" if self.noise else ""
        remedy = f"rows: {most:,} would leave {VOTES_EACH} to each"
        if most < classes:
            remedy = f"at least {VOTES_EACH * per_row * classes:,} private texts are needed, or fewer variations"
        return (
            f"{self.size:,} private texts vote for {candidates:,} candidates: {votes:.2g} votes for each on average{times}; with "
            f"fewer than {VOTES_EACH} chance has much to say in who wins ({remedy})"
        )


def _noise(options: Options, delta: float) -> float:
    if options.noise_multiplier is not None:
        return options.noise_multiplier
    if not options.noisy:
        return 0.0
    counts = 0.0 if options.label_counts is None else options.label_counts.epsilon
    try:
        return noise_for(float(options.epsilon or 0.0) - counts, delta=delta, sample_rate=1.0, steps=options.rounds)
    except ValueError as error:
        raise OptionError(
            "epsilon", f"{options.epsilon:g}: no noise can be found for it; take 'inf' for none."
        ) from error
