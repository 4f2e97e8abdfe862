"""`factory.show` and `factory.why`: what a run came to, and how any one record came to be.

`why("runs/quickstart", "5f0c…")` gives the record, every prompt and completion that made it, the verdict
that turned it away if one did, and all its ancestors up to the seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.datasets_io.parquet import damaged, read_shards
from factory.engines.protocol import Completion, Request
from factory.errors import UserError
from factory.journal import Journal
from factory.records import Verdict
from factory.rundir import RunDir

FOLDERS = ("data", "rejected", "lineage")
SHORTEST_ID = 4


@dataclass(frozen=True)
class Shown:
    """A run at a glance: its manifest, and some kept and rejected records.

    Attributes:
        manifest: As the run has written it last.
        kept: The first kept rows.
        rejected: One rejected row for each reason.
        answers: Answers in the journal of a run that has not ended as it should.
        in_use: Whether a process is running there now.
    """

    manifest: dict[str, Any]
    kept: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    answers: int = 0
    in_use: bool = False


@dataclass(frozen=True)
class Story:
    """One record and how it came to be.

    Attributes:
        id: Record id.
        state: `kept`, `rejected`, `on the way` for a record that others were made from, or `source row`.
        fields: What it holds.
        provenance: Step, method, parents, prompt, model, seed, request keys.
        verdict: What turned it away, and in which step; None for the others.
        step: The step that turned it away.
        exchanges: Requests and completions that made it.
    """

    id: str
    state: str
    fields: dict[str, Any]
    provenance: dict[str, Any]
    verdict: Verdict | None
    step: str | None
    exchanges: list[tuple[Request, Completion]]


def show(path: str | Path, samples: int = 3) -> Shown:
    """Read a run directory.

    Raises:
        UserError: If it holds no run.
    """
    directory = RunDir(Path(path))
    manifest = directory.require_manifest()
    kept = _first(read_shards(directory.path / "data"), samples) if (directory.path / "data").is_dir() else []
    rejected = _spread(directory.path / "rejected", samples)
    if manifest["status"] != "running":
        return Shown(manifest, kept, rejected)
    in_use = directory.in_use()
    return Shown(manifest, kept, rejected, 0 if in_use else _answers(directory), in_use)


def _answers(directory: RunDir) -> int:
    if not directory.journal.exists():
        return 0
    journal = Journal(directory.journal, read_only=True)
    try:
        return len(journal.keys())
    finally:
        journal.close()


def _first(rows: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return [row for _, row in zip(range(count), rows, strict=False)]


def _spread(folder: Path, count: int) -> list[dict[str, Any]]:
    """Rejected rows, one for each reason."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in read_shards(folder) if folder.is_dir() else ():
        found.setdefault((row["rule"], row["reason"]), row)
    return list(found.values())[:count] if count else []


def why(path: str | Path, record_id: str) -> list[Story]:
    """The story of a record, then those of its ancestors, nearest first.

    Args:
        path: Run directory.
        record_id: Id of a kept or rejected record, or of one that others were made from; a beginning of
            at least four digits will do.

    Raises:
        UserError: If no record, or more than one, has that id.
    """
    directory = RunDir(Path(path))
    directory.require_manifest()
    parents = _parents(directory.path)
    full = _resolve(directory.path, parents, record_id)
    wanted = _ancestry(parents, full)
    rows = _rows(directory.path, set(wanted))
    if not directory.journal.exists():
        return [_story(row, folder, None) for folder, row in (rows[name] for name in wanted if name in rows)]
    journal = Journal(directory.journal, read_only=True)
    try:
        return [_story(row, folder, journal) for folder, row in (rows[name] for name in wanted if name in rows)]
    finally:
        journal.close()


def _parents(path: Path) -> dict[str, list[str]]:
    """Parents of every record that the directory knows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for file in sorted((path / folder).glob("*.parquet")):
            try:
                table = pq.read_table(file, columns=["record_id", "provenance"])
            except (pa.ArrowException, OSError) as error:
                raise damaged(file, error) from error
            provenances = table.column("provenance").combine_chunks().field("parents")
            found.update(zip(table.column("record_id").to_pylist(), provenances.to_pylist(), strict=True))
    return found


def _resolve(path: Path, parents: dict[str, list[str]], record_id: str) -> str:
    if record_id in parents:
        return record_id
    if len(record_id) < SHORTEST_ID:
        raise UserError(f"{path}: '{record_id}' is too short for a record id; give at least {SHORTEST_ID} digits.")
    matches = [name for name in parents if name.startswith(record_id)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"{path}: {len(matches)} records begin with '{record_id}', e.g. {matches[0]} and {matches[1]}.")
    raise UserError(f"{path}: no record '{record_id}'; take an id from the column 'record_id' of data/ or rejected/.")


def _ancestry(parents: dict[str, list[str]], record_id: str) -> list[str]:
    order, seen = [record_id], {record_id}
    for name in order:
        for parent in parents.get(name) or []:
            if parent not in seen:
                seen.add(parent)
                order.append(parent)
    return order


def _rows(path: Path, wanted: set[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for folder in reversed(FOLDERS):
        if (path / folder).is_dir():
            for row in read_shards(path / folder, wanted.__contains__):
                found[row["record_id"]] = (folder, row)
    return found


def _story(row: dict[str, Any], folder: str, journal: Journal | None) -> Story:
    verdict = None
    if folder == "rejected":
        named = {name: row[name] for name in ("rule", "reason", "score", "threshold", "evidence")}
        verdict = Verdict(keep=False, **named)
    if folder == "data":
        fields = {name: value for name, value in row.items() if name not in ("record_id", "provenance")}
    else:
        fields = json.loads(row["fields"])
    keys = row["provenance"]["requests"] or []
    exchanges = [found for key in keys if journal is not None and (found := journal.request(key)) is not None]
    on_the_way = "on the way" if row["provenance"]["requests"] else "source row"
    state = {"data": "kept", "rejected": "rejected"}.get(folder, on_the_way)
    return Story(row["record_id"], state, fields, row["provenance"], verdict, row.get("step"), exchanges)
