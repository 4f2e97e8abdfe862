"""Run directories with chosen rows, written as a run writes them but without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from factory.datasets_io.parquet import LINEAGE, REJECTED, Columns, lineage_row, rejected_row, write_shards
from factory.records import Provenance, Record, Rejected, Verdict

JUDGED = {"judge": {"prompt": "rate.jinja", "column": "score"}}


def record(name: str, fields: dict[str, Any], root: str | None = None) -> Record:
    return Record(name, fields, Provenance(step="made", method="prompt", root=root))


def turned_away(name: str, fields: dict[str, Any], rule: str, reason: str, root: str | None = None) -> Rejected:
    return Rejected(record(name, fields, root), Verdict(keep=False, rule=rule, reason=reason))


def directory(
    path: Path,
    kept: Sequence[Record],
    *,
    rejected: Sequence[Rejected] = (),
    lineage: Sequence[Record] = (),
    steps: Iterable[dict[str, Any]] = (),
    privacy: dict[str, Any] | None = None,
    rows_per_shard: int = 1000,
) -> Path:
    """A finished run with these records."""
    columns = Columns()
    for one in kept:
        columns.see(one.fields)
    write_shards(path / "data", "train", columns.rows(kept), len(kept), columns.schema(), rows_per_shard)
    away = [rejected_row("judge", one) for one in rejected]
    write_shards(path / "rejected", "rejected", away, len(away), REJECTED, rows_per_shard)
    write_shards(path / "lineage", "records", map(lineage_row, lineage), len(lineage), LINEAGE, rows_per_shard)
    manifest: dict[str, Any] = {"format": 1, "name": "made", "status": "complete", "fingerprint": "f00d"}
    manifest |= {"recipe": {"steps": list(steps)}, "rows": len(kept), "message": "", "steps": []}
    manifest |= {"dataset": {"status": "complete", "rows": len(kept)}, "model": "m", "requests": {}, "seconds": 0}
    if privacy is not None:
        manifest["privacy"] = privacy
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def pairs(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    """A run of rows; each has a root of its own, or that under the key `root`."""
    kept = []
    for number, row in enumerate(rows):
        fields = {name: value for name, value in row.items() if name != "root"}
        kept.append(record(f"{number:020x}", fields, row.get("root", f"root{number}")))
    return directory(path, kept, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
