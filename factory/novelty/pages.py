"""The texts of a pool as arrays: token numbers, and bitmaps in pages of texts of (nearly) equal length.

A page holds up to some hundred bitmaps of one length class, word by word: first the first word of every text of the
page, then the second. Texts below 64 tokens have a page for each length, longer ones for ranges about a twentieth
wide. A bitmap has 128 bits for texts below 48 tokens, twice as many for each doubling of the length, and 8,192 at
most; a text is compared at the width of the page, since a narrower bitmap is the XOR of a wider one's parts.

    pages = Pages(); pages.append(encoded, [0, 2])      # texts 0 and 2 of a batch join the pool as numbers 0 and 1

About 16 bytes of bitmap, 4 bytes a token and 12 bytes of bookkeeping a text.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from factory.novelty.encoding import Encoded

Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Scalar = TypeVar("Scalar", bound=np.generic)

EXACT_LENGTHS: Final = 64
RANGES: Final = 16  # for each doubling of the length
NARROWEST: Final = 2
WIDEST: Final = 128
FIRST_WIDER: Final = 48
PAGE_WORDS: Final = 2048
GROUP: Final = 64
BUCKETS: Final = EXACT_LENGTHS + 32 * RANGES
_WIDER_FROM: Final = np.array([FIRST_WIDER << step for step in range((WIDEST // NARROWEST).bit_length() - 1)])
_EMPTY: Final = np.uint64(0xFFFFFFFFFFFFFFFF)  # far from the bitmap of any text that is compared with the page


class PoolArrays(NamedTuple):
    """What screening reads: see `Pages`.

    Attributes:
        bitmaps: All pages behind each other: [words].
        at: Where each page begins in `bitmaps`: [pages].
        words: 64-bit words a bitmap: [pages].
        low: Least number of tokens of the page's texts: [pages].
        high: Greatest: [pages].
        fill: Texts in the page: [pages].
        entries: Their numbers in the pool, `entries[entry_at[p] + i]`.
        entry_at: Where each page begins in `entries`: [pages].
        tokens: Token numbers of all texts behind each other.
        starts: Where each text begins in `tokens`, and the end: [texts + 1].
    """

    bitmaps: Words
    at: Ints
    words: Ints
    low: Ints
    high: Ints
    fill: Ints
    entries: Int32s
    entry_at: Ints
    tokens: Int32s
    starts: Ints


def width(tokens: int) -> int:
    """64-bit words of the bitmap of a text with so many tokens."""
    words, limit = NARROWEST, FIRST_WIDER
    while tokens >= limit and words < WIDEST:
        words, limit = 2 * words, 2 * limit
    return words


def capacity(words: int) -> int:
    """Texts that a page of such bitmaps holds; a multiple of `GROUP`."""
    return max(GROUP, PAGE_WORDS // words)


def bucket(tokens: int) -> int:
    """Number of the range of lengths that shares a page."""
    if tokens < EXACT_LENGTHS:
        return tokens
    octave = tokens.bit_length() - EXACT_LENGTHS.bit_length()
    step = (EXACT_LENGTHS << octave) // RANGES
    return EXACT_LENGTHS + octave * RANGES + (tokens - (EXACT_LENGTHS << octave)) // step


def limits(number: int) -> tuple[int, int]:
    """Least and greatest length of a bucket.

    >>> limits(10), limits(bucket(70)), bucket(67) == bucket(64)
    ((10, 10), (68, 71), True)
    """
    if number < EXACT_LENGTHS:
        return number, number
    octave, part = divmod(number - EXACT_LENGTHS, RANGES)
    step = (EXACT_LENGTHS << octave) // RANGES
    low = (EXACT_LENGTHS << octave) + part * step
    return low, low + step - 1


class Pages:
    """The texts of a pool; it only grows."""

    def __init__(self) -> None:
        """No texts."""
        self.texts = 0
        self.pages = 0
        self.longest = 0
        self._bitmaps = np.empty(0, np.uint64)
        self._bitmaps_used = 0
        self._table = np.zeros((6, 64), np.int64)  # at, words, low, high, fill, entry_at
        self._entries = np.empty(0, np.int32)
        self._entries_used = 0
        self._tokens = np.empty(1024, np.int32)
        self._starts = np.zeros(256, np.int64)
        self._open: dict[int, int] = {}

    def arrays(self) -> PoolArrays:
        """Views of what is there now; valid until the next `append`."""
        at, words, low, high, fill, entry_at = self._table[:, : self.pages]
        starts = self._starts[: self.texts + 1]
        return PoolArrays(self._bitmaps, at, words, low, high, fill, self._entries, entry_at, self._tokens, starts)

    def tokens(self, text: int) -> Int32s:
        """Token numbers of one text: [tokens]."""
        return self._tokens[self._starts[text] : self._starts[text + 1]]

    def flat(self) -> tuple[Int32s, Ints]:
        """Token numbers of all texts behind each other, and the ends of the texts."""
        return self._tokens[: self._starts[self.texts]], self._starts[1 : self.texts + 1]

    def append(self, encoded: Encoded, chosen: Ints) -> None:
        """Take in the texts of a batch at these positions, in this order."""
        if not len(chosen):
            return
        lengths = encoded.lengths[chosen]
        self._append_tokens(encoded, chosen, lengths)
        numbers = np.arange(self.texts, self.texts + len(chosen), dtype=np.int32)
        self.texts += len(chosen)
        self.longest = max(self.longest, int(lengths.max()))
        order = np.argsort(lengths, kind="stable")
        order = order[np.searchsorted(lengths[order], 1) :]
        classes = np.searchsorted(_WIDER_FROM, lengths[order], side="right")
        for first, last in runs(classes):
            mine = order[first:last]
            words = NARROWEST << int(classes[first])
            bitmaps = encoded.bitmaps(chosen[mine], words)
            for begin, end in runs(lengths[mine]):
                self._fill(bucket(int(lengths[mine[begin]])), words, bitmaps[begin:end], numbers[mine[begin:end]])

    def _append_tokens(self, encoded: Encoded, chosen: Ints, lengths: Ints) -> None:
        end = int(self._starts[self.texts])
        ends = end + np.cumsum(lengths)
        self._tokens = grown(self._tokens, int(ends[-1]))
        self._starts = grown(self._starts, self.texts + len(chosen) + 1)
        self._tokens[end : ends[-1]] = encoded.ids[spread(encoded.starts[chosen], lengths)]
        self._starts[self.texts + 1 : self.texts + 1 + len(chosen)] = ends

    def _fill(self, number: int, words: int, bitmaps: Words, texts: Int32s) -> None:
        """Put bitmaps of one bucket into its open page, and into new ones as it gets full."""
        holds = capacity(words)
        done = 0
        while done < len(texts):
            page = self._open.get(number)
            if page is None:
                page = self._new_page(number, words, holds)
            at, _, _, _, fill, entry_at = self._table[:, page].tolist()
            some = min(holds - fill, len(texts) - done)
            rows = self._bitmaps[at : at + words * holds].reshape(words, holds)
            rows[:, fill : fill + some] = bitmaps[done : done + some].T
            self._entries[entry_at + fill : entry_at + fill + some] = texts[done : done + some]
            self._table[4, page] = fill + some
            done += some
            if fill + some == holds:
                del self._open[number]

    def _new_page(self, number: int, words: int, holds: int) -> int:
        size = words * holds
        self._bitmaps = grown(self._bitmaps, self._bitmaps_used + size)
        self._entries = grown(self._entries, self._entries_used + holds)
        if self.pages == self._table.shape[1]:
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
        self._bitmaps[self._bitmaps_used : self._bitmaps_used + size] = _EMPTY
        self._table[:, self.pages] = (self._bitmaps_used, words, *limits(number), 0, self._entries_used)
        self._bitmaps_used += size
        self._entries_used += holds
        self._open[number] = self.pages
        self.pages += 1
        return self.pages - 1


def runs(values: Ints) -> list[tuple[int, int]]:
    """Where runs of equal values begin and end.

    >>> runs(np.array([3, 3, 5]))
    [(0, 2), (2, 3)]
    """
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    stops = [*edges.tolist(), len(values)] if len(values) else []
    return list(zip([0, *stops[:-1]], stops, strict=True)) if stops else []


def grown(array: npt.NDArray[Scalar], size: int) -> npt.NDArray[Scalar]:
    """The array, or a larger one with the same beginning, so that it holds `size` values."""
    if size <= len(array):
        return array
    larger = np.empty(max(size, len(array) + len(array) // 2), array.dtype)
    larger[: len(array)] = array
    return larger


def spread(starts: Ints, lengths: Ints) -> Ints:
    """Positions `start, start + 1, …` of several runs behind each other: [sum of lengths]."""
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1]) if len(ends) else 0)
    return np.asarray(np.repeat(starts - (ends - lengths), lengths) + within, np.int64)
