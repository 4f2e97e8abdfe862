"""What is new? Texts against all those kept before them, by ROUGE-L F-measure: exact, about a nanosecond a pair.

    novelty = NoveltyFilter(threshold=0.7)
    novelty.add_batch(["Name three large rivers in Europe.", "Name three rivers in Europe.", "Write a poem."])
    -> Decisions(kept=[True, False, True], nearest=[-1, 0, -1], score=[nan, 0.9090909090909091, nan])

This is the novelty test of Self-Instruct (arXiv 2212.10560, section 2.2): in order, a text is dropped if its greatest
ROUGE-L to any text kept before it is above 0.7. Decisions, nearest texts and scores are bit-identical to those of the
package rouge_score on every pair. That matters at the edge: for an LCS of 7 in texts of 7 and 13 tokens, exactly 0.7,
the reference's float expression gives 0.7000000000000001, and `2 * lcs / (m + n)` gives 0.7.

Deviation: a text without any token scores 0 against everything in rouge_score, so a row of emoji would be new each
time. Here it scores 1.0 against a text without tokens that is the same string, leading and trailing white space
aside, and 0.0 otherwise.

How it stays exact: see `pages` (bitmaps), `measure.widest_distance` (what they rule out) and `kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.novelty.encoding import Ints
from factory.novelty.measure import f_measure
from factory.novelty.pool import BACKEND_VARIABLE, CHUNK, Backend, Neighbour, RougeLPool, checked, rouge_l
from factory.novelty.state import read, write
from factory.novelty.tokenizers import Tokenizer

WARN_SHARE: Final = 0.01

__all__ = ["BACKEND_VARIABLE", "Decisions", "Neighbour", "NoveltyFilter", "RougeLPool", "f_measure", "rouge_l"]


class Decisions(NamedTuple):
    """What a filter decided of a batch.

    Attributes:
        kept: Whether each text was kept: [texts].
        nearest: For each rejected text the kept text with the greatest score, as its number among all kept texts;
            the lowest number if several tie; -1 for a kept text: [texts].
        score: That score, in (threshold, 1]; NaN for a kept text: [texts].
    """

    kept: npt.NDArray[np.bool_]
    nearest: Ints
    score: npt.NDArray[np.float64]


class NoveltyFilter:
    """Keeps what is new, in order; see the module."""

    def __init__(
        self,
        threshold: float = 0.7,
        tokenizer: Tokenizer = "auto",
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        keep_texts: bool = True,
    ) -> None:
        """Start with nothing kept.

        Args:
            threshold: Highest F-measure that is kept, in [0, 1].
            tokenizer: See `RougeLPool`, as the others.
            backend: `auto`, `numba` or `numpy`.
            threads: Threads for large batches.
            keep_texts: Whether `text` gives kept texts back.

        Raises:
            UserError: If the threshold is no fraction, or numba is asked for and not installed.
        """
        if not 0.0 <= threshold <= 1.0:
            raise UserError(f"novelty filter: expected a threshold in [0, 1], found {threshold}.")
        self.threshold = float(threshold)
        self.pool = RougeLPool(tokenizer, backend=backend, threads=threads, keep_texts=keep_texts)
        self.seen = 0
        self.without_tokens = 0

    @classmethod
    def build(
        cls, texts: Sequence[str], threshold: float = 0.7, tokenizer: Tokenizer = "auto", **options: Any
    ) -> NoveltyFilter:
        """A filter that holds these texts already, all of them, compared with each other or not."""
        made = cls(threshold, tokenizer, **options)
        made.pool.extend(texts)
        return made

    def __len__(self) -> int:
        """Texts kept so far."""
        return len(self.pool)

    def text(self, number: int) -> str:
        """A kept text."""
        return self.pool.text(number)

    def save(self, path: str | Path) -> None:
        """Write all that it knows to a file, whole or not at all.

        Raises:
            UserError: If the file cannot be written.
        """
        with self.pool.lock:
            settings, arrays = self.pool.state()
        settings |= {"threshold": self.threshold, "seen": self.seen, "without_tokens": self.without_tokens}
        write(Path(path), settings, arrays)

    @classmethod
    def load(cls, path: str | Path, *, backend: Backend = "auto", threads: int | None = None) -> NoveltyFilter:
        """The filter that was saved; it decides from there as that one would have.

        Raises:
            UserError: If the file is missing, damaged or of another version.
        """
        settings, arrays = read(Path(path))
        made = cls(settings["threshold"], settings["tokenizer"])
        made.pool = RougeLPool.restored(settings, arrays, backend=backend, threads=threads)
        made.seen, made.without_tokens = settings["seen"], settings["without_tokens"]
        return made

    def add_batch(self, texts: Sequence[str]) -> Decisions:
        """Decide texts in order; those kept join the pool.

        How texts are split into batches changes nothing but the speed.
        """
        texts = checked(texts)
        with self.pool.lock:
            self.pool.expect(len(texts))
            parts = [self._chunk(texts[first : first + CHUNK]) for first in range(0, len(texts), CHUNK)]
        if not parts:
            return Decisions(np.zeros(0, bool), np.zeros(0, np.int64), np.zeros(0))
        return Decisions(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _chunk(self, texts: Sequence[str]) -> Decisions:
        encoded = self.pool.encode(texts)
        self.seen += len(texts)
        self.without_tokens += int(np.count_nonzero(encoded.lengths == 0))
        kept, nearest = np.zeros(len(texts), bool), np.zeros(len(texts), np.int64)
        score = np.zeros(len(texts))
        size = self.pool.block
        for first in range(0, len(texts), size):
            last = min(first + size, len(texts))
            block = slice(first, last)
            found, best = self.pool.above(texts, encoded, self.threshold, np.arange(first, last))
            kept[block] = self.pool.decide(texts, encoded, first, last, self.threshold, found, best)[block]
            nearest[block], score[block] = found[block], best[block]
            self.pool.append(texts, encoded, first + np.flatnonzero(kept[block]))
        score[kept] = math.nan
        return Decisions(kept, nearest, score)

    @property
    def warning(self) -> str | None:
        """What to know about texts that this tokenizer does not see; None while they are few."""
        if self.seen < 100 or self.without_tokens <= WARN_SHARE * self.seen:
            return None
        share = self.without_tokens / self.seen
        hint = (
            "; the tokenizer 'rouge' sees only a-z and 0-9: take 'auto' or 'unicode' for other scripts"
            if self.pool.tokenizer == "rouge"
            else ""
        )
        counted = f"{self.without_tokens:,} of {self.seen:,} texts ({share:.0%}) have no tokens"
        return f"{counted} and count as new unless they repeat exactly{hint}"
