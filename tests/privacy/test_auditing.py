"""The audit of the real training loop and of the real votes: sound ones pass, planted faults are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from factory.privacy import training, voting
from factory.privacy.auditing import Finding, play, setting_of
from factory.privacy.claim import Claim
from factory.privacy.games import Setting
from factory.privacy.ledger import Ledger
from factory.privacy.optimizer import PrivateOptimizer, private_optimizer
from factory.privacy.randomness import Floats, SecureRandomness, SeededRandomness

SEEDS = range(10)


def claim(**changes: Any) -> Claim:
    known: dict[str, Any] = {
        "step": "dp",
        "method": "dp_lora",
        "run": "0",
        "private": True,
        "epsilon": 1.96,
        "delta": 1e-5,
        "accountant": "PRV",
        "mechanism": "Gaussian",
        "noise_multiplier": 5.0,
        "max_grad_norm": 0.1,
        "sample_rate": 1.0,
        "steps": 6,
        "records": 5000,
        "records_policy": "public",
        "unit": "one record",
        "sampler": "Poisson",
        "randomness": "operating system",
        "labels": "",
        "dimensions": 11520,
        "expected_batch": 64.0,
    }
    return Claim(**(known | changes))


ALL_RECORDS = setting_of(claim())
SAMPLED = setting_of(claim(noise_multiplier=1.0, sample_rate=0.05, steps=500))
VOTES = setting_of(claim(noise_multiplier=6.21, max_grad_norm=None, steps=10, dimensions=0))


class Silent(SeededRandomness):
    """No noise; samples as they are."""

    def normals(self, count: int) -> Floats:
        return np.zeros(count)


class Alike(SeededRandomness):
    """The same noise for all numbers."""

    def normals(self, count: int) -> Floats:
        return np.full(count, super().normals(1)[0])


def clipping_off(optimizer: Any, **settings: Any) -> PrivateOptimizer:
    """The noise stays what it is; the norm is not bounded any more."""
    made = private_optimizer(optimizer, **settings)
    made.noise_multiplier, made.max_grad_norm = made.noise_multiplier * made.max_grad_norm / 1e9, 1e9
    return made


def everybody(records: int, sample_rate: float, randomness: Any) -> Any:
    return np.arange(records)


def found(setting: Setting, randomness: Callable[[int], SeededRandomness] = SeededRandomness) -> list[Finding]:
    return [play(setting, randomness(seed), delta=1e-5) for seed in SEEDS]


@pytest.mark.parametrize("setting", [ALL_RECORDS, SAMPLED, VOTES], ids=["all", "sampled", "votes"])
def test_what_is_sound_is_never_reported(setting: Setting) -> None:
    audits = found(setting)
    assert [audit.claimed <= 2 and not audit.blind for audit in audits] == [True] * 10
    assert [audit.violation for audit in audits] == [False] * 10


@pytest.mark.parametrize("setting", [ALL_RECORDS, SAMPLED, VOTES], ids=["all", "sampled", "votes"])
@pytest.mark.parametrize("randomness", [Silent, Alike])
def test_noise_that_is_missing_is_found_every_time(setting: Setting, randomness: Any) -> None:
    assert [audit.violation for audit in found(setting, randomness)] == [True] * 10


@pytest.mark.parametrize("setting", [ALL_RECORDS, SAMPLED], ids=["all", "sampled"])
def test_clipping_that_is_missing_is_found_every_time(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "private_optimizer", clipping_off)
    assert [audit.violation for audit in found(setting)] == [True] * 10


def test_a_sampler_that_takes_everybody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "poisson_sample", everybody)
    assert [audit.violation for audit in found(SAMPLED)] == [True] * 10


def test_votes_that_are_not_one_a_record_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    once = voting._counted
    monkeypatch.setattr(voting, "_counted", lambda *given: 100 * once(*given))
    assert [audit.violation for audit in found(VOTES)] == [True] * 10


def test_a_step_that_is_not_paid_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spend = Ledger.spend

    def forgetful(ledger: Ledger, run: str, *, steps: int = 0, epsilon_counts: float = 0.0) -> None:
        if ledger.runs()[0].spent < 2:
            spend(ledger, run, steps=steps, epsilon_counts=epsilon_counts)

    monkeypatch.setattr(Ledger, "spend", forgetful)
    audit = play(ALL_RECORDS, SeededRandomness(0), delta=1e-5)
    assert audit.unpaid == ALL_RECORDS.steps - 2 and audit.violation


def test_it_works_with_the_randomness_of_the_operating_system() -> None:
    audit = play(ALL_RECORDS, SecureRandomness(), delta=1e-5)
    assert not audit.violation and audit.bound.canaries == 1000


def test_as_many_steps_are_audited_as_cost_an_epsilon_of_two() -> None:
    whole = setting_of(claim(noise_multiplier=20.0, steps=50))
    part = setting_of(claim(noise_multiplier=1.0, sample_rate=0.05, steps=1000))
    assert whole.steps == 50
    assert 1 < part.steps < 100
    assert play(part, SeededRandomness(1), delta=1e-5).claimed <= 2
    assert setting_of(claim(noise_multiplier=0.1)).steps == 1
    assert setting_of(claim(noise_multiplier=30.0, steps=10**6)).steps <= 300
    assert setting_of(claim(steps=6), steps=4).steps == 4
    assert setting_of(claim(steps=6), steps=400).steps == 6


def test_where_one_step_costs_more_it_says_that_it_is_blind() -> None:
    audit = play(setting_of(claim(noise_multiplier=0.5)), SeededRandomness(1), delta=1e-5)
    assert audit.claimed > audit.bound.ceiling and audit.blind


def test_more_canaries_where_few_are_sampled_but_no_more_than_numbers_are_trained() -> None:
    assert ALL_RECORDS.canaries == 1000
    assert 1000 < setting_of(claim(noise_multiplier=1.0, sample_rate=0.05, steps=1000)).canaries <= 8000
    assert setting_of(claim(dimensions=640)).canaries == 640
    assert VOTES.canaries == 500


def test_a_large_delta_gives_way_to_a_small_one() -> None:
    audit = play(ALL_RECORDS, SeededRandomness(1), delta=0.1)
    assert audit.delta == 1e-5 and audit.claimed > 1.9
