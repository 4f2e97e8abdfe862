"""The compiled half of the novelty filter: bitmaps and screening in numba; tokens and LCS have modules of their own.

`plain` has the same operations in numpy and rapidfuzz, with the same results; `compiled` calls what stands here.
What makes a pair cheap: two 64-bit XORs and population counts, eight pairs an instruction where the processor has
AVX-512 (0.05 to 0.1 ns a pair), over pages of texts of equal length that stay in the first-level cache while the
queries of a block pass over them. The few pairs that the bitmaps cannot rule out are measured: see `lcs_kernels`.

Signed and unsigned 64-bit integers never meet in an expression here: numba would make floats of them.
"""
# ruff: noqa: ANN001, ANN201, ANN202 (what numba compiles best)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from factory.novelty import measure
from factory.novelty.lcs_kernels import count_bits, hold, hopeful, measured, release
from factory.novelty.pages import FIRST_WIDER, GROUP, NARROWEST, PAGE_WORDS, WIDEST

CANDIDATES = 1 << 15
_ONE, _ZERO, _ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW6, _SIX = np.uint64(63), np.uint64(6)


@intrinsic
def _at(typing_context: Any, array: Any, index: Any) -> Any:
    """An element of a contiguous array; unchecked, not counted from the end: what the compiler needs to see through."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load(builder.gep(held.data, [arguments[1]]))

    return array.dtype(array, types.intp), generate


_widest_distance = njit(measure.widest_distance, nogil=True, cache=True)


# Bitmaps


@njit(nogil=True, cache=True)
def _toggle(marks, words, out, at):
    """Write the bitmap of a text to `out[at:]`."""
    for word in range(words):
        out[at + word] = _ZERO
    shift = np.uint64(58)
    size = words
    while size > 1:
        shift -= _ONE
        size >>= 1
    for index in range(len(marks)):
        bit = marks[index] >> shift
        out[at + np.int64(bit >> _SIX)] ^= _ONE << (bit & _LOW6)


@njit(nogil=True, cache=True)
def _query_bits(marks, threshold, place, places, out):
    """Bitmaps of one of several queries, at every width at which it can meet a text above the threshold.

    Those of all queries at one width lie together, see `_query_at`; `out`: [254 * places].
    """
    low, words = 1, NARROWEST
    while words <= WIDEST:
        high = (low + 1) << 40 if words == WIDEST else (FIRST_WIDER * words) // NARROWEST - 1
        if _widest_distance(len(marks), low, high, threshold) >= 0:
            _toggle(marks, words, out, _query_at(words, place, places))
        low = high + 1
        words *= 2


@njit(nogil=True, cache=True)
def _query_at(words, place, places):
    """Where the bitmap of a query at one width begins."""
    return (words - NARROWEST) * places + place * words


@njit(nogil=True, cache=True)
def _scan_narrow(rows, at, holds, fill, one, two, limit, hits, gaps):
    """Texts of a page of 128-bit bitmaps that are at most `limit` away: places and distances; their number."""
    count = 0
    for begin in range(0, fill, GROUP):
        left = at + begin
        right = left + holds
        least = _ALL
        for index in range(GROUP):
            least = min(least, count_bits(_at(rows, left + index) ^ one) + count_bits(_at(rows, right + index) ^ two))
        if least <= limit:
            count = _collect(rows, at, begin, holds, fill, one, two, limit, hits, gaps, count)
    return count


@njit(nogil=True, cache=True)
def _collect(rows, at, begin, holds, fill, one, two, limit, hits, gaps, count):
    """Note the hits of one group."""
    for part in range(begin, begin + GROUP, 8):
        left = at + part
        right = left + holds
        least = _ALL
        for index in range(8):
            least = min(least, count_bits(_at(rows, left + index) ^ one) + count_bits(_at(rows, right + index) ^ two))
        if least <= limit:
            for index in range(8):
                gap = count_bits(_at(rows, left + index) ^ one) + count_bits(_at(rows, right + index) ^ two)
                if gap <= limit and part + index < fill:
                    hits[count] = part + index
                    gaps[count] = np.int32(gap)
                    count += 1
    return count


@njit(nogil=True, cache=True)
def _scan_wide(rows, at, words, holds, fill, bits, query, limit, sums, hits, gaps):
    """The same for wider bitmaps; a group is left as soon as all of it is too far away."""
    count = 0
    for begin in range(0, fill, GROUP):
        for index in range(GROUP):
            sums[index] = _ZERO
        least = _ZERO
        for word in range(0, words, 2):
            left = at + word * holds + begin
            right = left + holds
            one, two = _at(bits, query + word), _at(bits, query + word + 1)
            least = _ALL
            for index in range(GROUP):
                gap = _at(sums, index) + (
                    count_bits(_at(rows, left + index) ^ one) + count_bits(_at(rows, right + index) ^ two)
                )
                sums[index] = gap
                least = min(least, gap)
            if least > limit:
                break
        if least <= limit:
            for index in range(min(GROUP, fill - begin)):
                if sums[index] <= limit:
                    hits[count] = begin + index
                    gaps[count] = np.int32(sums[index])
                    count += 1
    return count


@njit(nogil=True, cache=True)
def _scan(rows, at, words, holds, fill, bits, query, limit, sums, hits, gaps):
    """Texts of a page, `rows[at:]`, that are at most `limit` from the bitmap `bits[query:]`: see `_scan_narrow`."""
    if words == NARROWEST:
        return _scan_narrow(rows, at, holds, fill, _at(bits, query), _at(bits, query + 1), limit, hits, gaps)
    return _scan_wide(rows, at, words, holds, fill, bits, query, limit, sums, hits, gaps)


# Screening


@njit(nogil=True, cache=True)
def screen(order, ids, starts, lengths, marks, threshold, pool, best, nearest, scratch):
    """Best neighbour in the pool above the threshold for some texts of a batch.

    Args:
        order: Positions of the texts in the batch.
        ids: Token numbers of the batch, see `Encoded`; as `starts`, `lengths` and `marks`.
        starts: Where each text begins.
        lengths: Its tokens.
        marks: Hashes of labelled tokens.
        threshold: What a score must be above.
        pool: `PoolArrays`.
        best: Greatest score so far, written: [batch]; the threshold where there is none.
        nearest: Its text in the pool, written: [batch]; -1 where there is none.
        scratch: `Scratch` of this thread, with 254 words of `bits` for each text.
    """
    # Arrays are taken out of the tuples once: each access would count a reference, atomically.
    bitmaps, page_at, page_words, page_fill = pool.bitmaps, pool.at, pool.words, pool.fill
    page_low, page_high, entries, page_entries = pool.low, pool.high, pool.entries, pool.entry_at
    bits, sums, hits, gaps = scratch.bits, scratch.sums, scratch.hits, scratch.gaps
    queries, others, apart = scratch.queries, scratch.others, scratch.apart
    places = len(order)
    for place in range(places):
        text = order[place]
        _query_bits(marks[starts[text] : starts[text] + lengths[text]], threshold, place, places, bits)
    noted = 0
    for page in range(len(page_at)):
        words, low, high, fill = page_words[page], page_low[page], page_high[page], page_fill[page]
        holds = max(GROUP, PAGE_WORDS // words)
        at, entry_at = page_at[page], page_entries[page]
        for place in range(places):
            limit = _widest_distance(lengths[order[place]], low, high, threshold)
            if limit < 0:
                continue
            query = _query_at(words, place, places)
            count = _scan(bitmaps, at, words, holds, fill, bits, query, np.uint64(limit), sums, hits, gaps)
            for index in range(count):
                if noted == CANDIDATES:
                    _verify(noted, order, ids, starts, lengths, pool, best, nearest, scratch)
                    noted = 0
                queries[noted] = place
                others[noted] = entries[entry_at + hits[index]]
                apart[noted] = gaps[index]
                noted += 1
    _verify(noted, order, ids, starts, lengths, pool, best, nearest, scratch)


@njit(nogil=True, cache=True)
def _verify(noted, order, ids, starts, lengths, pool, best, nearest, scratch):
    """Measure the candidates, query by query."""
    if noted == 0:
        return
    queries, others, apart, by_query = scratch.queries, scratch.others, scratch.apart, scratch.order
    pool_tokens, pool_starts = pool.tokens, pool.starts
    ends = np.zeros(len(order) + 1, np.int64)
    for index in range(noted):
        ends[queries[index] + 1] += 1
    for place in range(len(order)):
        ends[place + 1] += ends[place]
    begins = ends.copy()
    for index in range(noted):
        by_query[begins[queries[index]]] = index
        begins[queries[index]] += 1
    for place in range(len(order)):
        if ends[place] == ends[place + 1]:
            continue
        text = order[place]
        tokens = lengths[text]
        held = ids[starts[text] : starts[text] + tokens]
        distinct = hold(held, scratch)
        for index in range(ends[place], ends[place + 1]):
            candidate = by_query[index]
            number = others[candidate]
            other = pool_tokens[pool_starts[number] : pool_starts[number + 1]]
            score = measured(other, apart[candidate], tokens, best[text], nearest[text] >= 0, scratch)
            _improve(score, np.int64(number), text, best, nearest)
        release(held, distinct, scratch)


@njit(nogil=True, cache=True)
def _improve(score, number, text, best, nearest):
    if score > best[text] or (score == best[text] and nearest[text] >= 0 and number < nearest[text]):
        best[text] = score
        nearest[text] = number


@njit(nogil=True, cache=True)
def greedy(ids, starts, lengths, marks, threshold, words, best, nearest, kept, number, rows, scratch):
    """Decide the texts of a block in order, each against those of the block that were kept before it.

    Args:
        ids: Token numbers of the block, as `starts`, `lengths`, `marks`.
        starts: Where each text begins.
        lengths: Its tokens; texts without any are decided by the caller.
        marks: Hashes of labelled tokens.
        threshold: What a score must be above.
        words: Width at which the block is compared.
        best: As `screen` left it, written.
        nearest: As `screen` left it, written; numbers of the pool go on within the block.
        kept: Whether each text is kept; read for texts without tokens, written for all others: [block].
        number: Texts in the pool before the block.
        rows: Room for a page of the block's bitmaps, all ones: [words * holds].
        scratch: `Scratch`.
    """
    bits, sums, hits, gaps = scratch.bits, scratch.sums, scratch.hits, scratch.gaps
    holds = len(rows) // words
    numbers = np.empty(len(lengths), np.int64)
    shortest, longest = _span(lengths)
    for text in range(len(lengths)):
        tokens = lengths[text]
        if tokens > 0:
            _toggle(marks[starts[text] : starts[text] + tokens], words, bits, 0)
            far = longest
            reach = tokens * (2 - threshold)  # over the threshold, which may be too small to divide by
            if reach < longest * threshold:
                far = max(tokens, np.int64(reach / threshold) + 1)
            limit = _widest_distance(tokens, shortest, far, threshold)
            if limit >= 0:
                count = _scan(rows, 0, words, holds, text, bits, 0, np.uint64(limit), sums, hits, gaps)
                _compare(count, text, ids, starts, lengths, best, nearest, kept, numbers, scratch)
            for word in range(words):
                rows[word * holds + text] = bits[word]
            kept[text] = nearest[text] < 0
        numbers[text] = number
        number += kept[text]
    return number


@njit(nogil=True, cache=True)
def _span(lengths):
    shortest, longest = np.int64(1) << 40, np.int64(0)
    for tokens in lengths:
        if tokens > 0:
            shortest = min(shortest, tokens)
            longest = max(longest, tokens)
    return shortest, longest


@njit(nogil=True, cache=True)
def _compare(count, text, ids, starts, lengths, best, nearest, kept, numbers, scratch):
    """Measure a text of a block against those places of it in `scratch.hits` that were kept."""
    hits, gaps = scratch.hits, scratch.gaps
    held = ids[starts[text] : starts[text] + lengths[text]]
    distinct = -1
    for index in range(count):
        place = hits[index]
        if not kept[place] or lengths[place] == 0:
            continue
        most = min((lengths[text] + lengths[place] - gaps[index]) >> 1, min(lengths[text], lengths[place]))
        if not hopeful(most, lengths[text], lengths[place], best[text], nearest[text] >= 0):
            continue
        if distinct < 0:
            distinct = hold(held, scratch)
        other = ids[starts[place] : starts[place] + lengths[place]]
        score = measured(other, gaps[index], lengths[text], best[text], nearest[text] >= 0, scratch)
        _improve(score, numbers[place], text, best, nearest)
    if distinct >= 0:
        release(held, distinct, scratch)


# The nearest text, whatever its score


@njit(nogil=True, cache=True)
def find_nearest(text, marks, pool, best, nearest, scratch):
    """Greatest score of one text with any of the pool, the pages with the best promise first.

    `best[0]` and `nearest[0]` are written: 0.0 and -1 if no text of the pool shares a token.
    """
    tokens = len(text)
    _query_bits(marks, 0.0, 0, 1, scratch.bits)
    promises = np.zeros(len(pool.at))
    for page in range(len(pool.at)):
        gap = _least_gap(page, pool, scratch)
        promises[page] = _promise(tokens, gap, pool.low[page], pool.high[page])
    distinct = hold(text, scratch)
    for page in np.argsort(-promises):
        if promises[page] < best[0]:
            break
        closest = _least_gap(page, pool, scratch)
        _measure_page(page, tokens, 0, closest, pool, best, nearest, scratch)
        _measure_page(page, tokens, closest + 1, tokens + pool.high[page], pool, best, nearest, scratch)
    release(text, distinct, scratch)


@njit(nogil=True, cache=True)
def _promise(tokens, gap, low, high):
    """A score that no text of low to high tokens, `gap` or more away, exceeds."""
    bound = 1 - gap / (tokens + high)
    if high < tokens:
        bound = min(bound, 2 * high / (tokens + high))
    if low > tokens:
        bound = min(bound, 2 * tokens / (tokens + low))
    return bound + 1e-9


@njit(nogil=True, cache=True)
def _least_gap(page, pool, scratch):
    """Distance of the nearest bitmap of a page."""
    words, fill = pool.words[page], pool.fill[page]
    holds = max(GROUP, PAGE_WORDS // words)
    query = _query_at(words, 0, 1)
    sums = scratch.sums
    least = _ALL
    for begin in range(0, fill, GROUP):
        for index in range(GROUP):
            sums[index] = _ZERO
        for word in range(words):
            row = pool.at[page] + word * holds + begin
            one = _at(scratch.bits, query + word)
            for index in range(GROUP):
                sums[index] = _at(sums, index) + count_bits(_at(pool.bitmaps, row + index) ^ one)
        for index in range(min(GROUP, fill - begin)):
            least = min(least, sums[index])
    return np.int64(least)


@njit(nogil=True, cache=True)
def _measure_page(page, tokens, closest, farthest, pool, best, nearest, scratch):
    """Measure the texts of a page at those distances that may still be the best."""
    words, high = pool.words[page], pool.high[page]
    holds = max(GROUP, PAGE_WORDS // words)
    query = _query_at(words, 0, 1)
    limit = min(farthest, np.int64((1 - best[0]) * (tokens + high) + 1e-6))
    if limit < closest:
        return
    fill = pool.fill[page]
    count = _scan(
        pool.bitmaps,
        pool.at[page],
        words,
        holds,
        fill,
        scratch.bits,
        query,
        np.uint64(limit),
        scratch.sums,
        scratch.hits,
        scratch.gaps,
    )
    for index in range(count):
        if scratch.gaps[index] >= closest:
            number = pool.entries[pool.entry_at[page] + scratch.hits[index]]
            other = pool.tokens[pool.starts[number] : pool.starts[number + 1]]
            score = measured(other, scratch.gaps[index], tokens, best[0], nearest[0] >= 0, scratch)
            _improve(score, np.int64(number), 0, best, nearest)
