"""The most similar text of a growing pool, by ROUGE-L F-measure: exact, and fast enough to ask each time.

    pool = RougeLPool()
    pool.add("Name three large rivers in Europe.")          -> 0
    pool.add("Write a poem about the sea.")                 -> 1
    pool.nearest("Name three rivers in Europe.")            -> Neighbour(index=0, score=0.9090909090909091)

This is the novelty test of Self-Instruct (arXiv 2212.10560, section 2.2): a new instruction is dropped if
its greatest ROUGE-L to any earlier one is above 0.7. Scores are bit-identical to the package rouge_score.
That matters at the edge: for an LCS of 7 in texts of 7 and 13 tokens, exactly 0.7, the reference's float
expression gives 0.7000000000000001, and `2 * lcs / (m + n)` gives 0.7.

Deviation: a text without any token scores 0 against everything in rouge_score, so a row of emoji would
be new each time. Here it scores 1.0 against a text without tokens that is the same string, leading and
trailing white space aside, and 0.0 otherwise.

How it stays exact while looking at few pairs: a common subsequence cannot be longer than the number of
tokens that two texts share, counted with repeats. An inverted index gives that number for the whole pool
at once, and with it the greatest score each text could reach. Texts are then compared best promise first,
until no promise left reaches the best score found. The F-measure keeps its order in floating point: one
token more in the subsequence raises it by a factor of at least 1 + 1/lcs, rounding moves it by 1e-15.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from factory.errors import UserError
from factory.novelty.tokenizers import Tokenizer, tokenize

MAX_TOKEN_TYPES: Final = 0x110000  # code points: a token is one character to rapidfuzz
_FIRST_BLOCK: Final = 64
_BLOCK_GROWTH: Final = 4

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


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

    Symmetric; 0.0 if either list is empty. Only `RougeLPool` knows about texts without tokens.
    """
    vocabulary: dict[str, int] = {}
    ids = [_number(tokens, vocabulary) for tokens in (left, right)]
    return f_measure(LCSseq.similarity(_encode(ids[0]), _encode(ids[1])), len(left), len(right))


def f_measure(lcs: int, left_tokens: int, right_tokens: int) -> float:
    """F-measure of a longest common subsequence, by the reference's own float expression."""
    if lcs == 0:
        return 0.0
    precision, recall = lcs / right_tokens, lcs / left_tokens
    return 2 * precision * recall / (precision + recall)


class RougeLPool:
    """Texts that new ones are compared with; it only grows.

    The caller decides: the reference rejects a text if `nearest(text).score > 0.7`, and keeps one at 0.7.
    """

    def __init__(self, tokenizer: Tokenizer = "auto") -> None:
        """Start with no texts."""
        self._tokenizer = tokenizer
        self._texts: list[str] = []
        self._vocabulary: dict[str, int] = {}
        self._codes: list[str] = []
        self._lengths = array("d")
        self._shared = _SharedTokens()
        self._without_tokens: dict[str, int] = {}

    def __len__(self) -> int:
        """How many texts were added."""
        return len(self._texts)

    def text(self, index: int) -> str:
        """The text that `add` returned this index for."""
        return self._texts[index]

    def add(self, text: str) -> int:
        """Take a text in, whether or not one like it is there, and return its index, counted from 0.

        Raises:
            UserError: If the pool would hold more different tokens than it can number.
        """
        tokens = tokenize(text, self._tokenizer)
        ids = _number(tokens, self._vocabulary)
        index = len(self._texts)
        self._codes.append(_encode(ids))
        self._lengths.append(len(ids))
        self._shared.add(index, ids)
        if not tokens:
            self._without_tokens.setdefault(text.strip(), index)
        self._texts.append(text)
        return index

    def nearest(self, text: str) -> Neighbour | None:
        """The text of the pool with the greatest ROUGE-L to this one, the first of them if several tie.

        Returns:
            The neighbour, with score 0.0 and index 0 if nothing in the pool shares a token with the text;
            None if the pool is empty.
        """
        if not self._texts:
            return None
        tokens = tokenize(text, self._tokenizer)
        if not tokens:
            twin = self._without_tokens.get(text.strip())
            return Neighbour(0, 0.0) if twin is None else Neighbour(twin, 1.0)
        # A token that the pool has never seen is in no common subsequence; it counts in the length only.
        known = [self._vocabulary[token] for token in tokens if token in self._vocabulary]
        return self._best(known, len(tokens))

    def _best(self, ids: list[int], length: int) -> Neighbour:
        """Compare with texts in order of the score they could reach, until none can reach the best."""
        shared = self._shared.count(ids, len(self._texts))
        left = np.flatnonzero(shared)
        lengths = np.frombuffer(self._lengths)[left]
        bounds = _f_measures(shared[left], length, lengths)
        code, best, block = _encode(ids), Neighbour(0, 0.0), _FIRST_BLOCK
        while left.size:
            chosen = _greatest(bounds, block)
            best = _better(best, left[chosen], self._scores(code, length, left[chosen], lengths[chosen]))
            hopeful = bounds >= best.score
            hopeful[chosen] = False
            left, lengths, bounds = left[hopeful], lengths[hopeful], bounds[hopeful]
            block *= _BLOCK_GROWTH
        return best

    def _scores(self, code: str, length: int, indices: _Ints, lengths: _Floats) -> _Floats:
        """ROUGE-L of one encoded text of `length` tokens to the pool's texts at `indices`: [indices]."""
        codes = [self._codes[index] for index in indices.tolist()]
        lcs = process.cdist([code], codes, scorer=LCSseq.similarity, dtype=np.int64)[0]
        scores = np.zeros(len(codes))
        some = lcs > 0
        scores[some] = _f_measures(lcs[some], length, lengths[some])
        return scores


