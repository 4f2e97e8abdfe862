"""Dependencies that were planted are found, and planted violations counted."""

import numpy as np
import pytest

from factory.evaluation.tables.dependencies import dependencies, violations
from factory.tables.column import Column
from factory.tables.schema import Schema, Table

from .made import made


def test_a_planted_dependency_is_found_both_ways():
    found = dependencies(made(500, 1))
    assert {"group -> number", "number -> group"} <= {each.shown for each in found}
    assert not any(each.column in ("age", "wage", "rich") for each in found)


def test_planted_violations_are_counted():
    real = made(500, 1)
    number = [*real.cells["number"]]
    for at in range(50):
        number[at] = (number[at] + 1) % 4
    score, each = violations(Table(real.schema, {**real.cells, "number": number}, 500), dependencies(real))
    assert score.value == pytest.approx(0.1)
    assert each["group -> number"] == pytest.approx(0.1)
    assert violations(real, dependencies(real))[0].value == 0.0


def test_a_pair_decides_what_neither_does_alone():
    random = np.random.default_rng(0)
    left, right = random.integers(0, 3, 600), random.integers(0, 3, 600)
    columns = tuple(Column(name=name, kind="integer", low=0, high=9) for name in ("l", "r", "sum", "free"))
    cells = {"l": left, "r": right, "sum": left * 3 + right, "free": random.integers(0, 3, 600)}
    found = {
        each.shown
        for each in dependencies(Table(Schema(columns), {name: each.tolist() for name, each in cells.items()}, 600))
    }
    assert "l, r -> sum" in found
    assert {"sum -> l", "sum -> r"} <= found
    assert not any("free" in each for each in found)


def test_what_is_nearly_constant_depends_on_nothing():
    rare = [0] * 499 + [1]
    columns = tuple(Column(name=name, kind="integer", low=0, high=9) for name in ("x", "rare"))
    table = Table(Schema(columns), {"x": [at % 5 if at < 499 else 5 for at in range(500)], "rare": rare}, 500)
    assert dependencies(table) == []


def test_values_that_no_training_row_has_break_nothing():
    real = made(500, 1)
    unseen = Table(real.schema, {**real.cells, "group": [9] * 500, "number": [9] * 500}, 500)
    assert violations(unseen, dependencies(real))[0].value == 0.0
