"""From shards, or from the spools of a run that is going on, to batches of columns: what the index is made of.

A batch is one row group of a Parquet file, or some records of a spool:

    Batch(keys=[0x530fc88ec2223e47], states=[0], verdicts=[None], texts=["Name a river.␟The Nile."], …)

Nothing of a row is kept but these columns and the place that it can be read from again.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factory.datasets_io.parquet import damaged, to_json
from factory.records import Provenance, Record, Rejected, Verdict
from factory.viewing.texts import BETWEEN, column_texts, fields_text

KEPT, REJECTED, ON_THE_WAY, SOURCE = range(4)
STATES = ("kept", "rejected", "on the way", "source row")
KEY_DIGITS = 16
SPOOL_BATCH = 2_000
MOST = 1e300  # of a number that rows are ordered by
MEASURED = 16  # numeric columns that rows can be ordered by
_HEX = re.compile(rf"[0-9a-fA-F]{{{KEY_DIGITS}}}")
_LENGTH = struct.Struct("<I")
_NOT_FIELDS = ("record_id", "provenance")

Keys = npt.NDArray[np.uint64]
Reason = tuple[str, str, str, float | None]
"""Step, rule, reason and threshold of a verdict."""


@dataclass(frozen=True)
class Place:
    """Where a row can be read from again: row `row` of a row group, or the bytes from `group` on in a spool.

    Attributes:
        file: The file.
        group: Row group, or offset in a spool.
        step: Step whose spool it is; None for a Parquet file.
    """

    file: Path
    group: int
    step: str | None = None


@dataclass
class Batch:
    """Columns of some rows; all arrays have one entry a row, except parents, which are flat."""

    place: Place
    ids: Any
    keys: Keys
    states: npt.NDArray[np.uint8]
    steps: list[str]
    reasons: list[Reason | None]
    scores: npt.NDArray[np.float64]
    parents: Keys
    parent_counts: npt.NDArray[np.int32]
    texts: Any
    measures: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    offsets: npt.NDArray[np.int64] | None = None


def key_of(record_id: str) -> int:
    """Number of a record id: its first 16 digits; a hash where it has not the form of one."""
    if _HEX.match(record_id):
        return int(record_id[:KEY_DIGITS], 16)
    return int.from_bytes(hashlib.blake2b(record_id.encode("utf-8", "replace"), digest_size=8).digest(), "big")


_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[[ord(digit) for digit in "0123456789abcdef"]] = np.arange(16)


def keys_of(ids: Any) -> Keys:
    """Numbers of record ids, an Arrow array without nulls: [rows]."""
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    count = len(ids)
    if not count:
        return np.zeros(0, np.uint64)
    ends = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + count + 1]
    lengths = np.diff(ends)
    if lengths.min() == lengths.max() >= KEY_DIGITS:
        letters = np.frombuffer(ids.buffers()[2], np.uint8)[ends[0] : ends[-1]].reshape(count, -1)[:, :KEY_DIGITS]
        digits = _DIGITS[letters]
        if digits.max() < 16:
            return (digits[:, ::2] << 4 | digits[:, 1::2]).astype(np.uint8).copy().view(">u8").ravel().astype(np.uint64)
    return np.array([key_of(name) for name in ids.to_pylist()], np.uint64)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def shard_rows(path: Path) -> int:
    """Rows of a shard.

    Raises:
        RunDirError: If it is damaged.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def shard_batches(path: Path, folder: str) -> Iterator[Batch]:
    """Batches of one shard of `data`, `rejected` or `lineage`.

    Raises:
        RunDirError: If it is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).combine_chunks()
                if table.num_rows:
                    yield _of_table(table, folder, Place(path, group))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise damaged(path, error) from error


def _of_table(table: Any, folder: str, place: Place) -> Batch:
    ids = table.column("record_id").combine_chunks()
    provenance = table.column("provenance").combine_chunks()
    parents, counts = _parents(provenance.field("parents"))
    count = table.num_rows
    if folder == "data":
        states = np.full(count, KEPT, np.uint8)
    elif folder == "rejected":
        states = np.full(count, REJECTED, np.uint8)
    else:
        made = pc.fill_null(pc.list_value_length(provenance.field("requests")), 0).to_numpy(zero_copy_only=False) > 0
        states = np.where(made, ON_THE_WAY, SOURCE).astype(np.uint8)
    rejected = folder == "rejected"
    texts, measures = _contents(table, folder)
    return Batch(
        place=place,
        ids=ids,
        keys=keys_of(ids),
        states=states,
        steps=(table.column("step") if rejected else provenance.field("step")).to_pylist(),
        reasons=_reasons(table) if rejected else [None] * count,
        scores=_floats(table.column("score")) if rejected else np.full(count, np.nan),
        parents=parents,
        parent_counts=counts,
        texts=texts,
        measures=measures,
    )


def _decoded(fields: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(fields)  # type: ignore[no-any-return]
    except msgspec.DecodeError:
        return json.loads(fields)  # type: ignore[no-any-return]  # which knows NaN and Infinity


def _contents(table: Any, folder: str) -> tuple[Any, dict[str, npt.NDArray[np.float64]]]:
    """Texts, and the columns that are numbers."""
    if folder != "data":
        decoded = [_decoded(fields) for fields in table.column("fields").to_pylist()]
        return pa.array([fields_text(fields) for fields in decoded], pa.string()), _measured(decoded)
    names = [name for name in table.column_names if name not in _NOT_FIELDS]
    columns = [column_texts(table.column(name)) for name in names]
    if not columns:
        return pa.array([""] * table.num_rows, pa.string()), {}
    joined = pc.binary_join_element_wise(*columns, BETWEEN)
    texts = joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
    kinds = {name: table.schema.field(name).type for name in names}
    numbers = [name for name, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    return texts, {name: _floats(table.column(name)) for name in numbers[:MEASURED]}


def _measured(rows: list[dict[str, Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """Numeric fields of rows that are stored as JSON."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for place, fields in enumerate(rows):
        for name, value in fields.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST:
                if name not in found and len(found) < MEASURED:
                    found[name] = np.full(len(rows), np.nan)
                if name in found:
                    found[name][place] = value
    return found


