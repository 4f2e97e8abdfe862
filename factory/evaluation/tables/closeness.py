"""Are synthetic rows closer to the rows that the generator has seen than to real ones that it has not?

    closeness(between(synthetic, train, holdout), …)  ->  {"closer": Score(0.53), "dcr": Score(1.04), …}

The distance of two rows is the sum over columns of a distance in [0, 1] (Gower 1971): difference of places among the
training values for ordered columns, 0 or 1 for categories and texts, 1 between missing and any value. DCR is the distance
to the closest record (Zhao et al. 2021, CTAB-GAN, section 4.2). It is a figure of its own nowhere here: only beside the
distance to real rows that were held out does it say something. `closer` is the share of synthetic rows that are nearer to
a training row than to a held-out row, ties as half: 0.5 is no sign of memorisation, 1.0 is a copying machine (Platzer and
Reutterer 2021, section 2.3).

They hold out as many rows as they train on. Where there are fewer, training rows must not be cut down to as many: most
copies would lose the row that they are copies of. All n training and m held-out rows are one pool instead, in which the
nearest to a row that owes nothing to either is a training row with probability n / (n + m). A synthetic row is attracted by
the nearest, in equal parts where several are as near. With x the mean of what a training row attracts, y of a held-out row,

    closer = x / (x + y),   error^2 = (y^2 v / n + x^2 w / m) / (x + y)^4,

which is the share above where n = m. Synthetic rows are not independent, as one real row may attract many: v and w are the
variances of what training and held-out rows attract. Ties that count half whatever n and m are would not give 0.5, but
0.18 where n = 10 m and every row is there ten times.

Deviations: at most 5,000 rows on each side, drawn by seed, so that 32,000 rows take no longer than that; a blockwise search
within 1 MB. Copies are looked for among all rows. A low distance is no breach and a high one no guarantee: see
`membership`, and for a guarantee differential privacy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from factory.evaluation.tables.encoding import MISSING_PLACE, Encoded, Singles
from factory.evaluation.tables.scores import RESAMPLES, Floats, Ints, Score, of_rows, share

MOST_ROWS: Final = 5_000
_SMALLEST: Final = 1e-9  # of a mean distance that something is divided by
_BLOCK: Final = 100_000  # distances held at once; they stay in the cache of one core


class Nearest(msgspec.Struct, frozen=True):
    """Distances between two sets of rows.

    Attributes:
        first: From each row to the nearest of the others: [rows].
        second: To the second nearest; infinite where there is only one: [rows].
        back: From each of the others to the nearest row: [others].
    """

    first: Floats
    second: Floats
    back: Floats


class Between(msgspec.Struct, frozen=True):
    """Rows between training and held-out rows.

    Attributes:
        train: Distances to all training rows.
        holdout: Distances to all held-out rows.
        even: Distance to the nearest of as many training rows, and of as many held-out rows, the first of each: [rows].
        by_train: Rows that each training row attracts, as the nearest of all or one of several: [training rows].
        by_holdout: The same of held-out rows: [held-out rows].
    """

    train: Nearest
    holdout: Nearest
    even: tuple[Floats, Floats]
    by_train: Floats
    by_holdout: Floats


def nearest(rows: Encoded, others: Encoded) -> Nearest:
    """Distances to the nearest rows, in both directions; neither set is empty."""
    found, back = [], np.full(len(others), np.inf)
    for block in _blocks(rows, others.places, others.codes):
        found.append(_two(block))
        np.minimum(back, block.min(axis=0), out=back)
    return _nearest(found, back)


def between(rows: Encoded, train: Encoded, holdout: Encoded) -> Between:
    """Distances to both, and which of them attract the rows; no set is empty."""
    known, size = len(train), min(len(train), len(holdout))
    ours, theirs, even = [], [], []
    back, attracted = np.full(known + len(holdout), np.inf), np.zeros(known + len(holdout))
    for block in _blocks(rows, np.vstack([train.places, holdout.places]), np.vstack([train.codes, holdout.codes])):
        left, right = block[:, :known], block[:, known:]
        ours.append(_two(left))
        theirs.append(_two(right))
        even.append(np.column_stack([left[:, :size].min(axis=1), right[:, :size].min(axis=1)]))
        np.minimum(back, block.min(axis=0), out=back)
        tied = block == block.min(axis=1, keepdims=True)
        attracted += (1 / tied.sum(axis=1)) @ tied
    evenly = np.concatenate(even).astype(np.float64)
    return Between(
        _nearest(ours, back[:known]), _nearest(theirs, back[known:]), (evenly[:, 0], evenly[:, 1]),
        attracted[:known], attracted[known:],
    )  # fmt: skip


def _blocks(rows: Encoded, places: Singles, codes: Ints) -> Iterator[Singles]:
    """Distances of some rows after others to all of those: [some, others]."""
    step = max(1, _BLOCK // len(places))
    here, there = (rows.places.T.copy(), rows.codes.T.copy()), (places.T.copy(), codes.T.copy())
    for start in range(0, len(rows), step):
        yield _distances(here[0][:, start : start + step], here[1][:, start : start + step], *there)


def _two(block: Singles) -> Singles:
    """The two least distances of each row: [rows, 2]."""
    if block.shape[1] == 1:
        return np.column_stack([block, block + np.inf])
    return np.partition(block, 1, axis=1)[:, :2]


def _nearest(found: list[Singles], back: Floats) -> Nearest:
    two = np.concatenate(found).astype(np.float64)
    return Nearest(two[:, 0], two[:, 1], back)


def _distances(places: Singles, codes: Ints, other_places: Singles, other_codes: Ints) -> Singles:
    """Distances of each row to each other row: [rows, others]; columns come first in what is given."""
    total = np.zeros((places.shape[1], other_places.shape[1]), np.float32)  # also where there are no ordered columns
    gap = np.empty_like(total)
    for ours, theirs in zip(places, other_places, strict=True):
        np.subtract(ours[:, None], theirs, out=gap)
        np.abs(gap, out=gap)
        if max(ours.max(), theirs.max()) == MISSING_PLACE:
            np.minimum(gap, 1.0, out=gap)
        total += gap
    for mine, others in zip(codes, other_codes, strict=True):
        total += mine[:, None] != others
    return total


def closeness(found: Between, random: np.random.Generator) -> dict[str, Score]:
    """How near rows are to training and to held-out rows.

    Returns:
        `closer`: share nearer to training rows, as if there were as many of both, in [0, 1]; `dcr`, `dcr_holdout`: median
        distances to all there are of either; `dcr_ratio`: the ratio of these to as many of both, 1 is best, left out where
        half of the rows are held-out rows; `nearest_ratio`: median of nearest by second nearest distance, in [0, 1].
    """
    ours, theirs = found.even
    # A row with one training row has no second neighbour, one with two copies is pinned to both: 0 and 0 count as 0.
    ratios = found.train.first / np.maximum(found.train.second, _SMALLEST)

    def ratio(rows: Ints) -> float:
        below = float(np.median(theirs[rows]))
        return float(np.median(ours[rows])) / below if below else float("nan")

    def median(values: Floats) -> Score:
        return of_rows(lambda rows: float(np.median(values[rows])), len(values), random, RESAMPLES)

    scores = {
        "closer": _closer(found),
        "dcr": median(found.train.first),
        "dcr_holdout": median(found.holdout.first),
        "nearest_ratio": median(ratios),
    }
    if np.median(theirs):
        scores["dcr_ratio"] = of_rows(ratio, len(ours), random, RESAMPLES)
    return scores


def _closer(found: Between) -> Score:
    """Share of rows nearer to training rows, as if there were as many held-out rows."""
    ours, theirs = float(found.by_train.mean()), float(found.by_holdout.mean())
    total = ours + theirs
    spread = theirs**2 * _variance_of_mean(found.by_train) + ours**2 * _variance_of_mean(found.by_holdout)
    # Where one side attracts all rows nothing varies; one row more on the other side would have been possible.
    moved = (ours / len(found.by_holdout) + theirs / len(found.by_train)) / total**2
    return Score(ours / total, max(math.sqrt(spread) / total**2, moved))


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def copies(rows: Encoded, train: Encoded) -> Score:
    """Share of rows that are a training row in all learned cells, in [0, 1]."""
    return share(np.isin(rows.keys, train.keys))


def most_by_chance(rows: int, twice: int, train: int) -> float:
    """How many of fresh rows may equal a training row where so many training rows equal another: three deviations."""
    chance = (twice + 1) / (train + 2)
    # Equal rows come in pairs at least, which doubles the variance of their share among training rows.
    return rows * chance + 3 * math.sqrt(chance * (1 - chance) * (rows + 2 * rows**2 / train))
