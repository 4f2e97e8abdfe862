"""Killed at any moment, then the same command: nothing committed is asked again, and the dataset is the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.errors import JournalError, RunDirError, UserError

from .small_runs import Model, committed, data, one_step, run, self_instruct, tickets, two_steps

LATENCY_S = 0.006
KILLS = 20
LOCK_WAIT_S = 20.0


class Driver:
    """Runs in processes of their own, that can be killed."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "crash_driver.py"
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, recipe_file: Path, out: Path, **command: Any) -> int:
        """Begin a run; returns the process id."""
        assert self._process.stdin is not None
        log = out.with_suffix(".log")
        line = {"recipe": str(recipe_file), "out": str(out), "log": str(log), "latency_s": LATENCY_S, **command}
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return int(self._read()["pid"])

    def ended(self) -> tuple[int, str]:
        """Exit code and standard error of the run begun last."""
        found = self._read()
        return found["code"], found["stderr"]

    def run(self, recipe_file: Path, out: Path, **command: Any) -> tuple[int, str]:
        self.start(recipe_file, out, **command)
        return self.ended()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=30)  # ends its input, and closes both pipes


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    found = Driver()
    yield found
    found.close()


def logged(out: Path, event: str, since: int = 0) -> list[str]:
    """Keys of that event in the log of a run, in order, from that byte on."""
    log = out.with_suffix(".log")
    text = log.read_text(encoding="ascii")[since:] if log.exists() else ""
    return [line.split()[1] for line in text.splitlines() if line.startswith(f"{event} ")]


def log_size(out: Path) -> int:
    log = out.with_suffix(".log")
    return log.stat().st_size if log.exists() else 0


def kill_at(driver: Driver, recipe_file: Path, out: Path, size: int) -> bool:
    """Start a run and kill it when its log has that many bytes; whether that was in time."""
    process = driver.start(recipe_file, out)
    end = time.monotonic() + LOCK_WAIT_S
    while log_size(out) < size and time.monotonic() < end:
        time.sleep(0.001)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return driver.ended()[0] == -signal.SIGKILL


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LOCK_WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


RECIPES = {"two prompts": two_steps, "self-instruct": lambda folder: self_instruct(folder, accept=60)}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_run_killed_at_any_moment_asks_only_what_was_in_flight_again(
    kind: str, driver: Driver, tmp_path: Path
) -> None:
    recipe_file = RECIPES[kind](tmp_path / "recipe")
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    whole, events = data(tmp_path / "whole"), log_size(tmp_path / "whole")
    moments = random.Random(kind)
    hit_while_asking = 0
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        killed = kill_at(driver, recipe_file, out, int(events * moments.uniform(0.0, 0.95)))
        safe, answered = committed(out), logged(out, "answer")
        hit_while_asking += killed and len(safe) > 0
        size = log_size(out)
        code, told = driver.run(recipe_file, out)
        assert (code, told.strip()) == (0, "")
        asked_again = logged(out, "ask", since=size)
        assert not safe & set(asked_again), "a committed completion was asked for again"
        assert len(asked_again) == len(set(asked_again))
        assert set(asked_again) & set(answered) <= set(answered) - safe
        if kind == "two prompts":
            assert len(asked_again) == 800 - len(safe)
        assert data(out) == whole
        shutil.rmtree(out)
    assert hit_while_asking >= KILLS // 2, "the kills missed the run"


