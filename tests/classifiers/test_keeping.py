"""What stays of each group: exactly the share, by score, ties by order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from factory.classifiers.keeping import select

scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.9, 1.0]), st.sampled_from("abc")), max_size=40)


@given(scored, st.floats(0, 1))
def test_of_every_group_exactly_the_share_stays(rows: list[tuple[float, str]], share: float) -> None:
    scores, groups = [score for score, _ in rows], [group for _, group in rows]
    standings = select(scores, groups, quantile=share)
    kept = Counter(group for group, standing in zip(groups, standings, strict=True) if standing.kept)
    assert kept == Counter({group: round(share * count) for group, count in Counter(groups).items()}) - Counter()
    for one in range(len(rows)):
        for other in range(len(rows)):
            if groups[one] == groups[other] and standings[one].kept and not standings[other].kept:
                assert (scores[one], -one) > (scores[other], -other)
        cut = standings[one].cut
        assert cut is None or standings[one].kept <= (scores[one] >= cut)


def test_of_equal_scores_the_earlier_stay() -> None:
    standings = select([0.5] * 5 + [0.9], ["x"] * 6, quantile=0.5)
    assert [standing.kept for standing in standings] == [True, True, False, False, False, True]
    assert [standing.rank for standing in standings] == [2, 3, 4, 5, 6, 1]
    assert {(standing.of, standing.first, standing.cut) for standing in standings} == {(6, 3, 0.5)}


def test_a_text_without_score_counts_and_never_stays() -> None:
    standings = select([None, 0.0, None, 0.2], ["x"] * 4, quantile=0.75)
    assert [(standing.kept, standing.rank) for standing in standings] == [(False, 3), (True, 2), (False, 4), (True, 1)]


def test_a_limit_is_the_same_for_all() -> None:
    standings = select([0.3, 0.29, 0.9, None], ["x", "x", "y", "y"], probability=0.3)
    assert [standing.kept for standing in standings] == [True, False, True, False]
    assert {standing.cut for standing in standings} == {0.3}
    assert not any(standing.kept for standing in select([0.9, 1.0], ["x", "x"], quantile=0.0))
