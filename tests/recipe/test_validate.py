"""pydantic's errors, in words of our own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.methods.self_instruct import Options
from factory.recipe.schema import Head, Strict
from factory.recipe.validate import validate

PYDANTIC = ("Input should", "Field required", "Extra inputs", "valid", "Value error", "type=")


def problems(model: type[Strict], data: Any) -> dict[str, str]:
    found: dict[str, str] = {}

    def report(path: tuple[str | int, ...], sentence: str, about_key: bool) -> None:
        assert about_key == sentence.startswith("unknown key")
        found[".".join(map(str, path))] = sentence

    result = validate(model, data, ("at",), report)
    assert (result is None) == bool(found)
    return found


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (Head, None, {"at.name": "is required"}),
        (Head, {"name": "a" * 81}, {"at.name": f"expected text of at most 80 characters, found '{'a' * 56}..."}),
        (Head, {"name": 3}, {"at.name": "expected text, found 3"}),
        (Head, {"name": "a", "engine": "vllm"}, {"at.engine": "expected a mapping (key: value), found 'vllm'"}),
        (Head, {"name": "a", "seed": True}, {"at.seed": "expected a whole number, found True"}),
        (Head, {"name": "a", "budget": {"prices": {"prompt": 1}}}, {"at.budget.prices.completion": "is required"}),
        (Head, {"name": "a", "output": {"language": "en"}}, {"at.output.language": "expected a list, found 'en'"}),
        (
            Head,
            {"name": "a", "budget": {"gpu-hours": 3, "money": 0}},
            {
                "at.budget.gpu-hours": "unknown key (did you mean 'gpu_hours'?)",
                "at.budget.money": "expected more than 0.0, found 0",
            },
        ),
        (
            Options,
            {"variant": "papers", "stop": {"acceptance_below": {"rate": 2}}},
            {
                "at.variant": "expected one of 'paper' or 'one_call', found 'papers' (did you mean 'paper'?)",
                "at.stop.acceptance_below.rate": "expected at most 1.0, found 2",
                "at.stop.acceptance_below.over": "is required",
            },
        ),
        (
            Options,
            {"stop": {"acceptance_below": {"rat": 1, "over": 2, "rate": 0}}},
            {"at.stop.acceptance_below.rat": "unknown key (did you mean 'rate'?)"},
        ),
        (
            Options,
            {"instructions": {"stop": ["", 3]}},
            {
                "at.instructions.stop.0": "expected text of at least 1 characters, found ''",
                "at.instructions.stop.1": "expected text, found 3",
            },
        ),
    ],
)
def test_every_problem_has_its_path_and_a_sentence(
    model: type[Strict], data: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    assert problems(model, data) == expected


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({"a": 1})


@given(st.dictionaries(st.sampled_from([*Options.model_fields, *Head.model_fields]), VALUES, max_size=6))
def test_no_sentence_is_left_in_the_words_of_the_library(data: dict[str, Any]) -> None:
    for model in (Head, Options):
        for sentence in problems(model, data).values():
            assert not any(words in sentence for words in PYDANTIC), sentence
