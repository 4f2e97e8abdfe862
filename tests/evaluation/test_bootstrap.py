"""Intervals cover the truth as often as they say, groups count as one, extremes have an interval too."""

from __future__ import annotations

import random

import numpy as np
import pytest

from factory.evaluation.bootstrap import Figure, averaged, jackknife, percentile, share
from factory.evaluation.diversity import _repeated
from factory.evaluation.texts import Text

SIMULATED = 200
COVERS = (0.88, 0.99)


def covered(figures: list[Figure], truth: float) -> float:
    return float(np.mean([figure.low <= truth <= figure.high for figure in figures]))


def test_the_interval_of_a_share_covers_the_truth() -> None:
    random_ = np.random.default_rng(5)
    figures = [
        share(random_.random(80) < 0.3, [f"{data}-{n}" for n in range(80)], resamples=400) for data in range(SIMULATED)
    ]
    assert COVERS[0] <= covered(figures, 0.3) <= COVERS[1]


def grouped(random_: np.random.Generator, data: int) -> tuple[np.ndarray, list[str]]:
    """60 sources of 5 texts that nearly always agree; on the average 0.4 of the texts are hits."""
    rates = random_.choice([0.05, 0.95], p=[11 / 18, 7 / 18], size=60)
    return random_.random(300) < np.repeat(rates, 5), [f"{data}-{n}" for n in range(60) for _ in range(5)]


def test_texts_of_one_source_count_as_one_and_without_that_the_interval_would_lie() -> None:
    random_ = np.random.default_rng(6)
    right, naive = [], []
    for data in range(SIMULATED):
        hits, groups = grouped(random_, data)
        right.append(share(hits, groups, resamples=300))
        naive.append(share(hits, [f"{data}-{n}" for n in range(300)], resamples=300))
    assert COVERS[0] <= covered(right, 0.4) <= COVERS[1]
    assert covered(naive, 0.4) < 0.8
    widths = [[each.high - each.low for each in figures] for figures in (right, naive)]
    assert np.mean(widths[0]) > 1.5 * np.mean(widths[1])


def test_the_jackknife_covers_where_a_bootstrap_would_make_the_repetition_that_it_measures() -> None:
    """Texts drawn from 400 wordings: the expected share of repeats among n of them is known exactly."""
    size, wordings = 200, 400
    truth = 1 - wordings * (1 - (1 - 1 / wordings) ** size) / size
    random_ = random.Random(7)
    figures, naive = [], []
    for data in range(SIMULATED):
        sample = [Text(f"{n}", f"wording {random_.randrange(wordings)}", group=f"{data}-{n}") for n in range(size)]
        figures.append(_repeated(sample))
        if data < 20:
            numbers = np.array([int(each.text.split()[1]) for each in sample])
            groups = [each.group for each in sample]
            naive.append(
                percentile(
                    lambda weights, numbers=numbers: np.array(
                        [1 - len(set(numbers[row > 0])) / size for row in weights]
                    ),
                    groups,
                    resamples=100,
                )
            )
    assert COVERS[0] <= covered(figures, truth) <= 1.0
    assert covered(naive, truth) < 0.1


@pytest.mark.parametrize(("hit", "value"), [(True, 1.0), (False, 0.0)])
def test_where_all_agree_the_interval_is_that_of_as_many_trials(hit: bool, value: float) -> None:
    figure = share([hit] * 30, [f"{n // 3}" for n in range(30)], resamples=50)
    assert figure.value == value
    assert (figure.high - figure.low) == pytest.approx(1 - 0.025 ** (1 / 10))  # ten groups, not thirty texts


def test_the_same_data_give_the_same_interval_whatever_their_order() -> None:
    hits, groups = grouped(np.random.default_rng(8), 0)
    order = np.random.default_rng(9).permutation(300)
    one, other = share(hits, groups), share(hits[order], [groups[place] for place in order])
    assert one == share(hits, groups)
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))


def test_a_single_source_has_no_interval() -> None:
    assert share([True, False], ["a", "a"]) == Figure(0.5)
    assert jackknife(lambda stays: float(stays.sum()), ["a", "a"]) == Figure(2.0)
    assert averaged([Figure(1.0), Figure(2.0)]) == Figure(1.5)


def test_of_several_draws_the_interval_is_that_of_one() -> None:
    apart = np.array([0.0, 1.0])
    figure = percentile(lambda weights: np.tile(apart, (len(weights), 1)), ["a", "b", "c"], resamples=200)
    assert figure == Figure(0.5, 0.0, 1.0)
