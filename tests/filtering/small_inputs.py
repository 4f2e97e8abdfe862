"""What the tests of `factory filter` share: rows with near-duplicates in every format, and a filter that costs nothing."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.datasets_io import chunks
from factory.recipe.pieces import Piece, pieces
from factory.recipe.schema import StepOptions
from factory.records import Verdict

WORDS = ("river", "mountain", "castle", "engine", "garden", "letter")
ROUGE_L = "rouge_l: {threshold: 0.7}"
SAME_TEXT = "same_text"
INTERRUPT_AT = 0  # call of a filter at which Ctrl-C is pressed


def instruction(number: int) -> str:
    """Six words of its own; every fourth repeats the one before it and adds a word."""
    base = number - 1 if number % 4 == 3 else number
    return " ".join(f"{word}{base}" for word in WORDS) + (" again" if base != number else "")


def rows(count: int = 40) -> list[dict[str, Any]]:
    return [
        {"id": number, "instruction": instruction(number), "output": f'Größe "{number}", two\nlines'}
        for number in range(count)
    ]


def lines(some: Sequence[dict[str, Any]]) -> list[bytes]:
    return [(json.dumps(row, ensure_ascii=False) + "\n").encode() for row in some]


def table(some: Sequence[dict[str, Any]]) -> pa.Table:
    """Columns of types that neither JSON nor CSV have, and metadata."""
    columns = {
        "id": pa.array([row["id"] for row in some], pa.int32()),
        "instruction": pa.array([row["instruction"] for row in some], pa.large_string()),
        "output": [row["output"] for row in some],
        "when": pa.array([row["id"] * 10**9 + 1 for row in some], pa.timestamp("ns", tz="UTC")),
        "kind": pa.array([f"k{row['id'] % 3}" for row in some]).dictionary_encode(),
        "nested": pa.array([{"a": [row["id"] % 100], "b": None} for row in some], pa.struct([("a", pa.list_(pa.int8())), ("b", pa.binary())])),
    }  # fmt: skip
    return pa.table(columns).replace_schema_metadata({"made": "by hand"})


def write(path: Path, some: Sequence[dict[str, Any]]) -> Path:
    """Rows in the format of the name; a name without ending is a folder of three JSON Lines files."""
    kind = path.suffix
    if kind in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(some[0]), delimiter="\t" if kind == ".tsv" else ",", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(some)
        path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    elif kind == ".parquet":
        pq.write_table(table(some), path, row_group_size=max(7, len(some) // 20))
    elif kind == ".jsonl":
        path.write_bytes(b"".join(lines(some)))
    else:
        path.mkdir()
        for index in range(3):
            (path / f"part-{index}.jsonl").write_bytes(b"".join(lines(some[index::3])))
    return path


def written(out: Path) -> dict[str, bytes]:
    """Every file of a result."""
    beside = [path for path in out.parent.glob(f"{out.stem}*") if path.name.startswith(f"{out.stem}.rejected")]
    files = [*out.rglob("*")] if out.is_dir() else [out, *beside]
    return {str(path.relative_to(out.parent)): path.read_bytes() for path in files if path.is_file()}


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class SameText:
    """A filter like `exact`, and what it was asked."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.seen: set[str] = set()
        self.calls: list[tuple[str, int]] = []

    def judge(self, some: Sequence[dict[str, Any]]) -> list[Verdict | None]:
        self.calls.append(("judge", len(some)))
        if len(self.calls) == INTERRUPT_AT:
            raise KeyboardInterrupt
        return [self._judged(row[self.field]) for row in some]

    def restore(self, some: Sequence[dict[str, Any]], kept: Sequence[bool]) -> None:
        self.calls.append(("restore", len(some)))
        self.seen |= {row[self.field] for row, stayed in zip(some, kept, strict=True) if stayed}

    def _judged(self, text: str) -> Verdict | None:
        if text in self.seen:
            return Verdict(keep=False, rule="same_text", reason="repeated", evidence=text)
        self.seen.add(text)
        return None


class Options(StepOptions):
    """Options of `same_text`.

    Attributes:
        field: Column that is compared.
        against: Files.
    """

    field: str = "text"
    against: list[str] = []


def register(monkeypatch: pytest.MonkeyPatch) -> list[SameText]:
    """Make `same_text` a filter; returns a list of those that are made."""
    made: list[SameText] = []

    def sift(options: Options, base: Path) -> SameText:
        made.append(SameText(options.field))
        return made[-1]

    module = ModuleType("tests_same_text")
    module.Options, module.sift = Options, sift  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(pieces(), SAME_TEXT, Piece(SAME_TEXT, "filter", module.__name__))
    return made


def small_chunks(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", count)
