"""Whole records, read again from where the index found them.

    Reader(index).row(7)  ->  {"id": "5f0c…", "state": "kept", "fields": {…}, "provenance": {…}, "verdict": None}

The index holds numbers and texts; what a record says in full lies in its shard, or in the spool of a running process.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io.parquet import damaged
from factory.errors import RunDirError
from factory.viewing.batches import STATES, Place, spool_row
from factory.viewing.index import Index
from factory.viewing.texts import value_text

GROUPS = 16
VERDICT = ("rule", "reason", "score", "threshold", "evidence")


class Reader:
    """Reads records of an index; keeps the last few row groups."""

    def __init__(self, index: Index) -> None:
        """Nothing is read yet."""
        self._index = index
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, number: int) -> dict[str, Any]:
        """The record in that row.

        Raises:
            RunDirError: If its file has been damaged or replaced.
        """
        segment = self._index.segment_of(number)
        within, state = number - segment.first, int(self._index.columns().states[number])
        try:
            if segment.offsets is not None:
                row = spool_row(segment.place.file, int(segment.offsets[within]), segment.place.step or None)
            else:
                row = self._group(segment.place).slice(within, 1).to_pylist()[0]
        except (pa.ArrowException, OSError, IndexError) as error:
            if not segment.place.file.exists():
                raise RunDirError("This record's file was replaced by the run; the page reads it again now.") from error
            raise damaged(segment.place.file, error) from error
        return _shown(row, state, as_json=segment.offsets is not None or STATES[state] != "kept")

    def _group(self, place: Place) -> Any:
        key = (place.file, place.group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        with pq.ParquetFile(place.file) as file:
            table = file.read_row_group(place.group)
        with self._lock:
            self._groups[key] = table
            while len(self._groups) > GROUPS:
                self._groups.popitem(last=False)
        return table


def _shown(row: dict[str, Any], state: int, *, as_json: bool) -> dict[str, Any]:
    provenance = row["provenance"]
    if as_json:
        fields = json.loads(row["fields"])
    else:
        fields = {name: value for name, value in row.items() if name not in ("record_id", "provenance")}
    verdict = {name: row[name] for name in VERDICT} if STATES[state] == "rejected" else None
    return {
        "id": row["record_id"],
        "state": STATES[state],
        "step": row.get("step") if verdict else provenance["step"],
        "fields": fields,
        "provenance": {**provenance, "parents": list(provenance["parents"] or [])},
        "verdict": verdict,
    }


def fields_shown(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Fields as the page shows them: names and texts, and whether a text is JSON."""
    return [
        {
            "name": name,
            "text": "" if value is None else value_text(value).replace("\x1f", "\n"),
            "kind": "null" if value is None else "text" if isinstance(value, str | list) else "value",
        }
        for name, value in fields.items()
    ]
