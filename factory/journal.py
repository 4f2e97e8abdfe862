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

import errno
import os
import queue
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from factory.engines.protocol import Completion, Request
from factory.errors import JournalError

FORMAT = 1
MAX_PENDING = 8192
ROWS_PER_INSERT = 100
MAX_ARTIFACT_BYTES = 500_000_000  # SQLite takes 10**9 in a value
WAL_SUFFIXES = ("-wal", "-shm")
_SCHEMA = """
CREATE TABLE completions (
    key TEXT PRIMARY KEY, step TEXT NOT NULL, stage TEXT NOT NULL,
    request BLOB NOT NULL, answer BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL);
"""
_ALL = "SELECT key, step, stage, request, answer, checksum FROM completions"
_LOOK_UP = f"{_ALL} WHERE key = ?"
_PLACES = "SELECT key, step, stage FROM completions"
_ARTIFACTS_TABLE = """
CREATE TABLE IF NOT EXISTS artifacts (
    key TEXT PRIMARY KEY, step TEXT NOT NULL, kind TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL
)
"""
_ARTIFACTS = "SELECT key, step, kind, value, checksum FROM artifacts"
_ARTIFACT = "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?, ?)"
_METAS = "SELECT name, value, checksum FROM meta"
_META = "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)"
# A damaged text can make sqlite3 raise the second, where it stands in a message of SQLite's own.
_FAULTS = (sqlite3.Error, UnicodeDecodeError)

_encode = msgspec.msgpack.Encoder().encode
_decode_completion = msgspec.msgpack.Decoder(Completion).decode
_decode_request = msgspec.msgpack.Decoder(Request).decode


