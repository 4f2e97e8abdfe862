"""Each record takes part in a step by a coin of its own: what the accountant rests on, and what other samplers break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from factory.privacy.randomness import SecureRandomness, SeededRandomness, poisson_sample

RECORDS, RATE, STEPS = 40, 0.05, 4000
LEAST = 1e-6
Bits = npt.NDArray[np.bool_]
Sampler = Callable[[Any], Iterator[npt.NDArray[np.int64]]]


def poisson(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    while True:
        yield poisson_sample(RECORDS, RATE, randomness)


def shuffled(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Epochs of batches of one size, as data loaders make them."""
    size = round(RECORDS * RATE)
    while True:
        order = np.argsort(randomness.uniforms(RECORDS))
        for first in range(0, RECORDS, size):
            yield order[first : first + size]


def fixed_size(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """So many of all, anew in each step."""
    while True:
        yield np.argsort(randomness.uniforms(RECORDS))[: round(RECORDS * RATE)]


def never_empty(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Empty samples are left out."""
    return (sample for sample in poisson(randomness) if len(sample))


def drop_last(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Samples below the usual size are left out."""
    return (sample for sample in poisson(randomness) if len(sample) >= RECORDS * RATE)


def one_coin(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Neighbours share a coin."""
    while True:
        pairs = poisson_sample(RECORDS // 2, RATE, randomness)
        yield np.sort(np.concatenate([2 * pairs, 2 * pairs + 1]))


def same_again(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """Each sample is taken twice, as by a generator that is seeded again on resume."""
    for sample in poisson(randomness):
        yield sample
        yield sample


def too_often(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """At another rate than the accountant is told."""
    while True:
        yield poisson_sample(RECORDS, RATE * 1.15, randomness)


def favourite(randomness: Any) -> Iterator[npt.NDArray[np.int64]]:
    """The first record takes part more often."""
    for sample in poisson(randomness):
        yield np.union1d(sample, [0]) if randomness.uniforms(1)[0] < 0.04 else sample


def p_values(sampler: Sampler, randomness: Any) -> dict[str, float]:
    """How likely samples like these are where each record has a coin of its own in each step."""
    drawn = sampler(randomness)
    bits = np.zeros((STEPS, RECORDS), dtype=np.bool_)
    for step in range(STEPS):
        bits[step, next(drawn)] = True
    return {
        "size": _sizes(bits.sum(axis=1)),
        "rate": _binomial(int(bits.sum()), bits.size, RATE),
        "record": min(1.0, RECORDS * min(_binomial(int(each), STEPS, RATE) for each in bits.sum(axis=0))),
        "neighbours": _binomial(int((bits[:, ::2] & bits[:, 1::2]).sum()), STEPS * RECORDS // 2, RATE**2),
        "again": min(1.0, 3 * min(_again(bits, lag) for lag in (1, 2, round(1 / RATE)))),
    }


def _sizes(sizes: Any) -> float:
    most = 8
    counted = np.bincount(np.minimum(sizes, most), minlength=most + 1)
    chances = [*stats.binom.pmf(range(most), RECORDS, RATE), stats.binom.sf(most - 1, RECORDS, RATE)]
    return float(stats.chisquare(counted, STEPS * np.array(chances)).pvalue)


def _again(bits: Bits, lag: int) -> float:
    """How often a record takes part again so many steps later."""
    return _binomial(int((bits[lag:] & bits[:-lag]).sum()), (STEPS - lag) * RECORDS, RATE**2)


def _binomial(found: int, of: int, chance: float) -> float:
    return float(stats.binomtest(found, of, chance).pvalue)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_record_has_a_coin_of_its_own(seed: int) -> None:
    found = p_values(poisson, SeededRandomness(seed))
    assert min(found.values()) > LEAST, found


def test_with_the_randomness_of_the_operating_system_as_well() -> None:
    found = p_values(poisson, SecureRandomness())
    assert min(found.values()) > LEAST, found


@pytest.mark.parametrize(
    ("sampler", "seen_by"),
    [
        (shuffled, "size"),
        (shuffled, "again"),
        (fixed_size, "size"),
        (never_empty, "size"),
        (drop_last, "size"),
        (one_coin, "neighbours"),
        (same_again, "again"),
        (too_often, "rate"),
        (favourite, "record"),
    ],
)
def test_other_samplers_are_seen(sampler: Sampler, seen_by: str) -> None:
    assert p_values(sampler, SeededRandomness(1))[seen_by] < LEAST


def test_a_sample_may_be_empty_or_everybody() -> None:
    assert any(not len(poisson_sample(10, 0.1, SeededRandomness(seed))) for seed in range(20))
    assert list(poisson_sample(7, 1.0, SecureRandomness())) == list(range(7))
    assert len(poisson_sample(0, 0.5, SecureRandomness())) == 0
