"""Are synthetic rows closer to the rows that the generator has seen than to real ones that it has not?

    closeness(synthetic, train, holdout, …)  ->  {"closer": Score(0.53), "dcr": Score(1.04), "dcr_holdout": Score(1.05), …}

The distance of two rows is the sum over columns of a distance in [0, 1] (Gower 1971): difference of places among the
training values for ordered columns, 0 or 1 for categories and texts, 1 between missing and any value. DCR is the distance
to the closest record (Zhao et al. 2021, CTAB-GAN, section 4.2). It is a figure of its own nowhere here: only beside the
distance to as many real rows that were held out does it say something. `closer` is the share of synthetic rows that are
nearer to a training row than to a held-out row, ties as half: 0.5 is no sign of memorisation, 1.0 is a copying machine
(Platzer and Reutterer 2021, section 2.3).

Deviations: both sides have as many rows, drawn by seed, at most 5,000, and as many synthetic rows, so that 32,000 rows take
no longer than that; a blockwise search within 1 MB. Copies are looked for among all rows. A low distance is no breach and
a high one no guarantee: see `membership`, and for a guarantee differential privacy.
"""

from __future__ import annotations

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


def nearest(rows: Encoded, others: Encoded) -> Nearest:
    """Distances to the nearest rows, in both directions; neither set is empty."""
    first, second, back = [], [], np.full(len(others), np.inf)
    step = max(1, _BLOCK // len(others))
    here = (rows.places.T.copy(), rows.codes.T.copy())
    there = (others.places.T.copy(), others.codes.T.copy())
    for start in range(0, len(rows), step):
        block = _distances(here[0][:, start : start + step], here[1][:, start : start + step], *there)
        two = np.partition(block, 1, axis=1)[:, :2] if len(others) > 1 else np.column_stack([block, block + np.inf])
        first.append(two[:, 0])
        second.append(two[:, 1])
        np.minimum(back, block.min(axis=0), out=back)
    return Nearest(np.concatenate(first).astype(np.float64), np.concatenate(second).astype(np.float64), back)


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


def closeness(to_train: Nearest, to_holdout: Nearest, random: np.random.Generator) -> dict[str, Score]:
    """Distances of synthetic rows to as many training and held-out rows.

    Returns:
        `closer`: share nearer to training rows, in [0, 1]; `dcr`, `dcr_holdout`: median distances; `dcr_ratio`: the first
        by the second, 1 is best, left out where half of the rows are held-out rows; `nearest_ratio`: median of nearest by second nearest distance, in [0, 1].
    """
    ours, theirs = to_train.first, to_holdout.first
    ties = (ours < theirs) + 0.5 * (ours == theirs)
    # A row with one training row has no second neighbour, one with two copies is pinned to both: 0 and 0 count as 0.
    ratios = ours / np.maximum(to_train.second, _SMALLEST)

    def ratio(rows: Ints) -> float:
        below = float(np.median(theirs[rows]))
        return float(np.median(ours[rows])) / below if below else float("nan")

    def median(values: Floats) -> Score:
        return of_rows(lambda rows: float(np.median(values[rows])), len(values), random, RESAMPLES)

    found = {
        "closer": share(ties),
        "dcr": median(ours),
        "dcr_holdout": median(theirs),
        "nearest_ratio": median(ratios),
    }
    if np.median(theirs):
        found["dcr_ratio"] = of_rows(ratio, len(ours), random, RESAMPLES)
    return found


def copies(rows: Encoded, train: Encoded) -> Score:
    """Share of rows that are a training row in all learned cells, in [0, 1]."""
    return share(np.isin(rows.keys, train.keys))
