"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from factory.errors import DiskError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it, so that a kill leaves the old one or the new one.

    Raises:
        DiskError: If it cannot be written; then the old one is as it was.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise DiskError(f"{path}: cannot be written ({error.strerror or error}).") from error
