"""The novelty filter without a compiler: the operations of `compiled.Compiled` in numpy and rapidfuzz.

Queries of a block that have equal length meet a page in one XOR and population count; the pairs that pass are
measured by rapidfuzz on strings of one character a token. The results are the same, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq

from factory.novelty.encoding import Encoded, Ints, Vocabulary, Words
from factory.novelty.measure import f_measure, widest_distance
from factory.novelty.pages import Pages, PoolArrays, capacity, width
from factory.novelty.tokenizers import Tokenizer

BLOCK = 512
_AT_ONCE = 1 << 17  # pairs whose distances are held at a time
_FIRST_TRIES = 32
_MOST_CHARACTERS = 0x110000 - 0x800
_Floats = npt.NDArray[np.float64]


class Plain:
    """Screening, the decisions inside a block, and the nearest text."""

    name = "numpy"
    block = BLOCK

    def vocabulary(self, kind: Tokenizer, names: Sequence[bytes] = ()) -> Vocabulary:
        """Token numbers, beginning with those."""
        return Vocabulary(kind, names)

    def screen(
        self, encoded: Encoded, order: Ints, pages: Pages, types: int, threshold: float, best: _Floats, nearest: Ints
    ) -> None:
        """Best neighbour in the pool above the threshold for the texts at `order`, written to `best`, `nearest`."""
        if not pages.texts or not len(order):
            return
        pool = pages.arrays()
        for tokens in np.unique(encoded.lengths[order]).tolist():
            texts = order[encoded.lengths[order] == tokens]
            for close in _pool_pairs(encoded, texts, tokens, pool, threshold):
                _verify(close, encoded, pages, best, nearest)

    def decide(
        self,
        encoded: Encoded,
        first: int,
        last: int,
        types: int,
        threshold: float,
        best: _Floats,
        nearest: Ints,
        kept: npt.NDArray[np.bool_],
        number: int,
    ) -> None:
        """Decide texts first..last of a batch in order, each against those of them kept before it; see `greedy`."""
        lengths = encoded.lengths[first:last]
        block = _Block(encoded, first, lengths, threshold)
        numbers: list[int] = []
        for text in range(last - first):
            at, tokens = first + text, int(lengths[text])
            if tokens:
                mine = None
                for place, gap in block.near(text, kept[first : first + text]):
                    mine = mine or _Held(_ids(encoded, at))
                    mine.compare(_ids(encoded, first + place), gap, numbers[place], at, best, nearest)
                kept[at] = nearest[at] < 0
            numbers.append(number)
            number += int(kept[at])

    def nearest(self, encoded: Encoded, pages: Pages, types: int) -> tuple[float, int]:
        """Greatest score of one text with any of the pool and the lowest number that has it; (0.0, -1) if none."""
        best, found = np.zeros(1), np.full(1, -1, np.int64)
        held = _Held(encoded.ids)
        numbers, gaps, promises = _promises(encoded, pages.arrays())
        tries = _FIRST_TRIES
        while len(numbers):
            chosen = np.argpartition(promises, -tries)[-tries:] if tries < len(promises) else np.arange(len(promises))
            for place in chosen[np.argsort(-promises[chosen], kind="stable")].tolist():
                if promises[place] >= best[0]:
                    held.compare(
                        pages.tokens(int(numbers[place])), int(gaps[place]), int(numbers[place]), 0, best, found
                    )
            left = promises >= best[0]
            left[chosen] = False
            numbers, gaps, promises = numbers[left], gaps[left], promises[left]
            tries *= 4
        return float(best[0]), int(found[0])


class _Close(NamedTuple):
    """Pairs that the bitmaps leave: position in the batch, number in the pool, distance; by position."""

    texts: Ints
    numbers: Ints
    gaps: Ints


class _Held:
    """One text that is compared with others: a string of one character a token, or a list of numbers if need be."""

    def __init__(self, ids: npt.NDArray[np.int32]) -> None:
        self._tokens = len(ids)
        self._distinct, places = np.unique(ids, return_inverse=True)
        self._write: Callable[[Ints], Sequence[Any]] = (
            _characters if len(self._distinct) < _MOST_CHARACTERS else _numbers
        )
        self._written = self._write(places)

    def compare(
        self,
        other: npt.NDArray[np.int32],
        gap: int,
        number: int,
        at: int,
        best: _Floats,
        nearest: Ints,
    ) -> None:
        """Measure one pair, unless its distance rules it out, and note it if it is the best so far."""
        tokens, others = self._tokens, len(other)
        top, found = float(best[at]), int(nearest[at])
        most = min((tokens + others - gap) // 2, tokens, others)
        promise = f_measure(most, tokens, others)
        if promise < top or (promise == top and not 0 <= number < found):
            return
        places = np.searchsorted(self._distinct, other)
        places[places == len(self._distinct)] = 0
        matching = places[self._distinct[places] == other]
        score = f_measure(LCSseq.similarity(self._written, self._write(matching)), tokens, others)
        if score > top or (score == top and 0 <= number < found):
            best[at], nearest[at] = score, number


def _numbers(places: Ints) -> list[int]:
    return [int(place) for place in places]


def _characters(places: Ints) -> str:
    """One character a place; surrogates are stepped over."""
    codes = np.where(places < 0xD800, places, places + 0x800).astype(np.uint32)
    return codes.tobytes().decode("utf-32-le")


def _ids(encoded: Encoded, text: int) -> npt.NDArray[np.int32]:
    start = encoded.starts[text]
    return encoded.ids[start : start + encoded.lengths[text]]


def _pool_pairs(encoded: Encoded, texts: Ints, tokens: int, pool: PoolArrays, threshold: float) -> Iterator[_Close]:
    """Pairs of texts of one length with the pool that may be above the threshold, part by part."""
    bits: dict[int, Words] = {}
    for page in range(len(pool.at)):
        words, fill = int(pool.words[page]), int(pool.fill[page])
        limit = widest_distance(tokens, int(pool.low[page]), int(pool.high[page]), threshold)
        if limit < 0:
            continue
        if words not in bits:
            bits[words] = encoded.bitmaps(texts, words)
        holds = capacity(words)
        rows = pool.bitmaps[pool.at[page] : pool.at[page] + words * holds].reshape(words, holds)
        numbers = pool.entries[pool.entry_at[page] : pool.entry_at[page] + fill]
        some = max(1, _AT_ONCE // holds)
        for begin in range(0, len(texts), some):
            gaps = _gaps(bits[words][begin : begin + some], rows[:, :fill])
            places, others = np.nonzero(gaps <= limit)
            if len(places):
                yield _Close(
                    texts[begin + places], numbers[others].astype(np.int64), gaps[places, others].astype(np.int64)
                )


def _gaps(queries: Words, rows: Words) -> npt.NDArray[np.uint16]:
    """Distances of bitmaps [queries, words] to those of a page [words, texts]: [queries, texts]."""
    gaps = np.bitwise_count(queries[:, :1] ^ rows[0]).astype(np.uint16)
    for word in range(1, len(rows)):
        gaps += np.bitwise_count(queries[:, word : word + 1] ^ rows[word])
    return np.asarray(gaps, np.uint16)


def _verify(close: _Close, encoded: Encoded, pages: Pages, best: _Floats, nearest: Ints) -> None:
    """Measure pairs, query by query."""
    text, held = -1, None
    for at, number, gap in zip(*(column.tolist() for column in close), strict=True):
        if held is None or at != text:
            text, held = at, _Held(_ids(encoded, at))
        held.compare(pages.tokens(number), gap, number, at, best, nearest)


class _Block:
    """The bitmaps of a block at one width, and how far apart its texts may be."""

    def __init__(self, encoded: Encoded, first: int, lengths: Ints, threshold: float) -> None:
        some = np.flatnonzero(lengths)
        words = min(width(int(lengths.max())), 32)
        self._bits = np.zeros((len(lengths), words), np.uint64)
        self._bits[some] = encoded.bitmaps(first + some, words)
        self._columns = np.ascontiguousarray(self._bits.T)
        self._limits = _most_apart(lengths, threshold)
        self._worded = lengths > 0

    def near(self, text: int, kept: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Earlier texts, of those kept, that may be above the threshold with it, and their distances."""
        gaps = _gaps(self._bits[text : text + 1], self._columns[:, :text])[0]
        places = np.flatnonzero((gaps <= self._limits[text]) & kept[:text] & self._worded[:text])
        return list(zip(places.tolist(), gaps[places].tolist(), strict=True))


