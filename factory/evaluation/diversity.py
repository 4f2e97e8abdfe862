"""How much do texts repeat each other?

    diversity(texts, size=500)  ->  distinct_2 0.81, repeated 0.14, top_opening 0.53 ("oh great"), nearest 0.38 …

All these figures depend on how many texts there are, so sets are compared at equal size, as the mean over fixed draws.
`distinct_n` is the number of different n-grams over that of all (Li et al. 2016, arXiv 1510.03055); `nearest` is the mean
ROUGE-L of a text to the one most like it, over at most 1,000 texts. The entropy of the first two words is
divided by its greatest value, that of texts that all begin differently.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.classifiers.crossfit import form
from factory.evaluation.bootstrap import Figure, averaged, jackknife
from factory.evaluation.texts import Text, drawn, opening, words

DRAWS: Final = 3
MOST_COMPARED: Final = 1_000
_FIRST_CHARACTER: Final = 0xE000  # above the surrogates

Stays = npt.NDArray[np.bool_]


class Diversity(msgspec.Struct, frozen=True):
    """How much texts repeat each other.

    Attributes:
        distinct_1: Different words over all words.
        distinct_2: Different pairs of neighbouring words over all.
        repeated: Share of texts that repeat an earlier one, but for case and white space.
        top_opening: Share of texts that begin with the most frequent first two words.
        opening: Those words, over all texts.
        opening_entropy: Entropy of the first two words, in [0, 1]; 1 if no two texts begin alike.
        nearest: Mean ROUGE-L F-measure of a text to the one most like it.
        size: Texts in each draw.
        draws: How many.
    """

    distinct_1: Figure
    distinct_2: Figure
    repeated: Figure
    top_opening: Figure
    opening: str
    opening_entropy: Figure
    nearest: Figure
    size: int
    draws: int


def diversity(texts: Sequence[Text], *, size: int, draws: int = DRAWS) -> Diversity:
    """Measure draws of so many texts."""
    samples = [drawn(texts, size, draw) for draw in range(draws if len(texts) > size else 1)]
    compared = [sample[:MOST_COMPARED] for sample in samples]
    counts = Counter(opening(each.text) for each in texts)
    return Diversity(
        distinct_1=averaged([_distinct(sample, 1) for sample in samples]),
        distinct_2=averaged([_distinct(sample, 2) for sample in samples]),
        repeated=averaged([_repeated(sample) for sample in samples]),
        top_opening=averaged([_top_opening(sample) for sample in samples]),
        opening=min(counts, key=lambda words: (-counts[words], words)),
        opening_entropy=averaged([_opening_entropy(sample) for sample in samples]),
        nearest=averaged([_nearest(sample) for sample in compared]),
        size=len(samples[0]),
        draws=len(samples),
    )


def numbered(values: Sequence[object]) -> npt.NDArray[np.int64]:
    """Equal values as equal numbers from 0: [values]."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _distinct(sample: Sequence[Text], n: int) -> Figure:
    grams = [list(zip(*(tokens[start:] for start in range(n)), strict=False)) for tokens in _words(sample)]
    owners = np.repeat(np.arange(len(sample)), [len(each) for each in grams])
    numbers = numbered([gram for each in grams for gram in each])

    def statistic(stays: Stays) -> float:
        left = numbers[stays[owners]]
        return len(np.unique(left)) / len(left) if len(left) else 0.0

    return jackknife(statistic, _groups(sample), least=0.0, most=1.0)


def _repeated(sample: Sequence[Text]) -> Figure:
    numbers = numbered([form(each.text) for each in sample])

    def statistic(stays: Stays) -> float:
        return 1 - len(np.unique(numbers[stays])) / max(1, int(stays.sum()))

    return jackknife(statistic, _groups(sample), least=0.0, most=1.0)


def _top_opening(sample: Sequence[Text]) -> Figure:
    numbers = numbered([opening(each.text) for each in sample])

    def statistic(stays: Stays) -> float:
        return float(np.bincount(numbers[stays]).max() / stays.sum()) if stays.any() else 0.0

    return jackknife(statistic, _groups(sample), least=0.0, most=1.0)


def _opening_entropy(sample: Sequence[Text]) -> Figure:
    numbers = numbered([opening(each.text) for each in sample])

    def statistic(stays: Stays) -> float:
        shares = np.bincount(numbers[stays]) / max(1, int(stays.sum()))
        shares = shares[shares > 0]
        greatest = math.log(max(2, int(stays.sum())))
        return min(1.0, float(-(shares * np.log(shares)).sum() / greatest))

    return jackknife(statistic, _groups(sample), least=0.0, most=1.0)


def _nearest(sample: Sequence[Text]) -> Figure:
    scores = rouge_l_of_all(_words(sample))
    np.fill_diagonal(scores, -1.0)

    def statistic(stays: Stays) -> float:
        left = scores[np.ix_(stays, stays)]
        return float(left.max(axis=1).mean()) if len(left) > 1 else 0.0

    return jackknife(statistic, _groups(sample), least=0.0, most=1.0)


def rouge_l_of_all(texts: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
    """ROUGE-L F-measure of all pairs of token lists: [texts, texts]; 0 where one has no tokens."""
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    numbers = iter(numbered([token for tokens in texts for token in tokens]).tolist())
    spelt = ["".join(chr(_FIRST_CHARACTER + next(numbers)) for _ in tokens) for tokens in texts]
    common = cdist(spelt, spelt, scorer=LCSseq.similarity, dtype=np.uint16)
    lengths = np.array([len(each) for each in spelt], np.float32)
    return np.asarray(2 * common / np.maximum(1, lengths[:, None] + lengths[None, :]), np.float32)


def _words(sample: Sequence[Text]) -> list[list[str]]:
    return [words(each.text) for each in sample]


def _groups(sample: Sequence[Text]) -> list[str]:
    return [each.group for each in sample]
