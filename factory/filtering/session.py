"""One session of a filter: chunk by chunk, from where an earlier session ended.

Rows that an earlier session has judged are read again, compared with what it read by a hash, and handed to the filters
with what came of them; then judging goes on. For each row one byte in `outcomes` says what came of it: 0 kept, 1 not
usable, 2 and more the filter that rejected it.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from factory.context.sifting import Row
from factory.datasets_io.chunks import Broken, Chunk, text_of
from factory.datasets_io.inputs import Input
from factory.errors import RunDirError, SourceError
from factory.filtering.chain import Chain, Judged
from factory.filtering.kept import JSON_FORMS, filed, spool_kept, spool_paths, spooled_as
from factory.filtering.meter import Meter
from factory.filtering.stopping import Stop
from factory.filtering.target import Target
from factory.filtering.workdir import FORMAT, Spool, State, WorkDir
from factory.manifest import file_hash
from factory.records import Verdict, digest

COMMIT_EVERY_S = 5.0
FIRST_ROWS = 100  # if none of them is usable, nothing is
INPUT = "input"
KEPT, UNUSABLE, FIRST_FILTER = 0, 1, 2
OUTCOMES = "outcomes"


class Session:
    """What has come of the rows so far, in memory and on disk."""

    def __init__(self, target: Target, work: WorkDir, source: Input, chain: Chain, settings: dict[str, Any]) -> None:
        """Open the spools where an earlier session left them.

        Raises:
            DiskError: If they cannot be written.
        """
        self.way = spooled_as(source.kind, target.form)
        self.source, self.chain, self.work, self.settings = source, chain, work, settings
        self.before = work.state()
        sizes = self.before.sizes if self.before else {}
        kept, rejected = spool_paths(target, self.way)
        paths = {"kept": kept, "rejected": rejected, OUTCOMES: work.path / OUTCOMES}
        self.spools = {name: Spool(path, sizes.get(name, 0)) for name, path in paths.items()}
        self.rows = self.kept = self.usable = self.unusable = 0
        self._first_broken: tuple[str, Broken] | None = None
        self._is_lines = self.way == "json" or source.kind in JSON_FORMS
        self.rejected = Counter(self.before.rejected if self.before else {})
        chain.blank = dict(self.before.blank) if self.before else {}
        self._hasher = hashlib.blake2b(digest_size=16)
        self._committed_at = time.monotonic()
        self._strict = False
        self._torn = False

    @property
    def fingerprint(self) -> str:
        """Hash of the input and of all that was decided about it."""
        return digest(self.settings, self._hasher.hexdigest(), file_hash(self.spools[OUTCOMES].path))

    @property
    def resumed(self) -> int:
        """Rows that an earlier session has judged."""
        return self.before.rows if self.before else 0

    def close(self) -> None:
        """Close the spools."""
        for spool in self.spools.values():
            spool.close()

    def run(self, chunks: Iterable[Chunk], meter: Meter, stop: Stop, *, strict: bool) -> None:
        """Judge everything that has not been judged yet.

        Raises:
            SourceError: If the rows cannot be read on, or one is broken and `strict` is set.
            RunDirError: If the input has changed since an earlier session.
        """
        self._strict = strict
        try:
            for chunk in chunks:
                with stop.held():
                    self._take(chunk)
                doing = "reading again what was judged before" if self.rows < self.resumed else ""
                meter.update(chunk.position, self.rows, self.kept, doing)
        except (SourceError, KeyboardInterrupt):
            if self.rows > self.resumed and not self._torn:
                self.commit()
            raise
        if not self.rows:
            raise NothingUsable(f"{', '.join(self.source.names)}: has no rows; expected at least one.")
        if not self.usable:
            raise self._nothing_usable()
        if self.rows < self.resumed:
            raise self._changed(f"it ends after {self.rows:,} rows, {self.resumed:,} were read before")
        self.commit()

    def _take(self, chunk: Chunk) -> None:
        rows = self._checked(chunk)
        if self.rows < self.resumed:
            self._replay(chunk, rows)
        else:
            self._judge(chunk, rows)
            if time.monotonic() - self._committed_at >= COMMIT_EVERY_S:
                self.commit()

    def _checked(self, chunk: Chunk) -> list[Row | Broken]:
        """Rows of a chunk; those without a text to compare are broken ones too."""
        rows = [self._usable(row) for row in chunk.rows(self.chain.needed)]
        first = next((index for index, row in enumerate(rows) if isinstance(row, Broken)), None)
        if first is not None:
            broken = rows[first]
            if self._strict and isinstance(broken, Broken):
                raise SourceError(f"{chunk.place(first)}: {broken.sentence}; put it right, or leave out --strict.")
            self._check_beginning(chunk, rows, first)
        self.usable += sum(1 for row in rows if not isinstance(row, Broken))
        return rows

    def _usable(self, row: Row | Broken) -> Row | Broken:
        if isinstance(row, Broken):
            return row
        return next((broken for name in self.chain.fields if (broken := text_of(row, name)) is not None), row)

    def _check_beginning(self, chunk: Chunk, rows: Sequence[Row | Broken], first: int) -> None:
        """Stop where the input begins with broken rows and nothing else."""
        if self.usable or first > 0:
            return
        self.unusable += next((index for index, row in enumerate(rows) if not isinstance(row, Broken)), len(rows))
        broken = rows[first]
        if self._first_broken is None and isinstance(broken, Broken):
            self._first_broken = chunk.place(first), broken
        if self.unusable >= FIRST_ROWS:
            raise self._nothing_usable()

    def _nothing_usable(self) -> NothingUsable:
        place, broken = self._first_broken or (", ".join(self.source.names), Broken("", "no row can be used"))
        return nothing_usable(place, broken, self.unusable)

    def _replay(self, chunk: Chunk, rows: Sequence[Row | Broken]) -> None:
        """Hand rows to the filters that were judged before."""
        codes = self._outcomes(len(chunk))
        usable = [index for index, row in enumerate(rows) if not isinstance(row, Broken)]
        if len(codes) < len(chunk) or usable != [index for index, code in enumerate(codes) if code != UNUSABLE]:
            raise self._changed(f"other rows than before at {chunk.place(0)}")
        self._count(chunk, codes)
        if self.rows > self.resumed or (self.rows == self.resumed and not self._is_same()):
            raise self._changed(f"the first {self.resumed:,} rows are not those that were read before")
        by = [None if codes[index] == KEPT else codes[index] - FIRST_FILTER for index in usable]
        self.chain.restore([row for row in rows if not isinstance(row, Broken)], by)

    def _outcomes(self, count: int) -> bytes:
        with (self.work.path / OUTCOMES).open("rb") as stored:
            stored.seek(self.rows)
            return stored.read(count)

    def _is_same(self) -> bool:
        return self.before is not None and self.before.digest == self._hasher.hexdigest()

    def _changed(self, how: str) -> RunDirError:
        return RunDirError(
            f"{self.work.path}: the input has changed since this was begun: {how}. Give it as it was, or begin anew with "
            "--restart."
        )

    def _count(self, chunk: Chunk, codes: bytes) -> None:
        self._hasher.update(chunk.raw)
        self.rows += len(chunk)
        self.kept += codes.count(KEPT)

    def _judge(self, chunk: Chunk, rows: Sequence[Row | Broken]) -> None:
        usable = [index for index, row in enumerate(rows) if not isinstance(row, Broken)]
        judged = self.chain.judge([row for row in rows if not isinstance(row, Broken)])
        found: list[Judged | Broken | None] = [row if isinstance(row, Broken) else None for row in rows]
        for index, outcome in zip(usable, judged, strict=True):
            found[index] = outcome
        codes = bytes(_code(outcome) for outcome in found)
        self._torn = True  # a second Ctrl-C may end this between two spools: what then counts is the last commit
        spool_kept(self.spools["kept"], self.way, chunk, [index for index, code in enumerate(codes) if code == KEPT])
        self.spools["rejected"].append(b"".join(self._filed(chunk, found)))
        self.spools[OUTCOMES].append(codes)
        self._count(chunk, codes)
        self._torn = False

    def _filed(self, chunk: Chunk, found: Sequence[Judged | Broken | None]) -> Iterator[bytes]:
        """Lines of the rejected rows; counts them."""
        turned_away = [(index, outcome) for index, outcome in enumerate(found) if outcome is not None]
        fields = chunk.as_json([index for index, _ in turned_away])
        for (index, outcome), own in zip(turned_away, fields, strict=True):
            if isinstance(outcome, Broken):
                name, verdict = INPUT, _verdict(outcome)
            else:
                name, verdict = self.chain.names[outcome.by], outcome.verdict
            self.rejected[f"{name}: {verdict.reason}"] += 1
            yield filed(chunk.place(index), name, verdict, own)

    def commit(self, phase: Any = "reading") -> None:
        """Make everything so far count.

        Raises:
            DiskError: If the disk is full.
        """
        if phase == "reading":
            for spool in self.spools.values():
                spool.sync()
        sizes = {name: spool.size for name, spool in self.spools.items()}
        counts = dict(sorted(self.rejected.items(), key=lambda item: (-item[1], item[0])))
        digest = self._hasher.hexdigest()
        self.work.save(State(FORMAT, self.settings, phase, self.rows, digest, sizes, counts, self.chain.blank))
        self._committed_at = time.monotonic()

    def check(self) -> None:
        """Count once more what lies on disk: every row that was read is either kept or rejected."""
        codes = _counted(self.spools[OUTCOMES].path)
        lines = _lines(self.spools["rejected"].path)
        if not sum(codes.values()) == self.rows == self.kept + self.rejected.total() or codes[KEPT] != self.kept:
            raise AssertionError(f"{self.rows} read, {self.kept} kept, {self.rejected.total()} rejected, {codes}")
        if lines != self.rejected.total():
            raise AssertionError(f"{lines} rejected rows on disk, {self.rejected.total()} counted")
        if self._is_lines and (lines := _lines(self.spools["kept"].path)) != self.kept:
            raise AssertionError(f"{lines} kept rows on disk, {self.kept} counted")


class NothingUsable(SourceError):
    """An input that holds nothing to filter: not the rows that it was taken for."""


def nothing_usable(place: str, broken: Broken, count: int) -> NothingUsable:
    """The error of an input that begins with so many broken rows."""
    rows = "the only row is" if count == 1 else f"all of the first {count:,} rows are"
    return NothingUsable(
        f"{place}: {broken.sentence}; {rows} not usable. Is this the right file, and --field the right column?"
    )


def _code(outcome: Judged | Broken | None) -> int:
    if outcome is None:
        return KEPT
    return UNUSABLE if isinstance(outcome, Broken) else FIRST_FILTER + outcome.by


def _verdict(broken: Broken) -> Verdict:
    evidence = f"{broken.sentence}: {broken.text}" if broken.text else broken.sentence
    return Verdict(
        keep=False,
        rule=INPUT,
        reason=broken.reason,
        score=broken.score,
        threshold=broken.threshold,
        evidence=evidence,
    )


def _counted(path: Path) -> Counter[int]:
    with path.open("rb") as stored:
        counts: Counter[int] = Counter()
        while block := stored.read(2**20):
            counts.update(block)
        return counts


def _lines(path: Path) -> int:
    with path.open("rb") as stored:
        return sum(block.count(b"\n") for block in iter(lambda: stored.read(2**20), b""))
