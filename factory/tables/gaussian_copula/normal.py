"""Standard normal draws that stay between bounds, however far out these lie.

truncated(low=[2.0], high=[3.0], rng)  -> [2.31]
masses(low=[0.0], high=[inf])          -> [0.5]

By inversion of the distribution function, on the side of the mean where it is exact (Devroye 1986, section II.2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def masses(low: Floats, high: Floats) -> Floats:
    """Probability that a standard normal lies between the bounds, of any common shape."""
    from scipy.special import ndtr

    low, high, _ = _below(low, high)
    return np.asarray(ndtr(high) - ndtr(low), dtype=np.float64)


def truncated(low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Standard normal draws between the bounds, of any common shape; where no double tells the bounds apart, the nearer one."""
    from scipy.special import ndtr, ndtri

    low, high, flipped = _below(low, high)
    below, above = ndtr(low), ndtr(high)
    drawn = ndtri(below + (above - below) * rng.random(np.shape(below)))
    drawn = np.clip(np.where(above > below, drawn, high), low, high)
    # An infinite bound can be hit only where a uniform draw rounds to 0 or 1: 8 deviations out stand for it.
    return np.clip(np.where(flipped, -drawn, drawn), *_finite(low, high, flipped))


def scores(shares: Floats) -> Floats:
    """Normal quantiles of shares in [0, 1]; -inf and inf at the ends."""
    from scipy.special import ndtri

    return np.asarray(ndtri(shares), dtype=np.float64)


def shares(scores: Floats) -> Floats:
    """Share of a standard normal below each score."""
    from scipy.special import ndtr

    return np.asarray(ndtr(scores), dtype=np.float64)


def _below(low: Floats, high: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """The bounds mirrored to the left of the mean where both lie right of it: there doubles are dense near 0."""
    flipped = low > 0
    return np.where(flipped, -high, low), np.where(flipped, -low, high), flipped


def _finite(low: Floats, high: Floats, flipped: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    left, right = np.where(flipped, -high, low), np.where(flipped, -low, high)
    far = 8.0 + np.abs(np.where(np.isfinite(left), left, np.where(np.isfinite(right), right, 0.0)))
    return np.maximum(left, -far), np.minimum(right, far)
