"""Correlations of normal scores of which only intervals are known.

A category that a third of the rows hold says of their scores only that they lie in a third of the normal curve. Placing
them at random there, or all in the middle, makes every correlation too small. So scores and correlations are drawn in
turn, each given the other, after Hoff 2007 (Extending the rank likelihood for semiparametric copula estimation, Annals
of Applied Statistics 1(1), section 3). Deviations: the intervals are those of the observed distribution and stay where
they are, and the correlations are those of the scores, shrunk, and not drawn from an inverse Wishart; the mean over the
second half of the sweeps is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from factory.tables.gaussian_copula.normal import Floats, truncated

SHRINK = 0.01  # keeps two columns that say the same from making the matrix singular


def estimate(low: Floats, high: Floats, sweeps: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Correlations after each sweep; the last is the result.

    Args:
        low: Lower bounds of the scores, [rows, columns].
        high: Upper bounds.
        sweeps: How often all scores are drawn anew.
        rng: Decides the draws.
    """
    scores = truncated(low, high, rng)
    current = shrunk(scores, low, high)
    kept = np.zeros_like(current)
    for sweep in range(sweeps):
        redraw(scores, low, high, current, rng)
        current = shrunk(scores, low, high)
        if sweep >= sweeps // 2:
            kept += current
        yield kept / max(1, sweep + 1 - sweeps // 2) if sweep >= sweeps // 2 else current


def redraw(scores: Floats, low: Floats, high: Floats, correlation: Floats, rng: np.random.Generator) -> None:
    """One Gibbs sweep in place: each column of scores given all others, within its bounds; shapes [rows, columns]."""
    precision = np.linalg.inv(correlation)
    for column in range(scores.shape[1]):
        own = precision[column, column]
        mean = scores[:, column] - scores @ precision[:, column] / own
        spread = own**-0.5
        scores[:, column] = mean + spread * truncated(
            (low[:, column] - mean) / spread, (high[:, column] - mean) / spread, rng
        )


def shrunk(scores: Floats, low: Floats, high: Floats) -> Floats:
    """Correlations of the scores about 0, positive definite; 0 for columns of which nothing is known in any row."""
    spread = np.sqrt(np.mean(scores**2, axis=0))
    scaled = scores / np.where(spread > 0, spread, 1.0)
    found = np.clip(scaled.T @ scaled / len(scores), -1.0, 1.0)
    known = (np.isfinite(low) | np.isfinite(high)).any(axis=0)
    found = np.where(np.outer(known, known), found, 0.0)
    # Few rows leave much to chance: as if so many rows of independent columns had been seen besides.
    share = max(SHRINK, len(found) / (len(found) + len(scores)))
    found *= 1.0 - share
    np.fill_diagonal(found, 1.0)
    return found
