"""Draws by hash rank: fair, reproducible, and changed by an edit only where the edit has a part in them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.draws import Candidates
from factory.records import digest

NAMES = st.lists(st.integers(0, 10**6).map(lambda number: digest("test", number)), unique=True, max_size=150)


def drawn(names: list[str], draw: str, count: int) -> list[str]:
    return [names[index] for index in Candidates(names).draw(draw, count)]


@settings(max_examples=60, deadline=None)
@given(names=NAMES, count=st.integers(0, 200))
def test_a_draw_takes_different_candidates_and_as_many_as_there_are(names: list[str], count: int) -> None:
    found = drawn(names, "draw", count)
    assert len(found) == len(set(found)) == min(count, len(names))


@settings(max_examples=60, deadline=None)
@given(names=NAMES, seed=st.randoms(use_true_random=False), count=st.integers(0, 20))
def test_the_order_in_which_candidates_came_decides_nothing(names: list[str], seed: object, count: int) -> None:
    shuffled = list(names)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert drawn(names, "draw", count) == drawn(shuffled, "draw", count)


@settings(max_examples=60, deadline=None)
@given(names=NAMES.filter(bool), count=st.integers(1, 20))
def test_fewer_are_the_first_of_more(names: list[str], count: int) -> None:
    assert drawn(names, "draw", count) == drawn(names, "draw", count + 5)[:count]


@settings(max_examples=60, deadline=None)
@given(names=NAMES.filter(lambda names: len(names) > 1), count=st.integers(1, 20))
def test_one_candidate_more_only_enters_and_pushes_the_last_one_out(names: list[str], count: int) -> None:
    *fewer, added = names
    before, after = drawn(fewer, "draw", count), drawn(names, "draw", count)
    assert after == before or [name for name in after if name != added] == before[: len(after) - 1]


@settings(max_examples=60, deadline=None)
@given(names=NAMES, upto=st.integers(0, 150), count=st.integers(0, 20))
def test_upto_hides_the_later_candidates(names: list[str], upto: int, count: int) -> None:
    found = Candidates(names).draw("draw", count, upto=min(upto, len(names)))
    assert [names[index] for index in found] == drawn(names[:upto], "draw", count)


def test_a_growing_list_draws_as_one_that_was_made_at_once() -> None:
    names = [digest("name", number) for number in range(300)]
    growing = Candidates()
    for name in names:
        growing.add(name)
    assert len(growing) == 300
    assert growing.draw("draw", 50) == Candidates(names).draw("draw", 50)


def test_the_numbers_are_the_same_on_every_machine() -> None:
    """Written down once: another result means that every journal in the world would miss."""
    names = [digest("name", number) for number in range(100)]
    assert Candidates(names).draw("golden", 8) == GOLDEN_DRAW


def test_every_candidate_and_every_place_is_drawn_equally_often() -> None:
    """Chi-square over 4,000 draws of 4 in 20; 43.8 is its 0.1 % point at 19 degrees of freedom."""
    candidates = Candidates(digest("fair", number) for number in range(20))
    draws = [candidates.draw(f"draw {number}", 4) for number in range(4000)]
    for place in range(4):
        counts = Counter(draw[place] for draw in draws)
        chi_square = sum((counts[index] - 200) ** 2 / 200 for index in range(20))
        assert chi_square < 43.8


def test_pairs_are_drawn_as_often_as_chance_has_it() -> None:
    """Ranks of two candidates do not depend on each other: each of 45 pairs in 200 of 9,000 draws of 2 in 10."""
    candidates = Candidates(digest("pair", number) for number in range(10))
    counts = Counter(tuple(sorted(candidates.draw(f"draw {number}", 2))) for number in range(9000))
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert len(counts) == 45
    assert chi_square < 78.7  # 0.1 % point at 44 degrees of freedom


def test_an_edit_of_one_candidate_in_175_changes_about_one_draw_in_eleven() -> None:
    """8 of 175 are drawn: 4.6 % lose the old one, 4.6 % gain the new one."""
    names = [digest("seed", number) for number in range(175)]
    edited = [*names[:40], digest("seed", "edited"), *names[41:]]
    one, two = Candidates(names), Candidates(edited)
    changed = np.mean(
        [[names[i] for i in one.draw(f"{n}", 8)] != [edited[i] for i in two.draw(f"{n}", 8)] for n in range(2000)]
    )
    assert 0.06 < changed < 0.12


GOLDEN_DRAW = [13, 14, 5, 54, 53, 98, 60, 59]
