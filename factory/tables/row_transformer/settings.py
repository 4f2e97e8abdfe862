"""What can be set of a row transformer; the defaults suit tables of 150 to 50,000 rows on one core of a CPU.

Settings(bins=64, temperature=0.9)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from factory.errors import UserError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings.

    Attributes:
        hidden_size: Width of the network, a multiple of `heads`.
        layers: Transformer blocks.
        heads: Attention heads of each.
        bins: Most quantile bins of a column; frequent values have tokens of their own besides.
        rows_per_bin: Fewest rows that a bin, or a value with a token of its own, is made for.
        rows_per_span: Rows between two knots of the shape inside a bin.
        rows_per_copy: Fewest rows that a value must have to be drawn exactly again from inside a bin.
        epochs: Most passes over the training rows.
        fewest_steps: Updates for which small tables are passed over more often.
        cells: Most cells that are learnt from, over all passes; bounds the time for large tables. Not a number of seconds,
            which would make the model depend on the load of the machine.
        patience: Looks at the held-out rows (one each pass) without a better loss, after which training ends.
        least_gain: Share by which a held-out loss must lie below the best to count as better, in [0, 1). More than 0 stops
            earlier: a longer training that hardly gains remembers more of its rows.
        batch_rows: Rows of an update; fewer where the columns are many.
        learning_rate: Highest rate of AdamW, reached after the warm-up.
        warmup: Share of the updates over which the rate rises.
        weight_decay: Of AdamW, for matrices.
        dropout: Share of the activations that is dropped in training, in [0, 1).
        average: Decay of the moving average of the weights, which is what is kept; 0 keeps the last ones.
        held_out: Share of the rows that decides when to stop, in (0, 0.5].
        temperature: Divides the logits when rows are drawn.
        order: Whether the cells that are not restricted are drawn in random orders, or as the columns stand.
        sample_rows: Rows that are drawn together.
    """

    hidden_size: int = 96
    layers: int = 4
    heads: int = 4
    bins: int = 32
    rows_per_bin: int = 10
    rows_per_span: int = 5
    rows_per_copy: int = 3
    epochs: int = 40
    fewest_steps: int = 600
    cells: int = 8_000_000
    patience: int = 10
    least_gain: float = 0.002
    batch_rows: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.1
    dropout: float = 0.1
    average: float = 0.99
    held_out: float = 0.1
    temperature: float = 1.0
    order: Literal["random", "fixed"] = "random"
    sample_rows: int = 512

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: If a setting is out of range.
        """
        counts = ("hidden_size", "layers", "heads", "bins", "rows_per_bin", "rows_per_span", "rows_per_copy")
        for name in (*counts, "epochs", "fewest_steps", "cells", "patience", "batch_rows", "sample_rows"):
            if getattr(self, name) < 1:
                raise UserError(f"row_transformer: {name} is {getattr(self, name)}; expected 1 or more.")
        if self.hidden_size % self.heads:
            raise UserError(
                f"row_transformer: hidden_size {self.hidden_size} is no multiple of heads {self.heads}; "
                "choose one that is."
            )
        for name, fits, expected in (
            ("learning_rate", self.learning_rate > 0, "more than 0"),
            ("temperature", self.temperature > 0, "more than 0"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("warmup", 0 <= self.warmup <= 1, "0 to 1"),
            ("dropout", 0 <= self.dropout < 1, "0 to less than 1"),
            ("least_gain", 0 <= self.least_gain < 1, "0 to less than 1"),
            ("average", 0 <= self.average < 1, "0 to less than 1"),
            ("held_out", 0 < self.held_out <= 0.5, "more than 0, at most 0.5"),
        ):
            if not fits:
                raise UserError(f"row_transformer: {name} is {getattr(self, name)}; expected {expected}.")
