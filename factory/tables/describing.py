"""Columns in words, one short line each, as `factory check` prints them.

age: integer 17 to 90
workclass: category of 9 (Private, Self-emp-not-inc, …), 5.6 % missing
id: identifier, made up anew
"""

from __future__ import annotations

from collections import Counter

from factory.tables.column import CATEGORICAL, ORDERED, Column
from factory.tables.domain import Cell
from factory.tables.schema import Schema, Table

NAMED = 2  # categories named in a line, the commonest first
LONGEST = 24  # characters of a name in a line


def describe(schema: Schema, table: Table) -> list[str]:
    """One line a column: what it holds, and how much of it is missing."""
    return [f"{short(column.name)}: {_held(column, table)}{_gaps(column, table)}" for column in schema.columns]


def short(text: str) -> str:
    """A text cut to fit a line, line breaks and the like escaped.

    >>> short("a line that goes on and on for ever")
    'a line that goes on and …'
    """
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _held(column: Column, table: Table) -> str:
    if column.kind in CATEGORICAL:
        return _categories(column, table.cells.get(column.name, []))
    if column.kind in ORDERED:
        if column.low > column.high:
            return f"{column.kind}, no values"
        places = f"{column.places} place{'' if column.places == 1 else 's'}"
        kind = {"decimal": f"decimal with {places},", "date": f"date ({column.form})"}
        return f"{kind.get(column.kind, column.kind)} {column.text(column.low)} to {column.text(column.high)}"
    return "identifier, made up anew" if column.kind == "identifier" else "text"


def _categories(column: Column, cells: list[Cell]) -> str:
    number = len(column.categories)
    if not number:
        return f"{column.kind}, no values"
    counts = Counter(cell for cell in cells if isinstance(cell, int))
    common = sorted(range(number), key=lambda code: (-counts[code], code))[:NAMED]
    shown = ", ".join(short(column.labels[code]) or "''" for code in common)
    return f"{column.kind} of {number:,} ({shown}{', …' if number > NAMED else ''})"


def _gaps(column: Column, table: Table) -> str:
    cells = table.cells.get(column.name, [])
    missing = cells.count(None)
    if missing:
        share = 100 * missing / len(cells)
        return f", {share:.1f} % missing" if share >= 0.05 else f", {missing:,} missing"
    return ", may be missing" if column.nullable else ""
