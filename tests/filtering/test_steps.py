"""Filters as they are asked for: their order, their options, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import factory
from factory.errors import RecipeError, UserError
from factory.filtering.chain import Chain
from factory.filtering.flags import in_order
from factory.filtering.steps import Asked, read_steps
from factory.filtering.workdir import differences

from .small_inputs import ROUGE_L, SameText, register, rows, write


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[SameText]:
    return register(monkeypatch)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["rouge_l: {treshold: 0.7}"], "--filter:1:11: rouge_l.treshold: unknown key (did you mean 'threshold'?)"),
        (["rouge_l: {threshold: 7}"], "--filter:1:22: rouge_l.threshold: expected at most 1.0, found 7"),
        (["rouge_l: {threshold: 0.7"], "--filter:1:"),
        (["rougel: {}"], "--filter:1:1: rougel: no filter is called 'rougel' (did you mean 'rouge_l'?)"),
        (["banana"], "--filter: banana: no filter is called 'banana'; there are "),
        (["judge: {}"], "--filter:1:1: judge: needs more than rows: put it into a recipe; filters for files are "),
        (["rows"], "--filter: rows: needs more than rows"),
        ([{"rouge_l": {}, "exact": {}}], "--filter: expected one filter with its options, e.g. 'rouge_l: {threshold: 0.7}', found the keys rouge_l, exact"),
        ([{"rouge_l": 0.7}], "--filter: expected one filter with its options"),
        ([Asked("--rouge-l", "rouge_l", {"threshold": -1.0})], "--rouge-l: rouge_l.threshold: expected at least 0.0, found -1.0"),
        (["rouge_l", "rouge_l: {threshold: 0.8}"], "--filter: rouge_l: a filter is called 'rouge_l' already; tell them apart with 'name:'"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_an_error_with_its_place(wanted: list[Any], expected: str) -> None:
    with pytest.raises(RecipeError) as raised:
        read_steps(wanted, field=None, tokenizer=None)
    assert str(raised.value).startswith(expected)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as raised:
        read_steps(["rouge_l: {a: 1}", "banana"], field=None, tokenizer=None)
    assert len(raised.value.problems) == 2


def test_no_filter_or_an_option_that_fits_none(made: list[SameText]) -> None:
    with pytest.raises(
        UserError, match=r"no filter is given: expected at least one such as --rouge-l 0\.7 .*same_text"
    ):
        read_steps([], field=None, tokenizer=None)
    with pytest.raises(UserError, match=r"--tokenizer: no filter that is given has such an option \(same_text\)"):
        read_steps(["same_text"], field=None, tokenizer="rouge")


def test_options_of_the_command_go_to_the_filters_that_have_them_and_do_not_say_otherwise(made: list[SameText]) -> None:
    wanted = ["same_text", "rouge_l: {field: output, tokenizer: auto}", ROUGE_L.replace("{", "{name: b, ")]
    steps = read_steps(wanted, field="instruction", tokenizer="unicode")
    assert [step.options.field for step in steps] == ["instruction", "output", "instruction"]  # type: ignore[attr-defined]
    assert [getattr(step.options, "tokenizer", None) for step in steps] == [None, "auto", "unicode"]


def test_a_list_of_files_is_one_file_where_a_filter_takes_one(made: list[SameText]) -> None:
    (step,) = read_steps([Asked("--x", "same_text", {"against": ("a", "b")})], field="t", tokenizer=None)
    assert step.options.against == ["a", "b"]  # type: ignore[attr-defined]
    (step,) = read_steps([Asked("--x", "rouge_l", {"group_by": ("a",)})], field="t", tokenizer=None)
    assert step.options.group_by == "a"  # type: ignore[attr-defined]


def test_flags_become_filters_in_the_order_of_the_command_line() -> None:
    order = ["inputs", "rouge_l", "filters", "decontaminate", "exact", "filters", "decontaminate", "out"]
    values = {"rouge_l": 0.0, "decontaminate": ["x", "y"], "exact": True, "minhash": None}
    assert in_order(order, values, ["a: {}", "b"]) == [
        Asked("--rouge-l", "rouge_l", {"threshold": 0.0}),
        "a: {}",
        Asked("--decontaminate", "decontaminate", {"against": ("x", "y")}),
        Asked("--exact", "exact", {}),
        "b",
    ]


def test_a_later_filter_sees_only_what_the_earlier_ones_kept(made: list[SameText]) -> None:
    steps = read_steps(["rouge_l: {threshold: 0.7}", "same_text: {field: output}"], field=None, tokenizer=None)
    chain = Chain(steps, ["instruction", "output"])
    some = [{"instruction": "a b c d", "output": text} for text in ("x", "y", "y")]
    some += [{"instruction": f"e{n} f{n}", "output": text} for n, text in enumerate(("y", "x"))]
    judged = chain.judge(some)
    assert [None if found is None else found.by for found in judged] == [None, 0, 0, None, 1]
    assert made[0].calls == [("judge", 3)]


def test_only_the_columns_that_options_name_are_looked_at(made: list[SameText]) -> None:
    columns = ["instruction", "output", "group", "other"]
    steps = read_steps(["rouge_l: {group_by: group}", "same_text: {field: output}"], field=None, tokenizer=None)
    assert Chain(steps, columns).needed == {"instruction", "group", "output"}


def test_texts_without_a_token_are_warned_of(tmp_path: Path) -> None:
    some = [{"instruction": f"word{n} and more"} for n in range(98)] + [
        {"instruction": "写一首诗"},
        {"instruction": "写一首诗吧"},
    ]
    source = write(tmp_path / "in.jsonl", some)
    for tokenizer, kept, warned in (("rouge", 100, 1), ("auto", 99, 0), ("unicode", 99, 0)):
        result = factory.filter(source, tmp_path / f"{tokenizer}.jsonl", filters=[ROUGE_L], tokenizer=tokenizer)
        assert (result.kept, len(result.warnings)) == (kept, warned)
        if warned:
            assert result.warnings[0].startswith("rouge_l: 2 of 100 texts have no word for the tokenizer 'rouge'")
            assert "--tokenizer unicode (or auto)" in result.warnings[0]
    few = write(tmp_path / "few.jsonl", [*some[:98] * 2, *some[98:]])
    done = factory.filter(few, tmp_path / "few-out.jsonl", filters=["rouge_l: {threshold: 1.0}"], tokenizer="rouge")
    assert done.warnings == (
        "rouge_l: 2 of 198 texts have no word for the tokenizer 'rouge' (a-z and 0-9 only): at most exact repeats of them "
        "are found; compare them with --tokenizer unicode (or auto).",
    )
    most = write(tmp_path / "most.jsonl", [*some[:98] * 3, *some[98:]])
    assert factory.filter(most, tmp_path / "most-out.jsonl", filters=[ROUGE_L], tokenizer="rouge").warnings == ()


def test_a_file_that_options_name_is_part_of_what_was_asked(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows(9))
    assert factory.filter(source, tmp_path / "out", filters=[ROUGE_L]).kept == 7
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}) == ["a[1].b: 2 -> 3"]
    assert differences({"a": [1]}, {"a": [1, 2]}) == ["a: [1] -> [1, 2]"]
