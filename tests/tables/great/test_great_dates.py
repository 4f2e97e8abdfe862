"""Dates character by character: a text is accepted if and only if its moment lies in the range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from factory.tables.column import step_us
from factory.tables.great.dates import Dates

START = datetime(1970, 1, 1, tzinfo=UTC)


def code(form: str, *moment: int) -> int:
    return (datetime(*moment, tzinfo=UTC) - START) // timedelta(microseconds=step_us(form))  # type: ignore[arg-type]


def written(form: str, number: int) -> str:
    return (START + number * timedelta(microseconds=step_us(form))).strftime(form)


def accepts(dates: Dates, text: str) -> bool:
    state = dates.start
    for character in text:
        if character not in dates.characters(state):
            return False
        state = dates.step(state, character)
    return dates.final(state)


RANGES = [
    ("%Y-%m-%d", (2023, 12, 30), (2024, 3, 2)),
    ("%d.%m.%y", (1999, 12, 30), (2000, 1, 2)),
    ("%A %d %B %Y", (2024, 2, 27), (2024, 3, 5)),
    ("%a %d %b %Y", (2023, 12, 28), (2024, 1, 3)),
    ("%Y-%m-%d %H", (2024, 2, 28, 22), (2024, 3, 1, 3)),
    ("%Y-%m-%dT%H:%M", (2024, 2, 28, 23, 58), (2024, 3, 1, 0, 2)),
    ("%Y-%m-%dT%H:%M", (2024, 2, 28, 9, 7), (2024, 2, 28, 9, 31)),
    ("%d/%m/%Y %I:%M %p", (2024, 2, 28, 11, 58), (2024, 2, 29, 12, 1)),
    ("%Y-%m-%d %H:%M:%S", (2024, 2, 28, 23, 59, 57), (2024, 3, 1, 0, 0, 2)),
    ("%H:%M:%S.%f %d %b %Y", (2024, 2, 28, 23, 59, 59, 999_990), (2024, 2, 29, 0, 0, 0, 7)),
    ("%Y-%m-%d %H:%M:%S.%f", (2024, 2, 28, 1, 2, 3, 999_998), (2024, 3, 1, 0, 0, 2, 1)),
]


@pytest.mark.parametrize(("form", "first", "last"), RANGES)
def test_exactly_the_moments_of_a_range_are_accepted(form: str, first: tuple[int, ...], last: tuple[int, ...]) -> None:
    low, high = code(form, *first), code(form, *last)
    dates = Dates([(low, high)], form)
    second = max(1, 10**6 // step_us(form))
    day = max(1, 86_400 * 10**6 // step_us(form))
    edges = {low, high, *(at for at in range(low - low % day, high + day, day) if day > 1)}
    edges |= {edge + at * second for edge in set(edges) for at in (-1, 1)}
    tried = {edge + at for edge in edges for at in range(-40, 41)}
    if high - low < 500:
        tried |= set(range(low - 40, high + 41))
    assert any(low <= each <= high for each in tried) and not all(low <= each <= high for each in tried)
    for each in sorted(tried):
        assert accepts(dates, written(form, each)) == (low <= each <= high), written(form, each)


def test_only_days_that_exist_are_accepted() -> None:
    dates = Dates([(code("%d.%m.%Y", 2023, 1, 1), code("%d.%m.%Y", 2024, 12, 31))], "%d.%m.%Y")
    assert accepts(dates, "29.02.2024") and not accepts(dates, "29.02.2023")
    assert not accepts(dates, "31.04.2024") and not accepts(dates, "00.01.2024")


def test_the_day_of_the_week_is_that_of_the_date() -> None:
    form = "%A %Y-%m-%d"
    dates = Dates([(code(form, 2024, 2, 26), code(form, 2024, 3, 3))], form)
    assert accepts(dates, "Monday 2024-02-26") and not accepts(dates, "Tuesday 2024-02-26")
