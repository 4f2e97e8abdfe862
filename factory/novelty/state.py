"""A novelty filter on disk: one .npz file with its own hash behind it, written whole or not at all.

Only what the texts are is stored (their token numbers, the names of the tokens, the texts themselves if they were
kept); bitmaps are made again on loading, so the file does not depend on the back end, the processor or the layout
of pages. Loading a million texts takes about two seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from factory.errors import UserError

VERSION: Final = 1
HASH_BYTES: Final = 32


def _hash(path: Path, size: int) -> bytes:
    """Hash of the first `size` bytes of a file."""
    hashed = hashlib.blake2b(digest_size=HASH_BYTES)
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, 1 << 20))):
            hashed.update(part)
            size -= len(part)
    return hashed.digest()


def join(parts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Byte strings behind each other, and where each ends."""
    data = np.frombuffer(b"".join(parts), np.uint8)
    return data, np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))


def split(data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> list[bytes]:
    """The byte strings that `join` was given."""
    whole, stops = data.tobytes(), ends.tolist()
    return [whole[begin:end] for begin, end in zip([0, *stops[:-1]], stops, strict=True)] if stops else []


def write(path: Path, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write to a file beside it, make that durable, and rename.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    described = np.frombuffer(json.dumps({**settings, "version": VERSION}).encode(), np.uint8)
    if not path.name:
        raise UserError(f"'{path}': expected the name of a file to save to.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            np.savez(file, **{**arrays, "settings": described})  # type: ignore[arg-type]
            file.flush()
            file.write(_hash(beside, file.tell()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise UserError(f"{path}: the filter's state cannot be written: {error.strerror or error}.") from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Settings and arrays of a file.

    Raises:
        UserError: If it is missing, damaged, or of another version.
    """
    try:
        size = path.stat().st_size - HASH_BYTES
        with path.open("rb") as file:
            file.seek(max(0, size))
            if size < 0 or file.read() != _hash(path, size):
                raise UserError(f"{path}: is no saved novelty filter, or is damaged.")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        settings = json.loads(arrays.pop("settings").tobytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if settings.get("version") != VERSION:
        raise UserError(f"{path}: was saved by version {settings.get('version')}; this one reads {VERSION}.")
    return settings, arrays
