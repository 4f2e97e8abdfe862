"""Tokens of many texts at once, numbered by a hash table of arrays; compiled by numba.

`number_tokens` works on bytes; two tokens are one only if their bytes are equal, whatever their hashes.
"""
# ruff: noqa: ANN001, ANN201, ANN202, SIM110 (what numba compiles best)

from __future__ import annotations

import numpy as np
from numba import njit

_ONE = np.uint64(1)
_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_STEP, _FIRST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_SECOND, _THIRD = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True)
def number_tokens(data, ends, first, kinds, slots, hashes, names, name_ends, sizes, ids, lengths):
    """Number the tokens of texts `first` and on; new ones join the tables.

    Args:
        data: Bytes of all texts behind each other.
        ends: Where each text ends in `data`: [texts].
        first: Text to begin with.
        kinds: What each byte becomes in a token, 0 if it separates: [256].
        slots: Hash table, 1 + token number, 0 for empty: [power of two].
        hashes: Hash of each token: [room].
        names: Bytes of all tokens behind each other.
        name_ends: Where each token ends in `names`: [room].
        sizes: Tokens in the tables, bytes in `names`, ids written.
        ids: Token numbers, written from `sizes[2]` on.
        lengths: Tokens of each text, written: [texts].

    Returns:
        The first text that was not numbered because a table is full, or the number of texts.
    """
    room = min(len(hashes), len(slots) // 2)
    for text in range(first, len(ends)):
        position = ends[text - 1] if text > 0 else 0
        end = ends[text]
        written = sizes[2]
        while position < end:
            if kinds[data[position]] == 0:
                position += 1
                continue
            begin = position
            word = _OFFSET
            while position < end and kinds[data[position]] != 0:
                word = (word ^ np.uint64(kinds[data[position]])) * _PRIME
                position += 1
            word = (word ^ (word >> np.uint64(32))) * _SECOND
            word ^= word >> np.uint64(29)
            found, place = _look_up(word, data, begin, position, kinds, slots, hashes, names, name_ends)
            if found < 0:
                found = sizes[0]
                used = sizes[1]
                if found >= room or used + position - begin > len(names):
                    return text
                for index in range(begin, position):
                    names[used + index - begin] = kinds[data[index]]
                slots[np.int64(place)] = found + 1
                hashes[found] = word
                sizes[1] = used + position - begin
                name_ends[found] = sizes[1]
                sizes[0] = found + 1
            ids[written] = found
            written += 1
        lengths[text] = written - sizes[2]
        sizes[2] = written
    return len(ends)


@njit(nogil=True, cache=True)
def _look_up(word, data, begin, end, kinds, slots, hashes, names, name_ends):
    """Number of a token, or -1; and its place in the table, or the empty one where it belongs."""
    wrap = np.uint64(len(slots) - 1)
    place = word & wrap
    while True:
        number = np.int64(slots[np.int64(place)]) - 1
        if number < 0 or (hashes[number] == word and _same(data, begin, end, kinds, names, name_ends, number)):
            return number, place
        place = (place + _ONE) & wrap


@njit(nogil=True, cache=True)
def _same(data, begin, end, kinds, names, name_ends, number):
    at = name_ends[number - 1] if number > 0 else 0
    if name_ends[number] - at != end - begin:
        return False
    for index in range(end - begin):
        if kinds[data[begin + index]] != names[at + index]:
            return False
    return True


@njit(nogil=True, cache=True)
def fill_slots(slots, hashes, count):
    """Enter the first `count` tokens into an empty hash table."""
    wrap = np.uint64(len(slots) - 1)
    for number in range(count):
        place = hashes[number] & wrap
        while slots[np.int64(place)] != 0:
            place = (place + _ONE) & wrap
        slots[np.int64(place)] = number + 1


@njit(nogil=True, cache=True)
def mark(ids, starts, lengths, seen, out):
    """Hash of each labelled token, as `encoding.marks` computes it; `seen` is all zeros before and after."""
    for text in range(len(starts)):
        first, last = starts[text], starts[text] + lengths[text]
        for position in range(first, last):
            token = ids[position]
            word = (np.uint64(token) | (np.uint64(seen[token]) << np.uint64(32))) + _STEP
            seen[token] += 1
            word = word * _FIRST
            word = (word ^ (word >> np.uint64(30))) * _SECOND
            word = (word ^ (word >> np.uint64(27))) * _THIRD
            out[position] = word ^ (word >> np.uint64(31))
        for position in range(first, last):
            seen[ids[position]] = 0
