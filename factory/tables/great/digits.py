"""Whole numbers and decimals within ranges, digit by digit, exactly and of any size.

For 8 to 120 the characters that may begin are 1 to 9; after "1" come 0 to 9 or the end is not allowed yet ("1" is too
small), after "12" only "0" or the end, after "5" any digit or the end.

A state holds what may still follow: items (sign to come, digits to come, least and greatest number that these digits
may form, point written). It is canonical (what is equal ahead is one state), so that all inner branches of a range
share their states: 12,285 to 1,484,705 takes a few dozen.
"""

from __future__ import annotations

from collections.abc import Iterable

from factory.tables.domain import Interval

Item = tuple[bool, int, int, int, bool]
State = tuple[Item, ...]
_DIGITS = "0123456789"


class Digits:
    """The texts of numbers in intervals: `-` for the negative ones, no leading zeros, a fixed number of places."""

    def __init__(self, intervals: Iterable[Interval], places: int = 0) -> None:
        """Allow the codes of these intervals, as numbers with so many decimal places."""
        self._places = places
        items: list[Item] = []
        for low, high in intervals:
            if low < 0:
                items += self._lengths(True, max(1, -high), -low)
            if high >= 0:
                items += self._lengths(False, max(0, low), high)
        self.start: State = _merged(items)

    def characters(self, state: State) -> set[str]:
        """The characters that may come next."""
        found: set[str] = set()
        for signed, digits, low, high, pointed in state:
            if signed or (digits == self._places and not pointed):
                found.add("-" if signed else ".")
            elif digits:
                unit = 10 ** (digits - 1)
                found.update(_DIGITS[low // unit : high // unit + 1])
        return found

    def step(self, state: State, character: str) -> State:
        """The state after one of these characters."""
        items: list[Item] = []
        for signed, digits, low, high, pointed in state:
            if signed or (digits == self._places and not pointed):
                if character == ("-" if signed else "."):
                    items.append((False, digits, low, high, pointed or not signed))
            elif digits and character.isdigit():
                unit = 10 ** (digits - 1)
                base = int(character) * unit
                low, high = max(low - base, 0), min(high - base, unit - 1)
                if low <= high:
                    items.append((False, digits - 1, low, high, pointed))
        return _merged(items)

    def final(self, state: State) -> bool:
        """Whether the number may end."""
        return any(not digits and not signed and pointed for signed, digits, _, _, pointed in state)

    def _lengths(self, signed: bool, low: int, high: int) -> Iterable[Item]:
        shortest = self._places + 1
        for digits in range(max(shortest, _count(low)), max(shortest, _count(high)) + 1):
            least = 0 if digits == shortest else 10 ** (digits - 1)
            yield signed, digits, max(low, least), min(high, 10**digits - 1), self._places == 0


def _count(number: int) -> int:
    """Digits of a number that is not negative; no text is made, for which Python has a limit."""
    digits = max(1, int(number.bit_length() * 0.30102999566398114))
    while 10**digits <= number:
        digits += 1
    return digits


def _merged(items: Iterable[Item]) -> State:
    merged: list[Item] = []
    for item in sorted(items, key=lambda each: (each[0], each[1], each[4], each[2])):
        if merged:
            signed, digits, low, high, pointed = merged[-1]
            if (signed, digits, pointed) == (item[0], item[1], item[4]) and item[2] <= high + 1:
                merged[-1] = (signed, digits, low, max(high, item[3]), pointed)
                continue
        merged.append(item)
    return tuple(merged)
