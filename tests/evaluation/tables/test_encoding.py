"""Cells become numbers that keep order and equality, whatever their kind and size."""

import numpy as np
import pytest

from factory.evaluation.tables.encoding import MISSING_PLACE, Encoder, canonical, numbers, row_keys
from factory.tables.column import Column, code_of_float
from factory.tables.schema import Schema, Table

from .made import made

ODD = Schema(
    (
        Column(name="huge", kind="integer", low=0, high=10**400),
        Column(name="float", kind="float", nullable=True, low=code_of_float(-1e308), high=code_of_float(1e308)),
        Column(name="day", kind="date", low=0, high=10**6),
        Column(name="note", kind="text"),
        Column(name="id", kind="identifier"),
        Column(name="many", kind="category", categories=tuple(f"c{at}" for at in range(200))),
        Column(name="empty", kind="category", nullable=True),
        Column(name="never", kind="decimal", places=2, nullable=True),
    )
)


def odd(rows: int) -> Table:
    cells = {
        "huge": [10 ** (at * 400 // rows) for at in range(rows)],
        "float": [None if at % 7 == 0 else code_of_float((-1) ** at * 10.0 ** (300 * at / rows)) for at in range(rows)],
        "day": list(range(rows)),
        "note": [f"note {at % 3}" + "!" * (at % 5) for at in range(rows)],
        "id": [f"id{at}" for at in range(rows)],
        "many": [at % 200 for at in range(rows)],
        "empty": [None] * rows,
        "never": [None] * rows,
    }
    return Table(ODD, cells, rows)


def test_any_kind_of_cell_is_finite_in_all_views():
    table = odd(300)
    encoded = Encoder(table)(table)
    for view in (encoded.linear, encoded.places):
        assert np.isfinite(view).all()
    assert not np.isinf(encoded.trees).any()
    assert np.abs(encoded.linear).max() <= 5
    assert encoded.places[:, 0].tolist() == sorted(encoded.places[:, 0].tolist())
    assert (encoded.places[:, -1] == MISSING_PLACE).all()


def test_numbers_are_what_cells_stand_for():
    column = Column(name="x", kind="float", low=0, high=0)
    assert numbers(column, [code_of_float(-2.5), None, code_of_float(1e-3)]).tolist()[::2] == [-2.5, 1e-3]
    assert numbers(Column(name="x", kind="decimal", places=2), [1990]).tolist() == [19.9]
    assert numbers(Column(name="x", kind="integer"), [10**400, -(10**400)]).tolist() == [1e300, -1e300]


def test_features_know_their_column_and_rare_categories_share_one():
    encoder = Encoder(odd(300))
    encoded = encoder(odd(300))
    assert len(encoder.linear_of) == encoded.linear.shape[1]
    assert len(encoder.trees_of) == encoded.trees.shape[1]
    assert encoder.linear_of.count("many") == 51
    assert "id" not in encoder.linear_of


def test_places_are_even_over_the_training_rows_and_keep_what_lies_between():
    column = Column(name="x", kind="integer", low=0, high=100)
    table = Table(Schema((column,)), {"x": [0, 0, 0, 10, 20]}, 5)
    other = Table(Schema((column,)), {"x": [-5, 0, 15, 16, 99]}, 5)
    assert Encoder(table)(other).places[:, 0].tolist() == pytest.approx([0.3, 0.3, 0.8, 0.82, 0.9])


def test_canonical_order_does_not_know_the_order_of_rows():
    table = made(200, 1)
    turned = table.take(list(reversed(range(200))))
    assert canonical(turned).cells == canonical(table).cells
    assert sorted(row_keys(turned).tolist()) == sorted(row_keys(table).tolist())
