"""From the rows of a run to the files of an export, in batches.

A row `Item(…, Pair("Add.", "2, 3", "5"))` becomes `{"messages": […]}`, passes what may leave it out, and goes to the files
of its split.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from factory.claims import not_private
from factory.datasets_io.pairs import Pair
from factory.exporting.containers import JsonLines, Row, json_line
from factory.exporting.contamination import REASON, Benchmarks, removed
from factory.exporting.families import Families, side
from factory.exporting.folder import REMOVED, WARNING, Shards, Staged, staged
from factory.exporting.item import Item
from factory.exporting.pairing import Pairs
from factory.exporting.settings import Convert, Settings
from factory.exporting.source import Source
from factory.exporting.tokens import Lengths, Tokenizer
from factory.recipe.taint import KEPT, kept_private
from factory.records import digest
from factory.rundir import RunDir

BATCH_ROWS = 256
WIDTHS = {"pair": 2, "preference": 3}  # texts of an item


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        files: Data files; none for an empty split.
        rows: Rows in each split.
        left_out: Rows left out, by reason.
        not_private: Why the rows may not be shared; empty where nothing speaks against it.
        tokens: Lengths of the rows, where there was a tokenizer.
        removed: File with the rows that overlap with a benchmark; None where none does.
        changed_cells: Cells of a CSV file that got an apostrophe.
        notes: What else its reader should know.
    """

    files: list[Path]
    rows: dict[str, int]
    left_out: dict[str, int]
    not_private: str = ""
    tokens: Lengths | None = None
    removed: Path | None = None
    changed_cells: int = 0
    notes: list[str] = field(default_factory=list)


class _Made(NamedTuple):
    """An item and the row that it has become."""

    item: Item
    row: Row


def run(path: Path, out: Path, settings: Settings) -> Exported:
    """Write an export; see `factory.export`."""
    with RunDir(path).left_alone():  # the rows are read more than once
        flow = _Flow(Source(path), settings)
        with staged(out) as new:
            return flow.written(new)


