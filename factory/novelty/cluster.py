"""The same exact decisions over several machines: the pool in shards, each an actor of Ray.

    novelty = ShardedNoveltyFilter(workers=10, threads=32)      # after ray.init(address="auto")
    novelty.add_batch(texts) -> the Decisions that one NoveltyFilter would have made

A block of texts goes to all shards at once; each answers with the best neighbour above the threshold in its part of
the pool. Whoever asked takes the best of the answers (the lowest number on ties), decides the block's texts among
themselves in order, as `NoveltyFilter` does, and deals what is kept to the shards: number i to shard i mod workers,
so where a text lies needs no table. Nothing is approximate, and nothing depends on how many workers there are.

What 100 million texts of 10 tokens would cost on 10 nodes of 32 cores, on paper: one core decides a million in 37 s
(`scripts/bench novelty`) and the pairs grow with the square, so 10^4 times that, 3.7 * 10^5 core seconds, 19 minutes
on 320 cores. Besides: every node numbers the tokens of all texts (0.5 us each, 1 minute, one thread), the greedy pass
of 6,100 blocks of 16,384 texts costs 10 to 20 ms each (2 minutes, not parallel), and each node receives every text
once (6 GB). About 25 minutes. Of the 57 million kept each node holds a tenth, about 0.5 GB, and the vocabulary.
This was not run: what was measured is one machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.novelty.encoding import Ints
from factory.novelty.pool import Backend, RougeLPool, checked
from factory.novelty.rouge_l import Decisions
from factory.novelty.tokenizers import Tokenizer

BLOCK: Final = 16_384


class Shard:
    """Every so-and-so-many-th kept text; becomes an actor."""

    def __init__(self, number: int, shards: int, settings: dict[str, Any]) -> None:
        """Shard `number` of `shards`, which holds texts number, number + shards, and so on."""
        self._number = number
        self._shards = shards
        self._pool = RougeLPool(**settings)

    def above(self, texts: Sequence[str], threshold: float) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Number among all kept texts and score of each text's best neighbour here; see `RougeLPool.above`."""
        self._pool.expect(len(texts))
        nearest, best = self._pool.above(texts, self._pool.encode(texts), threshold, np.arange(len(texts)))
        return np.where(nearest < 0, nearest, nearest * self._shards + self._number), best

    def extend(self, texts: Sequence[str]) -> None:
        """Take texts in."""
        self._pool.extend(texts)

    def text(self, number: int) -> str:
        """A text that this shard holds, by its number among all."""
        return self._pool.text(number // self._shards)


class ShardedNoveltyFilter:
    """`NoveltyFilter` with its pool spread over Ray actors."""

    def __init__(
        self,
        threshold: float = 0.7,
        tokenizer: Tokenizer = "auto",
        *,
        workers: int,
        threads: int = 1,
        backend: Backend = "auto",
        block: int = BLOCK,
    ) -> None:
        """Start the shards; Ray must be running (`ray.init`).

        Args:
            threshold: Highest F-measure that is kept, in [0, 1].
            tokenizer: See `RougeLPool`.
            workers: Shards; one for each node with `threads` for its cores, or one for each core.
            threads: Threads, and processors that Ray reserves, for each shard.
            backend: `auto`, `numba` or `numpy`.
            block: Texts that are sent at a time.

        Raises:
            UserError: If the threshold is no fraction, or Ray is not installed or not running.
        """
        if not 0.0 <= threshold <= 1.0:
            raise UserError(f"novelty filter: expected a threshold in [0, 1], found {threshold}.")
        self.threshold = float(threshold)
        self._ray = _running_ray()
        settings: dict[str, Any] = {"tokenizer": tokenizer, "backend": backend, "threads": threads}
        actor = self._ray.remote(num_cpus=threads)(Shard)
        self._shards = [actor.remote(number, workers, settings) for number in range(workers)]
        self._block = block
        self._here = RougeLPool(tokenizer, backend=backend, threads=1, keep_texts=False)
        self._kept = 0

    def __len__(self) -> int:
        """Texts kept so far."""
        return self._kept

    def text(self, number: int) -> str:
        """A kept text, fetched from its shard."""
        fetched: str = self._ray.get(self._shards[number % len(self._shards)].text.remote(number))
        return fetched

    def extend(self, texts: Sequence[str]) -> None:
        """Take texts in, in order, without comparing them."""
        texts = checked(texts)
        for first in range(0, len(texts), self._block):
            self._deal(texts[first : first + self._block])

    def add_batch(self, texts: Sequence[str]) -> Decisions:
        """Decide texts in order; those kept join the pool."""
        texts = checked(texts)
        parts = [self._decide(texts[first : first + self._block]) for first in range(0, len(texts), self._block)]
        if not parts:
            return Decisions(np.zeros(0, bool), np.zeros(0, np.int64), np.zeros(0))
        return Decisions(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def close(self) -> None:
        """End the shards."""
        for shard in self._shards:
            self._ray.kill(shard)

    def _decide(self, texts: Sequence[str]) -> Decisions:
        sent = self._ray.put(list(texts))
        asked = [shard.above.remote(sent, self.threshold) for shard in self._shards]
        self._here.expect(len(texts))
        encoded = self._here.encode(texts)  # while the shards are at work
        nearest, best = _best_of(self._ray.get(asked))
        kept = self._here.decide(texts, encoded, 0, len(texts), self.threshold, nearest, best, self._kept)
        self._deal([texts[place] for place in np.flatnonzero(kept).tolist()])
        best[kept] = math.nan
        return Decisions(kept, nearest, best)

    def _deal(self, texts: Sequence[str]) -> None:
        """Hand kept texts to the shards that their numbers name."""
        shards = len(self._shards)
        waiting = []
        for number, shard in enumerate(self._shards):
            mine = texts[(number - self._kept) % shards :: shards]
            if mine:
                waiting.append(shard.extend.remote(list(mine)))
        self._kept += len(texts)
        self._ray.get(waiting)


def _best_of(
    answers: list[tuple[Ints, npt.NDArray[np.float64]]],
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """The greatest score for each text and the lowest number that has it."""
    nearest, best = answers[0][0].copy(), answers[0][1].copy()  # what Ray hands over is read-only
    for numbers, scores in answers[1:]:
        better = (numbers >= 0) & ((scores > best) | ((scores == best) & (numbers < nearest)) | (nearest < 0))
        nearest[better], best[better] = numbers[better], scores[better]
    return nearest, best


def _running_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError("sharded novelty filter: needs Ray: pip install 'dataset-factory[ray]'.") from error
    if not ray.is_initialized():
        raise UserError('sharded novelty filter: Ray is not running here; call ray.init(address="auto") first.')
    return ray
