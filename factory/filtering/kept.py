"""Kept and rejected rows on their way: how they lie in a spool, and how the result is made of it.

Kept rows are spooled in one of three ways, of which the first is the result already:

* `lines`: bytes of the input, where IN and OUT are both JSON Lines, or both CSV, or both TSV;
* `arrow`: record batches, where both are Parquet or Arrow;
* `json`: one JSON object a line, for every conversion.

Rejected rows are one JSON object a line until the end:

    {"row":"in.jsonl:17","filter":"rouge_l","rule":"rouge_l","reason":"too_similar","score":0.86,"threshold":0.7,
     "evidence":"List three rivers","fields":{"instruction":"List three large rivers"}}
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from factory.datasets_io.chunks import Chunk, TextChunk
from factory.datasets_io.parquet import text_safe
from factory.filtering.target import Target
from factory.filtering.workdir import Spool, disk_error
from factory.records import Verdict

ROWS_PER_SHARD = 500_000
JSON_FORMS = ("jsonl", "json")
TABLE_KINDS = ("parquet", "arrow")
KEPT, REJECTED = "kept", "rejected"


class Filed(msgspec.Struct, frozen=True):
    """What is said of a rejected row; its columns follow behind it as `fields`."""

    row: str
    filter: str
    rule: str
    reason: str
    score: float | None
    threshold: float | None
    evidence: str | None


def filed(place: str, name: str, verdict: Verdict, fields: bytes) -> bytes:
    """A line of the rejected rows.

    Args:
        place: Where the row stands in the input.
        name: Name of the filter, or `input`.
        verdict: Why it was turned away.
        fields: JSON text of its columns, or `null`.
    """
    evidence = None if verdict.evidence is None else text_safe(verdict.evidence)
    said = Filed(text_safe(place), name, verdict.rule, verdict.reason, verdict.score, verdict.threshold, evidence)
    return msgspec.json.encode(said)[:-1] + b',"fields":' + fields + b"}\n"


def spooled_as(kind: str, form: str) -> str:
    """The way in which kept rows of an input of that kind wait to become a result of that form."""
    if kind in TABLE_KINDS:
        return "arrow" if form in ("parquet", "folder") else "json"
    if kind in JSON_FORMS:
        return "lines" if form in ("jsonl", "folder") else "json"
    return "lines" if kind == form else "json"


def spool_kept(spool: Spool, way: str, chunk: Chunk, kept: Sequence[int]) -> None:
    """Append the kept rows of a chunk.

    Raises:
        DiskError: If the disk is full.
    """
    if way == "json":
        spool.append(b"".join(line + b"\n" for line in chunk.as_json(kept)))
    elif way == "arrow":
        from factory.filtering.tables import framed

        spool.append(framed(chunk, kept))
    else:
        text = cast(TextChunk, chunk)
        beginning = [text.header] if spool.size == 0 else []
        lines = text.lines if len(kept) == len(text) else [text.lines[index] for index in kept]
        spool.append(b"".join([*beginning, *lines]))


def spool_paths(target: Target, way: str) -> tuple[Path, Path]:
    """Where kept and rejected rows are spooled; under the name of the result where the spool will be that."""
    kept = target.staged(target.out) if _is_result(way, target.form) else target.partial / KEPT
    rejected = target.staged(target.rejected) if target.form == "jsonl" else target.partial / f"{REJECTED}.jsonl"
    return kept, rejected


def _is_result(way: str, form: str) -> bool:
    return form == "jsonl" or (way == "lines" and form != "folder")


def build(target: Target, way: str, counts: tuple[int, int], notes: dict[str, str]) -> None:
    """Make the result of the spools, ready to be moved into place.

    Args:
        target: Where it goes.
        way: How the kept rows are spooled.
        counts: How many kept and rejected rows there are.
        notes: Further files of a folder, by name.

    Raises:
        DiskError: If the disk is full.
    """
    kept, rejected = spool_paths(target, way)
    try:
        if target.form == "folder":
            _build_folder(target.staged(target.out), way, (kept, rejected), counts, notes)
            return
        if kept != target.staged(target.out):
            _build_file(target.form, way, kept, target.staged(target.out), counts[0])
        if rejected != target.staged(target.rejected):
            _build_file(target.form, "filed", rejected, target.staged(target.rejected), counts[1])
    except OSError as error:
        raise disk_error(target.partial, error) from error


def _build_file(form: str, way: str, spool: Path, path: Path, count: int) -> None:
    if form == "parquet":
        from factory.filtering.tables import write_tables

        _require_all(write_tables(way, spool, [path]), count, path)
    else:
        from factory.filtering.cells import write_cells

        write_cells(way, spool, path, form)


def _build_folder(
    folder: Path, way: str, spools: tuple[Path, Path], counts: tuple[int, int], notes: dict[str, str]
) -> None:
    form = "jsonl" if way == "lines" else "parquet"
    parts = (("data", "train", way), (REJECTED, REJECTED, "filed"))
    for (part, stem, part_way), spool, count in zip(parts, spools, counts, strict=True):
        paths = _shard_names(folder / part, stem, form, count)
        if form == "jsonl":
            _split_lines(spool, paths)
        else:
            from factory.filtering.tables import write_tables

            _require_all(write_tables(part_way, spool, paths, ROWS_PER_SHARD), count, folder)
    for name, text in notes.items():
        (folder / name).write_text(text, encoding="utf-8")


def _require_all(written: int, count: int, path: Path) -> None:
    if written != count:
        raise AssertionError(f"{path}: {written} rows written, {count} counted")


def _shard_names(folder: Path, stem: str, form: str, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, -(-count // ROWS_PER_SHARD))
    return [folder / f"{stem}-{index:05d}-of-{shards:05d}.{form}" for index in range(shards)]


def _split_lines(spool: Path, paths: list[Path]) -> None:
    """Copy lines into files of so many each."""
    with spool.open("rb") as lines:
        for path in paths:
            with path.open("wb") as shard:
                shard.writelines(islice(lines, ROWS_PER_SHARD))
