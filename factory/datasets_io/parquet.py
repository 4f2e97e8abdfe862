"""Records to Parquet shards that `datasets.load_dataset` reads, and back.

A kept record `Record("5f…", {"instruction": "…"}, provenance)` becomes a row with the columns
`instruction`, `record_id`, `provenance` (struct). Column types are found over all rows first, so that
a late float or null never breaks a file; values of mixed kinds are stored as JSON text, so that "1" and 1
stay two. In the rows of tables such a column holds texts as they are, as a CSV file would, since what reads
tables would take the quotation marks for a part of the text. The same records give the same bytes.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io.rows import column_name
from factory.errors import RunDirError
from factory.records import Provenance, Record, Rejected

GROUP_ROWS = 10_000
_STRINGS = pa.list_(pa.string())
PROVENANCE = pa.struct(
    [
        ("step", pa.string()),
        ("method", pa.string()),
        ("parents", _STRINGS),
        ("root", pa.string()),
        ("prompt", pa.string()),
        ("prompt_hash", pa.string()),
        ("model", pa.string()),
        ("seed", pa.int64()),
        ("requests", _STRINGS),
    ]
)
REJECTED = pa.schema(
    [
        ("record_id", pa.string()),
        ("fields", pa.string()),
        ("step", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("evidence", pa.string()),
        ("provenance", PROVENANCE),
    ]
)
EXACT_FLOAT = 2**53  # whole numbers beyond it would change if stored as floats
_TIMES = (datetime.date, datetime.time)  # a datetime is a date
_KINDS: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "bool": bool,
    "float": float,
    "str": (str, *_TIMES, decimal.Decimal),
    "bytes": bytes,
}
_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.binary(),
    "strings": _STRINGS,
    "str": pa.string(),
    "plain": pa.string(),
    "json": pa.string(),
}
_SCALARS = frozenset({"bool", "int", "long", "huge", "float", "str"})
LINEAGE = pa.schema([("record_id", pa.string()), ("fields", pa.string()), ("provenance", PROVENANCE)])


def text_safe(text: str) -> str:
    """The text with lone surrogates, which no file format can hold, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any) -> str:
    """Canonical JSON text of a field or of all fields."""
    return text_safe(json.dumps(value, ensure_ascii=False, default=_as_text))


def _as_text(value: Any) -> str:
    """Text of what JSON cannot hold: bytes as base64, dates and times in ISO form, exact decimals."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value.isoformat()) if isinstance(value, _TIMES) else str(value)


class Columns:
    """Finds the Arrow type of each column by looking at every value once."""

    def __init__(self, *, of_tables: bool = False) -> None:
        """No columns yet.

        Args:
            of_tables: Whether rows are those of tables: a column of texts, numbers and truth values then holds texts as
                they are and all else as JSON text; 1 and "1" become one.
        """
        self._kinds: dict[str, set[str]] = {}
        self._of_tables = of_tables

    def see(self, fields: dict[str, Any]) -> None:
        """Take one row into account."""
        for name, value in fields.items():
            self._kinds.setdefault(name, set()).add(_kind(value))

    def schema(self) -> pa.Schema:
        """Types of all columns in the order in which they first appeared."""
        columns = [(column, _TYPES[stored_as]) for _, column, stored_as in self._plan()]
        return pa.schema([*columns, ("record_id", pa.string()), ("provenance", PROVENANCE)])

    def fields_schema(self) -> pa.Schema:
        """Types of the columns alone, under the names that they have in the rows."""
        return pa.schema([(name, _TYPES[stored_as]) for name, _, stored_as in self._plan()])

    def fields_rows(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows as rows of that schema."""
        plan = self._plan()
        for fields in rows:
            yield {name: _convert(fields.get(name), stored_as) for name, _, stored_as in plan}

    def rows(self, records: Iterable[Record]) -> Iterator[dict[str, Any]]:
        """Records as rows of that schema."""
        plan = self._plan()
        for record in records:
            fields = record.fields
            row = {column: _convert(fields.get(name), stored_as) for name, column, stored_as in plan}
            row["record_id"], row["provenance"] = record.id, _provenance(record.provenance)
            yield row

    def _plan(self) -> list[tuple[str, str, str]]:
        """Field, column and kind of every column."""
        return [
            (name, column_name(name), _stored_as(kinds, of_tables=self._of_tables))
            for name, kinds in self._kinds.items()
        ]


