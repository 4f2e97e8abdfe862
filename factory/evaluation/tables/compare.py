"""Several synthetic tables side by side, and real rows as the lines that they are compared with.

    compare({"great": rows, "copula": table}, train, test, target="income")
        ->  TableEvaluation(sets=(Line("great", …), …), references=(Line("real, same n", …), …), …)

Every figure is a mean over seeds with an interval of 95 % (see `scores`). Sets of different sizes are all measured at the
size of the smallest, drawn by seed, and so are the reference lines:

    real, same n        efficiency: as many training rows; everything else: real rows that no generator has seen, in the
                        place of synthetic ones, which is what a perfect generator would have
    real, all           efficiency of all training rows
    shuffled columns    the training rows with every column shuffled on its own: perfect columns, no relation between them

Real rows have three parts: those that generators were trained on, a hold-out that stands against them, and the test rows,
which stand in for synthetic ones in the reference line. Without a hold-out the test rows are halved for these two; models
are tested on all of them either way.

Rows are put in the order of their hashes first: nothing depends on their order in a file. Validity and dependencies are
counted over all rows of a set, and of the test rows beside them (a domain that was learnt from few rows is narrow); the rest
is measured on the rows that can be read, as a note says where some cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from factory.errors import UserError
from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables import closeness as near
from factory.evaluation.tables import detection as detect
from factory.evaluation.tables.dependencies import dependencies, violations
from factory.evaluation.tables.efficiency import Learner, Task, only_class, task_of
from factory.evaluation.tables.encoding import Encoded, Encoder, canonical, pooled, row_keys
from factory.evaluation.tables.membership import membership
from factory.evaluation.tables.metrics import METRICS
from factory.evaluation.tables.scores import Floats, Ints, Score, over_seeds, share_of
from factory.evaluation.tables.shapes import Shapes
from factory.evaluation.tables.validity import Rows, Validity, checked
from factory.records import derive_seed
from factory.tables.rules import Rules
from factory.tables.schema import Table

SEEDS: Final = 3
REAL: Final = "real, same n"
REAL_ALL: Final = "real, all"
SHUFFLED: Final = "shuffled columns"
REFERENCES: Final = (REAL, REAL_ALL, SHUFFLED)
VALIDITY: Final = ("valid", "complete", "readable", "in_domain", "in_relation")
FEWEST: Final = 20
SMALL: Final = 500
Say = Callable[[str], None]


class Line(msgspec.Struct, frozen=True):
    """What was measured of one set of rows.

    Attributes:
        name: Of the set, or of the reference.
        rows: Rows that it has.
        used: Rows that the figures of efficiency rest on, at most; 0 if too few can be read.
        figures: By the keys of `METRICS`; what could not be measured is not there.
        validity: What is wrong with its rows; None of references.
        judged: Rows that the shares of valid rows are counted over; 0 where they are not.
        violations: Share of rows that break each dependency.
    """

    name: str
    rows: int
    used: int
    figures: dict[str, Figure]
    validity: Validity | None = None
    violations: dict[str, float] = {}
    judged: int = 0


class TableEvaluation(msgspec.Struct, frozen=True):
    """Synthetic tables, compared.

    Attributes:
        sets: A line for each synthetic table.
        references: Lines to compare with.
        target: Column that models predict; None if none was named.
        kind: `classification`, `regression`, or empty.
        rarest: Text of the rarest class, for minority recall.
        size: Rows at which all sets are measured.
        train: Real rows that generators were trained on.
        test: Real rows to test on.
        holdout: Real rows of the hold-out; 0 where test rows are halved instead.
        seeds: How many.
        dependencies: Those that hold in the training rows.
        notes: What to know before believing a figure.
    """

    sets: tuple[Line, ...]
    references: tuple[Line, ...]
    target: str | None
    kind: str
    rarest: str
    size: int
    train: int
    test: int
    holdout: int
    seeds: int
    dependencies: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, references last."""
        return (*self.sets, *self.references)


