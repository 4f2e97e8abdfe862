"""Pass every row on, and compare them all with the real table at the end, on one page of figures.

Behind `row_transformer` and `tvae` steps, `{"age": 39, …, "income": "<=50K"}` goes on as it is, and the run notes for each
of the two "row_transformer (2,000 rows): valid 1.000, ROC AUC of a random forest 0.88 [0.87, 0.89], told from real rows
0.56, …" beside real rows and shuffled columns; `artifacts/evaluate_table/` holds all figures as JSON and the page as HTML.
The figures are those of `factory evaluate --target`, see `factory.evaluation.tables`.

Real rows that no model saw are those that `table.held_out` and `table.sample` leave, and those of `test` if it is given.
Belongs last, as `evaluate` does; a plan measures nothing. Rows are kept in memory.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field

from factory.context import Context
from factory.context.making import Say
from factory.datasets_io.rows import read_rows
from factory.datasets_io.whole import write_whole
from factory.errors import DiskError, OptionError, SourceError, UserError
from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables.compare import TableEvaluation, compare
from factory.evaluation.tables.distributions import distributions
from factory.evaluation.tables.page import page
from factory.recipe.columns import Column
from factory.recipe.schema import StepOptions, Strict
from factory.recipe.tables import LoadedTable, TableSource, check_table
from factory.records import Outcome, Record, digest
from factory.resources import find

VERSION = 2
FEWEST_REAL = 40
TOLD = {
    "valid": "valid",
    "forest.auc": "random forest trained on them ROC AUC",
    "forest.r2": "random forest trained on them R2",
    "detection_auc": "told from real rows AUC",
    "closer": "closer to learned rows than to held-out ones",
    "copies": "copies",
    "attack": "membership attack AUC",
}
Row = Mapping[str, Any]


class TestRows(Strict):
    """Real rows that no model saw.

    Attributes:
        path: File or folder with the columns of the table.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV.
    """

    path: Annotated[str, Field(min_length=1)]
    header: tuple[Column, ...] | None = None
    quotes: bool = True


class Options(StepOptions):
    """Options of the `evaluate_table` step.

    Attributes:
        table: The real table; that of the recipe by default.
        test: Real rows to test on; by default those of the table that no model saw.
        by: Column whose values are compared; by default the step that made a row.
        seeds: How often everything is measured, with other samples, folds and models.
    """

    table: TableSource
    test: TestRows | None = None
    by: Column | None = None
    seeds: Annotated[int, Field(ge=1, le=100, strict=True)] = 3


def check(options: Options, base: Path) -> list[UserError]:
    """Whether there are real rows to compare with."""
    problems = check_table(options.table, base)
    if problems:
        return problems
    loaded = options.table.load(base)
    try:
        real = len(_test(options, loaded, base))
    except OptionError as error:
        return [error]
    if real < FEWEST_REAL:
        option = "table.held_out" if options.test is None else "test.path"
        return [
            OptionError(
                option,
                f"{real:,} real rows that no model sees; expected at least {FEWEST_REAL} to compare with: raise "
                "'held_out', or name a file of them as 'test'.",
            )
        ]
    return []


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns."""
    return incoming


def files(options: Options, base: Path) -> list[Path]:
    """Real rows."""
    return [options.table.find(base), *([] if options.test is None else [_path(options.test, base)])]


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield each record; compare them when there are no more."""
    sets: dict[str, list[Row]] = defaultdict(list)
    async for record in records:
        name = record.provenance.step if options.by is None else str(record.fields.get(options.by))
        sets[name].append(record.fields)
        yield record
    if ctx.planning:
        return
    try:
        await _compare(sets, ctx, options)
    except UserError as error:  # what cannot be measured ends no run
        ctx.note(f"nothing was evaluated: {error}")


async def _compare(sets: Mapping[str, Sequence[Row]], ctx: Context, options: Options) -> None:
    loaded = options.table.load(ctx.base)
    test = _test(options, loaded, ctx.base)

    def make(say: Say) -> bytes:
        return msgspec.json.encode(
            compare(
                sets,
                loaded.table,
                test,
                loaded.held_out if options.test is not None and len(loaded.held_out) >= FEWEST_REAL else None,
                loaded.rules(),
                loaded.target,
                seeds=options.seeds,
                say=say,
            )
        )

    key = digest("table evaluation", VERSION, repr(sorted(sets.items())), repr(loaded.table), repr(test), options.seeds)
    found = msgspec.json.decode(await ctx.artifact(key, make, kind="evaluation"), type=TableEvaluation)
    for sentence in sentences(found):
        ctx.note(sentence)
    if ctx.folder is not None:
        drawn = await asyncio.to_thread(distributions, sets, loaded.table)
        _write(ctx.folder, found, page(found, drawn, f"{loaded.name}: synthetic rows compared"))
        ctx.note(f"all figures and the page: artifacts/{ctx.step}/evaluation.json and page.html")


def sentences(found: TableEvaluation) -> list[str]:
    """The main figures, one sentence for each set and line to compare with, then what to know."""
    said = []
    for line in found.lines:
        parts = [f"{shown} {_shown(line.figures[key])}" for key, shown in TOLD.items() if key in line.figures]
        if parts:
            said.append(f"{line.name} ({line.rows:,} rows): {', '.join(parts)}")
    return [*said, *found.notes]


def _shown(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _write(folder: Path, found: TableEvaluation, html: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{folder}: cannot be made ({error.strerror or error}).") from error
    write_whole(folder / "evaluation.json", msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    write_whole(folder / "page.html", html.encode("utf-8", "replace"))


def _path(test: TestRows, base: Path) -> Path:
    found = find(test.path, base)
    if found is None:
        raise OptionError(
            "test.path", f"{test.path}: no such file or folder (looked beside the recipe and in the working directory)."
        )
    return found


def _test(options: Options, loaded: LoadedTable, base: Path) -> Sequence[Row]:
    """Real rows to test on.

    Raises:
        OptionError: If they cannot be read.
    """
    if options.test is None:
        return loaded.held_out
    try:
        return list(read_rows(_path(options.test, base), options.test.header, quotes=options.test.quotes))
    except SourceError as error:
        raise OptionError("test.path", str(error)) from error
