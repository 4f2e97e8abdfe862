"""Faults are counted by column and reason."""

import pytest

from factory.evaluation.tables.validity import checked, validity
from factory.tables.rules import Rules

from .made import SCHEMA, made, values


class Under:
    """A relation for the test: number < age."""

    shown = "number < age"
    columns = ("number", "age")

    def narrow(self, column, known, domains):
        return domains[column]

    def broken(self, cells):
        return None not in (cells["age"], cells["number"]) and cells["number"] >= cells["age"]


GOOD = {"age": 30, "group": "a", "number": 3, "wage": 12.5, "rich": True}


def test_each_fault_is_counted_once_under_its_name():
    rows = [
        GOOD,
        {**GOOD, "age": None},
        {**GOOD, "age": "old"},
        {**GOOD, "group": "z"},
        {**GOOD, "number": 9},
        {**GOOD, "number": None},
        {**GOOD, "age": 2},
        {**GOOD, "wage": "x", "group": "z"},
        {},
        {**GOOD, "wage": "12.50"},
    ]
    found, table = checked(SCHEMA, Rules(SCHEMA, [Under()]), rows)
    assert found.faults == {
        "group: out of domain": 2,
        "number: missing": 2,
        "age: unreadable": 1,
        "breaks number < age": 1,
        "group: missing": 1,
        "number: out of domain": 1,
        "rich: missing": 1,
        "wage: missing": 1,
        "wage: unreadable": 1,
    }
    assert (found.rows, found.complete, found.readable) == (10, 0.8, 0.8)
    assert (found.in_domain, found.in_relation, found.valid) == pytest.approx((0.7, 0.9, 0.3))
    assert table.rows == 7


def test_real_rows_are_valid_as_cells_and_as_values():
    table = made(100, 1)
    for rows in (table, values(table)):
        found, read = checked(SCHEMA, Rules(SCHEMA), rows)
        assert (found.valid, found.faults) == (1.0, {})
        assert read.cells == table.cells
    assert validity(SCHEMA, Rules(SCHEMA), []).valid == 1.0
