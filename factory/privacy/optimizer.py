"""Clip, sum, add noise, divide by the expected batch: Opacus' `DPOptimizer` with noise of our own.

    optimizer = private_optimizer(torch.optim.Adam([prompt], lr=0.05), noise_multiplier=0.6, max_grad_norm=0.1,
                                  expected_batch=256, randomness=SecureRandomness())
    prompt.grad_sample = gradients          # [records of the batch, *prompt.shape]; of no record: [0, *prompt.shape]
    optimizer.step()
    optimizer.zero_grad()                   # without it the next step raises

Opacus draws its noise from torch's generator, whose seed repeats it; its secure mode needs a package that cannot be
installed. Here it comes from a `Randomness`. A record whose gradient is not finite contributes one of zero: that is decided
for each record by itself, so that the sensitivity stays what it is (Opacus would make the whole step not a number).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opacus.optimizers import DPOptimizer

from factory.privacy.randomness import Randomness

if TYPE_CHECKING:
    from torch.optim import Optimizer


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]  # untyped base
    """`DPOptimizer` whose noise comes from a `Randomness`, and that asserts what its privacy rests on."""

    randomness: Randomness

    def clip_and_accumulate(self) -> None:
        """Clip each record's gradient over all parameters together, and sum.

        Raises:
            ValueError: If the gradients are not one of each parameter's shape for each record, or were used before.
        """
        import torch

        counts = {len(parameter.grad_sample) for parameter in self.params if parameter.grad_sample is not None}
        for parameter in self.params:
            found = parameter.grad_sample
            if not isinstance(found, torch.Tensor) or found.shape[1:] != parameter.shape or len(counts) != 1:
                raise ValueError("expected a gradient of the parameter's shape for each record of the batch")
            if not hasattr(found, "_processed"):
                finite = torch.isfinite(found.flatten(1)).all(dim=1) if len(found) else torch.ones(0, dtype=torch.bool)
                if not bool(finite.all()):
                    _drop(self.params, ~finite)
        super().clip_and_accumulate()

    def accumulate(self, gradients: Sequence[Any], *, records: int) -> None:
        """Clip the gradients of some records of a step, one tensor [rows, *shape] a parameter, and add them to its sum.

        How a step is cut into such parts changes nothing of what is released.

        Args:
            gradients: As they come, in the order of the parameters.
            records: How many records they must be of.

        Raises:
            ValueError: If there is not one gradient for each record, as where a library sums the batch.
        """
        found = {len(each) for each in gradients}
        if found != {records}:
            raise ValueError(f"expected a gradient for each of {records} records, found {sorted(found)}")
        for parameter, found in zip(self.params, gradients, strict=True):
            parameter.grad_sample = found
        self.clip_and_accumulate()
        for parameter in self.params:
            parameter.grad_sample = None

    def release(self) -> None:
        """Add the noise, once, and take the step; also where no record took part."""
        import torch

        for parameter in self.params:
            if parameter.summed_grad is None:
                parameter.summed_grad = torch.zeros_like(parameter)
        self.add_noise()
        for parameter in self.params:
            parameter.grad /= self.expected_batch_size
        self.original_optimizer.step()
        self.zero_grad()

    def add_noise(self) -> None:
        """Add noise of standard deviation `noise_multiplier * max_grad_norm` to each number of the sum."""
        import torch

        for parameter in self.params:
            total = parameter.summed_grad
            if hasattr(total, "_processed"):
                raise ValueError("noise was added to this sum before; call zero_grad() after each step")
            noise = torch.zeros_like(total)
            if self.noise_multiplier:
                drawn = self.randomness.normals(total.numel()) * (self.noise_multiplier * self.max_grad_norm)
                noise = torch.from_numpy(drawn).to(device=total.device, dtype=total.dtype).view_as(total)
            parameter.grad = (total + noise).view_as(parameter)
            total._processed = True


def private_optimizer(
    optimizer: Optimizer,
    *,
    noise_multiplier: float,
    max_grad_norm: float,
    expected_batch: float,
    randomness: Randomness,
) -> PrivateOptimizer:
    """Wrap an optimizer.

    Args:
        optimizer: What the noisy mean is handed to.
        noise_multiplier: Standard deviation of the noise over the clipping norm; 0 adds none.
        max_grad_norm: Clipping norm of a record's gradient over all parameters; infinite clips nothing.
        expected_batch: Records that a step reads on average, which the sum is divided by; never those that it did read.
        randomness: Where the noise comes from.

    Raises:
        ValueError: If there is noise and nothing is clipped.
    """
    if noise_multiplier and math.isinf(max_grad_norm):
        raise ValueError("noise without clipping bounds nothing")
    wrapped = PrivateOptimizer(
        optimizer,
        noise_multiplier=noise_multiplier,
        max_grad_norm=max_grad_norm,
        expected_batch_size=expected_batch,
        loss_reduction="mean",
    )
    wrapped.randomness = randomness
    return wrapped


def _drop(parameters: list[Any], dropped: Any) -> None:
    """Set the gradients of some records to zero, in all parameters."""
    for parameter in parameters:
        parameter.grad_sample[dropped.to(parameter.grad_sample.device)] = 0.0
