"""Which rows a method for tables is asked for: how many, under which conditions, in which shares, or with which gaps.

`{rows: 1000, where: {age: ">= 30"}, balance: {income: {">50K": 0.5, "<=50K": 0.5}}}` is a thousand slots, in half of which
the income is ">50K", in all of which the age is at least 30. With `impute` there is a slot for each row of a table, whose
given cells stay as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from factory.datasets_io.rows import read_rows
from factory.draws import Candidates
from factory.errors import OptionError, SourceError, UserError
from factory.recipe.columns import Column
from factory.recipe.schema import Count, Fraction, StepOptions, Strict
from factory.recipe.tables import LoadedTable, TableSource, check_table, named_rows
from factory.records import Provenance, Record, digest
from factory.resources import find
from factory.tables.column import CellError, Value
from factory.tables.column import Column as ColumnOfTable
from factory.tables.conditions import conditions, shares
from factory.tables.domain import Cell, Domain, just
from factory.tables.identifiers import IdentifierError, fresh
from factory.tables.rules import Rules
from factory.tables.schema import Schema
from factory.tables.synthesizer import Want

MOST_CHECKED = 100_000  # identifiers that `factory check` makes up to see whether there is room for them
Parts = list[tuple[Domain, float]]
Condition = str | int | float | bool | None | list[str | int | float | bool | None]


class Gaps(Strict):
    """A table whose missing cells are to be filled.

    Attributes:
        path: File or folder; the learned rows themselves where it is not given.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV.
        first: Only so many rows.
    """

    path: Annotated[str, Field(min_length=1)] | None = None
    header: tuple[Column, ...] | None = None
    quotes: bool = True
    first: Count | None = None

    @model_validator(mode="after")
    def _of_a_file(self) -> Self:
        if self.path is None and (self.header is not None or not self.quotes):
            raise ValueError("impute: 'header' and 'quotes' tell of the file in 'path', which is not given")
        return self


class SynthesisOptions(StepOptions):
    """Options that every method for tables has.

    Attributes:
        table: The table to learn; that of the recipe by default.
        rows: Rows to make; as many as are learnt by default.
        where: Conditions by column, which every row keeps.
        balance: Shares of values by column.
        impute: Fill the gaps of a table instead of making new rows.
        batch_rows: Rows drawn at once, and lost at most when the run is killed.
    """

    table: TableSource
    rows: Count | None = None
    where: dict[str, Condition] = Field(default={})
    balance: dict[str, dict[str, Fraction]] = Field(default={})
    impute: Gaps | None = None
    batch_rows: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 256

    @model_validator(mode="after")
    def _either_new_rows_or_gaps(self) -> Self:
        if self.impute is not None and (self.rows is not None or self.where or self.balance):
            raise ValueError("impute: gives each row of its table once; leave out 'rows', 'where' and 'balance'")
        return self


@dataclass(frozen=True)
class Slot:
    """A row that is wanted.

    Attributes:
        number: Its place among them, from 0.
        want: How it must be.
        given: Values that stay as they are, by column.
        cells: The same as cells, as far as they are of the kind of their column; also those that no learned row has.
        parent: The row of the user that is completed.
    """

    number: int
    want: Want
    given: Mapping[str, Value] = field(default_factory=dict)
    cells: Mapping[str, Cell] = field(default_factory=dict)
    parent: Record | None = None

    def draws(self, columns: Iterable[str]) -> bool:
        """Whether any of these columns is drawn, and not given."""
        return any(column not in self.given for column in columns)


def check_synthesis(options: SynthesisOptions, base: Path) -> list[UserError]:
    """Whether the table can be read and its conditions can be met."""
    problems = check_table(options.table, base)
    if problems:
        return problems
    loaded = options.table.load(base)
    found: list[UserError] = []
    for name, check in (("where", _where), ("balance", _balance)):
        try:
            check(options, loaded)
        except UserError as error:
            found.append(OptionError(name, str(error)))
    if found:
        return found
    try:
        wanted = slots(options, loaded, base, 0)
    except OptionError as error:
        return [error]
    try:
        for column in loaded.schema.columns:
            if column.kind == "identifier":
                fresh(column, known_identifiers(column, loaded, wanted), min(len(wanted), MOST_CHECKED), 0)
    except IdentifierError as error:
        return [OptionError("rows" if options.impute is None else "impute", str(error))]
    return []


def check_without_text(options: SynthesisOptions, base: Path) -> list[UserError]:
    """The same for a method that cannot learn free text."""
    problems = check_synthesis(options, base)
    if problems:
        return problems
    written = [column.name for column in options.table.load(base).schema.learned if column.kind == "text"]
    if not written:
        return []
    named = ", ".join(f"'{name}'" for name in written)
    return [
        OptionError(
            "table.path",
            f"{named}: free text, which this method cannot learn; take the method 'great', leave the column out with "
            "'only', or, if it is no free text, say so: 'columns: {…: {kind: category}}'.",
        )
    ]


def known_identifiers(
    column: ColumnOfTable, loaded: LoadedTable, wanted: Iterable[Slot], more: Iterable[Value] = ()
) -> list[Cell]:
    """Identifiers that are somebody's: those learned, those held out, those given in rows with gaps, and more."""
    held_out = (row.get(column.name) for row in loaded.held_out)
    given = (slot.given.get(column.name) for slot in wanted)
    found = list(loaded.table.cells[column.name])
    for value in itertools.chain(held_out, given, more):
        try:
            found.append(column.cell(value))
        except CellError:
            continue  # of another kind, so that none that is made up is like it
    return [cell for cell in found if cell is not None]


