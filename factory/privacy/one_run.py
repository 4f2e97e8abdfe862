"""A lower bound of epsilon from one run: who was guessed right of many whose coins decided whether they took part.

    bound(scores, included, delta=1e-5, guesses=guess_counts(1000, share=1.0))    ->  Bound(lower=3.9, …)

Each of m canaries takes part where its own fair coin says so. Whoever sees what a mechanism released guesses the coins of
some. Under (epsilon, delta)-differential privacy the chance of v right guesses out of r is at most
P[B >= v] + 2 m delta max_i P[v > B >= v - i] / i, with B binomial of r and e^epsilon / (1 + e^epsilon) (Steinke, Nasr and
Jagielski 2023, arXiv 2305.08846, theorem 5.2). Where that is less than 1 - confidence, epsilon must be larger. It is a lower
bound: a low one shows nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
BOTH_SIDES_FROM = 0.98
MANY = 400
TWO_SIDED = (0.025, 0.05, 0.1, 0.499)  # 25, 50, 100 and 499 of 1000 canaries
TWO_SIDED_OF_FEW = (0.125, 0.25, 0.499)
ONE_SIDED = (0.25, 0.5, 0.75)
LARGEST = 20.0


class Guesses(NamedTuple):
    """How many canaries are guessed to have taken part, from the highest score down, and how many not, from the lowest up."""

    taking_part: int
    left_out: int

    @property
    def made(self) -> int:
        """Of both; the auditor says nothing of the others."""
        return self.taking_part + self.left_out


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What one run shows.

    Attributes:
        lower: Epsilon is at least this, at this confidence.
        ceiling: The most that could have been shown: all guesses right.
        confidence: In (0, 1), over all ways to guess together.
        guesses: Guesses of the way that shows the most.
        correct: Those that were right.
        canaries: All whose coins were thrown.
    """

    lower: float
    ceiling: float
    confidence: float
    guesses: int
    correct: int
    canaries: int


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Largest chance of so many right guesses or more under (epsilon, delta)-differential privacy.

    >>> round(p_value(1000, 10, 10, 0.0, 0.0) * 1024, 6)
    1.0
    """
    if not correct:
        return 1.0
    at = np.arange(guesses + 1)
    log_right = -math.log1p(math.exp(-epsilon))
    mass = np.exp(_log_choose(guesses) + at * log_right + (guesses - at) * (log_right - epsilon))
    enough = float(mass[correct:].sum())
    below = np.cumsum(mass[:correct][::-1])  # P[correct > B >= correct - i] for i = 1, 2, …
    return min(1.0, enough + 2 * canaries * delta * float((below / at[1 : correct + 1]).max()))


@functools.cache
def _log_choose(count: int) -> npt.NDArray[np.float64]:
    """Logarithm of the binomial coefficients of that count."""
    from scipy.special import gammaln

    at = np.arange(count + 1)
    return np.asarray(gammaln(count + 1) - gammaln(at + 1) - gammaln(count - at + 1))


@functools.cache
def least_epsilon(canaries: int, guesses: int, correct: int, *, delta: float, confidence: float) -> float:
    """The least epsilon that so many right guesses leave possible; 0 where they leave all.

    >>> round(least_epsilon(1000, 200, 200, delta=1e-5, confidence=0.95), 2)
    4.17
    """
    allowed = 1 - confidence
    if p_value(canaries, guesses, correct, 0.0, delta) >= allowed:
        return 0.0
    low, high = 0.0, LARGEST
    while high - low > 1e-4:
        middle = (low + high) / 2
        if p_value(canaries, guesses, correct, middle, delta) < allowed:
            low = middle
        else:
            high = middle
    return low


def guess_counts(canaries: int, share: float = 1.0) -> list[Guesses]:
    """Ways to guess, fixed before anything is seen.

    Where sampling leaves out many that were to take part, a low score says nothing: only high ones are guessed.

    Args:
        canaries: How many there are.
        share: Chance that a canary whose coin says so does take part.

    >>> guess_counts(1000)[-1]
    Guesses(taking_part=499, left_out=499)
    >>> [way.taking_part for way in guess_counts(1000, share=0.2)]
    [25, 50, 75]
    """
    if share >= BOTH_SIDES_FROM:
        parts = TWO_SIDED if canaries >= MANY else TWO_SIDED_OF_FEW
        counts = [Guesses(k, k) for part in parts if (k := math.floor(part * canaries))]
    else:
        counts = [Guesses(k, 0) for part in ONE_SIDED if (k := math.floor(part * share * canaries / 2))]
    return sorted(set(counts)) or [Guesses(1, 0)]


def bound(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    *,
    delta: float,
    guesses: Sequence[Guesses],
    confidence: float = CONFIDENCE,
) -> Bound:
    """The best lower bound over some ways to guess, each at a confidence that holds for all together (Bonferroni).

    Args:
        scores: Of each canary, computed without its coin; the higher, the more likely it took part.
        included: The coins.
        delta: Of the claim.
        guesses: Ways to guess, chosen without looking at scores or coins.
        confidence: That the bound holds.
    """
    canaries = len(scores)
    each = 1 - (1 - confidence) / len(guesses)
    order = np.argsort(scores, kind="stable")
    found = []
    for way in guesses:
        low, high = order[: way.left_out], order[canaries - way.taking_part :]
        correct = int(included[high].sum() + (~included[low]).sum())
        lower = least_epsilon(canaries, way.made, correct, delta=delta, confidence=each)
        found.append((lower, correct, way.made))
    lower, correct, count = max(found)
    return Bound(
        lower=lower,
        ceiling=max(least_epsilon(canaries, way.made, way.made, delta=delta, confidence=each) for way in guesses),
        confidence=confidence,
        guesses=count,
        correct=correct,
        canaries=canaries,
    )
