"""Programming tasks and personas of our own: whole, varied, and with code that runs."""

from __future__ import annotations

import ast
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import LCSseq

SEEDS = Path(__file__).parents[2] / "seeds"


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SEEDS / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "field", "least"), [("code.jsonl", "instruction", 25), ("personas.jsonl", "persona", 60)]
)
def test_texts_are_distinct_and_whole(name: str, field: str, least: int) -> None:
    rows = read(name)
    assert len(rows) >= least
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row[field].strip() == row[field]
        assert row[field].endswith((".", "?"))
    tokens = [row[field].lower().split() for row in rows]
    for one, other in itertools.combinations(tokens, 2):
        assert 2 * LCSseq.similarity(one, other) / (len(one) + len(other)) <= 0.7, (one, other)


def test_python_answers_are_python() -> None:
    code = [
        row["output"] for row in read("code.jsonl") if row["output"].startswith(("def ", "import ", "from ", "class "))
    ]
    assert len(code) > 15
    for text in code:
        ast.parse(text.split("\n\nThe ")[0])


def test_python_answers_do_what_is_asked() -> None:
    names: dict[str, Any] = {}
    for row in read("code.jsonl"):
        if row["output"].startswith(("def ", "from collections import defaultdict", "from datetime")):
            exec(row["output"].split("\n\nThe ")[0], names)  # noqa: S102 our own seed tasks
    assert names["second_largest"]([3, 1, 3]) == 1
    assert names["is_palindrome"]("A man, a plan, a canal: Panama")
    assert names["merge"]([1, 3], [2, 4]) == [1, 2, 3, 4]
    assert names["roman_to_int"]("MCMXCIV") == 1994
    assert names["flatten"]([1, [2, [3]]]) == [1, 2, 3]
    assert names["balanced"]("a(b[c]{})") and not names["balanced"]("(]")
    assert names["primes_below"](12) == [2, 3, 5, 7, 11]
    assert names["two_sum"]([2, 7, 11], 9) == (0, 1)
    assert names["days_between"]("2024-02-28", "2024-03-01") == 2
    assert names["rotate"]([[1, 2], [3, 4]]) == [[3, 1], [4, 2]]
    assert names["binary_search"]([1, 3, 5], 5) == 2
    assert names["average"]([1, 2]) == 1.5
    assert names["by_first_letter"](["Ant", "bee"]) == {"a": ["Ant"], "b": ["bee"]}
