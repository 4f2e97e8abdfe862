"""What noise costs: epsilon of subsampled and of plain Gaussian mechanisms, and the noise that a target needs.

    epsilon([Mechanism(noise_multiplier=1.0, sample_rate=256 / 6920, steps=60)], delta=1 / 6920)   ->  1.6247
    noise_for(2.0, delta=1 / 6920, sample_rate=256 / 6920, steps=60)                               ->  0.9155

Subsampled Gaussians are composed as privacy loss random variables (Gopi et al. 2021, arXiv 2106.02848, as in Opacus),
whose upper bound is taken; plain ones by the exact formula (Balle and Wang 2018, arXiv 1805.06530, theorem 8). All of it
holds for adding or removing one record.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np

EPSILON_ERROR = 0.01
EXACT, PRV, RENYI = "exact Gaussian", "PRV (Opacus), upper bound", "Renyi divergence (RDP), upper bound"
TOLERANCE = 0.01
LEAST_NOISE, MOST_NOISE = 0.05, 1e6
_NO_NOISE = 1e-3  # less counts as none: squares of it run out of digits, and no bound would mean anything
_GRID = 10_000  # noise multipliers have four decimals
DIGITS_KEPT = 2
_STEP_DOWN = 0.85
_MOST_PRV = 60.0  # beyond, its grid takes gigabytes, and no such claim means anything
_ORDERS = np.concatenate([np.arange(2, 64), np.arange(64, 513, 16)])


class Mechanism(msgspec.Struct, frozen=True, kw_only=True):
    """A Gaussian mechanism of sensitivity 1 on a Poisson sample, done several times.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        sample_rate: Probability, in (0, 1], that a record takes part in a step.
        steps: How many times.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int


def epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Upper bound of epsilon for all of these together; infinite where one has no noise.

    Returns:
        0 where nothing was done.

    Raises:
        ValueError: If delta, a rate or a noise is none.
    """
    done = [each for each in mechanisms if each.steps]
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta:g}; expected a number above 0 and below 1")
    if any(not 0 < each.sample_rate <= 1 or math.isnan(each.noise_multiplier) or each.steps < 0 for each in done):
        raise ValueError("expected sample rates above 0 and at most 1, noise that is a number, and steps")
    if not done:
        return 0.0
    if any(each.noise_multiplier < _NO_NOISE for each in done):
        return math.inf
    if all(each.sample_rate == 1 for each in done):
        return gaussian_epsilon(1.0, delta, mu=math.sqrt(sum(each.steps / each.noise_multiplier**2 for each in done)))
    bound = sum_rdp_epsilon(done, delta)
    if bound > _MOST_PRV:
        return bound
    return min(bound, _prv_epsilon(tuple(done), delta))


def accountant_of(mechanism: Mechanism, delta: float) -> tuple[str, float]:
    """How `epsilon` has computed its bound of a mechanism, in words, and the most that the bound may be too high by.

    The error is 0 where none is known: an exact formula, or a bound that is not tight.
    """
    if mechanism.sample_rate == 1 or mechanism.noise_multiplier < _NO_NOISE or not mechanism.steps:
        return EXACT, 0.0
    renyi = sum_rdp_epsilon([mechanism], delta)
    if renyi > _MOST_PRV or renyi < _prv_epsilon((mechanism,), delta):
        return RENYI, 0.0
    return PRV, EPSILON_ERROR


@lru_cache(maxsize=64)
def _prv_epsilon(mechanisms: tuple[Mechanism, ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(each.noise_multiplier, each.sample_rate, each.steps) for each in mechanisms]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of a bound that only sizes its grid, and of logarithms of 0
        try:
            return max(0.0, float(accountant.get_epsilon(delta, eps_error=EPSILON_ERROR)))
        except ValueError:  # a delta below the rounding errors of its grid; the bound by Renyi divergence has none
            return math.inf


def noise_for(target: float, *, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise multiplier, rounded up to four decimals, whose epsilon is at most the target.

    Raises:
        ValueError: If no noise reaches the target.
    """
    if sample_rate == 1:
        return _rounded_up(gaussian_noise(target, delta=delta, steps=steps))

    def cost(noise: float) -> float:
        return epsilon([Mechanism(noise_multiplier=noise, sample_rate=sample_rate, steps=steps)], delta)

    high = quick_noise_for(target, delta=delta, sample_rate=sample_rate, steps=steps)
    spent = cost(high)
    low, wasted = high * _STEP_DOWN, cost(high * _STEP_DOWN)
    while wasted <= target:
        high, spent = low, wasted
        low, wasted = low * _STEP_DOWN, cost(low * _STEP_DOWN)
    while target - spent > TOLERANCE and high - low > 1 / _GRID:
        middle = _between(low, wasted, high, spent, target - TOLERANCE / 2)
        got = cost(middle)
        if got <= target:
            high, spent = middle, got
        else:
            low, wasted = middle, got
    return _rounded_up(high)


