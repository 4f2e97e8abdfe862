"""Where a result goes: one file and its rejected rows beside it, or a folder.

    out.jsonl  out.rejected.jsonl          out/  data/train-00000-of-00001.parquet
    (.csv, .tsv and .parquet alike)              rejected/  README.md  manifest.json

Everything is written in `OUT.partial/` and renamed into place at the end, the rejected rows first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from factory.datasets_io.inputs import Input
from factory.errors import RunDirError, UserError
from factory.filtering.workdir import disk_error, sync_folder

FILES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
NO_FOLDERS = (".json", ".txt", ".arrow", ".gz", ".zst", ".xlsx", ".xml", ".yaml")
MANIFEST = "manifest.json"
MADE_BY = "factory filter"
OLD = "old"


@dataclass(frozen=True)
class Target:
    """What OUT stands for.

    Attributes:
        out: The file or folder of kept rows.
        form: `jsonl`, `csv`, `tsv`, `parquet` or `folder`.
    """

    out: Path
    form: str

    @property
    def rejected(self) -> Path:
        """Where the rejected rows lie in the end."""
        return self.out / "rejected" if self.form == "folder" else self.out.with_suffix(f".rejected{self.out.suffix}")

    @property
    def partial(self) -> Path:
        """The working folder."""
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def parts(self) -> list[Path]:
        """What is renamed into place, in that order."""
        return [self.out] if self.form == "folder" else [self.rejected, self.out]

    def staged(self, part: Path) -> Path:
        """Where a part waits, complete, to be renamed."""
        return self.partial / f"new-{part.name}"

    def check(self, source: Input, others: Sequence[Path], *, overwrite: bool, moving: bool) -> None:
        """Make sure that nothing is lost by writing here.

        Args:
            source: What is read.
            others: What is read besides.
            overwrite: Whether an earlier result may be replaced.
            moving: Whether an earlier session has begun to rename parts into place; those are no obstacle.

        Raises:
            RunDirError: If the result would take the place of an input, or of something that is there.
        """
        read = [path.resolve() for path in (*source.files, *map(Path, source.names), *others)]
        for part in (self.out, self.rejected, self.partial):
            place = part.resolve()
            if any(place == path or place in path.parents for path in read):
                raise RunDirError(f"{part}: is read and would be written; choose another OUT.")
            if any(path.is_dir() and path in place.parents for path in read):
                raise RunDirError(f"{part}: lies in a folder that is read; choose an OUT outside of it.")
        for part in self.parts:
            if moving and not self.staged(part).exists():
                continue
            if part.exists() and not (part.is_dir() and self.form == "folder" and not any(part.iterdir())):
                self._check_replaceable(part, overwrite)

    def _check_replaceable(self, part: Path, overwrite: bool) -> None:
        if not overwrite:
            raise RunDirError(f"{part}: exists already; choose another OUT, or replace it with --overwrite.")
        if self.form == "folder" and not _is_ours(part):
            raise RunDirError(f"{part}: is no result of '{MADE_BY}' and is not replaced; choose another OUT.")
        if self.form != "folder" and part.is_dir():
            raise RunDirError(f"{part}: is a folder; choose another OUT.")

    def move(self) -> None:
        """Rename everything into place; can be done again after a crash in the middle.

        Raises:
            DiskError: If it cannot be done.
        """
        try:
            for part in self.parts:
                if not self.staged(part).exists():
                    continue
                if part.is_dir():
                    part.rename(self.partial / OLD)
                self.staged(part).replace(part)
                sync_folder(part.parent)
        except OSError as error:
            raise disk_error(self.out, error) from error


def find_target(out: str | Path) -> Target:
    """What a name given as OUT stands for.

    Raises:
        UserError: If it looks like a file of a format that is not written.
    """
    path = Path(out)
    suffix = path.suffix.lower()
    if str(out) == "-" or suffix in NO_FOLDERS or not path.name or path.name == "..":
        raise UserError(f"{out}: expected a name that ends in .jsonl, .csv, .tsv or .parquet, or the name of a folder.")
    if re.fullmatch(r"[\d.,]+%?", str(out)):
        raise UserError(
            f"{out}: was taken for OUT, and looks like a threshold; flags such as --exact and --quality take none. "
            f"For a folder of that name write ./{out}."
        )
    return Target(Path(os.path.normpath(path)), FILES.get(suffix, "folder"))


def _is_ours(folder: Path) -> bool:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("made_by") == MADE_BY
