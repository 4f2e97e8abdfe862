"""The folder in which a result grows until it is whole: `OUT.partial/`, beside OUT.

    .lock  state.json  outcomes  kept  rejected.jsonl

The spools are only ever appended to. `state.json` says how much of them counts and which rows of the input that
covers; it is replaced in one step after they are on disk, so whatever a killed process wrote beyond it is cut off.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import msgspec

from factory.errors import DiskError, RunDirError

FORMAT = 1
LOCK, STATE = ".lock", "state.json"
OWN = (LOCK, STATE, f"{STATE}.new", "outcomes", "kept", "rejected.jsonl", "old")


class State(msgspec.Struct, frozen=True):
    """What a later session has to know.

    Attributes:
        format: Version of this layout.
        settings: All that decides the result: inputs, filters with their options, versions.
        phase: `reading`, or `moving` once everything is written and only the renames are left.
        rows: Rows read so far.
        digest: Hash of those rows.
        sizes: Bytes of each spool that hold what came of them.
        rejected: Rows by filter and reason, e.g. `{"rouge_l: too_similar": 3}`.
        blank: Texts without a token, and texts, by filter.
    """

    format: int
    settings: dict[str, Any]
    phase: Literal["reading", "moving"]
    rows: int
    digest: str
    sizes: dict[str, int]
    rejected: dict[str, int]
    blank: dict[str, tuple[int, int]] = {}


class Spool:
    """An append-only file; what is written is one operation, so that a full disk is met at once."""

    def __init__(self, path: Path, size: int) -> None:
        """Open it and cut off everything behind `size`.

        Raises:
            DiskError: If it cannot be written.
        """
        self.path = path
        self.size = size
        try:
            self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            self._file.truncate(size)
            self._file.seek(size)
        except OSError as error:
            raise disk_error(path, error) from error

    def append(self, data: bytes) -> None:
        """Add bytes at the end.

        Raises:
            DiskError: If the disk is full.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            raise disk_error(self.path, error) from error
        self.size += len(data)

    def sync(self) -> None:
        """Make sure that everything is on disk.

        Raises:
            DiskError: If it cannot be written.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise disk_error(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()


class WorkDir:
    """`OUT.partial/`, held by this process."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched yet."""
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[WorkDir]:
        """Make and hold the folder; without a state in it at the end it is removed again.

        Raises:
            RunDirError: If another process holds it.
            DiskError: If it cannot be written.
        """
        self._check_ours()
        with self._lock():
            try:
                yield self
            finally:
                if self.path.exists() and not (self.path / STATE).exists():
                    self.remove()

    def _check_ours(self) -> None:
        """Make sure that the folder is not somebody else's: what lies in it is deleted in the end."""
        if not self.path.is_dir() and not self.path.is_symlink():
            return
        strange = (
            "a link"
            if self.path.is_symlink()
            else next((f"'{path.name}'" for path in sorted(self.path.iterdir()) if not _is_own(path.name)), None)
        )
        if strange is not None:
            raise RunDirError(
                f"{self.path}: would be the working folder, and is or holds something of yours ({strange}); move it, or "
                "choose another OUT."
            )

    def _lock(self) -> FileIO:
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                handle = FileIO(os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(self.path / LOCK, handle):
                    handle.truncate(0)
                    handle.write(str(os.getpid()).encode("ascii"))
                    return handle
                handle.close()  # removed by a process that has just ended: once more
            except BlockingIOError as error:
                holder = handle.read(20).decode("ascii", "replace").strip() or "unknown"
                raise RunDirError(
                    f"{self.path}: another process (id {holder}) is writing this result; wait for it, or choose "
                    "another OUT."
                ) from error
            except OSError as error:
                raise disk_error(self.path, error) from error

    def state(self) -> State | None:
        """What an earlier session left, or None.

        Raises:
            RunDirError: If it cannot be read.
        """
        path = self.path / STATE
        try:
            found = msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise RunDirError(f"{path}: cannot be read ({error}); begin anew with --restart.") from error
        if found.format != FORMAT:
            raise RunDirError(f"{path}: written by another version (format {found.format}); begin anew with --restart.")
        return found

    def save(self, state: State) -> None:
        """Replace the state in one step.

        Raises:
            DiskError: If the disk is full.
        """
        path, fresh = self.path / STATE, self.path / f"{STATE}.new"
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(state))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync_folder(self.path)
        except OSError as error:
            raise disk_error(path, error) from error

    def clear(self) -> None:
        """Throw away what an earlier session left; the state goes first, as it vouches for the rest."""
        (self.path / STATE).unlink(missing_ok=True)
        for path in self._content():
            _delete(path)

    def remove(self) -> None:
        """Delete the folder, its state last of all but the lock: until then the result counts as not yet moved."""
        for path in self._content():
            if path.name != STATE:
                _delete(path)
        (self.path / STATE).unlink(missing_ok=True)
        (self.path / LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    def _content(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name != LOCK]


def _is_own(name: str) -> bool:
    return name in OWN or name.startswith("new-")


def _is(path: Path, handle: FileIO) -> bool:
    """Whether the open file still has that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Make sure that a file, or every file of a folder, is on disk.

    Raises:
        DiskError: If it cannot be written.
    """
    files = [path] if path.is_file() else [inner for inner in sorted(path.rglob("*")) if inner.is_file()]
    try:
        for file in files:
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    except OSError as error:
        raise disk_error(path, error) from error


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(path: Path, error: OSError) -> DiskError:
    """A full or failing disk: what was written before it is not lost."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space" if full else "put that right"
    return DiskError(
        f"{path}: cannot be written ({error.strerror or error}); {remedy} and run the same command again: it goes on "
        "from what is written."
    )


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Lines `path: old -> new` for everything in which two settings differ.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 -> 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [
            line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, f"{path}[{index}]")]
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
