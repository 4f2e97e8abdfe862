"""How many of the records that were made were kept, in the order in which they were made, and where that leads.

    curve(run)  ->  Curve(kept=(1, 1, 0, …), …)        forecast(curve.kept)  ->  Forecast(at=2_000, expected=812, low=…, high=…, …)

The order is that in which the journal took in the answers that records were read from. The forecast is a logistic regression
of "kept" on the logarithm of how many were made before, with an interval of 95 % that takes the unevenness between stretches
of the run into account. How good such a forecast is, the run itself tells: fitted to its first 80 %, it forecasts the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.records import derive_seed
from factory.reporting.gather.rows import Seen
from factory.reporting.gather.run import Run

FEWEST: Final = 100
FEWEST_OF_A_KIND: Final = 10
STRETCHES: Final = 20
DRAWS: Final = 2_000
NOT_JUDGED: Final = ("surplus", "not_drawn", "budget_spent")
"""Reasons that say nothing of a record itself."""
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Curve(msgspec.Struct, frozen=True):
    """What became of records in the order in which they were made.

    Attributes:
        kept: 1 for each that was kept, 0 for each that was not.
        made: Records that each entry stands for: more than 1 where a sample is looked at.
        unit: What a record is here.
    """

    kept: tuple[int, ...]
    made: float
    unit: str


class Forecast(msgspec.Struct, frozen=True):
    """What is to be expected.

    Attributes:
        at: So many records made.
        expected: So many of them kept.
        low: Lower end of an interval of 95 %.
        high: Upper end of it.
        path: Expected and interval on the way there: made, expected, low, high.
    """

    at: float
    expected: float
    low: float
    high: float
    path: tuple[tuple[float, float, float, float], ...]


class Check(msgspec.Struct, frozen=True):
    """A forecast of the last fifth of the run from the rest, and what came true."""

    expected: float
    low: float
    high: float
    came: int
    of: int

    @property
    def held(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.low <= self.came <= self.high


def curve(run: Run) -> Curve | None:
    """Kept or not, in order; None where nothing tells the order."""
    order = run.order
    if not order:
        return None
    drafts = {row.id: row for row in run.passed if row.requests}
    whole = run.share >= 1.0 and all(parent in drafts for row in run.kept[:1] for parent in row.parents)
    units: dict[str, tuple[int, int]] = {}
    grouped = False
    for row, kept in [
        *((row, 1) for row in run.kept),
        *((row, 0) for row in run.rejected if row.reason not in NOT_JUDGED),
    ]:
        draft = _draft(row, drafts) if whole else None
        grouped = grouped or draft is not None
        found = _first(draft or row, order)
        if found is not None:
            name = (draft or row).id
            units[name] = (found, max(kept, units.get(name, (0, 0))[1]))
    if not units:
        return None
    ordered = sorted(units.items(), key=lambda each: (each[1][0], each[0]))
    return Curve(tuple(kept for _, (_, kept) in ordered), 1 / run.share, "instructions" if grouped else "records")


def _draft(row: Seen, drafts: dict[str, Seen]) -> Seen | None:
    """The record of the same step that a row was read for, e.g. the instruction of an instance."""
    if len(row.parents) != 1:
        return None
    parent = drafts.get(row.parents[0])
    return parent if parent is not None and parent.made_by == row.made_by else None


def _first(row: Seen, order: dict[str, int]) -> int | None:
    places = [order[key] for key in row.requests if key in order]
    return min(places) if places else None


def why_no_forecast(kept: Sequence[int]) -> str:
    """Why nothing is forecast; empty if it can be."""
    yes = sum(kept)
    if len(kept) < FEWEST:
        return f"No forecast: {len(kept):,} were made, and fewer than {FEWEST} tell nothing of where the curve bends."
    if min(yes, len(kept) - yes) < FEWEST_OF_A_KIND:
        return f"No forecast: fewer than {FEWEST_OF_A_KIND} were {'kept' if yes < len(kept) - yes else 'turned away'}."
    return ""


def forecast(kept: Sequence[int], times: float = 2.0, points: int = 20) -> Forecast:
    """How many will have been kept when so many times as many have been made.

    Args:
        kept: What became of those made so far.
        times: How far to look.
        points: On the way there.
    """
    made = np.asarray(kept, np.float64)
    places, drawn = _futures(made, round(len(made) * times), points)
    base = float(made.sum())
    path = [(float(len(made)), base, base, base)]
    for at, totals in zip(places.tolist(), drawn.T, strict=True):
        low, high = np.percentile(base + totals, [2.5, 97.5])
        path.append((float(at), float(base + totals.mean()), float(low), float(high)))
    return Forecast(*path[-1], tuple(path))


def check(kept: Sequence[int]) -> Check | None:
    """Forecast the last fifth from the rest; None where the rest is too little for that."""
    first = round(len(kept) * 0.8)
    if why_no_forecast(kept[:first]):
        return None
    made = np.asarray(kept[:first], np.float64)
    totals = _futures(made, len(kept), points=STRETCHES)[1][:, -1]
    low, high = np.percentile(totals, [2.5, 97.5])
    return Check(float(totals.mean()), float(low), float(high), int(sum(kept[first:])), len(kept) - first)


def _futures(made: Floats, last: int, points: int) -> tuple[Ints, Floats]:
    """Places ahead, and how many of those still to be made are kept up to each: [places], [draws, places].

    Shares are smooth, so that each stretch counts as long as it is, at the share in its middle.
    """
    weights, covariance = _fitted(made)
    spread = _unevenness(made, weights)
    random = np.random.default_rng(derive_seed("forecast", len(made), int(made.sum()), last))
    drawn = random.multivariate_normal(weights, covariance * spread, size=DRAWS)
    edges = np.unique(np.linspace(len(made), last, points + 1).astype(np.int64))
    middles = (edges[1:] + edges[:-1]) // 2
    shares = 1 / (1 + np.exp(-np.clip(drawn @ _terms(middles).T, -30, 30)))
    sizes = np.diff(edges)
    chance = random.standard_normal(shares.shape) * np.sqrt(spread * shares * (1 - shares) * sizes)
    totals = np.clip(np.cumsum(shares * sizes + chance, axis=1), 0, edges[1:] - len(made))
    return edges[1:], np.asarray(totals)


def _terms(places: npt.NDArray[np.int64]) -> Floats:
    return np.column_stack([np.ones(len(places)), np.log(places + 10.0)])


def _fitted(made: Floats) -> tuple[Floats, Floats]:
    """Weights of the logistic regression, and their covariance; a little ridge keeps it finite."""
    terms = _terms(np.arange(len(made)))
    mean = float(np.clip(made.mean(), 1e-3, 1 - 1e-3))
    weights = np.array([np.log(mean / (1 - mean)), 0.0])
    ridge = np.diag([1e-6, 1e-2])
    for _ in range(50):
        share = 1 / (1 + np.exp(-terms @ weights))
        slope = terms.T @ (made - share) - ridge @ weights
        curvature = (terms * (share * (1 - share))[:, None]).T @ terms + ridge
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights, np.asarray(np.linalg.inv(curvature))


def _unevenness(made: Floats, weights: Floats) -> float:
    """How much more the stretches of the run differ than chance would have it; at least 1."""
    share = 1 / (1 + np.exp(-_terms(np.arange(len(made))) @ weights))
    parts = [(part.sum(), told.sum(), (told * (1 - told)).sum()) for part, told in _stretches(made, share)]
    chi = sum((came - expected) ** 2 / max(variance, 1e-9) for came, expected, variance in parts)
    return max(1.0, float(chi) / max(1, len(parts) - 2))


def _stretches(made: Floats, share: Floats) -> list[tuple[Floats, Floats]]:
    return list(zip(np.array_split(made, STRETCHES), np.array_split(share, STRETCHES), strict=True))
