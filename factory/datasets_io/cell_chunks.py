"""CSV and TSV in chunks: each record as it stands in the file, and its cells.

A record may span lines. One with another number of cells than the header, or with bytes that are no UTF-8, is a broken
row; a quote that is never closed ends the reading, as nothing behind it can be trusted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from factory.datasets_io import line_chunks
from factory.datasets_io.chunks import Broken, Row, TextChunk, shown
from factory.datasets_io.line_chunks import Gathering, Overlong, bounded_lines
from factory.datasets_io.rows import LONGEST_CELL
from factory.errors import SourceError

BYTE_ORDER_MARK = "\ufeff"


def delimiter_of(kind: str) -> str:
    """What stands between the cells."""
    return "\t" if kind == "tsv" else ","


class _Feed:
    """Lines for `csv.reader`, which takes as many as a record needs; remembers what it took."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        self.file = file
        self.number = 0
        self.begin()
        self._lines = bounded_lines(stream)

    def begin(self) -> None:
        """A new record begins behind what was taken."""
        self.begins = self.number + 1
        self.taken: list[bytes] = []
        self.size = 0
        self.overlong: Overlong | None = None
        self.bad_byte: int | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self.size += line.size if isinstance(line, Overlong) else len(line)
        if self.taken and self.size > line_chunks.LONGEST_LINE:
            raise self.never_closed(f"within {line_chunks.LONGEST_LINE:,} bytes")
        if isinstance(line, Overlong):
            self.overlong = line
            return ""
        self.taken.append(line)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.bad_byte = error.start + 1
            return line.decode("utf-8", "surrogateescape")
        return text.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else text

    def never_closed(self, where: str = "") -> SourceError:
        """The error of a record that does not end."""
        within = f" {where}" if where else ""
        return SourceError(
            f"{self.file}:{self.begins}: not CSV: a quote that opens here is never closed{within}; close it, or double "
            "the quotes inside the cell."
        )


def header_of(file: str, stream: BinaryIO, kind: str) -> list[str]:
    """Column names of a CSV file.

    Raises:
        SourceError: If the first line gives none, or one of them twice.
    """
    csv.field_size_limit(LONGEST_CELL)
    return _header(_Feed(file, stream), kind)[0]


def _header(feed: _Feed, kind: str) -> tuple[list[str], bytes]:
    try:
        names = next(csv.reader(feed, delimiter=delimiter_of(kind), strict=True), [])
    except csv.Error as error:
        raise SourceError(f"{feed.file}:1: not CSV: {error}.") from error
    if feed.bad_byte is not None:
        raise SourceError(f"{feed.file}:1: not UTF-8 text (byte {feed.bad_byte} of the line); save the file as UTF-8.")
    if not names or len(set(names)) != len(names):
        found = ", ".join(names) if names else "nothing"
        raise SourceError(f"{feed.file}:1: expected a header line of distinct column names, found {found}.")
    return names, b"".join(feed.taken)


def cell_chunks(file: str, stream: BinaryIO, position: int, kind: str) -> Iterator[TextChunk]:
    """Chunks of a CSV or TSV stream that begins at that byte of the input.

    Raises:
        SourceError: If the header is no header, or a quote is never closed.
    """
    csv.field_size_limit(LONGEST_CELL)
    feed = _Feed(file, stream)
    names, header = _header(feed, kind)
    found = Gathering(file, position + feed.size, is_json=False)
    found.header = header
    reader = csv.reader(feed, delimiter=delimiter_of(kind), strict=True)
    while True:
        feed.begin()
        cells = _cells(reader, feed)
        if cells is None:
            break
        found.position += feed.size
        if cells or feed.overlong is not None:
            found.add(feed.begins, _line(feed), _row(cells, names, feed))
        if found.is_full:
            yield from found.chunk()
    yield from found.chunk()


def _cells(reader: Iterator[list[str]], feed: _Feed) -> list[str] | Broken | None:
    """Cells of the next record; None at the end of the file."""
    try:
        return next(reader, None)
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise feed.never_closed() from error
        return Broken("not_csv", f"not CSV: {error}", shown(b"".join(feed.taken)))


def _line(feed: _Feed) -> bytes:
    return b"".join(feed.taken) if feed.overlong is None else feed.overlong.digest.encode("ascii")


def _row(cells: list[str] | Broken, names: list[str], feed: _Feed) -> Row | Broken:
    if feed.overlong is not None:
        return feed.overlong.broken()
    if isinstance(cells, Broken):
        return cells
    if feed.bad_byte is not None:
        return Broken("not_utf8", f"not UTF-8 text (byte {feed.bad_byte} of a line)", shown(b"".join(feed.taken)))
    if len(cells) != len(names):
        sentence = f"{len(cells)} cells where the header has {len(names)}"
        return Broken("wrong_cells", sentence, shown(b"".join(feed.taken)))
    return dict(zip(names, cells, strict=True))
