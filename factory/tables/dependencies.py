"""One column decided by others: `Determines(schema, ("education",), "education-num", table)`.

Learnt from the training table: "Bachelors" always goes with 13, so a row that has the one gets the other, whichever is
drawn first. Missing counts as a value here. A combination of deciding cells that the table does not have is not made
up, since nothing is known of what it decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from factory.tables.chains import RelationError
from factory.tables.domain import Cell, Domain, of_codes
from factory.tables.schema import Schema, Table

MOST_ANSWERS = 10_000  # kept, as rows ask the same again and again

_Row = tuple[Cell, ...]


class Determines:
    """A functional dependency."""

    def __init__(self, schema: Schema, by: Sequence[str], what: str, table: Table) -> None:
        """Learn what decides what.

        Raises:
            RelationError: If the table has two rows that agree in `by` and differ in `what`.
        """
        self.by, self.what = tuple(by), what
        self.columns = (*self.by, what)
        self._full = {name: schema.named[name].domain for name in self.columns}
        self._learnt: dict[_Row, Cell] = {}
        first: dict[_Row, int] = {}
        keys = zip(*(table.cells[name] for name in self.by), strict=True)
        for index, (key, cell) in enumerate(zip(keys, table.cells[what], strict=True)):
            if key not in self._learnt:
                self._learnt[key], first[key] = cell, index
            elif self._learnt[key] != cell:
                raise RelationError(self._contradiction(schema, table, first[key], index))
        self._rows: list[_Row] = [(*key, cell) for key, cell in self._learnt.items()]
        self._index: dict[tuple[int, ...], dict[_Row, list[_Row]]] = {}
        self._answers: dict[tuple[object, ...], Domain] = {}

    @property
    def shown(self) -> str:
        """As the user would write it."""
        return f"{', '.join(self.by)} -> {self.what}"

    def narrow(self, column: str, known: Mapping[str, Cell], domains: Mapping[str, Domain]) -> Domain:
        """What a column may be so that one of the learnt combinations can be reached; exact for every domain."""
        at = self.columns.index(column)
        given = tuple(i for i, name in enumerate(self.columns) if i != at and name in known)
        cells = tuple(known[self.columns[i]] for i in given)
        cut = tuple(
            (i, domains[name])
            for i, name in enumerate(self.columns)
            if i != at and name not in known and domains[name] != self._full[name]
        )
        asked = (at, given, cells, cut)
        if asked not in self._answers:
            if len(self._answers) >= MOST_ANSWERS:
                self._answers.clear()
            rows = self._matching(given, cells)
            self._answers[asked] = _domain(row[at] for row in rows if all(d.holds(row[i]) for i, d in cut))
        return self._answers[asked] & domains[column]

    def broken(self, cells: Mapping[str, Cell]) -> bool:
        """Whether a row breaks it, or has a combination that was not learnt."""
        key = tuple(cells.get(name) for name in self.by)
        return key not in self._learnt or self._learnt[key] != cells.get(self.what)

    def _matching(self, given: tuple[int, ...], cells: _Row) -> list[_Row]:
        if given not in self._index:
            index: dict[_Row, list[_Row]] = {}
            for row in self._rows:
                index.setdefault(tuple(row[i] for i in given), []).append(row)
            self._index[given] = index
        return self._index[given].get(cells, [])

    def _contradiction(self, schema: Schema, table: Table, one: int, other: int) -> str:
        def shown(index: int) -> str:
            values = ((name, schema.named[name].value(table.cells[name][index])) for name in self.columns)
            return f"row {index + 1:,} has " + ", ".join(f"{name} {value!r}" for name, value in values)

        return (
            f"relation '{self.shown}' does not hold in the table: {shown(one)}, but {shown(other)}; correct the rows or "
            f"drop the relation."
        )


def _domain(cells: Iterable[Cell]) -> Domain:
    found = set(cells)
    codes = of_codes(cell for cell in found if isinstance(cell, int))
    texts = tuple(sorted(cell for cell in found if isinstance(cell, str)))
    return Domain(codes.intervals, None in found, texts=texts)
