"""The four rules: each on its field, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.methods.evol_instruct.elimination import leaked_words, only_stop_words, read_verdict, says_sorry

NOT_EQUAL = [
    "Not Equal", "not equal", "NOT EQUAL", "**Not Equal**", "*Not* Equal", "Not **Equal**", "__Not Equal__", "`Not Equal`",
    "# Not Equal", '"Not Equal"', "“Not Equal”", "'Not' Equal", "Not-Equal", "NotEqual", "not_equal", "NOT_EQUAL", "Not  Equal",
    "Not\nEqual", "Not\n\n**Equal**", "Not\tEqual", "Not\u00a0Equal", "Not\u200b Equal", "Not\u00ad Equal", "N\u200dot Equal",
    "𝐍𝐨𝐭 𝐄𝐪𝐮𝐚𝐥", "Ｎｏｔ　Ｅｑｕａｌ", "N o t Equal", "N-O-T Equal", "N.O.T. Equal", "Not: Equal", "Not. Equal.", "(Not) Equal", "[Not Equal]",
    "Not (Equal)", "Equal? No.", "Equal: No", "Equal - false", "Equal (not)", "Unequal", "un-equal", "Non-Equal", "Inequal",
    "≠ not equal", "!= Equal", "! Equal", "¬Equal", "Verdict: Not Equal", "Final verdict: **Not Equal**.", "Answer: not equal",
    "The tasks are not equal.", "They are not really equal", "They aren't equal.", "They aren’t equal", "These isn't equal",
    "They cannot be called equal.", "Neither depth nor breadth is equal.", "The two are hardly equal.", "They are no longer equal",
    "Not Equal. The second task asks for more.", "The second asks for more, so: Not Equal", "Verdict:\nNot Equal", "Not equal!",
    "n̶o̶t̶ equal", "<think>They look equal.</think>Not Equal", "not  ―  equal", "Nοt Equal", "Nоt Equal", "ɴot Equal",
]  # fmt: skip
EQUAL = [
    "Equal", "equal", "EQUAL", "**Equal**", "Equal.", '"Equal"', "Verdict: Equal", "The tasks are equal.", "They are Equal",
    "Final answer: **Equal**", "Equal\n\nBoth ask for three rivers.", "They do not differ and are equal.", "Both are equally deep.",
    "<think>Not equal? No, they are.</think>Equal", "They are not only equal in depth but also in breadth.", "Answer - Equal",
]  # fmt: skip
NEITHER = [
    "", "Yes", "I cannot compare them.", "Equal or Not Equal", "Equal / Not Equal?", "Is it Equal or Not Equal?", "1.", "Same",
    "They are equal. They are not equal.", "Equal is not the right word.", "Task: name three rivers.", "equality is a virtue? no",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_EQUAL)
def test_not_equal_in_any_typography_is_never_read_as_equal(text: str) -> None:
    assert read_verdict(text) is not True


@pytest.mark.parametrize("text", [text for text in NOT_EQUAL if text.isascii()])
def test_not_equal_in_plain_letters_is_read(text: str) -> None:
    assert read_verdict(text) is False


@pytest.mark.parametrize("text", EQUAL)
def test_equal_is_read(text: str) -> None:
    assert read_verdict(text) is True


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_no_verdict_is_none(text: str) -> None:
    assert read_verdict(text) is None


@given(
    st.text(alphabet=" \t\n*_`\"'()[]{}<>~#.,:;-–—\u200b\u00ad\u00a0", max_size=6),
    st.text(alphabet=" \t\n*_`\"'()[]{}<>~#.,:;-–—\u200b\u00ad\u00a0", max_size=6),
    st.text(alphabet=" \t\n*_`\"'()[]{}<>~#.,:;!-–—\u200b\u00ad\u00a0", max_size=6),
    st.sampled_from(["not", "Not", "NOT", "nOt"]),
    st.sampled_from(["equal", "Equal", "EQUAL"]),
)
def test_whatever_stands_around_not_equal_it_is_never_equal(
    before: str, between: str, after: str, negation: str, word: str
) -> None:
    assert read_verdict(f"{before}{negation}{between}{word}{after}") is not True


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_a_verdict(text: str) -> None:
    assert read_verdict(text) in (True, False, None)


@pytest.mark.parametrize(
    ("task", "answer", "word"),
    [
        ("Write an essay.", "Sorry, I cannot do that.", "Sorry"),
        ("Write an essay.", "I'm so SORRY.", "SORRY"),
        ("Write an essay.", "sorry " + "word " * 78, "sorry"),
        ("Write an essay.", "sorry " + "word " * 79, None),
        ("Write an essay.", "The sorrys of the world", None),
        ("Write an essay.", "A fine essay.", None),
        ("Write an apology to a neighbour.", "I am sorry for the noise.", None),
        ("Say sorry in Spanish.", "Lo siento means I am sorry.", None),
        ("Write a letter of condolence to a friend.", "I am sorry for your loss.", None),
        ("Apologise to the customer.", "We are sorry.", None),
    ],
)
def test_short_answers_that_apologise_unasked_are_found(task: str, answer: str, word: str | None) -> None:
    assert says_sorry(task, answer) == word


@pytest.mark.parametrize(
    "answer", ["", "…", "!!! ???", "The and of the.", "It is what it is.", "- -\n*", "I'll", "he's"]
)
def test_answers_of_punctuation_and_stop_words_say_nothing(answer: str) -> None:
    assert only_stop_words(answer)


@pytest.mark.parametrize("answer", ["No.", "42", "Yes", "the Nile", "Не знаю", "是", "7 + 8", "positive", "not stated"])
def test_short_answers_that_say_something_stay(answer: str) -> None:
    assert not only_stop_words(answer)


@pytest.mark.parametrize(
    ("parent", "evolved", "found"),
    [
        ("Name a river.", "Rewritten Task: name a river.", "Rewritten Task"),
        ("Name a river.", "Using the given prompt, name a river.", "given prompt"),
        ("Name a river.", "#The Given_Prompt# Name a river", "Given_Prompt"),
        ("Name a river.", "Name a river, unlike the created instruction.", "created instruction"),
        ("Explain the rewritten prompt.", "Explain the rewritten prompt in ten words.", None),
        ("Explain the rewritten prompt.", "Explain the rewritten prompt and the given task.", "given task"),
        ("Name a river.", "Name a river on a forgiven tasking list.", None),
        ("Name a river.", "Name a river and a new task for it.", None),
    ],
)
def test_words_of_the_prompt_that_leak_are_found(parent: str, evolved: str, found: str | None) -> None:
    assert leaked_words(parent, evolved) == found


# --- what a real model says ------------------------------------------------------------------------------------

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("half", "least"), [("looked_at", 1.0), ("held_out", 0.97)])
def test_recorded_verdicts_of_the_embedded_model_are_read_as_a_person_reads_them(half: str, least: float) -> None:
    """68 answers without a constraint, labelled by hand; the parser was tuned on one half and measured on the other."""
    answers = [row for row in RECORDED if row["half"] == half]
    right = [read_verdict(row["answer"]) == row["equal"] for row in answers]
    assert len(answers) == 34
    assert sum(right) / len(right) >= least
    assert not [row for row in answers if row["equal"] is False and read_verdict(row["answer"])]


# --- found by somebody who looked for ways around it ------------------------------------------------------------

NEVER_EQUAL = [
    "not - as far as I can tell from the two task texts given here above - Equal",
    "I would not say that given all the constraints these two tasks are Equal",
    "Equal: 0", '"Equal": 0', "equal = 0", "Equal: N", "Equal: ✗", "Equal ❌", "Equal\nNo", "Equal\nFalse", "no\nEqual",
    "Equal\n\nActually, no.", "Constraints: Equal\nDepth: Different", "1. Equal\n2. Different", "Equal in constraints but deeper in scope",
    "They are anything but equal", "far from equal", "They fail to be equal", "Nearly equal.", "Barely equal", "Partly equal",
    "Equal except for the added constraint", "I doubt they are Equal", "It is false that they are Equal", "Equal is incorrect",
    "I reject Equal.", "Equal to each other? No", r"$\neq$ Equal", "Not&nbsp;Equal", "n0t Equal", "aint equal", "dis-equal",
    "Not Equal\n\nExplanation: more depth.\nVerdict: Equal", "Not Equals", "not equals", "is_equal: false",
    "**Equal**\n\nWait, the second one has an additional constraint. So they are different.",
]  # fmt: skip


@pytest.mark.parametrize("text", NEVER_EQUAL)
def test_no_way_around_is_read_as_equal(text: str) -> None:
    assert read_verdict(text) is not True
