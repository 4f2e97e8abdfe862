"""A run as the panels see it: its manifest, exact counts, and the rows that are looked at; each is read once, when first asked for.

run = Run(path, manifest)
run.rows  ->  (24, 15)      run.disagreements  ->  ()      len(run.kept)  ->  24
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

from factory.claims import not_private
from factory.journal import Journal
from factory.reporting.gather import rows
from factory.reporting.gather.rows import Counted, Seen
from factory.rundir import RunDir

FINISHED: Final = ("complete", "partial", "preview")
LARGEST_JOURNAL: Final = 1_000_000_000
"""Bytes of a journal that is still read: it is checked whole when it is opened."""
TEXT_COLUMNS: Final = ("instruction", "prompt", "question", "text", "summary", "output")


class Run:
    """One run directory, read lazily."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """Nothing but the manifest is read yet."""
        self.path = path
        self.manifest = manifest
        self.nearest: list[Any] | None = None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Counts of the steps, as the manifest has them."""
        found: list[dict[str, Any]] = self.manifest["steps"]
        return found

    def options(self, step: str) -> dict[str, Any]:
        """Options of a step, as they were resolved; empty for a step that the recipe no longer has."""
        told = zip(self.steps, self.manifest["recipe"]["steps"], strict=False)
        return next((next(iter(given.values())) or {} for each, given in told if each["step"] == step), {})

    @cached_property
    def finished(self) -> bool:
        """Whether what lies in the directory is what the manifest counts."""
        return self.manifest["status"] in FINISHED

    @cached_property
    def not_private(self) -> str:
        """Why the rows are not private; empty if they are, or nobody says that they are."""
        return not_private(self.manifest)

    @cached_property
    def rows(self) -> tuple[int, int]:
        """Rows in `data/` and in `rejected/`."""
        return rows.count(self.path / "data"), rows.count(self.path / "rejected")

    @cached_property
    def rejections(self) -> Counted:
        """Rejected rows in the files by reason."""
        return rows.counted(self.path / "rejected")

    @cached_property
    def share(self) -> float:
        """Share of rows that are looked at one by one; 1 where that is all of them."""
        return rows.share(*self.rows)

    @cached_property
    def kept(self) -> list[Seen]:
        """Kept rows that are looked at."""
        return rows.sample(self.path / "data", self.share)

    @cached_property
    def rejected(self) -> list[Seen]:
        """Rejected rows that are looked at."""
        return rows.sample(self.path / "rejected", self.share)

    @cached_property
    def passed(self) -> list[Seen]:
        """Records that others were made from, of which a share of their own is looked at."""
        return rows.sample(self.path / "lineage", self.passed_share)

    @cached_property
    def passed_share(self) -> float:
        """Share of the records that others were made from that is looked at."""
        return rows.share(rows.count(self.path / "lineage"))

    @property
    def sampled(self) -> str:
        """What to know of figures that rest on a sample; empty where they rest on all rows."""
        if self.share >= 1.0:
            return ""
        kept, rejected = self.rows
        return (
            f"A sample: {len(self.kept):,} of {kept:,} kept and {len(self.rejected):,} of {rejected:,} rejected rows, chosen by "
            "a hash of the record id."
        )

    @cached_property
    def text_column(self) -> str:
        """The column that says most of a row: the instruction where there is one, else the longest text; empty if none."""
        lengths: dict[str, int] = {}
        for row in self.kept[:500] or self.rejected[:500]:
            for name, (chars, _) in row.lengths.items():
                lengths[name] = lengths.get(name, 0) + chars
        known = [name for name in TEXT_COLUMNS if name in lengths]
        return known[0] if known else max(lengths, key=lambda name: lengths[name], default="")

    @cached_property
    def order(self) -> dict[str, int]:
        """Journal keys in the order in which their answers were committed; empty without a journal that can be read."""
        journal = self.journal()
        if journal is None:
            return {}
        try:
            return {key: number for number, key in enumerate(journal.keys())}
        finally:
            journal.close()

    @property
    def no_journal(self) -> str:
        """Why the journal is not read; empty if it is."""
        path = RunDir(self.path).journal
        if not path.exists():
            return "the run directory holds no journal"
        if (size := path.stat().st_size) > LARGEST_JOURNAL:
            return f"the journal is large ({size / 1e9:,.1f} GB) and was not read"
        if self.not_private:
            return "the rows of this run are not private, so that prompts and answers are not copied to a page"
        return ""

    def journal(self) -> Journal | None:
        """The journal, opened to be read; None where it is not read."""
        return None if self.no_journal else Journal(RunDir(self.path).journal, read_only=True)

    @cached_property
    def disagreements(self) -> tuple[str, ...]:
        """Where manifest and files differ; a run that has not ended may tell of rows that are not written yet."""
        return tuple(_disagreements(self)) if self.finished else ()


def _disagreements(run: Run) -> list[str]:
    kept, rejected = run.rows
    found = []
    if kept != run.manifest["rows"]:
        found.append(f"The manifest counts {run.manifest['rows']:,} kept rows; data/ holds {kept:,}.")
    told = {(step["step"], reason): count for step in run.steps for reason, count in step["rejected"].items()}
    filed: dict[tuple[str, str], int] = {}
    for (step, rule, reason), count in run.rejections.by_reason.items():
        key = (step, f"{rule}: {reason}")
        filed[key] = filed.get(key, 0) + count
    for step, reason in {**told, **filed}:
        said, held = told.get((step, reason), 0), filed.get((step, reason), 0)
        if said != held:
            found.append(
                f"The manifest counts {said:,} rows that '{step}' rejected by {reason}; rejected/ holds {held:,}."
            )
    if rejected != run.rejections.rows:
        found.append(f"The footers of rejected/ count {rejected:,} rows; {run.rejections.rows:,} can be read.")
    if run.steps and run.steps[-1]["kept"] != run.manifest["rows"]:
        last = run.steps[-1]
        found.append(f"'{last['step']}' handed on {last['kept']:,} rows; the manifest counts {run.manifest['rows']:,}.")
    return found