def compare(
    sets: Mapping[str, Rows],
    train: Table,
    test: Rows,
    holdout: Rows | None = None,
    rules: Rules | None = None,
    target: str | None = None,
    *,
    seeds: int = SEEDS,
    n_jobs: int = 1,
    say: Say = lambda _: None,
) -> TableEvaluation:
    """Measure each set.

    Args:
        sets: Tables, or rows of values of which some may not be readable, by the name of their set.
        train: Real rows that the generators were trained on; its schema says what rows may be.
        test: Real rows that no generator was trained on.
        holdout: More of them, best as many as training rows; by default half of the test rows.
        rules: Relations and restricted domains; by default the domains of the schema only.
        target: Column to predict; None measures no efficiency.
        seeds: Of subsamples, folds and models; at least three for intervals to be believed.
        n_jobs: Cores.
        say: Told how far it is.

    Raises:
        UserError: If there is nothing to compare, or too few real rows.
    """
    if not sets:
        raise UserError("evaluate: expected at least one set of synthetic rows.")
    if seeds < 1:
        raise UserError(f"evaluate: expected at least one seed, found {seeds}.")
    for name in sets.keys() & set(REFERENCES):
        raise UserError(f"a set is called '{name}', as a line to compare with is; rename it.")
    from threadpoolctl import threadpool_limits

    with threadpool_limits(n_jobs):  # sums of threads differ in their last digits
        return _Comparison(sets, train, test, holdout, rules or Rules(train.schema), target, n_jobs, say).measured(
            seeds
        )


class _Set(msgspec.Struct, frozen=True):
    """Rows of a line, ready to be measured."""

    name: str
    table: Table
    encoded: Encoded
    labels: Floats


