"""Macro-F1 and accuracy by hand, better labels give better figures, and what is missing is said."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from factory.errors import UserError
from factory.evaluation.downstream import _scored, majority, utility
from factory.evaluation.texts import Text, drawn_by_class

from .grammar import texts

TEST = texts(200, 90, labelled=True, prefix="test")


def mislabelled(share: float) -> list[Text]:
    random_ = random.Random(f"labels {share}")
    made = texts(300, 91, labelled=True)
    return [
        msgspec.structs.replace(each, label=random_.choice(["happy", "sad"])) if n < share * len(made) else each
        for n, each in enumerate(made)
    ]


def test_figures_are_those_of_sklearn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    random_ = np.random.default_rng(1)
    classes = ["a", "b", "c"]
    test = [Text(f"{n}", "x", classes[random_.integers(3)], f"{n}") for n in range(90)]
    predicted = random_.integers(3, size=(1, 90))
    found = _scored(predicted, test, classes, 5, 50)
    actual, named = [each.label for each in test], [classes[n] for n in predicted[0]]
    assert found.macro_f1.value == pytest.approx(f1_score(actual, named, average="macro"))
    assert found.accuracy.value == pytest.approx(accuracy_score(actual, named))


def test_the_majority_line_by_hand() -> None:
    test = [Text(f"{n}", "x", "a" if n < 30 else "b", f"{n}") for n in range(40)]
    found = majority(test, test, resamples=50)
    assert found.accuracy.value == 0.75
    assert found.macro_f1.value == pytest.approx((2 * 30 / 70 + 0) / 2)


def test_the_more_labels_are_wrong_the_worse_is_the_classifier() -> None:
    found = [utility(mislabelled(share), TEST, size=150, resamples=100) for share in (0.0, 0.7, 1.0)]
    values = [each.macro_f1.value for each in found]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert abs(values[-1] - 0.5) < 0.2
    assert found[0].macro_f1.low > found[-1].macro_f1.high
    assert (found[0].trained_on, found[0].draws) == (150, 5)


def test_every_class_keeps_its_share_in_a_draw() -> None:
    made = [Text(f"{n}", "x", "a" if n < 90 else "b" if n < 99 else "c") for n in range(100)]
    labels = [each.label for each in drawn_by_class(made, 51)]
    assert sorted(labels) == ["a"] * 46 + ["b"] * 4 + ["c"]
    assert sorted(each.label for each in drawn_by_class(made, 20)) == ["a"] * 18 + ["b"] + ["c"]


def test_what_is_missing_is_said() -> None:
    happy = [each for each in TEST if each.label == "happy"]
    unlabelled = [msgspec.structs.replace(TEST[0], label=""), *TEST]
    for train, test, sentence in (
        (happy, TEST, "no text of the class 'sad', which the test texts have"),
        (TEST, happy, "test texts of at least two classes, found only 'happy'"),
        ([*TEST, Text("z", "z", "angry")], TEST, "the class 'angry' is not among those of the test texts: happy, sad"),
        (unlabelled, TEST, "1 of 201 texts have no label"),
    ):
        with pytest.raises(UserError, match=sentence):
            utility(train, test, size=10)


def test_the_interval_of_macro_f1_covers_the_truth() -> None:
    """A classifier that is right with chance 0.7 in a class of 70 % and 0.6 in the other: macro-F1 by hand."""
    true_a, true_b = 0.7 * 0.7, 0.3 * 0.6
    false_a, false_b = 0.3 * 0.4, 0.7 * 0.3
    truth = (2 * true_a / (2 * true_a + false_a + false_b) + 2 * true_b / (2 * true_b + false_a + false_b)) / 2
    random_ = np.random.default_rng(2)
    covered = []
    for data in range(150):
        actual = (random_.random(150) < 0.3).astype(int)
        wrong = random_.random(150) < np.where(actual == 0, 0.3, 0.4)
        test = [Text(f"{n}", "x", "ab"[label], f"{data}-{n}") for n, label in enumerate(actual)]
        figure = _scored(np.where(wrong, 1 - actual, actual)[None], test, ["a", "b"], 1, 200).macro_f1
        covered.append(figure.low <= truth <= figure.high)
    assert 0.88 <= np.mean(covered) <= 0.99