class Spent(msgspec.Struct, frozen=True):
    """What the journal's completions have cost: counts as the engine reported them."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class _Tokens(msgspec.Struct, frozen=True):
    """What of a completion its cost is."""

    prompt_tokens: int
    completion_tokens: int


_decode_tokens = msgspec.msgpack.Decoder(_Tokens).decode


class Artifact(msgspec.Struct, frozen=True):
    """Something costly that a step has made.

    Attributes:
        key: Hash of everything that decides it.
        step: Step that made it.
        kind: What it is, e.g. `scores`.
        value: Its bytes.
    """

    key: str
    step: str
    kind: str
    value: bytes


class _Row(msgspec.Struct, frozen=True):
    key: str
    step: str
    stage: str
    request: bytes
    answer: bytes


class _Meta(msgspec.Struct, frozen=True):
    name: str
    value: str


_Item = _Row | _Meta | Artifact


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
        self._queue: queue.SimpleQueue[_Item | threading.Event | None] = queue.SimpleQueue()
        self._error: JournalError | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        try:
            if not read_only and not path.exists():
                _create(path)
            self._reader = _open_to_read(path, alone=read_only)
        except (*_FAULTS, OSError) as error:
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
                self._artifacts.update(artifact.key for artifact in self._checked_artifacts(_ARTIFACTS))
            for name, value, checksum in self._reader.execute(_METAS):
                if _checksum(name, value) != checksum:
                    raise self._damaged(f"checksum of the value {name!r}")
        except _FAULTS as error:
            raise self._wrap(error) from error
        except msgspec.DecodeError as error:
            raise self._damaged(f"an answer that cannot be read: {error}") from error

    def _read_all(self) -> None:
        requests = prompt = answered = 0
        for row in self._rows(_ALL):
            self._known.add(row.key)
            tokens = _decode_tokens(row.answer)
            requests += 1
            prompt += tokens.prompt_tokens
            answered += tokens.completion_tokens
        self._spent = Spent(requests, prompt, answered)

    def _rows(self, sql: str, *values: str) -> Iterator[_Row]:
        """Rows of completions, each with its checksum compared."""
        for *row, checksum in self._reader.execute(sql, values):
            if _checksum(*row) != checksum:
                raise self._damaged(f"checksum of completion {row[0]}")
            yield _Row(*row)

    def _checked_artifacts(self, sql: str, *values: str) -> Iterator[Artifact]:
        """Artifacts, each with its checksum compared."""
        for *row, checksum in self._reader.execute(sql, values):
            if _checksum(*row) != checksum:
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
        return None if row is None else _decode_completion(row.answer)

    def request(self, key: str) -> tuple[Request, Completion] | None:
        """The request and its answer, for people who ask why."""
        self.flush()
        row = self._look_up(key)
        if row is None:
            return None
        return _decode_request(zlib.decompress(row.request)), _decode_completion(row.answer)

    def _look_up(self, key: str) -> _Row | None:
        if key not in self._known:
            return None
        try:
            row = next(self._rows(_LOOK_UP, key), None)
        except _FAULTS as error:
            raise self._wrap(error) from error
        if row is None:
            raise self._damaged(f"completion {key} is gone")
        return row

    def put(self, key: str, step: str, stage: str, request: Request, completion: Completion) -> None:
        """Hand a completion to the writer; it is found at once and committed within milliseconds.

        Raises:
            JournalError: If the writer has failed.
        """
        row = _Row(key, step, stage, _encode(request), _encode(completion))
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
            found = next(self._checked_artifacts(f"{_ARTIFACTS} WHERE key = ?", key), None)
        except _FAULTS as error:
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

    def _hand_over(self, item: _Item) -> None:
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
            connection = _open_to_write(self.path)
        except _FAULTS as error:
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

    def _commit(self, connection: sqlite3.Connection, batch: list[_Item | threading.Event | None]) -> None:
        rows = [item for item in batch if isinstance(item, _Row)]
        metas = [item for item in batch if isinstance(item, _Meta)]
        artifacts = [item for item in batch if isinstance(item, Artifact)]
        if not rows and not metas and not artifacts:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for first in range(0, len(rows), ROWS_PER_INSERT):
                _insert(connection, rows[first : first + ROWS_PER_INSERT])
            _insert_artifacts(connection, artifacts)
            connection.executemany(_META, [(meta.name, meta.value, _checksum(meta.name, meta.value)) for meta in metas])
            connection.execute("COMMIT")
        except _FAULTS as error:
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
        return {key: (step, stage) for key, step, stage in self._select(_PLACES)}

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
        except _FAULTS as error:
            raise self._wrap(error) from error

    def set_meta(self, name: str, value: str) -> None:
        """Store a small value; committed with whatever comes next, at the latest when the journal is closed.

        Raises:
            JournalError: If the writer has failed.
        """
        self._hand_over(_Meta(name, value))

    def close(self) -> None:
        """Commit what is pending and close; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._reader.close()  # before the writer, so that the writer is the last and folds the WAL into the file
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()


def _checksum(*values: str | bytes) -> int | None:
    """CRC-32 of a row and its types; None where damage has left a value that is neither text nor bytes."""
    checksum = 0
    for value in values:
        if isinstance(value, str):
            checksum = zlib.crc32(value.encode(), ~checksum)
        elif isinstance(value, bytes):
            checksum = zlib.crc32(value, checksum)
        else:
            return None
    return checksum


def _insert(connection: sqlite3.Connection, rows: list[_Row]) -> None:
    """All rows in one statement: for each one the thread would have to wait for the interpreter again."""
    values: list[str | bytes | int | None] = []
    for row in rows:
        stored = (row.key, row.step, row.stage, zlib.compress(row.request, 1), row.answer)
        values += (*stored, _checksum(*stored))
    connection.execute(_insert_sql(len(rows)), values)


def _insert_artifacts(connection: sqlite3.Connection, artifacts: Sequence[Artifact]) -> None:
    if artifacts:
        connection.execute(_ARTIFACTS_TABLE)
    for found in artifacts:
        stored = (found.key, found.step, found.kind, found.value)
        connection.execute(_ARTIFACT, (*stored, _checksum(*stored)))


