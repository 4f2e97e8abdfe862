"""Journals that this process does not hold: looked into while a run may be writing them, and copied."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from factory.engines.protocol import Completion, Request
from factory.errors import JournalError
from factory.journal.layout import (
    FAULTS,
    LOOK_UP,
    META,
    Artifact,
    beside,
    checksum_of,
    decode_completion,
    decode_request,
    disk_error,
    insert_artifacts,
    open_to_read,
    open_to_write,
)


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
        with closing(open_to_read(path, alone=True)) as reader:
            for key in keys:
                for *row, checksum in reader.execute(LOOK_UP, (key,)):
                    if checksum_of(*row) != checksum:
                        raise JournalError(f"{path}: the journal is damaged (checksum of completion {key}).")
                    request = decode_request(zlib.decompress(row[3]))
                    found.append((request, decode_completion(row[4])))
    except (*FAULTS, zlib.error, msgspec.DecodeError) as error:
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
        with closing(open_to_read(path, alone=True)) as reader:
            return int(reader.execute("SELECT count(*) FROM completions").fetchone()[0])
    except FAULTS as error:
        raise JournalError(f"{path}: the journal cannot be read ({error}); restore it from a copy.") from error


def copy_journal(source: Path, path: Path, metas: dict[str, str], artifacts: Sequence[Artifact] = ()) -> None:
    """Make a journal that holds what another one holds, and some values besides; it is whole once it is there.

    The other one is read as a file, so that nothing comes to lie beside it: nobody may be writing it, and it must
    have been closed (no `-wal`).

    Raises:
        JournalError: If the copy cannot be written.
    """
    temporary = beside(path)
    try:
        shutil.copyfile(source, temporary)
        with closing(open_to_write(temporary)) as connection:
            insert_artifacts(connection, artifacts)
            connection.executemany(META, [(*meta, checksum_of(*meta)) for meta in metas.items()])
        with temporary.open("rb") as copied:
            os.fsync(copied.fileno())
        temporary.rename(path)
    except OSError as error:
        raise disk_error(path, error) from error
    except sqlite3.Error as error:
        raise JournalError(f"{path}: the copy of {source} cannot be written: {error}.") from error
