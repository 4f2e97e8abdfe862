"""Rows of one batch, drawn cell by cell.

    Batch(learnt, [Want({"sex": just(0)}), ...], seed).draw()
    -> [{"age": 41, "sex": 0, "income": 1, ...}, ...]

At place 0 all rows draw the first column of their orders, at place 1 the second, and so on. A row of which a domain turns
out to be empty is given up: it runs along with missing cells and comes back as None.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factory.tables.domain import Domain
from factory.tables.row_transformer.bins import MISSING, Bins, Within
from factory.tables.row_transformer.network import Network
from factory.tables.row_transformer.settings import Settings
from factory.tables.row_transformer.training import Ints
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Want

if TYPE_CHECKING:
    from torch import Tensor

    from factory.tables.row_transformer.network import Cache

ORDERS = 16  # of the columns that are not restricted, in a batch


class Learnt(NamedTuple):
    """What rows are drawn from.

    Attributes:
        network: The trained network.
        names: Columns, as the network numbers them.
        vocabularies: Their tokens.
        rules: What rows must keep.
        settings: Temperature and order.
        whole: Each vocabulary in the column's domain by the rules.
        cut: Columns whose domain is cut for every row.
        linked: Columns whose domain depends on other cells of the row.
    """

    network: Network
    names: tuple[str, ...]
    vocabularies: tuple[Bins, ...]
    rules: Rules
    settings: Settings
    whole: tuple[Within, ...]
    cut: frozenset[str]
    linked: frozenset[str]


class Batch:
    """The rows of a batch."""

    def __init__(self, learnt: Learnt, wants: Sequence[Want], seed: Sequence[int]) -> None:
        """Plan the order of each row; nothing is drawn."""
        self._learnt, self._wants = learnt, wants
        self._noise, self._random = np.random.default_rng(seed), Random(repr(tuple(seed)))
        self._domains = [learnt.rules.within(want.domains) for want in wants]
        self._rows: list[Cells] = [{} for _ in wants]
        self._given_up = np.zeros(len(wants), bool)
        self._compiled: dict[tuple[int, Domain], Within] = {}
        self._orders = self._planned()

    def draw(self) -> list[Cells | None]:
        """All rows, with their cells in the order of the columns."""
        import torch

        network, columns = self._learnt.network, len(self._learnt.names)
        device = network.weights["norm.weight"].device
        tokens = np.full(len(self._wants), network.offsets[-1])
        before = np.full(len(self._wants), columns)
        cache: Cache = []
        with torch.inference_mode():
            for place in range(columns):
                asked = self._orders[:, place]
                inputs = [torch.from_numpy(each[:, None]).to(device) for each in (tokens, before, asked)]
                states = network.hidden(inputs[0], inputs[1], inputs[2], cache)[:, 0]
                tokens, before = np.zeros(len(self._wants), np.int64), asked
                for column in np.unique(asked).tolist():
                    rows = np.flatnonzero(asked == column)
                    tokens[rows] = network.offsets[column] + self._cells(column, rows, states)
        return [self._finished(row) for row in range(len(self._wants))]

    def _planned(self) -> Ints:
        """[rows, columns]: given cells, then other restricted columns by their possibilities, then all others."""
        names, settings = self._learnt.names, self._learnt.settings
        numbers = {name: number for number, name in enumerate(names)}
        if settings.order == "fixed":
            rests = [list(range(len(names)))]
        else:
            rests = [self._noise.permutation(len(names)).tolist() for _ in range(min(ORDERS, len(self._wants)))]
        orders = []
        for row, (want, domains) in enumerate(zip(self._wants, self._domains, strict=True)):
            restricted = {*want.domains, *self._learnt.cut} & numbers.keys()
            sizes = {name: _size(domains[name]) for name in restricted}
            first = sorted(restricted, key=lambda name, sizes=sizes: (sizes[name], numbers[name]))  # type: ignore[misc]
            rest = [number for number in rests[row % len(rests)] if names[number] not in restricted]
            orders.append([*(numbers[name] for name in first), *rest])
        return np.array(orders, np.int64).reshape(len(orders), len(names))

    def _cells(self, column: int, rows: Ints, states: Tensor) -> Ints:
        """Draw the cells of a column for some rows of the batch: their tokens, [rows]."""
        import torch

        withins = [self._within(column, row) for row in rows.tolist()]
        masses = np.stack([within.log_masses for within in withins])
        open_rows = np.flatnonzero(np.isfinite(masses).sum(1) > 1)
        if len(open_rows):
            chosen = torch.from_numpy(rows[open_rows]).to(states.device)
            logits = self._learnt.network.logits(states[chosen], column).double().cpu().numpy()
            noise = self._noise.gumbel(size=logits.shape)
            masses[open_rows] += logits / self._learnt.settings.temperature + noise
        tokens: Ints = masses.argmax(1)
        name = self._learnt.names[column]
        for place, (row, within) in enumerate(zip(rows.tolist(), withins, strict=True)):
            if within.empty:
                self._given_up[row], tokens[place] = True, MISSING
            if not self._given_up[row]:
                self._rows[row][name] = within.draw(int(tokens[place]), self._random)
        return tokens

    def _within(self, column: int, row: int) -> Within:
        """What a cell may be, given the cells of its row so far."""
        learnt, name = self._learnt, self._learnt.names[column]
        want = self._wants[row].domains
        if name in learnt.linked and not self._given_up[row]:
            domain = learnt.rules.narrow(name, self._rows[row], want)
        elif name in want:
            domain = self._domains[row][name]
        else:
            return learnt.whole[column]
        key = (column, domain)
        if key not in self._compiled:
            self._compiled[key] = learnt.vocabularies[column].within(domain)
        return self._compiled[key]

    def _finished(self, row: int) -> Cells | None:
        cells, wanted = self._rows[row], self._wants[row].domains
        if self._given_up[row] or self._learnt.rules.broken(cells) is not None:
            return None
        if not all(domain.holds(cells[name]) for name, domain in wanted.items() if name in cells):
            return None
        return {name: cells[name] for name in self._learnt.names}


def _size(domain: Domain) -> int:
    """Possibilities, the missing cell counted."""
    return domain.size + domain.null
