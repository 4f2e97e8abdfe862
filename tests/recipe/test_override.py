"""`--set`: where a value lands, and what it means."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.recipe.override import Override, override, step_names

DATA: dict[str, Any] = {
    "name": "demo",
    "engine": {"kind": "auto", "urls": ["a"]},
    "steps": [
        "seeds",
        {"self_instruct": None},
        {"prompt": {"name": "first", "sampling": {"stop": ["x"]}}},
        {"prompt": {"output": "y"}},
    ],
}
HEAD = ["name", "engine", "seed", "budget"]


def after(*arguments: str) -> tuple[dict[str, Any], list[Override], list[tuple[str, str]]]:
    data = copy.deepcopy(DATA)
    return data, *override(data, arguments, HEAD)


@pytest.mark.parametrize(
    ("argument", "path", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("engine.kind=vllm", ("engine", "kind"), "vllm"),
        ("engine.urls=[b, c]", ("engine", "urls"), ["b", "c"]),
        ("budget.prices.prompt=0.5", ("budget", "prices", "prompt"), 0.5),
        ("seeds.path=x.jsonl", ("steps", 0, "seeds", "path"), "x.jsonl"),
        ("self_instruct.accept=0o20", ("steps", 1, "self_instruct", "accept"), 16),
        ("first.sampling.stop=[]", ("steps", 2, "prompt", "sampling", "stop"), []),
        ("prompt.sampling.temperature=3e-1", ("steps", 3, "prompt", "sampling", "temperature"), 0.3),
        ("prompt.output=no", ("steps", 3, "prompt", "output"), "no"),
        ("prompt.output='1'", ("steps", 3, "prompt", "output"), "1"),
        ("prompt.output=", ("steps", 3, "prompt", "output"), None),
        ("prompt.output=a=b", ("steps", 3, "prompt", "output"), "a=b"),
        (" prompt.output =x", ("steps", 3, "prompt", "output"), "x"),
    ],
)
def test_a_value_lands_in_its_place(argument: str, path: tuple[str | int, ...], value: object) -> None:
    data, applied, refused = after(argument)
    assert refused == []
    assert applied[0].path == path
    found: Any = data
    for key in path:
        found = found[key]
    assert found == value
    assert type(found) is type(value)


def test_nothing_else_changes() -> None:
    data, _, _ = after("prompt.output=z")
    data["steps"][3]["prompt"]["output"] = "y"
    assert data == DATA


def test_the_last_of_several_settings_counts() -> None:
    assert after("seed=1", "seed=2")[0]["seed"] == 2


def test_good_settings_are_applied_beside_bad_ones() -> None:
    data, applied, refused = after("nope.x=1", "seed=2", "name.x=3", "seed=[")
    assert data["seed"] == 2
    assert [name for name, _ in refused] == ["nope.x", "name.x", "seed"]
    assert [setting.name for setting in applied] == ["seed"]


@pytest.mark.parametrize("argument", ["engine.urls.0=b", "first.sampling.stop.0.x=b", "name.a.b=c"])
def test_a_list_or_a_value_holds_no_keys(argument: str) -> None:
    data, _, ((_, sentence),) = after(argument)
    assert "holds no keys: set it as a whole" in sentence
    assert data == DATA


@given(st.text(alphabet="abc.=[]{}'\"#:0 \n", max_size=20))
def test_no_argument_makes_it_stumble(argument: str) -> None:
    data, applied, refused = after(argument)
    assert len(applied) + len(refused) >= 1
    assert (data == DATA) or applied


def test_names_of_steps_that_are_not_well_written() -> None:
    assert step_names([1, None, {}, [], "a", {"b": 3}, {"c": {"name": "d"}}, {"e": {}, "f": {}}]) == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("", ""),
        ("a", "a"),
        ("b", "b"),
        ("d", "c"),
        ("e", "e"),
    ]
    assert step_names("rows") == step_names(None) == []
