"""Longest common subsequences as bit vectors (Hyyrö 2004), and the score of a pair; compiled by numba.

The first text is held as a bit vector, one addition a token of the second; a text beyond 64 tokens is taken one word
after the other, with the carries kept between them.
"""
# ruff: noqa: ANN001, ANN201, ANN202 (what numba compiles best)

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

from factory.novelty import measure

_ONE, _ZERO, _ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)


class Scratch(NamedTuple):
    """Working memory of one thread; `slot`, `bags` and `masks` are all zeros between calls.

    Attributes:
        slot: For each token number, 1 + its place among the distinct tokens of the text in hand: [vocabulary].
        local: That place for each position of the text: [longest text].
        masks: Positions of each distinct token, as bits of one word: [longest text].
        bags: How often each distinct token is left to match: [longest text].
        matched: Places of the other text's tokens that occur in the text in hand: [longest text].
        carries: Carry out of the previous word at each of them: [longest text].
        bits: Bitmaps of the queries of a block, all widths of one query together.
        sums: Distances while a page of wide bitmaps is read: [GROUP].
        hits: Places in a page.
        gaps: Distances of `hits`.
        queries: Query of each candidate: [CANDIDATES].
        others: Number in the pool of each candidate: [CANDIDATES].
        apart: Distance of each candidate: [CANDIDATES].
        order: Candidates by query: [CANDIDATES].
    """

    slot: npt.NDArray[np.int32]
    local: npt.NDArray[np.int32]
    masks: npt.NDArray[np.uint64]
    bags: npt.NDArray[np.int32]
    matched: npt.NDArray[np.int32]
    carries: npt.NDArray[np.uint64]
    bits: npt.NDArray[np.uint64]
    sums: npt.NDArray[np.uint64]
    hits: npt.NDArray[np.int32]
    gaps: npt.NDArray[np.int32]
    queries: npt.NDArray[np.int32]
    others: npt.NDArray[np.int32]
    apart: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]


@intrinsic
def count_bits(typing_context: Any, word: Any) -> Any:
    """Population count of a 64-bit word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


f_measure = njit(measure.f_measure, nogil=True, cache=True)


@njit(nogil=True, cache=True)
def hold(text, scratch):
    """Make a text the one in hand; returns its distinct tokens."""
    slot, local, bags, masks = scratch.slot, scratch.local, scratch.bags, scratch.masks
    distinct = 0
    for position in range(len(text)):
        place = slot[text[position]]
        if place == 0:
            distinct += 1
            place = distinct
            slot[text[position]] = place
        local[position] = place - 1
        bags[place - 1] += 1
        if len(text) <= 64:
            masks[place - 1] |= _ONE << np.uint64(position)
    return distinct


@njit(nogil=True, cache=True)
def release(text, distinct, scratch):
    """Let the text in hand go."""
    slot, bags, masks = scratch.slot, scratch.bags, scratch.masks
    for position in range(len(text)):
        slot[text[position]] = 0
    for place in range(distinct):
        bags[place] = 0
        masks[place] = _ZERO


@njit(nogil=True, cache=True)
def _common_short(other, tokens, scratch):
    """Length of the longest common subsequence with the text in hand, of at most 64 tokens."""
    slot, masks = scratch.slot, scratch.masks
    vector = _ALL
    for index in range(len(other)):
        place = slot[other[index]]
        if place != 0:
            both = vector & masks[place - 1]
            vector = (vector + both) | (vector - both)
    valid = _ALL >> np.uint64(64 - tokens)
    return np.int64(count_bits(~vector & valid))


@njit(nogil=True, cache=True)
def _shared(other, scratch):
    """Note the other text's tokens that occur in the text in hand; how many are shared, repeats counted, and noted."""
    slot, bags, matched = scratch.slot, scratch.bags, scratch.matched
    shared = noted = 0
    for index in range(len(other)):
        place = slot[other[index]]
        if place != 0:
            matched[noted] = place - 1
            noted += 1
            bags[place - 1] -= 1
            shared += bags[place - 1] >= 0
    for index in range(noted):
        bags[matched[index]] += 1
    return shared, noted


@njit(nogil=True, cache=True)
def _common_long(noted, tokens, scratch):
    """The same for any length: one word of the bit vector after the other, with the carries kept between them.

    Tokens that do not occur in the text in hand change nothing and are left out beforehand.
    """
    local, masks, matched, carries = scratch.local, scratch.masks, scratch.matched, scratch.carries
    carries[:noted] = _ZERO
    common = 0
    for begin in range(0, tokens, 64):
        end = min(begin + 64, tokens)
        for position in range(begin, end):
            masks[local[position]] |= _ONE << np.uint64(position - begin)
        vector = _ALL
        for index in range(noted):
            both = vector & masks[matched[index]]
            total = vector + both
            carry = np.uint64(total < vector)
            total += carries[index]
            carry |= np.uint64(total < carries[index])
            carries[index] = carry
            vector = total | (vector - both)
        common += np.int64(count_bits(~vector & (_ALL >> np.uint64(64 - (end - begin)))))
        for position in range(begin, end):
            masks[local[position]] = _ZERO
    return common


@njit(nogil=True, cache=True)
def hopeful(most, tokens, others, best, found):
    """Whether a subsequence of `most` tokens would be better than the best so far, or as good as a found one."""
    score = f_measure(most, tokens, others)
    return score > best or (found and score == best)


@njit(nogil=True, cache=True)
def measured(other, gap, tokens, best, found, scratch):
    """F-measure with the text in hand, or -1 as soon as it cannot be as good as `best`."""
    others = len(other)
    most = min((tokens + others - gap) >> 1, min(tokens, others))
    if not hopeful(most, tokens, others, best, found):
        return -1.0
    if tokens <= 64:
        return f_measure(_common_short(other, tokens, scratch), tokens, others)
    shared, noted = _shared(other, scratch)
    if not hopeful(shared, tokens, others, best, found):
        return -1.0
    return f_measure(_common_long(noted, tokens, scratch), tokens, others)
