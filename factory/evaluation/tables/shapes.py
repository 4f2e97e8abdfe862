"""Are columns distributed, and pairs of columns related, as in the real table?

    Shapes(train)(synthetic, random)  ->  {"shape": Score(0.968, 0.002), "pair": Score(0.924, 0.001)}

`shape` is the mean over columns of 1 - KS (Kolmogorov and Smirnov's greatest difference of the cumulative shares) for
ordered columns and of 1 - total variation for categories, as in SDMetrics' Column Shapes (documentation, "Column
Shapes"); missing counts as a value. Free text is compared by length, identifiers are left out.

`pair` is the mean over pairs of columns of 1 - |difference of correlations| / 2 for two ordered columns, and of 1 - total
variation of the contingency table for all others, ordered ones in ten bins of equal share of the real rows ("Column Pair
Trends"). Correlation is Spearman's, not Pearson's: one outlier of a generator must not decide.

**Neither says that a table is good.** Columns shuffled independently of each other have a perfect shape, and on Adult
(2,000 rows) a pair trend of 0.91, mean of both 0.96; SDMetrics' own score of them is 0.88. So `compare` always puts the
shuffled columns of the real table beside them, and efficiency and detection decide.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from factory.evaluation.tables.encoding import numbers
from factory.evaluation.tables.scores import Floats, Ints, Score
from factory.tables.column import CATEGORICAL
from factory.tables.schema import Table

BINS: Final = 10
RESAMPLES: Final = 20
_COUNTED: Final = 10_000  # numbers up to here are counted without being sorted

_Kind = TypeVar("_Kind", bound=np.generic)


class Described:
    """A table as numbers, bins and ranks of its columns: what shapes and pairs are counted from."""

    def __init__(self, table: Table, edges: dict[str, Floats]) -> None:
        """Bin by the edges of the real table."""
        self.columns = [column for column in table.schema.columns if column.kind != "identifier"]
        self.rows = table.rows
        self.ordered = [column.kind not in CATEGORICAL for column in self.columns]
        values, bins = [], []
        for column, ordered in zip(self.columns, self.ordered, strict=True):
            cells = table.cells[column.name]
            if ordered:
                found = numbers(column, cells)
                binned = np.searchsorted(edges[column.name], found, side="right")
                bins.append(np.where(np.isnan(found), 0, binned + 1))
            else:
                codes = np.array([-1 if cell is None else cell for cell in cells], np.int64)
                found = codes.astype(np.float64)
                bins.append(codes + 1)
            values.append(found)
        self.values = np.column_stack(values) if values else np.zeros((table.rows, 0))
        self.bins: Ints = np.column_stack(bins).astype(np.int64) if bins else np.zeros((table.rows, 0), np.int64)


class Shapes:
    """Measures tables against a real one."""

    def __init__(self, train: Table) -> None:
        """Bin the real table."""
        self.edges = {
            column.name: _edges(numbers(column, train.cells[column.name]))
            for column in train.schema.columns
            if column.kind != "identifier" and column.kind not in CATEGORICAL
        }
        self.real = Described(train, self.edges)

    @property
    def names(self) -> list[str]:
        """Columns that are compared."""
        return [column.name for column in self.real.columns]

    def __call__(self, table: Table, random: np.random.Generator) -> dict[str, Score]:
        """Mean shape and pair trend with errors of a bootstrap of both tables; a mean of no columns is left out."""
        found = Described(table, self.edges)
        scores = {}
        for name, measure in (("shape", self.column_shapes), ("pair", self.pair_trends)):
            value = measure(found, None, None)
            if not len(value):
                continue
            drawn = [
                float(measure(found, _drawn(random, self.real.rows), _drawn(random, found.rows)).mean())
                for _ in range(RESAMPLES if found.rows > 1 else 0)
            ]
            scores[name] = Score(float(value.mean()), float(np.std(drawn, ddof=1)) if drawn else 0.0)
        return scores

    def column_shapes(self, found: Described, ours: Ints | None = None, theirs: Ints | None = None) -> Floats:
        """Similarity of each column, in [0, 1]: [columns]; of some rows of the real and of the other table."""
        real, other = _rows(self.real.values, ours), _rows(found.values, theirs)
        bins, others = _rows(self.real.bins, ours), _rows(found.bins, theirs)
        return np.array(
            [
                1 - (_distance(real[:, at], other[:, at]) if ordered else _variation(bins[:, at], others[:, at]))
                for at, ordered in enumerate(self.real.ordered)
            ]
        )

    def pair_trends(self, found: Described, ours: Ints | None = None, theirs: Ints | None = None) -> Floats:
        """Similarity of each pair of columns, in [0, 1], in the order of `combinations`: [pairs]."""
        real, other = _rows(self.real.values, ours), _rows(found.values, theirs)
        bins, others = _rows(self.real.bins, ours), _rows(found.bins, theirs)
        ranks = [_ranks(real, self.real.ordered), _ranks(other, self.real.ordered)]
        trends = []
        for left, right in combinations(range(len(self.real.ordered)), 2):
            if self.real.ordered[left] and self.real.ordered[right]:
                one, two = (_correlation(each[:, left], each[:, right]) for each in ranks)
                trends.append(1 - abs(one - two) / 2)
            else:
                width = int(max(bins[:, right].max(initial=0), others[:, right].max(initial=0))) + 1
                pairs = [each[:, left] * width + each[:, right] for each in (bins, others)]
                trends.append(1 - _variation(*pairs))
        return np.array(trends)


def _rows(values: npt.NDArray[_Kind], rows: Ints | None) -> npt.NDArray[_Kind]:
    return values if rows is None else values[rows]


def _drawn(random: np.random.Generator, rows: int) -> Ints:
    return random.integers(rows, size=rows)


def _edges(values: Floats) -> Floats:
    """Inner edges of bins that hold about equal shares."""
    found = values[~np.isnan(values)]
    return np.unique(np.quantile(found, np.arange(1, BINS) / BINS)) if len(found) else np.zeros(0)


def _distance(real: Floats, other: Floats) -> float:
    """KS with missing as a value below all others or above them, whichever tells more."""
    found = []
    for missing in (-np.inf, np.inf):
        one, two = (np.sort(np.where(np.isnan(each), missing, each)) for each in (real, other))
        at = np.concatenate([one, two])
        gaps = np.searchsorted(one, at, "right") / max(1, len(one)) - np.searchsorted(two, at, "right") / max(
            1, len(two)
        )
        found.append(float(np.abs(gaps).max(initial=0.0)))
    return max(found)


def _variation(real: Ints, other: Ints) -> float:
    """Half of the sum of differences of shares."""
    both = np.concatenate([real, other])
    if both.max(initial=0) > _COUNTED:
        _, both = np.unique(both, return_inverse=True)
    size = int(both.max(initial=0)) + 1
    one, two = np.bincount(both[: len(real)], minlength=size), np.bincount(both[len(real) :], minlength=size)
    return float(np.abs(one / max(1, len(real)) - two / max(1, len(other))).sum() / 2)


def _ranks(values: Floats, ordered: list[bool]) -> Floats:
    """Mean ranks of ordered columns, NaN kept; others are not touched."""
    ranks = np.array(values, np.float64)
    for at, wanted in enumerate(ordered):
        if wanted:
            there = ~np.isnan(values[:, at])
            _, inverse, counts = np.unique(values[there, at], return_inverse=True, return_counts=True)
            ranks[there, at] = (np.cumsum(counts) - (counts - 1) / 2)[inverse] if len(counts) else 0.0
    return ranks


def _correlation(left: Floats, right: Floats) -> float:
    """Pearson's of ranks, where both are there; 0 where one of them does not vary."""
    both = ~(np.isnan(left) | np.isnan(right))
    one, two = left[both], right[both]
    if len(one) < 2 or not np.ptp(one) or not np.ptp(two):
        return 0.0
    one, two = one - one.mean(), two - two.mean()
    return float((one @ two) / np.sqrt((one @ one) * (two @ two)))
