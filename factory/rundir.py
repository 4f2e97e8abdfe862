"""A run directory: its lock, its manifest, and the dataset that is swapped in when it is whole.

    runs/<name>/recipe.yaml manifest.json journal.sqlite data/ rejected/ lineage/ artifacts/ README.md

Everything but the journal can be made again from it. New files are written beside the old ones and
renamed into place, the manifest last, so that a crash during the final write costs nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from factory.errors import RunDirError
from factory.journal import disk_error
from factory.recipe import Recipe, difference, fingerprint

FORMAT = 1
JOURNAL = "journal.sqlite"
MANIFEST = "manifest.json"
WRITTEN = {
    "format",
    "name",
    "status",
    "message",
    "fingerprint",
    "recipe",
    "model",
    "rows",
    "steps",
    "requests",
    "seconds",
}
_LEFTOVERS = (".lock", ".new", ".old", ".spool", f".{MANIFEST}.new", ".recipe.yaml.new", f".{JOURNAL}.new")


class RunDir:
    """One run directory on disk."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched yet."""
        self.path = path
        self.journal = path / JOURNAL
        self.staging = path / ".new"
        self.spool = path / ".spool"
        self.artifacts = path / "artifacts"

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None where there is no run yet.

        Raises:
            RunDirError: If it cannot be read.
        """
        path = self.path / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunDirError(
                f"{path}: cannot be read ({error}); remove it and run the recipe again: the journal is what counts."
            ) from error
        if not isinstance(found, dict) or not found.keys() >= WRITTEN:
            raise RunDirError(f"{path}: not the manifest of a run; give another directory.")
        if found["format"] != FORMAT:
            raise RunDirError(
                f"{path}: written by another version (format {found['format']}, this one knows {FORMAT}); run it with "
                "that version, or give another directory."
            )
        return found

    def require_manifest(self) -> dict[str, Any]:
        """The manifest of a directory that must hold a run.

        Raises:
            RunDirError: If it holds none.
        """
        manifest = self.manifest()
        if manifest is None:
            raise RunDirError(f"{self.path}: holds no run (no {MANIFEST}); give the folder that 'factory run' wrote.")
        return manifest

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory; the lock dies with the process.

        Raises:
            RunDirError: If another process holds it, or the directory cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("a+b", buffering=0)
        except OSError as error:
            raise RunDirError(f"{self.path}: cannot be written ({error.strerror}); choose another --out.") from error
        with handle:
            self._take(handle)
            yield

    def in_use(self) -> bool:
        """Whether a process holds the directory now."""
        try:
            with (self.path / ".lock").open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no lock file, or no locks: nobody is known to run here
            return False
        return False

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Keep runs out of the directory while it is read; nothing in it is written.

        Raises:
            RunDirError: If a process runs there.
        """
        with ExitStack() as stack:
            with suppress(OSError):  # no lock file, or no locks: nobody is known to run here
                handle = stack.enter_context((self.path / ".lock").open("rb"))
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise RunDirError(f"{self.path}: a process is running here; wait for it.") from error
            yield

    def _take(self, handle: FileIO) -> None:
        """Lock the open file and leave the process id in it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().decode("ascii", "replace").strip() or "unknown"
            raise RunDirError(
                f"{self.path}: another process (id {holder}) is running here; wait for it, or choose another --out."
            ) from error
        except OSError as error:
            raise RunDirError(
                f"{self.path}: cannot be locked ({error.strerror}); choose an --out on a file system with locks."
            ) from error
        try:
            handle.truncate(0)
            handle.write(str(os.getpid()).encode("ascii"))
        except OSError as error:
            raise disk_error(self.path / ".lock", error) from error

    def claim(self, recipe: Recipe, *, accept_changes: bool) -> None:
        """Make sure that the directory is free or holds this very recipe; clear leftovers of a crash.

        Raises:
            RunDirError: If it holds something else.
        """
        manifest = self.manifest()
        resolved = recipe.resolved()
        if manifest is None:
            foreign = sorted(path.name for path in self.path.iterdir() if not path.name.startswith(_LEFTOVERS))
            if foreign and not self.journal.exists():
                raise RunDirError(
                    f"{self.path}: holds files that are no run ({', '.join(foreign[:3])}); choose an empty or new --out."
                )
        elif manifest.get("fingerprint") != fingerprint(resolved) and not accept_changes:
            lines = "\n".join(f"  {line}" for line in difference(manifest["recipe"], resolved)) or "  (format changed)"
            raise RunDirError(
                f"{self.path}: holds a run of another recipe. It differs in:\n{lines}\n"
                "Choose another --out, or go on here with --accept-changes: 'factory plan' with the same --out tells "
                "first what would be reused and what asked again."
            )
        for leftover in (self.staging, self.spool, self.path / ".old"):
            shutil.rmtree(leftover, ignore_errors=True)

    def keep_from_preview(self, limit: int) -> None:
        """Make sure that a preview does not take the place of a finished dataset.

        Raises:
            RunDirError: If the directory holds one that is larger.
        """
        held = self.dataset() or {}
        if held.get("status") in ("complete", "partial") and held.get("rows", 0) > limit:
            raise RunDirError(
                f"{self.path}: holds a finished dataset of {held['rows']:,} rows, which a preview of {limit:,} would "
                "replace. Look at it with 'factory show', or give the preview another --out."
            )

    def dataset(self) -> dict[str, Any] | None:
        """Status and rows of the dataset that lies in `data/`, which may be older than what the manifest tells of."""
        manifest = self.manifest() or {}
        held = manifest.get("dataset")
        return held if isinstance(held, dict) and (self.path / "data").is_dir() else None

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest in one step."""
        self._replace(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")

    def write_recipe(self, text: str) -> None:
        """Keep the recipe as written."""
        self._replace("recipe.yaml", text)

    def recipe_text(self) -> str:
        """The recipe as written.

        Raises:
            RunDirError: If it cannot be read.
        """
        path = self.path / "recipe.yaml"
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirError(
                f"{path}: cannot be read ({error}); run the recipe into the same directory again."
            ) from error

    def _replace(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.new"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise disk_error(self.path / name, error) from error

    def install(self) -> None:
        """Swap everything in the staging folder into place."""
        old = self.path / ".old"
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir()
        for fresh in sorted(self.staging.iterdir()):
            _sync(fresh)
            current = self.path / fresh.name
            if current.exists():
                current.rename(old / fresh.name)
            fresh.rename(current)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.staging, ignore_errors=True)


def _sync(path: Path) -> None:
    """Make sure that a file, or all files of a folder, are on disk before they are renamed."""
    for file in [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
