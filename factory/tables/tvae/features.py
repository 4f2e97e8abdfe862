"""Cells as the numbers that the autoencoder sees, and back.

A category becomes one-hot. A number becomes its place within one of a few normal distributions that were fitted to its
column, and one-hot the distribution: the age 39 is "0.12 in the 2nd of 3" and reads [0.12, 0, 1, 0]. After Xu et al.
2019, section 4.2 (mode-specific normalisation); ours are: a missing cell is one more choice, a column with a single
value a single choice, and numbers are first scaled to [0, 1], by exact arithmetic as codes may be of any size.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from factory.tables.column import ORDERED, Column, code_of_float, float_of
from factory.tables.domain import Cell

Floats = npt.NDArray[np.float64]
MODES: Final = 10  # at most; paper, section 5
LEAST_WEIGHT: Final = 0.005  # a mode that explains less is left out; from the authors' code
WIDTH: Final = 4.0  # standard deviations from a mode that become 1; paper, section 4.2
FITTED_ROWS: Final = 20_000  # the modes of a longer column are fitted to so many of its rows


class Choices(msgspec.Struct, frozen=True):
    """A column as one of a few cells.

    Attributes:
        cells: The cells.
    """

    cells: tuple[Cell, ...]

    numbers = 0

    @property
    def choices(self) -> int:
        """Length of the one-hot part."""
        return len(self.cells)

    def encode(self, column: Column, cells: Sequence[Cell], rng: np.random.Generator) -> Floats:
        """One-hot, [rows, choices]."""
        place = {cell: number for number, cell in enumerate(self.cells)}
        return np.asarray(np.eye(len(self.cells))[[place[cell] for cell in cells]])

    def decode(self, column: Column, numbers: Floats, chosen: npt.NDArray[np.int64]) -> list[Cell]:
        """Cells of the choices, [rows]."""
        return [self.cells[number] for number in chosen.tolist()]


class Modes(msgspec.Struct, frozen=True):
    """A column of numbers as places within modes.

    Attributes:
        low: Least code that was seen.
        high: Greatest code that was seen.
        means: Of the modes, in the scale where `low` is 0 and `high` is 1.
        spreads: Their standard deviations.
        missing: Whether cells were missing; then that is the last choice.
    """

    low: int
    high: int
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    missing: bool

    numbers = 1

    @property
    def choices(self) -> int:
        """Length of the one-hot part."""
        return len(self.means) + self.missing

    def encode(self, column: Column, cells: Sequence[Cell], rng: np.random.Generator) -> Floats:
        """Place and one-hot mode, [rows, 1 + choices]; the mode is drawn by how well it explains the number."""
        places = np.array([_scaled(column, cell, self.low, self.high) for cell in cells if isinstance(cell, int)])
        offsets = (places[:, None] - np.array(self.means)) / np.array(self.spreads)
        likely = -0.5 * offsets**2 - np.log(self.spreads)
        shares = np.cumsum(np.exp(likely - likely.max(axis=1, keepdims=True)), axis=1)
        modes = (shares < rng.random((len(places), 1)) * shares[:, -1:]).sum(axis=1)
        encoded = np.zeros((len(cells), 1 + self.choices))
        known = np.array([isinstance(cell, int) for cell in cells])
        encoded[known, 0] = np.clip(offsets[np.arange(len(places)), modes] / WIDTH, -0.99, 0.99)
        encoded[np.flatnonzero(known), 1 + modes] = 1.0
        encoded[~known, -1] = np.where(known.all(), 0.0, 1.0)
        return encoded

    def decode(self, column: Column, numbers: Floats, chosen: npt.NDArray[np.int64]) -> list[Cell]:
        """Cells of places, [rows], within modes, [rows]: clipped to the codes that were seen, and to whole codes."""
        mode = np.minimum(chosen, len(self.means) - 1)
        places = np.array(self.means)[mode] + WIDTH * np.array(self.spreads)[mode] * numbers
        absent = chosen >= len(self.means)
        return [
            None if gone else _code(column, place, self.low, self.high)
            for place, gone in zip(np.clip(places, 0.0, 1.0).tolist(), absent.tolist(), strict=True)
        ]


Feature = Choices | Modes


def feature_of(column: Column, cells: Sequence[Cell], rng: np.random.Generator) -> Feature:
    """How the cells of a column are best told to the autoencoder; there is at least one."""
    codes = [cell for cell in cells if isinstance(cell, int)]
    missing = len(codes) < len(cells)
    if column.kind not in ORDERED or len(set(codes)) < 2:
        return Choices((*sorted(set(codes)), *((None,) if missing else ())))
    low, high = min(codes), max(codes)
    places = np.array([_scaled(column, code, low, high) for code in codes])
    means, spreads = _modes(places, rng)
    return Modes(low, high, means, spreads, missing)


def _modes(places: Floats, rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations of the normal distributions that a column is a mixture of."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    if len(places) > FITTED_ROWS:
        places = rng.choice(places, FITTED_ROWS, replace=False)
    modes = min(MODES, len(np.unique(places)))
    mixture: Any = BayesianGaussianMixture(
        n_components=modes,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 rounds are near enough
        mixture.fit(places[:, None])
    kept = mixture.weights_ >= min(LEAST_WEIGHT, mixture.weights_.max())
    return tuple(mixture.means_[kept, 0].tolist()), tuple(np.sqrt(mixture.covariances_[kept, 0, 0]).tolist())


def _scaled(column: Column, code: int, low: int, high: int) -> float:
    if column.kind != "float":
        return (code - low) / (high - low)
    number, least, most = (
        float_of(each) / 2 for each in (code, low, high)
    )  # halved: the range of doubles is no double
    return (number - least) / (most - least)


def _code(column: Column, place: float, low: int, high: int) -> int:
    if column.kind == "float":
        return min(max(code_of_float(float_of(low) * (1.0 - place) + float_of(high) * place), low), high)
    span = high - low
    return low + (round(place * span) if span < 2**53 else round(Fraction(place) * span))