def _between(low: float, wasted: float, high: float, spent: float, target: float) -> float:
    """Where epsilon meets the target, were its logarithm a straight line over that of the noise; never at an end."""
    share = math.log(wasted / target) / math.log(wasted / max(spent, 1e-9))
    share = min(0.95, max(0.05, share))
    return math.exp(math.log(low) + share * math.log(high / low))


def quick_noise_for(target: float, *, delta: float, sample_rate: float, steps: int) -> float:
    """Noise that is enough by Renyi differential privacy: up to a tenth more than `noise_for`, in a millisecond.

    Raises:
        ValueError: If no noise reaches the target.
    """

    def cost(noise: float) -> float:
        return sum_rdp_epsilon([Mechanism(noise_multiplier=noise, sample_rate=sample_rate, steps=steps)], delta)

    low, high = LEAST_NOISE, 1.0
    while cost(high) > target:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise ValueError(f"no noise reaches epsilon {target:g} in {steps:,} steps; take fewer steps.")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
        if high - low < 0.1 / _GRID:
            break
    return _rounded_up(high)


def _rounded_up(noise: float) -> float:
    return math.ceil(noise * _GRID) / _GRID


def sum_rdp_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Upper bound of epsilon by Renyi differential privacy at whole orders.

    Source: Mironov et al. 2019 (arXiv 1908.10530), section 3.3; conversion of Balle et al. 2020 (arXiv 1905.09982).
    """
    total = np.zeros(len(_ORDERS))
    for each in mechanisms:
        total += each.steps * np.array([_renyi(each.noise_multiplier, each.sample_rate, int(a)) for a in _ORDERS])
    orders = _ORDERS.astype(np.float64)
    found = total + np.log((orders - 1) / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return max(0.0, float(found.min()))


def quick_epsilon(mechanism: Mechanism, delta: float) -> float:
    """What `epsilon` gives, or somewhat more, at once; infinite where there is next to no noise."""
    return math.inf if mechanism.noise_multiplier < _NO_NOISE else sum_rdp_epsilon([mechanism], delta)


def _renyi(noise: float, rate: float, order: int) -> float:
    """Renyi divergence of one step at a whole order."""
    if rate == 1:
        return order / (2 * noise**2)
    from scipy.special import gammaln, logsumexp

    k = np.arange(order + 1)
    choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    terms = choose + k * math.log(rate) + (order - k) * math.log1p(-rate) + k * (k - 1) / (2 * noise**2)
    return float(logsumexp(terms)) / (order - 1)


def gaussian_epsilon(noise_multiplier: float, delta: float, *, steps: int = 1, mu: float | None = None) -> float:
    """Exact epsilon of a Gaussian mechanism of sensitivity 1 done several times on all records.

    Args:
        noise_multiplier: Standard deviation of the noise.
        delta: In (0, 1).
        steps: How many times.
        mu: Instead of these two: the square root of the sum of the steps' 1 / noise^2.
    """
    from scipy.optimize import brentq

    mu = math.sqrt(steps) / noise_multiplier if mu is None else mu
    if _gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while _gaussian_delta(high, mu) > delta:
        high *= 2
    return float(brentq(lambda each: _gaussian_delta(each, mu) - delta, 0.0, high, xtol=1e-10))


def gaussian_noise(target: float, *, delta: float, steps: int = 1) -> float:
    """Exact noise multiplier for a Gaussian mechanism of sensitivity 1 done several times on all records.

    >>> round(gaussian_noise(1.0, delta=1 / (8396 * math.log(8396)), steps=10), 2)
    11.6
    """
    from scipy.optimize import brentq

    def excess(log_mu: float) -> float:
        return _gaussian_delta(target, math.exp(log_mu)) - delta

    mu = math.exp(float(brentq(excess, math.log(1e-8), math.log(1e4), xtol=1e-12)))
    return math.sqrt(steps) / mu


def _gaussian_delta(epsilon: float, mu: float) -> float:
    from scipy.special import log_ndtr

    first = math.exp(log_ndtr(mu / 2 - epsilon / mu))
    return float(first - math.exp(epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))))


def default_delta(records: int) -> float:
    """Smaller than 1e-5 and than 1 / n: min(1e-5, 1 / (n ln n)), as private evolution has it (arXiv 2403.01749).

    >>> default_delta(100), round(default_delta(1_000_000) * 1e8, 2)
    (1e-05, 7.24)
    """
    return min(1e-5, 1 / (records * math.log(max(2, records))))


def rounded(records: int) -> int:
    """A count rounded down to two significant digits, or to tens, which may be told where the count may not.

    >>> rounded(6920), rounded(87), rounded(9)
    (6900, 80, 1)
    """
    scale: int = 10 ** max(1, len(str(records)) - DIGITS_KEPT)
    return max(1, records // scale * scale)
