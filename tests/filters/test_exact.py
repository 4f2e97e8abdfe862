"""Exact duplicates: the first stays, whatever else comes between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import OptionError
from factory.filters import exact
from factory.filters.exact import Options

from .sifting import holds_for_batches, kept, rows, sizes, verdicts


def tasks(*values: Any) -> list[dict[str, Any]]:
    return [{"instruction": value} for value in values]


def test_a_repeated_text_is_rejected_and_names_the_first_row() -> None:
    first, second, third = verdicts(exact, tasks("List rivers", "List seas", "List rivers"))
    assert first is None
    assert second is None
    assert third is not None
    assert (third.rule, third.reason, third.evidence) == ("exact", "duplicate", "List rivers")


def test_case_and_white_space_count_unless_they_are_normalised_away() -> None:
    same = tasks("List rivers", "list rivers", "List  rivers", " List\nrivers\t", "Ｌist rivers", "Lists rivers")
    assert kept(exact, same) == [0, 1, 2, 3, 4, 5]
    assert kept(exact, same, normalize="whitespace+case") == [0, 5]
    found = verdicts(exact, same, normalize="whitespace+case")[4]
    assert found is not None
    assert found.evidence == "list rivers"


def test_several_columns_are_compared_together() -> None:
    given_rows = [{"a": "x", "b": "y"}, {"a": "x", "b": "z"}, {"a": "x", "b": "y"}, {"a": "xy", "b": ""}, {"a": "xy"}]
    assert kept(exact, given_rows, field=["a", "b"]) == [0, 1, 3]
    assert kept(exact, given_rows, field="a") == [0, 3]


def test_where_one_column_ends_counts() -> None:
    assert kept(exact, [{"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}], field=["a", "b"]) == [0, 1]


def test_rows_without_text_stay_and_other_values_are_compared_by_what_they_hold() -> None:
    given_rows = tasks(None, "", "  ", None, 0, 0, False, ["a", 1], ["a", 1], {"b": 1, "a": 2}, {"a": 2, "b": 1})
    assert kept(exact, given_rows) == [0, 1, 2, 3, 4, 6, 7, 9]


def test_a_long_text_is_shortened_in_the_evidence() -> None:
    found = verdicts(exact, tasks("a" * 999, "a" * 999))[1]
    assert found is not None
    assert found.evidence == f"{'a' * 200}…"


@given(rows("instruction"), sizes, st.integers(0, 25), st.sampled_from(["none", "whitespace+case"]))
def test_batches_and_a_resumed_run_change_no_verdict(
    given_rows: list[dict[str, Any]], parts: list[int], at: int, normalize: Any
) -> None:
    options = Options(normalize=normalize)
    found = holds_for_batches(lambda: exact.sift(options, Path()), given_rows, parts, at)
    texts = [row["instruction"] for row in given_rows]
    if normalize == "none":
        told = [
            text not in (None, "") and str(text).strip() != "" and text in texts[:n] for n, text in enumerate(texts)
        ]
        assert [verdict is not None for verdict in found] == told


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'text'") as caught:
        exact.columns(Options(field=["id", "txt"]), Path(), {"text", "id"})
    assert caught.value.option == "field"
    assert exact.columns(Options(field="text"), Path(), None) is None
