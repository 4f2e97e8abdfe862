"""The optimizer as a mechanism, sound and with planted faults: what sensitivity and noise are measured on.

A fault is a class of optimizer that differs from `PrivateOptimizer` in one thing. Every check of the tests that use these
must hold for the sound one and fail for the fault that it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer

from factory.privacy.optimizer import PrivateOptimizer, private_optimizer
from factory.privacy.randomness import Floats, Randomness, SeededRandomness

NORM = 0.3
EXPECTED = 64.0
SHAPES = ((3, 4), (5,))


class NoiseOff(PrivateOptimizer):
    """Adds no noise."""

    def add_noise(self) -> None:
        for parameter in self.params:
            parameter.grad = parameter.summed_grad.clone().view_as(parameter)


class Noise(PrivateOptimizer):
    """Adds another share of the noise."""

    share = 1.0

    def add_noise(self) -> None:
        self.noise_multiplier *= self.share
        super().add_noise()
        self.noise_multiplier /= self.share


class NoiseHalved(Noise):
    share = 0.5


class NoiseTooLarge(Noise):
    share = 1.05


class NoiseOnOneParameter(PrivateOptimizer):
    """Forgets all parameters but the first."""

    def add_noise(self) -> None:
        super().add_noise()
        for parameter in self.params[1:]:
            parameter.grad = parameter.summed_grad.clone().view_as(parameter)


class NoNoiseForNobody(PrivateOptimizer):
    """Takes no step where no record took part."""

    def release(self) -> None:
        if all(parameter.summed_grad is None for parameter in self.params):
            for parameter in self.params:
                parameter.grad = torch.zeros_like(parameter)
            return
        super().release()


class NotClipped(PrivateOptimizer):
    """Sums gradients as they are."""

    def clip_and_accumulate(self) -> None:
        for parameter in self.params:
            _add(parameter, parameter.grad_sample.sum(dim=0))


class ClippedAsBatch(PrivateOptimizer):
    """Clips the sum of the batch instead of each record."""

    def clip_and_accumulate(self) -> None:
        sums = [parameter.grad_sample.sum(dim=0) for parameter in self.params]
        norm = torch.cat([each.flatten() for each in sums]).norm()
        for parameter, each in zip(self.params, sums, strict=True):
            _add(parameter, each * min(1.0, float(self.max_grad_norm / (norm + 1e-6))))


class ClippedEachParameter(PrivateOptimizer):
    """Gives every parameter the whole clipping norm."""

    def clip_and_accumulate(self) -> None:
        for parameter in self.params:
            norms = parameter.grad_sample.flatten(1).norm(dim=1)
            factors = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
            _add(parameter, torch.einsum("i,i...", factors, parameter.grad_sample))


class KeepsBroken(PrivateOptimizer):
    """Lets gradients that are not finite through."""

    def clip_and_accumulate(self) -> None:
        DPOptimizer.clip_and_accumulate(self)


class BatchAverage(PrivateOptimizer):
    """Divides by the records that took part, not by those that were expected."""

    seen = 0

    def accumulate(self, gradients: Sequence[Any], *, records: int) -> None:
        self.seen += records
        super().accumulate(gradients, records=records)

    def release(self) -> None:
        expected, self.expected_batch_size = self.expected_batch_size, max(1, self.seen)
        super().release()
        self.expected_batch_size, self.seen = expected, 0


def _add(parameter: Any, total: Any) -> None:
    parameter.summed_grad = total if parameter.summed_grad is None else parameter.summed_grad + total


def mechanism(
    kind: type[PrivateOptimizer] = PrivateOptimizer,
    *,
    noise: float = 0.0,
    randomness: Randomness | None = None,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> PrivateOptimizer:
    """An optimizer over parameters of these shapes, all zeros, whose steps are seen as they are."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    made = private_optimizer(
        torch.optim.SGD(parameters, lr=1.0),
        noise_multiplier=noise,
        max_grad_norm=NORM,
        expected_batch=EXPECTED,
        randomness=randomness or SeededRandomness(0),
    )
    made.__class__ = kind
    return made


def released(made: PrivateOptimizer, gradients: Sequence[Any], parts: int = 1) -> Floats:
    """What one step releases: its sum with noise, flat.

    Args:
        made: The mechanism.
        gradients: One tensor [records, *shape] a parameter; of no record, nothing is accumulated.
        parts: In how many micro-batches.
    """
    before = [parameter.detach().clone() for parameter in made.params]
    count = len(gradients[0])
    for places in np.array_split(np.arange(count), parts) if count else ():
        made.accumulate([each[places].clone() for each in gradients], records=len(places))
    made.release()
    after = [parameter.detach() for parameter in made.params]
    moved = [(old - new).flatten().double() for old, new in zip(before, after, strict=True)]
    return torch.cat(moved).numpy() * EXPECTED


def nobody(shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Any]:
    """Gradients of no record."""
    return [torch.zeros((0, *shape)) for shape in shapes]
