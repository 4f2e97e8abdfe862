"""Which rows a method for tables is asked for: how many, under which conditions, in which shares, or with which gaps.

`{rows: 1000, where: {age: ">= 30"}, balance: {income: {">50K": 0.5, "<=50K": 0.5}}}` is a thousand slots, in half of which
the income is ">50K", in all of which the age is at least 30. With `impute` there is a slot for each row of a table, whose
given cells stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from factory.tables.conditions import conditions, shares
from factory.tables.domain import Cell, Domain, just
from factory.tables.rules import Rules
from factory.tables.schema import Schema
from factory.tables.synthesizer import Want

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
        parent: The row of the user that is completed.
    """

    number: int
    want: Want
    given: Mapping[str, Value] = field(default_factory=dict)
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
    if not found:
        try:
            slots(options, loaded, base, 0)
        except OptionError as error:
            found.append(error)
    return found


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


def _balance(options: SynthesisOptions, loaded: LoadedTable) -> list[tuple[Mapping[str, Domain], float]]:
    wanted: dict[str, dict[object, float]] = {
        name: {value: share for value, share in parts.items()}  # texts as keys of any kind
        for name, parts in options.balance.items()
    }
    return list(shares(loaded.schema, wanted))


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
    wants = []
    for domains, share in _balance(options, loaded) or [({}, 1.0)]:
        both = {**where, **{name: domain & where.get(name, domain) for name, domain in domains.items()}}
        _possible(rules, both, "balance" if domains else "where")
        wants.append((Want(both), share))
    return [Slot(number, want) for number, want in enumerate(_spread(wants, count, seed))]


def _possible(rules: Rules, wanted: Mapping[str, Domain], option: str) -> None:
    for column in rules.schema.learned:
        if rules.narrow(column.name, {}, wanted).empty:
            names = ", ".join(wanted) or column.name
            raise OptionError(
                option,
                f"no row can be like that: nothing is left for the column '{column.name}' (conditions on {names}).",
            )


def _spread(wants: list[tuple[Want, float]], count: int, seed: int) -> list[Want]:
    """So many wants in these shares, by largest remainder, in an order drawn from the seed."""
    if len(wants) == 1:
        return [wants[0][0]] * count
    exact = [share * count for _, share in wants]
    counts = [int(number) for number in exact]
    by_remainder = sorted(range(len(wants)), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: count - sum(counts)]:
        counts[index] += 1
    laid_out = [want for (want, _), number in zip(wants, counts, strict=True) for _ in range(number)]
    order = Candidates(digest("slot", seed, number) for number in range(len(laid_out))).draw("slots", len(laid_out))
    return [laid_out[index] for index in order]


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
    try:
        for number, (name, row) in enumerate(islice(rows, gaps.first)):
            given, want = _given(row, loaded.schema)
            yield Slot(number, Want(want), given, Record(name, dict(row), provenance))
    except SourceError as error:
        raise OptionError("impute.path", str(error)) from error


def _given(row: Mapping[str, Any], schema: Schema) -> tuple[dict[str, Value], dict[str, Domain]]:
    """Cells of a row that are there: as values, and as what they allow.

    A value that no learned row has (another category, a greater number) is kept, and plays a part in what is drawn as the
    nearest value that the model knows, or none.
    """
    given: dict[str, Value] = {}
    wanted: dict[str, Domain] = {}
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
            wanted[name] = just(_nearest(cell, column.domain))
    return given, wanted


def _nearest(cell: Cell, domain: Domain) -> Cell:
    if not isinstance(cell, int) or domain.holds(cell) or not domain.intervals:
        return cell
    return min(max(cell, domain.intervals[0][0]), domain.intervals[-1][1])
