"""`report`: gather the facts of a run, build its panels, write the page whole or not at all.

    report("runs/quickstart").path  ->  Path("runs/quickstart/report.html")

The directory of the run is only read, but for the page itself.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError
from factory.reporting.gather.run import Run
from factory.reporting.page import GENERATOR, page
from factory.reporting.panels import LeftOut, built
from factory.rundir import RunDir

FILE = "report.html"


class Report(msgspec.Struct, frozen=True):
    """A page that was written.

    Attributes:
        path: The file.
        panels: Titles of what it shows.
        left_out: Why a panel is not there, by title.
        disagreements: Sentences where the manifest and the files of the run say different things; the page says so too.
    """

    path: Path
    panels: tuple[str, ...]
    left_out: dict[str, str]
    disagreements: tuple[str, ...]


def report(path: str | Path, out: str | Path | None = None) -> Report:
    """Write the report of a run.

    Args:
        path: Run directory; it is only read, but for the page.
        out: File to write; `report.html` in the run directory by default.

    Raises:
        RunDirError: If there is no run, a file of it is damaged, or something else than a report lies in the place of the page.
        DiskError: If the page cannot be written.
    """
    directory = RunDir(Path(path))
    run = Run(directory.path, directory.require_manifest())
    target = _target(Path(out) if out is not None else directory.path / FILE)
    parts = built(run)
    write_whole(target, page(run, parts).encode("utf-8", "replace"))
    return Report(
        target,
        tuple(title for title, part in parts if not isinstance(part, LeftOut)),
        {title: part.why for title, part in parts if isinstance(part, LeftOut)},
        run.disagreements,
    )


def _target(path: Path) -> Path:
    """The file to write, once it is sure that nothing but an earlier report is lost."""
    if not path.parent.is_dir():
        raise RunDirError(f"{path}: there is no folder {path.parent}; make it, or choose another --out.")
    if path.is_dir():
        raise RunDirError(f"{path}: is a folder; name a file as --out, e.g. {path / FILE}.")
    if path.exists() and GENERATOR.encode() not in path.read_bytes()[:2000]:
        raise RunDirError(f"{path}: exists and is no report; choose another --out.")
    return path