class _SharedTokens:
    """Inverted index: how many tokens a text shares with each text of a pool, repeats counted.

    The second "the" of a text is posted apart from the first, so two texts share two of them only if
    both have two.
    """

    def __init__(self) -> None:
        self._postings: defaultdict[int, array[int]] = defaultdict(lambda: array("i"))

    def add(self, index: int, ids: list[int]) -> None:
        for label in _labels(ids):
            self._postings[label].append(index)

    def count(self, ids: list[int], size: int) -> _Ints:
        """Shared tokens of a text with each text of a pool of `size`: [size]."""
        # The views live only in this call: an array cannot grow while one of its views is alive.
        postings = [
            np.frombuffer(self._postings[label], dtype=np.intc) for label in _labels(ids) if label in self._postings
        ]
        if not postings:
            return np.zeros(size, dtype=np.int64)
        return np.bincount(np.concatenate(postings), minlength=size)


def _labels(ids: list[int]) -> Iterable[int]:
    """One number per (token, how many times it came before)."""
    if len(set(ids)) == len(ids):
        return ids
    labels: list[int] = []
    seen: dict[int, int] = {}
    for token in ids:
        before = seen.get(token, 0)
        seen[token] = before + 1
        labels.append(token + before * MAX_TOKEN_TYPES)
    return labels


def _number(tokens: Sequence[str], vocabulary: dict[str, int]) -> list[int]:
    """Token numbers; tokens that are new to the vocabulary get the next ones, or none do."""
    if len(vocabulary) + len(tokens) > MAX_TOKEN_TYPES:
        types = len(vocabulary) + len(set(tokens) - vocabulary.keys())
        if types > MAX_TOKEN_TYPES:
            raise UserError(
                f"novelty pool: it would hold {types:,} different tokens, and {MAX_TOKEN_TYPES:,} is the most "
                "it can tell apart; split the run, or clean out texts made of random strings"
            )
    return [vocabulary.setdefault(token, len(vocabulary)) for token in tokens]


def _encode(ids: Iterable[int]) -> str:
    """One character per token, which is what rapidfuzz compares fastest.

    Some are lone surrogates: harmless, since the string is never written anywhere.
    """
    return "".join(map(chr, ids))


def _f_measures(lcs: _Ints, length: int, lengths: _Floats) -> _Floats:
    """`f_measure` of one text of `length` tokens with many; each `lcs` must be at least 1: [n]."""
    precision, recall = lcs / lengths, lcs / length
    scores: _Floats = 2 * precision * recall / (precision + recall)
    return scores


def _greatest(values: _Floats, count: int) -> _Ints:
    """Positions of the `count` greatest values, in any order; all positions if there are no more: [count]."""
    if values.size <= count:
        return np.arange(values.size)
    return np.argpartition(values, -count)[-count:]


def _better(best: Neighbour, indices: _Ints, scores: _Floats) -> Neighbour:
    """The better one of `best` and the best of `indices`; the lower index if they tie."""
    top = float(scores.max())
    first = int(indices[scores == top].min())
    return max(best, Neighbour(first, top), key=lambda neighbour: (neighbour.score, -neighbour.index))
