"""Limits are kept, add up over sessions, and stay spent once they have ended a run."""

from __future__ import annotations

import time

import pytest

from factory.context.budget import Ledger
from factory.errors import RequestRefused
from factory.journal import Spent
from factory.recipe.schema import Budget, Prices


def refused(ledger: Ledger) -> RequestRefused:
    with pytest.raises(RequestRefused) as raised:
        ledger.reserve()
    assert raised.value.reason == "budget_spent"
    return raised.value


def test_requests_count_when_they_are_sent() -> None:
    ledger = Ledger(Budget(requests=3), Spent(requests=1), 0.0, 1)
    ledger.reserve()
    ledger.reserve()
    error = refused(ledger)
    assert (error.score, error.threshold, str(error)) == (3, 3, "budget.requests of 3 is spent.")
    ledger.refund()
    ledger.reserve()
    refused(ledger)


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (Budget(tokens=100), "tokens"),
        (Budget(money=0.5, prices=Prices(prompt=5000, completion=5000)), "money"),
        (Budget(requests=9999, tokens=100), "tokens"),
    ],
)
def test_tokens_and_money_count_when_they_are_answered(budget: Budget, name: str) -> None:
    ledger = Ledger(budget, Spent(prompt_tokens=40), 0.0, 1)
    ledger.reserve()
    ledger.charge(50, 9)
    ledger.reserve()
    ledger.charge(0, 1)
    assert f"budget.{name} of" in str(refused(ledger))


def test_money_is_counted_at_the_prices_of_a_million_tokens() -> None:
    ledger = Ledger(Budget(prices=Prices(prompt=2.0, completion=10.0)), Spent(), 0.0, 1)
    ledger.charge(1_000_000, 300_000)
    assert ledger.money == pytest.approx(5.0)
    assert Ledger(Budget(), Spent(prompt_tokens=10), 0.0, 1).money == 0.0


def test_the_clock_runs_from_the_first_request_and_goes_on_in_the_next_session() -> None:
    ledger = Ledger(Budget(seconds=10), Spent(), 9.99, 1)
    assert ledger.seconds == 9.99
    ledger.reserve()
    ledger.start_clock()
    time.sleep(0.02)
    assert ledger.seconds > 10
    assert "budget.seconds of 10" in str(refused(ledger))


def test_gpu_hours_count_every_device() -> None:
    assert "gpu_hours" in str(refused(Ledger(Budget(gpu_hours=2), Spent(), 1801.0, 4)))
    Ledger(Budget(gpu_hours=2), Spent(), 1801.0, 3).reserve()


def test_a_budget_that_ended_a_run_stays_spent_until_it_is_changed() -> None:
    mark = Ledger(Budget(requests=10), Spent(), 0.0, 1).mark
    assert "budget.requests of 10" in str(refused(Ledger(Budget(requests=10), Spent(requests=8), 0.0, 1, mark)))
    Ledger(Budget(requests=11), Spent(requests=8), 0.0, 1, mark).reserve()
    Ledger(Budget(), Spent(requests=8), 0.0, 1, mark).reserve()


def test_the_share_is_that_of_the_limit_nearest_to_its_end() -> None:
    assert Ledger(Budget(), Spent(requests=5), 0.0, 1).share() is None
    assert Ledger(Budget(requests=10, tokens=100), Spent(5, 60, 20), 0.0, 1).share() == pytest.approx(0.8)
    assert Ledger(Budget(requests=10), Spent(50), 0.0, 1).share() == 1.0
