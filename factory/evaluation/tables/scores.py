"""A score with its standard error, and the 95 % interval of its mean over seeds.

    over_seeds([Score(0.88, 0.004), Score(0.89, 0.004), Score(0.87, 0.004)])  ->  Figure(value=0.88, low=0.856, high=0.904)

Two things make a figure uncertain: which rows happened to be tested on (the error of each score, analytic or from a
bootstrap), and what the seed decides (subsample, folds, model). All seeds share the test rows, so the first does not
shrink with more seeds; the second does. With s^2 the variance between k seeds and e^2 the mean of the squared errors,

    error^2 = e^2 + s^2 / k,   interval = mean -/+ t(0.975, df) * error,

where df is that of Welch and Satterthwaite (1946) for a part with k - 1 degrees of freedom and one with many. Where seeds
take other rows, s^2 holds a part of e^2 already: the interval is wide rather than narrow. It says nothing of what another
training run of the generator would have given.

The error of an AUC is that of DeLong, DeLong and Clarke-Pearson (1988); that of a share is binomial with one success and
one failure added (Agresti and Coull 1998), so that 0 of 50 is not taken for certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.evaluation.bootstrap import Figure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESAMPLES: Final = 200
_TAIL: Final = 0.975


class Score(msgspec.Struct, frozen=True):
    """What one seed measured.

    Attributes:
        value: The measure.
        error: Its standard error over the rows that it was measured on; 0 where these are all there are.
    """

    value: float
    error: float = 0.0


def over_seeds(scores: Sequence[Score], *, least: float = -math.inf, most: float = math.inf) -> Figure:
    """Mean and interval; no interval where there is neither an error nor a second seed.

    Args:
        scores: One for each seed, at least one.
        least: Least value that the measure can have; the interval ends there.
        most: Greatest value that the measure can have.
    """
    values = np.array([score.value for score in scores])
    value = float(values.mean())
    within = float(np.mean([score.error**2 for score in scores]))
    between = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
    if len(values) < 2 and not within:
        return Figure(value)
    reach = _quantile(within, between, len(values)) * math.sqrt(within + between)
    return Figure(value, max(least, value - reach), min(most, value + reach))


def _quantile(within: float, between: float, seeds: int) -> float:
    """97.5th percentile of Student's t at the degrees of freedom of the sum of both variances."""
    from scipy.stats import norm, t

    if not between:
        return float(norm.ppf(_TAIL))
    return float(t.ppf(_TAIL, (within + between) ** 2 / (between**2 / (seeds - 1))))


def share(hits: npt.NDArray[np.bool_] | Floats) -> Score:
    """A share of rows, in [0, 1]; ties may count half."""
    return share_of(float(np.sum(hits)), len(hits))


def share_of(hits: float, count: int) -> Score:
    """A share of so many rows, of which there is at least one."""
    near = (hits + 1) / (count + 2)
    return Score(hits / count, math.sqrt(near * (1 - near) / (count + 2)))


def auc(positive: npt.NDArray[np.bool_], scores: Floats) -> Score:
    """Area under the ROC curve: how often a positive has the higher score than a negative, ties as half.

    Args:
        positive: Which rows are positive: [rows]; both kinds are there.
        scores: Higher for what looks positive: [rows].
    """
    above, below = np.sort(scores[~positive]), np.sort(scores[positive])
    ours, theirs = scores[positive], scores[~positive]
    won = (np.searchsorted(above, ours, "left") + np.searchsorted(above, ours, "right")) / (2 * len(above))
    lost = (np.searchsorted(below, theirs, "left") + np.searchsorted(below, theirs, "right")) / (2 * len(below))
    error = math.sqrt(_variance(won) / len(won) + _variance(lost) / len(lost))
    # Where all pairs are in order no row differs; one pair of rows the other way round would have been possible.
    return Score(float(won.mean()), max(error, 0.5 / min(len(won), len(lost))))


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25


def of_rows(statistic: Callable[[Ints], float], rows: int, random: np.random.Generator, resamples: int) -> Score:
    """Any figure of rows, with the error of a bootstrap.

    Args:
        statistic: From the rows that are taken, repeats included, to the figure; NaN of a resample is no figure.
        rows: How many there are.
        random: Draws the rows.
        resamples: How often.
    """
    found = [statistic(random.integers(rows, size=rows)) for _ in range(resamples if rows > 1 else 0)]
    return Score(statistic(np.arange(rows)), float(np.nanstd(found, ddof=1)) if len(found) > 1 else 0.0)


def of_confusion(
    statistic: Callable[[Floats], Floats], confusion: Ints, random: np.random.Generator, resamples: int = RESAMPLES
) -> Score:
    """A figure of a confusion matrix, with the error of resampled rows.

    Args:
        statistic: From matrices [resamples, actual, named] to a figure of each.
        confusion: Counts: [actual, named].
        random: Draws the rows, which are a multinomial draw of the cells of the matrix.
        resamples: How often.
    """
    total = int(confusion.sum())
    drawn = random.multinomial(total, confusion.ravel() / total, size=resamples).reshape(-1, *confusion.shape)
    found = statistic(drawn.astype(np.float64))
    return Score(float(statistic(confusion[None].astype(np.float64))[0]), float(np.nanstd(found, ddof=1)))