def _most_apart(lengths: Ints, threshold: float) -> list[int]:
    """Greatest distance at which each text may be above the threshold with any of the block."""
    present = lengths[lengths > 0]
    low, high = int(present.min()), int(present.max())
    return [widest_distance(tokens, low, high, threshold) if tokens else -1 for tokens in lengths.tolist()]


def _promises(encoded: Encoded, pool: PoolArrays) -> tuple[Ints, Ints, _Floats]:
    """Of every text of the pool: its number, its distance, and a score that it does not exceed."""
    tokens = int(encoded.lengths[0])
    bits: dict[int, Words] = {}
    parts: list[tuple[Ints, Ints, _Floats]] = []
    for page in range(len(pool.at)):
        words, fill, high = int(pool.words[page]), int(pool.fill[page]), int(pool.high[page])
        if words not in bits:
            bits[words] = encoded.bitmaps(np.zeros(1, np.int64), words)
        holds = capacity(words)
        rows = pool.bitmaps[pool.at[page] : pool.at[page] + words * holds].reshape(words, holds)
        gaps = _gaps(bits[words], rows[:, :fill])[0].astype(np.int64)
        numbers = pool.entries[pool.entry_at[page] : pool.entry_at[page] + fill].astype(np.int64)
        parts.append((numbers, gaps, 1 - gaps / (tokens + high) + 1e-9))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    numbers, gaps, promises = (np.concatenate(column) for column in zip(*parts, strict=True))
    return numbers, gaps, promises
