"""Do synthetic texts have other lengths and words than real ones?

    drift(real, synthetic, size=500)  ->  words_mean +4.1 [3.2, 5.0], words_distance 0.31, vocabulary 0.22 …

Lengths are in words: difference of means and of medians, and the distance of Kolmogorov and Smirnov, the greatest
difference of the two distribution functions. Vocabularies are compared by the Jensen-Shannon divergence of word
frequencies, in bits, in [0, 1]. Both are above 0 for two samples of the same texts too, the more so the smaller they are:
real texts are measured against real texts at the same size, as the line to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.evaluation.bootstrap import RESAMPLES, Figure, Floats, averaged, jackknife, percentile
from factory.evaluation.diversity import Stays, numbered
from factory.evaluation.texts import Text, drawn, words

DRAWS: Final = 3


class Drift(msgspec.Struct, frozen=True):
    """How far texts are from real ones.

    Attributes:
        words_mean: Mean length in words, less that of the real texts.
        words_median: The same of medians.
        words_distance: Kolmogorov-Smirnov distance of the lengths, in [0, 1].
        vocabulary: Jensen-Shannon divergence of word frequencies, in bits, in [0, 1].
        size: Texts of each side in each draw of the two distances.
    """

    words_mean: Figure
    words_median: Figure
    words_distance: Figure
    vocabulary: Figure
    size: int


def drift(
    real: Sequence[Text], synthetic: Sequence[Text], *, size: int, draws: int = DRAWS, resamples: int = RESAMPLES
) -> Drift:
    """Measure synthetic texts against real ones."""
    samples = [_sides(real, drawn(synthetic, size, draw), size, draw) for draw in range(draws)]
    return _drift(real, synthetic, samples, resamples)


def _sides(real: Sequence[Text], synthetic: list[Text], size: int, draw: int) -> tuple[list[Text], list[Text]]:
    """Real texts that are no source of the synthetic ones where there are enough: as halves of real texts share none."""
    sources = {each.group for each in synthetic}
    others = [each for each in real if each.group not in sources]
    return drawn(others if len(others) >= size else real, size, draw), synthetic


def drift_of_real(real: Sequence[Text], *, size: int, draws: int = DRAWS, resamples: int = RESAMPLES) -> Drift:
    """Measure one half of real texts against the other, in each draw at most so many of each."""
    halves = [(each[::2][:size], each[1::2][:size]) for each in (drawn(real, len(real), draw) for draw in range(draws))]
    mixed = drawn(real, len(real))
    return _drift(mixed[::2], mixed[1::2], halves, resamples)


def _drift(
    real: Sequence[Text], synthetic: Sequence[Text], samples: Sequence[tuple[list[Text], list[Text]]], resamples: int
) -> Drift:
    return Drift(
        words_mean=_length(real, synthetic, _mean, resamples),
        words_median=_length(real, synthetic, _median, resamples),
        words_distance=averaged([_distance(*sides) for sides in samples]),
        vocabulary=averaged([_vocabulary(*sides) for sides in samples]),
        size=len(samples[0][0]),
    )


def _lengths(texts: Sequence[Text]) -> Floats:
    return np.array([len(words(each.text)) for each in texts], np.float64)


def _mean(lengths: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1)
    return np.asarray(np.divide(weights @ lengths, total, out=np.full(len(weights), np.nan), where=total > 0))


def _median(lengths: Floats, weights: Floats) -> Floats:
    """The lower median of each resample."""
    order = np.argsort(lengths, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    found = lengths[order][(reached >= reached[:, -1:] / 2).argmax(axis=1)]
    return np.asarray(np.where(reached[:, -1] > 0, found, np.nan))


def _length(
    real: Sequence[Text], synthetic: Sequence[Text], middle: Callable[[Floats, Floats], Floats], resamples: int
) -> Figure:
    """Difference of means or medians."""
    sides = _lengths(real), _lengths(synthetic)

    def difference(weights: Floats) -> Floats:
        return np.asarray(middle(sides[1], weights[:, len(real) :]) - middle(sides[0], weights[:, : len(real)]))

    return percentile(difference, [each.group for each in (*real, *synthetic)], resamples=resamples)


def _distance(real: Sequence[Text], synthetic: Sequence[Text]) -> Figure:
    lengths = np.concatenate([_lengths(real), _lengths(synthetic)]).astype(np.int64)

    def statistic(stays: Stays, is_real: Stays) -> float:
        one, other = (np.cumsum(_shares(lengths[stays & side], lengths.max() + 1)) for side in (is_real, ~is_real))
        return float(np.abs(one - other).max())

    return _of_two(statistic, real, synthetic)


def _vocabulary(real: Sequence[Text], synthetic: Sequence[Text]) -> Figure:
    tokens = [words(each.text) for each in (*real, *synthetic)]
    owners = np.repeat(np.arange(len(tokens)), [len(each) for each in tokens])
    numbers = numbered([token for each in tokens for token in each])
    count = int(numbers.max(initial=0)) + 1

    def statistic(stays: Stays, is_real: Stays) -> float:
        one, other = (_shares(numbers[(stays & side)[owners]], count) for side in (is_real, ~is_real))
        return jensen_shannon(one, other)

    return _of_two(statistic, real, synthetic)


def _of_two(statistic: Callable[[Stays, Stays], float], real: Sequence[Text], synthetic: Sequence[Text]) -> Figure:
    """A figure of two sets, with its interval."""
    is_real = np.arange(len(real) + len(synthetic)) < len(real)
    groups = [each.group for each in (*real, *synthetic)]
    return jackknife(lambda stays: statistic(stays, is_real), groups, least=0.0, most=1.0)


def _shares(numbers: npt.NDArray[np.int64], count: int) -> Floats:
    return np.bincount(numbers, minlength=count) / max(1, len(numbers))


def jensen_shannon(one: Floats, other: Floats) -> float:
    """Divergence of two distributions in bits: 0 if they are equal, 1 if they share nothing.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    middle = (one + other) / 2

    def bits(share: Floats) -> float:
        there = share > 0
        return float((share[there] * np.log2(share[there] / middle[there])).sum())

    return max(0.0, (bits(one) + bits(other)) / 2)
