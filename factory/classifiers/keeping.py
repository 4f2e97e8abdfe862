"""Which texts of each group stay: a share of them, those with the highest scores, or all from a limit on.

select([0.2, 0.9, 0.9, 0.5], ["a", "a", "a", "b"], quantile=0.5)
-> kept: [no, yes, yes, no]     round(0.5 · 3) = 2 of group a, round(0.5 · 1) = 0 of group b: half goes to even
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Standing(NamedTuple):
    """Where a text stands in its group.

    Attributes:
        kept: Whether it stays.
        rank: Place by falling score, from 1; of equal scores the earlier text comes first.
        of: Texts in the group.
        first: How many of the group are kept by rank; None where a limit decides.
        cut: Lowest score that is kept; the limit itself where one decides, None where nothing is kept.
    """

    kept: bool
    rank: int
    of: int
    first: int | None
    cut: float | None


def select(
    scores: Sequence[float | None],
    groups: Sequence[str],
    *,
    quantile: float | None = None,
    probability: float | None = None,
) -> list[Standing]:
    """Standing of each text: [texts].

    Args:
        scores: Scores; None for a text that counts in its group, is last there, and never stays.
        groups: Group of each text.
        quantile: Share of each group that stays, in [0, 1].
        probability: Lowest score that stays, where there is no quantile.
    """
    order = sorted(range(len(scores)), key=lambda place: (-_number(scores[place]), place))
    ranks, sizes = [0] * len(scores), Counter[str]()
    for place in order:
        sizes[groups[place]] += 1
        ranks[place] = sizes[groups[place]]
    first = {group: None if quantile is None else round(quantile * size) for group, size in sizes.items()}
    cuts: dict[str, float] = {}
    kept = [False] * len(scores)
    for place in order:
        score, most = scores[place], first[groups[place]]
        if score is not None and (score >= (probability or 0.0) if most is None else ranks[place] <= most):
            kept[place] = True
            cuts[groups[place]] = score
    return [
        Standing(
            kept[place], ranks[place], sizes[group], first[group], probability if quantile is None else cuts.get(group)
        )
        for place, group in enumerate(groups)
    ]


def _number(score: float | None) -> float:
    return float("-inf") if score is None else score
