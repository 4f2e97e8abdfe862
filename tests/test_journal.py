"""The journal: found at once, committed in groups, safe among threads and processes, and never silently wrong."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from factory.engines.protocol import Completion, Message, Request, Sampling
from factory.errors import JournalError
from factory.journal import MAX_PENDING, Journal, Spent


def request(number: int) -> Request:
    return Request(messages=(Message("user", f"question {number}"),), sampling=Sampling(max_tokens=9), seed=number)


def completion(number: int) -> Completion:
    return Completion(text=f"answer {number} ü", finish_reason="stop", prompt_tokens=3, completion_tokens=2)


def key(number: int) -> str:
    return f"{number:020x}"


def fill(journal: Journal, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        journal.put(key(number), "step", "stage", request(number), completion(number))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    found = Journal(path)
    yield found
    found.close()


def test_a_completion_is_found_at_once_and_after_reopening(path: Path) -> None:
    with closing(Journal(path)) as first:
        assert first.get(key(1)) is None
        fill(first, 3)
        assert [first.get(key(number)) for number in range(3)] == [completion(number) for number in range(3)]
        assert first.request(key(2)) == (request(2), completion(2))
    with closing(Journal(path)) as again:
        assert again.get(key(1)) == completion(1)
        assert again.get(key(9)) is None
        assert again.request(key(9)) is None
        assert again.request(key(1)) == (request(1), completion(1))
        assert again.keys() == {key(number): ("step", "stage") for number in range(3)}


def test_the_first_answer_to_a_key_stays(journal: Journal, path: Path) -> None:
    fill(journal, 1)
    journal.flush()
    journal.put(key(0), "step", "stage", request(0), completion(7))
    journal.flush()
    assert journal.get(key(0)) == completion(0)


def test_what_was_flushed_is_there_for_other_processes(journal: Journal, path: Path) -> None:
    fill(journal, 500)
    journal.flush()
    with closing(Journal(path, read_only=True)) as reader:
        assert len(reader.keys()) == 500
        assert reader.get(key(499)) == completion(499)


def test_a_reader_sees_whole_states_while_a_writer_works(journal: Journal, path: Path) -> None:
    stop, seen, errors = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                with closing(Journal(path, read_only=True)) as reader:
                    seen.append(len(reader.keys()))
            except JournalError as error:
                errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for first in range(0, 4000, 100):
        fill(journal, 100, first)
        time.sleep(0.005)
    stop.set()
    thread.join()
    assert not errors
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_commits_are_made_in_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    commit = Journal._commit

    def counted(journal: Journal, connection: sqlite3.Connection, batch: list[Any]) -> None:
        sizes.append(len(batch))
        commit(journal, connection, batch)

    monkeypatch.setattr(Journal, "_commit", counted)
    with closing(Journal(path)) as journal:
        fill(journal, 2000)
        journal.flush()
        assert sum(sizes) >= 2000
        assert len(sizes) < 1000
        assert len(journal.keys()) == 2000


def test_ten_thousand_puts_take_about_a_second(journal: Journal) -> None:
    began = time.process_time()
    fill(journal, 10_000)
    journal.flush()
    assert time.process_time() - began < 4.0, (
        "10,000 puts a second is the target; the limit leaves room for slow machines"
    )


def test_what_waits_for_the_disk_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    commit = Journal._commit

    def slow(journal: Journal, connection: sqlite3.Connection, batch: list[Any]) -> None:
        waiting.append(len(journal._pending))
        time.sleep(0.01)
        commit(journal, connection, batch)

    monkeypatch.setattr(Journal, "_commit", slow)
    with closing(Journal(path)) as journal:
        fill(journal, 3 * MAX_PENDING)
    assert max(waiting) <= MAX_PENDING + 1


def test_many_threads_may_put_and_get(journal: Journal) -> None:
    def work(first: int) -> None:
        fill(journal, 300, first)
        for number in range(first, first + 300):
            assert journal.get(key(number)) == completion(number)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 2400, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.flush()
    assert len(journal.keys()) == 2400


def test_spent_adds_up_requests_and_tokens(journal: Journal) -> None:
    assert journal.spent == Spent()
    fill(journal, 10)
    assert journal.spent == Spent(requests=10, prompt_tokens=30, completion_tokens=20)


def test_small_values_are_kept_and_replaced(path: Path) -> None:
    with closing(Journal(path)) as journal:
        assert journal.meta("seconds") is None
        journal.set_meta("seconds", "1.5")
        assert journal.meta("seconds") == "1.5"
        journal.set_meta("seconds", "2.5")
        journal.set_meta("refused/a", "x")
        journal.set_meta("refused/b", "y")
    with closing(Journal(path, read_only=True)) as again:
        assert again.meta("seconds") == "2.5"
        assert again.metas("refused/") == {"refused/a": "x", "refused/b": "y"}


def test_closing_commits_folds_the_log_in_and_may_be_repeated(path: Path) -> None:
    journal = Journal(path)
    fill(journal, 50)
    journal.close()
    journal.close()
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    with closing(Journal(path, read_only=True)) as again:
        assert len(again.keys()) == 50


def test_opening_and_closing_changes_no_byte(path: Path) -> None:
    with closing(Journal(path)) as journal:
        fill(journal, 50)
    before = path.read_bytes()
    for read_only in (True, False):
        with closing(Journal(path, read_only=read_only)) as again:
            assert again.get(key(3)) == completion(3)
        assert path.read_bytes() == before


def test_a_writer_that_fails_is_reported_by_put_and_flush_and_loses_nothing_committed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    fill(journal, 20)
    journal.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON completions BEGIN SELECT RAISE(ABORT, 'no'); END")
        fill(journal, 1, 20)
        with pytest.raises(JournalError):
            journal.flush()
        with pytest.raises(JournalError):
            fill(journal, 1, 21)
        with pytest.raises(JournalError):
            journal.set_meta("a", "b")
        journal.close()
        other.execute("DROP TRIGGER full")
    with closing(Journal(path)) as again:
        assert len(again.keys()) == 20


def test_a_writer_that_dies_of_a_bug_does_not_hang_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Journal, "_commit", broken)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    journal = Journal(path)
    with pytest.raises(JournalError, match="stopped unexpectedly"):
        fill(journal, 1)
        journal.flush()
    with pytest.raises(JournalError, match="stopped unexpectedly"):
        fill(journal, 1, 1)
    journal.close()


def test_a_value_that_cannot_be_stored_is_refused_where_it_is_put(journal: Journal) -> None:
    broken = Completion(text="\ud83d", finish_reason="stop", prompt_tokens=1, completion_tokens=1)
    with pytest.raises(UnicodeEncodeError):
        journal.put(key(1), "step", "stage", request(1), broken)
    fill(journal, 1)
    journal.flush()
    assert journal.get(key(0)) == completion(0)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("request", "CAST(substr(request, 2) || x'00' AS BLOB)", f"checksum of completion {key(17)}"),
        ("answer", "CAST(substr(answer, 2) || x'00' AS BLOB)", f"checksum of completion {key(17)}"),
        ("checksum", "checksum + 1", f"checksum of completion {key(17)}"),
        ("answer", "substr(answer, 2) || x'00'", "a text that is none"),
        ("answer", "'text'", f"checksum of completion {key(17)}"),
        ("answer", "7", f"checksum of completion {key(17)}"),
        ("request", "CAST(answer AS BLOB)", f"checksum of completion {key(17)}"),
        ("step", "CAST(step AS BLOB)", f"checksum of completion {key(17)}"),
        ("step", "'other'", f"checksum of completion {key(17)}"),
        ("stage", "CAST(x'ee' AS TEXT)", "a text that is none"),
    ],
)
def test_a_row_that_was_changed_is_found_when_the_journal_is_opened(
    column: str, value: str, said: str, path: Path
) -> None:
    with closing(Journal(path)) as journal:
        fill(journal, 30)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"UPDATE completions SET {column} = {value} WHERE key = ?", (key(17),))
    before = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(JournalError, match=rf"the journal is damaged \({said}\)"):
            Journal(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("column", "value"), [("value", "'9'"), ("name", "'minutes'"), ("checksum", "NULL")])
def test_a_small_value_that_was_changed_is_found_when_the_journal_is_opened(
    column: str, value: str, path: Path
) -> None:
    with closing(Journal(path)) as journal:
        journal.set_meta("seconds", "1.5")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        if value == "NULL":
            other.execute("CREATE TABLE copy AS SELECT name, value, NULL AS checksum FROM meta")
            other.execute("DROP TABLE meta")
            other.execute("ALTER TABLE copy RENAME TO meta")
        else:
            other.execute(f"UPDATE meta SET {column} = {value}")
    with pytest.raises(JournalError, match=r"the journal is damaged \(checksum of the value '(seconds|minutes)'\)"):
        Journal(path)


def test_damage_that_sqlite_names_in_letters_that_are_none_is_one_sentence(path: Path) -> None:
    """The name of a table is broken, and SQLite's own message repeats it: sqlite3 cannot decode that message."""
    with closing(Journal(path)) as journal:
        fill(journal, 3)
    content = path.read_bytes()
    assert content.count(b"tablecompletionscompletions") == 1
    path.write_bytes(content.replace(b"tablecompletionscompletions", b"tablecomp\xeeetionscompletions"))
    with pytest.raises(UnicodeDecodeError), closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM sqlite_master")
    for read_only in (True, False):
        with pytest.raises(JournalError, match=r"the journal is damaged \(a text that is none\)"):
            Journal(path, read_only=read_only)


def test_a_schema_whose_text_is_none_is_damage(path: Path) -> None:
    with closing(Journal(path)) as journal:
        fill(journal, 3)
    content = path.read_bytes()
    for found in (b"TABLE completions", b"CREATE TABLE meta"):
        path.write_bytes(content.replace(found, found[:-1] + b"\xee", 1))
        with pytest.raises(JournalError, match="the journal is damaged"):
            Journal(path)


def test_a_row_that_goes_bad_while_the_journal_is_open_is_found_when_it_is_read(journal: Journal, path: Path) -> None:
    fill(journal, 3)
    journal.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE completions SET answer = x'00' WHERE key = ?", (key(1),))
        other.execute("DELETE FROM completions WHERE key = ?", (key(2),))
    assert journal.get(key(0)) == completion(0)
    for number in (1, 2):
        with pytest.raises(JournalError, match=key(number)):
            journal.get(key(number))


def test_a_journal_in_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/journal\.sqlite: "):
        Journal(tmp_path / "file" / "journal.sqlite")
