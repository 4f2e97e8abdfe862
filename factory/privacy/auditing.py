"""An audit of what trains: canaries go through the real loop, and whoever sees its noisy gradients guesses which took part.

    setting = setting_of(claim)                        # Setting(noise_multiplier=2.5, sample_rate=1.0, steps=1, …)
    play(setting, SecureRandomness(), delta=1e-5)      # Finding(claimed=1.56, bound=Bound(lower=0.68, …), …)

The sampler, the clipping, the noise, the ledger and the accountant are those of `training.train`; only the gradients are the
auditor's (`games`). Votes (`private_evolution`) are audited in the same way: a canary votes for a candidate that nobody else
votes for.

What it sees is noise that is missing or much too small, and clipping that is missing. What it does not see is half of the
noise, or a batch clipped as a whole: a bound from one run is loose. The tests of sensitivity and
of noise see these. Nor can it see much where much is claimed: it takes as many steps as cost `MOST_EPSILON`.
"""

from __future__ import annotations

import functools
import math

import msgspec

from factory.privacy.accounting import Mechanism, epsilon, gaussian_epsilon, sum_rdp_epsilon
from factory.privacy.claim import Claim
from factory.privacy.games import Game, Setting, taking_part, train_on_canaries, vote_on_canaries
from factory.privacy.one_run import BOTH_SIDES_FROM, CONFIDENCE, Bound, bound, guess_counts
from factory.privacy.randomness import Randomness

CANARIES, MOST_CANARIES, VOTERS = 1000, 8000, 500
WANTED_PARTS = 200
MOST_EPSILON = 2.0
MOST_STEPS = 300
MOST_DELTA = 1e-5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found.

    Attributes:
        bound: The lower bound.
        claimed: Epsilon of what was audited, by the accountant, from what the ledger has as paid.
        delta: Of both.
        steps: Steps that were audited.
        unpaid: Steps whose result was seen and that the ledger does not have.
    """

    bound: Bound
    claimed: float
    delta: float
    steps: int
    unpaid: int

    @property
    def violation(self) -> bool:
        """Whether more is given away than is claimed."""
        return self.bound.lower > self.claimed or self.unpaid > 0

    @property
    def blind(self) -> bool:
        """Whether the claim is so large that the audit could not have found anything."""
        return self.bound.ceiling <= self.claimed


def setting_of(claim: Claim, steps: int | None = None) -> Setting:
    """What of a claim is audited: its mechanism for as many of its steps as cost `MOST_EPSILON`, at least one.

    Args:
        claim: With noise.
        steps: So many steps instead, or all if there are fewer.
    """
    if steps is None:
        steps = _steps_within(claim, min(claim.steps, MOST_STEPS))
    steps = max(1, min(claim.steps, steps))
    share = taking_part(claim.sample_rate, steps)
    wanted = CANARIES if share >= BOTH_SIDES_FROM else max(CANARIES, math.ceil(2 * WANTED_PARTS / max(share, 1e-9)))
    most = min(MOST_CANARIES, claim.dimensions or MOST_CANARIES) if claim.max_grad_norm is not None else VOTERS
    return Setting(
        noise_multiplier=claim.noise_multiplier,
        max_grad_norm=claim.max_grad_norm,
        sample_rate=claim.sample_rate,
        expected_batch=claim.expected_batch or 1.0,
        steps=steps,
        canaries=min(wanted, most),
    )


def play(
    setting: Setting, randomness: Randomness, *, delta: float, confidence: float = CONFIDENCE, game: Game | None = None
) -> Finding:
    """Audit once.

    Args:
        setting: What.
        randomness: Where coins, samples and noise come from.
        delta: Of the claim; a larger one than `MOST_DELTA` gives way to that, at which the accountant is asked as well.
        confidence: That the lower bound holds.
        game: What runs; the real training loop, or the real votes, by default.
    """
    included = randomness.uniforms(setting.canaries) < 0.5
    game = game or (vote_on_canaries if setting.max_grad_norm is None else train_on_canaries)
    played = game(setting, included, randomness)
    at = min(delta, MOST_DELTA)
    ways = guess_counts(setting.canaries, setting.share)
    return Finding(
        bound=bound(played.scores, included, delta=at, guesses=ways, confidence=confidence),
        claimed=_claimed(played.paid, at),
        delta=at,
        steps=setting.steps,
        unpaid=max(0, played.released - played.paid.steps),
    )


@functools.cache
def _claimed(paid: Mechanism, delta: float) -> float:
    """Epsilon by the accountant, once for all audits of the same."""
    return epsilon([paid], delta)


def _steps_within(claim: Claim, most: int) -> int:
    """Most steps whose epsilon is at most `MOST_EPSILON`, by a bound that takes milliseconds; 0 for none."""
    delta = min(claim.delta, MOST_DELTA)

    def cost(steps: int) -> float:
        if claim.sample_rate == 1:
            return gaussian_epsilon(claim.noise_multiplier, delta, steps=steps)
        done = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=steps)
        return sum_rdp_epsilon([done], delta)

    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= MOST_EPSILON else (low, middle)
    return low
