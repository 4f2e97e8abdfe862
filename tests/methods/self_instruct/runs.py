"""Small recipes, run with scripted answers, and what their directories then hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

import factory
from factory.engines.protocol import Completion, Engine, Request
from factory.engines.scripted import ScriptedEngine
from factory.journal import Journal
from factory.records import derive_seed
from factory.resources import resource
from factory.runner import RunResult

from . import fake_model

SEED = 7
STEP = "self_instruct"
MOST_REQUESTS = 2000


def shipped_seeds() -> list[dict[str, Any]]:
    path = resource("seeds/self_instruct.jsonl")
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_recipe(
    folder: Path, *, seeds: str = "seeds/self_instruct.jsonl", head: dict[str, Any] | None = None, **options: Any
) -> Path:
    """A recipe of `seeds` and `self_instruct` with those options; `head` adds or replaces top-level keys."""
    engine = {"kind": "scripted", "script": "none.json", "model": "fake", "max_in_flight": 16}
    extra = dict(head or {})
    engine |= extra.pop("engine", {})
    recipe = {
        "name": "test",
        "seed": SEED,
        "engine": engine,
        **extra,
        "steps": [{"seeds": {"path": seeds}}, {STEP: options}],
    }
    (folder / "none.json").write_text('{"answers": ["not used: the test hands its engine in"]}', encoding="utf-8")
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def bounded(answer: Any = fake_model.answer, most: int = MOST_REQUESTS) -> ScriptedEngine:
    """An engine that fails the test instead of answering for ever."""
    asked = 0

    def count(request: Request) -> str | Completion:
        nonlocal asked
        asked += 1
        assert asked <= most, f"more than {most} requests"
        return answer(request)

    return ScriptedEngine(count)


@lru_cache(maxsize=1)
def numbers() -> dict[int, int]:
    """Number of each request for instructions, by its seed."""
    return {derive_seed(SEED, STEP, str(number), 0): number for number in range(MOST_REQUESTS)}


def fresh(number: int) -> str:
    """An instruction that shares no word with any other one."""
    return " ".join(f"{word}{number}" for word in ("Alpha", "bravo", "charlie", "delta", "echo"))


@dataclass
class Run:
    """A finished run: its result and the rows of its files."""

    result: RunResult
    engine: Engine
    data: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    lineage: dict[str, dict[str, Any]]

    def reasons(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in self.rejected:
            found[row["reason"]] = found.get(row["reason"], 0) + 1
        return found

    def journal(self) -> dict[tuple[str, int], tuple[Request, Completion]]:
        """Requests and their answers by stage and seed."""
        return read_journal(self.result.path)


def run(recipe: Path, out: Path, engine: Engine | None = None, **options: Any) -> Run:
    engine = engine or bounded()
    result = factory.run(recipe, out, engine=engine, progress=False, **options)
    return read(result, engine)


def read(result: RunResult, engine: Engine) -> Run:
    rejected = rows(result.path / "rejected")
    lineage = rows(result.path / "lineage")
    for row in rejected + lineage:
        row["fields"] = json.loads(row["fields"])
    return Run(result, engine, rows(result.path / "data"), rejected, {row["record_id"]: row for row in lineage})


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def data_bytes(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((out / "data").glob("*.parquet"))]


def read_journal(out: Path) -> dict[tuple[str, int], tuple[Request, Completion]]:
    journal = Journal(out / "journal.sqlite", read_only=True)
    try:
        found = {}
        for key, (_, stage) in journal.keys().items():
            pair = journal.request(key)
            assert pair is not None and pair[0].seed is not None
            found[stage, pair[0].seed] = pair
        return found
    finally:
        journal.close()
