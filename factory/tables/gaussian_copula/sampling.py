"""Rows of a Gaussian copula, each as it is wanted: cell after cell, given those before it.

Rows are drawn together that restrict the same columns. Cells that are given come first, then those that are restricted
to several codes, then the rest; each score is drawn from its normal distribution given the scores before it, within
what the cell may be. So nothing is drawn and thrown away, and a linked column sees what is known already.

Of a cell that is given only the interval of its score is known; with several of them, their scores are drawn in turn
some times, given each other. The codes of several restricted, but not given, columns are drawn one after the other,
and the first of them does not know that a later one is restricted too: there the joint distribution is approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import numpy as np

from factory.tables.domain import Domain
from factory.tables.gaussian_copula.correlation import redraw
from factory.tables.gaussian_copula.margin import Margin, Run
from factory.tables.gaussian_copula.normal import Floats, masses, scores, shares, truncated
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Say, Want

ROWS = 2_000  # drawn at a time
SWEEPS = 5  # of the scores of cells that are given


class Plan(msgspec.Struct, frozen=True):
    """In what order the columns of some rows are drawn.

    Attributes:
        order: Numbers of the columns.
        given: How many of them, from the first, are given.
        asked: How many of them, from the first, are given or restricted by the want.
    """

    order: tuple[int, ...]
    given: int
    asked: int


class CopulaSampler:
    """A copula that has been learnt.

    Attributes:
        drawn: Rows that were drawn so far, with those that were given up.
    """

    def __init__(self, margins: Sequence[Margin], correlation: Floats, rules: Rules) -> None:
        """Columns in the order of the correlations, [columns, columns]."""
        self._margins, self._correlation, self._rules = tuple(margins), correlation, rules
        self.drawn = 0

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want, see `factory.tables.synthesizer.Sampler`."""
        rng, random = np.random.default_rng(seed), Random(seed)
        groups: dict[Plan, list[int]] = {}
        for number, want in enumerate(wants):
            groups.setdefault(self._plan(want), []).append(number)
        rows: list[Cells | None] = [None] * len(wants)
        done = 0
        for plan, numbers in groups.items():
            for start in range(0, len(numbers), ROWS):
                chunk = numbers[start : start + ROWS]
                drawn = _Drawing(self, plan, [wants[number] for number in chunk], rng, random).rows()
                for number, row in zip(chunk, drawn, strict=True):
                    rows[number] = row
                done += len(chunk)
                self.drawn += len(chunk)
                say(f"{done:,} of {len(wants):,} rows drawn")
        return rows

    def _plan(self, want: Want) -> Plan:
        """Given cells first, then restricted ones, then the rest."""
        given: list[int] = []
        some: list[int] = []
        free: list[int] = []
        for number, margin in enumerate(self._margins):
            domain = want.domains.get(margin.column.name)
            if domain is None:
                free.append(number)
            else:
                (given if domain.only else some).append(number)
        return Plan((*given, *some, *free), len(given), len(given) + len(some))


