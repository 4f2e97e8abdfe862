"""kill -9 of whole runs of a table: training goes on from its checkpoint, drawing from the journal, nothing twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

ROWS, BATCH = 600, 60
DRIVER = Path(__file__).with_name("killed_driver.py")
GREAT = "{rows: 600, batch_rows: 60, model: scratch, scratch: {hidden: 32, layers: 2, heads: 2, vocabulary: 320}, "
GREAT += "train: {max_steps: 400, epochs: 100, checkpoint_s: 0.2}}"
STEPS = {"great": GREAT, "row_transformer": "{rows: 600, batch_rows: 60, epochs: 20, fewest_steps: 400, patience: 100}"}


@pytest.fixture
def recipe(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    people = [
        {"id": f"C-{at:05d}", "age": 20 + at % 50, "retires": 60 + at % 9, "city": ("Riga", "Oslo", "Rome")[at % 3]}
        for at in range(300)
    ]
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in people))
    path = tmp_path / "r.yaml"
    step = f"{request.param}: {STEPS[request.param]}"
    path.write_text(f"name: people\ntable: {{path: people.jsonl}}\nsteps:\n  - {step}\n")
    return path


def start(recipe: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(recipe), str(out), str(log)], stderr=subprocess.PIPE, cwd=DRIVER.parents[2]
    )


def kill_when(reached: Callable[[], bool], recipe: Path, out: Path, log: Path) -> None:
    process = start(recipe, out, log)
    deadline = time.monotonic() + 120
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, f"the run ended before it could be killed: {process.communicate()[1].decode()}"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def finish(recipe: Path, out: Path, log: Path) -> None:
    process = start(recipe, out, log)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()


def logged(log: Path) -> list[tuple[str, int]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(kind, int(number)) for kind, number in (line.split() for line in lines)]


def artifacts(out: Path) -> dict[str, tuple[str, bytes]]:
    """Kind and content of what the journal holds, by key."""
    if not (out / "journal.sqlite").exists():
        return {}
    connection = sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True)
    try:
        return {key: (kind, value) for key, kind, value in connection.execute("SELECT key, kind, value FROM artifacts")}
    except sqlite3.OperationalError:  # not made yet
        return {}
    finally:
        connection.close()


def batches(out: Path) -> int:
    return sum(kind == "rows" for kind, _ in artifacts(out).values())


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((out / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("recipe", list(STEPS), indirect=True)
def test_killed_in_training_and_in_drawing_a_run_gives_the_rows_of_one_that_was_not(
    recipe: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "killed", tmp_path / "log.txt"
    checkpoint = "*/*/step-*" if "great" in recipe.read_text() else "*/*/*.safetensors"
    kill_when(lambda: any((out / "artifacts").glob(checkpoint)), recipe, out, log)
    first = logged(log)
    assert first and artifacts(out) == {}, "killed amid the training"

    kill_when(lambda: batches(out) >= 3, recipe, out, log)
    known = artifacts(out)
    second = logged(log)[len(first) :]
    assert second[0][0] == "step" and 0 < second[0][1] <= first[-1][1], "training went on from its checkpoint"
    steps = [number for kind, number in second if kind == "step"]
    assert steps == list(range(steps[0], steps[-1] + 1))

    finish(recipe, out, log)
    third = logged(log)[len(first) + len(second) :]
    assert {kind for kind, _ in third} == {"rows"}, "the model came from the journal"
    begun = Counter(number for kind, number in logged(log) if kind == "rows")
    assert len(begun) == ROWS / BATCH
    assert max(begun.values()) <= 2 and sum(times == 2 for times in begun.values()) <= 1, "only the batch in flight"
    assert known.items() <= artifacts(out).items()

    found = rows(out)
    assert len(found) == len({row["record_id"] for row in found}) == len({row["id"] for row in found}) == ROWS
    finish(recipe, tmp_path / "whole", tmp_path / "other.txt")
    assert found == rows(tmp_path / "whole")
