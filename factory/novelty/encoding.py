"""Texts as token numbers, and the bitmaps of labelled tokens.

A labelled token is a token with its occurrence: the second "the" of a text is another one than the first, so two
texts share two of them only if both have two. Each has a 64-bit mark, a hash; a bitmap of 64 w bits toggles the bit
that the mark's first bits name.

    vocabulary = Vocabulary("auto")
    encoded = vocabulary.encode(["the cat and the dog"])
    encoded.ids -> [0, 1, 2, 0, 3]; encoded.starts -> [0]; encoded.lengths -> [5]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factory.novelty.tokenizers import Tokenizer, tokenize

Ints = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]


_TOKEN = re.compile(rb"[a-z0-9\x80-\xff]+")
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xD1B54A32D192ED03)
_SECOND = np.uint64(0xBF58476D1CE4E5B9)
_THIRD = np.uint64(0x94D049BB133111EB)


class Encoded(NamedTuple):
    """A batch of texts.

    Attributes:
        ids: Token numbers of all texts behind each other.
        starts: Where each text begins in `ids`: [texts].
        lengths: Tokens of each text: [texts].
        marks: Hash of each labelled token, in the order of `ids`.
    """

    ids: Int32s
    starts: Ints
    lengths: Ints
    marks: Words

    def bitmaps(self, chosen: Ints, words: int) -> Words:
        """Bitmaps of texts at one width: [chosen, words]."""
        lengths = self.lengths[chosen]
        ends = np.cumsum(lengths)
        row = np.repeat(np.arange(len(chosen)), lengths)
        within = np.arange(len(row)) - (ends - lengths)[row]
        bits = self.marks[self.starts[chosen][row] + within] >> np.uint64(65 - (64 * words).bit_length())
        flat = np.zeros(len(chosen) * words, np.uint64)
        where = row * words + (bits >> np.uint64(6)).astype(np.int64)
        np.bitwise_xor.at(flat, where, np.uint64(1) << (bits & np.uint64(63)))
        return flat.reshape(len(chosen), words)


def readable(text: str, kind: Tokenizer) -> bytes:
    """Bytes in which the tokens are the runs of a-z, A-Z, 0-9 and bytes above 127, in any case.

    ASCII passes as it is. Of other texts the `rouge` tokeniser sees only what lower-casing makes ASCII.
    """
    if text.isascii():
        return text.encode("ascii")
    if kind == "rouge":
        return text.lower().encode("ascii", "replace")
    return " ".join(tokenize(text, kind)).encode("utf-8")


class Vocabulary:
    """Numbers of the tokens seen so far, in the order in which they first appeared."""

    def __init__(self, kind: Tokenizer = "auto", names: Sequence[bytes] = ()) -> None:
        """Begin with those tokens, numbered from 0."""
        self.kind = kind
        self._numbers = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        """Different tokens."""
        return len(self._numbers)

    def names(self) -> list[bytes]:
        """Tokens in order of their numbers."""
        return list(self._numbers)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Number the tokens of a batch; new ones join the vocabulary."""
        numbers = self._numbers
        ids: list[int] = []
        lengths = np.zeros(len(texts), np.int64)
        for position, text in enumerate(texts):
            tokens = _TOKEN.findall(readable(text, self.kind).lower())
            ids += [numbers.setdefault(token, len(numbers)) for token in tokens]
            lengths[position] = len(tokens)
        flat = np.array(ids, np.int32)
        starts = np.cumsum(lengths) - lengths
        return Encoded(flat, starts, lengths, marks(flat, occurrences(flat, lengths)))


def occurrences(ids: Int32s, lengths: Ints) -> Ints:
    """How many equal tokens come before each in its text: [ids]."""
    text = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((ids, text))
    first = np.ones(len(ids), bool)
    first[1:] = (ids[order][1:] != ids[order][:-1]) | (text[order][1:] != text[order][:-1])
    position = np.arange(len(ids))
    before = np.empty(len(ids), np.int64)
    before[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return before


def marks(ids: Int32s, before: Ints) -> Words:
    """Hash of labelled tokens (the finaliser of splitmix64): [ids]."""
    word = ids.astype(np.uint64) | (before.astype(np.uint64) << np.uint64(32))
    with np.errstate(over="ignore"):
        word = (word + _STEP) * _FIRST
        word = (word ^ (word >> np.uint64(30))) * _SECOND
        word = (word ^ (word >> np.uint64(27))) * _THIRD
        return np.asarray(word ^ (word >> np.uint64(31)), np.uint64)
