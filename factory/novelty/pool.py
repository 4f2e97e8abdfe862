"""The texts of a novelty filter: the nearest of them to a new one, by ROUGE-L, and what a block of new ones comes to.

    pool = RougeLPool()
    pool.extend(["Name three large rivers in Europe.", "Write a poem about the sea."])
    pool.nearest("Name three rivers in Europe.") -> Neighbour(index=0, score=0.9090909090909091)

The caller decides what joins; `rouge_l.NoveltyFilter` does so by a threshold. How it stays exact while looking at few
pairs: see `pages` (bitmaps), `measure.widest_distance` (what they rule out) and `kernels`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq

from factory.errors import UserError
from factory.novelty.encoding import Encoded, Ints, marks, occurrences
from factory.novelty.measure import f_measure
from factory.novelty.pages import Pages
from factory.novelty.state import join, split
from factory.novelty.tokenizers import Tokenizer

Backend = Literal["auto", "numba", "numpy"]
CHUNK: Final = 8192
FIRST_COMPILED: Final = 3_000_000
"""Pairs from which on `auto` compiles: numba takes seconds to start, numpy a microsecond for a hundred pairs."""
LARGE_POOL: Final = 100_000
LARGE_BLOCK: Final = 4
"""From that many texts on, blocks are so many times as long: the threads then have more to do between two meetings."""
BACKEND_VARIABLE: Final = "FACTORY_NOVELTY_BACKEND"
"""Environment variable that decides where `backend` is `auto`."""


class Neighbour(msgspec.Struct, frozen=True):
    """The most similar text of a pool.

    Attributes:
        index: What `add` returned for it.
        score: ROUGE-L F-measure, in [0, 1].
    """

    index: int
    score: float


def rouge_l(left: Sequence[str], right: Sequence[str]) -> float:
    """ROUGE-L F-measure of two token lists, in [0, 1], bit for bit that of rouge_score.

    Symmetric; 0.0 if either list is empty. Only pools know about texts without tokens.
    """
    return f_measure(LCSseq.similarity(left, right), len(left), len(right))


class RougeLPool:
    """Texts that new ones are compared with; it only grows. The caller decides what joins it.

    Threads may share one: they take turns.
    """

    def __init__(
        self,
        tokenizer: Tokenizer = "auto",
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        keep_texts: bool = True,
    ) -> None:
        """Start with no texts.

        Args:
            tokenizer: `rouge` is what rouge_score does; `auto` compares other scripts than Latin too, see `tokenizers`.
            backend: `numba`, `numpy`, or `auto`: numba where it is installed and the work is worth its start.
            threads: Threads for large batches (numba only); the processors at hand by default.
            keep_texts: Whether `text` can give the texts back; the tokens alone take less memory.

        Raises:
            UserError: If numba is asked for and not installed.
        """
        if tokenizer not in get_args(Tokenizer):
            known = ", ".join(get_args(Tokenizer))
            raise UserError(f"novelty pool: no tokenizer is called '{tokenizer}'; expected one of {known}.")
        self.tokenizer: Tokenizer = tokenizer
        self._threads = threads or _processors()
        chosen = os.environ.get(BACKEND_VARIABLE, "auto") if backend == "auto" else backend
        self._backend: Any = _backend("numpy" if chosen == "auto" else chosen, self._threads)
        self._waits = chosen == "auto" and _has_numba()
        self._compared = 0
        self._vocabulary = self._backend.vocabulary(tokenizer)
        self._pages = Pages()
        self.lock = threading.RLock()
        self._texts: list[str] | None = [] if keep_texts else None
        self._wordless: dict[str, int] = {}

    def __len__(self) -> int:
        """How many texts were added."""
        return self._pages.texts

    @property
    def backend(self) -> str:
        """What compares: `numba` or `numpy`."""
        return str(self._backend.name)

    @property
    def wordless(self) -> int:
        """Different texts of the pool that have no tokens."""
        return len(self._wordless)

    def text(self, index: int) -> str:
        """The text that `add` returned this index for; its tokens, spaced, where texts are not kept."""
        if self._texts is not None:
            return self._texts[index]
        names = self._vocabulary.names()
        return b" ".join(names[number] for number in self._pages.tokens(index).tolist()).decode()

    def add(self, text: str) -> int:
        """Take a text in, whether or not one like it is there, and return its index, counted from 0."""
        self.extend([text])
        return len(self) - 1

    def extend(self, texts: Sequence[str]) -> None:
        """Take texts in, in order, without comparing them."""
        texts = checked(texts)
        with self.lock:
            for first in range(0, len(texts), CHUNK):
                chunk = texts[first : first + CHUNK]
                self.append(chunk, self.encode(chunk), np.arange(len(chunk)))

    def nearest(self, text: str) -> Neighbour | None:
        """The text of the pool with the greatest ROUGE-L to this one, the first of them if several tie.

        Returns:
            The neighbour, with score 0.0 and index 0 if nothing in the pool shares a token with the text;
            None if the pool is empty.
        """
        with self.lock:
            return self._nearest(text)

    def _nearest(self, text: str) -> Neighbour | None:
        if not len(self):
            return None
        self._expect(len(self))
        encoded = self.encode([text])
        if not encoded.lengths[0]:
            twin = self._wordless.get(text.strip())
            return Neighbour(0, 0.0) if twin is None else Neighbour(twin, 1.0)
        score, index = self._backend.nearest(encoded, self._pages, len(self._vocabulary))
        return Neighbour(max(index, 0), score)

    # What filters are made of

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Number the tokens of texts; new tokens join the vocabulary."""
        encoded: Encoded = self._vocabulary.encode(texts)
        return encoded

    def append(self, texts: Sequence[str], encoded: Encoded, chosen: Ints) -> None:
        """Take in the texts of an encoded batch at these positions, in this order."""
        positions = chosen.tolist()
        for offset, position in enumerate(positions):
            if not encoded.lengths[position]:
                self._wordless.setdefault(texts[position].strip(), len(self) + offset)
        if self._texts is not None:
            self._texts += [texts[position] for position in positions]
        self._pages.append(encoded, chosen)

    def above(
        self, texts: Sequence[str], encoded: Encoded, threshold: float, chosen: Ints
    ) -> tuple[Ints, npt.NDArray[np.float64]]:
        """For some texts of a batch, the neighbour in the pool whose score is above the threshold.

        Returns:
            Index of the neighbour, -1 where there is none; its score, the threshold where there is none: [batch] each.
        """
        nearest = np.full(len(texts), -1, np.int64)
        best = np.full(len(texts), threshold)
        worded = chosen[encoded.lengths[chosen] > 0]
        self._backend.screen(encoded, worded, self._pages, len(self._vocabulary), threshold, best, nearest)
        for position in chosen[encoded.lengths[chosen] == 0].tolist():
            twin = self._wordless.get(texts[position].strip(), -1)
            if twin >= 0 and threshold < 1.0:
                nearest[position], best[position] = twin, 1.0
        return nearest, best

    def decide(
        self,
        texts: Sequence[str],
        encoded: Encoded,
        first: int,
        last: int,
        threshold: float,
        nearest: Ints,
        best: npt.NDArray[np.float64],
        number: int | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Decide texts first..last of a batch in order, each against those of them that are kept before it.

        `nearest` and `best` are what `above` found, and are brought up to date: numbers of the pool go on within
        the block from `number` on, as they will be when `append` takes in what is kept; from the pool's size on
        where no other is given.

        Returns:
            Whether each text is kept: [batch], of which only first..last count.
        """
        number = len(self) if number is None else number
        kept = nearest < 0
        twins = self._twins(texts, encoded, first, last, threshold, kept)
        if encoded.lengths[first:last].any():
            self._backend.decide(encoded, first, last, len(self._vocabulary), threshold, best, nearest, kept, number)
        numbers = number + np.cumsum(kept[first:last]) - kept[first:last]
        for position, earlier in twins.items():
            nearest[position], best[position] = numbers[earlier - first], 1.0
        return kept

    def _twins(
        self,
        texts: Sequence[str],
        encoded: Encoded,
        first: int,
        last: int,
        threshold: float,
        kept: npt.NDArray[np.bool_],
    ) -> dict[int, int]:
        """Texts without tokens that repeat one of the block, and which; they are marked as not kept."""
        seen: dict[str, int] = {}
        twins = {}
        for position in first + np.flatnonzero(encoded.lengths[first:last] == 0):
            if kept[position]:
                earlier = seen.setdefault(texts[position].strip(), int(position))
                if earlier != position and threshold < 1.0:
                    twins[int(position)] = earlier
                    kept[position] = False
        return twins

    def expect(self, texts: int) -> None:
        """So many texts are about to be filtered, so that the back end can be chosen."""
        self._expect(texts * (len(self) + texts // 2))

    @property
    def block(self) -> int:
        """Texts that are compared with the pool at a time."""
        return int(self._backend.block) * (LARGE_BLOCK if len(self) >= LARGE_POOL else 1)

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """What `restored` needs to make the same pool again."""
        tokens, ends = self._pages.flat()
        names, name_ends = join(self._vocabulary.names())
        arrays: dict[str, npt.NDArray[Any]] = {"tokens": tokens, "ends": ends, "names": names, "name_ends": name_ends}
        wordless, wordless_ends = join([text.encode("utf-8", "surrogatepass") for text in self._wordless])
        arrays |= {"wordless": wordless, "wordless_ends": wordless_ends}
        arrays |= {"wordless_at": np.array(list(self._wordless.values()), np.int64)}
        if self._texts is not None:
            data, text_ends = join([text.encode("utf-8", "surrogatepass") for text in self._texts])
            arrays |= {"texts": data, "text_ends": text_ends}
        return {"tokenizer": self.tokenizer, "keep_texts": self._texts is not None}, arrays

    @classmethod
    def restored(cls, settings: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], **options: Any) -> RougeLPool:
        """The pool that `state` was taken of, on whatever back end."""
        pool = cls(settings["tokenizer"], keep_texts=settings["keep_texts"], **options)
        pool._vocabulary = pool._backend.vocabulary(pool.tokenizer, split(arrays["names"], arrays["name_ends"]))
        ends = arrays["ends"]
        lengths = np.diff(ends, prepend=0)
        for first in range(0, len(ends), CHUNK):
            part = lengths[first : first + CHUNK]
            start = int(ends[first] - part[0])
            ids = arrays["tokens"][start : start + int(part.sum())]
            encoded = Encoded(ids, np.cumsum(part) - part, part, marks(ids, occurrences(ids, part)))
            pool._pages.append(encoded, np.arange(len(part)))
        wordless = [
            text.decode("utf-8", "surrogatepass") for text in split(arrays["wordless"], arrays["wordless_ends"])
        ]
        pool._wordless = dict(zip(wordless, arrays["wordless_at"].tolist(), strict=True))
        if settings["keep_texts"]:
            stored = split(arrays["texts"], arrays["text_ends"])
            pool._texts = [text.decode("utf-8", "surrogatepass") for text in stored]
        return pool

    def _expect(self, pairs: int) -> None:
        """Change to numba as soon as the work done and to do is worth its start."""
        self._compared += pairs
        if self._waits and self._compared >= FIRST_COMPILED:
            self._waits = False
            self._backend = _backend("numba", self._threads)
            self._vocabulary = self._backend.vocabulary(self.tokenizer, self._vocabulary.names())


def checked(texts: Sequence[str]) -> Sequence[str]:
    """The texts, once it is sure that they are some.

    Raises:
        UserError: If this is one text, or something among them is none.
    """
    if isinstance(texts, str):
        raise UserError("novelty filter: expected a list of texts, found one text; write [text].")
    texts = texts if isinstance(texts, list | tuple) else list(texts)  # rows of a table may count otherwise
    strange = next((place for place, text in enumerate(texts) if not isinstance(text, str)), None)
    if strange is not None:
        raise UserError(f"novelty filter: expected texts, found {type(texts[strange]).__name__} at place {strange}.")
    return texts


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_numba() -> bool:
    from importlib.util import find_spec

    return find_spec("numba") is not None


def _backend(name: str, threads: int) -> Any:
    if name == "numpy":
        from factory.novelty.plain import Plain

        return Plain()
    if name != "numba":
        raise UserError(f"novelty filter: no back end is called '{name}'; expected auto, numba or numpy.")
    if not _has_numba():
        raise UserError("novelty filter: the compiled back end needs numba: pip install 'dataset-factory[novelty]'.")
    from factory.novelty.compiled import Compiled

    return Compiled(threads)
