"""The compiled back end: owns the working memory of `kernels`, and spreads a block over threads.

`plain.Plain` is its twin where numba is missing; `RougeLPool` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.novelty import kernels, token_kernels
from factory.novelty.encoding import Encoded, Ints, readable
from factory.novelty.lcs_kernels import Scratch
from factory.novelty.pages import GROUP, PAGE_WORDS, WIDEST, Pages, grown, width
from factory.novelty.tokenizers import Tokenizer

BLOCK = 512
_STRIDE = 2 * WIDEST - 2
_MOST_BLOCK_WORDS = 32
_ENOUGH_PAIRS = 4_000_000  # below that, threads cost more than they give
_Floats = npt.NDArray[np.float64]


class CompiledVocabulary:
    """Token numbers in a hash table of arrays; the same numbers as `encoding.Vocabulary`."""

    def __init__(self, kind: Tokenizer = "auto", names: Sequence[bytes] = ()) -> None:
        """Begin with those tokens, numbered from 0."""
        self.kind = kind
        self._kinds = np.zeros(256, np.uint8)
        for byte in range(256):
            if byte > 127 or chr(byte).isalnum():
                self._kinds[byte] = ord(chr(byte).lower()) if byte < 128 else byte
        self._slots = np.zeros(1 << 12, np.int32)
        self._hashes = np.zeros(1 << 11, np.uint64)
        self._names = np.zeros(1 << 14, np.uint8)
        self._name_ends = np.zeros(1 << 11, np.int64)
        self._sizes = np.zeros(3, np.int64)
        self._seen = np.zeros(1 << 11, np.int32)
        if names:
            self._number([b" ".join(names)])

    def __len__(self) -> int:
        """Different tokens."""
        return int(self._sizes[0])

    def names(self) -> list[bytes]:
        """Tokens in order of their numbers."""
        ends = self._name_ends[: len(self)].tolist()
        stored = self._names[: self._sizes[1]].tobytes()
        return [stored[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)] if ends else []

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Number the tokens of a batch; new ones join the vocabulary."""
        ids, lengths = self._number([readable(text, self.kind) for text in texts])
        starts = np.cumsum(lengths) - lengths
        marks = np.empty(len(ids), np.uint64)
        if len(self._seen) < len(self._hashes):
            self._seen = np.zeros(len(self._hashes), np.int32)
        token_kernels.mark(ids, starts, lengths, self._seen, marks)
        return Encoded(ids, starts, lengths, marks)

    def _number(self, blobs: list[bytes]) -> tuple[npt.NDArray[np.int32], Ints]:
        data = np.frombuffer(b"".join(blobs) or b" ", np.uint8)
        ends = np.cumsum(np.fromiter(map(len, blobs), np.int64, len(blobs)))
        ids = np.empty(len(data) // 2 + len(blobs) + 1, np.int32)
        lengths = np.zeros(len(blobs), np.int64)
        self._sizes[2] = done = 0
        while True:
            done = token_kernels.number_tokens(
                data,
                ends,
                done,
                self._kinds,
                self._slots,
                self._hashes,
                self._names,
                self._name_ends,
                self._sizes,
                ids,
                lengths,
            )
            if done == len(blobs):
                return ids[: self._sizes[2]], lengths
            self._grow(len(data))

    def _grow(self, most_bytes: int) -> None:
        """Twice the tables; room for the names of any one text."""
        if len(self._slots) >= 1 << 30:
            raise UserError("novelty pool: more than 500 million different tokens; split the texts.")
        self._slots = np.zeros(2 * len(self._slots), np.int32)
        self._hashes = grown(self._hashes, len(self._slots) // 2)
        self._name_ends = grown(self._name_ends, len(self._slots) // 2)
        self._names = grown(self._names, int(self._sizes[1]) + max(most_bytes, int(self._sizes[1])))
        token_kernels.fill_slots(self._slots, self._hashes, len(self))


class Compiled:
    """Screening, the decisions inside a block, and the nearest text, by numba."""

    name = "numba"
    block = BLOCK

    def __init__(self, threads: int = 1) -> None:
        """Use so many threads for large blocks."""
        self.threads = threads
        self._scratch: list[Scratch] = []
        self._executor: ThreadPoolExecutor | None = None

    def vocabulary(self, kind: Tokenizer, names: Sequence[bytes] = ()) -> CompiledVocabulary:
        """Token numbers, beginning with those."""
        return CompiledVocabulary(kind, names)

    def screen(
        self, encoded: Encoded, order: Ints, pages: Pages, types: int, threshold: float, best: _Floats, nearest: Ints
    ) -> None:
        """Best neighbour in the pool above the threshold for the texts at `order`, written to `best`, `nearest`."""
        if not pages.texts or not len(order):
            return
        threads = self.threads if len(order) * pages.texts >= _ENOUGH_PAIRS else 1
        # Every so-and-so-many-th text, so that long ones are dealt out evenly.
        parts = [order[first::threads].copy() for first in range(min(threads, len(order)))]
        longest = self._longest(encoded, pages)
        scratches = [self._ready(number, types, longest, len(part)) for number, part in enumerate(parts)]
        pool = pages.arrays()

        def work(number: int) -> None:
            kernels.screen(parts[number], *encoded_arrays, threshold, pool, best, nearest, scratches[number])

        encoded_arrays = (encoded.ids, encoded.starts, encoded.lengths, encoded.marks)
        self._spread(work, len(parts))

    def _spread(self, work: Any, parts: int) -> None:
        if parts == 1:
            work(0)
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.threads, "novelty")
        for finished in [self._executor.submit(work, number) for number in range(parts)]:
            finished.result()

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
        longest = int(lengths.max())
        words = min(width(longest), _MOST_BLOCK_WORDS)
        holds = -(-(last - first) // GROUP) * GROUP
        if words == 2:
            holds = max(holds, GROUP)
        rows = np.full(words * holds, 0xFFFFFFFFFFFFFFFF, np.uint64)
        scratch = self._ready(0, types, longest, 1, holds)
        kernels.greedy(
            encoded.ids,
            encoded.starts[first:last],
            lengths,
            encoded.marks,
            threshold,
            words,
            best[first:last],
            nearest[first:last],
            kept[first:last],
            number,
            rows,
            scratch,
        )

    def nearest(self, encoded: Encoded, pages: Pages, types: int) -> tuple[float, int]:
        """Greatest score of one text with any of the pool and the lowest number that has it; (0.0, -1) if none."""
        best, found = np.zeros(1), np.full(1, -1, np.int64)
        scratch = self._ready(0, types, self._longest(encoded, pages), 1)
        kernels.find_nearest(encoded.ids, encoded.marks, pages.arrays(), best, found, scratch)
        return float(best[0]), int(found[0])

    def _longest(self, encoded: Encoded, pages: Pages) -> int:
        return max(int(encoded.lengths.max(initial=0)), pages.longest)

    def _ready(self, number: int, types: int, longest: int, texts: int, hits: int = PAGE_WORDS) -> Scratch:
        """Working memory of a thread, at least so large."""
        while len(self._scratch) <= number:
            self._scratch.append(_scratch(1024, 128, 1, PAGE_WORDS))
        held = self._scratch[number]
        if (
            len(held.slot) < types
            or len(held.local) < longest
            or len(held.bits) < texts * _STRIDE
            or len(held.hits) < hits
        ):
            held = _scratch(
                max(len(held.slot), types + types // 2),
                max(len(held.local), longest + longest // 2),
                max(len(held.bits) // _STRIDE, texts),
                max(len(held.hits), hits),
            )
            self._scratch[number] = held
        return held


def _scratch(types: int, longest: int, texts: int, hits: int) -> Scratch:
    many = kernels.CANDIDATES
    return Scratch(
        slot=np.zeros(types, np.int32),
        local=np.zeros(longest, np.int32),
        masks=np.zeros(longest, np.uint64),
        bags=np.zeros(longest, np.int32),
        matched=np.zeros(longest, np.int32),
        carries=np.zeros(longest, np.uint64),
        bits=np.zeros(texts * _STRIDE, np.uint64),
        sums=np.zeros(GROUP, np.uint64),
        hits=np.zeros(hits, np.int32),
        gaps=np.zeros(hits, np.int32),
        queries=np.zeros(many, np.int32),
        others=np.zeros(many, np.int32),
        apart=np.zeros(many, np.int32),
        order=np.zeros(many, np.int32),
    )


def compile_all() -> None:
    """Compile every function once; they are kept on disk beside the package, or in the user's cache."""
    compiled = Compiled()
    vocabulary = compiled.vocabulary("rouge")
    encoded = vocabulary.encode(["a b c", "a b d"])
    pages = Pages()
    pages.append(encoded, np.arange(2))
    best, nearest, kept = np.full(2, 0.5), np.full(2, -1, np.int64), np.ones(2, bool)
    compiled.screen(encoded, np.arange(2), pages, len(vocabulary), 0.5, best, nearest)
    compiled.decide(encoded, 0, 2, len(vocabulary), 0.5, best, nearest, kept, 2)
    compiled.nearest(vocabulary.encode(["a b c"]), pages, len(vocabulary))


if __name__ == "__main__":
    compile_all()
