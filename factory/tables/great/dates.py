"""Dates within ranges, character by character as a pattern of `strftime` writes them, and only days that exist.

For "%d.%m.%Y" in 2023 to 2024 the text "29.02." goes on with "2024" only, as 2023 has no such day. Each state holds the
days and the times of day that are still possible, as arrays; a field of the pattern cuts them down once it is written
whole. A range of moments is at most five products of days, seconds and microseconds (its first and last day, and the
first and last second of these, are cut off where the range is).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.tables.column import step_us
from factory.tables.domain import Interval

Numbers = npt.NDArray[np.int64]
_DAY_FIELDS, _TIME_FIELDS = "YmdjybBaA", "HMSpI"
_DAY_US, _SECOND_US = 86_400 * 10**6, 10**6


class PatternError(UserError):
    """A pattern of dates that cannot be followed character by character."""


class Part(msgspec.Struct, frozen=True):
    """Moments: any of the days, at any of the seconds of the day, at microseconds in a range of `digits` digits.

    Attributes:
        days: Days since 1970.
        seconds: Seconds of the day.
        low: Least microsecond, of what is not written yet.
        high: Greatest one.
        digits: Digits of the microsecond that are not written yet.
    """

    days: Numbers
    seconds: Numbers
    low: int = 0
    high: int = 0
    digits: int = 6


class State(msgspec.Struct, frozen=True, eq=False):
    """Where in the pattern a text is, what it has of the field there, and the moments that are left.

    Attributes:
        at: Number of the element of the pattern.
        begun: What is written of this element.
        parts: Moments.
        texts: Texts that the element may have.
    """

    at: int
    begun: str
    parts: tuple[Part, ...]
    texts: tuple[str, ...]


class Dates:
    """The texts of moments in intervals."""

    def __init__(self, intervals: Iterable[Interval], form: str, before: str = "", after: str = "") -> None:
        """Allow the codes of these intervals.

        Args:
            intervals: Codes of a column of dates.
            form: Its pattern.
            before: Text before each date.
            after: Text after it.

        Raises:
            PatternError: If the pattern has a field that is not known here.
        """
        self._elements = [*before, *_elements(form), *after]
        step = step_us(form)
        self._step_s = max(1, step // _SECOND_US)
        self.start = self._state(0, self._parts([(low * step, high * step) for low, high in intervals]))

    def characters(self, state: State) -> set[str]:
        """The characters that may come next."""
        if state.at == len(self._elements):
            return set()
        if self._elements[state.at] == "%f":
            units = [(part, 10 ** (part.digits - 1)) for part in state.parts]
            return {each for part, unit in units for each in "0123456789"[part.low // unit : part.high // unit + 1]}
        length = len(state.begun)
        return {text[length] for text in state.texts if text.startswith(state.begun)}

    def step(self, state: State, character: str) -> State:
        """The state after one of these characters."""
        if self._elements[state.at] == "%f":
            return self._micro(state, int(character))
        begun = state.begun + character
        if begun in state.texts:
            return self._state(state.at + 1, self._cut(state, begun))
        return State(state.at, begun, state.parts, state.texts)

    def final(self, state: State) -> bool:
        """Whether the date may end."""
        return state.at == len(self._elements)

    def _state(self, at: int, parts: tuple[Part, ...]) -> State:
        if at == len(self._elements) or self._elements[at] == "%f":
            return State(at, "", parts, ())
        element = self._elements[at]
        if len(element) == 1:
            return State(at, "", parts, (element,) if parts else ())
        texts = {text for part in parts for text in _texts(element[1], _field_values(element[1], part))}
        return State(at, "", parts, tuple(sorted(texts)))

    def _cut(self, state: State, text: str) -> tuple[Part, ...]:
        element = self._elements[state.at]
        if len(element) == 1:
            return state.parts
        kept = []
        for part in state.parts:
            values = _field_values(element[1], part, unique=False)
            number = next((value for value in np.unique(values) if _text(element[1], int(value)) == text), None)
            if number is not None:
                mask = values == number
                days, seconds = (
                    (part.days[mask], part.seconds) if element[1] in _DAY_FIELDS else (part.days, part.seconds[mask])
                )
                kept.append(Part(days, seconds, part.low, part.high, part.digits))
        return tuple(kept)

    def _micro(self, state: State, digit: int) -> State:
        kept = []
        for part in state.parts:
            unit = 10 ** (part.digits - 1)
            low, high = max(part.low - digit * unit, 0), min(part.high - digit * unit, unit - 1)
            if low <= high:
                kept.append(Part(part.days, part.seconds, low, high, part.digits - 1))
        return self._state(state.at + (state.parts[0].digits == 1), tuple(kept))

    def _parts(self, intervals: list[Interval]) -> tuple[Part, ...]:
        whole: list[Numbers] = []
        parts: list[Part] = []
        every = np.arange(0, 86_400, self._step_s)
        for low, high in intervals:
            for days, low_us, high_us in _units(low, high, _DAY_US):
                if (low_us, high_us) == (0, _DAY_US - 1):
                    whole.append(days)
                    continue
                for seconds, first, last in _units(low_us, high_us, _SECOND_US):
                    seconds = seconds[seconds % self._step_s == 0]
                    if len(seconds):
                        parts.append(Part(days, seconds, first, last))
        if whole:
            parts.append(Part(np.concatenate(whole), every, 0, _SECOND_US - 1))
        return tuple(parts)


def _units(low: int, high: int, size: int) -> Iterator[tuple[Numbers, int, int]]:
    """Units (days, seconds) of so many microseconds that a range of them touches, each with the part that it touches.

    >>> [(units.tolist(), first, last) for units, first, last in _units(15, 39, 10)]
    [([1], 5, 9), ([2, 3], 0, 9)]
    """
    (first, start), (last, end) = divmod(low, size), divmod(high, size)
    if first == last:
        yield np.arange(first, first + 1), start, end
        return
    if start:
        yield np.arange(first, first + 1), start, size - 1
        first += 1
    if end != size - 1:
        yield np.arange(last, last + 1), 0, end
        last -= 1
    if first <= last:
        yield np.arange(first, last + 1), 0, size - 1


def _elements(form: str) -> Iterator[str]:
    at = 0
    while at < len(form):
        if form[at] != "%":
            yield form[at]
            at += 1
            continue
        field = form[at + 1 : at + 2]
        if field == "%":
            yield "%"
        elif field and field in _DAY_FIELDS + _TIME_FIELDS + "f":
            yield "%" + field
        else:
            known = ", ".join("%" + each for each in _DAY_FIELDS + _TIME_FIELDS + "f")
            raise PatternError(f"dates like {form!r}: %{field} is not known here; use {known}.")
        at += 2


def _field_values(field: str, part: Part, *, unique: bool = True) -> Any:
    """The values of a field, one for each day or second of the part, or each once."""
    values = _of_days(field, part.days) if field in _DAY_FIELDS else _of_seconds(field, part.seconds)
    return np.unique(values) if unique else values


def _of_days(field: str, days: Numbers) -> Any:
    dates = days.astype("datetime64[D]")
    if field in "aA":
        return (days + 3) % 7
    years = dates.astype("datetime64[Y]")
    if field in "Yy":
        return (years.astype(np.int64) + 1970) % (100 if field == "y" else 10**9)
    if field == "j":
        return (dates - years).astype(np.int64) + 1
    months = dates.astype("datetime64[M]")
    if field == "d":
        return (dates - months).astype(np.int64) + 1
    return months.astype(np.int64) % 12 + 1


def _of_seconds(field: str, seconds: Numbers) -> Any:
    if field in "HpI":
        hours = seconds // 3600
        return hours if field == "H" else hours // 12 if field == "p" else (hours + 11) % 12 + 1
    return seconds // 60 % 60 if field == "M" else seconds % 60


def _texts(field: str, values: Iterable[Any]) -> list[str]:
    return [_text(field, int(value)) for value in values]


@cache
def _text(field: str, value: int) -> str:
    """A value of a field as strftime writes it."""
    if field in "bB":
        return date(2024, value, 1).strftime("%" + field)
    if field in "aA":
        return date(2024, 1, 1 + value).strftime("%" + field)  # a Monday
    if field == "p":
        return datetime.combine(date(2024, 1, 1), time(12 * value), UTC).strftime("%p")
    return str(value).zfill({"Y": 4, "j": 3}.get(field, 2))
