"""The cells of a column as a small vocabulary of tokens, and a draw of a cell from a token.

    bins = bins_of(age, [39, 50, 38, None, ...], Settings())
    bins.token(39)                                    # 23, the value's own token or that of its bin
    within = bins.within(Domain(((30, 34),)))         # what each token may still give
    within.draw(23, random)                           # a code from 30 to 34

Token 0 is the missing cell, then come values with a token of their own (every category; of the ordered kinds, those with
many rows), then quantile bins, which together cover the whole line of codes. `binning` makes them from training cells.

A domain that cuts a span leaves it in proportion to what remains. Where a domain holds no code that the spans allow (a
range that no training row lies in), all its codes are allowed evenly, so that a wanted range is never empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, pairwise
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt

from factory.tables.domain import Cell, Domain
from factory.tables.row_transformer.spans import Measure, Span

Floats = npt.NDArray[np.float64]
MISSING = 0


class Bins(msgspec.Struct, frozen=True, dict=True, array_like=True):
    """The vocabulary of a column.

    Attributes:
        singles: Codes with a token of their own, ascending; their tokens are 1, 2, ...
        edges: First codes of all quantile bins but the first, ascending; the tokens of the bins follow.
        binned: Whether there are quantile bins, which is so for all but categories.
        spans: What the tokens stand for, ascending and disjoint.
        measure: How codes are spread over a span.
    """

    singles: tuple[int, ...]
    edges: tuple[int, ...]
    binned: bool
    spans: tuple[Span, ...]
    measure: Measure

    @property
    def tokens(self) -> int:
        """Size of the vocabulary."""
        return 1 + len(self.singles) + (len(self.edges) + 1 if self.binned else 0)

    @cached_property
    def _single(self) -> dict[int, int]:
        return {code: token for token, code in enumerate(self.singles, 1)}

    def token(self, cell: Cell) -> int:
        """The token of a cell.

        Raises:
            ValueError: If it is text, or a category that there is not.
        """
        if cell is None:
            return MISSING
        if isinstance(cell, str):
            raise ValueError(f"a text has no token: {cell!r}")
        own = self._single.get(cell)
        if own is not None:
            return own
        if not self.binned:
            raise ValueError(f"there is no category {cell}")
        return 1 + len(self.singles) + bisect_right(self.edges, cell)

    def within(self, domain: Domain) -> Within:
        """What each token may still give in a domain."""
        parts: dict[int, list[Span]] = {}
        for part in self._parts(domain):
            parts.setdefault(part.token, []).append(part)
        if not parts and not domain.null:
            for part in self._unseen(domain):
                parts.setdefault(part.token, []).append(part)
        return Within(self, domain.null, parts)

    def _parts(self, domain: Domain) -> Iterator[Span]:
        index, spans = 0, self.spans
        for low, high in domain.intervals:
            index = max(index, bisect_left(spans, low, key=_high))
            while index < len(spans) and spans[index].low <= high:
                part = spans[index].cut((low, high), self.measure)
                if part is not None:
                    yield part
                if spans[index].high > high:
                    break
                index += 1

    def _unseen(self, domain: Domain) -> Iterator[Span]:
        """The codes of a domain without any code of the spans, each bin's part of an interval as one span."""
        if not self.binned or not domain.intervals:
            return
        total = domain.size
        for low, high in domain.intervals:
            first, last = bisect_right(self.edges, low), bisect_right(self.edges, high)
            borders = [low, *self.edges[first:last], high + 1]
            for token, (start, end) in enumerate(pairwise(borders), 1 + len(self.singles) + first):
                yield Span(token, start, end - 1, 1, (end - start) / total)


class Within:
    """A vocabulary in a domain.

    Attributes:
        log_masses: [tokens] log of the share of each token's cells that the domain leaves, -inf where none.
    """

    def __init__(self, bins: Bins, null: bool, parts: dict[int, list[Span]]) -> None:
        """Keep the parts of each token's spans."""
        self._measure, self._parts = bins.measure, parts
        self._sums = {token: list(accumulate(span.weight for span in spans)) for token, spans in parts.items()}
        masses = np.zeros(bins.tokens)
        masses[MISSING] = null
        for token, sums in self._sums.items():
            masses[token] = max(sums[-1], np.finfo(float).tiny)
        with np.errstate(divide="ignore"):
            self.log_masses: Floats = np.log(masses)

    @property
    def empty(self) -> bool:
        """Whether nothing is allowed."""
        return bool(np.isneginf(self.log_masses).all())

    def draw(self, token: int, random: Random) -> int | None:
        """A cell of a token whose mass is not zero."""
        if token == MISSING:
            return None
        spans, sums = self._parts[token], self._sums[token]
        if len(spans) == 1:
            return self._measure.draw(spans[0], random)
        index = min(bisect_right(sums, random.random() * sums[-1]), len(spans) - 1)
        return self._measure.draw(spans[index], random)


def _high(span: Span) -> int:
    return span.high
