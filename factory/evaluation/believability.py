"""What share of synthetic texts does a discriminator take for real that has seen nothing of their sources?

    believability(real, synthetic)  ->  judged_real 0.21 [0.19, 0.23], real_judged_real 0.81 [0.79, 0.83], auc 0.88 …

Veselovsky et al. 2023 (arXiv 2305.15041) call this share believability. The same discriminator that filters texts
cannot measure it: texts that it lets pass pass it again. So texts are split in two by the hash of their source, the
real text and all that was made from it together. A discriminator that is trained on one half measures the other, and
the reverse, so that each text is measured once. As many real as synthetic texts are trained on, so that a probability of
0.5 is fair; the share of held-out real texts that are taken for real is the line to compare with: where synthetic texts
are copies of real ones, both shares are equal and the AUC is 0.5.

What it cannot tell apart: a set with other shares of the classes than the real texts have is easier to see through.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from factory.classifiers.tfidf import TfidfClassifier
from factory.errors import UserError
from factory.evaluation.bootstrap import RESAMPLES, Figure, Floats, percentile, share
from factory.evaluation.texts import Text, drawn, fold

FEWEST = 5
REAL, SYNTHETIC = "real", "synthetic"
_FAIR = 0.5


class Believability(msgspec.Struct, frozen=True):
    """What held-out discriminators say.

    Attributes:
        judged_real: Share of synthetic texts taken for real.
        real_judged_real: The same share of the real texts.
        auc: Chance that a real text looks more real than a synthetic one: 0.5 if they cannot be told apart, 1 if always.
        trained_on: Texts of each side that each of the two discriminators was trained on.
    """

    judged_real: Figure
    real_judged_real: Figure
    auc: Figure
    trained_on: tuple[int, int]


def believability(
    real: Sequence[Text], synthetic: Sequence[Text], *, size: int | None = None, resamples: int = RESAMPLES
) -> Believability:
    """Measure every text by the discriminator of the other half.

    Args:
        real: Real texts, with their groups.
        synthetic: Synthetic texts, with their groups.
        size: Most texts of a side to train on, so that sets of different sizes meet discriminators of equal strength.
        resamples: For the intervals.

    Raises:
        UserError: If a half has too few texts.
    """
    trained_on = training_sizes(real, synthetic, size)
    scores, folds, is_real, groups = _measured(real, synthetic, trained_on)
    judged = scores >= _FAIR
    sides = {side: np.flatnonzero(is_real == side) for side in (True, False)}
    shares = {
        side: share(judged[places], [groups[place] for place in places], resamples=resamples)
        for side, places in sides.items()
    }
    halves = [_Ranking(scores, is_real, np.flatnonzero(folds == half)) for half in (0, 1)]

    def auc(weights: Floats) -> Floats:
        found = [half.auc(weights) for half in halves]
        counts = [half.synthetic(weights) for half in halves]
        return np.asarray((found[0] * counts[0] + found[1] * counts[1]) / (counts[0] + counts[1]))

    return Believability(shares[False], shares[True], percentile(auc, groups, resamples=resamples), trained_on)


def training_sizes(real: Sequence[Text], synthetic: Sequence[Text], size: int | None = None) -> tuple[int, int]:
    """Texts of each side that each half can train on.

    Raises:
        UserError: If that is too few.
    """
    counts = [sum(fold(each.group) == half for each in side) for half in (0, 1) for side in (real, synthetic)]
    if min(counts) < FEWEST:
        raise UserError(
            f"believability: expected at least {FEWEST} real and {FEWEST} synthetic texts in each half, split by source; "
            f"found {counts[0]} and {counts[1]}, {counts[2]} and {counts[3]}."
        )
    sizes = (min(counts[:2]), min(counts[2:]))
    return sizes if size is None else (min(sizes[0], size), min(sizes[1], size))


def _measured(
    real: Sequence[Text], synthetic: Sequence[Text], trained_on: tuple[int, int]
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.bool_], list[str]]:
    """Probability of being real, half, side and group of every text: [real, then synthetic]."""
    texts = [*real, *synthetic]
    folds = np.array([fold(each.group) for each in texts])
    is_real = np.arange(len(texts)) < len(real)
    scores = np.zeros(len(texts))
    for half in (0, 1):
        model = _discriminator(
            drawn([each for each in real if fold(each.group) == half], trained_on[half]),
            drawn([each for each in synthetic if fold(each.group) == half], trained_on[half]),
        )
        others = np.flatnonzero(folds != half)
        found = model.probabilities([texts[place].text for place in others])
        scores[others] = found[:, model.classes.index(REAL)]
    return scores, folds, is_real, [each.group for each in texts]


def _discriminator(real: Sequence[Text], synthetic: Sequence[Text]) -> TfidfClassifier:
    texts = [each.text for each in (*real, *synthetic)]
    return TfidfClassifier().fit(texts, [REAL] * len(real) + [SYNTHETIC] * len(synthetic))


class _Ranking:
    """Texts of one half in the order of their scores, for the AUC of any weights."""

    def __init__(self, scores: Floats, is_real: npt.NDArray[np.bool_], places: npt.NDArray[np.int64]) -> None:
        self._places = places[np.argsort(scores[places], kind="stable")]
        self._is_real = is_real[self._places]
        _, self._first = np.unique(scores[self._places], return_index=True)

    def synthetic(self, weights: Floats) -> Floats:
        """Weight of the synthetic texts: [resamples]."""
        return np.asarray((weights[:, self._places] * ~self._is_real).sum(axis=1))

    def auc(self, weights: Floats) -> Floats:
        """Chance that a real text has the greater score, ties half: [resamples]; 0.5 where a side is missing."""
        mine = weights[:, self._places]
        real = np.add.reduceat(mine * self._is_real, self._first, axis=1)
        synthetic = np.add.reduceat(mine * ~self._is_real, self._first, axis=1)
        below = np.cumsum(synthetic, axis=1) - synthetic / 2
        pairs = real.sum(axis=1) * synthetic.sum(axis=1)
        return np.asarray(np.divide((real * below).sum(axis=1), pairs, out=np.full(len(mine), 0.5), where=pairs > 0))
