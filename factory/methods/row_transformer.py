"""New rows of a table from an any-order transformer over one token a cell: fast, and close to the real rows.

With `table: {path: sklearn:iris}` and `rows: 100` a hundred rows such as `{"sepal length (cm)": 5.4, …, "species":
"versicolor"}` follow whatever comes in. Each column is a vocabulary of its own: categories, frequent numbers, and bins of
the others, inside which a value is drawn by their shape; a small network learns to predict any cell from any others, so
that conditions, shares and gaps need no retry (after Yang et al. 2014 and Uria et al. 2014 for any-order training; for
tables, GReaT's random column orders, arXiv 2210.06280, without its text). See `factory.tables.row_transformer`. Take it for
tables of categories, numbers and dates; `great` for free text, tiny tables and transfer from a language model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, model_validator

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
from factory.tables.row_transformer import RowTransformer, Settings

VERSION = 1
DEFAULT = Settings()
NEEDS_RECORDS = False
ASKS = False
NEUTRAL = ("rows",)


class Options(SynthesisOptions):
    """Options of `row_transformer`.

    Attributes:
        table: The table to learn; that of the recipe by default.
        rows: Rows to make; as many as are learnt by default.
        where: Conditions by column, which every row keeps, e.g. `{income: ">50K", age: ">= 30"}`.
        balance: Shares of values by column, e.g. `{income: {">50K": 0.5, "<=50K": 0.5}}`.
        impute: Fill the gaps of a table instead of making new rows.
        batch_rows: Rows drawn at once, and lost at most when the run is killed.
        hidden_size: Width of the network, a multiple of `heads`.
        layers: Transformer blocks.
        heads: Attention heads of each.
        bins: Most quantile bins of a column; frequent values have tokens of their own besides.
        epochs: Most passes over the training rows.
        fewest_steps: Fewest updates that the passes over a small table are raised to.
        cells: Most cells that are learnt from, over all passes; bounds the time for large tables.
        patience: Passes without a better held-out loss after which training ends.
        train_rows: Rows of an update.
        learning_rate: Highest rate of AdamW.
        weight_decay: Of AdamW.
        dropout: Share of the activations that is dropped in training.
        stop_on: Share of the learned rows that decides when to stop.
        temperature: Divides the logits when rows are drawn; below 1 the likely becomes likelier.
        order: Whether cells are drawn in random orders, or as the columns stand.
    """

    batch_rows: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 2048
    hidden_size: Count = DEFAULT.hidden_size
    layers: Count = DEFAULT.layers
    heads: Count = DEFAULT.heads
    bins: Count = DEFAULT.bins
    epochs: Count = DEFAULT.epochs
    fewest_steps: Count = DEFAULT.fewest_steps
    cells: Count = DEFAULT.cells
    patience: Count = DEFAULT.patience
    train_rows: Count = DEFAULT.batch_rows
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = DEFAULT.learning_rate
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = DEFAULT.weight_decay
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = DEFAULT.dropout
    stop_on: Annotated[float, Field(gt=0.0, le=0.5)] = DEFAULT.held_out
    temperature: Annotated[float, Field(gt=0.0, le=5.0)] = DEFAULT.temperature
    order: Literal["random", "fixed"] = DEFAULT.order

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size: expected a multiple of heads ({self.heads})")
        return self


check = check_without_text
columns = synthesis_columns
remarks = synthesis_remarks
files = synthesis_files


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield what comes in, then the rows that are asked for."""
    settings = Settings(
        hidden_size=options.hidden_size,
        layers=options.layers,
        heads=options.heads,
        bins=options.bins,
        epochs=options.epochs,
        fewest_steps=options.fewest_steps,
        cells=options.cells,
        patience=options.patience,
        batch_rows=options.train_rows,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        dropout=options.dropout,
        held_out=options.stop_on,
        temperature=options.temperature,
        order=options.order,
    )
    learns = {"method": "row_transformer", "version": VERSION, **msgspec.structs.asdict(settings)}
    draws = {name: learns.pop(name) for name in ("temperature", "order")}
    async for outcome in synthesize(records, ctx, options, Maker(RowTransformer(settings), learns, draws)):
        yield outcome
