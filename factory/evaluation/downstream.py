"""Is a classifier good that was trained on synthetic texts? It is tested on real ones.

    utility(synthetic, test, size=500)  ->  macro_f1 0.52 [0.48, 0.56], accuracy 0.60 [0.55, 0.65], 5 draws of 500

Sets of different sizes are compared at equal size, each class of a set with its share, as the mean over draws. Two
lines belong beside it: a classifier that always names the most frequent class, and the same classifier trained on real
texts. What training texts happened to be drawn matters as much as what test texts: an interval is that of one draw, on
test texts that are resampled by group. Draws of half a set differ from each other as much as such sets do
(half-sampling: sigma^2 (2/n - 1/n)), so `compare` draws half of the smallest set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from factory.classifiers.tfidf import TfidfClassifier
from factory.errors import UserError
from factory.evaluation.bootstrap import RESAMPLES, Figure, Floats, percentile
from factory.evaluation.texts import Text, drawn_by_class

DRAWS = 5


class Utility(msgspec.Struct, frozen=True):
    """How well a classifier does on the real test texts.

    Attributes:
        macro_f1: Mean of the F1 of each class.
        accuracy: Share of the test texts whose class it names.
        trained_on: Texts that it was trained on; 0 for the most frequent class.
        draws: Samples of that size that were trained on.
    """

    macro_f1: Figure
    accuracy: Figure
    trained_on: int
    draws: int


def utility(
    train: Sequence[Text], test: Sequence[Text], *, size: int, draws: int = DRAWS, resamples: int = RESAMPLES
) -> Utility:
    """Train on draws of one set, test on the other.

    Raises:
        UserError: If the training texts lack a class of the test texts, or have one that those lack.
    """
    classes = sorted({each.label for each in test})
    found = Counter(each.label for each in train)
    missing = [name for name in classes if not found[name]]
    strange = sorted(set(found) - set(classes))
    if len(classes) < 2:
        raise UserError(f"utility: expected test texts of at least two classes, found only '{''.join(classes)}'.")
    if missing:
        raise UserError(f"utility: no text of the class '{missing[0]}', which the test texts have.")
    if found[""]:
        raise UserError(f"utility: {found['']:,} of {len(train):,} texts have no label.")
    if strange:
        raise UserError(
            f"utility: the class '{strange[0]}' is not among those of the test texts: {', '.join(classes)}."
        )
    samples = [drawn_by_class(train, size, draw) for draw in range(draws if len(train) > size else 1)]
    predicted = [_predicted(sample, test, classes) for sample in samples]
    return _scored(np.array(predicted), test, classes, len(samples[0]), resamples)


def majority(train: Sequence[Text], test: Sequence[Text], *, resamples: int = RESAMPLES) -> Utility:
    """What naming the most frequent class of the training texts comes to."""
    counts = Counter(each.label for each in train)
    name = max(sorted(counts), key=counts.__getitem__)
    classes = sorted({each.label for each in (*train, *test)})
    predicted = np.full((1, len(test)), classes.index(name))
    return _scored(predicted, test, classes, 0, resamples)


def _predicted(train: Sequence[Text], test: Sequence[Text], classes: list[str]) -> npt.NDArray[np.int64]:
    model = TfidfClassifier().fit([each.text for each in train], [each.label for each in train])
    places = np.array([classes.index(name) for name in model.classes])
    return np.asarray(places[model.probabilities([each.text for each in test]).argmax(axis=1)])


def _scored(
    predicted: npt.NDArray[np.int64], test: Sequence[Text], classes: list[str], trained_on: int, resamples: int
) -> Utility:
    """Figures of predictions [draws, test texts]."""
    actual = np.array([classes.index(each.label) for each in test])
    groups = [each.group for each in test]
    right = (predicted == actual).astype(np.float64)

    def accuracy(weights: Floats) -> Floats:
        return np.asarray(weights @ right.T / weights.sum(axis=1, keepdims=True))

    def macro_f1(weights: Floats) -> Floats:
        return np.stack([_macro_f1(weights, draw, actual, len(classes)) for draw in predicted], axis=1)

    return Utility(
        percentile(macro_f1, groups, resamples=resamples),
        percentile(accuracy, groups, resamples=resamples),
        trained_on,
        len(predicted),
    )


def _macro_f1(weights: Floats, predicted: npt.NDArray[np.int64], actual: npt.NDArray[np.int64], classes: int) -> Floats:
    """Macro-F1 of each resample: [resamples]; a class that is neither there nor named does not count."""
    scores = []
    for number in range(classes):
        named, there = (predicted == number).astype(np.float64), (actual == number).astype(np.float64)
        both = weights @ (named * there)
        total = weights @ (named + there)
        scores.append(np.divide(2 * both, total, out=np.full(len(weights), np.nan), where=total > 0))
    return np.asarray(np.nanmean(scores, axis=0))
