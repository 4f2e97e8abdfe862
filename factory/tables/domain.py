"""What a cell may be: a set of codes as sorted intervals, and whether it may be missing.

`Domain(((30, 90),), null=False)` is "30 to 90 and never missing" for a column of integers; for a column of categories
the codes are their numbers, so that `Domain(((2, 2), (5, 5)))` is one of two. Text has no codes: `text` says whether any
text will do, `texts` names the only ones that do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import msgspec

Cell = int | str | None  # a code, a text where the column holds free text, or missing
Interval = tuple[int, int]


class Domain(msgspec.Struct, frozen=True):
    """A set of cells.

    Attributes:
        intervals: Codes, as disjoint intervals in ascending order, ends included.
        null: Whether the cell may be missing.
        text: Whether any text is allowed, for a column of free text.
        texts: The only texts that are allowed, for a column of free text.
    """

    intervals: tuple[Interval, ...] = ()
    null: bool = False
    text: bool = False
    texts: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is allowed."""
        return not (self.intervals or self.null or self.text or self.texts)

    @property
    def size(self) -> int:
        """Number of codes; missing and text not counted."""
        return sum(high - low + 1 for low, high in self.intervals)

    @property
    def only(self) -> tuple[Cell] | None:
        """The one cell that is allowed, in a tuple as it may be missing; None if there are several, or none."""
        if self.text or self.size + self.null + len(self.texts) != 1:
            return None
        return (self.intervals[0][0] if self.intervals else self.texts[0] if self.texts else None,)

    def holds(self, cell: Cell) -> bool:
        """Whether the cell is allowed.

        >>> Domain(((1, 3), (7, 9)), null=True).holds(7), Domain(((1, 3),)).holds(None)
        (True, False)
        """
        if cell is None:
            return self.null
        if isinstance(cell, str):
            return self.text or cell in self.texts
        index = bisect_right(self.intervals, cell, key=lambda interval: interval[0]) - 1
        return index >= 0 and cell <= self.intervals[index][1]

    def __and__(self, other: Domain) -> Domain:
        """What both allow.

        >>> (Domain(((0, 5), (8, 9)), null=True) & Domain(((4, 8),))).intervals
        ((4, 5), (8, 8))
        """
        texts: tuple[str, ...]
        texts = other.texts if self.text else tuple(text for text in self.texts if other.holds(text))
        return Domain(
            tuple(_overlaps(self.intervals, other.intervals)),
            self.null and other.null,
            self.text and other.text,
            texts,
        )

    def codes(self) -> Iterator[int]:
        """All codes, ascending; there may be very many."""
        for low, high in self.intervals:
            yield from range(low, high + 1)


def _overlaps(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> Iterator[Interval]:
    left = right = 0
    while left < len(one) and right < len(other):
        low, high = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if low <= high:
            yield low, high
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1


def of_codes(codes: Iterable[int], *, null: bool = False) -> Domain:
    """The domain of these codes.

    >>> of_codes([3, 1, 2, 9]).intervals
    ((1, 3), (9, 9))
    """
    intervals: list[Interval] = []
    for code in sorted(set(codes)):
        if intervals and intervals[-1][1] == code - 1:
            intervals[-1] = (intervals[-1][0], code)
        else:
            intervals.append((code, code))
    return Domain(tuple(intervals), null)


def just(cell: Cell) -> Domain:
    """The domain of one cell.

    >>> just(4).holds(4), just(None).holds(None), just("so").holds("so")
    (True, True, True)
    """
    if cell is None:
        return Domain(null=True)
    return Domain(texts=(cell,)) if isinstance(cell, str) else Domain(((cell, cell),))


def union(domains: Iterable[Domain]) -> Domain:
    """What any of the domains allows.

    >>> union([just(3), just(None), Domain(((1, 2), (9, 12)))])
    Domain(intervals=((1, 3), (9, 12)), null=True, text=False, texts=())
    """
    every = list(domains)
    intervals: list[Interval] = []
    for low, high in sorted(interval for domain in every for interval in domain.intervals):
        if intervals and intervals[-1][1] >= low - 1:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], high))
        else:
            intervals.append((low, high))
    text = any(domain.text for domain in every)
    texts = tuple(dict.fromkeys(text for domain in every for text in domain.texts))
    return Domain(tuple(intervals), any(domain.null for domain in every), text, () if text else texts)
