r"""Kinds of files that rows are written to: JSON Lines, Parquet, CSV.

Each takes rows one by one. JSON Lines are UTF-8 without escapes, but for line separators that some readers take for the
end of a line (U+0085, U+2028, U+2029).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from factory.datasets_io.cells import cell, cell_line, neutral

Row = dict[str, Any]
GROUP_ROWS = 10_000
GROUP_CHARS = 2**25  # so that rows of 100 kB do not fill the memory
_SEPARATORS = {character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
_ESCAPED = str.maketrans(_SEPARATORS)


class Container(Protocol):
    """A file that is being written."""

    changed_cells: int

    def write(self, row: Row) -> None:
        """Add a row."""

    def close(self) -> None:
        """End the file, and make sure that it is on disk."""


def json_line(row: Row) -> str:
    """A row as JSON on one line, whatever its texts hold."""
    text = json.dumps(row, ensure_ascii=False)
    return text if text.isascii() else text.translate(_ESCAPED)


class JsonLines:
    """A `.jsonl` file."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self.changed_cells = 0
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, row: Row) -> None:
        """Add a line."""
        self._file.write(json_line(row) + "\n")

    def close(self) -> None:
        """End the file."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


class Parquet:
    """A `.parquet` file, whose columns are those of its first row."""

    def __init__(self, path: Path) -> None:
        """Remember the path; what is in it shows with the first row."""
        self.changed_cells = 0
        self._path = path
        self._writer: Any = None
        self._rows: list[Row] = []
        self._chars = 0

    def write(self, row: Row) -> None:
        """Add a row to the group that is written next."""
        self._rows.append(row)
        self._chars += _chars(row)
        if len(self._rows) >= GROUP_ROWS or self._chars >= GROUP_CHARS:
            self._flush()

    def close(self) -> None:
        """Write the rest and end the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._rows:
            if self._writer is None:
                schema = pa.schema([(name, pa.infer_type([value])) for name, value in self._rows[0].items()])
                self._writer = pq.ParquetWriter(self._path, schema, compression="zstd")
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows, self._chars = [], 0


def _chars(value: Any) -> int:
    """Characters of all texts in a value, also in lists of messages."""
    if isinstance(value, str):
        return len(value)
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_chars, within))


class Csv:
    """A `.csv` file, with the names of the first row's columns above."""

    def __init__(self, path: Path, *, formulas: bool = False) -> None:
        """Open it.

        Args:
            path: The file.
            formulas: Whether texts that a spreadsheet calculates are left as they are.
        """
        self.changed_cells = 0
        self._formulas = formulas
        self._began = False
        self._file = path.open("w", encoding="utf-8", newline="")

    def write(self, row: Row) -> None:
        """Add a line."""
        if not self._began:
            self._began = True
            self._line(list(row))
        self._line(list(row.values()))

    def close(self) -> None:
        """End the file."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    def _line(self, values: list[Any]) -> None:
        cells = [cell(value) for value in values]
        if not self._formulas:
            safe = [
                neutral(text) if isinstance(value, str) and text else text
                for text, value in zip(cells, values, strict=True)
            ]
            self.changed_cells += sum(one != other for one, other in zip(cells, safe, strict=True))
            cells = safe
        self._file.write(cell_line(cells) + "\n")


def opened(path: Path, kind: str, *, formulas: bool) -> Container:
    """A new file of that kind: `jsonl`, `parquet` or `csv`."""
    if kind == "csv":
        return Csv(path, formulas=formulas)
    return Parquet(path) if kind == "parquet" else JsonLines(path)
