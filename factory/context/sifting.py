"""Filters that need nothing but the rows: the same object judges a recipe's records and the rows of a file.

A filter of that kind has a hook `sift(options, base) -> Sift`, and its `run` is `sifted(records, sift(...))`. Rows
are judged in order, and a row's verdict depends on it and on the rows before it, never on how many are handed over
at once:

    sift.judge([{"text": "a"}, {"text": "a"}]) -> [None, Verdict(keep=False, rule="exact", reason="duplicate", …)]

Rows have at least the columns that the filter's options name, and all columns if they name none.

`restore` is what makes a killed `factory filter` go on cheaply: it takes rows that were judged in an earlier
session, with what came of them, and leaves the object as `judge` would have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from factory.records import Outcome, Record, Rejected, Verdict

Row = dict[str, Any]


class Sift(Protocol):
    """What one filter decides of rows, in order; it may remember those before.

    One that does not has an attribute `remembers` that is False.
    """

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        """A verdict for each row that is turned away, None for each that stays: [rows]."""

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        """Take in rows that this filter has judged before: [rows], and whether it kept each of them: [rows]."""


class Alone:
    """A filter that judges each row by itself and remembers nothing."""

    remembers = False

    def __init__(self, judged: Callable[[Row], Verdict | None]) -> None:
        """Keep what judges one row."""
        self._judged = judged

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        """A verdict for each row that is turned away: [rows]."""
        return [self._judged(row) for row in rows]

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        """Nothing to take in."""


def text_of(row: Row, column: str) -> str:
    """The text in a column: "" where it is missing or null; another value as Python writes it.

    >>> [text_of({"a": "x", "b": None, "c": 7}, column) for column in "abcd"]
    ['x', '', '7', '']
    """
    value = row.get(column)
    return "" if value is None else str(value)


async def sifted(records: AsyncIterator[Record], sift: Sift) -> AsyncIterator[Outcome]:
    """Each record, as kept or rejected; one at a time, so that none waits for others that are still being made."""
    async for record in records:
        verdict = sift.judge([record.fields])[0]
        yield record if verdict is None else Rejected(record, verdict)
