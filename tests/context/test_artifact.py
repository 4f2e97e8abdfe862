"""`ctx.artifact`: made once, on disk before it is used, checked when it is read, and never half there."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from factory.context import Context
from factory.context.making import Abandoned, Say
from factory.context.session import NotYetKnown
from factory.errors import JournalError
from factory.journal import Artifact, Journal, copy_journal, store

from ..small_runs import Model
from .test_context import context, session

KEY = "0" * 20


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(tmp_path / "journal.sqlite")
    yield found
    found.close()


class Maker:
    """Makes bytes and counts."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, say: Say) -> bytes:
        self.made += 1
        say("half way")
        return b"value\0" * 1000


def get(ctx: Context, make: Maker, key: str = KEY) -> bytes:
    return asyncio.run(ctx.artifact(key, make, kind="scores"))


def test_it_is_made_once_and_found_again_also_by_another_process(journal: Journal) -> None:
    make = Maker()
    ctx = context(session(journal, Model()))
    assert get(ctx, make) == get(ctx, make) == b"value\0" * 1000
    assert (make.made, ctx.stats.doing) == (1, "")
    with closing(Journal(journal.path, read_only=True)) as other:
        assert get(context(session(other, Model())), make) == b"value\0" * 1000
    assert make.made == 1
    get(ctx, make, "1" * 20)
    assert make.made == 2


def test_planning_makes_nothing(journal: Journal) -> None:
    make = Maker()
    with pytest.raises(NotYetKnown):
        get(context(session(journal, None)), make)
    assert make.made == 0
    get(context(session(journal, Model())), make)
    assert get(context(session(journal, None)), make)


def test_beside_a_journal_that_is_only_read_it_is_kept_in_the_session(journal: Journal, tmp_path: Path) -> None:
    journal.close()
    make = Maker()
    with closing(Journal(journal.path, read_only=True)) as still:
        found = session(still, Model())
        assert get(context(found), make) == get(context(found), make)
        assert make.made == 1 and still.artifact(KEY) is None
        copy_journal(journal.path, tmp_path / "copy.sqlite", {"refilter": "x"}, list(found.made.values()))
    with closing(Journal(tmp_path / "copy.sqlite")) as copy:
        assert copy.artifact(KEY) == b"value\0" * 1000


def test_a_journal_without_artifacts_is_as_it_always_was(journal: Journal) -> None:
    journal.set_meta("seconds", "1")
    journal.close()
    with closing(sqlite3.connect(journal.path)) as other:
        names = {name for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"completions", "meta"}


@pytest.mark.parametrize(
    "change", ["value = CAST(substr(value, 2) || x'00' AS BLOB)", "kind = 'other'", "checksum = checksum + 1"]
)
def test_damage_is_found_when_the_journal_is_opened(change: str, journal: Journal) -> None:
    journal.put_artifact(Artifact(KEY, "step", "scores", b"value"))
    journal.close()
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute(f"UPDATE artifacts SET {change}")
    for read_only in (True, False):
        with pytest.raises(JournalError, match=rf"the journal is damaged \(checksum of artifact {KEY}\)"):
            Journal(journal.path, read_only=read_only)


def test_damage_while_a_run_goes_on_is_found_when_it_is_read(journal: Journal) -> None:
    journal.put_artifact(Artifact(KEY, "step", "scores", b"value"))
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("UPDATE artifacts SET value = x'00'")
    with pytest.raises(JournalError, match="checksum of artifact"):
        get(context(session(journal, Model())), Maker())
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("DELETE FROM artifacts")
    with pytest.raises(JournalError, match=f"artifact {KEY} is gone"):
        journal.artifact(KEY)


def test_one_that_is_too_large_is_refused(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_ARTIFACT_BYTES", 10)
    with pytest.raises(JournalError, match="'scores' of one has 6,000 bytes; the journal takes 10"):
        get(context(session(journal, Model())), Maker())


def test_an_error_in_making_it_comes_through_and_leaves_nothing(journal: Journal) -> None:
    def broken(say: Say) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(context(session(journal, Model())).artifact(KEY, broken, kind="scores"))
    assert journal.artifact(KEY) is None


def test_a_run_that_is_cancelled_ends_at_once_and_what_makes_it_soon_after(journal: Journal) -> None:
    begun, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(say: Say) -> bytes:
        begun.set()
        cancelled.wait(20)
        try:
            say("more")
        except Abandoned:
            ended.set()
            raise
        return b""

    async def scenario() -> None:
        task = asyncio.create_task(context(session(journal, Model())).artifact(KEY, slow, kind="scores"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()

    asyncio.run(scenario())
    assert ended.wait(20)
    assert journal.artifact(KEY) is None


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from factory.journal import Artifact, Journal, store

insert = store.insert_artifacts
def killed(connection, artifacts):
    insert(connection, artifacts)
    if artifacts:
        os.kill(os.getpid(), signal.SIGKILL)
found = Journal(Path(sys.argv[1]))
found.put_artifact(Artifact("1" * 20, "step", "scores", b"first"))
store.insert_artifacts = killed
found.put_artifact(Artifact("2" * 20, "step", "scores", bytes(5_000_000)))
"""


def test_a_kill_while_it_is_written_leaves_it_out_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    with closing(Journal(path)) as journal:
        assert journal.artifact("1" * 20) == b"first"
        assert journal.artifact("2" * 20) is None
        journal.put_artifact(Artifact("2" * 20, "step", "scores", b"again"))
        assert journal.artifact("2" * 20) == b"again"