class _Drawing:
    """Some rows of one plan while they are drawn."""

    def __init__(
        self, sampler: CopulaSampler, plan: Plan, wants: Sequence[Want], rng: np.random.Generator, random: Random
    ) -> None:
        self.margins, self.rules = sampler._margins, sampler._rules
        self.plan, self.wants, self.rng, self.random = plan, wants, rng, random
        self.correlation = sampler._correlation[np.ix_(plan.order, plan.order)]
        self.factor = np.linalg.cholesky(self.correlation)
        shape = (len(wants), len(plan.order))
        self.scores: Floats = np.zeros(shape)
        self.noise: Floats = np.zeros(shape)
        self.bounds: tuple[Floats, Floats] = (np.full(shape, -np.inf), np.full(shape, np.inf))
        self.cells: list[Cells] = [{} for _ in wants]
        self.dead = np.zeros(len(wants), dtype=bool)

    def rows(self) -> list[Cells | None]:
        """The rows; None where the cells drawn first leave nothing for a later one."""
        for place in range(len(self.plan.order)):
            if place == self.plan.given > 1:
                self._settle(place)
            self._column(place)
        named = [margin.column.name for margin in self.margins]
        rows: list[Cells | None] = []
        for cells, dead in zip(self.cells, self.dead, strict=True):
            whole = not dead and not (self.rules.linked and self.rules.broken(cells))
            rows.append({name: cells[name] for name in named} if whole else None)
        return rows

    def _column(self, place: int) -> None:
        margin = self.margins[self.plan.order[place]]
        domains = self._domains(place, margin.column.name)
        mean, spread = self.noise[:, :place] @ self.factor[place, :place], self.factor[place, place]
        runs = [margin.runs(domain) for domain in domains]
        picked, low, high = _picked(runs, mean, spread, self.rng)
        drawn = mean + spread * truncated((low - mean) / spread, (high - mean) / spread, self.rng)
        self.scores[:, place], self.noise[:, place] = drawn, (drawn - mean) / spread
        self.bounds[0][:, place], self.bounds[1][:, place] = low, high
        for row, share in enumerate(shares(drawn).tolist()):
            if domains[row].empty:
                self.dead[row] = True
            if not self.dead[row]:
                self.cells[row][margin.column.name] = (
                    margin.cell(share, runs[row][picked[row]], self.random)
                    if runs[row]
                    else margin.unseen(domains[row], self.random)
                )

    def _domains(self, place: int, name: str) -> list[Domain]:
        """What each row may hold there; nothing where the row is given up."""
        if name not in self.rules.linked:
            if place >= self.plan.asked:
                return [self.rules.domains[name]] * len(self.wants)
            own = self.rules.domains[name]
            return [own & want.domains[name] for want in self.wants]
        return [
            Domain() if dead else self.rules.narrow(name, cells, want.domains)
            for want, cells, dead in zip(self.wants, self.cells, self.dead, strict=True)
        ]

    def _settle(self, place: int) -> None:
        """Draw the scores of the given cells anew, given each other: one after the other they know only the earlier ones."""
        known = self.scores[:, :place].copy()
        low, high = (bound[:, :place] for bound in self.bounds)
        for _ in range(SWEEPS):
            redraw(known, low, high, self.correlation[:place, :place], self.rng)
        self.scores[:, :place] = known
        self.noise[:, :place] = np.linalg.solve(self.factor[:place, :place], known.T).T


def _picked(
    runs: Sequence[tuple[Run, ...]], mean: Floats, spread: float, rng: np.random.Generator
) -> tuple[list[int], Floats, Floats]:
    """A run for each row by its probability given what is known, and the bounds of its scores.

    Rows without a run get infinite bounds. Where all runs of a row are too improbable for a double, the nearest is taken.
    """
    kinds: dict[tuple[Run, ...], int] = {}
    kind = np.array([kinds.setdefault(each, len(kinds)) for each in runs])
    width = max(1, *(len(each) for each in kinds))
    low, high = (np.full((len(kinds), width), fill) for fill in (np.inf, np.inf))
    for each, row in kinds.items():
        for column, run in enumerate(each or (Run(0.0, 1.0, 0, 0),)):
            low[row, column], high[row, column] = scores(np.array([run.start, run.end]))
    low, high = (low[kind] - mean[:, None]) / spread, (high[kind] - mean[:, None]) / spread
    weights = masses(low, high)
    near = np.argmin(np.maximum(np.maximum(low, -high), 0.0), axis=1)
    total = np.cumsum(weights, axis=1)
    picked = (total < rng.random((len(kind), 1)) * total[:, -1:]).sum(axis=1)
    picked = np.where(total[:, -1] > 0, np.minimum(picked, width - 1), near)
    rows = np.arange(len(kind))
    return picked.tolist(), low[rows, picked] * spread + mean, high[rows, picked] * spread + mean
