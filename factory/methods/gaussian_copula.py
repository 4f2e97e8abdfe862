"""New rows of a table from a Gaussian copula: its columns, tied by pairwise correlations.

With `table: {path: sklearn:iris}` and `rows: 100` a hundred rows such as `{"sepal length (cm)": 5.4, …, "species":
"versicolor"}` follow whatever comes in. It learns in seconds and knows of nothing but pairs of columns that rise and fall
together, which makes it the baseline that other methods must beat; see `factory.tables.gaussian_copula` (Nelsen 2006).
Cells are always in their column's domain, conditions and constraints are kept; free text cannot be learnt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from factory.context import Context
from factory.context.synthesis import Maker, synthesize
from factory.context.wanting import (
    SynthesisOptions,
    check_without_text,
    synthesis_columns,
    synthesis_files,
    synthesis_remarks,
)
from factory.recipe.schema import Count
from factory.records import Outcome, Record
from factory.tables.gaussian_copula import CopulaSettings, GaussianCopula

VERSION = 1
NEEDS_RECORDS = False
ASKS = False
NEUTRAL = ("rows",)


class Options(SynthesisOptions):
    """Options of `gaussian_copula`.

    Attributes:
        table: The table to learn; that of the recipe by default.
        rows: Rows to make; as many as are learnt by default.
        where: Conditions by column, which every row keeps, e.g. `{income: ">50K", age: ">= 30"}`.
        balance: Shares of values by column, e.g. `{income: {">50K": 0.5, "<=50K": 0.5}}`.
        impute: Fill the gaps of a table instead of making new rows.
        batch_rows: Rows drawn at once, and lost at most when the run is killed.
        sweeps: How often the scores are drawn anew while the correlations are learnt.
        learn_rows: Most rows that the correlations are learnt from; the columns are learnt from all.
    """

    batch_rows: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 2048
    sweeps: Count = 30
    learn_rows: Count = 20_000


check = check_without_text
columns = synthesis_columns
remarks = synthesis_remarks
files = synthesis_files


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the rows that are asked for."""
    settings = CopulaSettings(sweeps=options.sweeps, rows=options.learn_rows)
    learns = {"method": "gaussian_copula", "version": VERSION, "sweeps": settings.sweeps, "rows": settings.rows}
    async for outcome in synthesize(records, ctx, options, Maker(GaussianCopula(settings), learns)):
        yield outcome
