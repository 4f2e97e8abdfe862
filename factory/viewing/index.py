"""The index of one run directory: a few numbers for each record, and all texts in one temporary file.

    index = Index()
    index.add(batch)                       # from the thread that reads the shards
    columns = index.columns()              # arrays over everything read so far: [rows]
    columns.states[7], columns.row_of(key)

The file has each text twice, as it is and folded for searching; it has no name, can be read by this process alone and
is gone when that ends. In memory a record takes about 45 bytes, and 8 for each parent.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.viewing.batches import Batch, Keys, Place, Reason
from factory.viewing.texts import folded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """The texts of one batch in the file.

    Attributes:
        place: Where the rows come from.
        first: Number of the first row.
        count: Rows.
        ends: Where each text ends, from `at` on, behind a first 0: [count + 1].
        at: Where the texts begin in the file.
        folded_ends: The same of the folded texts.
        folded_at: Where those begin.
        offsets: Offsets in a spool; None for a shard.
    """

    place: Place
    first: int
    count: int
    ends: npt.NDArray[np.int32]
    at: int
    folded_ends: npt.NDArray[np.int32]
    folded_at: int
    offsets: Ints | None


@dataclass(frozen=True)
class Columns:
    """Arrays over all rows of an index at one moment; rows are numbered in the order of the shards.

    Attributes:
        keys: Numbers of the ids.
        states: See `batches.STATES`.
        steps: Code of the step that made, or turned away, each row; names are in `step_names`.
        reasons: Code of the verdict, -1 for none; named in `reason_names`.
        scores: Score of the verdict, NaN for none.
        parents: Keys of all parents, one row's behind the other's.
        parent_ends: Where each row's parents end, behind a first 0: [rows + 1].
        measures: Numeric columns, NaN where a row has none.
    """

    keys: Keys
    states: npt.NDArray[np.uint8]
    steps: npt.NDArray[np.int16]
    reasons: npt.NDArray[np.int32]
    scores: Floats
    parents: Keys
    parent_ends: Ints
    measures: dict[str, Floats]
    step_names: list[str]
    reason_names: list[Reason]

    def __len__(self) -> int:
        """Rows."""
        return len(self.keys)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.keys, kind="stable")

    @cached_property
    def _sorted(self) -> Keys:
        return self.keys[self._order]

    def rows_of(self, keys: Keys) -> Ints:
        """The row of each key, the first if several have it; -1 where there is none: [keys]."""
        if not len(self):
            return np.full(len(keys), -1, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self) - 1)
        return np.where(self._sorted[at] == keys, self._order[at], -1)

    def row_of(self, key: int) -> int:
        """The row of that key, -1 if there is none."""
        return int(self.rows_of(np.array([key], np.uint64))[0])

    def parents_of(self, row: int) -> Keys:
        """Keys of a row's parents."""
        return self.parents[self.parent_ends[row] : self.parent_ends[row + 1]]

    def children_of(self, row: int) -> Ints:
        """Rows that have this one among their parents."""
        places = np.flatnonzero(self.parents == self.keys[row])
        return np.unique(np.searchsorted(self.parent_ends, places, side="right") - 1)


class Index:
    """Grows batch by batch; one thread adds, others read."""

    def __init__(self) -> None:
        """Nothing is indexed yet."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the index)
        weakref.finalize(self, self._file.close)  # a request may still read an index that has been replaced
        self._lock = threading.Lock()
        self._columns: Columns | None = None
        self._end = 0
        self._steps: dict[str, int] = {}
        self._reasons: dict[Reason, int] = {}
        self._parts: list[tuple[Any, ...]] = []
        self._measured: list[tuple[int, dict[str, Floats]]] = []
        self.segments: list[Segment] = []
        self.rows = 0

    def add(self, batch: Batch) -> None:
        """Take a batch in.

        Raises:
            OSError: If the temporary file cannot take it.
        """
        plain, ends = _bytes(batch.texts)
        small, folded_ends = _bytes(folded(batch.texts))
        count = len(batch.keys)
        steps = np.array([self._steps.setdefault(name, len(self._steps)) for name in batch.steps], np.int16)
        reasons = np.array(
            [-1 if one is None else self._reasons.setdefault(one, len(self._reasons)) for one in batch.reasons],
            np.int32,
        )
        at = self._end
        for block in (plain, small):
            self._write(block)
        segment = Segment(batch.place, self.rows, count, ends, at, folded_ends, at + len(plain), batch.offsets)
        with self._lock:
            self._parts.append(
                (batch.keys, batch.states, steps, reasons, batch.scores, batch.parents, batch.parent_counts)
            )
            self._measured.append((count, batch.measures))
            self.segments.append(segment)
            self.rows += count
            self._columns = None

    def _write(self, block: memoryview) -> None:
        while block:
            written = os.pwrite(self._file.fileno(), block, self._end)
            self._end += written
            block = block[written:]

    def columns(self) -> Columns:
        """Everything read so far."""
        with self._lock:
            if self._columns is None:
                self._columns = self._joined()
            return self._columns

    def _joined(self) -> Columns:
        def column(place: int, kind: Any) -> Any:
            return np.concatenate([part[place] for part in self._parts] or [np.zeros(0)]).astype(kind, copy=False)

        ends = np.concatenate([[0], np.cumsum(column(6, np.int64))]).astype(np.int64)
        return Columns(
            keys=column(0, np.uint64),
            states=column(1, np.uint8),
            steps=column(2, np.int16),
            reasons=column(3, np.int32),
            scores=column(4, np.float64),
            parents=column(5, np.uint64),
            parent_ends=ends,
            measures=self._joined_measures(),
            step_names=list(self._steps),
            reason_names=list(self._reasons),
        )

    def _joined_measures(self) -> dict[str, Floats]:
        parts = self._measured
        names = list(dict.fromkeys(name for _, found in parts for name in found))
        return {
            name: np.concatenate([found.get(name, np.full(count, np.nan)) for count, found in parts]) for name in names
        }

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self._file.fileno(), size, at)

    def segment_of(self, row: int) -> Segment:
        """The segment that holds a row."""
        low, high = 0, len(self.segments)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.segments[middle].first <= row else (low, middle)
        return self.segments[low]

    def text(self, row: int) -> str:
        """The text of a row, as it is."""
        segment = self.segment_of(row)
        begin, end = segment.ends[row - segment.first], segment.ends[row - segment.first + 1]
        return self.read(segment.at + int(begin), int(end - begin)).decode("utf-8", "replace")

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    @property
    def file_bytes(self) -> int:
        """Size of the temporary file."""
        return self._end


def _bytes(texts: Any) -> tuple[memoryview, npt.NDArray[np.int32]]:
    """The bytes of an Arrow array of texts, one behind the other, and where each ends behind a first 0."""
    ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = texts.buffers()[2]
    block = memoryview(data)[int(ends[0]) : int(ends[-1])] if data is not None else memoryview(b"")
    return block, ends - ends[0]
