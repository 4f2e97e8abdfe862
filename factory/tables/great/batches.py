"""Which rows a step reads, as tokens with what is to be learnt of them: a function of the seed and the step alone.

    batches = Batches(table, codec, Orders(names, None, seed=1), settings, rows=[0, 1, 2, …], seed=1)
    batches.step(17)   # [Batch(tokens=[[27, 318, …], …], learnt=[[…]])], one for each batch of the step

Rows come in a fresh order each epoch. Where padding would cost more than a twentieth, rows of similar length share a
batch. Cells are tokenized once (by the codec); a batch is put together from chunks that lie ready.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from factory.tables.great.codec import RowCodec
from factory.tables.great.orders import Orders, generator
from factory.tables.great.settings import Settings
from factory.tables.schema import Cells, Table

PADDING_WORTH_SORTING = 0.05
WINDOW = 16


class Batch(msgspec.Struct, frozen=True):
    """Rows as tokens.

    Attributes:
        tokens: Of each row, closed by the token for the end; of different lengths.
        learnt: For each token whether it is learnt, that is predicted from those before it; never the first.
    """

    tokens: list[list[int]]
    learnt: list[list[bool]]


class Batches:
    """The rows of each step.

    Args:
        table: All rows.
        codec: Writes them.
        orders: Column orders.
        settings: Rows in a batch, batches in a step, what is learnt.
        rows: Positions of the rows to read.
        seed: Decides the order of rows.
    """

    def __init__(
        self, table: Table, codec: RowCodec, orders: Orders, settings: Settings, rows: Sequence[int], seed: int
    ) -> None:
        """Take over a table; nothing is written yet."""
        self._table, self._codec, self._orders = table, codec, orders
        self._loss: Literal["all", "values"] = settings.loss
        self._rows, self._size, self._accumulation = list(rows), settings.rows, settings.accumulation
        self._seed = seed
        self._lengths: dict[int, int] = {row: self._length(row) for row in self._rows}
        self._sorted = _padding([self._lengths[row] for row in self._rows], self._size) > PADDING_WORTH_SORTING
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return -(-len(self._rows) // (self._size * self._accumulation))

    @property
    def longest(self) -> int:
        """Most tokens of a row, to one or two that depend on its order."""
        return max(self._lengths.values(), default=0)

    def step(self, step: int) -> list[Batch]:
        """The batches of a step, from 0."""
        epoch, at = divmod(step, self.per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._grouped(epoch))
        groups = self._epoch[1][at * self._accumulation : (at + 1) * self._accumulation]
        return [self.batch(group, epoch) for group in groups]

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        """Rows as they read in an epoch."""
        written = [_written(self._codec, self._table.row(row), self._orders.of(epoch, row), self._loss) for row in rows]
        return Batch([tokens for tokens, _ in written], [learnt for _, learnt in written])

    def all(self, epoch: int = 0) -> Iterator[Batch]:
        """Every row once, in batches of rows of similar length."""
        rows = sorted(self._rows, key=lambda row: self._lengths[row])
        for at in range(0, len(rows), self._size):
            yield self.batch(rows[at : at + self._size], epoch)

    def _grouped(self, epoch: int) -> list[list[int]]:
        random = generator(self._seed, 2, epoch)
        rows = [self._rows[at] for at in random.permutation(len(self._rows))]
        if not self._sorted:
            return [rows[at : at + self._size] for at in range(0, len(rows), self._size)]
        window = self._size * WINDOW
        groups: list[list[int]] = []
        for start in range(0, len(rows), window):
            near = sorted(rows[start : start + window], key=lambda row: self._lengths[row])
            groups += [near[at : at + self._size] for at in range(0, len(near), self._size)]
        return [groups[at] for at in random.permutation(len(groups))]

    def _length(self, row: int) -> int:
        return len(self._codec.row(self._table.row(row), self._orders.of(0, row)))


def _written(codec: RowCodec, cells: Cells, order: Sequence[str], loss: str) -> tuple[list[int], list[bool]]:
    tokens = codec.row(cells, order)
    if loss == "all":
        return tokens, [False] + [True] * (len(tokens) - 1)
    learnt = [False] * len(codec.opening)
    for at, name in enumerate(order):
        learnt += [False] * len(codec.name(name, first=at == 0))
        learnt += [True] * (len(codec.value(name, cells[name])) + 1)  # with what ends it: a comma, or the row's end
    return tokens, learnt


def _padding(lengths: Sequence[int], size: int) -> float:
    """Share of padding in batches of rows as they come."""
    groups = [lengths[at : at + size] for at in range(0, len(lengths), size)]
    padded = sum(max(group) * len(group) for group in groups)
    return 1 - sum(lengths) / padded if padded else 0.0
