"""Intervals of 95 % for figures of texts that come in groups.

    share([True, False, True, True], ["a", "a", "b", "c"], resamples=1000)  ->  Figure(value=0.75, low=0.5, high=1.0)

Texts made from one source are alike, so groups are what is resampled: ten rewrites of one text say less than ten
texts. `percentile` is the bootstrap: groups are drawn with replacement, and the interval goes from the 2.5th to the
97.5th percentile of the figure (Efron and Tibshirani 1993, chapter 13).

`jackknife` is for figures that count repetition or distance to the nearest text (distinct n-grams, duplicates, openings,
divergence of vocabularies): a bootstrap sample repeats a third of its texts, and would find the repetition that it made.
There the groups are dealt into 20 blocks, the figure is taken without each of them, and the interval is that of Student's
t around the figure (Tukey 1958; block size as in Kunsch 1989).

What an interval does not hold: the models of `believability` are trained once, not once a resample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.records import derive_seed, digest

RESAMPLES: Final = 1_000
BLOCKS: Final = 20
_CELLS: Final = 4_000_000  # weights held at once
_TAIL: Final = 0.025
_T_975: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
"""97.5th percentile of Student's t for 1 to 19 degrees of freedom."""

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


class Figure(msgspec.Struct, frozen=True):
    """A measured figure.

    Attributes:
        value: Of the texts as they are.
        low: Lower end of its interval of 95 %; None where there are too few groups for one.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def percentile(statistic: Statistic, groups: Sequence[str], *, resamples: int = RESAMPLES) -> Figure:
    """A figure with the percentile interval of the bootstrap by groups.

    Args:
        statistic: From weights [resamples, texts], how often each text counts, to the figure of each resample
            [resamples], or of each resample and draw [resamples, draws]: the figure is then the mean over draws, and
            each resample takes one of them, so that the interval is that of one draw. NaN: no figure.
        groups: Group of each text: [texts].
        resamples: How many.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    value = float(np.mean(statistic(np.ones((1, len(groups))))))
    if len(names) < 2:
        return Figure(value)
    random = np.random.default_rng(derive_seed("bootstrap", names.tolist(), len(groups)))
    found = []
    step = max(1, _CELLS // max(1, len(groups)))
    for first in range(0, resamples, step):
        count = min(step, resamples - first)
        figures = statistic(_weights(random, count, len(names))[:, members])
        found.append(figures if figures.ndim == 1 else _of_draws(figures, random))
    figures = np.concatenate(found)
    figures = figures[~np.isnan(figures)]
    if not len(figures):
        return Figure(value)
    low, high = np.quantile(figures, [_TAIL, 1 - _TAIL])
    return Figure(value, float(low), float(high))


def _weights(random: np.random.Generator, resamples: int, groups: int) -> Floats:
    """How often each group is drawn, in as many draws as there are groups: [resamples, groups]."""
    drawn = random.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(np.float64)


def _of_draws(figures: Floats, random: np.random.Generator) -> Floats:
    """One draw for each resample: [resamples]."""
    return np.asarray(figures[np.arange(len(figures)), random.integers(figures.shape[1], size=len(figures))])


def share(hits: Sequence[bool] | npt.NDArray[np.bool_], groups: Sequence[str], *, resamples: int = RESAMPLES) -> Figure:
    """A share of texts, in [0, 1].

    Where all texts agree no resample differs; the far end is then the exact one of Clopper and Pearson for as many
    trials as there are groups.
    """
    values = np.asarray(hits, np.float64)
    figure = percentile(lambda weights: weights @ values / weights.sum(axis=1), groups, resamples=resamples)
    if figure.low is None or figure.value not in (0.0, 1.0):
        return figure
    far = _TAIL ** (1 / len(set(groups)))
    return Figure(1.0, far, 1.0) if figure.value == 1.0 else Figure(0.0, 0.0, 1 - far)


def jackknife(
    statistic: Callable[[npt.NDArray[np.bool_]], float],
    groups: Sequence[str],
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> Figure:
    """A figure with the interval of the jackknife by blocks of groups.

    Args:
        statistic: From which texts stay [texts] to the figure.
        groups: Group of each text: [texts].
        least: Least value that the figure can have; the interval ends there.
        most: Greatest value that the figure can have.
    """
    value = statistic(np.ones(len(groups), bool))
    order = {name: place for place, name in enumerate(sorted(set(groups), key=lambda name: digest("block", name)))}
    blocks = min(BLOCKS, len(order))
    if blocks < 2:
        return Figure(value)
    block = np.array([order[name] % blocks for name in groups])
    without = np.array([statistic(block != number) for number in range(blocks)])
    error = math.sqrt((blocks - 1) / blocks * float(np.square(without - without.mean()).sum()))
    reach = _T_975[blocks - 2] * error
    return Figure(value, max(least, value - reach), min(most, value + reach))


def averaged(figures: Sequence[Figure]) -> Figure:
    """The mean over draws; the interval is as wide as that of one draw, which is wide rather than narrow."""
    value = float(np.mean([each.value for each in figures]))
    ends = [(each.low, each.high) for each in figures if each.low is not None and each.high is not None]
    if not ends:
        return Figure(value)
    low, high = np.mean(ends, axis=0).tolist()
    return Figure(value, low, high)
