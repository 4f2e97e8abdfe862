"""The journal: every completion and every artifact of a run, content-addressed, in one SQLite file.

`journal.put(key, …)` hands a completion to a writer thread that commits whatever has gathered since
its last commit (group commit); `journal.get(key)` finds it at once and after any crash. A process
killed at any moment loses only what was not yet committed; a full disk or a damaged page ends the
run with one sentence and changes nothing that was there.

An artifact is what was costly to make and is no completion, as bytes: the scores of a discriminator. It is written in
one transaction, whole or not at all. Its table comes with the first one, so that a journal without artifacts is as it
always was.

The file is read whole when it is opened, through a connection that cannot write: pages, index and the
checksum of every row. What went bad in silence is thus found before anything is done with it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from factory.engines.protocol import Completion, Request
from factory.errors import JournalError
from factory.journal.layout import (
    ALL,
    ARTIFACTS,
    FAULTS,
    FORMAT,
    LOOK_UP,
    META,
    METAS,
    PLACES,
    ROWS_PER_INSERT,
    Artifact,
    Item,
    Meta,
    Row,
    Spent,
    checksum_of,
    create,
    decode_completion,
    decode_request,
    decode_tokens,
    disk_error,
    encode,
    insert_artifacts,
    insert_rows,
    open_to_read,
    open_to_write,
)

MAX_PENDING = 8192
MAX_ARTIFACT_BYTES = 500_000_000  # SQLite takes 10**9 in a value


class Journal:
    """Completions by key; one writer thread, one reading connection."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file and check it whole.

        Raises:
            JournalError: If it is damaged, of a newer format, or cannot be opened.
        """
        self.path = path
        self.read_only = read_only
        self._artifacts: set[str] = set()
        self._pending: dict[str, Completion] = {}
        self._known: set[str] = set()
        self._spent = Spent()
        self._counting = threading.Lock()
        self._queue: queue.SimpleQueue[Item | threading.Event | None] = queue.SimpleQueue()
        self._error: JournalError | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        try:
            if not read_only and not path.exists():
                create(path)
            self._reader = open_to_read(path, alone=read_only)
        except (*FAULTS, OSError) as error:
            raise self._wrap(error) from error
        try:
            self._check()
        except JournalError:
            self._reader.close()
            raise
        if not read_only:
            self._thread = threading.Thread(target=self._write_forever, name="journal", daemon=True)
            self._thread.start()

    def _check(self) -> None:
        """Refuse a damaged or newer file before anything is written to it."""
        try:
            version = self._reader.execute("PRAGMA user_version").fetchone()[0]
            if version > FORMAT:
                raise JournalError(
                    f"{self.path}: written by a newer version (format {version}, this one knows {FORMAT}); "
                    "update dataset-factory."
                )
            if self._reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'completions'").fetchone()[0] == 0:
                raise self._damaged("it holds no completions table")
            verdict = self._reader.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise self._damaged(" ".join(verdict.split()))
            self._read_all()
            if self._reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'artifacts'").fetchone()[0]:
                self._artifacts.update(artifact.key for artifact in self._checked_artifacts(ARTIFACTS))
            for name, value, checksum in self._reader.execute(METAS):
                if checksum_of(name, value) != checksum:
                    raise self._damaged(f"checksum of the value {name!r}")
        except FAULTS as error:
            raise self._wrap(error) from error
        except msgspec.DecodeError as error:
            raise self._damaged(f"an answer that cannot be read: {error}") from error

    def _read_all(self) -> None:
        requests = prompt = answered = 0
        for row in self._rows(ALL):
            self._known.add(row.key)
            tokens = decode_tokens(row.answer)
            requests += 1
            prompt += tokens.prompt_tokens
            answered += tokens.completion_tokens
        self._spent = Spent(requests, prompt, answered)

    def _rows(self, sql: str, *values: str) -> Iterator[Row]:
        """Rows of completions, each with its checksum compared."""
        for *row, checksum in self._reader.execute(sql, values):
            if checksum_of(*row) != checksum:
                raise self._damaged(f"checksum of completion {row[0]}")
            yield Row(*row)

    def _checked_artifacts(self, sql: str, *values: str) -> Iterator[Artifact]:
        """Artifacts, each with its checksum compared."""
        for *row, checksum in self._reader.execute(sql, values):
            if checksum_of(*row) != checksum:
                raise self._damaged(f"checksum of artifact {row[0]}")
            yield Artifact(*row)

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"{self.path}: the journal is damaged ({what}); nothing was changed. Restore it from a copy, or move it "
            "away to begin anew (its completions would be asked again)."
        )

    def _wrap(self, error: sqlite3.Error | UnicodeDecodeError | OSError) -> JournalError:
        if isinstance(error, OSError):
            return disk_error(self.path, error)
        if isinstance(error, UnicodeDecodeError):
            return self._damaged("a text that is none")
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return JournalError(
                f"{self.path}: the disk is full or failing ({error}). What was committed is safe: free some space and "
                "run the same command again."
            )
        bad_page = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        bad_value = code == sqlite3.SQLITE_OK  # not of SQLite's making: a text that is none
        if bad_page or bad_value or not isinstance(error, sqlite3.OperationalError):
            return self._damaged("a text that is none" if bad_value else str(error))
        return JournalError(f"{self.path}: the journal cannot be opened or written: {error}.")

    def get(self, key: str) -> Completion | None:
        """The completion of that key, or None.

        Raises:
            JournalError: If its row is damaged.
        """
        pending = self._pending.get(key)
        if pending is not None:
            return pending
        row = self._look_up(key)
        return None if row is None else decode_completion(row.answer)

    def request(self, key: str) -> tuple[Request, Completion] | None:
        """The request and its answer, for people who ask why."""
        self.flush()
        row = self._look_up(key)
        if row is None:
            return None
        return decode_request(zlib.decompress(row.request)), decode_completion(row.answer)

    def _look_up(self, key: str) -> Row | None:
        if key not in self._known:
            return None
        try:
            row = next(self._rows(LOOK_UP, key), None)
        except FAULTS as error:
            raise self._wrap(error) from error
        if row is None:
            raise self._damaged(f"completion {key} is gone")
        return row

    def put(self, key: str, step: str, stage: str, request: Request, completion: Completion) -> None:
        """Hand a completion to the writer; it is found at once and committed within milliseconds.

        Raises:
            JournalError: If the writer has failed.
        """
        row = Row(key, step, stage, encode(request), encode(completion))
        self._pending[key] = completion
        with self._counting:
            if key not in self._known:
                self._spent += Spent(1, completion.prompt_tokens, completion.completion_tokens)
            self._known.add(key)
        self._hand_over(row)
        if len(self._pending) > MAX_PENDING:
            self.flush()

    def artifact(self, key: str) -> bytes | None:
        """The artifact of that key, or None.

        Raises:
            JournalError: If its row is damaged.
        """
        if key not in self._artifacts:
            return None
        try:
            found = next(self._checked_artifacts(f"{ARTIFACTS} WHERE key = ?", key), None)
        except FAULTS as error:
            raise self._wrap(error) from error
        if found is None:
            raise self._damaged(f"artifact {key} is gone")
        return found.value

    def put_artifact(self, artifact: Artifact) -> None:
        """Commit an artifact; it is on disk when this returns.

        Raises:
            JournalError: If the writer has failed, or the artifact is too large for a value of SQLite.
        """
        if len(artifact.value) > MAX_ARTIFACT_BYTES:
            raise JournalError(
                f"{self.path}: the artifact '{artifact.kind}' of {artifact.step} has {len(artifact.value):,} bytes; the "
                f"journal takes {MAX_ARTIFACT_BYTES:,}."
            )
        self._hand_over(artifact)
        self.flush()
        self._artifacts.add(artifact.key)

    def _hand_over(self, item: Item) -> None:
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def flush(self) -> None:
        """Wait until everything handed over is committed.

        Raises:
            JournalError: If the writer has failed.
        """
        if self._thread is None or self._closed:
            return
        done = threading.Event()
        self._queue.put(done)
        while not done.wait(0.2) and self._thread.is_alive():
            pass
        if self._error is not None:
            raise self._error

    def _write_forever(self) -> None:
        connection: sqlite3.Connection | None = None
        running = True
        try:
            connection = open_to_write(self.path)
        except FAULTS as error:
            self._error = self._wrap(error)
        try:
            while running:
                batch = [self._queue.get()]
                while not self._queue.empty():
                    batch.append(self._queue.get())
                if connection is not None and self._error is None:
                    self._commit(connection, batch)
                for item in batch:
                    if isinstance(item, threading.Event):
                        item.set()
                    running = running and item is not None
        finally:
            if running:
                self._error = self._error or JournalError(f"{self.path}: the journal's writer stopped unexpectedly.")
            if connection is not None:
                connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[Item | threading.Event | None]) -> None:
        rows = [item for item in batch if isinstance(item, Row)]
        metas = [item for item in batch if isinstance(item, Meta)]
        artifacts = [item for item in batch if isinstance(item, Artifact)]
        if not rows and not metas and not artifacts:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for first in range(0, len(rows), ROWS_PER_INSERT):
                insert_rows(connection, rows[first : first + ROWS_PER_INSERT])
            insert_artifacts(connection, artifacts)
            connection.executemany(
                META, [(meta.name, meta.value, checksum_of(meta.name, meta.value)) for meta in metas]
            )
            connection.execute("COMMIT")
        except FAULTS as error:
            self._error = self._wrap(error)
            return
        for row in rows:
            self._pending.pop(row.key, None)

    @property
    def spent(self) -> Spent:
        """Requests and tokens of everything in the journal."""
        return self._spent

    def keys(self) -> dict[str, tuple[str, str]]:
        """Every key with its step and stage."""
        return {key: (step, stage) for key, step, stage in self._select(PLACES)}

    def meta(self, name: str) -> str | None:
        """A small value kept beside the completions, e.g. seconds spent so far."""
        found = self._select("SELECT value FROM meta WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def metas(self, prefix: str) -> dict[str, str]:
        """All small values whose names begin so."""
        found = self._select("SELECT name, value FROM meta WHERE substr(name, 1, length(?)) = ?", prefix, prefix)
        return dict(found)

    def _select(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        self.flush()
        try:
            return self._reader.execute(sql, values).fetchall()
        except FAULTS as error:
            raise self._wrap(error) from error

    def set_meta(self, name: str, value: str) -> None:
        """Store a small value; committed with whatever comes next, at the latest when the journal is closed.

        Raises:
            JournalError: If the writer has failed.
        """
        self._hand_over(Meta(name, value))

    def close(self) -> None:
        """Commit what is pending and close; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()  # before the writer, so that the writer is the last and folds the WAL into the file
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
