"""The filter against everything kept before, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.errors import OptionError
from factory.filters import rouge_l
from factory.filters.rouge_l import Options
from factory.records import Outcome, Provenance, Record, Rejected


def filtered(rows: list[dict[str, Any]], **options: Any) -> list[Outcome]:
    async def records() -> AsyncIterator[Record]:
        for number, row in enumerate(rows):
            yield Record(str(number), row, Provenance(step="s", method="m"))

    async def collect() -> list[Outcome]:
        return [outcome async for outcome in rouge_l.run(records(), SimpleNamespace(base=Path()), Options(**options))]  # type: ignore[arg-type]

    return asyncio.run(collect())


def kept(rows: list[dict[str, Any]], **options: Any) -> list[str]:
    return [outcome.id for outcome in filtered(rows, **options) if isinstance(outcome, Record)]


def tasks(*texts: str | None) -> list[dict[str, Any]]:
    return [{"instruction": text} for text in texts]


def test_what_is_too_similar_is_rejected_with_its_nearest_neighbour() -> None:
    first, second, third = filtered(tasks("List three rivers", "List three large rivers", "Write a poem"))
    assert isinstance(first, Record)
    assert isinstance(second, Rejected)
    assert isinstance(third, Record)
    verdict = second.verdict
    assert (verdict.rule, verdict.reason, verdict.threshold) == ("rouge_l", "too_similar", 0.7)
    assert verdict.score == pytest.approx(6 / 7)
    assert verdict.evidence == "List three rivers"


def test_exactly_the_threshold_is_kept() -> None:
    rows = tasks("a b c d e f g x y z", "a b c d e f g p q r")  # F = 7/10
    assert kept(rows, threshold=0.7) == ["0", "1"]
    assert kept(rows, threshold=0.699) == ["0"]


def test_only_what_was_kept_counts() -> None:
    rows = tasks("a b c d e f", "a b c d e f g h", "c d e f g h i j k")
    assert kept(rows) == ["0", "2"]


def test_another_column_can_be_compared() -> None:
    rows = [{"text": "one two three", "instruction": str(n)} for n in range(3)]
    assert kept(rows, field="text") == ["0"]
    assert kept(rows) == ["0", "1", "2"]


def test_rows_of_a_group_stay_or_go_together() -> None:
    rows = [
        {"instruction": "List three rivers", "group": "a"},
        {"instruction": "List three rivers", "group": "a"},
        {"instruction": "List three large rivers", "group": "b"},
        {"instruction": "Write a poem", "group": "b"},
        {"instruction": "Bake a cake", "group": None},
        {"instruction": "Bake a cake", "group": None},
    ]
    assert kept(rows, group_by="group") == ["0", "1", "4"]
    rejected = filtered(rows, group_by="group")[3]
    assert isinstance(rejected, Rejected)
    assert rejected.verdict.evidence == "its group was rejected"


def test_a_group_may_be_any_value() -> None:
    rows = [{"instruction": "Bake a cake", "group": group} for group in (["a"], {"b": 1}, ["a"], 1, None)]
    assert kept(rows, group_by="group") == ["0", "2"]


def test_rows_without_the_text_are_not_compared() -> None:
    assert kept(tasks(None, "", "!?", None)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("options", "option"), [({"field": "txt"}, "field"), ({"field": "text", "group_by": "g"}, "group_by")]
)
def test_a_column_that_is_not_there_is_named_with_its_option(options: dict[str, str], option: str) -> None:
    with pytest.raises(OptionError) as caught:
        rouge_l.columns(Options(**options), Path(), {"text", "id"})  # type: ignore[arg-type]
    assert caught.value.option == option
    assert rouge_l.columns(Options(**options), Path(), None) is None  # type: ignore[arg-type]
