"""Likeness of columns and pairs, against figures worked out by hand."""

import numpy as np
import pytest

from factory.evaluation.tables.shapes import Described, Shapes
from factory.tables.column import Column
from factory.tables.schema import Schema, Table

from .made import made, shuffled

PLAIN = Schema(
    (
        Column(name="x", kind="integer", nullable=True, low=0, high=99),
        Column(name="y", kind="integer", nullable=True, low=0, high=99),
        Column(name="c", kind="category", nullable=True, categories=("a", "b")),
    )
)


def table(x, y, c):
    return Table(PLAIN, {"x": x, "y": y, "c": c}, len(x))


def alike(real, other):
    shapes = Shapes(real)
    found = Described(other, shapes.edges)
    return shapes.column_shapes(found).tolist(), shapes.pair_trends(found).tolist()


def test_columns_by_hand():
    real = table([1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 1])
    other = table([1, 2, 3, 3], [None, 2, 3, 4], [0, 0, 0, None])
    columns, _ = alike(real, other)
    # x: the shares up to 3 differ by a quarter; y: a quarter is missing that was 1, which is all below or all above
    assert columns == pytest.approx([0.75, 0.75, 0.5])
    # half is missing and the rest moved up: with missing below they would make up for each other
    assert alike(real, table([None, None, 4, 4], [1, 2, 3, 4], [0, 0, 1, 1]))[0][0] == pytest.approx(0.25)


def test_pairs_by_hand():
    real = table([1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 1])
    other = table([1, 2, 3, 4], [4, 3, 2, 1], [0, 1, 0, 1])
    _, pairs = alike(real, other)
    assert pairs[0] == pytest.approx(0.0)  # correlation 1 and -1
    assert pairs[1] == pytest.approx(0.5)  # x and c: half of the rows lie in other cells
    assert alike(real, real)[1] == pytest.approx([1.0, 1.0, 1.0])


def test_an_outlier_does_not_decide_a_correlation():
    real = made(500, 1)
    wage = [*real.cells["wage"]]
    wage[0] = 10**7
    other = Table(real.schema, {**real.cells, "wage": wage}, real.rows)
    assert min(alike(real, other)[1]) > 0.98


def test_shuffled_columns_have_perfect_shapes_and_weak_pairs():
    real = made(500, 1)
    found = Shapes(real)(shuffled(real, 2), np.random.default_rng(0))
    assert found["shape"].value == 1.0
    assert found["pair"].value < 0.75
    assert 0 < found["pair"].error < 0.05


def test_the_error_of_shapes_covers_other_real_samples():
    real = made(400, 1)
    found = [Shapes(real)(made(400, seed), np.random.default_rng(0))["shape"] for seed in range(2, 12)]
    assert np.std([each.value for each in found]) < 2.5 * np.mean([each.error for each in found])


def test_missing_everywhere_and_one_row():
    real = table([None] * 30, list(range(30)), [None] * 30)
    columns, pairs = alike(real, table([None], [5], [None]))
    assert columns[0] == columns[2] == 1.0
    assert np.isfinite([*columns, *pairs]).all()
