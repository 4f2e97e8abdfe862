"""Draws that survive edits: candidates are ranked by a hash of (draw, candidate), and the first k are taken.

With an index drawn from a generator, one candidate more shifts every draw; ranked by hash, it changes only
the draws that it becomes part of.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from factory.records import digest

_Words = npt.NDArray[np.uint64]
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Candidates:
    """A growing list of record ids to draw from.

    >>> candidates = Candidates(["aa" * 10, "bb" * 10, "cc" * 10])
    >>> sorted(candidates.draw("request 1", 3))
    [0, 1, 2]
    >>> len(candidates.draw("request 1", 2, upto=1))
    1
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        """Begin with those ids (at least 16 hex digits each)."""
        self._words: _Words = np.zeros(64, dtype=np.uint64)
        self._count = 0
        for name in ids:
            self.add(name)

    def __len__(self) -> int:
        """Candidates so far."""
        return self._count

    def add(self, name: str) -> None:
        """Append one id."""
        if self._count == len(self._words):
            self._words = np.concatenate([self._words, np.zeros_like(self._words)])
        self._words[self._count] = int(name[:16], 16)
        self._count += 1

    def draw(self, name: str, count: int, upto: int | None = None) -> list[int]:
        """Positions of the first `count` candidates in the order of this draw.

        Args:
            name: Names the draw; another name gives another order.
            count: How many to take; fewer come back if there are fewer.
            upto: Draw among the first so many candidates only.
        """
        words = self._words[: self._count if upto is None else upto]
        keys = _mix(words ^ np.uint64(int(digest("draw", name)[:16], 16)))
        count = min(count, len(words))
        if count == 0:
            return []
        best = np.argpartition(keys, count - 1)[:count] if count < len(words) else np.arange(len(words))
        return [int(index) for index in best[np.lexsort((best, keys[best]))]]


def _mix(words: _Words) -> _Words:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    with np.errstate(over="ignore"):
        mixed = words + _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        return mixed ^ (mixed >> np.uint64(31))
