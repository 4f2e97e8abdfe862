"""What a private optimizer does and refuses: the divisor, empty batches, gradients used twice, shapes that are wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from factory.privacy.optimizer import private_optimizer
from factory.privacy.randomness import SeededRandomness

from .mechanisms import EXPECTED, NORM, BatchAverage, mechanism, nobody, released
from .test_sensitivity import spanning


def clipped_sum(batch: list[Any]) -> Any:
    """What the sum of a batch is, by hand."""
    flat = np.concatenate([each.flatten(1).double().numpy() for each in batch], axis=1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return (flat * np.minimum(1.0, NORM / (norms + 1e-6))).sum(axis=0)


def test_without_noise_it_releases_the_sum_of_what_is_clipped() -> None:
    batch = spanning()
    assert np.allclose(released(mechanism(), batch), clipped_sum(batch), atol=1e-6)


def test_how_a_step_is_cut_into_micro_batches_changes_nothing() -> None:
    batch = spanning()
    whole = released(mechanism(noise=0.5), batch)
    for parts in (2, 3, len(batch[0])):
        assert np.allclose(released(mechanism(noise=0.5), batch, parts), whole, atol=1e-5)


def divides_by_the_expected_batch(kind: Any) -> bool:
    """Whether a mean over twice as many copies is twice as large."""
    one = spanning(4)
    two = [torch.cat([each, each]) for each in one]
    return bool(np.allclose(released(mechanism(kind), two), 2 * released(mechanism(kind), one), atol=1e-5))


def test_the_divisor_is_what_was_expected_not_what_came() -> None:
    assert divides_by_the_expected_batch(type(mechanism()))
    assert not divides_by_the_expected_batch(BatchAverage)


def test_the_expected_batch_is_what_the_mean_is_of() -> None:
    made = mechanism()
    before = torch.cat([each.detach().flatten() for each in made.params])
    batch = spanning()
    made.accumulate(batch, records=len(batch[0]))
    made.release()
    after = torch.cat([each.detach().flatten() for each in made.params])
    assert np.allclose((before - after).numpy() * EXPECTED, clipped_sum(batch), atol=1e-5)


def test_a_step_in_which_nobody_takes_part_is_a_noisy_step() -> None:
    made = mechanism(noise=0.5)
    assert np.linalg.norm(released(made, nobody())) > 0
    assert np.linalg.norm(released(mechanism(), nobody())) == 0


def test_a_step_leaves_nothing_for_the_next() -> None:
    made = mechanism()
    first = released(made, spanning(seed=1))
    second = released(made, spanning(seed=2))
    assert np.allclose(first, clipped_sum(spanning(seed=1)), atol=1e-5)
    assert np.allclose(second, clipped_sum(spanning(seed=2)), atol=1e-5)


def test_gradients_are_used_once_and_noise_is_added_once() -> None:
    made = mechanism(noise=0.5)
    for parameter, gradients in zip(made.params, spanning(), strict=True):
        parameter.grad_sample = gradients
    made.step()
    with pytest.raises(ValueError, match="Gradients haven't been cleared"):
        made.step()
    for parameter, gradients in zip(made.params, spanning(), strict=True):
        parameter.grad_sample = gradients
    with pytest.raises(ValueError, match="call zero_grad"):
        made.step()
    made.zero_grad()
    for parameter, gradients in zip(made.params, spanning(), strict=True):
        parameter.grad_sample = gradients
    made.step()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda batch: [each[:1] for each in batch],
        lambda batch: [each.sum(dim=0) for each in batch],
        lambda batch: [batch[0], batch[1][:3]],
        lambda batch: [batch[0][:, :2], batch[1]],
        lambda batch: batch[:1],
    ],
    ids=["one row for all", "summed", "rows that differ", "another shape", "a parameter without"],
)
def test_what_is_no_gradient_of_each_record_is_refused(wrong: Any) -> None:
    batch = spanning()
    with pytest.raises(ValueError):
        mechanism().accumulate(wrong(batch), records=len(batch[0]))


def test_a_parameter_that_has_no_gradients_is_refused() -> None:
    made = mechanism()
    made.params[0].grad_sample = spanning()[0]
    with pytest.raises(ValueError, match="(?i)gradient"):
        made.step()


def test_noise_without_clipping_is_refused_and_neither_is_the_mode_without_privacy() -> None:
    inner = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
    given: dict[str, Any] = {"expected_batch": 1.0, "randomness": SeededRandomness(0)}
    with pytest.raises(ValueError, match="noise without clipping"):
        private_optimizer(inner, noise_multiplier=0.5, max_grad_norm=math.inf, **given)
    made = private_optimizer(inner, noise_multiplier=0.0, max_grad_norm=math.inf, **given)
    made.accumulate([torch.full((2, 3), 5.0)], records=2)
    made.release()
    assert torch.equal(made.params[0].detach(), torch.full((3,), -10.0))
