"""From the outcomes of a run to its dataset: Parquet shards of kept and rejected rows, and lineage.

Outcomes are spooled to disk as they come and written when the run ends, rejected ones in the order of
the steps. The same records give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from factory.context import Session
from factory.datasets_io.parquet import LINEAGE, REJECTED, Columns, lineage_row, rejected_row, write_shards
from factory.datasets_io.spool import Spool
from factory.records import Record, Rejected

PREVIEW_ROWS = 5


class Collected:
    """A sink that spools everything and then writes it."""

    def __init__(self, spool: Path, steps: list[str], *, of_tables: bool = False) -> None:
        """Open the spools inside that folder.

        Args:
            spool: The folder.
            steps: Names of the steps.
            of_tables: Whether records are rows of tables, see `Columns`.

        Raises:
            JournalError: If they cannot be written.
        """
        self._folder = spool
        self._columns = Columns(of_tables=of_tables)
        self._kept = Spool(spool / "kept", Record)
        self._rejected = {name: Spool(spool / f"rejected-{index}", Rejected) for index, name in enumerate(steps)}
        self._passed = Spool(spool / "passed", Record)
        self.first: list[Record] = []

    @property
    def rows(self) -> int:
        """Kept records so far."""
        return len(self._kept)

    @property
    def rejected(self) -> int:
        """Rejected records so far."""
        return sum(len(spool) for spool in self._rejected.values())

    def keep(self, record: Record) -> None:
        """File a record of the dataset."""
        self._columns.see(record.fields)
        self._kept.append(record)
        if len(self.first) < PREVIEW_ROWS:
            self.first.append(record)

    def reject(self, step: str, rejected: Rejected) -> None:
        """File a record that a step turned away."""
        self._rejected[step].append(rejected)

    def pass_on(self, record: Record) -> None:
        """File a record that only lineage leads through."""
        self._passed.append(record)

    def write(self, folder: Path, session: Session, rows_per_shard: int) -> list[Path]:
        """Write `data/`, `rejected/` and `lineage/` into a folder; returns the data files."""
        rows = self._columns.rows(self._kept)
        paths = write_shards(folder / "data", "train", rows, self.rows, self._columns.schema(), rows_per_shard)
        turned_away = (rejected_row(step, item) for step, spool in self._rejected.items() for item in spool)
        write_shards(folder / "rejected", "rejected", turned_away, self.rejected, REJECTED, rows_per_shard)
        lineage = _distinct([*session.remembered.values()], self._passed)
        count = len(self._passed) + len(session.remembered)
        write_shards(folder / "lineage", "records", map(lineage_row, lineage), count, LINEAGE, rows_per_shard)
        return paths

    def close(self) -> None:
        """Delete the spools."""
        self._kept.close()
        self._passed.close()
        for spool in self._rejected.values():
            spool.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _distinct(*groups: Iterable[Record]) -> Iterable[Record]:
    seen: set[str] = set()
    for group in groups:
        for record in group:
            if record.id not in seen:
                seen.add(record.id)
                yield record
