"""Random numbers are what they say: open ends, fresh, of the right law; and the noise of counts keeps its promise."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from scipy import stats

from factory.privacy.randomness import Randomness, SecureRandomness, SeededRandomness, geometric

LEAST = 1e-6
EITHER = [SecureRandomness(), SeededRandomness(1)]


@pytest.mark.parametrize("randomness", EITHER)
def test_uniform_and_normal_numbers_have_their_law(randomness: Randomness) -> None:
    assert stats.kstest(randomness.uniforms(20_000), "uniform").pvalue > LEAST
    drawn = randomness.normals(20_000)
    assert stats.kstest(drawn, "norm").pvalue > LEAST
    square = float((drawn**2).sum())
    assert 2 * min(stats.chi2.cdf(square, 20_000), stats.chi2.sf(square, 20_000)) > LEAST
    assert stats.kstest(np.abs(drawn[np.abs(drawn) > 2]), stats.truncnorm(2, np.inf).cdf).pvalue > LEAST


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_ends_of_the_systems_bytes_are_inside(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were 0 or 1 possible, a normal number could be infinite, and a record be left out at a rate of 1."""
    monkeypatch.setattr(os, "urandom", lambda count: byte * count)
    assert 0 < SecureRandomness().uniforms(1)[0] < 1
    assert 8 < abs(SecureRandomness().normals(1)[0]) < 20


def test_a_normal_number_is_made_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    system = os.urandom
    monkeypatch.setattr(os, "urandom", lambda count: (read.append(count), system(count))[1])
    SecureRandomness().normals(10)
    assert sum(read) == 4 * 10 * 8


def test_the_operating_system_never_repeats_and_a_seed_does() -> None:
    assert not np.array_equal(SecureRandomness().normals(8), SecureRandomness().normals(8))
    assert np.array_equal(SeededRandomness(3).normals(8), SeededRandomness(3).normals(8))
    assert not np.array_equal(SeededRandomness(3).normals(8), SeededRandomness(4).normals(8))


def test_a_fork_does_not_repeat_the_parents_numbers() -> None:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, SecureRandomness().normals(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as end:
        assert end.read() != SecureRandomness().normals(4).tobytes()


def test_only_the_system_is_secure_and_both_say_what_they_are() -> None:
    assert SecureRandomness().secure and SecureRandomness().name == "operating system"
    assert not SeededRandomness(7).secure and SeededRandomness(7).name == "seed 7 (test mode, not private)"


def law(draws: Any, epsilon: float, sensitivity: int) -> float:
    """How likely draws are of the discrete Laplace distribution of that scale."""
    ratio = np.exp(-epsilon / sensitivity)
    most = int(4 * sensitivity / epsilon) + 2
    inside = np.clip(draws, -most, most)
    counted = np.bincount(inside + most, minlength=2 * most + 1)
    values = np.arange(-most, most + 1)
    chances = (1 - ratio) / (1 + ratio) * ratio ** np.abs(values)
    chances[0] = chances[-1] = ratio**most / (1 + ratio)
    return float(stats.chisquare(counted, len(draws) * chances).pvalue)


@pytest.mark.parametrize("randomness", EITHER)
@pytest.mark.parametrize(("epsilon", "sensitivity"), [(1.0, 1), (0.3, 1), (0.5, 2)])
def test_the_noise_of_counts_is_discrete_laplace(randomness: Randomness, epsilon: float, sensitivity: int) -> None:
    draws = geometric(sensitivity, epsilon, 20_000, randomness)
    assert draws.dtype == np.int64
    assert law(draws, epsilon, sensitivity) > LEAST


def test_less_noise_than_promised_is_seen() -> None:
    half = geometric(1, 2.0, 20_000, SeededRandomness(1))
    forgotten = geometric(1, 0.5, 20_000, SeededRandomness(1))
    rounded = np.round(stats.laplace.rvs(scale=2.0, size=20_000, random_state=1)).astype(np.int64) // 2
    assert law(half, 1.0, 1) < LEAST
    assert law(forgotten, 0.5, 2) < LEAST
    assert law(rounded, 1.0, 1) < LEAST


def test_counts_at_both_ends_of_epsilon() -> None:
    assert not geometric(1, 1e9, 100, SecureRandomness()).any()
    assert np.abs(geometric(1, 1e-6, 100, SecureRandomness())).max() > 1e5
    for none in (0.0, -1.0, 1e-13, float("nan")):
        with pytest.raises(ValueError, match="epsilon"):
            geometric(1, none, 1, SecureRandomness())
