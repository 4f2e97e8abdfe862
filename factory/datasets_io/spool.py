"""What a running step has produced so far, on disk instead of in memory.

A spool is an append-only file of msgpack values that lives inside the run directory until the dataset
is written from it; a crash leaves it behind and the next run begins a new one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from factory.journal import disk_error

T = TypeVar("T")
_LENGTH = struct.Struct("<I")


class Spool(Generic[T]):
    """Append values of one type, then read them back in order."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        """Begin an empty spool at that path.

        Raises:
            JournalError: If it cannot be written.
        """
        self.path = path
        self.count = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b")
        except OSError as error:
            raise disk_error(path, error) from error
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def append(self, value: T) -> None:
        """Add one value.

        Raises:
            JournalError: If the disk is full.
        """
        blob = self._encode(value)
        try:
            self._file.write(_LENGTH.pack(len(blob)) + blob)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self.count += 1

    def __iter__(self) -> Iterator[T]:
        """Values in the order in which they were added."""
        self._file.flush()
        with self.path.open("rb") as stored:
            while header := stored.read(_LENGTH.size):
                yield self._decode(stored.read(_LENGTH.unpack(header)[0]))

    def __len__(self) -> int:
        """Values so far."""
        return self.count

    def close(self) -> None:
        """Close and delete the file."""
        with suppress(OSError):  # what a full disk did not take is not needed any more
            self._file.close()
        self.path.unlink(missing_ok=True)
