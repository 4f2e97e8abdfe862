"""Dependencies that hold in the real table without exception, and rows that break them.

    found = dependencies(train)            ->  [Dependency(("education",), "education-num", …), …]
    violations(table, found)               ->  Score(0.043, 0.005), {"education -> education-num": 0.043}

`X -> Y` holds if rows that agree in X agree in Y; missing is a value. X is one column, or a pair neither of which is enough
alone. A dependency is believed only if it could have failed: rows have on average ten companions with the same X, and
if Y were shuffled at least one row in twenty would break it. A row breaks it if training rows with its X all have another
Y; a row whose X no training row has breaks nothing. Real rows that were held out tell how much of what was found is chance.

Source: Papenbrock et al. 2015 (functional dependency discovery; here the plain search of one and two columns suffices), Xu et
al. 2024 (2406.14541) on generators that break them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import msgspec
import numpy as np

from factory.evaluation.tables.scores import Ints, Score, share
from factory.records import derive_seed
from factory.tables.domain import Cell
from factory.tables.schema import Table

MOST_COLUMNS: Final = 40
COMPANIONS: Final = 10
SURPRISE: Final = 0.05


class Dependency(msgspec.Struct, frozen=True):
    """A dependency, and what it says.

    Attributes:
        given: One or two columns.
        column: The column that they decide.
        holds: Its cell by the cells of the given columns.
    """

    given: tuple[str, ...]
    column: str
    holds: dict[tuple[Cell, ...], Cell]

    @property
    def shown(self) -> str:
        """As one would write it."""
        return f"{', '.join(self.given)} -> {self.column}"


def dependencies(train: Table) -> list[Dependency]:
    """All that hold; pairs are searched among the first 40 columns that can decide anything."""
    codes = {column.name: _codes(train.cells[column.name]) for column in train.schema.learned}
    random = np.random.default_rng(derive_seed("dependencies", train.rows))
    shuffled = {name: random.permutation(values) for name, values in codes.items()}
    found: list[tuple[tuple[str, ...], str]] = []
    for given in _candidates(codes, train.rows):
        order, same = _groups([codes[name] for name in given])
        for name, values in codes.items():
            if name in given or any(set(known) <= set(given) and column == name for known, column in found):
                continue
            if _broken(values, order, same) == 0 and _broken(shuffled[name], order, same) >= SURPRISE * train.rows:
                found.append((given, name))
    return [_filled(train, given, column) for given, column in found]


def violations(table: Table, known: Sequence[Dependency]) -> tuple[Score, dict[str, float]]:
    """Share of rows that break at least one dependency, and the share of rows that break each."""
    broken = np.zeros((table.rows, len(known)), bool)
    for at, each in enumerate(known):
        given = zip(*(table.cells[name] for name in each.given), strict=True)
        for row, (values, cell) in enumerate(zip(given, table.cells[each.column], strict=True)):
            broken[row, at] = values in each.holds and each.holds[values] != cell
    shares = broken.mean(axis=0) if table.rows else np.zeros(len(known))
    named = {each.shown: float(value) for each, value in zip(known, shares, strict=True)}
    return share(np.asarray(broken.any(axis=1))) if table.rows else Score(0.0), named


def _candidates(codes: dict[str, Ints], rows: int) -> Iterator[tuple[str, ...]]:
    """Columns and pairs with few enough values that rows have companions."""
    names = [name for name, values in codes.items() if 1 < len(np.unique(values)) <= rows / COMPANIONS]
    yield from ((name,) for name in names)
    for pair in combinations(names[:MOST_COLUMNS], 2):
        joint = codes[pair[0]] * (codes[pair[1]].max() + 1) + codes[pair[1]]
        if len(np.unique(joint)) <= rows / COMPANIONS:
            yield pair


def _codes(cells: Sequence[Cell]) -> Ints:
    known: dict[Cell, int] = {}
    return np.array([known.setdefault(cell, len(known)) for cell in cells], np.int64)


def _groups(given: Sequence[Ints]) -> tuple[Ints, np.typing.NDArray[np.bool_]]:
    """Rows sorted by what is given, and whether each row but the first agrees with the one before it."""
    order = np.lexsort(tuple(given))
    same = np.logical_and.reduce([values[order][1:] == values[order][:-1] for values in given])
    return order, same


def _broken(values: Ints, order: Ints, same: np.typing.NDArray[np.bool_]) -> int:
    """How often a row differs from the one before it that has the same given cells; 0 if all agree."""
    placed = values[order]
    return int(np.sum(same & (placed[1:] != placed[:-1])))


def _filled(train: Table, given: tuple[str, ...], column: str) -> Dependency:
    keys = zip(*(train.cells[name] for name in given), strict=True)
    return Dependency(given, column, dict(zip(keys, train.cells[column], strict=True)))
