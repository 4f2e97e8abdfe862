"""One record more or less moves what a step releases by the clipping norm at most; planted faults move it further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from factory.privacy.optimizer import PrivateOptimizer
from factory.privacy.randomness import SeededRandomness

from .mechanisms import (
    NORM,
    SHAPES,
    BatchAverage,
    ClippedAsBatch,
    ClippedEachParameter,
    KeepsBroken,
    NotClipped,
    mechanism,
    released,
)

ALLOWED = NORM * (1 + 1e-5)
Batch = Sequence[Any]


def spanning(records: int = 9, seed: int = 0) -> list[Any]:
    """Gradients of lengths from 1e-4 to 1e4."""
    generator = torch.Generator().manual_seed(seed)
    found = [torch.randn((records, *shape), generator=generator) for shape in SHAPES]
    norms = torch.stack([each.flatten(1).norm(dim=1) for each in found], dim=1).norm(dim=1)
    wanted = torch.logspace(-4, 4, records)
    return [each * (wanted / norms).view(-1, *[1] * (each.dim() - 1)) for each in found]


def opposed() -> list[Any]:
    """Two records along one line, +1 and -3: where the sum is clipped, the first turns it around."""
    line = [torch.zeros((2, *shape)) for shape in SHAPES]
    line[0][0, 0, 0], line[0][1, 0, 0] = 1.0, -3.0
    return line


def balanced() -> list[Any]:
    """A record whose gradient is as long in each parameter."""
    return [torch.ones((1, *shape)) / math.sqrt(math.prod(shape)) for shape in SHAPES]


def broken(value: float) -> list[Any]:
    """One record of three whose gradient is not finite in one number."""
    found = spanning(3, seed=1)
    found[1][2, 0] = value
    return found


def huge() -> list[Any]:
    """Finite gradients whose length is not."""
    return [each * 1e36 for each in spanning(3, seed=2)]


def tiny() -> list[Any]:
    """Gradients whose squares are not numbers any more."""
    return [each * 1e-36 for each in spanning(3, seed=2)]


def sensitivity(kind: type[PrivateOptimizer], batch: Batch, *, noise: float = 0.7, parts: int = 1) -> float:
    """The most that leaving out one record moves what is released, with the same noise."""

    def release(records: Sequence[int]) -> Any:
        made = mechanism(kind, noise=noise, randomness=SeededRandomness(5))
        return released(made, [each[list(records)] for each in batch], parts)

    everybody = range(len(batch[0]))
    whole = release(everybody)
    distances = [np.linalg.norm(whole - release([at for at in everybody if at != out])) for out in everybody]
    return float(max(distances)) if np.isfinite(distances).all() else math.inf


BATCHES = {
    "spanning": spanning(),
    "opposed": opposed(),
    "balanced": balanced(),
    "nan": broken(math.nan),
    "infinite": broken(math.inf),
    "huge": huge(),
    "tiny": tiny(),
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_no_record_moves_more_than_the_clipping_norm(name: str, noise: float) -> None:
    assert sensitivity(PrivateOptimizer, BATCHES[name], noise=noise) <= ALLOWED


def test_the_bound_is_reached() -> None:
    """Else the check would pass for what releases nothing."""
    assert sensitivity(PrivateOptimizer, spanning()) >= 0.99 * NORM


def test_it_holds_over_micro_batches() -> None:
    assert sensitivity(PrivateOptimizer, spanning(), parts=3) <= ALLOWED


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NotClipped, "spanning"),
        (ClippedAsBatch, "opposed"),
        (ClippedEachParameter, "balanced"),
        (KeepsBroken, "nan"),
        (KeepsBroken, "infinite"),
        (BatchAverage, "spanning"),
    ],
)
def test_planted_faults_move_more(kind: type[PrivateOptimizer], name: str) -> None:
    assert sensitivity(kind, BATCHES[name]) > 1.2 * NORM


def test_a_batch_clipped_as_a_whole_moves_twice_the_norm() -> None:
    assert sensitivity(ClippedAsBatch, opposed(), noise=0.0) == pytest.approx(2 * NORM, rel=1e-3)


def test_a_gradient_that_is_not_finite_contributes_nothing() -> None:
    whole, rest = broken(math.nan), [each[:2] for each in broken(math.nan)]
    assert np.array_equal(released(mechanism(), whole), released(mechanism(), rest))


@pytest.mark.parametrize(
    "summed", [[torch.ones((1, *shape)) for shape in SHAPES], [torch.ones(shape) for shape in SHAPES]]
)
def test_the_sum_of_a_batch_is_no_gradient_of_its_records(summed: list[Any]) -> None:
    """What peft's own prompt tuning gives under hooks: one row, or none, for a batch of several."""
    with pytest.raises(ValueError, match="gradient"):
        mechanism().accumulate(summed, records=15)
