"""What a pool finds of a text: which of its texts comes closest, and how close.

`Match(index=3, score=0.82)` is the fourth text that was added, and the measure of the pool that found it.
"""

from __future__ import annotations

import msgspec


class Match(msgspec.Struct, frozen=True):
    """The most similar text of a pool.

    Attributes:
        index: What `add` returned for it.
        score: Similarity by the measure of the pool; 1 for equal texts.
    """

    index: int
    score: float


def best(matches: list[Match]) -> Match | None:
    """The match with the greatest score, the lowest index among equal ones; None of none."""
    return max(matches, key=lambda match: (match.score, -match.index), default=None)