class _Comparison:
    """All rows, encoded; what was noted on the way."""

    def __init__(
        self,
        sets: Mapping[str, Rows],
        train: Table,
        test: Rows,
        holdout: Rows | None,
        rules: Rules,
        target: str | None,
        n_jobs: int,
        say: Say,
    ) -> None:
        self._schema, self._rules, self._jobs, self._say = train.schema, rules, n_jobs, say
        self.notes: list[str] = []
        train = canonical(train)
        self._task: Task | None = None if target is None else task_of(train, target)
        self._tested_validity, tested = self._real("test rows", test)
        self._real_rows = {"train": train.rows, "test": tested.rows, "holdout": 0}
        if holdout is None:
            half = tested.rows // 2
            fresh, other = tested.take(range(half)), tested.take(range(half, tested.rows))
            self.notes.append(
                f"no hold-out is named: the {tested.rows:,} test rows are halved for comparisons of rows."
            )
        else:
            fresh, other = self._real("hold-out", holdout)[1], tested
            self._real_rows["holdout"] = fresh.rows
        for name, table in (("training rows", train), ("hold-out", fresh), ("test rows", other)):
            if table.rows < FEWEST:
                raise UserError(f"{name}: expected at least {FEWEST} real rows to compare with, found {table.rows}.")
        self._encoder = Encoder(train, pooled(train, fresh))
        self._train = self._set("training rows", train)
        self._fresh, self._other = self._set("hold-out", fresh), self._set(REAL, other)
        self._learner = self._tested(self._set("test rows", tested))
        self._shapes, self._known = Shapes(train), dependencies(train)
        self._read: dict[str, tuple[Validity, Table]] = {name: self._checked(rows) for name, rows in sets.items()}
        usable = {name: table.rows for name, (_, table) in self._read.items() if table.rows >= FEWEST}
        self._size = min([train.rows, *usable.values()])
        self._sets = {name: self._set(name, canonical(self._read[name][1])) for name in usable}
        self._note_sizes(usable)
        self._note_known("test rows", tested)
        if holdout is not None:
            self._note_known("hold-out", fresh)

    def measured(self, seeds: int) -> TableEvaluation:
        """Everything, over all seeds."""
        scores: dict[str, list[dict[str, Score]]] = {name: [] for name in (*self._sets, *REFERENCES)}
        began, total = time.monotonic(), seeds * len(scores)
        for number in range(seeds):
            seed = derive_seed("evaluate a table", number)
            draw = _Draw(self._train, self._fresh, self._other, seed)
            for name in scores:
                done = sum(map(len, scores.values()))
                left = f", about {(time.monotonic() - began) * (total - done) / done:,.0f} s left" if done else ""
                self._say(f"{name}: seed {number + 1} of {seeds}{left}")
                scores[name].append(self._scores(name, draw, seed))
        sets = tuple(self._line(name, scores.get(name, [])) for name in self._read)
        references = tuple(self._reference(name, scores[name]) for name in REFERENCES)
        task = self._task
        return TableEvaluation(
            sets, references, task.column if task else None, task.kind if task else "",
            task.shown[task.rarest] if task and task.shown else "", self._size, **self._real_rows, seeds=seeds,
            dependencies=tuple(each.shown for each in self._known), notes=tuple(dict.fromkeys(self.notes)),
        )  # fmt: skip

    # --- lines ------------------------------------------------------------------------------------------

    def _scores(self, name: str, draw: _Draw, seed: int) -> dict[str, Score]:
        """What one seed measures of one line."""
        if name == REAL_ALL:
            return self._learned(self._train, self._train.table.rows, seed)
        if name == REAL:
            return self._learned(self._train, self._size, seed) | self._compared(self._other, draw, seed, real=True)
        rows = self._sets[name] if name in self._sets else self._shuffled(seed)
        return self._learned(rows, self._size, seed) | self._compared(rows, draw, seed)

    def _learned(self, rows: _Set, size: int, seed: int) -> dict[str, Score]:
        if self._learner is None or self._task is None:
            return {}
        drawn = _drawn(rows.table.rows, size, seed)
        labels = rows.labels[drawn]
        only = only_class(self._task, labels)
        if only is not None:
            self.notes.append(f"{rows.name}: all rows have the target '{only}': their models always name it.")
        elif np.isnan(labels).all():
            self.notes.append(f"{rows.name}: no row has a target that the training rows know: no efficiency.")
        return self._learner(rows.encoded.take(drawn), labels, seed)

    def _compared(self, rows: _Set, draw: _Draw, seed: int, *, real: bool = False) -> dict[str, Score]:
        """Shapes, detection, closeness and membership of a line."""
        random = np.random.default_rng(seed)
        drawn = _drawn(rows.table.rows, self._size, seed)
        scores = self._shapes(rows.table.take(drawn.tolist()), random)
        scores["copies"] = near.copies(rows.encoded, self._train.encoded)
        size = min(self._size, detect.MOST_ROWS, len(draw.fresh), rows.table.rows)
        theirs = draw.fresh.take(_drawn(len(draw.fresh), size, seed))
        scores |= detect.detection(rows.encoded.take(drawn[:size]), theirs, seed, self._jobs)
        close = rows.encoded.take(drawn[: near.MOST_ROWS])
        found = near.between(close, draw.members, draw.others)
        scores |= near.closeness(found, random)
        usual = (None, None) if real else draw.usual
        return scores | membership(found.train.back[: draw.even], found.holdout.back[: draw.even], *usual)

    def _line(self, name: str, scores: Sequence[dict[str, Score]]) -> Line:
        validity, table = self._read[name]
        told, each = violations(table, self._known)
        figures = _valid(validity)
        figures |= _figures([{"violations": told}] if self._known and table.rows else []) | _figures(scores)
        used = min(self._size, table.rows) if name in self._sets else 0
        return Line(name, validity.rows, used, figures, validity, each, validity.rows)

    def _reference(self, name: str, scores: Sequence[dict[str, Score]]) -> Line:
        figures = _figures(scores)
        if name == REAL_ALL:
            return Line(name, self._train.table.rows, self._train.table.rows, figures)
        rows = self._other if name == REAL else self._shuffled(derive_seed("evaluate a table", 0))
        told, each = violations(rows.table, self._known)
        figures |= _figures([{"violations": told}] if self._known else [])
        judged = self._tested_validity.rows if name == REAL else 0
        figures |= _valid(self._tested_validity) if judged else {}
        return Line(name, rows.table.rows, self._size, figures, None, each, judged)

    # --- rows -------------------------------------------------------------------------------------------

    def _set(self, name: str, table: Table) -> _Set:
        labels = self._task.labels(table) if self._task else np.full(table.rows, np.nan)
        return _Set(name, table, self._encoder(table), labels)

    def _checked(self, rows: Rows) -> tuple[Validity, Table]:
        if isinstance(rows, Table) and rows.schema != self._schema:
            rows = [rows.schema.row(rows.row(number)) for number in range(rows.rows)]
        return checked(self._schema, self._rules, rows)

    def _real(self, name: str, rows: Rows) -> tuple[Validity, Table]:
        """What is wrong with real rows, and those that can be read in the order of their hashes."""
        found, table = self._checked(rows)
        if table.rows < found.rows:
            self.notes.append(
                f"{name}: {found.rows - table.rows:,} of {found.rows:,} hold unknown categories or cannot be read; left out."
            )
        return found, canonical(table)

    def _tested(self, test: _Set) -> Learner | None:
        return None if self._task is None else Learner(self._task, self._encoder, test.encoded, test.labels, self._jobs)

    def _shuffled(self, seed: int) -> _Set:
        """The training rows with every column shuffled on its own."""
        random = np.random.default_rng(seed)
        table = self._train.table
        cells = {name: [column[at] for at in random.permutation(table.rows)] for name, column in table.cells.items()}
        return self._set(SHUFFLED, Table(table.schema, cells, table.rows))

    def _note_known(self, name: str, table: Table) -> None:
        """Say it where real rows that no generator should have seen are training rows, more often than by chance."""
        keys = self._train.encoded.keys
        known = int(np.isin(row_keys(table), keys).sum())
        counts = np.unique(keys, return_counts=True)[1]
        twice = int(counts[counts > 1].sum())
        if known > near.most_by_chance(table.rows, twice, len(keys)):
            self.notes.append(
                f"{name}: {known:,} of {table.rows:,} ({known / table.rows:.1%}) equal a training row, while {twice / len(keys):.1%} "
                "of the training rows equal another: figures that rest on unseen rows hide copying and flatter models."
            )

    def _note_sizes(self, usable: Mapping[str, int]) -> None:
        for name, (found, table) in self._read.items():
            if table.rows < found.rows:
                self.notes.append(
                    f"{name}: {found.rows - table.rows:,} of {found.rows:,} rows hold unknown categories or cannot be read; all but validity rests on the others."
                )
            if table.rows < FEWEST:
                self.notes.append(
                    f"{name}: {table.rows} readable rows are too few: only validity and dependencies are counted."
                )
        if any(count > self._size for count in usable.values()) or self._train.table.rows > self._size:
            self.notes.append(
                f"all sets are measured at {self._size:,} rows, drawn by seed, as no more are in the smallest."
            )
        fresh, other, train = (len(each.encoded) for each in (self._fresh, self._other, self._train))
        if fresh < min(self._size, near.MOST_ROWS):
            self.notes.append(
                f"hold-out: only {fresh:,} real rows to compare {self._size:,} rows with; as many of both are used for detection."
            )
        if other < min(self._size, near.MOST_ROWS):
            self.notes.append(f"test rows: only {other:,} real rows stand for {self._size:,} in '{REAL}'.")
        known, held = min(train, near.MOST_ROWS), min(fresh, near.MOST_ROWS)
        if known != held:
            self.notes.append(
                f"distances are to {known:,} training rows and to {held:,} held-out rows: the nearest of more rows is nearer. "
                "'closer' and the ratio of distances allow for that; attacks take as many of both."
            )
        if self._size < SMALL:
            self.notes.append(f"n = {self._size}: figures and intervals say little.")
        if max(self._size, self._train.table.rows) > near.MOST_ROWS:
            self.notes.append(
                f"distances are taken between at most {near.MOST_ROWS:,} rows on each side, drawn by seed: what was "
                "copied from training rows that are not drawn shows in 'copies' alone."
            )


