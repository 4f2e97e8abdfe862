"""Rules on instructions and instances, one by one and in their order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.methods.self_instruct.options import Options
from factory.methods.self_instruct.parse import Instance
from factory.methods.self_instruct.rules import (
    BLACKLIST,
    ONE_CALL_BLACKLIST,
    Rules,
    count_words,
    judge_instances,
    judge_instruction,
)

from . import reference

PLAIN = "image Images graph photograph picture files profile map Maps mapped draw drawer plot go to goto Go ago tomb"
ODD = "video music Write a program programs write ( \" é 写 诗 x y z 10 , . - image. (file) file's _map_"
WORDS = st.sampled_from(f"{PLAIN} {ODD}".split())


def reason(text: str, **rules: object) -> str | None:
    verdict = judge_instruction(text, Rules(**rules), BLACKLIST)  # type: ignore[arg-type]
    assert verdict is None or not verdict.keep
    return None if verdict is None else verdict.reason


@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, max_size=12), one_call=st.booleans())
def test_made_up_instructions_are_judged_as_by_the_reference(words: list[str], one_call: bool) -> None:
    text = " ".join(words)
    verdict = judge_instruction(text, Rules(), ONE_CALL_BLACKLIST if one_call else BLACKLIST)
    expected = reference.instruction_reason(text, reference.ONE_CALL_WORDS if one_call else reference.WORDS)
    assert (None if verdict is None else verdict.reason) == expected


@pytest.mark.parametrize("word", ["image", "Graphs", "PICTURE", "files", "map", "draw", "plot", "go to", "Go To"])
def test_a_blacklisted_word_rejects_whatever_its_case(word: str) -> None:
    assert reason(f"Please tell us about {word} things.") == "blacklisted_word"


@pytest.mark.parametrize("word", ["photograph", "imagery", "profile", "mapped", "drawer", "complot", "ago tomorrow"])
def test_the_blacklist_means_whole_words(word: str) -> None:
    assert reason(f"Please tell us about {word} things.") is None


def test_the_blacklisted_word_is_the_evidence() -> None:
    verdict = judge_instruction("Please plot the two curves.", Rules(), BLACKLIST)
    assert verdict is not None and verdict.evidence == "plot"


def test_words_that_are_special_in_patterns_are_taken_literally() -> None:
    found = judge_instruction("Explain C++ to a child.", Rules(), ("C++", "a.c"))
    assert found is not None and found.evidence == "C++"
    assert judge_instruction("Explain the abc to a child.", Rules(), ("C++", "a.c")) is None


def test_a_blacklisted_word_of_a_script_without_spaces_is_found_inside_a_sentence() -> None:
    found = judge_instruction("请描述这张图片的内容", Rules(non_ascii_start=False), ("图片",))
    assert found is not None and found.reason == "blacklisted_word"


def test_three_words_are_too_few_and_four_are_enough() -> None:
    assert reason("Name a river.") == "too_short"
    assert reason("Name a long river.") is None


def test_150_words_are_enough_and_151_too_many() -> None:
    assert reason("word " * 149 + "end") is None
    verdict = judge_instruction("word " * 150 + "end", Rules(), BLACKLIST)
    assert verdict is not None
    assert (verdict.reason, verdict.score, verdict.threshold) == ("too_long", 151, 150)


def test_characters_count_as_words_where_a_script_puts_no_spaces() -> None:
    assert count_words("写一首诗") == 4
    assert count_words("Translate 你好 into English") == 5
    assert reason("写一首关于春天的诗", non_ascii_start=False) is None
    assert reason("写诗", non_ascii_start=False) == "too_short"


def test_a_ban_is_on_the_beginning_only() -> None:
    assert reason("Write a program that sorts numbers.") == "banned_prefix"
    assert reason("Why would anybody Write a program now?") is None
    assert reason("Write a program that sorts numbers.", banned_prefixes=[]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("(draw)", "too_short"),
        ("(Please draw a small house.", "blacklisted_word"),
        ("Write a program that can draw.", "blacklisted_word"),
        ("Écrire une lettre pour lui.", "non_ascii_start"),
        ("# Name a long river.", "punctuation_start"),
    ],
)
def test_the_first_rule_in_the_order_of_the_released_code_gives_the_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_every_rule_can_be_switched_off() -> None:
    off = {
        "min_words": None,
        "max_words": None,
        "banned_prefixes": [],
        "punctuation_start": False,
        "non_ascii_start": False,
    }
    for text in (
        "One",
        "word " * 200,
        "Write a program that sorts.",
        "(Name a long river)",
        "Écrire une longue lettre",
    ):
        assert judge_instruction(text, Rules(**off), ()) is None  # type: ignore[arg-type]


def test_the_one_call_variant_has_the_longer_blacklist_unless_the_recipe_gives_one() -> None:
    assert "music" in Options(variant="one_call").blacklist()
    assert "music" not in Options().blacklist()
    assert Options(variant="one_call", rules=Rules(blacklist=["x"])).blacklist() == ("x",)


# --- instances ------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from(["", "", "a", "b", "c", "a:", "ends:"])
PROBLEMS = st.sampled_from([None, None, None, None, "cut_off", "no_output"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS, PROBLEMS), max_size=7))
def test_made_up_instances_are_judged_as_by_the_reference(pairs: list[tuple[str, str, str | None]]) -> None:
    assert judge_instances([Instance(*pair) for pair in pairs]) == reference.instance_reasons(pairs)


def judged(*pairs: tuple[str, str]) -> list[str | None]:
    return judge_instances([Instance(*pair) for pair in pairs])


def test_two_outputs_for_one_input_reject_all_instances_of_the_task() -> None:
    assert judged(("q", "yes"), ("q", "no"), ("r", "no")) == ["contradicting_outputs"] * 3


def test_an_empty_input_may_have_many_outputs() -> None:
    assert judged(("", "yes"), ("", "no")) == [None, None]


def test_an_instance_that_is_rejected_anyway_contradicts_nothing() -> None:
    assert judged(("q", "yes"), ("q", "")) == [None, "empty_output"]


def test_repeated_instances_are_kept_once() -> None:
    assert judged(("q", "yes"), ("q", "yes"), ("", "x"), ("", "x")) == [
        None,
        "duplicate_instance",
        None,
        "duplicate_instance",
    ]


def test_echoes_and_announcements_are_no_instances() -> None:
    assert judged(("x", "x"), ("", ""), ("The list:", "y"), ("y", "As follows:")) == [
        "input_equals_output",
        "empty_output",
        "ends_with_colon",
        "ends_with_colon",
    ]
