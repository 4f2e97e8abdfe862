"""Doubles within ranges, character by character of their shortest texts (`repr`), exactly.

For 0.25 to 1e-3 ahead of a prefix the question is always: does some double of the domain have a text that begins so?
A prefix in fixed notation, say "0.12", begins the texts of all doubles whose text is a number from 0.12 up to, not
including, 0.13; in scientific notation the same holds once for each exponent. As texts order as their doubles do, these
are ranges of codes, and are intersected with those of the domain. `float` and `repr` of Python round exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from itertools import islice

from factory.tables.column import code_of_float, float_of
from factory.tables.domain import Interval

_INFINITE = code_of_float(float("inf"))
_FEW = 40  # where so few doubles are left, their texts are listed
_LARGEST_FIXED = 16  # repr writes 1e16 and more, and less than 1e-4, with an exponent
_LONGEST_MANTISSA = len("2.2250738585072014")
_TINY = code_of_float(1e-300)
_EXPONENTS = (*range(-5, -325, -1), *range(_LARGEST_FIXED, 309))


class Floats:
    """The texts of doubles in intervals of codes; a state is a prefix."""

    start = ""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        """Allow the codes of these intervals."""
        sides: dict[bool, list[Interval]] = {False: [], True: []}
        for low, high in intervals:
            if high >= 0:
                sides[False].append((max(low, 0), high))
            if low < 0:
                sides[True].append((max(1, -high), -low))
        self._sides = {negative: _Side(tuple(sorted(found))) for negative, found in sides.items()}

    def characters(self, state: str) -> list[str]:
        """The characters that may come next."""
        if state.startswith("-"):
            return self._sides[True].follow(state[1:])
        characters = self._sides[False].follow(state)
        return [*characters, "-"] if not state and self._sides[True].intervals else characters

    def step(self, state: str, character: str) -> str:
        """The prefix after one of these characters."""
        return state + character

    def final(self, state: str) -> bool:
        """Whether the number may end."""
        negative = state.startswith("-")
        return self._sides[negative].holds(state[1:] if negative else state)


class _Side:
    """Numbers that are not negative."""

    def __init__(self, intervals: tuple[Interval, ...]) -> None:
        self.intervals = intervals
        self._mantissa: tuple[str, list[str]] = ("", [])
        self._exponents = [each for each in _EXPONENTS if self._meets(_codes(f"1e{each}", f"1e{each + 1}"))]

    def holds(self, text: str) -> bool:
        try:
            number = float(text)
        except ValueError:
            return False
        return repr(number) == text and self._within(code_of_float(number))

    def follow(self, prefix: str) -> list[str]:
        """Characters after which the prefix can still become a number of the domain."""
        if self._loose(prefix):
            return [*"0123456789", *("e" for _ in range(self._begins(prefix + "e")))]
        few = self._few(prefix)
        if few is not None:
            after = {text[len(prefix)] for text in few if len(text) > len(prefix) and text.startswith(prefix)}
            return sorted(after)
        candidates = "0123456789i" if not prefix else "0123456789.e"
        return [each for each in candidates if self._begins(prefix + each)]

    def _begins(self, prefix: str) -> bool:
        if prefix == "i":
            return self._within(_INFINITE)
        if prefix.endswith("e"):
            return any(self._scientific(prefix[:-1]))
        if prefix.startswith("0") and len(prefix) > 1 and prefix[1] != ".":
            return False
        return prefix.count(".") < 2 and any(self._meets(codes) for codes in self._ranges(prefix))

    def _few(self, prefix: str) -> list[str] | None:
        """All texts that begin so, if that is known to be few of them."""
        if prefix.startswith("i"):
            return ["inf"]
        if "e" in prefix:
            return self._with_mantissa(prefix[: prefix.index("e")])
        if len(prefix) < 3:
            return None
        texts: list[str] = []
        for codes in self._ranges(prefix):
            for low, high in self._overlaps(codes):
                if high - low + len(texts) >= _FEW:
                    return None
                texts += [repr(float_of(code)) for code in range(low, high + 1)]
        return texts

    def _loose(self, prefix: str) -> bool:
        """Whether it is plain that any digit may follow: numbers that begin so are all in the domain, and are many.

        Doubles tell all decimals of 15 digits apart (but not the very small ones); with 13 there is room for two more.
        """
        whole, point, part = prefix.partition(".")
        if not point or "e" in part or not 0 < int(whole + part) < 10**13:
            return False
        ranges = islice(self._ranges(prefix), 3)
        return any(
            low <= code[0] <= code[1] <= high for low, high in self.intervals for code in ranges if code[0] > _TINY
        )

    def _with_mantissa(self, mantissa: str) -> list[str]:
        """All texts in scientific notation with this mantissa; kept, as the characters of the exponent come next."""
        if self._mantissa[0] != mantissa:
            self._mantissa = mantissa, list(self._scientific(mantissa))
        return self._mantissa[1]

    def _scientific(self, mantissa: str) -> Iterator[str]:
        if mantissa[1:2] not in ("", ".") or mantissa[0] == "0" or len(mantissa) > _LONGEST_MANTISSA:
            return
        if mantissa[1:] and mantissa[-1] in ".0":
            return
        for exponent in self._exponents:
            text = f"{mantissa}e{exponent:+03d}"
            if self.holds(text):
                yield text

    def _ranges(self, prefix: str) -> Iterator[Interval]:
        """Codes of the numbers whose texts begin so: in fixed notation, then for each exponent."""
        whole, point, part = prefix.partition(".")
        if not prefix:
            yield 0, _INFINITE
            return
        if point:
            low, high = _codes(prefix, _above(whole + part, -len(part)), open_below=part.endswith("0") and part != "0")
            yield max(low, _FIXED[0]) if part.strip("0") or int(whole) == 0 else low, min(high, _FIXED[1])
            if int(whole + part) == 0 and part in ("", "0"):
                yield 0, 0
        elif whole == "0":
            yield _FIXED[0], _codes("0", "1")[1]
            yield 0, 0
        else:
            for more in range(_LARGEST_FIXED - len(whole) + 1):
                yield _codes(f"{whole}e{more}", _above(whole, more))
        if len(whole) == 1 and whole != "0":
            open_below = bool(point) and (not part or part.endswith("0"))
            for exponent in self._exponents:
                yield _codes(f"{prefix}e{exponent}", _above(whole + part, exponent - len(part)), open_below=open_below)

    def _meets(self, codes: Interval) -> bool:
        return any(low <= codes[1] and codes[0] <= high for low, high in self.intervals) and codes[0] <= codes[1]

    def _overlaps(self, codes: Interval) -> Iterator[Interval]:
        for low, high in self.intervals:
            low, high = max(low, codes[0]), min(high, codes[1])
            if low <= high:
                yield low, high

    def _within(self, code: int) -> bool:
        return self._meets((code, code))


def _above(digits: str, exponent: int) -> str:
    return f"{int(digits) + 1}e{exponent}"


def _codes(low: str, high: str, *, open_below: bool = False) -> Interval:
    """Codes of the doubles whose text is a number in [low, high), or (low, high); may be empty."""
    return _first(low, open_below), _first(high, False) - 1


@cache
def _written(code: int) -> Decimal:
    return Decimal(repr(float_of(code)))


def _first(bound: str, open_below: bool) -> int:
    """The least code whose text is at least that number, or greater."""
    number, exact = code_of_float(float(bound)), Decimal(bound)
    while _written(number) < exact or (open_below and _written(number) == exact):
        number += 1
    return number


_FIXED = _codes("1e-4", "1e16")
