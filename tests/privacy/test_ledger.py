"""The ledger remembers what was spent, through kills, in several processes at once, and fails closed."""

from __future__ import annotations

import fcntl
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.errors import UserError
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.ledger import Ledger, Run, composed

DELTA = 1e-5
MANY = 200
NUMBERS = itertools.count()  # no two pay for the same


PLAIN: dict[str, Any] = {
    "method": "dp_lora",
    "at": "now",
    "noise_multiplier": 1.0,
    "sample_rate": 0.02,
    "planned": 60,
}


def run(**changes: Any) -> Run:
    return Run(**(PLAIN | {"what": f"w{next(NUMBERS)}"} | changes))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "tickets.csv.privacy.jsonl")


def test_it_tells_of_every_run_what_it_has_spent(ledger: Ledger) -> None:
    first, second = ledger.begin(run()), ledger.begin(run(what="v", noise_multiplier=2.0))
    for _ in range(3):
        ledger.spend(first, steps=1)
    ledger.spend(second, steps=10, epsilon_counts=0.25)
    ledger.end(first)
    one, other = ledger.runs()
    assert (one.id, one.spent, one.ended, one.planned) == (first, 3, True, 60)
    assert (other.id, other.spent, other.ended, other.epsilon_counts) == (second, 10, False, 0.25)
    assert ledger.find(second) == other and ledger.find("none") is None
    assert one.mechanism == Mechanism(noise_multiplier=1.0, sample_rate=0.02, steps=3)


def test_where_there_is_none_nothing_was_spent(ledger: Ledger) -> None:
    assert ledger.runs() == [] and ledger.epsilon(DELTA) == 0.0
    ledger.path.touch()
    assert ledger.runs() == [] and ledger.epsilon(DELTA) == 0.0


def test_ids_are_random_and_say_nothing_of_the_run(ledger: Ledger) -> None:
    names = {ledger.begin(run()) for _ in range(50)}
    assert len(names) == 50 and all(len(name) == 16 for name in names)


def test_what_a_new_run_says_it_has_spent_already_is_not_believed(ledger: Ledger) -> None:
    ledger.begin(run(spent=7, ended=True))
    assert (ledger.runs()[0].spent, ledger.runs()[0].ended) == (0, False)


def test_each_step_is_on_the_disk_before_it_is_taken(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ledger.begin(run())
    synced: list[bytes] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), synced.append(ledger.path.read_bytes()))[0])
    ledger.spend(name, steps=1)
    assert synced and synced[-1] == ledger.path.read_bytes()


# --- composition --------------------------------------------------------------------------------------


def test_runs_compose_as_one_long_one_does(ledger: Ledger) -> None:
    for steps in (20, 40):
        ledger.spend(ledger.begin(run()), steps=steps)
    straight = epsilon([Mechanism(noise_multiplier=1.0, sample_rate=0.02, steps=60)], DELTA)
    assert ledger.epsilon(DELTA) == pytest.approx(straight, abs=1e-6)


def test_counts_add_up_and_steps_that_were_only_planned_cost_nothing(ledger: Ledger) -> None:
    name = ledger.begin(run())
    assert ledger.epsilon(DELTA) == 0.0
    ledger.spend(name, epsilon_counts=0.3)
    ledger.spend(ledger.begin(run()), epsilon_counts=0.2)
    assert ledger.epsilon(DELTA) == pytest.approx(0.5)
    ledger.spend(name, steps=5)
    assert ledger.epsilon(DELTA) > 0.6


def test_one_run_without_noise_makes_all_of_it_infinite(ledger: Ledger) -> None:
    ledger.spend(ledger.begin(run()), steps=5)
    ledger.spend(ledger.begin(run(noise_multiplier=0.0)), steps=1)
    assert ledger.epsilon(DELTA) == math.inf


def forgets_nothing(compose: Callable[[list[Run], float], float], ledger: Ledger) -> bool:
    """Whether the whole is more than it would be without any one of the runs."""
    runs = ledger.runs()
    whole = compose(runs, DELTA)
    return all(compose([each for each in runs if each is not left], DELTA) < whole - 1e-3 for left in runs)


def test_composition_that_forgets_is_noticed(ledger: Ledger) -> None:
    for noise in (1.0, 1.5):
        ledger.spend(ledger.begin(run(noise_multiplier=noise)), steps=30)
    assert forgets_nothing(composed, ledger)
    assert not forgets_nothing(lambda runs, delta: composed(runs[-1:], delta), ledger)
    assert not forgets_nothing(lambda runs, delta: max((composed([each], delta) for each in runs), default=0.0), ledger)