@pytest.mark.parametrize("kind", RECIPES)
def test_a_run_killed_over_and_over_gets_there(kind: str, driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = RECIPES[kind](tmp_path / "recipe"), tmp_path / "out"
    moments, safe = random.Random(kind), set[str]()
    for _ in range(8):
        size = log_size(out)
        driver.run(recipe_file, out, kill_after_s=moments.uniform(0.1, 0.4))
        assert not safe & set(logged(out, "ask", since=size))
        assert safe <= committed(out)
        safe = committed(out)
    assert driver.run(recipe_file, out)[0] == 0
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    assert data(out) == data(tmp_path / "whole")


@pytest.mark.parametrize(
    "accident",
    [{"kill_at_rename": number} for number in range(1, 9)]
    + [{"kill_at_shards": number} for number in (1, 2, 3)]
    + [{"kill_in_shard": True}],
    ids=lambda accident: "-".join(map(str, *accident.items())),
)
def test_a_kill_during_the_final_write_costs_nothing(
    accident: dict[str, Any], driver: Driver, finished: tuple[Path, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe_file, before, whole = finished
    out = tmp_path / "out"
    shutil.copytree(before, out)  # a finished run: the swap renames four old things away and four new ones in
    assert driver.run(recipe_file, out, **accident)[0] == -signal.SIGKILL
    assert driver.run(recipe_file, out) == (0, "\n")
    assert logged(out, "ask") == []
    assert data(out) == whole
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in before.iterdir())


@pytest.fixture(scope="module")
def finished(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, bytes]]:
    """A recipe, the directory of its finished run, and the dataset."""
    folder = tmp_path_factory.mktemp("finished")
    recipe_file = two_steps(folder / "recipe", rows=60)
    assert driver.run(recipe_file, folder / "out")[0] == 0
    return recipe_file, folder / "out", data(folder / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_cleanly_and_the_next_run_completes(
    number: signal.Signals, driver: Driver, tmp_path: Path
) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe"), tmp_path / "out"
    pid = driver.start(recipe_file, out)
    wait_for(lambda: len(logged(out, "answer")) > 100)
    os.kill(pid, number)
    code, told = driver.ended()
    assert code == 130
    assert told.strip() == "interrupted; run the same command again to go on from here"
    safe = committed(out)
    assert safe == set(logged(out, "answer")), "what was answered before the signal is in the journal"
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    size = log_size(out)
    assert driver.run(recipe_file, out)[0] == 0
    assert not safe & set(logged(out, "ask", since=size))
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    assert data(out) == data(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_final_write_interrupts_too(
    number: signal.Signals, driver: Driver, finished: tuple[Path, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe_file, before, whole = finished
    out = tmp_path / "out"
    shutil.copytree(before, out)
    assert driver.run(recipe_file, out, signal_at_shards=number) == (130, "interrupted\n")
    assert driver.run(recipe_file, out) == (0, "\n")
    assert (data(out), logged(out, "ask")) == (whole, [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted here; test_a_file_size_limit… covers the same errors")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("free", [0, 24_000, 150_000, 400_000, 600_000])
def test_a_full_disk_ends_the_run_with_one_sentence_and_loses_nothing(
    free: int, driver: Driver, small_disk: Path, tmp_path: Path
) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=300), small_disk / "out"
    out.mkdir()
    (out / ".lock").touch()
    (small_disk / "other").write_bytes(b"x" * (1_040_000 - free))
    code, told = driver.run(recipe_file, out, log=str(tmp_path / "out.log"))
    assert code == 3, told
    assert told.startswith(f"error: {out}") and told.count("\n") == 1, told
    assert "free some space and run the same command again" in told
    (small_disk / "other").unlink()
    safe = committed(out)
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    size = (tmp_path / "out.log").stat().st_size
    assert driver.run(recipe_file, out, log=str(tmp_path / "out.log")) == (0, "\n")
    again = (tmp_path / "out.log").read_text()[size:]
    assert not {line.split()[1] for line in again.splitlines()} & safe
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    assert data(out) == data(tmp_path / "whole")


@pytest.mark.parametrize("most", [3_000, 40_000, 70_000, 150_000])
def test_a_file_size_limit_ends_the_run_with_one_sentence_and_loses_nothing(
    most: int, driver: Driver, tmp_path: Path
) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=300), tmp_path / "out"
    log = str(tmp_path / "limited.log")
    code, told = driver.run(recipe_file, out, max_file_bytes=most, log=log)
    assert code == 3, told
    assert told.startswith(f"error: {out}") and told.count("\n") == 1, told
    safe = committed(out)
    assert driver.run(recipe_file, out) == (0, "\n")
    assert not safe & set(logged(out, "ask"))
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    assert data(out) == data(tmp_path / "whole")


def test_a_dead_engine_is_started_again_and_asked_again(driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=200), tmp_path / "out"
    assert driver.run(recipe_file, out, die_after=[60, 200])[0] == 0
    assert driver.run(recipe_file, tmp_path / "whole")[0] == 0
    assert data(out) == data(tmp_path / "whole")
    answered = logged(out, "answer")
    assert len(answered) == len(set(answered)) == 400
    asked_twice = len(logged(out, "ask")) - 400
    assert 2 <= asked_twice <= 2 * 16, "what was in flight at the deaths was asked again, and nothing else"


def test_an_engine_that_dies_for_ever_ends_the_run_and_keeps_the_answers(driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=100), tmp_path / "out"
    code, told = driver.run(recipe_file, out, die_after=[50, 80, 110, 140])
    assert code == 3
    assert told.startswith("error: the engine died 3 times in a row") and told.count("\n") == 1
    assert json.loads((out / "manifest.json").read_text())["status"] == "failed"
    safe, size = committed(out), log_size(out)
    assert safe == set(logged(out, "answer"))
    assert driver.run(recipe_file, out)[0] == 0
    assert len(logged(out, "ask", since=size)) == 200 - len(safe)


def test_a_second_run_in_the_directory_is_refused_until_the_first_is_gone(driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe"), tmp_path / "out"
    pid = driver.start(recipe_file, out, latency_s=20.0)
    wait_for(lambda: log_size(out) > 0)
    engine = Model()
    began = time.monotonic()
    with pytest.raises(RunDirError, match=rf"out: another process \(id {pid}\) is running here") as raised:
        run(recipe_file, out, engine)
    assert time.monotonic() - began < 5.0
    assert (raised.value.exit_code, engine.asked) == (2, 0)
    assert factory.plan(recipe_file, out=out).total("ask") == 800, "planning needs no lock"
    os.kill(pid, signal.SIGKILL)
    driver.ended()
    assert run(recipe_file, out).status == "complete"


def test_two_runs_of_one_process_do_not_share_a_directory(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(5)), tmp_path / "out"

    def answer(request: object) -> str:
        with pytest.raises(RunDirError, match="is running here"):
            run(recipe_file, out)
        return "refused"

    assert run(recipe_file, out, Model(answer)).rows == 5


def changed(path: Path, change: Callable[[bytearray], Any]) -> bytes:
    """Change a file's bytes; returns what it holds now."""
    content = bytearray(path.read_bytes())
    found = change(content)
    path.write_bytes(content if found is None else found)
    return path.read_bytes()


def flip_inside(content: bytearray, needle: bytes) -> None:
    content[content.index(needle) + len(needle) // 2] ^= 0x10


DAMAGES: dict[str, Callable[[bytearray], Any]] = {
    "page in the middle": lambda content: content.__setitem__(slice(8192, 8292), os.urandom(100)),
    "first page": lambda content: content.__setitem__(slice(100, 200), b"\xff" * 100),
    "inside an answer": lambda content: flip_inside(content, b"finish_reason"),
    "truncated within a page": lambda content: content[: len(content) // 2 + 77],
    "truncated to some pages": lambda content: content[: 4096 * 5],
    "truncated to nothing": lambda content: b"",
    "not a database": lambda content: b"These are my notes, not a database. " * 500,
    "another database": lambda content: other_database(),
}


def other_database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE notes (text TEXT)")
    return connection.serialize()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_named_and_left_as_it_is(
    damage: str, finished: tuple[Path, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe_file, before, whole = finished
    out, journal = tmp_path / "out", tmp_path / "out" / "journal.sqlite"
    shutil.copytree(before, out)
    broken = changed(journal, DAMAGES[damage])
    some_id = next(pq.ParquetFile(before / "data" / next(iter(whole))).iter_batches())["record_id"][0].as_py()
    engine = Model()
    for attempt in (
        lambda: run(recipe_file, out, engine),
        lambda: factory.plan(recipe_file, out=out),
        lambda: factory.why(out, some_id),
    ):
        with pytest.raises(
            JournalError, match=r"journal\.sqlite: the journal is damaged \(.*\); nothing was changed\."
        ) as raised:
            attempt()
        assert raised.value.exit_code == 3
        assert "\n" not in str(raised.value)
    assert journal.read_bytes() == broken
    assert (engine.asked, data(out)) == (0, whole)


def test_any_flipped_byte_is_found_or_harmless(finished: tuple[Path, Path, dict[str, bytes]], tmp_path: Path) -> None:
    recipe_file, before, whole = finished
    content = (before / "journal.sqlite").read_bytes()
    draw = random.Random(5)
    found = 0
    for _ in range(60):
        out = tmp_path / "out"
        shutil.copytree(before, out)
        broken = changed(
            out / "journal.sqlite", lambda bytes_: bytes_.__setitem__(draw.randrange(len(content)), draw.randrange(256))
        )
        engine = Model()
        try:
            run(recipe_file, out, engine)
        except JournalError:
            found += 1
            assert (out / "journal.sqlite").read_bytes() == broken
        assert (engine.asked, data(out)) == (0, whole)
        shutil.rmtree(out)
    assert found > 20


def test_a_journal_of_a_newer_version_is_left_alone(
    finished: tuple[Path, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    recipe_file, before, _ = finished
    out = tmp_path / "out"
    shutil.copytree(before, out)
    with closing(sqlite3.connect(out / "journal.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 7")
    newer = (out / "journal.sqlite").read_bytes()
    for attempt in (lambda: run(recipe_file, out), lambda: factory.plan(recipe_file, out=out)):
        with pytest.raises(
            JournalError, match=r"journal\.sqlite: written by a newer version \(format 7, this one knows 1\)"
        ):
            attempt()
    assert (out / "journal.sqlite").read_bytes() == newer


def test_a_journal_that_was_moved_away_begins_anew_whatever_lies_beside_it(driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=60), tmp_path / "out"
    driver.run(recipe_file, out, kill_at_shards=1)
    assert (out / "journal.sqlite-wal").stat().st_size > 0, "a kill leaves the write-ahead log behind"
    (out / "journal.sqlite").rename(tmp_path / "away")
    engine = Model()
    assert run(recipe_file, out, engine).status == "complete"
    assert engine.asked == 120


def test_another_recipe_in_a_used_directory_is_refused_with_what_differs(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(20)), tmp_path / "out"
    run(recipe_file, out)
    whole = data(out)
    recipe_file = one_step(tmp_path, tickets(20), step={"sampling": {"temperature": 0.3}}, seed=7)
    engine = Model()
    with pytest.raises(RunDirError, match="holds a run of another recipe") as raised:
        run(recipe_file, out, engine)
    assert "seed: 42 -> 7" in str(raised.value)
    assert "temperature: 1.0 -> 0.3" in str(raised.value)
    assert (engine.asked, data(out)) == (0, whole)
    assert run(recipe_file, out, engine, accept_changes=True).status == "complete"
    assert (engine.asked, len(committed(out))) == (20, 40)


def test_more_rows_and_another_engine_setting_are_the_same_recipe(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(20)), tmp_path / "out"
    run(recipe_file, out)
    recipe_file = one_step(tmp_path, tickets(25), engine={"max_in_flight": 3, "timeout_s": 5})
    engine = Model()
    assert run(recipe_file, out, engine).rows == 25
    assert engine.asked == 5


@pytest.mark.parametrize("where", ["file/out", "/proc/nothing/out"])
def test_a_directory_that_cannot_be_written_is_named(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirError, match=r"out: cannot be written \(.+\); choose another --out\."):
        run(one_step(tmp_path, tickets(2)), tmp_path / where)


@pytest.mark.parametrize("name", ["thesis.doc", "manifest.json", "recipe.yaml"])
def test_a_directory_with_foreign_files_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text('{"manifest_version": 3}', encoding="utf-8")
    with pytest.raises(RunDirError, match=name):
        run(one_step(tmp_path, tickets(2)), out)
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [name]


def test_a_run_killed_before_its_manifest_was_written_goes_on(driver: Driver, tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path / "recipe", rows=60), tmp_path / "out"
    driver.run(recipe_file, out, kill_at_shards=1)
    (out / "manifest.json").unlink()
    (out / ".manifest.json.new").write_text("{", encoding="utf-8")
    size = log_size(out)
    assert driver.run(recipe_file, out)[0] == 0
    assert logged(out, "ask", since=size) == []


def test_an_unreadable_manifest_can_be_removed_as_the_message_says(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(5)), tmp_path / "out"
    run(recipe_file, out)
    (out / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"manifest\.json: cannot be read .*; remove it and run the recipe again"):
        run(recipe_file, out)
    (out / "manifest.json").unlink()
    engine = Model()
    assert (run(recipe_file, out, engine).status, engine.asked) == ("complete", 0)


def test_a_directory_with_any_name_is_read(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(3)), tmp_path / "out 100%?#ü"
    result = run(recipe_file, out)
    assert factory.plan(recipe_file, out=out).total("ask") == 0
    assert factory.why(out, result.first[0].id)[0].exchanges
