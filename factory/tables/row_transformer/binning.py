"""Makes the vocabulary of a column from its training cells.

    bins_of(Column(name="age", kind="integer", low=17, high=90), [39, 50, 38, ...], Settings(bins=32))
    -> 57 tokens (2,000 rows of Adult): missing, 50 ages of ten rows or more, 6 quantile bins of the others

Inside a bin cells are drawn from spans: a value of at least `rows_per_copy` rows (and a 64th of the bin) is a span of
its own, all others are smeared evenly over at most 32 spans of `rows_per_span` rows or more each (a piecewise-linear
inverse distribution function), on the grid that all values of the column or bin share, such as multiples of 100. So a
value that few people have is not copied but by chance, and the extremes are ends of spans, not values that are drawn
again and again.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from factory.tables.column import CATEGORICAL, Column, float_of
from factory.tables.domain import Cell, Interval
from factory.tables.row_transformer.bins import Bins
from factory.tables.row_transformer.settings import Settings
from factory.tables.row_transformer.spans import ALL_DIGITS, Measure, Span

COPIES, KNOTS = 64, 32  # spans of a bin at most: values of their own, and even ones


def bins_of(column: Column, cells: Sequence[Cell], settings: Settings) -> Bins:
    """The vocabulary of a column, given its training cells."""
    if column.kind in CATEGORICAL:
        codes = tuple(range(len(column.categories)))
        return Bins(codes, (), False, tuple(Span(1 + code, code, code, 1, 1.0) for code in codes), Measure())
    counts = Counter(cell for cell in cells if isinstance(cell, int))
    heavy = max(settings.rows_per_bin, counts.total() / (8 * settings.bins))
    singles = tuple(sorted(code for code, count in counts.items() if count >= heavy))
    rest = sorted(code for code, count in counts.items() if count < heavy for _ in range(count))
    groups = _groups(rest, min(settings.bins, max(1, len(rest) // settings.rows_per_bin)))
    edges = tuple(one[-1] + (other[0] - one[-1] + 1) // 2 for one, other in pairwise(groups))
    shape = _Shape(counts, singles, _measure(column, counts), settings)
    spans = [Span(token, code, code, 1, 1.0) for token, code in enumerate(singles, 1)]
    for token, group in enumerate(groups, 1 + len(singles)):
        spans += shape.spans(token, group)
    spans.sort(key=lambda span: span.low)
    return Bins(singles, edges, True, tuple(spans), shape.measure)


def _measure(column: Column, codes: Sequence[int] | Counter[int]) -> Measure:
    if column.kind != "float":
        return Measure()
    return Measure(True, max((_digits(float_of(code)) for code in codes), default=ALL_DIGITS))


def _digits(number: float) -> int:
    """Significant decimal digits that a double needs."""
    return next((digits for digits in range(1, ALL_DIGITS) if float(f"{number:.{digits}g}") == number), ALL_DIGITS)


def _groups(codes: list[int], count: int) -> list[list[int]]:
    """Sorted codes in at most so many groups of about one size; equal codes stay together."""
    groups: list[list[int]] = []
    start = 0
    for number in range(1, count + 1):
        end = max(start, round(number * len(codes) / count))
        while 0 < end < len(codes) and codes[end] == codes[end - 1]:
            end += 1
        if end > start:
            groups.append(codes[start:end])
        start = end
    return groups


class _Shape:
    """Makes the spans of bins."""

    def __init__(self, counts: Counter[int], singles: Sequence[int], measure: Measure, settings: Settings) -> None:
        """Keep the codes of the column and how often they occur."""
        self.measure = measure
        self._codes, self._counts, self._singles, self._settings = sorted(counts), counts, singles, settings
        self._step = self._common_step(self._codes)

    def spans(self, token: int, group: list[int]) -> list[Span]:
        """Spans of the bin of these codes; weights are shares of the bin's rows."""
        kinds = list(dict.fromkeys(group))
        enough = max(self._settings.rows_per_copy, len(group) / COPIES)
        copies = [code for code in kinds if self._counts[code] >= enough]
        rare = [code for code in group if self._counts[code] < enough]
        step = self._common_step(kinds) if len(kinds) >= self._settings.rows_per_bin else self._step
        spans = [Span(token, code, code, 1, self._counts[code] / len(group)) for code in copies]
        fixed = sorted({*copies, *self._singles})
        pieces = _groups(rare, min(KNOTS, max(1, len(rare) // self._settings.rows_per_span)))
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True) if pieces else ():
            low, high = piece[0], piece[-1] if following is None else following[0] - step
            if len(pieces) == 1 and len(rare) < self._settings.rows_per_copy:
                low, high = self._stretched(low, high, step)
            spans += self._without(Span(token, low, high, step, len(piece) / len(group)), fixed)
        return spans

    def _common_step(self, codes: Sequence[int]) -> int:
        """Greatest common divisor of the differences; 1 for doubles, or if there are none."""
        return 1 if self.measure.double else math.gcd(*(code - codes[0] for code in codes)) or 1

    def _stretched(self, low: int, high: int, step: int) -> Interval:
        """So few rows that they would be copied are smeared up to half the way to their neighbours."""
        before, after = bisect_right(self._codes, low) - 2, bisect_right(self._codes, high)
        if before >= 0:
            low -= (low - self._codes[before]) // 2 // step * step
        if after < len(self._codes):
            high += (self._codes[after] - high - 1) // 2 // step * step
        return low, high

    def _without(self, span: Span, codes: Sequence[int]) -> list[Span]:
        """A span without some codes, sorted, in pieces that share its weight by their size."""
        inside = [code for code in codes[bisect_right(codes, span.low - 1) :] if code <= span.high]
        pieces = []
        for before, after in pairwise([span.low - 1, *inside, span.high + 1]):
            piece = span.cut((before + 1, after - 1), self.measure)
            if piece is not None:
                pieces.append(piece)
        total = sum(piece.weight for piece in pieces)
        return [msgspec.structs.replace(piece, weight=span.weight * (piece.weight / total)) for piece in pieces]