@lru_cache(maxsize=ROWS_PER_INSERT)
def _insert_sql(rows: int) -> str:
    return f"INSERT OR IGNORE INTO completions VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * rows)}"


def exchanges(path: Path, keys: Sequence[str]) -> list[tuple[Request, Completion]]:
    """Some requests and their answers, read without checking the whole file first; a run may be writing it.

    Args:
        path: The journal; one that is not there holds nothing.
        keys: Keys of the requests; those that it lacks are passed over.

    Raises:
        JournalError: If one of their rows is damaged, or the file cannot be read.
    """
    if not path.exists() or not keys:
        return []
    found = []
    try:
        with closing(_open_to_read(path, alone=True)) as reader:
            for key in keys:
                for *row, checksum in reader.execute(_LOOK_UP, (key,)):
                    if _checksum(*row) != checksum:
                        raise JournalError(f"{path}: the journal is damaged (checksum of completion {key}).")
                    request = _decode_request(zlib.decompress(row[3]))
                    found.append((request, _decode_completion(row[4])))
    except (*_FAULTS, zlib.error, msgspec.DecodeError) as error:
        raise JournalError(f"{path}: the journal cannot be read ({error}); restore it from a copy.") from error
    return found


def completions(path: Path) -> int:
    """How many completions a journal holds; 0 where there is none.

    Raises:
        JournalError: If it cannot be read.
    """
    if not path.exists():
        return 0
    try:
        with closing(_open_to_read(path, alone=True)) as reader:
            return int(reader.execute("SELECT count(*) FROM completions").fetchone()[0])
    except _FAULTS as error:
        raise JournalError(f"{path}: the journal cannot be read ({error}); restore it from a copy.") from error


def copy_journal(source: Path, path: Path, metas: dict[str, str], artifacts: Sequence[Artifact] = ()) -> None:
    """Make a journal that holds what another one holds, and some values besides; it is whole once it is there.

    The other one is read as a file, so that nothing comes to lie beside it: nobody may be writing it, and it must
    have been closed (no `-wal`).

    Raises:
        JournalError: If the copy cannot be written.
    """
    temporary = _beside(path)
    try:
        shutil.copyfile(source, temporary)
        with closing(_open_to_write(temporary)) as connection:
            _insert_artifacts(connection, artifacts)
            connection.executemany(_META, [(*meta, _checksum(*meta)) for meta in metas.items()])
        with temporary.open("rb") as copied:
            os.fsync(copied.fileno())
        temporary.rename(path)
    except OSError as error:
        raise disk_error(path, error) from error
    except sqlite3.Error as error:
        raise JournalError(f"{path}: the copy of {source} cannot be written: {error}.") from error


def _beside(path: Path) -> Path:
    """Where a journal is made before it is renamed; what a crash has left there is gone."""
    temporary = path.with_name(f".{path.name}.new")
    for suffix in ("", *WAL_SUFFIXES):
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    return temporary


def _create(path: Path) -> None:
    """Make an empty journal beside its place and rename it, so that a journal without tables is always a damaged one."""
    temporary = _beside(path)
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executescript(_SCHEMA)
    finally:
        connection.close()
    for suffix in WAL_SUFFIXES:  # of a journal that was moved away: SQLite would play it into the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    temporary.rename(path)


def _open_to_read(path: Path, *, alone: bool) -> sqlite3.Connection:
    """A connection that cannot write, not even to fold in the WAL when it is closed.

    Without a WAL nobody writes: the file is then read as it lies, and no file is left beside it.
    """
    quiet = not path.with_name(f"{path.name}-wal").exists()
    still = "&immutable=1" if quiet and (alone or not os.access(path.parent, os.W_OK)) else ""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, check_same_thread=False)


def _open_to_write(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def disk_error(path: Path, error: OSError) -> JournalError:
    """A full or failing disk: nothing in the journal is lost."""
    remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "put that right"
    return JournalError(
        f"{path}: cannot be written ({error.strerror or error}). What was answered is safe in the journal: {remedy} "
        "and run the same command again."
    )
