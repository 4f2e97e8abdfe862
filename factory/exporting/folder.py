"""The folder of an export: everything is written aside and put in place when all of it is whole.

    out/train-00000-of-00002.jsonl   out/train-00001-of-00002.jsonl   out/validation-00000-of-00001.jsonl
    out/removed.jsonl                rows that overlap with a benchmark
    out/NOT_PRIVATE.txt              why these rows may not be shared, where that is so
    out/export.json                  how they were made, and the names of the files above

Files that `export.json` names are those of an older export and are replaced as a whole: no stale shard stays. Other
files with the names of splits are somebody's data: the export refuses to write beside them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from factory.datasets_io.whole import write_whole
from factory.errors import UserError
from factory.exporting.containers import Container, Row, opened
from factory.exporting.families import SPLITS

RECORD, REMOVED, WARNING = "export.json", "removed.jsonl", "NOT_PRIVATE.txt"
_STAGING = ".export-new"
_OF_A_SPLIT = re.compile(rf"(?:{'|'.join(SPLITS)})(?:-\d{{5}}-of-\d{{5}})?\.(?:jsonl|parquet|csv)")


class Shards:
    """The files of one split, in order; at least as many rows as fit go into each but the last."""

    def __init__(self, stem: Path, kind: str, rows_per_shard: int | None, *, formulas: bool) -> None:
        """Nothing is opened before there is a row, since readers stumble over a split without rows.

        Args:
            stem: Path of the file without its ending.
            kind: Kind of file.
            rows_per_shard: Rows in a file; None for all in one.
            formulas: As in `Csv`.
        """
        self._stem, self._kind, self._most, self._formulas = stem, kind, rows_per_shard, formulas
        self._file: Container | None = None
        self._paths: list[Path] = []
        self._in_file = 0
        self.rows = self.changed_cells = 0

    def write(self, row: Row) -> None:
        """Add a row."""
        if self._file is None or self._in_file == self._most:
            self._end()
            path = self._stem.with_name(f"{self._stem.name}-{len(self._paths)}.part")
            self._file = opened(path, self._kind, formulas=self._formulas)
            self._paths.append(path)
        self._file.write(row)
        self._in_file += 1
        self.rows += 1

    def close(self) -> list[Path]:
        """End the files and give them their names, which tell how many there are."""
        self._end()
        named = []
        for number, path in enumerate(self._paths):
            of = "" if self._most is None else f"-{number:05d}-of-{len(self._paths):05d}"
            named.append(path.rename(path.with_name(f"{self._stem.name}{of}.{self._kind}")))
        return named

    def _end(self) -> None:
        if self._file is not None:
            file, self._file, self._in_file = self._file, None, 0
            file.close()
            self.changed_cells += file.changed_cells


class Staged:
    """New files aside."""

    def __init__(self, folder: Path, *, had_folder: bool) -> None:
        """Clear what a killed export has left.

        Args:
            folder: Where the files go.
            had_folder: Whether it was there before this export.

        Raises:
            UserError: If the folder holds files of splits that no export of ours has written.
        """
        self.folder, self.path = folder, folder / _STAGING
        self._before = _listed(folder)
        _refuse_foreign(folder, self._before)
        self._had_folder = had_folder
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()

    def install(self, record: dict[str, Any]) -> None:
        """Put everything in place. A warning comes first and goes last; a kill on the way is mended by the next export."""
        fresh = sorted(path.name for path in self.path.iterdir())
        stale = sorted({*self._before, WARNING} - {*fresh})
        self._write_record({**record, "files": sorted({*fresh, *self._before})})
        for name in sorted(fresh, key=lambda name: name != WARNING):
            (self.path / name).replace(self.folder / name)
        for name in sorted(stale, key=lambda name: name == WARNING):
            (self.folder / name).unlink(missing_ok=True)
        self._write_record({**record, "files": fresh})

    def clear(self) -> None:
        """Remove what lies aside, and a folder that is new and empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        if not self._had_folder and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _write_record(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        write_whole(self.folder / RECORD, text.encode("utf-8"))


@contextmanager
def staged(folder: Path) -> Iterator[Staged]:
    """New files for a folder; if anything fails, an older export stays as it was.

    Raises:
        UserError: If the folder cannot be written, holds files of somebody else, or another export is writing there.
    """
    try:
        had_folder = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            new = Staged(folder, had_folder=had_folder)
            try:
                yield new
            finally:
                new.clear()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder.") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, by a lock that dies with the process and leaves no file.

    Raises:
        UserError: If another export holds it.
    """
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{folder}: another export is writing there; wait for it, or choose another folder."
                ) from error
        yield
    finally:
        os.close(held)


def _listed(folder: Path) -> list[str]:
    """Files of an older export, by its own record."""
    path = folder / RECORD
    try:
        found = [str(name) for name in json.loads(path.read_text(encoding="utf-8"))["files"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no record of an export; move it away, or choose another folder.") from error
    return [name for name in found if name in (REMOVED, WARNING) or _OF_A_SPLIT.fullmatch(name)]


def _refuse_foreign(folder: Path, listed: list[str]) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if _OF_A_SPLIT.fullmatch(path.name) and path.name not in listed:
            raise UserError(
                f"{path}: was not written by an export that left an {RECORD} here, and readers of the folder would take "
                "its rows for some of the new ones; move it away, or choose another folder."
            )
