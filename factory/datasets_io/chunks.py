"""Input in chunks: rows for the filters, together with what they are in their file, so that they can be passed on.

A chunk of `tickets.jsonl` has `rows(None) == [{"text": "My order …"}, Broken("not_json", …)]`, the place
`tickets.jsonl:17` of the second of them, and the line of the first, byte for byte.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from factory.datasets_io.parquet import text_safe, to_json

CHUNK_ROWS = 4096
CHUNK_BYTES = 8 * 2**20
SHOWN_CHARS = 200  # of a line that is too long to be kept
Row = dict[str, Any]


class Broken(msgspec.Struct, frozen=True):
    """A row that no filter can judge.

    Attributes:
        reason: Short machine-readable reason, e.g. `not_json`.
        sentence: What was found and what was expected, without the place.
        text: The row, as far as it can be shown.
        score: What was measured, e.g. the bytes of a line.
        threshold: The limit it was measured against.
    """

    reason: str
    sentence: str
    text: str = ""
    score: float | None = None
    threshold: float | None = None


class Chunk(Protocol):
    """Some rows of one file, in order.

    Attributes:
        position: Where in the input the chunk ends, in bytes or, of Parquet and Arrow, in rows.
    """

    @property
    def position(self) -> int:
        """See above."""

    @property
    def raw(self) -> bytes:
        """Bytes that change whenever anything in the chunk does."""

    def __len__(self) -> int:
        """Rows, the broken ones included."""

    def place(self, index: int) -> str:
        """Where a row stands, e.g. `tickets.jsonl:17`."""

    def columns(self) -> list[str]:
        """Names of the columns, in the order in which they first appear."""

    def rows(self, columns: Collection[str] | None) -> list[Row | Broken]:
        """Each row with at least those of its columns, or with all of them."""

    def as_json(self, indices: Sequence[int]) -> list[bytes]:
        """JSON text of all columns of those rows, without line ends; `null` for a row that has none."""


@dataclass(frozen=True)
class TextChunk:
    """Rows of JSON Lines or CSV.

    Attributes:
        file: Name of the file.
        mark: What stands between file and number in a place.
        numbers: Line of each row, counted from 1.
        lines: Bytes of each row with their line end; of a row that was too long, something that stands for them.
        parsed: The rows.
        position: Bytes of the input up to the end of the chunk.
        is_json: Whether the lines are JSON text.
        header: First line of a CSV file, else nothing.
    """

    file: str
    mark: str
    numbers: list[int]
    lines: list[bytes]
    parsed: list[Row | Broken]
    position: int
    is_json: bool
    header: bytes = b""

    @property
    def raw(self) -> bytes:
        """The lines, one behind the other."""
        return b"".join(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, index: int) -> str:
        """File and line."""
        return f"{self.file}{self.mark}{self.numbers[index]}"

    def columns(self) -> list[str]:
        """Columns of all rows that are not broken."""
        return list(dict.fromkeys(name for row in self.parsed if isinstance(row, dict) for name in row))

    def rows(self, columns: Collection[str] | None) -> list[Row | Broken]:
        """All columns, as they have been read already."""
        return self.parsed

    def as_json(self, indices: Sequence[int]) -> list[bytes]:
        """The lines themselves where they are JSON."""
        return [self._as_json(index) for index in indices]

    def _as_json(self, index: int) -> bytes:
        if isinstance(row := self.parsed[index], Broken):
            return b"null"
        return self.lines[index].strip() if self.is_json else to_json(row).encode("utf-8")


def shown(data: bytes) -> str:
    """Bytes of a file as text; those that are no UTF-8 are spelt out."""
    return text_safe(data.decode("utf-8", "backslashreplace")).strip()


def text_of(row: Row, column: str) -> Broken | None:
    """What is wrong with the text of a row in that column; None if nothing is."""
    value = row.get(column)
    if isinstance(value, str):
        return None
    if value is None:
        state = "holds nothing" if column in row else "is missing"
        return Broken("missing_field", f"column '{column}' {state}; expected a text")
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    kind = kinds.get(type(value), f"a {type(value).__name__}")
    return Broken("not_text", f"column '{column}' holds {kind}; expected a text")
