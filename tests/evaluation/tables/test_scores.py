"""Intervals hold the truth about as often as they say; errors agree with theory."""

import numpy as np
import pytest

from factory.evaluation.tables.scores import Score, auc, of_confusion, of_rows, over_seeds, share


def test_the_area_is_the_share_of_pairs_in_order():
    positive = np.array([True, True, False, False])
    assert auc(positive, np.array([0.9, 0.4, 0.4, 0.1])).value == pytest.approx(3.5 / 4)
    assert auc(positive, np.array([0.9, 0.8, 0.2, 0.1])).value == 1.0


def test_the_error_of_an_area_is_its_spread_over_samples():
    random = np.random.default_rng(0)
    which = np.arange(300) < 120
    found = [auc(which, random.normal(size=300) + which) for _ in range(300)]
    assert np.mean([each.error for each in found]) == pytest.approx(np.std([each.value for each in found]), rel=0.15)


@pytest.mark.parametrize(("row_error", "seed_error"), [(0.02, 0.0), (0.02, 0.02), (0.005, 0.03), (0.0, 0.02)])
def test_intervals_of_95_percent_hold_the_truth_about_as_often(row_error, seed_error):
    """All seeds share the error of the test rows; each adds its own."""
    random = np.random.default_rng(1)
    hits = []
    for _ in range(1000):
        shared = random.normal(0, row_error)
        figure = over_seeds([Score(0.8 + shared + random.normal(0, seed_error), row_error) for _ in range(3)])
        hits.append(figure.low <= 0.8 <= figure.high)
    assert 0.92 <= np.mean(hits) <= 0.99


def test_one_seed_without_an_error_has_no_interval_and_ends_are_cut():
    assert over_seeds([Score(0.5)]).low is None
    figure = over_seeds([Score(0.99, 0.02)] * 3, least=0.0, most=1.0)
    assert figure.high == 1.0
    assert figure.low == pytest.approx(0.99 - 1.96 * 0.02, abs=1e-4)


def test_none_of_fifty_is_not_certain():
    found = share(np.zeros(50, bool))
    assert found.value == 0.0
    assert found.error > 0.01


def test_bootstraps_agree_with_theory():
    random = np.random.default_rng(2)
    values = random.normal(size=400)
    found = of_rows(lambda rows: float(values[rows].mean()), 400, random, 400)
    assert found.error == pytest.approx(values.std() / 20, rel=0.15)
    confusion = np.array([[80, 20], [30, 70]])
    told = of_confusion(lambda each: (each[:, 0, 0] + each[:, 1, 1]) / each.sum(axis=(1, 2)), confusion, random, 1000)
    assert told.value == 0.75
    assert told.error == pytest.approx(np.sqrt(0.75 * 0.25 / 200), rel=0.15)
