"""Parquet and saved Hugging Face datasets in chunks: record batches, of which only the needed columns become objects.

What is kept of them goes on as Arrow data, so that every type and all metadata stay what they were.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io import chunks
from factory.datasets_io.chunks import Broken, Row
from factory.datasets_io.parquet import text_safe, to_json
from factory.datasets_io.rows import is_nanoseconds, storable
from factory.errors import SourceError

BUFFER_BYTES = 2**20
BATCH_BYTES = 64 * 2**20  # rows in a batch follow from what a row takes on the average
FILE_MAGIC = b"ARROW1"
INDEX = "state.json"


@dataclass(frozen=True)
class ArrowChunk:
    """Rows of a record batch.

    Attributes:
        file: Name of the file.
        first: Number of the first row in it, counted from 1.
        batch: The rows.
        position: Rows of the input up to the end of the chunk.
    """

    file: str
    first: int
    batch: pa.RecordBatch
    position: int

    @property
    def raw(self) -> bytes:
        """The batch as an Arrow stream."""
        return as_stream(self.batch)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def place(self, index: int) -> str:
        """File and row."""
        return f"{self.file}: row {self.first + index}"

    def columns(self) -> list[str]:
        """Columns of the schema."""
        return list(self.batch.schema.names)

    def rows(self, columns: Collection[str] | None) -> list[Row | Broken]:
        """Those of the columns that there are."""
        names = [name for name in self.batch.schema.names if columns is None or name in columns]
        values = [_values(self.batch.column(name)) for name in names]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)] if names else [{}] * len(self)
        return [_broken(row) or row for row in rows]

    def as_json(self, indices: Sequence[int]) -> list[bytes]:
        """The rows; what JSON has no form for is text, and bytes are base64."""
        some = taken(self.batch, indices)
        columns = [[_spelt(value) for value in _values(some.column(name))] for name in some.schema.names]
        rows = (dict(zip(some.schema.names, values, strict=True)) for values in zip(*columns, strict=True))
        return [to_json(storable(row)).encode("utf-8") for row in rows]


class _Unreadable(str):
    """Stands for a value that Python cannot hold, such as a text that is no UTF-8."""


def _values(column: Any) -> list[Any]:
    """Python values of a column; times of nanoseconds as text, as Python has none."""
    if is_nanoseconds(column.type):
        column = column.cast(pa.string())
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, OverflowError, ValueError):
        return [_value(item) for item in column]


def _value(item: Any) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return _Unreadable(_bytes_of(item).decode("utf-8", "backslashreplace"))
    except (OverflowError, ValueError):  # a time beyond those of Python, or finer
        return str(pa.array([item], type=item.type).cast(pa.string())[0].as_py())


def _bytes_of(item: Any) -> bytes:
    return item.as_buffer().to_pybytes() if hasattr(item, "as_buffer") else repr(item).encode("utf-8")


def _spelt(value: Any) -> Any:
    return str(value) if isinstance(value, _Unreadable) else value


def _broken(row: Row) -> Broken | None:
    for name, value in row.items():
        if type(value) is _Unreadable:
            return Broken("not_utf8", f"column '{name}' holds a text that is not UTF-8", text_safe(str(value)))
    return None


def as_stream(batch: pa.RecordBatch) -> bytes:
    """A record batch as an Arrow stream of its own, with schema and dictionaries."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def schema_of(path: Path) -> pa.Schema:
    """Schema of a Parquet or Arrow file.

    Raises:
        SourceError: If it is damaged or names a column twice.
    """
    try:
        schema = pq.read_schema(path) if path.suffix.lower() == ".parquet" else _arrow_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error
    if len(set(schema.names)) != len(schema.names):
        raise SourceError(f"{path}: expected distinct column names, found {', '.join(schema.names)}.")
    return schema


def rows_in(path: Path) -> int | None:
    """How many rows a Parquet file says it has; None for an Arrow file, which does not say."""
    return int(pq.read_metadata(path).num_rows) if path.suffix.lower() == ".parquet" else None


def unreadable(path: Path, error: Exception) -> SourceError:
    """A file that is no Parquet or Arrow, or is damaged."""
    kind = "a Parquet" if path.suffix.lower() == ".parquet" else "an Arrow"
    return SourceError(f"{path}: not {kind} file, or damaged: {str(error).rstrip('.')}.")


def arrow_chunks(path: Path, position: int) -> Iterator[ArrowChunk]:
    """Chunks of a Parquet or Arrow file whose first row has that place in the input.

    Raises:
        SourceError: If the file is damaged, when the damage is reached.
    """
    first = 1
    try:
        for batch in _parquet(path) if path.suffix.lower() == ".parquet" else _arrow(path):
            for start in range(0, batch.num_rows, chunks.CHUNK_ROWS):
                piece = batch.slice(start, chunks.CHUNK_ROWS)
                position += piece.num_rows
                yield ArrowChunk(str(path), first, piece, position)
                first += piece.num_rows
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
        yield from file.iter_batches(batch_size=max(1, min(chunks.CHUNK_ROWS, BATCH_BYTES // max(1, widest))))


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        is_file = file.read(len(FILE_MAGIC)) == FILE_MAGIC
    source = pa.OSFile(str(path))
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _arrow_schema(path: Path) -> pa.Schema:
    with _opened(path) as reader:
        return reader.schema


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    with _opened(path) as reader:
        if hasattr(reader, "num_record_batches"):
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            yield from reader


def saved_files(folder: Path) -> list[Path]:
    """Arrow files of a dataset that `save_to_disk` wrote, in order.

    Raises:
        SourceError: If its index cannot be read.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [folder / str(entry["filename"]) for entry in index["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{folder / INDEX}: not the index of a saved dataset ({error!r}).") from error


def taken(batch: pa.RecordBatch, indices: Sequence[int]) -> pa.RecordBatch:
    """Rows of a batch, in order; also of types that Arrow cannot pick from (views of strings)."""
    columns = [_picked(column, indices) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _picked(column: pa.Array, indices: Sequence[int]) -> pa.Array:
    try:
        return column.take(pa.array(indices, type=pa.int64()))
    except pa.ArrowNotImplementedError:
        return pa.concat_arrays([column.slice(index, 1) for index in indices] or [column.slice(0, 0)])
