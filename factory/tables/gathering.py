"""The values of one column as a file gives them: which rows hold which, and which rows hold none.

From the rows `{"age": "39"}, {"age": ""}, {}` of a CSV file, `gather(rows, "age", …)` keeps the one value "39" and the
keys `["39", None, None]`. Kinds are decided on the distinct values only, which are few where rows are many.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property

from factory.errors import UserError
from factory.tables.column import text_of
from factory.tables.dates import utc

HELD = (str, int, float, bool, Decimal, datetime, date, time)


class InferenceError(UserError):
    """A table whose columns cannot be told, or a correction that does not fit it."""


@dataclass(frozen=True)
class Values:
    """The values of a column.

    Attributes:
        origin: File that they come from, as messages name it.
        name: Column.
        written: Whether they are the texts of CSV cells, so that a number is read from text.
        keys: One a row: what stands for its value in `values`; None where it is missing.
        values: Distinct values by key, in the order of their first rows. No two keys are the same value of the same
            type; a key is the value itself where all have one type.
        missing: Texts that count as missing.
    """

    origin: str
    name: str
    written: bool
    keys: list[Hashable]
    values: dict[Hashable, object]
    missing: tuple[str, ...]

    @cached_property
    def filled(self) -> int:
        """Number of rows that are not missing."""
        return len(self.keys) - self.keys.count(None)

    def place(self, key: Hashable) -> str:
        """Where a value is first, for a message: file, row and column."""
        return f"{self.origin}: row {self.keys.index(key) + 1:,}, column '{self.name}'"

    def without(self, words: Collection[str]) -> Values:
        """The same with these texts missing."""
        gone = {key for key, value in self.values.items() if isinstance(value, str) and value in words}
        found = tuple(sorted(str(self.values[key]) for key in gone))
        return replace(
            self,
            keys=[None if key in gone else key for key in self.keys],
            values={key: value for key, value in self.values.items() if key not in gone},
            missing=(*self.missing, *(word for word in found if word not in self.missing)),
        )


def gather(
    rows: Sequence[Mapping[str, object]], name: str, missing: Sequence[str], origin: str, *, written: bool
) -> Values:
    """The values of a column.

    Args:
        rows: As `factory.datasets_io.rows` gives them; a row without the column has it missing.
        name: The column.
        missing: Texts that stand for a missing value.
        origin: File that the rows come from, as messages name it.
        written: Whether all cells are text, as in CSV; an empty one is missing then.

    Raises:
        InferenceError: If a cell holds a list, an object, or bytes.
    """
    gone = tuple(dict.fromkeys((*(("",) if written else ()), *missing)))
    cells = [row.get(name) for row in rows]
    types = set(map(type, cells)) - {type(None)}
    for kind in types:
        if not issubclass(kind, HELD):
            _refuse(cells, kind, name, origin)
    if types & {datetime, date, time}:
        cells = _as_text(cells)
        types = set(map(type, cells)) - {type(None)}
    keys: list[Hashable] = list(cells) if len(types) <= 1 else [c if c is None else (type(c), c) for c in cells]
    values = dict(zip(keys, cells, strict=True))
    dropped = {key for key, value in values.items() if _missing(value, gone)}
    if dropped:
        keys = [None if key in dropped else key for key in keys]
    return Values(origin, name, written, keys, {k: v for k, v in values.items() if k not in dropped}, gone)


def _missing(value: object, words: Sequence[str]) -> bool:
    return value is None or (isinstance(value, float) and value != value) or (bool(words) and text_of(value) in words)


def _as_text(cells: Sequence[object]) -> list[object]:
    """Dates and times as text in one form for all: with microseconds and time zone only where one has them."""
    moments = [cell for cell in cells if isinstance(cell, datetime)]
    fine = any(each.microsecond for each in moments)
    zone = "+00:00" if any(each.tzinfo for each in moments) else ""

    def text(cell: object) -> object:
        if isinstance(cell, datetime):
            return utc(cell).isoformat(timespec="microseconds" if fine else "seconds") + zone
        return cell.isoformat() if isinstance(cell, date | time) else cell

    return [text(cell) for cell in cells]


def _refuse(cells: Sequence[object], kind: type, name: str, origin: str) -> None:
    number = next(i for i, cell in enumerate(cells, 1) if type(cell) is kind)
    known: dict[type, str] = {dict: "an object", list: "a list", bytes: "bytes"}
    held = known.get(kind, f"a value of type {kind.__name__}")
    raise InferenceError(
        f"{origin}: row {number:,}, column '{name}' holds {held}; expected text, a number, true or false, a date, or "
        f"nothing. Leave the column out or spread it over columns of its own."
    )
