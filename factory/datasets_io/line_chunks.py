r"""JSON Lines in chunks: each line as it is, and the row that it holds.

`b'{"text": "a"}\n[1]\n'` gives one chunk with the rows `{"text": "a"}` and `Broken("not_object", …)`. A line longer
than `LONGEST_LINE` is never held in memory: it is skipped to its end, and a broken row stands for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from factory.datasets_io import chunks
from factory.datasets_io.chunks import SHOWN_CHARS, Broken, Row, TextChunk, shown
from factory.datasets_io.parquet import to_json
from factory.datasets_io.rows import TOO_LONG, kind_of, scan_rows, storable
from factory.errors import SourceError

LONGEST_LINE = 64 * 2**20
SKIPPED_BYTES = 2**20
MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8
_decode = msgspec.json.Decoder().decode


class Overlong(NamedTuple):
    """What stands for a line that is too long: its beginning, its bytes, and a hash of them."""

    beginning: bytes
    size: int
    digest: str

    def broken(self) -> Broken:
        """The row that the line is filed as."""
        text = shown(self.beginning)[:SHOWN_CHARS]
        sentence = f"a line of {self.size:,} bytes; expected at most {LONGEST_LINE:,}"
        return Broken("too_long", sentence, text, float(self.size), float(LONGEST_LINE))


def bounded_lines(stream: BinaryIO) -> Iterator[bytes | Overlong]:
    """Lines with their ends, the last one too; of one that is too long only what stands for it."""
    while line := stream.readline(LONGEST_LINE + 1):
        if line.endswith(b"\n"):
            yield line
        elif len(line) <= LONGEST_LINE:
            yield line + b"\n"
        else:
            yield _skipped(line, stream)


def _skipped(line: bytes, stream: BinaryIO) -> Overlong:
    beginning, size, hasher = line[: 4 * SHOWN_CHARS], len(line), hashlib.blake2b(line, digest_size=16)
    del line
    while (piece := stream.readline(SKIPPED_BYTES)) and not piece.endswith(b"\n"):
        size += len(piece)
        hasher.update(piece)
    hasher.update(piece)
    return Overlong(beginning, size + len(piece.rstrip(b"\r\n")), hasher.hexdigest())


class Gathering:
    """Rows of one text file on their way into a chunk."""

    def __init__(self, file: str, position: int, *, mark: str = ":", is_json: bool = True) -> None:
        """Nothing is gathered yet; the file begins at that position of the input."""
        self.position = position
        self.header = b""
        self._file, self._mark, self._is_json = file, mark, is_json
        self._begin()

    def _begin(self) -> None:
        self._numbers: list[int] = []
        self._lines: list[bytes] = []
        self._parsed: list[Row | Broken] = []
        self._bytes = 0

    def add(self, number: int, line: bytes, row: Row | Broken) -> None:
        """Take in one row."""
        self._numbers.append(number)
        self._lines.append(line)
        self._parsed.append(row)
        self._bytes += len(line)

    @property
    def is_full(self) -> bool:
        """Whether it is time to hand the chunk on."""
        return len(self._lines) >= chunks.CHUNK_ROWS or self._bytes >= chunks.CHUNK_BYTES

    def chunk(self) -> Iterator[TextChunk]:
        """The chunk, if it has rows; gathering begins anew."""
        if self._lines:
            rows = (self._numbers, self._lines, self._parsed)
            yield TextChunk(self._file, self._mark, *rows, self.position, self._is_json, self.header)
            self._begin()


def line_chunks(file: str, stream: BinaryIO, position: int) -> Iterator[TextChunk]:
    """Chunks of a JSON Lines stream that begins at that byte of the input; blank lines are no rows."""
    found = Gathering(file, position)
    for number, line in enumerate(bounded_lines(stream), 1):
        if isinstance(line, Overlong):
            found.position += line.size
            found.add(number, line.digest.encode("ascii"), line.broken())
        else:
            found.position += len(line)
            if number == 1:
                line = line.removeprefix(MARK)
            if not line.isspace():
                found.add(number, line, parsed(line))
        if found.is_full:
            yield from found.chunk()
    yield from found.chunk()


def parsed(line: bytes) -> Row | Broken:
    """The object that a line holds, or what is wrong with it."""
    try:
        row = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _parsed_by_json(line)
    return row if type(row) is dict else _no_object(row, line)


def _parsed_by_json(line: bytes) -> Row | Broken:
    """What Python's own reader makes of a line: it takes NaN and lone surrogates too, and says what is wrong."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Broken("not_utf8", f"not UTF-8 text (byte {error.start + 1} of the line)", shown(line))
    except json.JSONDecodeError as error:
        return Broken("not_json", f"not JSON: {error.msg} (character {error.colno})", shown(line))
    except (ValueError, RecursionError):
        return Broken("not_json", TOO_LONG, shown(line))
    return storable(row) if isinstance(row, dict) else _no_object(row, line)


def _no_object(value: Any, line: bytes) -> Broken:
    return Broken("not_object", f'expected an object like {{"text": …}}, found {kind_of(value)}', shown(line))


def list_chunks(path: Path, position: int) -> Iterator[TextChunk]:
    """Chunks of a JSON file that is one list, which is held in memory as a whole.

    Raises:
        SourceError: If it is not a list in JSON.
    """
    found = Gathering(str(path), position, mark=": row ")
    for number, (place, row) in enumerate(scan_rows(path), 1):
        if isinstance(row, SourceError) and place == str(path):
            raise row
        value = Broken("not_object", str(row).removeprefix(f"{place}: ")) if isinstance(row, SourceError) else row
        line = value.sentence if isinstance(value, Broken) else to_json(value)
        found.position += len(line)
        found.add(number, line.encode("utf-8") + b"\n", value)
        if found.is_full:
            yield from found.chunk()
    yield from found.chunk()