class _Flow:
    """One export."""

    def __init__(self, source: Source, settings: Settings) -> None:
        """Check all there is to check before a file is written."""
        self._source, self._settings = source, settings
        self._pairs = Pairs(source, settings) if settings.takes == "preference" else None
        if self._pairs is None:
            source.items(settings)  # raises what is missing
        self._tokenizer = None if settings.tokenizer is None else Tokenizer(settings.tokenizer)
        width = WIDTHS.get(settings.takes, 1 + len(source.columns))
        self._benchmarks = Benchmarks(settings.decontaminate, width) if settings.decontaminate else None
        self._notes: list[str] = []
        self._convert = self._converter()
        self._left_out = Counter(self._pairs.left_out if self._pairs else {})
        self._lengths = array("q")

    def written(self, new: Staged) -> Exported:
        """Write everything aside, then put it in place."""
        settings = self._settings
        split_of = self._split_of()
        shards = {name: self._shards(new, name) for name in settings.splits}
        turned_away = JsonLines(new.path / REMOVED) if self._benchmarks else None
        for made in self._short_enough(self._clean(self._distinct(), turned_away)):
            shards[split_of(made.item)].write({**made.row, **(made.item.ids if settings.ids else {})})
        if turned_away is not None:
            turned_away.close()
            if not self._left_out[REASON]:
                (new.path / REMOVED).unlink()
                self._notes.append("no row overlaps with a benchmark")
        files = [new.folder / path.name for one in shards.values() for path in one.close()]
        why = not_private(self._source.manifest)
        if why:
            (new.path / WARNING).write_text(f"NOT PRIVATE: {why}\n", encoding="utf-8")
        done = Exported(
            files=files,
            rows={name: one.rows for name, one in shards.items()},
            left_out=dict(+self._left_out),
            not_private=why,
            tokens=Lengths.of(self._lengths),
            removed=new.folder / REMOVED if self._left_out[REASON] else None,
            changed_cells=sum(one.changed_cells for one in shards.values()),
            notes=self._notes,
        )
        new.install(self._record(done))
        return done

    # --- the rows ----------------------------------------------------------------------------------

    def _items(self) -> Iterator[Item]:
        return self._source.items(self._settings) if self._pairs is None else self._pairs.items()

    def _distinct(self) -> Iterator[_Made]:
        """Rows with something in them, each once."""
        seen: set[bytes] = set()
        keeps_equal = getattr(self._settings.module, "KEEPS_EQUAL", False)
        for item in self._items():
            if isinstance(item.content, Pair) and not item.content.output.strip():
                self._left_out["empty output"] += 1
                continue
            row = self._convert(item.content)
            if not keeps_equal:
                identity = bytes.fromhex(digest(json_line(row)))
                if identity in seen:
                    self._left_out["exact duplicate"] += 1
                    continue
                seen.add(identity)
            yield _Made(item, row)

    def _clean(self, rows: Iterator[_Made], turned_away: JsonLines | None) -> Iterator[_Made]:
        """Rows that share nothing with a benchmark."""
        if self._benchmarks is None or turned_away is None:
            yield from rows
            return
        for batch in _batches(rows):
            verdicts = self._benchmarks.judge([made.item for made in batch])
            for made, verdict in zip(batch, verdicts, strict=True):
                if verdict is None:
                    yield made
                else:
                    self._left_out[REASON] += 1
                    turned_away.write(removed(made.item, verdict, made.row))

    def _short_enough(self, rows: Iterator[_Made]) -> Iterator[_Made]:
        """Rows that are not too long; lengths are noted."""
        if self._tokenizer is None:
            yield from rows
            return
        most, sequences = self._settings.max_tokens, self._settings.module.sequences
        for batch in _batches(rows):
            for made, count in zip(batch, self._tokenizer.counts([sequences(made.row) for made in batch]), strict=True):
                if most is not None and count > most:
                    self._left_out[f"longer than {most:,} tokens"] += 1
                else:
                    self._lengths.append(count)
                    yield made

    # --- what they go through ----------------------------------------------------------------------

    def _converter(self) -> Convert:
        settings, tokenizer = self._settings, self._tokenizer
        templated = getattr(settings.module, "templated", None)
        if tokenizer is None:
            return settings.convert
        if not tokenizer.has_template:
            self._notes.append(f"{tokenizer.name} has no chat template: messages are counted as plain texts")
            return settings.convert
        if templated is None or (settings.takes == "pair" and self._source.stands_alone(settings)):
            return settings.convert
        return lambda content: templated(content, tokenizer.chat)

    def _split_of(self) -> Callable[[Item], str]:
        settings = self._settings
        if settings.splits == ["train"]:
            return lambda item: "train"
        # Rows that are in no pair tie families too, so that a row is on the side that it has in other formats.
        every = self._items() if self._pairs is None else chain(self._source.items(settings), self._pairs.items())
        families = Families(every)
        return lambda item: side(families.share(item), validation=settings.validation, test=settings.test)

    def _shards(self, new: Staged, name: str) -> Shards:
        settings = self._settings
        formulas = settings.formulas == "keep"
        return Shards(new.path / name, settings.container, settings.shard_rows, formulas=formulas)

    def _record(self, done: Exported) -> dict[str, Any]:
        manifest = self._source.manifest
        pairs = self._pairs
        return {
            "run": manifest["name"],
            "fingerprint": manifest["fingerprint"],
            **self._settings.told(),
            **({} if pairs is None else {"score": pairs.score, "rejected_rows_used": pairs.from_rejected}),
            "rows": done.rows,
            "left_out": done.left_out,
            "tokens": None if done.tokens is None else done.tokens._asdict(),
            "changed_cells": done.changed_cells,
            "not_private": done.not_private,
            **({KEPT: why} if (why := kept_private(manifest)) else {}),
        }


def _batches(rows: Iterable[_Made]) -> Iterator[list[_Made]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch
