"""Draws rows from a trained network, each cell in domain and as wanted, many rows at a time.

    RowSampler(network, columns, vocabularies, rules, Settings()).sample([Want({"sex": just(0)})], seed=7, say=print)
    -> [{"age": 41, "sex": 0, "income": 1, ...}]

Every row has an order of its own: cells that are given, then columns that are restricted (fewest possibilities first), then
the others in a random order. The rows of a batch go through the network together, one cell each at a time, with the keys
and values of earlier cells kept; at each place, rows that ask for the same column share one product. Logits are divided by
the temperature, the log share of each token that the domain leaves is added, and the token with the greatest sum of that
and Gumbel noise is taken (Gumbel 1954; an exact draw that never takes what is masked). The token then gives a cell.

A single restriction is thereby kept exactly as the model has it; with several ranges each is drawn given those before,
which leaves out how likely the later ranges are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from factory.tables.column import Column
from factory.tables.row_transformer.batch import Batch, Learnt
from factory.tables.row_transformer.bins import Bins
from factory.tables.row_transformer.network import Network
from factory.tables.row_transformer.settings import Settings
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Say, Want

SAY_S = 2.0
BATCH_CELLS = 16_384  # drawn together at most, for memory


class RowSampler:
    """A sampler (`factory.tables.synthesizer.Sampler`)."""

    def __init__(
        self,
        network: Network,
        columns: Sequence[Column],
        vocabularies: Sequence[Bins],
        rules: Rules,
        settings: Settings,
    ) -> None:
        """Keep them; `columns` are the learned ones, in the order of the network."""
        names = tuple(column.name for column in columns)
        whole = tuple(bins.within(rules.domains[name]) for name, bins in zip(names, vocabularies, strict=True))
        cut = frozenset(column.name for column in columns if rules.domains[column.name] != column.domain)
        self._learnt = Learnt(network, names, tuple(vocabularies), rules, settings, whole, cut, rules.linked)

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want; see `Sampler.sample`."""
        size = max(1, min(self._learnt.settings.sample_rows, BATCH_CELLS // len(self._learnt.names)))
        rows: list[Cells | None] = []
        begin = said = time.monotonic()
        for start in range(0, len(wants), size):
            rows += Batch(self._learnt, wants[start : start + size], (seed & (2**64 - 1), start)).draw()
            now = time.monotonic()
            if now - said >= SAY_S:
                said = now
                left = int((now - begin) / len(rows) * (len(wants) - len(rows)))
                say(f"drawing rows: {len(rows):,} of {len(wants):,}, ETA {left // 60:02}:{left % 60:02}")
        return rows
