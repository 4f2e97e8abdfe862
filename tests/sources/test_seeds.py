"""Seed tasks: read, checked, named by their content."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.context import StepStats
from factory.errors import SourceError
from factory.records import Record
from factory.sources import seeds
from factory.sources.seeds import Options, read_tasks

TASK = {"instruction": "Name the capital.", "instances": [{"input": "France", "output": "Paris"}]}


def write(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    return path


def emitted(path: Path) -> list[Record]:
    async def collect() -> list[Record]:
        context: Any = SimpleNamespace(step="seeds", base=path.parent, stats=StepStats())
        found = seeds.run(None, context, Options(path=path.name))  # type: ignore[arg-type]
        return [record async for record in found]  # type: ignore[misc]

    return asyncio.run(collect())


def test_a_task_keeps_its_further_keys_and_is_no_classification_by_default(tmp_path: Path) -> None:
    (record,) = emitted(write(tmp_path / "seeds.jsonl", {**TASK, "id": "s1"}))
    assert record.fields == {**TASK, "id": "s1", "is_classification": False}
    assert record.provenance.parents == ()


def test_a_default_that_is_written_out_changes_no_id(tmp_path: Path) -> None:
    (one,) = emitted(write(tmp_path / "a.jsonl", TASK))
    (other,) = emitted(write(tmp_path / "b.jsonl", {**TASK, "is_classification": False}))
    assert one.id == other.id


def test_equal_tasks_are_told_apart(tmp_path: Path) -> None:
    records = emitted(write(tmp_path / "a.jsonl", TASK, TASK, TASK))
    assert len({record.id for record in records}) == 3


def test_the_shipped_tasks_are_read_by_default(tmp_path: Path) -> None:
    assert seeds.check(Options(), tmp_path) == []
    (path,) = seeds.files(Options(), tmp_path)
    assert len(read_tasks(path)) == 175


def test_an_input_may_be_missing_but_not_an_output(tmp_path: Path) -> None:
    assert read_tasks(write(tmp_path / "a.jsonl", {**TASK, "instances": [{"output": "x"}]}))
    for instance in ({}, {"output": " "}, {"output": 3}, {"output": "x", "input": None}, "x"):
        with pytest.raises(SourceError, match=r"a\.jsonl:2: an instance needs an 'output' text"):
            read_tasks(write(tmp_path / "a.jsonl", TASK, {**TASK, "instances": [TASK["instances"][0], instance]}))


def test_columns_are_what_self_instruct_needs(tmp_path: Path) -> None:
    assert seeds.columns(Options(), tmp_path, None) == {"instruction", "is_classification", "instances"}