def _floats(column: Any) -> npt.NDArray[np.float64]:
    """Numbers, NaN where there is none that can be drawn."""
    found = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy(), np.float64)
    return np.where(np.abs(found) < MOST, found, np.nan)


def _parents(column: Any) -> tuple[Keys, npt.NDArray[np.int32]]:
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int32)
    return keys_of(pc.fill_null(pc.list_flatten(column), "")), counts


def _reasons(table: Any) -> list[Reason | None]:
    columns = (table.column(name).to_pylist() for name in ("step", "rule", "reason", "threshold"))
    return list(zip(*columns, strict=True))


# --- spools of a run that is going on ---------------------------------------------------------------------------------


class SpoolReader:
    """Reads what a running process appends to one spool, from where it left off."""

    def __init__(self, path: Path, step: str | None) -> None:
        """Begin at the start of the file.

        Args:
            path: The spool.
            step: Step that rejected what is in it; None for records.
        """
        self.path = path
        self.step = step
        self.at = 0
        kind: Any = Record if step is None else Rejected
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def batches(self, *, kept: bool) -> Iterator[Batch]:
        """Batches of what has come since the last call."""
        rows: list[tuple[int, Record, Verdict | None]] = []
        for at, value in self._values():
            rows.append((at, value, None) if isinstance(value, Record) else (at, value.record, value.verdict))
            if len(rows) == SPOOL_BATCH:
                yield self._batch(rows, kept)
                rows = []
        if rows:
            yield self._batch(rows, kept)

    def _values(self) -> Iterator[tuple[int, Record | Rejected]]:
        try:
            with self.path.open("rb") as stored:
                stored.seek(self.at)
                while len(header := stored.read(_LENGTH.size)) == _LENGTH.size:
                    blob = stored.read(length := _LENGTH.unpack(header)[0])
                    if len(blob) < length:
                        return
                    place, self.at = self.at, self.at + _LENGTH.size + length
                    value: Record | Rejected = self._decode(blob)
                    yield place, value
        except FileNotFoundError:  # the run has just ended
            return

    def _batch(self, rows: list[tuple[int, Record, Verdict | None]], kept: bool) -> Batch:
        records = [record for _, record, _ in rows]
        verdicts = [verdict for _, _, verdict in rows]
        parents = [name for record in records for name in record.provenance.parents]
        ids = pa.array([record.id for record in records], pa.string())
        fields = [record.fields for record in records]
        return Batch(
            place=Place(self.path, rows[0][0], self.step or ""),
            ids=ids,
            keys=keys_of(ids),
            states=np.array([self._state(record, kept) for record in records], np.uint8),
            steps=[self.step or record.provenance.step for record in records],
            reasons=[
                None if verdict is None else (self.step or "", verdict.rule, verdict.reason, verdict.threshold)
                for verdict in verdicts
            ],
            scores=np.array([np.nan if one is None or one.score is None else one.score for one in verdicts], float),
            parents=keys_of(pa.array(parents, pa.string())),
            parent_counts=np.array([len(record.provenance.parents) for record in records], np.int32),
            texts=pa.array([_text_safe(fields_text(one)) for one in fields], pa.string()),
            measures=_measured(fields),
            offsets=np.array([at for at, _, _ in rows], np.int64),
        )

    def _state(self, record: Record, kept: bool) -> int:
        if self.step is not None:
            return REJECTED
        return KEPT if kept else ON_THE_WAY if record.provenance.requests else SOURCE


def _text_safe(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def spool_row(path: Path, at: int, step: str | None) -> dict[str, Any]:
    """One record of a spool, as a row of `rejected/` or `lineage/`."""
    with path.open("rb") as stored:
        stored.seek(at)
        blob = stored.read(_LENGTH.unpack(stored.read(_LENGTH.size))[0])
    verdict: dict[str, Any] = {}
    if step:
        rejected = msgspec.msgpack.decode(blob, type=Rejected)
        record, verdict = rejected.record, {"step": step, **msgspec.structs.asdict(rejected.verdict)}
    else:
        record = msgspec.msgpack.decode(blob, type=Record)
    provenance: dict[str, Any] = _plain(record.provenance)
    return {"record_id": record.id, "fields": to_json(record.fields), "provenance": provenance, **verdict}


def _plain(provenance: Provenance) -> dict[str, Any]:
    found = msgspec.structs.asdict(provenance)
    return {**found, "parents": list(provenance.parents), "requests": list(provenance.requests)}