class _Draw:
    """Real rows of one seed: members and others for distances, and how common the first of them, as many of both, are."""

    def __init__(self, train: _Set, fresh: _Set, other: _Set, seed: int) -> None:
        self.fresh = fresh.encoded
        self.members = train.encoded.take(_drawn(len(train.encoded), near.MOST_ROWS, seed))
        self.others = fresh.encoded.take(_drawn(len(fresh.encoded), near.MOST_ROWS, seed))
        self.even = min(len(self.members), len(self.others))
        further = other.encoded.take(_drawn(len(other.encoded), self.even, seed))
        first = np.arange(self.even)
        members, others = self.members.take(first), self.others.take(first)
        self.usual = near.nearest(members, further).first, near.nearest(others, further).first


def _drawn(rows: int, size: int, seed: int) -> Ints:
    """Some rows in random order; all of them where there are no more."""
    return np.random.default_rng(derive_seed("rows", seed, rows)).permutation(rows)[:size]


def _valid(found: Validity) -> dict[str, Figure]:
    """Shares of rows without faults; they have no seeds."""
    if not found.rows:
        return {}
    shares = {key: share_of(round(getattr(found, key) * found.rows), found.rows) for key in VALIDITY}
    return _figures([shares])


def _figures(scores: Sequence[dict[str, Score]]) -> dict[str, Figure]:
    """Mean and interval of what every seed has measured, in the order of `METRICS`."""
    keys = [key for key in METRICS if scores and all(key in each for each in scores)]
    return {
        key: over_seeds([each[key] for each in scores], least=METRICS[key].least, most=METRICS[key].most)
        for key in keys
    }
