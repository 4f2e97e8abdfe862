"""One column as pieces of the unit interval: what was seen, each piece as wide as it was frequent.

Of the ages 20, 30, 30 and one that is missing, the first quarter is "missing", the second 20, the last half 30. A
uniform draw picks a piece, a piece gives a code. Ordered kinds keep the order of their codes; categories are put in
order of frequency. Where most codes of an ordered column were seen once, it is taken for continuous, and each of these
codes stands for all that lie nearer to it than to its neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import msgspec
import numpy as np

from factory.tables.column import ORDERED, Column, code_of_float, float_of
from factory.tables.domain import Cell, Domain, Interval
from factory.tables.gaussian_copula.normal import Floats


class Run(msgspec.Struct, frozen=True):
    """A part of the unit interval in which all is allowed.

    Attributes:
        start: Where it begins, in [0, 1].
        end: Where it ends.
        first: Its first piece.
        last: Its last piece.
        interval: Codes that are allowed there; None for all of the pieces.
    """

    start: float
    end: float
    first: int
    last: int
    interval: Interval | None = None


class Margin:
    """The distribution of one column."""

    def __init__(self, column: Column, counts: Mapping[int, int], missing: int) -> None:
        """A column of which each code was seen so often, and missing so often; together at least once."""
        self.column, self.counts, self.missing = column, dict(counts), missing
        self.ordered = column.kind in ORDERED
        codes = sorted(counts) if self.ordered else sorted(counts, key=lambda code: (-counts[code], code))
        self.offset = 1 if missing else 0
        self.lows, self.highs = _pieces(column, codes, counts) if self.ordered else (codes, codes)
        sizes = [missing] * self.offset + [counts[code] for code in codes]
        self.edges: Floats = np.concatenate([[0.0], np.cumsum(sizes) / sum(sizes)])
        self.edges[-1] = 1.0
        self._piece_of = {code: place + self.offset for place, code in enumerate(codes)}
        self._runs: dict[Domain, tuple[Run, ...]] = {}

    @classmethod
    def of(cls, column: Column, cells: Sequence[Cell]) -> Margin:
        """The margin of the cells of a column."""
        counts = Counter(cell for cell in cells if isinstance(cell, int))
        return cls(column, counts, sum(cell is None for cell in cells))

    def pieces(self, cells: Sequence[Cell]) -> tuple[Floats, Floats]:
        """Start and end of the piece of each cell that was seen."""
        places = np.array([self._piece_of[cell] if isinstance(cell, int) else 0 for cell in cells])
        return self.edges[places], self.edges[places + 1]

    def runs(self, domain: Domain) -> tuple[Run, ...]:
        """What a domain allows of that which was seen; nothing if none of it was."""
        known = self._runs.get(domain)
        if known is None:
            if len(self._runs) > 4096:
                self._runs.clear()
            missing = [Run(0.0, float(self.edges[1]), 0, 0)] if domain.null and self.missing else []
            known = self._runs[domain] = (*missing, *(self._ordered(domain) if self.ordered else self._seen(domain)))
        return known

    def cell(self, share: float, run: Run, random: Random) -> Cell:
        """The cell at a place in [0, 1] of a run."""
        place = min(max(int(np.searchsorted(self.edges, share, side="right")) - 1, run.first), run.last)
        if place < self.offset:
            return None
        low, high = self.lows[place - self.offset], self.highs[place - self.offset]
        if run.interval:
            low, high = max(low, run.interval[0]), min(high, run.interval[1])
        return between(self.column, low, high, random)

    def unseen(self, domain: Domain, random: Random) -> Cell:
        """A cell of a domain that holds nothing that was seen: any code with equal probability, else missing."""
        if not domain.intervals:
            return None
        place = random.randrange(domain.size)
        for low, high in domain.intervals:
            if place <= high - low:
                return low + place
            place -= high - low + 1
        raise AssertionError("a place within the size of the domain lies in one of its intervals")

    def below(self, code: int) -> float:
        """Share of an ordered column that lies below a code, missing cells counted as below."""
        place = bisect_left(self.highs, code)
        if place == len(self.highs):
            return 1.0
        low, high = self.lows[place], self.highs[place]
        start, end = float(self.edges[place + self.offset]), float(self.edges[place + self.offset + 1])
        return start + (end - start) * (max(0, code - low) / (high - low + 1))

    def _ordered(self, domain: Domain) -> list[Run]:
        found = []
        for low, high in domain.intervals:
            start, end = self.below(low), self.below(high + 1)
            first, last = bisect_left(self.highs, low), bisect_right(self.lows, high) - 1
            if first <= last and start < end:
                found.append(Run(start, end, first + self.offset, last + self.offset, (low, high)))
        return found

    def _seen(self, domain: Domain) -> list[Run]:
        found: list[Run] = []
        for place, code in enumerate(self.lows, self.offset):
            if not domain.holds(code):
                continue
            start, end = float(self.edges[place]), float(self.edges[place + 1])
            if found and found[-1].last == place - 1:
                start = found[-1].start
                found[-1] = Run(start, end, found[-1].first, place)
            else:
                found.append(Run(start, end, place, place))
        return found


def between(column: Column, low: int, high: int, random: Random) -> int:
    """A code from low to high; for floats the numbers, and not the codes, are equally probable."""
    if low == high:
        return low
    if column.kind != "float":
        return random.randint(low, high)
    share = random.random()
    number = float_of(low) * (1.0 - share) + float_of(high) * share
    return min(max(code_of_float(number), low), high)


def _pieces(column: Column, codes: list[int], counts: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Least and greatest code of each piece of an ordered column."""
    lows, highs = list(codes), list(codes)
    if 2 * sum(counts[code] == 1 for code in codes) <= len(codes):
        return lows, highs
    for place in range(len(codes) - 1):
        middle = _middle(column, codes[place], codes[place + 1])
        if counts[codes[place]] == 1:
            highs[place] = middle
        if counts[codes[place + 1]] == 1:
            lows[place + 1] = middle + 1
    return lows, highs


def _middle(column: Column, low: int, high: int) -> int:
    if column.kind != "float":
        return (low + high) // 2
    return min(max(code_of_float(float_of(low) / 2 + float_of(high) / 2), low), high - 1)
