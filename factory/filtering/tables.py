"""Parquet results: from spooled record batches, or from JSON lines whose column types are found over all rows first."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io.arrow_chunks import ArrowChunk, as_stream, taken
from factory.datasets_io.chunks import Chunk
from factory.datasets_io.parquet import GROUP_ROWS, Columns
from factory.filtering.lines import fields_in, filed_in

GROUP_BYTES = 256 * 2**20
READ_ROWS = 1000
_LENGTH = struct.Struct("<Q")
FILED = pa.schema(
    [
        ("row", pa.string()),
        ("filter", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("evidence", pa.string()),
        ("fields", pa.string()),
    ]
)


def framed(chunk: Chunk, kept: Sequence[int]) -> bytes:
    """Kept rows of a chunk as an Arrow stream with its length in front."""
    batch = cast(ArrowChunk, chunk).batch
    stream = as_stream(batch if len(kept) == batch.num_rows else taken(batch, kept))
    return _LENGTH.pack(len(stream)) + stream


def write_tables(way: str, spool: Path, paths: Sequence[Path], rows_each: int | None = None) -> int:
    """Write the rows of a spool as Parquet files of so many rows each; gives their number.

    Row groups have the same rows whatever the chunks were, so that the same rows give the same bytes.
    """
    schema, tables = _source(way, spool)
    groups = _groups(tables)
    rest: pa.Table | None = None
    written = 0
    for path in paths:
        room = rows_each
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            while room != 0 and (table := rest if rest is not None else next(groups, None)) is not None:
                count = table.num_rows if room is None else min(room, table.num_rows)
                rest = table.slice(count) if count < table.num_rows else None
                writer.write_table(table.slice(0, count), row_group_size=max(1, count))
                room = None if room is None else room - count
                written += count
    return written


def _source(way: str, spool: Path) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Schema and rows of a spool."""
    if way == "arrow":
        with spool.open("rb") as stored:
            first = next(_streams(stored), None)
        return (first.schema if first is not None else pa.schema([])), _from_streams(spool)
    if way == "filed":
        return FILED, _from_rows(filed_in(spool), FILED)
    columns = Columns()
    for fields in fields_in(spool):
        columns.see(fields)
    schema = columns.fields_schema()
    return schema, _from_rows(columns.fields_rows(fields_in(spool)), schema)


def _streams(stored: Any) -> Iterator[pa.Table]:
    while length := stored.read(_LENGTH.size):
        with pa.ipc.open_stream(stored.read(_LENGTH.unpack(length)[0])) as stream:
            yield stream.read_all()


def _from_streams(spool: Path) -> Iterator[pa.Table]:
    with spool.open("rb") as stored:
        yield from _streams(stored)


def _from_rows(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    iterator = iter(rows)
    while some := list(islice(iterator, READ_ROWS)):
        yield pa.Table.from_pylist(some, schema=schema)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables of `GROUP_ROWS`; in smaller ones where rows are so large that they would fill the memory."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while (rows := sum(part.num_rows for part in waiting)) >= GROUP_ROWS:
            whole = _joined(waiting)
            yield whole.slice(0, GROUP_ROWS)
            waiting = [whole.slice(GROUP_ROWS)] if rows > GROUP_ROWS else []
        if sum(part.nbytes for part in waiting) >= GROUP_BYTES:
            yield _joined(waiting)
            waiting = []
    if any(part.num_rows for part in waiting):
        yield _joined(waiting)


def _joined(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()
