"""The most similar text of a growing pool by the cosine of embeddings: every pair is compared, none is guessed.

    pool = EmbeddingPool(Encoder(), threshold=0.9)
    pool.sift(["Name three rivers.", "Write a poem.", "List three rivers."]) -> [None, None, Match(0, 0.928)]

Vectors of kept texts lie in one float32 array, and a block of new ones is multiplied with it. It costs d multiplications
for each pair, and 4 d bytes for each kept text (d = 384: 1.5 KB). Blocks are what makes that fast: a text that comes
by itself reads the whole array.

A cosine in float32 differs in its last digits with the shapes of the matrices it was computed in. So that this never
changes a verdict, cosines are rounded to three digits, and one too near to where rounding goes up or down is computed
again from both texts, each embedded by itself: what is decided does not depend on how many texts come at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from factory.novelty.encoder import Encodes, Vector, Vectors
from factory.novelty.match import Match, best

DIGITS: Final = 3
BLOCK: Final = 512  # texts that are embedded and multiplied at once
CHUNK: Final = 16_384  # kept texts that they are multiplied with at once: 32 MB of cosines
# Twenty times what batches were seen to change in a cosine, a hundredth of a rounding step.
_NOISE: Final = 1e-5
_STEP: Final = 10.0**-DIGITS

_NONE: Final[Vector] = np.empty(0, dtype=np.float32)


class EmbeddingPool:
    """Texts that new ones are compared with; it only grows."""

    def __init__(self, encoder: Encodes, threshold: float = 0.9) -> None:
        """Start with no texts."""
        self._encoder = encoder
        self._threshold = threshold
        self._texts: list[str] = []
        self._vectors: Vectors = np.empty((0, 0), dtype=np.float32)

    def __len__(self) -> int:
        """How many texts were added."""
        return len(self._texts)

    def text(self, index: int) -> str:
        """The text of that index."""
        return self._texts[index]

    def add(self, texts: Sequence[str]) -> None:
        """Take texts in, whether or not ones like them are there."""
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            for text, vector in zip(block, self._encoder(block), strict=True):
                self._append(text, vector)

    def sift(self, texts: Sequence[str]) -> list[Match | None]:
        """Add each text that is new, in order; for each of the others the kept text that it is nearest to: [texts].

        A text is new if its rounded cosine to no kept text is above the threshold. Of equally near ones the first counts.
        """
        matches: list[Match | None] = []
        for start in range(0, len(texts), BLOCK):
            matches += self._sift_block(texts[start : start + BLOCK])
        return matches

    def _sift_block(self, texts: Sequence[str]) -> list[Match | None]:
        vectors = self._encoder(texts)
        before = len(self._texts)
        matches: list[Match | None] = []
        for text, vector, candidates in zip(texts, vectors, self._near(vectors), strict=True):
            # Those that this block has added are not among the candidates yet.
            added = self._vectors[before : len(self._texts)] @ vector if len(self._texts) > before else _NONE
            candidates += [(before + place, float(added[place])) for place in self._hopeful(added)]
            nearest = self._nearest(text, candidates)
            matches.append(nearest)
            if nearest is None:
                self._append(text, vector)
        return matches

    def _near(self, vectors: Vectors) -> list[list[tuple[int, float]]]:
        """Index and cosine of every kept text that could be above the threshold, for each vector: [vectors]."""
        near: list[list[tuple[int, float]]] = [[] for _ in vectors]
        for start in range(0, len(self._texts), CHUNK):
            chunk = self._vectors[start : min(start + CHUNK, len(self._texts))]
            cosines = vectors @ chunk.T
            for row in np.flatnonzero((cosines > self._threshold - _STEP).any(axis=1)).tolist():
                near[row] += [(start + place, float(cosines[row, place])) for place in self._hopeful(cosines[row])]
        return near

    def _hopeful(self, cosines: Vector) -> list[int]:
        """Places of the cosines that are near the greatest, if that could be above the threshold."""
        if not cosines.size:
            return []
        least = max(float(cosines.max()), self._threshold) - 2 * _STEP
        return [int(place) for place in np.flatnonzero(cosines >= least)]

    def _nearest(self, text: str, candidates: list[tuple[int, float]]) -> Match | None:
        """The best of the candidates by rounded cosine, if that is above the threshold."""
        least = max((cosine for _, cosine in candidates), default=0.0) - 2 * _STEP
        scored = [Match(index, self._score(text, index, cosine)) for index, cosine in candidates if cosine >= least]
        found = best(scored)
        return found if found is not None and found.score > self._threshold else None

    def _score(self, text: str, index: int, cosine: float) -> float:
        """The cosine to three digits, the same however it was computed."""
        steps = cosine / _STEP
        if abs(steps - math.floor(steps) - 0.5) < _NOISE / _STEP:
            cosine = float(self._encoder.alone(text) @ self._encoder.alone(self._texts[index]))
        return round(min(cosine, 1.0), DIGITS)

    def _append(self, text: str, vector: Vector) -> None:
        """Add a vector; the array doubles when it is full, so that adding costs the same however many there are."""
        size = len(self._texts)
        if size == len(self._vectors):
            grown = np.empty((max(1024, 2 * size), len(vector)), dtype=np.float32)
            grown[:size] = self._vectors[:size] if size else 0
            self._vectors = grown
        self._vectors[size] = vector
        self._texts.append(text)
