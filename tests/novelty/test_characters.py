"""Shares of symbols, letters and scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.novelty.characters import Shares, scripts, shares


def test_shares_leave_white_space_out() -> None:
    assert shares("f(x) = 2 ** x!") == Shares(0.6, 0.3)
    assert shares(" \n") == Shares(0.0, 0.0)
    assert shares("e\u0301 ५") == Shares(0.0, 2 / 3)


@given(st.text())
def test_shares_are_shares(text: str) -> None:
    found = shares(text)
    assert found.symbols >= 0
    assert found.symbols + found.letters <= 1
    assert sum(scripts(text).values()) <= len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Привет, world", {"Cyrillic": 6, "Latin": 5}),
        ("東京タワーへ行く", {"Han": 3, "Katakana": 3, "Hiragana": 2}),
        ("한국어 ﾃｽﾄ", {"Hangul": 3, "Katakana": 3}),
        ("Ａ𝐁ﬁ ñ", {"Latin": 4}),
        ("नमस्ते שלום", {"Devanagari": 4, "Hebrew": 4}),
        ("12 + 3 = µ ʰ 👍", {}),
        ("ᚠᚢ", {"Other": 2}),
    ],
)
def test_scripts_are_told_apart(text: str, expected: dict[str, int]) -> None:
    assert scripts(text) == expected


def test_the_most_frequent_script_comes_first() -> None:
    assert list(scripts("ab Привет"))[0] == "Cyrillic"
