"""Shares of values in the columns of real and synthetic tables, and how alike pairs of columns are: what a page draws.

    distributions({"great": table}, train)
        ->  Distributions(columns=(Histogram("age", ("17 to 21", …), {"real": (0.16, …), "great": (0.15, …)}), …), pairs=…)

Ordered columns have bins of about equal share of the real rows, and frequent values one of their own; categories are the eleven most frequent of the
real rows, then all others. Missing has a bar of its own where there is any. Free text is shown by its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from factory.evaluation.tables.encoding import Floats, Ints, numbers
from factory.evaluation.tables.shapes import Described, Shapes
from factory.evaluation.tables.validity import Rows, checked
from factory.tables.column import CATEGORICAL, WRITTEN, Column
from factory.tables.domain import Cell
from factory.tables.rules import Rules
from factory.tables.schema import Table

REAL: Final = "real"
BARS: Final = 12
FEWEST: Final = 20
_WHOLE: Final = 1e9  # whole numbers up to here are written out
_OTHERS: Final = "all others"
_MISSING: Final = "missing"


class Histogram(msgspec.Struct, frozen=True):
    """One column.

    Attributes:
        column: Its name.
        labels: What each bar stands for.
        shares: Shares of rows by set, `real` first; each sums to 1.
        likeness: Similarity of each set to the real column, in [0, 1].
    """

    column: str
    labels: tuple[str, ...]
    shares: dict[str, tuple[float, ...]]
    likeness: dict[str, float]


class Distributions(msgspec.Struct, frozen=True):
    """All columns, and pairs of them.

    Attributes:
        columns: A histogram for each column but identifiers.
        names: Columns in the order of `pairs`.
        pairs: By set, the similarity of each pair in the order of `itertools.combinations` of names.
    """

    columns: tuple[Histogram, ...]
    names: tuple[str, ...]
    pairs: dict[str, tuple[float, ...]]


def distributions(sets: Mapping[str, Rows], train: Table) -> Distributions:
    """Count; sets of fewer than 20 readable rows are left out."""
    rules = Rules(train.schema)
    tables = {name: checked(train.schema, rules, _values(rows, train))[1] for name, rows in sets.items()}
    tables = {name: table for name, table in tables.items() if table.rows >= FEWEST}
    shapes = Shapes(train)
    described = {name: Described(table, shapes.edges) for name, table in tables.items()}
    alike = {name: shapes.column_shapes(each) for name, each in described.items()}
    columns = [column for column in train.schema.columns if column.name in shapes.names]
    histograms = [
        _histogram(column, {REAL: train, **tables}, {name: float(alike[name][at]) for name in tables})
        for at, column in enumerate(columns)
    ]
    pairs = {name: tuple(shapes.pair_trends(each).tolist()) for name, each in described.items()}
    return Distributions(tuple(histograms), tuple(shapes.names), pairs)


def _values(rows: Rows, train: Table) -> Rows:
    if isinstance(rows, Table) and rows.schema != train.schema:
        return [rows.schema.row(rows.row(number)) for number in range(rows.rows)]
    return rows


def _histogram(column: Column, tables: Mapping[str, Table], likeness: dict[str, float]) -> Histogram:
    cells = {name: table.cells[column.name] for name, table in tables.items()}
    if column.kind in CATEGORICAL:
        labels, counts = _categories(column, cells)
    else:
        labels, counts = _bins(column, {name: numbers(column, each) for name, each in cells.items()})
    if any(count[-1] for count in counts.values()):
        labels = [*labels, _MISSING]
    shares = {name: tuple((count / max(1, count.sum())).tolist()[: len(labels)]) for name, count in counts.items()}
    return Histogram(column.name, tuple(labels), shares, likeness)


def _categories(column: Column, cells: Mapping[str, Sequence[Cell]]) -> tuple[list[str], dict[str, Floats]]:
    """Labels, and counts of each set with missing ones last."""
    frequent = [code for code, _ in Counter(cell for cell in cells[REAL] if cell is not None).most_common()]
    shown = frequent if len(frequent) <= BARS else frequent[: BARS - 1]
    places = {code: at for at, code in enumerate(shown)}
    others = len({cell for each in cells.values() for cell in each if cell is not None} - set(shown)) > 0
    labels = [column.text(code) for code in shown] + ([_OTHERS] if others else [])
    counts = {}
    for name, each in cells.items():
        at = [len(labels) if cell is None else places.get(cell, len(shown)) for cell in each]
        counts[name] = np.bincount(np.array(at, np.int64), minlength=len(labels) + 1).astype(np.float64)
    return labels, counts


def _bins(column: Column, values: Mapping[str, Floats]) -> tuple[list[str], dict[str, Floats]]:
    """Labels, and counts of each set with missing ones last."""
    real = values[REAL][~np.isnan(values[REAL])]
    if not len(real):
        return ["any value"], {name: _counted(each, np.zeros(0)) for name, each in values.items()}
    distinct, counts = np.unique(real, return_counts=True)
    first = _first(counts)
    last = [*(at - 1 for at in first[1:]), len(distinct) - 1]
    ends = [
        (_text(column, distinct[low]), _text(column, distinct[high])) for low, high in zip(first, last, strict=True)
    ]
    labels = [low if low == high else f"{low} to {high}" for low, high in ends]
    edges = np.array([distinct[at] / 2 + distinct[at - 1] / 2 for at in first[1:]])
    return labels, {name: _counted(each, edges) for name, each in values.items()}


def _first(counts: Ints) -> list[int]:
    """Where bins begin: of about equal share, and a value that has more than that stands alone."""
    if len(counts) <= BARS:
        return list(range(len(counts)))
    share = counts.sum() / BARS
    first, held = [0], 0
    for at, count in enumerate(counts):
        if held and (held >= share or count > share):
            first.append(at)
            held = 0
        held += count
    return first


def _counted(values: Floats, edges: Floats) -> Floats:
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    return np.bincount(bins.astype(np.int64), minlength=len(edges) + 2).astype(np.float64)


def _text(column: Column, value: float) -> str:
    if column.kind in WRITTEN:
        return f"{value:.0f} characters"
    if column.kind == "date":
        return column.text(round(value))
    return f"{value:,.0f}" if value == round(value) and abs(value) < _WHOLE else f"{value:,.6g}"
