"""What is on show: one run directory, indexed in the background and read again when it changes.

    desk = Desk(Path("runs/quickstart"))
    desk.start()
    desk.state()["indexing"]  ->  {"read": 55, "rows": 55, "done": True}

While a run is going on, its kept, rejected and passed records are read from the spools that it fills (the last few, which
are still in its buffer, come a little later); when it ends, from its shards. Nothing in the directory is written.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.claims import not_private
from factory.errors import FactoryError, UserError
from factory.journal import completions
from factory.manifest import funnel
from factory.rundir import RunDir
from factory.viewing.batches import STATES, SpoolReader, shard_batches, shard_rows
from factory.viewing.index import Index
from factory.viewing.reading import Reader
from factory.viewing.rescoring import Rescorer
from factory.viewing.search import Search
from factory.viewing.thresholds import Rule, counted, rules

FOLDERS = ("data", "rejected", "lineage")
LOOK_EVERY_S = 1.0
SEARCHES = 8
RUNNING = "running"


@dataclass
class Shelf:
    """One reading of the directory: its index, and how far it has come.

    Attributes:
        generation: Counts readings.
        live: Whether the records come from the spools of a running process.
        index: The index.
        reader: Reads whole records.
        expected: Rows that there will be; 0 where that is not known.
        done: Whether everything has been read.
        problems: Files that could not be read, a sentence each.
    """

    generation: int
    live: bool
    index: Index = field(default_factory=Index)
    expected: int = 0
    done: bool = False
    problems: list[str] = field(default_factory=list)
    spools: list[tuple[SpoolReader, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A reader goes with each index."""
        self.reader = Reader(self.index)
        self.searches: OrderedDict[str, Search] = OrderedDict()
        self.rescorer: Rescorer | None = None
        self.counts: tuple[int, dict[str, Any]] | None = None
        self.rules: tuple[int, list[Rule]] | None = None


