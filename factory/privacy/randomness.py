"""Random numbers for what must not be guessed: which records a step reads, the noise, and the coins of audits.

    SecureRandomness().normals(3)      ->  array([ 0.61, -1.32, 0.08])     from the operating system, never twice the same

A generator with a seed repeats its noise for whoever knows the seed, and amplification by sampling rests on a sample that
nobody knows: both are drawn from the operating system's generator. `SeededRandomness` is for tests; what is made with it
is marked as not private.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS = 4
_BITS = 52  # with half a step added, 53 would round to 1.0 at the upper end


class Randomness(Protocol):
    """Where random numbers come from."""

    @property
    def secure(self) -> bool:
        """Whether nobody can foretell or repeat them."""

    @property
    def name(self) -> str:
        """What a privacy card calls it."""

    def uniforms(self, count: int) -> Floats:
        """Numbers in (0, 1), on a grid of 2^-52."""

    def normals(self, count: int) -> Floats:
        """Standard normal numbers."""


class SecureRandomness:
    """The operating system's generator.

    A normal number is half of the sum of four by inversion, so that the floating-point values that one can take tell less
    of what was added to it (Holohan and Braghin 2021, arXiv 2107.10138, section 5.1). The attacks of Mironov 2012 on
    floating-point noise are made harder by that, not impossible.
    """

    secure = True
    name = "operating system"

    def uniforms(self, count: int) -> Floats:
        """Numbers in (0, 1), on a grid of 2^-52."""
        words = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
        return ((words >> np.uint64(64 - _BITS)).astype(np.float64) + 0.5) / 2.0**_BITS

    def normals(self, count: int) -> Floats:
        """Standard normal numbers."""
        from scipy.special import ndtri

        return np.asarray(sum(ndtri(self.uniforms(count)) for _ in range(DRAWS)) / 2.0)


class SeededRandomness:
    """A generator with a seed, for tests alone."""

    secure = False

    def __init__(self, seed: int) -> None:
        """Draw from this seed on."""
        self.name = f"seed {seed} (test mode, not private)"
        self._generator = np.random.default_rng(seed)

    def uniforms(self, count: int) -> Floats:
        """Numbers in (0, 1)."""
        return (self._generator.integers(0, 2**_BITS, count).astype(np.float64) + 0.5) / 2.0**_BITS

    def normals(self, count: int) -> Floats:
        """Standard normal numbers."""
        return self._generator.standard_normal(count)


def poisson_sample(records: int, sample_rate: float, randomness: Randomness) -> npt.NDArray[np.int64]:
    """Places of the records that take part in a step: each with this probability, none depends on another.

    The result may be empty, and has no fixed size: accounting with sampling rests on it (Abadi et al. 2016, arXiv
    1607.00133, section 3.1; what shuffling instead does is in Chua et al. 2024, arXiv 2403.17673).
    """
    return np.flatnonzero(randomness.uniforms(records) < sample_rate)


def geometric(sensitivity: int, epsilon: float, count: int, randomness: Randomness) -> npt.NDArray[np.int64]:
    """Noise for counts: differences of two geometric numbers, the discrete Laplace distribution.

    Adding it to counts that one record changes by at most `sensitivity` in sum is `epsilon`-differentially private
    (Ghosh et al. 2009, arXiv 0811.2841, section 2).

    Raises:
        ValueError: If epsilon is so small that the noise is no number of 64 bits.
    """
    if not epsilon / sensitivity > 1e-12:
        raise ValueError(f"epsilon is {epsilon:g} at a sensitivity of {sensitivity:,}; expected more")
    draws = np.floor(np.log(randomness.uniforms(2 * count)) * (-sensitivity / epsilon)).astype(np.int64)
    return np.asarray(draws[:count] - draws[count:])
