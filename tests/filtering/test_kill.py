"""Killed at any place, then the same command: the same bytes as without a kill."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.errors import DiskError, RunDirError
from factory.filtering.workdir import WorkDir

from . import small_inputs
from .small_inputs import lines, register, rows, small_chunks, write, written

KILLS = 15
LAST = 8  # places at the end of which every one is tried: the renames and what is cleared away behind them
FILTERS = ["rouge_l: {threshold: 0.7}", "rouge_l: {name: outputs, field: output, threshold: 0.85}"]
ROWS = rows(60)


class Driver:
    """Filters in processes of their own, that can be killed."""

    def __init__(self) -> None:
        script = Path(__file__).parent / "kill_driver.py"
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def filter(self, source: Path, out: Path, *, overwrite: bool = False, **command: Any) -> dict[str, Any]:
        call = {"inputs": str(source), "out": str(out), "filters": FILTERS, "overwrite": overwrite}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": call, **command}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=30)  # ends its input, and closes both pipes


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    found = Driver()
    yield found
    found.close()


def source_of(folder: Path, kind: str) -> Path:
    """An input of that kind; JSON Lines with two broken rows."""
    path = write(folder / f"in{kind}", ROWS)
    if kind == ".jsonl":
        some = lines(ROWS)
        path.write_bytes(b"".join([*some[:20], b'{"instruction": \n', *some[20:45], b"[]\n", *some[45:]]))
    return path


def moments(places: int, seed: str) -> list[int]:
    """Places spread over a run, and all of the last ones."""
    early = random.Random(seed).sample(range(1, places - LAST), KILLS - LAST)
    return [*sorted(early), *range(places - LAST + 1, places + 1)]


ROUTES = [(".jsonl", ".jsonl"), (".csv", ".csv"), (".parquet", ".parquet"), (".jsonl", ""), (".jsonl", ".parquet")]


@pytest.mark.parametrize(("kind", "form"), ROUTES)
@pytest.mark.parametrize(("accident", "overwrite"), [("kill_at", False), ("torn_at", False), ("kill_at", True)])
def test_a_filter_killed_at_any_place_gives_the_same_bytes(
    kind: str, form: str, accident: str, overwrite: bool, driver: Driver, tmp_path: Path
) -> None:
    source = source_of(tmp_path, kind)
    (tmp_path / "whole").mkdir()
    undisturbed = driver.filter(source, tmp_path / "whole" / f"out{form}")
    assert undisturbed["code"] == 0, undisturbed
    whole = written(tmp_path / "whole" / f"out{form}")
    (tmp_path / "old").mkdir()
    factory.filter(source, tmp_path / "old" / f"out{form}", filters=["rouge_l: {threshold: 1.0}"])
    for moment in moments(undisturbed["places"], f"{kind}{form}{accident}"):
        folder = tmp_path / f"killed-{moment}"
        shutil.copytree(tmp_path / "old", folder) if overwrite else folder.mkdir()
        out = folder / f"out{form}"
        died = driver.filter(source, out, overwrite=overwrite, **{accident: moment})
        assert died["code"] == -signal.SIGKILL
        if not overwrite and form:
            assert not out.exists() or out.with_suffix(f".rejected{form}").exists(), "kept rows without the rejected"
        again = driver.filter(source, out, overwrite=overwrite)
        is_done = again["code"] == 2 and "exists already" in again["told"] and moment >= undisturbed["places"] - 1
        assert again["code"] == 0 or is_done, (moment, again)
        assert written(out) == whole, moment
        assert not out.with_name(f"{out.name}.partial").exists()


def test_a_filter_killed_over_and_over_gets_there(driver: Driver, tmp_path: Path) -> None:
    source, out = source_of(tmp_path, ".jsonl"), tmp_path / "out.jsonl"
    (tmp_path / "whole").mkdir()
    driver.filter(source, tmp_path / "whole/out.jsonl")
    kills = 0
    while driver.filter(source, out, kill_at=9)["code"] == -signal.SIGKILL:
        kills += 1
        assert kills < 30
    assert kills >= 7, "three writes, three syncs and the state make a commit: each session gets one chunk further"
    assert written(out) == written(tmp_path / "whole/out.jsonl")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_with_130_and_the_next_call_completes(
    number: signal.Signals, driver: Driver, tmp_path: Path
) -> None:
    source = source_of(tmp_path, ".jsonl")
    (tmp_path / "whole").mkdir()
    places = driver.filter(source, tmp_path / "whole/out.jsonl")["places"]
    for moment in (1, places // 2, places - 12):
        (tmp_path / f"at-{moment}").mkdir()
        out = tmp_path / f"at-{moment}" / "out.jsonl"
        stopped = driver.filter(source, out, signal_at=[moment, number])
        assert (stopped["code"], stopped["told"]) == (130, "interrupted")
        assert not out.exists()
        assert driver.filter(source, out)["code"] == 0
        assert written(out) == written(tmp_path / "whole/out.jsonl")


@pytest.mark.parametrize(("kind", "form"), ROUTES)
def test_a_file_size_limit_ends_it_with_one_sentence_and_the_next_call_completes(
    kind: str, form: str, driver: Driver, tmp_path: Path
) -> None:
    source, out = source_of(tmp_path, kind), tmp_path / f"out{form}"
    (tmp_path / "whole").mkdir()
    driver.filter(source, tmp_path / "whole" / f"out{form}")
    ended = [driver.filter(source, out, max_file_bytes=most) for most in (0, 700, 2500)]
    assert {end["code"] for end in ended} == {3}, ended
    for end in ended:
        assert re.fullmatch(
            r".+out.*\.partial.*: cannot be written \(.+\); free some space and run the same command again.*",
            end["told"],
        ), end
    assert not out.exists()
    assert driver.filter(source, out)["code"] == 0
    assert written(out) == written(tmp_path / "whole" / f"out{form}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted here; test_a_file_size_limit… covers the same errors")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("form", [".jsonl", ".parquet", ""])
def test_a_full_disk_keeps_what_is_written(form: str, driver: Driver, small_disk: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows(3000))
    ended = driver.filter(source, small_disk / f"out{form}", chunk_rows=100)
    assert ended["code"] == 3
    assert "cannot be written (No space left on device); free some space" in ended["told"]
    state = json.loads((small_disk / f"out{form}.partial/state.json").read_text())
    assert 0 < state["rows"] < 3000
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    assert driver.filter(source, small_disk / f"out{form}", chunk_rows=100)["code"] == 0
    driver.filter(source, tmp_path / f"out{form}")
    assert written(small_disk / f"out{form}") == written(tmp_path / f"out{form}")


def begun(tmp_path: Path, driver: Driver, kind: str = ".jsonl") -> tuple[Path, Path]:
    """A filter that was killed on its way."""
    source, out = source_of(tmp_path, kind), tmp_path / f"out{kind}"
    assert driver.filter(source, out, kill_at=26)["code"] == -signal.SIGKILL
    assert 8 < json.loads((out.with_name(f"{out.name}.partial") / "state.json").read_text())["rows"] < 40
    return source, out


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
def test_an_input_that_has_changed_is_refused_until_restart(kind: str, driver: Driver, tmp_path: Path) -> None:
    source, out = begun(tmp_path, driver, kind)
    changed = [{**ROWS[0], "id": 9}, *ROWS[1:]]
    write(source, changed)
    with pytest.raises(RunDirError, match=r"out.*\.partial: the input has changed since this was begun: .*--restart"):
        factory.filter(source, out, filters=FILTERS)
    assert not out.exists()
    assert factory.filter(source, out, filters=FILTERS, restart=True).read == 60


def test_an_input_that_has_grown_is_gone_on_with_and_one_that_has_shrunk_is_refused(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, 8)
    source, out = begun(tmp_path, driver)
    whole = source.read_bytes()
    source.write_bytes(whole[:900])
    with pytest.raises(RunDirError, match=r"the input has changed since this was begun"):
        factory.filter(source, out, filters=FILTERS)
    source.write_bytes(whole + lines(rows(61))[-1])
    assert factory.filter(source, out, filters=FILTERS).read == 63


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
def test_what_was_written_beyond_the_last_commit_is_cut_off(kind: str, driver: Driver, tmp_path: Path) -> None:
    """The kill is before the second commit, the rows behind the first one are then replaced by one that is rejected."""
    source, out = write(tmp_path / f"in{kind}", ROWS), tmp_path / f"out{kind}"
    assert driver.filter(source, out, kill_at=15)["code"] == -signal.SIGKILL
    assert json.loads((tmp_path / f"out{kind}.partial/state.json").read_text())["rows"] in (7, 8)
    write(source, [*ROWS[:8], ROWS[0]])
    assert driver.filter(source, out)["code"] == 0
    (tmp_path / "whole").mkdir()
    driver.filter(source, tmp_path / f"whole/out{kind}")
    assert written(out) == written(tmp_path / f"whole/out{kind}")


def test_another_command_is_refused_with_the_difference(driver: Driver, tmp_path: Path) -> None:
    source, out = begun(tmp_path, driver)
    with pytest.raises(RunDirError) as raised:
        factory.filter(source, out, filters=["rouge_l: {threshold: 0.8}", FILTERS[1]])
    assert (
        "holds an unfinished result of another command. It differs in:\n  filters[0].rouge_l.threshold: 0.7 -> 0.8\n"
        in (str(raised.value))
    )
    with pytest.raises(RunDirError, match=r"against\..*in\.jsonl: None -> '[0-9a-f]{16}'"):
        factory.filter(source, out, filters=FILTERS, against=[write(tmp_path / "pool", ROWS) / "part-1.jsonl", source])


def test_what_was_judged_is_restored_and_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = register(monkeypatch)
    small_chunks(monkeypatch, 10)
    monkeypatch.setattr("factory.filtering.session.COMMIT_EVERY_S", 0.0)
    source, out = write(tmp_path / "in.jsonl", [*ROWS[:30], *ROWS[:30]]), tmp_path / "out.jsonl"
    call: dict[str, Any] = {"filters": ["rouge_l: {threshold: 0.95}", "same_text: {field: output}"]}
    monkeypatch.setattr(small_inputs, "INTERRUPT_AT", 3)
    stopped = factory.filter(source, out, **call)
    assert (stopped.status, stopped.exit_code, stopped.read, stopped.kept) == ("interrupted", 130, 20, 20)
    monkeypatch.setattr(small_inputs, "INTERRUPT_AT", 0)
    done = factory.filter(source, out, **call)
    assert (done.read, done.kept, done.resumed) == (60, 30, 20)
    assert made[0].calls == [("judge", 10), ("judge", 10), ("judge", 10)]
    assert made[1].calls == [("restore", 10), ("restore", 10), ("judge", 10)], "the later rows never got that far"
    assert done.rejected == {"rouge_l: too_similar": 30}


def test_in_a_chain_a_later_filter_is_handed_what_the_earlier_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = register(monkeypatch)
    small_chunks(monkeypatch, 10)
    monkeypatch.setattr("factory.filtering.session.COMMIT_EVERY_S", 0.0)
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    call: dict[str, Any] = {"filters": ["rouge_l: {threshold: 0.7}", "same_text: {field: output}"]}
    monkeypatch.setattr(small_inputs, "INTERRUPT_AT", 4)
    assert factory.filter(source, out, **call).read == 30
    monkeypatch.setattr(small_inputs, "INTERRUPT_AT", 0)
    assert factory.filter(source, out, **call).kept == 45
    kept = [8, 7, 8, 7, 8, 7]  # every fourth is gone
    assert [count for _, count in made[1].calls] == kept
    assert [what for what, _ in made[1].calls] == ["restore"] * 3 + ["judge"] * 3


def test_a_result_that_is_being_written_is_not_written_by_another(tmp_path: Path) -> None:
    source, out = source_of(tmp_path, ".jsonl"), tmp_path / "out.jsonl"
    with (
        WorkDir(tmp_path / "out.jsonl.partial").locked(),
        pytest.raises(RunDirError, match=rf"another process \(id {os.getpid()}\) is writing this result"),
    ):
        factory.filter(source, out, filters=FILTERS)
    assert factory.filter(source, out, filters=FILTERS).kept == 45


def test_the_message_of_a_full_disk_has_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"out\.jsonl\.partial: cannot be written \(Not a directory\)") as raised:
        factory.filter(source_of(tmp_path, ".jsonl"), tmp_path / "file/out.jsonl", filters=FILTERS)
    assert raised.value.exit_code == 3
