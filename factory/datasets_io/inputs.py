"""Which files an input consists of, and its rows in chunks whatever they are.

`find_input(["tickets.jsonl"])`, `find_input(["shards/"])` and `find_input(["-"])` each give an `Input` of one format.
What is no text at all, compressed, or a mixture of formats is refused here, in words.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from factory.datasets_io.cell_chunks import cell_chunks, header_of
from factory.datasets_io.chunks import Chunk
from factory.datasets_io.line_chunks import line_chunks, list_chunks
from factory.errors import SourceError

STDIN = "-"
KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
FORMATS = ".jsonl, .ndjson, .json, .csv, .tsv, .parquet, a folder of such files, or a saved dataset"
COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")
READ_BYTES = 2**20
SNIFFED_BYTES = 4096
_SHARD = re.compile(r"(\w+)-\d+-of-\d+\.")  # as the Hub names the files of a split
_MAGIC = {
    b"\x1f\x8b": "gzip-compressed: unpack it first, or pipe it: zcat FILE | factory filter - OUT …",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: unpack it first, or pipe it: zstdcat FILE | factory filter - OUT …",
    b"BZh91AY&SY": "bzip2-compressed: unpack it first",
    b"\xfd7zXZ": "xz-compressed: unpack it first",
    b"PAR1": "a Parquet file: give it a name that ends in .parquet",
    b"ARROW1": "an Arrow file: give it a name that ends in .arrow",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}


@dataclass(frozen=True)
class Input:
    """Files of one format, in the order in which they are read.

    Attributes:
        names: What the user gave.
        files: The files; `-` is standard input.
        kind: `jsonl`, `json`, `csv`, `tsv`, `parquet` or `arrow`.
        total: Bytes of all of them, or rows of Parquet files; None where that is not known beforehand.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    kind: str
    total: int | None

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in order; no chunk holds rows of two files.

        Raises:
            SourceError: If a file cannot be read, or on.
        """
        position = 0
        for file in self.files:
            for chunk in self._of(file, position):
                position = chunk.position
                yield chunk

    def _of(self, file: Path, position: int) -> Iterator[Chunk]:
        if self.kind in ("parquet", "arrow"):
            from factory.datasets_io.arrow_chunks import arrow_chunks

            yield from arrow_chunks(file, position)
        elif self.kind == "json":
            yield from list_chunks(file, position)
        else:
            yield from _of_text(file, position, self.kind)


def find_input(names: Sequence[str]) -> Input:
    """The input that one or more files or folders, or `-`, are.

    Raises:
        SourceError: If there is nothing to read, or not all of it in one format.
    """
    if STDIN in names:
        if len(names) > 1:
            raise SourceError("-: standard input cannot be read together with files; give one or the other.")
        return Input(tuple(names), (Path(STDIN),), "jsonl", None)
    files = [file for name in names for file in _files(Path(name))]
    kinds = {_kind(file): file for file in files}
    if len(kinds) > 1:
        found = " and ".join(str(file) for file in list(kinds.values())[:2])
        raise SourceError(f"{found}: files of different formats; filter those of one format at a time.")
    kind = next(iter(kinds))
    _check_alike(files, kind)
    return Input(tuple(names), tuple(files), kind, _total(files, kind))


def _kind(file: Path) -> str:
    return KINDS[file.suffix.lower()]


def _files(path: Path) -> list[Path]:
    """Files of one argument, by name."""
    try:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder.")
        if path.is_dir():
            return _in_folder(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}.") from error
    if path.suffix.lower() in COMPRESSED:
        raise SourceError(f"{path}: compressed; unpack it first, or pipe it: zcat {path} | factory filter - OUT …")
    if path.suffix.lower() not in KINDS:
        raise SourceError(f"{path}: format not known; expected {FORMATS}.")
    return [path]


def _in_folder(path: Path) -> list[Path]:
    """Files of a saved dataset, of `data/` where there is one, else of the folder itself."""
    if (path / "dataset_dict.json").exists():
        raise SourceError(f"{path}: holds several splits; name one of the folders in it, e.g. {path}/train.")
    if (path / "state.json").exists():
        from factory.datasets_io.arrow_chunks import saved_files

        return saved_files(path)
    inner = path / "data" if (path / "data").is_dir() else path
    if (
        inner == path
        and (nested := next((one for one in sorted(path.iterdir()) if _holds_rows(one)), None)) is not None
    ):
        raise SourceError(
            f"{nested}: a folder within the folder, which would not be read; name the folders one by one."
        )
    there = sorted(file for file in inner.iterdir() if file.is_file() and not file.name.startswith("."))
    if (packed := next((file for file in there if file.suffix.lower() in COMPRESSED), None)) is not None:
        raise SourceError(f"{packed}: compressed; unpack the files of {inner} first.")
    found = [file for file in there if file.suffix.lower() in KINDS and file.suffix.lower() != ".json"]
    if not found:
        raise SourceError(f"{path}: a folder without rows; expected files named .jsonl, .csv, .tsv or .parquet in it.")
    if len(splits := {match[1] for file in found if (match := _SHARD.match(file.name))}) > 1:
        raise SourceError(f"{path}: holds several splits ({', '.join(sorted(splits))}); name the files of one of them.")
    return found


def _holds_rows(path: Path) -> bool:
    """Whether this is a folder with files of rows in it."""
    hidden = path.name.startswith(".") or path.name.endswith(".partial")
    return not hidden and path.is_dir() and any(file.suffix.lower() in KINDS for file in path.iterdir())


def _check_alike(files: list[Path], kind: str) -> None:
    """Make sure that tables have the same columns in every file.

    Raises:
        SourceError: If one differs from the first.
    """
    if kind not in ("csv", "tsv", "parquet", "arrow"):
        return
    first = _layout(files[0], kind)
    for file in files[1:]:
        other = _layout(file, kind)
        if other != first:
            one = next((name for name in [*first, *other] if first.get(name) != other.get(name)), "their order")
            raise SourceError(f"{file}: other columns than in {files[0]} ({one}); filter such files one at a time.")


def _layout(file: Path, kind: str) -> dict[str, Any]:
    """Columns of a table with their types; of CSV with their places."""
    if kind in ("csv", "tsv"):
        with _opened(file) as stream:
            return {name: number for number, name in enumerate(header_of(str(file), stream, kind))}
    from factory.datasets_io.arrow_chunks import schema_of

    schema = schema_of(file)
    return {name: (number, str(schema.field(name))) for number, name in enumerate(schema.names)}


def _total(files: list[Path], kind: str) -> int | None:
    if kind == "json":
        return None
    if kind not in ("parquet", "arrow"):
        return sum(file.stat().st_size for file in files)
    from factory.datasets_io.arrow_chunks import rows_in

    counts = [rows_in(file) for file in files]
    return None if None in counts else sum(count or 0 for count in counts)


def _of_text(file: Path, position: int, kind: str) -> Iterator[Chunk]:
    try:
        with _opened(file) as stream:
            if kind == "jsonl":
                yield from line_chunks(str(file), stream, position)
            else:
                yield from cell_chunks(str(file), stream, position, kind)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror or error}.") from error


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The file, or standard input, once its beginning looks like text.

    Raises:
        SourceError: If it does not, or cannot be opened.
    """
    if str(file) == STDIN:
        _check_text(file, sys.stdin.buffer)
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb", buffering=READ_BYTES)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}.") from error
    with opened:
        _check_text(file, opened)
        yield opened


def _check_text(file: Path, stream: BinaryIO) -> None:
    beginning = cast(BufferedReader, stream).peek(SNIFFED_BYTES)[:SNIFFED_BYTES]
    for magic, remark in _MAGIC.items():
        if beginning.startswith(magic):
            raise SourceError(f"{file}: {remark}.")
    if b"\0" in beginning:
        raise SourceError(f"{file}: not text (it holds NUL bytes); expected {FORMATS}.")
