"""One record more or less moves all votes together by at most 1, the noise is what was said, and it is paid for first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.privacy.randomness import SecureRandomness, SeededRandomness
from factory.privacy.voting import noisy_votes

Votes = Callable[..., list[float]]


def nothing() -> None:
    pass


def corpus(seed: int, voters: int, candidates: int, groups: int, dimensions: int = 7) -> dict[str, Any]:
    """Random unit vectors, some of them equal to each other, in groups."""
    draw = np.random.default_rng(seed)

    def units(count: int) -> Any:
        found = draw.normal(size=(count, dimensions)).astype(np.float32)
        if count > 2:
            found[1] = found[0]  # a tie
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return {
        "voters": units(voters),
        "voter_groups": [str(draw.integers(groups)) for _ in range(voters)],
        "candidates": units(candidates),
        "candidate_groups": [str(draw.integers(groups)) for _ in range(candidates)],
    }


def clean(found: dict[str, Any], nearest: int, votes: Votes = noisy_votes) -> Any:
    return np.array(votes(**found, nearest=nearest, noise=0.0, randomness=SeededRandomness(0), pay=nothing))


def without(found: dict[str, Any], voter: int) -> dict[str, Any]:
    left = [place for place in range(len(found["voters"])) if place != voter]
    return {**found, "voters": found["voters"][left], "voter_groups": [found["voter_groups"][place] for place in left]}


def most_moved(votes: Votes, nearest: int, seed: int = 3) -> float:
    """Greatest norm by which leaving one voter out moves the votes."""
    found = corpus(seed, voters=25, candidates=9, groups=2)
    whole = clean(found, nearest, votes)
    return max(float(np.linalg.norm(whole - clean(without(found, each), nearest, votes))) for each in range(25))


# --- sensitivity ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    voters=st.integers(1, 30),
    candidates=st.integers(1, 12),
    groups=st.integers(1, 3),
    nearest=st.sampled_from([1, 3, 7]),
)
def test_one_voter_moves_the_votes_by_at_most_one(
    seed: int, voters: int, candidates: int, groups: int, nearest: int
) -> None:
    found = corpus(seed, voters, candidates, groups)
    whole = clean(found, nearest)
    for voter in range(voters):
        moved = whole - clean(without(found, voter), nearest)
        assert np.linalg.norm(moved) <= 1 + 1e-12
        standing = found["candidate_groups"].count(found["voter_groups"][voter])
        expected = min(nearest, standing)
        assert sorted(np.round(moved * math.sqrt(nearest), 9))[len(moved) - expected :] == [1.0] * expected
        assert np.count_nonzero(np.round(moved, 9)) == expected, "nobody else votes otherwise for it"


@pytest.mark.parametrize("nearest", [1, 3, 7])
def test_the_check_of_sensitivity_sees_faults(nearest: int) -> None:
    def not_normalised(**given: Any) -> list[float]:
        return [vote * math.sqrt(nearest) for vote in noisy_votes(**given)]

    def by_rank(**given: Any) -> list[float]:
        """Votes that depend on each other: everything is scaled to the busiest candidate."""
        votes = noisy_votes(**given)
        return [10 * vote / max(votes) for vote in votes]

    assert most_moved(noisy_votes, nearest) <= 1 + 1e-12
    assert most_moved(by_rank, nearest) > 1.01
    if nearest > 1:
        assert most_moved(not_normalised, nearest) > 1.5


@pytest.mark.parametrize("nearest", [1, 3])
def test_votes_without_noise_add_up_to_the_voters(nearest: int) -> None:
    found = corpus(1, voters=200, candidates=30, groups=2)
    assert clean(found, nearest).sum() == pytest.approx(200 * math.sqrt(nearest))


def test_each_votes_for_the_nearest_of_its_group_and_of_equal_ones_for_the_first() -> None:
    found = corpus(2, voters=50, candidates=10, groups=2)
    expected = np.zeros(10)
    for vector, group in zip(found["voters"], found["voter_groups"], strict=True):
        cosines = [
            (round(float(vector.astype(float) @ candidate.astype(float)), 6), -place)
            for place, candidate in enumerate(found["candidates"])
            if found["candidate_groups"][place] == group
        ]
        expected[-max(cosines)[1]] += 1
    assert list(clean(found, 1)) == list(expected)
    assert expected[0] > 0 and (found["candidate_groups"][0] != found["candidate_groups"][1] or expected[1] == 0)


def test_a_voter_whose_group_has_no_candidate_casts_no_vote_and_one_that_is_no_number_casts_one() -> None:
    found = corpus(4, voters=6, candidates=4, groups=1)
    found["voter_groups"][5] = "other"
    assert clean(found, 1).sum() == 5
    found["voters"][0] = np.nan
    for nearest in (1, 3):
        moved = clean(found, nearest) - clean(without(found, 0), nearest)
        assert np.linalg.norm(moved) == pytest.approx(1.0)


# --- noise ----------------------------------------------------------------------------------------------------


def spread(votes: Votes, randomness: Any, noise: float) -> float:
    """Chi-square of the noise on many candidates, as a number of standard deviations from what it should be."""
    count = 20_000
    draw = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    found = {"candidates": draw, "candidate_groups": ["a"] * count, "voters": draw[:1], "voter_groups": ["b"]}
    noisy = np.array(votes(**found, nearest=1, noise=noise, randomness=randomness, pay=nothing))
    return float((np.sum((noisy / noise) ** 2) - count) / math.sqrt(2 * count))


def test_the_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    def halved(noise: float, **given: Any) -> list[float]:
        return noisy_votes(noise=noise / 2, **given)

    assert abs(spread(noisy_votes, SeededRandomness(7), 4.2)) < 4
    assert abs(spread(noisy_votes, SecureRandomness(), 4.2)) < 5.5
    assert abs(spread(halved, SeededRandomness(7), 4.2)) > 50


def test_no_bits_of_the_sum_are_told_beyond_three_digits() -> None:
    found = corpus(5, voters=9, candidates=5, groups=1)
    votes = noisy_votes(**found, nearest=3, noise=1.5, randomness=SeededRandomness(1), pay=nothing)
    assert votes == [round(vote, 3) for vote in votes]
    assert len(set(votes)) == 5


def test_it_is_paid_for_before_the_noise_is_drawn() -> None:
    events: list[str] = []

    class Watched(SeededRandomness):
        def normals(self, count: int) -> Any:
            events.append("noise")
            return super().normals(count)

    found = corpus(6, voters=9, candidates=5, groups=1)
    noisy_votes(**found, nearest=1, noise=1.0, randomness=Watched(1), pay=lambda: events.append("paid"))
    assert events == ["paid", "noise"]

    def broke() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        noisy_votes(**found, nearest=1, noise=1.0, randomness=Watched(1), pay=broke)
    assert events == ["paid", "noise"], "no noise was drawn"
