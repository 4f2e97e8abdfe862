"""New rows of a table from a variational autoencoder for tables (TVAE), the common baseline.

With `table: {path: sklearn:iris}` and `rows: 100` a hundred rows such as `{"sepal length (cm)": 5.4, …, "species":
"versicolor"}` follow whatever comes in. An autoencoder of one hidden size, with numbers split into the modes of a mixture
(Xu et al. 2019, arXiv 1907.00503, section 4.5 and appendix); our own, see `factory.tables.tvae`. What it decodes is put
into the domain of its column; conditions and constraints are kept by drawing again, which the run states, so rare
conditions cost much: `row_transformer` draws them directly. Free text cannot be learnt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
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
from factory.tables.tvae import Tvae, TvaeSettings

VERSION = 2
NEEDS_RECORDS = False
ASKS = False
NEUTRAL = ("rows",)


class Options(SynthesisOptions):
    """Options of `tvae`.

    Attributes:
        table: The table to learn; that of the recipe by default.
        rows: Rows to make; as many as are learnt by default.
        where: Conditions by column, which every row keeps, e.g. `{income: ">50K", age: ">= 30"}`.
        balance: Shares of values by column, e.g. `{income: {">50K": 0.5, "<=50K": 0.5}}`.
        impute: Fill the gaps of a table instead of making new rows.
        batch_rows: Rows drawn at once, and lost at most when the run is killed.
        epochs: Passes over the table.
        train_rows: Rows of a training step.
        hidden: Width of the layers.
        latent: Numbers between encoder and decoder.
        learning_rate: Of Adam.
        weight_decay: L2 penalty.
    """

    batch_rows: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 2048
    epochs: Count = 300
    train_rows: Count = 500
    hidden: Count = 128
    latent: Count = 128
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 1e-5


check = check_without_text
columns = synthesis_columns
remarks = synthesis_remarks
files = synthesis_files


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the rows that are asked for."""
    settings = TvaeSettings(
        epochs=options.epochs,
        batch_rows=options.train_rows,
        hidden=options.hidden,
        latent=options.latent,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    learns = {"method": "tvae", "version": VERSION, **msgspec.structs.asdict(settings)}
    async for outcome in synthesize(records, ctx, options, Maker(Tvae(settings), learns)):
        yield outcome
