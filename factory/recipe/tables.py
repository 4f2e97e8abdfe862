"""A table that an option names: where it lies, what its columns hold, what every row keeps, which rows are never learned.

    table: {path: adult.csv, sample: 2000, target: income, constraints: ["education -> education-num"]}

`source.load(base)` reads it, infers its schema, sets the rows aside that no model may see (`held_out`, and what `sample`
leaves) and checks that the rest keeps the constraints. Which rows are drawn depends on their content alone, never on
their place in the file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from factory.datasets_io.rows import other_delimiter, read_rows
from factory.draws import Candidates
from factory.errors import OptionError, SourceError, UserError
from factory.recipe.columns import Column
from factory.recipe.schema import Count, Strict
from factory.recipe.suggest import did_you_mean
from factory.records import source_id
from factory.resources import find
from factory.tables.column import CellError, Kind
from factory.tables.correcting import Correction
from factory.tables.describing import describe
from factory.tables.inferring import infer
from factory.tables.relations import Constraints, impossible, relations
from factory.tables.relations import check as check_relations
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table, table_of

SKLEARN = "sklearn:"
SHIPPED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
Row = dict[str, Any]


class ColumnOptions(Strict):
    """What is known better of a column than its values show.

    Attributes:
        kind: What it holds.
        low: Least value.
        high: Greatest value.
        places: Digits behind the point.
        form: Pattern of a date, as `strftime` has it.
        categories: All categories, also those that no row has.
        nullable: Whether cells may be missing.
    """

    kind: Kind | None = None
    low: str | int | float | None = None
    high: str | int | float | None = None
    places: Annotated[int, Field(ge=0, le=10)] | None = None
    form: str | None = None
    categories: tuple[str | int | float | bool, ...] = ()
    nullable: bool | None = None

    def correction(self) -> Correction:
        """The same, as `factory.tables` takes it."""
        return Correction(**self.model_dump())


class TableSource(Strict):
    """A table of the user.

    Attributes:
        path: File or folder, relative to the recipe or the working directory; `sklearn:iris` and its like are tables that
            scikit-learn ships.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV.
        first: Read only so many rows.
        sample: Learn only so many rows, drawn by their content.
        held_out: Share of the rows that no model sees, for evaluation; what `sample` leaves is held out too.
        target: Column that is to be predicted from the others, for evaluation.
        only: Columns to take; all by default.
        columns: What is known better of a column than its values show, by name.
        missing: Words that stand for a missing cell besides an empty one, e.g. `[NA, "?"]`.
        constraints: What every row keeps: `a <= b`, `a + b = total`, `city -> country`, `unique(id)`.
        private: Whether the rows may not be shown to anybody; no method for tables protects them, so this is refused.
    """

    path: Annotated[str, Field(min_length=1)]
    header: tuple[Column, ...] | None = None
    quotes: bool = True
    first: Count | None = None
    sample: Count | None = None
    held_out: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target: Column | None = None
    only: Annotated[list[Column], Field(min_length=1)] | None = None
    columns: dict[str, ColumnOptions] = Field(default={})
    missing: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    private: bool = False

    def find(self, base: Path) -> Path:
        """The file or folder.

        Raises:
            SourceError: If there is none.
        """
        if self.path.startswith(SKLEARN):
            return _sklearn_file(self.path.removeprefix(SKLEARN))
        found = find(self.path, base)
        if found is None:
            raise SourceError(
                f"{self.path}: no such file or folder (looked beside the recipe and in the working directory)."
            )
        return found

    def load(self, base: Path) -> LoadedTable:
        """The table, read once for the same content.

        Raises:
            OptionError: With the option (below `table`) that does not fit the table.
        """
        if self.private:
            raise OptionError(
                "private",
                "no method for tables protects private rows yet: what it gives out may hold parts of them. Take a table "
                "that may be shared.",
            )
        try:
            path = self.find(base)
            stamp = path.stat()
        except (SourceError, OSError) as error:
            raise OptionError("path", str(error)) from error
        return _loaded(self.model_dump_json(), path, stamp.st_size, stamp.st_mtime_ns)


@dataclass(frozen=True)
class LoadedTable:
    """A table, ready to be learnt.

    Attributes:
        path: Where it lies.
        table: The rows to learn, with their schema.
        ids: Their ids, as the source `rows` would give them.
        held_out: Rows that no model sees, as values.
        constraints: What every row keeps.
        notes: What to know of it.
        target: The column to be predicted, if one is named.
        name: What the table is called.
    """

    path: Path
    name: str
    table: Table
    ids: tuple[str, ...]
    held_out: tuple[Row, ...]
    constraints: Constraints
    notes: tuple[str, ...]
    target: str | None

    @property
    def schema(self) -> Schema:
        """What its columns hold."""
        return self.table.schema

    def rules(self) -> Rules:
        """What every row keeps, as generators ask for it."""
        return Rules(self.schema, self.constraints.relations)

    def described(self) -> list[str]:
        """A line for each column."""
        return describe(self.schema, self.table)


def check_table(source: TableSource, base: Path) -> list[UserError]:
    """What is wrong with the table, at the place of the option that says so."""
    try:
        source.load(base)
    except OptionError as error:
        return [OptionError(f"table.{error.option}", str(error))]
    return []


@lru_cache(maxsize=4)
def _loaded(options: str, path: Path, size: int, changed: int) -> LoadedTable:
    source = TableSource.model_validate_json(options)
    named = _read(source, path)
    learned, held_out = _parted(named, source)
    corrections = {name: each.correction() for name, each in source.columns.items()}
    try:
        found = infer([row for _, row in learned], corrections, missing=source.missing, origin=source.path)
    except UserError as error:
        raise OptionError("columns" if source.columns else "path", str(error)) from error
    if source.target is not None and source.target not in found.schema.named:
        raise _no_column("target", source.target, found.schema.names)
    try:
        constraints = relations(found.schema, found.table, source.constraints)
        check_relations(constraints, found.table, path.name)
        problems = impossible(Rules(found.schema, constraints.relations))
    except UserError as error:
        raise OptionError("constraints", str(error)) from error
    if problems:
        raise OptionError("constraints", " ".join(problems))
    ids = tuple(name for name, _ in learned)
    called = source.path.removeprefix(SKLEARN) if source.path.startswith(SKLEARN) else path.name
    return LoadedTable(
        path, called, found.table, ids, tuple(row for _, row in held_out), constraints, found.notes, source.target
    )


def _read(source: TableSource, path: Path) -> list[tuple[str, Row]]:
    """Rows with their ids, cut down to the columns that are taken."""
    try:
        rows: Iterable[Row]
        if source.path.startswith(SKLEARN):
            rows = _sklearn_rows(source.path.removeprefix(SKLEARN))
        else:
            rows = read_rows(path, source.header, quotes=source.quotes)
        named = list(named_rows(islice(rows, source.first)))
    except SourceError as error:
        raise OptionError("path", str(error)) from error
    if not named:
        raise OptionError("path", f"{path}: has no rows; expected at least one.")
    names = list(dict.fromkeys(name for _, row in named for name in row))
    for column in (*(source.only or ()), *source.columns):
        if column not in names:
            raise _no_column("only" if column in (source.only or ()) else "columns", column, names)
    if len(names) == 1 and (hint := other_delimiter(names[0])):
        raise OptionError(
            "path", f"{path}: one column, '{names[0]}': the cells seem to be parted by {hint}; part them by commas."
        )
    if source.only is None:
        return named
    return [(name, {column: row.get(column) for column in source.only}) for name, row in named]


def named_rows(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with their ids, as the source `rows` gives them."""
    seen: Counter[str] = Counter()
    for row in rows:
        name = source_id(row, 0)
        seen[name] += 1
        yield (name if seen[name] == 1 else source_id(row, seen[name] - 1)), row