# --- kills and damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_a_kill_cut_off_is_as_if_it_had_not_begun(ledger: Ledger, cut: int) -> None:
    name = ledger.begin(run())
    ledger.spend(name, steps=1)
    whole = ledger.path.read_bytes()
    ledger.spend(name, steps=1)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-cut])
    assert ledger.runs()[0].spent == 1
    ledger.spend(name, steps=1)
    assert ledger.runs()[0].spent == 2
    assert ledger.path.read_bytes().startswith(whole)


def test_a_file_that_is_one_broken_line_is_begun_anew(ledger: Ledger) -> None:
    ledger.path.write_bytes(b'{"type":"run","id":"ab')
    assert ledger.runs() == []
    assert ledger.find(ledger.begin(run())) is not None


DAMAGES = {
    "not json": b"spent nothing\n",
    "empty line": b"\n",
    "two lines in one": b'{"type":"end","run":"%s"}{"type":"end","run":"%s"}\n',
    "unknown kind": b'{"type":"refund","run":"%s","steps":5}\n',
    "unknown run": b'{"type":"spend","run":"0000000000000000","steps":1}\n',
    "steps given back": b'{"type":"spend","run":"%s","steps":-3}\n',
    "epsilon given back": b'{"type":"spend","run":"%s","epsilon_counts":-0.3}\n',
    "something that it does not know": b'{"type":"spend","run":"%s","steps":1,"noise_multiplier":0.1}\n',
    "no number": b'{"type":"spend","run":"%s","steps":"1"}\n',
    "half a step": b'{"type":"spend","run":"%s","steps":0.5}\n',
    "a rate of nothing": b'{"type":"run","id":"a","what":"w","method":"m","at":"n","noise_multiplier":1,"sample_rate":0,"planned":1}\n',
    "noise below nothing": b'{"type":"run","id":"a","what":"w","method":"m","at":"n","noise_multiplier":-1,"sample_rate":1,"planned":1}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_ledger_that_is_damaged_is_refused_with_its_line(ledger: Ledger, damage: str) -> None:
    name = ledger.begin(run())
    ledger.spend(name, steps=1)
    with ledger.path.open("ab") as file:
        file.write(DAMAGES[damage].replace(b"%s", name.encode()))
    ledger.spend(name, steps=1)
    for ask in (ledger.runs, lambda: ledger.epsilon(DELTA), lambda: ledger.find(name)):
        with pytest.raises(UserError, match=r"\.privacy\.jsonl:3: the privacy ledger is damaged"):
            ask()


def test_an_id_that_begins_again_takes_nothing_away(ledger: Ledger) -> None:
    ledger.begin(run(), name="test-w")
    ledger.spend("test-w", steps=30)
    once = ledger.epsilon(DELTA)
    ledger.begin(run(), name="test-w")
    assert [each.spent for each in ledger.runs()] == [30, 0] and ledger.epsilon(DELTA) == once
    found = ledger.find("test-w")
    assert found is not None and found.spent == 0
    ledger.spend("test-w", steps=30)
    assert ledger.epsilon(DELTA) == pytest.approx(
        epsilon([Mechanism(noise_multiplier=1.0, sample_rate=0.02, steps=60)], DELTA), abs=1e-6
    )


def test_where_it_cannot_be_written_nothing_may_be_spent(ledger: Ledger, tmp_path: Path) -> None:
    nowhere = Ledger(tmp_path / "no folder" / "l.jsonl")
    with pytest.raises(UserError, match="cannot be written"):
        nowhere.begin(run())
    ledger.path.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        ledger.spend("a", steps=1)
    with pytest.raises(UserError, match="cannot be read"):
        ledger.runs()


@pytest.mark.parametrize(
    "spent", [{}, {"steps": 0}, {"steps": -1}, {"epsilon_counts": -0.5}, {"epsilon_counts": math.nan}]
)
def test_nothing_is_no_spending(ledger: Ledger, spent: dict[str, float]) -> None:
    name = ledger.begin(run())
    with pytest.raises(ValueError, match="expected steps"):
        ledger.spend(name, **spent)  # type: ignore[arg-type]
    assert len(ledger.path.read_bytes().splitlines()) == 1


def test_what_could_not_be_read_again_is_not_written(ledger: Ledger) -> None:
    for wrong in (run(noise_multiplier=math.nan), run(sample_rate=2.0)):
        with pytest.raises(msgspec.ValidationError):
            ledger.begin(wrong)
    name = ledger.begin(run())
    with pytest.raises(msgspec.ValidationError):
        ledger.spend(name, steps=2, epsilon_counts=-0.5)
    assert [each.spent for each in ledger.runs()] == [0]


def test_the_name_of_a_new_ledger_is_on_the_disk_as_well(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one was killed between making the file and writing into it."""
    ledger.path.touch()
    synced: list[bool] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (synced.append(Path(f"/proc/self/fd/{file}").is_dir()), sync(file))[1]
    )
    name = ledger.begin(run())
    assert synced == [True, False]
    ledger.spend(name, steps=1)
    assert synced == [True, False, False]


# --- several processes --------------------------------------------------------------------------------

SPENDER = """
import sys
from pathlib import Path
from factory.privacy.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    ledger.spend(sys.argv[2], steps=1)
    if sys.argv[4:]:
        print("spent", flush=True)
"""


def spender(ledger: Ledger, name: str, times: int, *more: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", SPENDER, str(ledger.path), name, str(times), *more], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None and started.stdout.readline() == "ready\n"
    return started


def test_two_processes_at_once_lose_nothing(ledger: Ledger) -> None:
    names = [ledger.begin(run()), ledger.begin(run(what="v"))]
    for process in [spender(ledger, name, MANY) for name in names]:
        assert process.wait(60) == 0
    assert [each.spent for each in ledger.runs()] == [MANY, MANY]
    assert len(ledger.path.read_bytes().splitlines()) == 2 + 2 * MANY


def test_of_two_that_begin_the_same_at_once_one_pays(ledger: Ledger) -> None:
    first, second = ledger.begin(run(what="w", where="/runs/one")), ledger.begin(run(what="w"))
    other = Ledger(ledger.path)
    ledger.spend(first, steps=1)
    with pytest.raises(
        UserError, match=r"the same is being paid for by another process \(run \w+, now, in /runs/one\)"
    ):
        other.spend(second, steps=1)
    ledger.spend(first, steps=1)
    assert [each.spent for each in ledger.runs()] == [2, 0]
    twice = ledger.begin(run(what="w", again=True))
    other.spend(twice, steps=1)
    Ledger(ledger.path).spend(twice, steps=1)
    assert [each.spent for each in ledger.runs()] == [2, 0, 2]


def test_a_run_that_was_resumed_goes_on_paying_whoever_paid_since(ledger: Ledger) -> None:
    first = ledger.begin(run(what="w"))
    ledger.spend(first, steps=1)
    other = ledger.begin(run(what="w", again=True))
    ledger.spend(other, steps=1)
    Ledger(ledger.path).spend(first, steps=1)
    assert [each.spent for each in ledger.runs()] == [2, 1]


def test_what_other_ledgers_of_the_same_texts_have_counts(ledger: Ledger, tmp_path: Path) -> None:
    old = Ledger(tmp_path / "old.jsonl")
    old.spend(old.begin(run(what="w")), steps=5)
    both = Ledger(ledger.path, also=[old.path])
    both.spend(both.begin(run(what="v")), steps=2)
    assert [each.spent for each in both.runs()] == [5, 2]
    assert [each.spent for each in ledger.runs()] == [2]
    assert both.epsilon(DELTA) > ledger.epsilon(DELTA)
    same = both.begin(run(what="w"))
    with pytest.raises(UserError, match="the same is being paid for"):
        both.spend(same, steps=1)


def test_a_line_waits_for_whoever_is_writing_one(ledger: Ledger) -> None:
    """Else a line that is only half written would be taken for one that a kill cut off, and removed."""
    name = ledger.begin(run())
    with ledger.path.open("ab") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        writing.write(b'{"type":"spend","run":"%s",' % name.encode())
        writing.flush()
        other = spender(ledger, name, 1)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1)
        writing.write(b'"steps":1}\n')
    assert other.wait(60) == 0
    assert ledger.runs()[0].spent == 2


def test_a_kill_at_any_moment_keeps_what_was_told_as_spent(ledger: Ledger) -> None:
    """Whoever is told that a step is paid may draw its noise: the ledger must have it, whenever the process dies."""
    name, told = ledger.begin(run()), 0
    for pause in (0.0, 0.003, 0.01, 0.02):
        process = spender(ledger, name, 10**6, "tell")
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        told += process.stdout.read().count("spent\n")
        process.wait(60)
        process.stdout.close()
        spent = ledger.runs()[0].spent
        assert told <= spent <= told + 4
    ledger.spend(name, steps=1)
    assert ledger.runs()[0].spent == spent + 1
