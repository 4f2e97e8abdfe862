"""The bound of the one-run audit, against exact chances and against a mechanism whose epsilon is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from factory.privacy.one_run import Guesses, bound, guess_counts, least_epsilon, p_value


def test_without_delta_it_is_the_binomial_tail() -> None:
    right = math.exp(1) / (1 + math.exp(1))
    assert p_value(500, 20, 20, 1.0, 0.0) == pytest.approx(right**20, rel=1e-12)
    assert p_value(500, 20, 0, 1.0, 0.0) == 1.0


def test_delta_adds_what_the_theorem_says() -> None:
    """By hand, for two guesses that are both right: i = 1 gives P[B = 1], i = 2 gives P[B < 2] / 2."""
    right = math.exp(0.5) / (1 + math.exp(0.5))
    one, none = 2 * right * (1 - right), (1 - right) ** 2
    expected = right**2 + 2 * 30 * 1e-3 * max(one, (one + none) / 2)
    assert p_value(30, 2, 2, 0.5, 1e-3) == pytest.approx(expected, rel=1e-12)


def test_it_grows_with_epsilon_and_falls_with_right_guesses() -> None:
    by_epsilon = [p_value(1000, 200, 170, epsilon / 4, 1e-5) for epsilon in range(16)]
    by_correct = [p_value(1000, 200, correct, 1.0, 1e-5) for correct in range(150, 201, 5)]
    assert by_epsilon == sorted(by_epsilon) and by_epsilon[0] < 1e-3 < 0.9 < by_epsilon[-1]
    assert by_correct == sorted(by_correct, reverse=True)


@pytest.mark.parametrize(("guesses", "expected"), [(50, 2.33), (100, 3.05), (200, 3.75)])
def test_the_most_that_can_be_shown(guesses: int, expected: float) -> None:
    """The largest values that noise off gave in the measured table: all guesses right, four ways to guess."""
    assert least_epsilon(1000, guesses, guesses, delta=1e-5, confidence=1 - 0.05 / 4) == pytest.approx(
        expected, abs=0.01
    )


def test_half_of_the_guesses_right_shows_nothing() -> None:
    assert least_epsilon(1000, 998, 499, delta=1e-5, confidence=0.95) == 0.0


def test_ways_to_guess_follow_from_the_chance_to_be_sampled_alone() -> None:
    assert guess_counts(1000) == [Guesses(25, 25), Guesses(50, 50), Guesses(100, 100), Guesses(499, 499)]
    assert guess_counts(2000, 0.1) == [Guesses(25, 0), Guesses(50, 0), Guesses(75, 0)]
    assert guess_counts(20) == [Guesses(2, 2), Guesses(5, 5), Guesses(9, 9)]
    assert guess_counts(0) == guess_counts(1, 0.001) == [Guesses(1, 0)]


def randomized_response(epsilon: float, seed: int, *, canaries: int = 1000) -> float:
    """Lower bound for the mechanism that tells each coin, and with chance 1 / (1 + e^epsilon) the other side of it."""
    generator = np.random.default_rng(seed)
    coins = generator.random(canaries) < 0.5
    told = coins ^ (generator.random(canaries) < 1 / (1 + math.exp(epsilon)))
    scores = told + generator.random(canaries) / 2
    return bound(scores, coins, delta=0.0, guesses=guess_counts(canaries)).lower


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_it_is_below_the_epsilon_of_a_mechanism_that_is_tight(epsilon: float) -> None:
    """At 95 % confidence some of 100 runs may be above by chance: at most 18, binomial, p > 1e-6."""
    found = [randomized_response(epsilon, seed) for seed in range(100)]
    assert sum(lower > epsilon for lower in found) <= 18
    assert np.median(found) > 0.7 * epsilon


def test_a_mechanism_with_a_larger_epsilon_is_above() -> None:
    assert all(randomized_response(3.0, seed) > 2.0 for seed in range(20))


def test_a_perfect_score_reaches_the_ceiling() -> None:
    coins = np.arange(1000) % 2 == 0
    found = bound(coins.astype(np.float64), coins, delta=1e-5, guesses=guess_counts(1000))
    assert found.lower == found.ceiling > 5 and found.correct == found.guesses == 998
    worst = bound(-coins.astype(np.float64), coins, delta=1e-5, guesses=guess_counts(1000))
    assert worst.lower == 0.0
