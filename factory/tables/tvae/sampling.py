"""Rows of an autoencoder: drawn freely, and kept where one is wanted.

The autoencoder draws whole rows; it cannot be told of one cell to give the others. So wants and relations are met by
drawing again, in a bounded number of rounds. A want that no row has met by then, as where cells must add up, gets a row
whose cells are corrected one after the other: one that may not be so takes the place of another row's, or the nearest
that may. It is a baseline: `gaussian_copula`, `row_transformer` and `great` draw what is wanted.
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

ROUNDS: Final = 20
LEAST_ROWS, MOST_ROWS = 500, 5_000  # drawn in a round
MOST_SLOWED: Final = 0.98  # share of the waiting wants that a round may leave for another one to be worth it
OTHERS: Final = 200  # rows that are looked through for a cell that may take another's place
_Wanted = tuple[tuple[str, Domain], ...]


class TvaeSampler:
    """An autoencoder that has learnt.

    Attributes:
        drawn: Rows that were drawn so far, with those that nobody wanted.
        corrected: Rows given out so far of which cells were corrected.
    """

    def __init__(
        self, schema: Schema, features: Sequence[Feature], weights: dict[str, torch.Tensor], rules: Rules
    ) -> None:
        """Features of the learned columns, in their order."""
        self._columns, self._features, self._weights, self._rules = schema.learned, features, weights, rules
        self.drawn = self.corrected = 0

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want, see `factory.tables.synthesizer.Sampler`."""
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
            _hand_out([row for row in candidates if self._rules.broken(row) is None], waiting, rows)
            if number > 1 and sum(map(len, waiting.values())) > MOST_SLOWED * left:
                break
        self._correct(waiting, rows, generator)
        return rows

    def _correct(
        self, waiting: Mapping[_Wanted, Sequence[int]], rows: list[Cells | None], generator: torch.Generator
    ) -> None:
        """Give rows to the wants that are left, with the cells that may not be so changed for some that may."""
        left = sum(map(len, waiting.values()))
        if not left:
            return
        candidates = self._candidates(min(max(LEAST_ROWS, left), MOST_ROWS), generator)
        self.drawn += left - len(candidates)
        for at, (number, wanted) in enumerate((number, dict(key)) for key, each in waiting.items() for number in each):
            rows[number] = self._corrected(candidates, at % len(candidates), wanted)
            self.corrected += rows[number] is not None

    def _corrected(self, candidates: Sequence[Cells], place: int, wanted: Mapping[str, Domain]) -> Cells | None:
        known: Cells = {}
        names = [column.name for column in self._columns]
        others = [*candidates[place : place + OTHERS], *candidates[: max(0, place + OTHERS - len(candidates))]]
        for name in sorted(names, key=lambda name: name not in wanted):
            domain = self._rules.narrow(name, known, wanted)
            if domain.empty:
                return None
            fitting = (row[name] for row in others if domain.holds(row[name]))
            known[name] = next(fitting, None)
            if not domain.holds(known[name]):
                known[name] = _nearest(candidates[place][name], domain)
        row = {name: known[name] for name in names}
        return row if self._rules.broken(row) is None else None

    def _candidates(self, count: int, generator: torch.Generator) -> list[Cells]:
        """Rows as the autoencoder has them, in domain but perhaps against relations."""
        import torch

        with torch.no_grad():
            found = drawn(self._weights, count, parts_of(self._features), generator)
        self.drawn += count
        cells = {
            column.name: feature.decode(column, place.double().numpy(), chosen.numpy())
            for column, feature, (place, chosen) in zip(self._columns, self._features, found, strict=True)
        }
        return [{name: column[row] for name, column in cells.items()} for row in range(count)]


def _nearest(cell: Cell, domain: Domain) -> Cell:
    """The cell of a domain that is nearest to one."""
    if not domain.intervals:
        return None if domain.null else domain.texts[0]
    middle = cell if isinstance(cell, int) else domain.intervals[0][0]
    return min((min(max(middle, low), high) for low, high in domain.intervals), key=lambda found: abs(found - middle))


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
