"""Equal lines, phrases that come again, and endings that loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.novelty.repetition import Repeated, duplicate_lines, looped_ending, top_ngram
from factory.novelty.tokenizers import tokenize


def test_the_share_of_lines_that_equal_an_earlier_one() -> None:
    assert duplicate_lines("a b c\n d e f \na b c\na b c") == Repeated(0.5, "a b c", 3)
    assert duplicate_lines("a b c\nd e f").share == 0
    assert duplicate_lines("}\n}\n}\nelse:\nelse:\nreturn x\nreturn x") == Repeated(0.0, "", 0)


@given(st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=20), st.integers(1, 4), st.integers(2, 3))
def test_the_top_ngram_is_the_run_that_takes_most_characters(words: list[str], ngram: int, times: int) -> None:
    runs = [tuple(words[start : start + ngram]) for start in range(len(words) - ngram + 1)]
    most = max((runs.count(run) * len("".join(run)) for run in runs if runs.count(run) >= times), default=0)
    found = top_ngram(words, ngram, times)
    assert found.share == (min(1.0, most / len("".join(words))) if words else 0.0)
    assert found.times == (runs.count(tuple(found.text.split())) if most else 0)


@given(
    st.lists(st.sampled_from(["one", "two", "three", "x7"]), max_size=12),
    st.lists(st.sampled_from(["four", "five", "six", "seven"]), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(0, 8),
)
def test_a_looped_ending_is_found_wherever_it_is_cut(start: list[str], unit: list[str], times: int, cut: int) -> None:
    words = start + unit * times
    words = words[: len(words) - cut] if cut and cut < len(unit) else words
    found = looped_ending(" ".join(words))
    looped = len(words) - len(start)
    if found is None:
        assert looped < 4 * len(unit) or looped < 16
    else:
        period = len(found.text.split())
        assert all(
            word == words[len(words) - found.times * period :][n % period]
            for n, word in enumerate(words[-found.times * period :])
        )


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("Sure. " * 16, 16),
        ("The end. " + "I am here to help you. " * 4, 4),
        ("The end. " + "I am here to help you. " * 3 + "I am", None),
        ("好的" * 8, 8),
        ("Row, row, row your boat gently down the stream", None),
        ("0 0 0 0\n" * 9, None),
        ("1, 2, 3, 1, 2, 3, " * 9, None),
        ("| --- | --- | --- |\n" * 9, None),
        ("x " * 40 + "and that is the end of it.", None),
        ("", None),
    ],
)
def test_endings(text: str, times: int | None) -> None:
    found = looped_ending(text)
    assert (found and found.times) == times


def test_the_unit_of_a_loop_that_is_cut_off_is_shown_from_where_the_loop_begins() -> None:
    found = looped_ending("Yes. " + "we will see " * 6 + "we")
    assert found is not None
    assert found.text == "we will see"
    assert found.times == 6
    assert tokenize(found.text, "unicode") == found.text.split()