def _kind(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if abs(value) <= EXACT_FLOAT else "long" if -(2**63) <= value < 2**63 else "huge"
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    return "strings" if isinstance(value, list) and all(isinstance(item, str) for item in value) else "json"


def _stored_as(kinds: set[str], *, of_tables: bool) -> str:
    """The kind of a column whose values are of those kinds; `json` where no other holds all of them unchanged, or
    `plain` for scalars in tables.
    """  # noqa: D205
    known = kinds - {"null"}
    if known <= {"int", "long"} and known:
        return "int"
    if known == {"int", "float"}:
        return "float"
    if known == {"huge"} or len(known) > 1:
        return "plain" if of_tables and known <= _SCALARS else "json"
    return known.pop() if known else "str"


def _convert(value: Any, stored_as: str) -> Any:
    if value is None:
        return None
    if stored_as == "str" or (stored_as == "plain" and isinstance(value, _KINDS["str"])):
        return text_safe(value if isinstance(value, str) else _as_text(value))
    if stored_as == "float":
        return float(value)
    if stored_as == "strings":
        return [text_safe(item) for item in value]
    return to_json(value) if stored_as in ("json", "plain") else value


def _provenance(provenance: Provenance) -> dict[str, Any]:
    return msgspec.structs.asdict(provenance)


def rejected_row(step: str, rejected: Rejected) -> dict[str, Any]:
    """A record that the step of that name rejected, as a row of `REJECTED`."""
    record, verdict = rejected.record, rejected.verdict
    return {
        "record_id": record.id,
        "fields": to_json(record.fields),
        "step": step,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "evidence": None if verdict.evidence is None else text_safe(verdict.evidence),
        "provenance": _provenance(record.provenance),
    }


def lineage_row(record: Record) -> dict[str, Any]:
    """A record that only lineage leads through, as a row of `LINEAGE`."""
    return {"record_id": record.id, "fields": to_json(record.fields), "provenance": _provenance(record.provenance)}


def write_shards(
    folder: Path, stem: str, rows: Iterable[dict[str, Any]], count: int, schema: pa.Schema, rows_per_shard: int
) -> list[Path]:
    """Write rows as `stem-00000-of-0000N.parquet`; at least one file, even for no rows."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, -(-count // rows_per_shard))
    iterator = iter(rows)
    paths = []
    for index in range(shards):
        path = folder / f"{stem}-{index:05d}-of-{shards:05d}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _groups(iterator, min(rows_per_shard, count - index * rows_per_shard)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
        paths.append(path)
    return paths


def _groups(rows: Iterator[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    while count > 0:
        group = [row for _, row in zip(range(min(GROUP_ROWS, count)), rows, strict=False)]
        if not group:
            return
        count -= len(group)
        yield group


def read_shards(folder: Path, matches: Callable[[str], bool] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of all shards in order; `matches` selects by record id before rows are built.

    Raises:
        RunDirError: If a shard is damaged.
    """
    for path in sorted(folder.glob("*.parquet")):
        try:
            for batch in pq.ParquetFile(path).iter_batches():
                if matches is not None:
                    wanted = [i for i, name in enumerate(batch.column("record_id").to_pylist()) if matches(name)]
                    batch = batch.take(pa.array(wanted, type=pa.int64()))
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> RunDirError:
    """A file of a run directory that cannot be read; all of them can be made again."""
    return RunDirError(
        f"{path}: is damaged ({error}); run the recipe into the same directory again: the journal makes it anew."
    )