def _parted(named: list[tuple[str, Row]], source: TableSource) -> tuple[list[tuple[str, Row]], list[tuple[str, Row]]]:
    """Rows to learn and rows held out, each in the order of the file."""
    learn = len(named) - round(source.held_out * len(named))
    if source.sample is not None:
        learn = min(learn, source.sample)
    if not learn:
        raise OptionError("held_out", f"nothing of {len(named):,} rows is left to learn; hold out a smaller share.")
    chosen = set(Candidates(name for name, _ in named).draw("learned rows", learn))
    learned = [each for position, each in enumerate(named) if position in chosen]
    return learned, [each for position, each in enumerate(named) if position not in chosen]


def _no_column(option: str, name: str, names: Iterable[str]) -> OptionError:
    known = list(names)
    return OptionError(option, f"no column '{name}'{did_you_mean(name, known)}; the table has {', '.join(known)}.")


def fitting(schema: Schema, rows: Iterable[Mapping[str, Any]]) -> tuple[Table, int]:
    """Rows that the schema can hold, and how many it cannot, e.g. with a category that no learned row has."""
    held, left_out = [], 0
    for row in rows:
        try:
            schema.cells(row)
        except CellError:
            left_out += 1
        else:
            held.append(row)
    return table_of(schema, held), left_out


# --- tables that scikit-learn ships -------------------------------------------------------------------


def _sklearn_file(name: str) -> Path:
    """Some file that stands for the table, so that it has a size and a time."""
    if name not in SHIPPED:
        raise SourceError(
            f"{SKLEARN}{name}: no such table{did_you_mean(name, SHIPPED)}; there are {', '.join(SHIPPED)}."
        )
    import sklearn.datasets

    return Path(sklearn.datasets.__file__)


@lru_cache(maxsize=2)
def _sklearn_rows(name: str) -> list[Row]:
    """Rows of a table that scikit-learn ships, with the names of its classes."""
    import sklearn.datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, f"load_{name}")(**options)
    classes = None if name in ("diabetes", "digits") else [str(each) for each in bunch.target_names]
    label = {"iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis"}.get(name, "target")
    names = [str(each) for each in bunch.feature_names]
    rows = []
    for features, target in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True):
        last = classes[target] if classes is not None else target
        rows.append({**dict(zip(names, features, strict=True)), label: last})
    return json.loads(json.dumps(rows))  # type: ignore[no-any-return]  # plain numbers
