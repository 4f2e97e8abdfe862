"""kill -9 with real vLLM: five times into one directory, then to the end; nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from factory.datasets_io.parquet import read_shards
from factory.rundir import RunDir

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(3000)]
RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
KILLS = 5


def journalled(out: Path) -> set[str]:
    """Keys that are committed."""
    if not (out / "journal.sqlite").exists():
        return set()
    connection = sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM completions")}
    finally:
        connection.close()


def run_and_kill(command: list[str], out: Path, after: int) -> None:
    """Start, wait until so many more completions are committed, and kill without warning."""
    before = len(journalled(out))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while process.poll() is None and len(journalled(out)) < before + after and time.monotonic() < deadline:
        time.sleep(0.2)
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_five_times_the_run_loses_and_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "factory.cli", "run", str(RECIPE), "--out", str(out), "--quiet"]
    rng = random.Random(5)
    known: set[str] = set()
    for _ in range(KILLS):
        run_and_kill(command, out, rng.randint(3, 14))
        now = journalled(out)
        assert known < now, "a committed completion was lost, or none was added"
        known = now
    finished = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert finished.returncode == 0, finished.stderr
    assert known <= journalled(out)
    manifest = RunDir(out).require_manifest()
    rows = list(read_shards(out / "data"))
    tasks = Counter(row["instruction_id"] for row in rows)
    assert manifest["status"] == "complete"
    assert len(tasks) == 24
    assert len({row["record_id"] for row in rows}) == len(rows)
    assert all(key in journalled(out) for row in rows for key in row["provenance"]["requests"])
    in_last_session = manifest["requests"]
    assert in_last_session["asked"] + in_last_session["reused"] >= len(known)
    assert in_last_session["asked"] == len(journalled(out)) - len(known), "something committed was asked again"
    print(f"killed {KILLS} times; {len(known)} completions survived, {in_last_session} in the last session")
