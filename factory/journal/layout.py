"""The journal's file: tables, rows with their checksums, and how it is opened."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from factory.engines.protocol import Completion, Request
from factory.errors import JournalError

FORMAT = 1
ROWS_PER_INSERT = 100
WAL_SUFFIXES = ("-wal", "-shm")
SCHEMA = """
CREATE TABLE completions (
    key TEXT PRIMARY KEY, step TEXT NOT NULL, stage TEXT NOT NULL,
    request BLOB NOT NULL, answer BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL);
"""
ALL = "SELECT key, step, stage, request, answer, checksum FROM completions"
LOOK_UP = f"{ALL} WHERE key = ?"
PLACES = "SELECT key, step, stage FROM completions"
ARTIFACTS_TABLE = """
CREATE TABLE IF NOT EXISTS artifacts (
    key TEXT PRIMARY KEY, step TEXT NOT NULL, kind TEXT NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL
)
"""
ARTIFACTS = "SELECT key, step, kind, value, checksum FROM artifacts"
ARTIFACT = "INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?, ?, ?)"
METAS = "SELECT name, value, checksum FROM meta"
META = "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)"
# A damaged text can make sqlite3 raise the second, where it stands in a message of SQLite's own.
FAULTS = (sqlite3.Error, UnicodeDecodeError)

encode = msgspec.msgpack.Encoder().encode
decode_completion = msgspec.msgpack.Decoder(Completion).decode
decode_request = msgspec.msgpack.Decoder(Request).decode


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


class Tokens(msgspec.Struct, frozen=True):
    """What of a completion its cost is."""

    prompt_tokens: int
    completion_tokens: int


decode_tokens = msgspec.msgpack.Decoder(Tokens).decode


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


class Row(msgspec.Struct, frozen=True):
    """A request and its answer, encoded, as the table holds them."""

    key: str
    step: str
    stage: str
    request: bytes
    answer: bytes


class Meta(msgspec.Struct, frozen=True):
    """A small value beside the completions."""

    name: str
    value: str


Item = Row | Meta | Artifact


def checksum_of(*values: str | bytes) -> int | None:
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


def insert_rows(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """All rows in one statement: for each one the thread would have to wait for the interpreter again."""
    values: list[str | bytes | int | None] = []
    for row in rows:
        stored = (row.key, row.step, row.stage, zlib.compress(row.request, 1), row.answer)
        values += (*stored, checksum_of(*stored))
    connection.execute(_insert_sql(len(rows)), values)


def insert_artifacts(connection: sqlite3.Connection, artifacts: Sequence[Artifact]) -> None:
    """Each in a statement of its own; the table is made with the first one."""
    if artifacts:
        connection.execute(ARTIFACTS_TABLE)
    for found in artifacts:
        stored = (found.key, found.step, found.kind, found.value)
        connection.execute(ARTIFACT, (*stored, checksum_of(*stored)))


@lru_cache(maxsize=ROWS_PER_INSERT)
def _insert_sql(rows: int) -> str:
    return f"INSERT OR IGNORE INTO completions VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * rows)}"


def beside(path: Path) -> Path:
    """Where a journal is made before it is renamed; what a crash has left there is gone."""
    temporary = path.with_name(f".{path.name}.new")
    for suffix in ("", *WAL_SUFFIXES):
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    return temporary


def create(path: Path) -> None:
    """Make an empty journal beside its place and rename it, so that a journal without tables is always a damaged one."""
    temporary = beside(path)
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executescript(SCHEMA)
    finally:
        connection.close()
    for suffix in WAL_SUFFIXES:  # of a journal that was moved away: SQLite would play it into the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    temporary.rename(path)


def open_to_read(path: Path, *, alone: bool) -> sqlite3.Connection:
    """A connection that cannot write, not even to fold in the WAL when it is closed.

    Without a WAL nobody writes: the file is then read as it lies, and no file is left beside it.
    """
    quiet = not path.with_name(f"{path.name}-wal").exists()
    still = "&immutable=1" if quiet and (alone or not os.access(path.parent, os.W_OK)) else ""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, check_same_thread=False)


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return."""
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