class Desk:
    """A run directory that is being looked at."""

    def __init__(self, path: Path, say: Callable[[str], None] = lambda _: None) -> None:
        """Make sure that there is a run.

        Args:
            path: Run directory.
            say: Gets a sentence when the index is ready.

        Raises:
            RunDirError: If there is none.
        """
        self.directory = RunDir(path)
        self._manifest = self.directory.require_manifest()
        self._say = say
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._signature: object = None
        self._generation = 0
        self.shelf = Shelf(0, live=False)
        self._thread = threading.Thread(target=self._watch, name="index", daemon=True)

    def start(self) -> None:
        """Begin to read, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)
        if not self._thread.is_alive():
            self.shelf.index.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except (FactoryError, OSError) as error:
                if str(error) not in self.shelf.problems:
                    self.shelf.problems.append(str(error))
                self.shelf.done = True
            self._stop.wait(LOOK_EVERY_S)

    def _look(self) -> None:
        """Read what has changed since the last look."""
        self._manifest = self.directory.require_manifest()
        live = self.in_use() and (self.directory.spool / "kept").exists()
        signature = self._signed(live)
        if signature != self._signature:
            self._signature = signature
            self._read(live)
        elif self.shelf.live:
            self._follow(self.shelf)

    def _signed(self, live: bool) -> object:
        """Changes when the files are others."""
        if live:
            return ("live", (self.directory.spool / "kept").stat().st_ino)
        stats = [(path.name, path.stat()) for path in self._shards()]
        return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _shards(self) -> list[Path]:
        return [path for folder in FOLDERS for path in sorted((self.directory.path / folder).glob("*.parquet"))]

    def _read(self, live: bool) -> None:
        """Index everything anew; the first time rows are shown as they are read, later when all are there."""
        self._generation += 1
        shelf = Shelf(self._generation, live)
        if not self.shelf.index.rows:
            self._show(shelf)
        if live:
            names = [step["step"] for step in self._manifest["steps"]]
            spool = self.directory.spool
            shelf.spools = [(SpoolReader(spool / "kept", None), True), (SpoolReader(spool / "passed", None), False)]
            shelf.spools += [(SpoolReader(spool / f"rejected-{n}", name), False) for n, name in enumerate(names)]
            self._follow(shelf)
        else:
            self._read_shards(shelf)
        shelf.done = True
        self._show(shelf)
        size = shelf.index.file_bytes / 1e6
        self._say(f"{shelf.index.rows:,} records indexed{f', {size:,.0f} MB of temporary file' if size >= 1 else ''}")

    def _show(self, shelf: Shelf) -> None:
        with self._lock:
            self.shelf = shelf

    def _read_shards(self, shelf: Shelf) -> None:
        sound = []
        for path in self._shards():
            try:
                shelf.expected += shard_rows(path)
                sound.append(path)
            except FactoryError as error:
                shelf.problems.append(str(error))
        for path in sound:
            try:
                for batch in shard_batches(path, path.parent.name):
                    shelf.index.add(batch)
                    if self._stop.is_set():
                        return
            except FactoryError as error:
                shelf.problems.append(str(error))

    def _follow(self, shelf: Shelf) -> None:
        for spool, kept in shelf.spools:
            for batch in spool.batches(kept=kept):
                shelf.index.add(batch)

    # --- telling ------------------------------------------------------------------------------------------------------

    def in_use(self) -> bool:
        """Whether a run is going on here; the lock is only tried where the manifest says so."""
        return bool(self._manifest["status"] == RUNNING) and self.directory.in_use()

    def state(self) -> dict[str, Any]:
        """Everything about the run that is no record."""
        running = self.in_use()
        if self._manifest["status"] == RUNNING and not running:  # it may have ended since the last look
            self._manifest = self.directory.require_manifest()
        shelf, manifest = self.shelf, self._manifest
        status = manifest["status"]
        if status == RUNNING and not running:
            status = "killed"
        return {
            "name": manifest["name"],
            "folder": self.directory.path.name,
            "status": status,
            "message": self._message(status, manifest, shelf),
            "not_private": not_private(manifest),
            "funnel": [list(row) for row in funnel(manifest)] if manifest["steps"] else [],
            "model": manifest["model"],
            "seconds": manifest["seconds"],
            "live": shelf.live,
            "generation": shelf.generation,
            "indexing": {"read": shelf.index.rows, "rows": shelf.expected, "done": shelf.done},
            "counts": self._counts(shelf),
            "measures": list(shelf.index.columns().measures),
            "problems": shelf.problems,
            "answers": completions(self.directory.journal) if status in (RUNNING, "killed", "failed") else None,
        }

    def _counts(self, shelf: Shelf) -> dict[str, Any]:
        rows = shelf.index.rows
        if shelf.counts is None or shelf.counts[0] != rows:
            shelf.counts = (rows, counted(shelf.index.columns()))
        return shelf.counts[1]

    def _message(self, status: str, manifest: dict[str, Any], shelf: Shelf) -> str:
        if status == RUNNING:
            return "The run is going on. Records appear here as they are made; lineage is whole when it has ended."
        if status == "killed":
            return "The run has ended without a result; the same command goes on from its journal."
        if not shelf.index.rows and shelf.done and not shelf.problems:
            return f"{manifest['message']} There are no records yet.".strip()
        return str(manifest["message"])

    def rescorer(self, shelf: Shelf) -> Rescorer:
        """What measures kept rows again."""
        ended = shelf.done and not shelf.live
        with self._lock:
            if shelf.rescorer is None or shelf.rescorer.stamp != (shelf.index.rows, ended):
                columns = shelf.index.columns()
                shelf.rescorer = Rescorer(self.directory, self._manifest, columns, shelf.reader, ended=ended)
            return shelf.rescorer

    def rules(self, shelf: Shelf) -> list[Rule]:
        """Every rule that has turned rows away by a score."""
        rows = shelf.index.rows
        if shelf.rules is None or shelf.rules[0] != rows:
            shelf.rules = (rows, rules(shelf.index.columns(), self._manifest))
        return shelf.rules[1]

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest, as read last."""
        return self._manifest

    def search(self, shelf: Shelf, query: str) -> Search:
        """The search for a text, gone on with where it was begun before."""
        with self._lock:
            if query in shelf.searches:
                shelf.searches.move_to_end(query)
            else:
                shelf.searches[query] = Search(query, shelf.index)
            while len(shelf.searches) > SEARCHES:
                shelf.searches.popitem(last=False)
            return shelf.searches[query]

    def states(self) -> tuple[str, ...]:
        """Names of the states, in the order of the counts."""
        return STATES


def named(desk: Desk, what: str) -> UserError:
    """What to say where no record is called so."""
    return UserError(f"{desk.directory.path.name}: no record '{what[:60]}'; take an id that the list shows.")
