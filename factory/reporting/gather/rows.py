"""Rows of a run, streamed: how many there are of each kind, and a sample that does not depend on their order.

    sample(Path("runs/a/data"), share=0.02)  ->  [Seen(id="5f0c…", fields={"instruction": "Name …"}, lengths={…}), …]

A row is in the sample if a hash of its record id is small enough: the same rows each time, kept and rejected ones at the same
share. Texts are measured before they are cut to what a page can show.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io.parquet import damaged, read_shards

MOST: Final = 20_000
"""Rows of a kind that are looked at one by one; of more, a share is drawn."""
CLIP: Final = 1_200
"""Characters of a text that are kept in memory."""
NEAR: Final = 3
_RANGE: Final = 2**64
_NO_FIELDS: Final = ("record_id", "provenance")
_VERDICT: Final = ("step", "rule", "reason", "score", "threshold", "evidence")

Reason = tuple[str, str, str]
"""Step, rule and reason of a rejection."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was looked at.

    Attributes:
        id: Record id.
        fields: What it says; long texts are cut.
        lengths: Characters and words of each text, uncut.
        made_by: Step that made it.
        parents: Ids of the records that it was made from.
        requests: Journal keys of its requests.
        step: Step that turned it away; empty for a kept row, as the rest.
        rule: Rule of the verdict.
        reason: Its reason.
        score: What was measured, if anything.
        threshold: What it was compared with.
        evidence: What the verdict rests on, cut.
    """

    id: str
    fields: dict[str, Any]
    lengths: dict[str, tuple[int, int]]
    made_by: str
    parents: tuple[str, ...]
    requests: tuple[str, ...]
    step: str = ""
    rule: str = ""
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    evidence: str | None = None


class Counted(msgspec.Struct, frozen=True):
    """Rejected rows by reason.

    Attributes:
        by_reason: How many, in the order in which they are first met.
        near: Ids of those whose score is closest to the threshold.
    """

    by_reason: dict[Reason, int]
    near: dict[Reason, tuple[str, ...]]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.by_reason.values())


def count(folder: Path) -> int:
    """Rows of all shards of a folder, as their footers have it.

    Raises:
        RunDirError: If one is damaged.
    """
    total = 0
    for path in sorted(folder.glob("*.parquet")):
        try:
            total += pq.ParquetFile(path).metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error
    return total


def counted(folder: Path) -> Counted:
    """Count every rejected row, and find those next to each threshold.

    Raises:
        RunDirError: If a shard is damaged.
    """
    found: Counter[Reason] = Counter()
    near: dict[Reason, list[tuple[float, str]]] = {}
    for row in _columns(folder, ["record_id", "step", "rule", "reason", "score", "threshold"]):
        name, step, rule, reason, score, threshold = row
        key = (step, rule, reason)
        found[key] += 1
        if score is not None and threshold is not None:
            heap = near.setdefault(key, [])
            heapq.heappush(heap, (-abs(score - threshold), name))
            if len(heap) > NEAR:
                heapq.heappop(heap)
    closest = {key: tuple(name for _, name in sorted(heap, key=lambda each: -each[0])) for key, heap in near.items()}
    return Counted(dict(found), closest)


def _columns(folder: Path, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns of all rows of a folder, a few thousand rows in memory at a time."""
    for path in sorted(folder.glob("*.parquet")):
        try:
            for batch in pq.ParquetFile(path).iter_batches(columns=names):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error


def share(*totals: int) -> float:
    """Share of rows to look at, so that there are about `MOST` of the most frequent kind."""
    most = max(totals, default=0)
    return 1.0 if most <= MOST else MOST / most


def sample(folder: Path, share: float) -> list[Seen]:
    """Rows of a folder whose hash falls below that share, in the order of the files.

    Raises:
        RunDirError: If a shard is damaged.
    """
    limit = int(share * _RANGE)
    rows = read_shards(folder, None if share >= 1.0 else lambda name: place(name) < limit)
    return [seen(row, folder.name) for row in rows]


def rows_of(folder: Path, ids: set[str]) -> dict[str, Seen]:
    """The rows of those ids, by id."""
    if not ids or not folder.is_dir():
        return {}
    return {row["record_id"]: seen(row, folder.name) for row in read_shards(folder, ids.__contains__)}


def place(name: str) -> int:
    """Where a record id falls in the range of hashes."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def seen(row: dict[str, Any], kind: str) -> Seen:
    """A stored row.

    Args:
        row: As Parquet has it.
        kind: Folder that it lies in: `data`, `rejected` or `lineage`.
    """
    stored = kind != "data"
    fields = json.loads(row["fields"]) if stored else {k: v for k, v in row.items() if k not in _NO_FIELDS}
    provenance = row["provenance"]
    verdict = {name: row[name] for name in _VERDICT} if kind == "rejected" else {}
    if verdict:
        verdict["evidence"] = cut(verdict["evidence"])
    return Seen(
        id=row["record_id"],
        fields={name: cut(value) for name, value in fields.items()},
        lengths={name: (len(value), len(value.split())) for name, value in fields.items() if isinstance(value, str)},
        made_by=provenance["step"],
        parents=tuple(provenance["parents"] or ()),
        requests=tuple(provenance["requests"] or ()),
        **verdict,
    )


def cut(value: Any) -> Any:
    """A value without what is too long to be shown."""
    if isinstance(value, str):
        return value if len(value) <= CLIP else f"{value[:CLIP]}…"
    if isinstance(value, list | dict | bytes):
        text = json.dumps(value, ensure_ascii=False, default=str)
        return value if len(text) <= CLIP else f"{text[:CLIP]}…"
    return value
