"""Rows of an autoencoder: drawn freely, and kept where one is wanted.

The autoencoder draws whole rows; it cannot be told of one cell to give the others. So wants and relations are met by
drawing again, in a bounded number of rounds, and a want that no row has met by then gets None. It is a baseline:
`gaussian_copula`, `row_transformer` and `great` draw what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from factory.tables.domain import Cell, Domain
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema
from factory.tables.synthesizer import Say, Want
from factory.tables.tvae.features import Feature
from factory.tables.tvae.network import drawn, parts_of

if TYPE_CHECKING:
    import torch

ROUNDS: Final = 50
LEAST_ROWS, MOST_ROWS = 500, 5_000  # drawn in a round
_Wanted = tuple[tuple[str, Domain], ...]


class TvaeSampler:
    """An autoencoder that has learnt.

    Attributes:
        drawn: Rows that were drawn so far, with those that nobody wanted.
    """

    def __init__(
        self, schema: Schema, features: Sequence[Feature], weights: dict[str, torch.Tensor], rules: Rules
    ) -> None:
        """Features of the learned columns, in their order."""
        self._columns, self._features, self._weights, self._rules = schema.learned, features, weights, rules
        self.drawn = 0

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want, see `factory.tables.synthesizer.Sampler`; None also where all rounds met none."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        waiting: dict[_Wanted, list[int]] = {}
        for number, want in enumerate(wants):
            waiting.setdefault(tuple(sorted(want.domains.items(), key=lambda item: item[0])), []).append(number)
        rows: list[Cells | None] = [None] * len(wants)
        for number in range(1, ROUNDS + 1):
            left = sum(len(numbers) for numbers in waiting.values())
            if not left:
                break
            say(f"{len(wants) - left:,} of {len(wants):,} rows drawn, round {number} of at most {ROUNDS}")
            count = left if number == 1 else max(LEAST_ROWS, 2 * left)  # all fit at once where nothing is asked of them
            candidates = self._candidates(min(count, MOST_ROWS), generator)
            _hand_out(candidates, waiting, rows)
        return rows

    def _candidates(self, count: int, generator: torch.Generator) -> list[Cells]:
        """Rows that break nothing."""
        import torch

        with torch.no_grad():
            found = drawn(self._weights, count, parts_of(self._features), generator)
        self.drawn += count
        cells = {
            column.name: feature.decode(column, place.double().numpy(), chosen.numpy())
            for column, feature, (place, chosen) in zip(self._columns, self._features, found, strict=True)
        }
        rows: list[Cells] = [{name: column[row] for name, column in cells.items()} for row in range(count)]
        return [row for row in rows if self._rules.broken(row) is None]


def _hand_out(candidates: Sequence[Cells], waiting: dict[_Wanted, list[int]], rows: list[Cells | None]) -> None:
    """Give every candidate to the first want that it meets; those that are met wait no longer."""
    places: dict[str, dict[Cell, set[int]]] = {}
    for name in {name for wanted in waiting for name, _ in wanted}:
        for place, row in enumerate(candidates):
            places.setdefault(name, {}).setdefault(row[name], set()).add(place)
    free = set(range(len(candidates)))
    for wanted, numbers in list(waiting.items()):
        fitting = free.intersection(*(_held(places.get(name, {}), domain) for name, domain in wanted))
        for place in sorted(fitting)[: len(numbers)]:
            rows[numbers.pop(0)] = candidates[place]
            free.discard(place)
        if not numbers:
            del waiting[wanted]


def _held(places: Mapping[Cell, set[int]], domain: Domain) -> set[int]:
    """Candidates whose cell a domain holds."""
    only = domain.only
    if only:
        return places.get(only[0], set())
    return {place for cell, found in places.items() if domain.holds(cell) for place in found}
