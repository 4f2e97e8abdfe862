"""What every filter with a `sift` owes: batches do not matter, and `restore` is as good as `judge`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from factory.context.sifting import Row, Sift
from factory.records import Outcome, Provenance, Record, Rejected, Verdict

Verdicts = list[Verdict | None]


def judged(sift: Sift, rows: Sequence[Row], sizes: Sequence[int] = ()) -> Verdicts:
    """The verdicts of rows handed over in parts of those sizes, the rest at once."""
    verdicts: Verdicts = []
    for size in (*sizes, len(rows)):
        part = rows[len(verdicts) : len(verdicts) + size]
        verdicts += sift.judge(part)
    return verdicts


def resumed(make: Callable[[], Sift], rows: Sequence[Row], at: int, sizes: Sequence[int]) -> Verdicts:
    """The verdicts where the rows before `at` were judged by an object that was lost."""
    before = judged(make(), rows[:at])
    sift, start = make(), 0
    for size in (*sizes, at):
        part = slice(start, min(at, start + size))
        sift.restore(rows[part], [verdict is None for verdict in before[part]])
        start = part.stop
    return before + judged(sift, rows[at:], sizes)


def holds_for_batches(make: Callable[[], Sift], rows: Sequence[Row], sizes: Sequence[int], at: int) -> Verdicts:
    """Assert both promises of `Sift`; returns the verdicts."""
    at = min(at, len(rows))
    whole = judged(make(), rows)
    assert len(whole) == len(rows)
    assert judged(make(), rows, sizes) == whole
    assert judged(make(), rows, [1] * len(rows)) == whole
    assert resumed(make, rows, at, sizes) == whole
    return whole


sizes = st.lists(st.integers(0, 7), max_size=8)


def texts(words: str = "list name three large rivers poem sea", most: int = 8) -> st.SearchStrategy[str]:
    """Short texts of few words, so that many of them are alike."""
    return st.lists(st.sampled_from([*words.split(), "", "Ünë", "写", "!"]), max_size=most).map(" ".join)


def rows(column: str, least: int = 0, most: int = 25) -> st.SearchStrategy[list[Row]]:
    """Rows with such a text, some without."""
    value = st.one_of(texts(), texts(), texts(), st.none(), st.integers(0, 2))
    return st.lists(st.fixed_dictionaries({column: value}), min_size=least, max_size=most)


def outcomes(module: ModuleType, given: Sequence[Row], base: Path = Path(), **options: Any) -> list[Outcome]:
    """What the filter makes of records, as a step of a recipe."""

    async def records() -> AsyncIterator[Record]:
        for number, row in enumerate(given):
            yield Record(str(number), row, Provenance(step="s", method="m"))

    async def collect() -> list[Outcome]:
        ctx = SimpleNamespace(base=base)
        return [outcome async for outcome in module.run(records(), ctx, module.Options(**options))]

    return asyncio.run(collect())


def verdicts(module: ModuleType, given: Sequence[Row], base: Path = Path(), **options: Any) -> Verdicts:
    """The same as verdicts, None for rows that are kept."""
    return [
        outcome.verdict if isinstance(outcome, Rejected) else None
        for outcome in outcomes(module, given, base, **options)
    ]


def kept(module: ModuleType, given: Sequence[Row], base: Path = Path(), **options: Any) -> list[int]:
    """Numbers of the rows that stay."""
    return [number for number, found in enumerate(verdicts(module, given, base, **options)) if found is None]
