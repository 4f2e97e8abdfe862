"""Canaries say nothing of anybody, take part by fair coins, and show what is remembered of them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from factory.privacy.canaries import LENGTH, WORDS, Canary, canary_bound, decoded, draw, encoded, exposure
from factory.privacy.randomness import SecureRandomness, SeededRandomness
from factory.resources import resource


def test_canaries_are_words_of_our_own_and_no_two_are_alike() -> None:
    path = resource(WORDS)
    assert path is not None
    words = path.read_text().split()
    assert len(words) == len(set(words)) == 256 and all(word.isascii() and word.isalpha() for word in words)
    drawn = draw(500, SecureRandomness())
    assert len({canary.text for canary in drawn}) == 500
    assert all(len(canary.text.split()) == LENGTH and set(canary.text.split()) <= set(words) for canary in drawn)
    counted = Counter(word for canary in drawn for word in canary.text.split())
    assert stats.chisquare([counted[word] for word in words]).pvalue > 1e-6


def test_coins_and_classes_are_fair_and_independent() -> None:
    drawn = draw(2000, SecureRandomness(), ["spam", "ham", "other"])
    table = Counter((canary.label, canary.included) for canary in drawn)
    assert set(table) == {(label, coin) for label in ("spam", "ham", "other") for coin in (True, False)}
    assert stats.chisquare(list(table.values())).pvalue > 1e-6
    assert {canary.label for canary in draw(5, SecureRandomness())} == {""}


def test_the_same_seed_draws_the_same_and_the_system_does_not() -> None:
    assert draw(20, SeededRandomness(1)) == draw(20, SeededRandomness(1))
    assert draw(20, SecureRandomness()) != draw(20, SecureRandomness())
    assert draw(0, SecureRandomness()) == []


def test_they_survive_their_file() -> None:
    drawn = draw(5, SecureRandomness(), ["a", "b"])
    assert decoded(encoded(drawn)) == drawn
    with pytest.raises(msgspec.DecodeError):
        decoded(b'[{"text": "tulip"}]')


def test_exposure_is_that_of_the_paper() -> None:
    """log2 |R| - log2 rank; the canary counts among |R|."""
    others = [float(each) for each in range(1, 1024)]
    assert exposure([0.0, 1023.5], others) == [10.0, 0.0]
    assert exposure([511.5], others) == [math.log2(1024 / 512)]
    assert exposure([3.0], [3.0, 3.0, 3.0]) == [0.0], "what cannot be told apart is not exposed"


@pytest.mark.parametrize("wrong", [([1.0], []), ([math.nan], [1.0]), ([1.0], [math.inf])])
def test_exposure_needs_losses_to_compare_with(wrong: Any) -> None:
    with pytest.raises(ValueError):
        exposure(*wrong)


def test_nothing_remembered_is_an_exposure_of_about_one_and_a_half_bits() -> None:
    generator = np.random.default_rng(1)
    found = exposure(list(generator.normal(size=4000)), list(generator.normal(size=2000)))
    assert np.mean(found) == pytest.approx(math.log2(math.e), abs=0.1)


def test_the_bound_follows_what_is_remembered() -> None:
    generator = np.random.default_rng(1)
    coins = [bool(coin) for coin in generator.random(1000) < 0.5]
    noise = generator.normal(size=1000)
    nothing = canary_bound(list(noise), coins, 1e-5)
    much = canary_bound(list(noise + 8 * np.array(coins)), coins, 1e-5)
    turned = canary_bound(list(noise - 8 * np.array(coins)), coins, 1e-5)
    assert nothing.lower < 0.3 and turned.lower == 0.0
    assert much.lower > 3.5 and much.lower <= much.ceiling


def test_few_canaries_can_show_little() -> None:
    coins = [canary.included for canary in draw(20, SeededRandomness(2))]
    found = canary_bound([float(coin) for coin in coins], coins, 1e-5)
    assert 0.5 < found.ceiling < 2 and found.canaries == 20
    assert canary_bound([], [], 1e-5).lower == 0.0


def test_where_few_are_sampled_only_high_scores_are_guessed() -> None:
    coins = [canary.included for canary in draw(1000, SeededRandomness(2))]
    found = canary_bound([float(coin) for coin in coins], coins, 1e-5, share=0.2)
    assert found.guesses <= 75 and found.correct == found.guesses


def test_a_canary_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Canary("tulip", included=True).included = False  # type: ignore[misc]