def synthesis_columns(options: SynthesisOptions, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows: those that come in, and those of the table."""
    return set(options.table.load(base).schema.names) | (incoming or set())


def synthesis_remarks(options: SynthesisOptions, base: Path) -> list[str]:
    """What the columns of the table hold."""
    loaded = options.table.load(base)
    return [*(f"column {line}" for line in loaded.described()), *loaded.notes]


def synthesis_files(options: SynthesisOptions, base: Path) -> list[Path]:
    """Files whose content decides what is made."""
    gaps = [] if options.impute is None or options.impute.path is None else [_gaps_path(options.impute, base)]
    return [options.table.find(base), *gaps]


def _where(options: SynthesisOptions, loaded: LoadedTable) -> dict[str, Domain]:
    return conditions(loaded.schema, options.where)


def _balance(options: SynthesisOptions, loaded: LoadedTable) -> list[Parts]:
    """For each column its parts, as restrictions with their shares."""
    found: list[Parts] = []
    for name, parts in options.balance.items():
        wanted: dict[object, float] = {value: share for value, share in parts.items()}  # texts as keys of any kind
        found.append([(domains[name], share) for domains, share in shares(loaded.schema, {name: wanted})])
    return found


def slots(options: SynthesisOptions, loaded: LoadedTable, base: Path, seed: int) -> list[Slot]:
    """All rows that are wanted.

    Raises:
        OptionError: If a condition can never be met, or the table with gaps cannot be read.
    """
    if options.impute is not None:
        return list(_gaps(options, options.impute, loaded, base))
    count = options.rows or loaded.table.rows
    where = _where(options, loaded)
    rules = loaded.rules()
    names, balance = list(options.balance), _balance(options, loaded)
    _possible(rules, where, "where")
    combinations = [
        tuple(parts[at][0] for parts, at in zip(balance, row, strict=True)) for row in _spread(balance, count)
    ]
    wants: dict[tuple[Domain, ...], Want] = {}
    for combination in dict.fromkeys(combinations):
        both = {name: domain & where.get(name, domain) for name, domain in zip(names, combination, strict=True)}
        _possible(rules, {**where, **both}, "balance")
        wants[combination] = Want({**where, **both})
    order = Candidates(digest("slot", seed, number) for number in range(count)).draw("slots", count)
    return [Slot(number, wants[combinations[place]]) for number, place in enumerate(order)]


def _possible(rules: Rules, wanted: Mapping[str, Domain], option: str) -> None:
    for column in rules.schema.learned:
        if rules.narrow(column.name, {}, wanted).empty:
            names = ", ".join(wanted) or column.name
            raise OptionError(
                option,
                f"no row can be like that: nothing is left for the column '{column.name}' (conditions on {names}).",
            )


def _spread(balance: Sequence[Parts], count: int) -> list[tuple[int, ...]]:
    """For each of so many rows the part that it falls into, by column.

    Every column has its own shares, by largest remainder; and each column's parts are spread evenly over the rows as they
    are sorted by the columns before it, so that combinations come as often as the product of their shares says, nearly.

    >>> _spread([[("a", 0.5), ("b", 0.5)], [("c", 0.5), ("d", 0.5)]], 4)
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    rows: list[tuple[int, ...]] = [()] * count
    for parts in balance:
        exact = [share * count for _, share in parts]
        counts = [int(number) for number in exact]
        by_remainder = sorted(range(len(parts)), key=lambda part: (counts[part] - exact[part], part))
        for part in by_remainder[: count - sum(counts)]:
            counts[part] += 1
        places = [((at + 0.5) / number, part) for part, number in enumerate(counts) for at in range(number)]
        rows = sorted((*row, part) for row, (_, part) in zip(rows, sorted(places), strict=True))
    return rows


# --- gaps ---------------------------------------------------------------------------------------------


def _gaps_path(gaps: Gaps, base: Path) -> Path:
    found = find(str(gaps.path), base)
    if found is None:
        raise OptionError(
            "impute.path",
            f"{gaps.path}: no such file or folder (looked beside the recipe and in the working directory).",
        )
    return found


def _gaps(options: SynthesisOptions, gaps: Gaps, loaded: LoadedTable, base: Path) -> Iterable[Slot]:
    """A slot for each row of the table with gaps."""
    if gaps.path is None:
        rows: Iterable[tuple[str, Mapping[str, Any]]] = (
            (name, loaded.schema.row(loaded.table.row(index))) for index, name in enumerate(loaded.ids)
        )
    else:
        path = _gaps_path(gaps, base)
        rows = named_rows(read_rows(path, gaps.header, quotes=gaps.quotes))
    provenance = Provenance(step="impute", method="rows")
    rules = loaded.rules()
    number = -1
    try:
        for number, (name, row) in enumerate(islice(rows, gaps.first)):
            given, cells = _given(row, loaded.schema)
            yield Slot(number, Want(_wanted(cells, rules)), given, cells, Record(name, dict(row), provenance))
    except SourceError as error:
        raise OptionError("impute.path", str(error)) from error
    if number < 0:
        raise OptionError("impute.path", f"{gaps.path}: no rows; expected a table whose gaps are to be filled.")


def _given(row: Mapping[str, Any], schema: Schema) -> tuple[dict[str, Value], dict[str, Cell]]:
    """Cells of a row that are there: as values, and as cells where they are of the kind of their column."""
    given: dict[str, Value] = {}
    cells: dict[str, Cell] = {}
    for name, value in row.items():
        column = schema.named.get(name)
        if column is None:
            given[name] = value
            continue
        try:
            cell = column.cell(value)
        except CellError:
            given[name] = value
            continue
        if cell is None:
            continue
        given[name] = column.value(cell)
        if column.kind != "identifier":
            cells[name] = cell
    return given, cells


def _wanted(cells: Mapping[str, Cell], rules: Rules) -> dict[str, Domain]:
    """What cells that are given ask of a row.

    A value that no learned row has (a greater number) plays a part as the nearest value that the model knows; what is
    drawn beside it is held to the value itself.
    """
    schema = rules.schema
    known = {name: _nearest(cell, schema.named[name].domain) for name, cell in cells.items()}
    wanted = {name: just(cell) for name, cell in known.items()}
    if known != cells:
        for column in schema.learned:
            if column.name in rules.linked and column.name not in cells:
                domain = rules.narrow(column.name, cells)
                if not domain.empty:
                    wanted[column.name] = domain
    return wanted


def _nearest(cell: Cell, domain: Domain) -> Cell:
    if not isinstance(cell, int) or domain.holds(cell) or not domain.intervals:
        return cell
    return min(max(cell, domain.intervals[0][0]), domain.intervals[-1][1])
