"""Draws that survive edits: candidates are ranked by a hash of (draw, candidate), and the first k are taken.

With an index drawn from a generator, one candidate more shifts every draw; ranked by hash, it changes only
the draws that it becomes part of.

`uniforms` are numbers that a key and the number of a draw decide, so that a row does not depend on those that are drawn
beside it, nor on the state of any generator.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from factory.records import digest

Words = npt.NDArray[np.uint64]
STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


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
        self._words: Words = np.zeros(64, dtype=np.uint64)
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


def uniforms(keys: Words, draws: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), one for each key and number of a draw (SplitMix64: Steele, Lea and Flood 2014)."""
    words = mixed(keys + STEP * np.asarray(draws).astype(np.uint64))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mixed(words: Words) -> Words:
    """The finaliser of SplitMix64: every input bit moves every output bit."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * _FIRST
        words = (words ^ (words >> np.uint64(27))) * _SECOND
        return words ^ (words >> np.uint64(31))


def _mix(words: Words) -> Words:
    with np.errstate(over="ignore"):
        return mixed(words + STEP)
