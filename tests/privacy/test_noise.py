"""The noise of a step has the size that the accountant is told, is normal, and is new every time; planted faults are seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from factory.privacy.optimizer import PrivateOptimizer
from factory.privacy.randomness import Floats, Randomness, SecureRandomness, SeededRandomness

from .mechanisms import (
    NORM,
    NoiseHalved,
    NoiseOff,
    NoiseOnOneParameter,
    NoiseTooLarge,
    NoNoiseForNobody,
    mechanism,
    nobody,
    released,
)

SIGMA = 0.6
STEPS = 20
SHAPES = ((64, 72), (512,))  # 5,120 numbers
LEAST = 1e-6  # p-value that is still chance


def noise_of(kind: type[PrivateOptimizer], randomness: Randomness, steps: int = STEPS) -> Floats:
    """Noise of empty batches in units of what it should be: [steps, numbers]."""
    made = mechanism(kind, noise=SIGMA, randomness=randomness, shapes=SHAPES)
    return np.stack([released(made, nobody(SHAPES)) for _ in range(steps)]) / (SIGMA * NORM)


def p_values(noise: Floats) -> dict[str, float]:
    """How likely noise like this is: its size in all and in each parameter, its middle, its shape, from step to step."""
    first = int(np.prod(SHAPES[0]))
    parts = {"all": noise, "first": noise[:, :first], "second": noise[:, first:]}
    found = {f"size of {name}": _two_sided(part) for name, part in parts.items()}
    found["middle"] = 2 * stats.norm.sf(abs(noise.mean()) * np.sqrt(noise.size))
    found["shape"] = float(stats.kstest(noise.ravel(), "norm").pvalue)
    found["steps"] = _unrelated(noise[1:], noise[:-1])
    found["numbers"] = _unrelated(noise[:, 1:], noise[:, :-1])
    return found


def _two_sided(noise: Floats) -> float:
    square = float((noise**2).sum())
    return 2 * min(stats.chi2.sf(square, noise.size), stats.chi2.cdf(square, noise.size))


def _unrelated(one: Floats, other: Floats) -> float:
    """Products of independent standard normal numbers have mean 0 and variance 1."""
    return float(2 * stats.norm.sf(abs((one * other).sum()) / np.sqrt(one.size)))


class SameAgain(SeededRandomness):
    """Noise that begins anew with each step, as that of a generator that is seeded again."""

    def normals(self, count: int) -> Floats:
        return SeededRandomness(1).normals(count)


class Broadcast(SeededRandomness):
    """One number for all."""

    def normals(self, count: int) -> Floats:
        return np.full(count, super().normals(1)[0])


class Uniform(SeededRandomness):
    """Of the right size and the wrong shape."""

    def normals(self, count: int) -> Floats:
        return (self.uniforms(count) - 0.5) * np.sqrt(12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_as_the_accountant_is_told(seed: int) -> None:
    found = p_values(noise_of(PrivateOptimizer, SeededRandomness(seed)))
    assert min(found.values()) > LEAST, found


def test_noise_of_the_operating_system_is_as_well() -> None:
    found = p_values(noise_of(PrivateOptimizer, SecureRandomness()))
    assert min(found.values()) > LEAST, found


@pytest.mark.parametrize(
    ("kind", "randomness", "seen_by"),
    [
        (NoiseOff, SeededRandomness, "size of all"),
        (NoiseHalved, SeededRandomness, "size of all"),
        (NoiseTooLarge, SeededRandomness, "size of all"),
        (NoiseOnOneParameter, SeededRandomness, "size of second"),
        (NoNoiseForNobody, SeededRandomness, "size of all"),
        (PrivateOptimizer, SameAgain, "steps"),
        (PrivateOptimizer, Broadcast, "numbers"),
        (PrivateOptimizer, Uniform, "shape"),
    ],
)
def test_planted_faults_are_seen(kind: type[PrivateOptimizer], randomness: Any, seen_by: str) -> None:
    assert p_values(noise_of(kind, randomness(1)))[seen_by] < LEAST


def test_noise_does_not_depend_on_who_takes_part() -> None:
    """With the same draws, what a batch releases is its own sum and the noise of an empty one."""
    from .test_sensitivity import spanning

    batch = spanning()
    noisy = released(mechanism(noise=SIGMA, randomness=SeededRandomness(4)), batch, parts=3)
    alone = released(mechanism(noise=SIGMA, randomness=SeededRandomness(4)), nobody())
    assert np.allclose(noisy - alone, released(mechanism(), batch), atol=1e-5)


def test_noise_is_added_once_however_many_micro_batches() -> None:
    from .test_sensitivity import spanning

    once = released(mechanism(noise=SIGMA, randomness=SeededRandomness(4)), spanning(), parts=1)
    often = released(mechanism(noise=SIGMA, randomness=SeededRandomness(4)), spanning(), parts=9)
    assert np.allclose(once, often, atol=1e-5)
