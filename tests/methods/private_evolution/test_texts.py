"""What is read from answers, how words are blanked out, and what the prompts look like."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.methods.private_evolution.parse import BLANK, bare_text, blanked, first_line, normal
from factory.prompts import shipped_prompt

TEXT = "My parcel is late."
SMALL = {
    "task": "messages",
    "description": "",
    "subject": "",
    "pick": 0,
    "text": TEXT,
    "opening": "My",
    "blanked": "My _.",
    "kept": "My parcel",
}


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f'"{TEXT}"',
        f"  {TEXT}\n",
        f"Sure!\n\n{TEXT}",
        f"Sure, here is one:\n\n{TEXT}",
        f"Here's the rewritten message:\n“{TEXT}”",
        f"Certainly! Here is a new text: \n\n{TEXT}\n\nLet me know if you would like another one.",
        f"**Filled in:** {TEXT}",
        f"Message: {TEXT}\n\n(Note that I kept the subject.)",
    ],
)
def test_only_the_text_is_read(answer: str) -> None:
    assert bare_text(answer) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        'The clerk said "come back" and then "never mind".',
        "Here is my order number: 17.",
        "Okay so the thing broke.",
        "Hello,\n\nmy parcel is late.\n\nRegards, Ines",
        "Of course it broke: it always does.",
        "Note to the courier: ring twice.",
    ],
)
def test_what_belongs_to_the_text_stays(text: str) -> None:
    assert bare_text(text) == text


def test_of_a_base_model_the_first_line_is_read() -> None:
    assert first_line("\n My parcel is late.\n2. Another one.") == TEXT
    assert first_line(" \n") == ""


@given(st.text(max_size=80), st.floats(0.05, 0.95), st.integers(0, 999))
def test_blanks_replace_words_and_nothing_else(text: str, share: float, seed: int) -> None:
    found = blanked(text, share, random.Random(seed))
    line = " ".join(text.split())
    pattern = "".join(re.escape(part) for part in re.split(f"(?={BLANK})|(?<={BLANK})", found))
    assert re.fullmatch(pattern.replace(BLANK, r"(?:\w[\w'’-]*|_)"), line)
    words = re.findall(r"\w[\w'’-]*", line)
    if len(words) > 1:
        assert found != line
        assert any(word in found for word in words)


def test_texts_are_compared_by_their_words() -> None:
    assert normal('"My parcel, LATE!"') == normal("my parcel late")
    assert normal("!?") != normal("!!")


@pytest.mark.parametrize(
    ("name", "chat", "expected"),
    [
        ("first_small", True, 'You are a person who writes messages. Write one.\n"I have'),
        (
            "rephrase_small",
            True,
            f'You are a person who writes messages. You wrote:\n\n"{TEXT}"\n\nWrite this in other words.\n"My',
        ),
        ("fill_small", True, 'You are a person who writes messages. Write one.\n"My parcel'),
    ],
)
def test_prompts_of_small_models_begin_the_text(name: str, chat: bool, expected: str) -> None:
    rendered = shipped_prompt(f"private_evolution/{name}").render(SMALL, chat=chat)
    assert "\n".join(message.content for message in rendered.messages) == expected


@pytest.mark.parametrize("name", ["first", "rephrase", "fill"])
@pytest.mark.parametrize("chat", [True, False])
def test_prompts_name_class_length_and_text(name: str, chat: bool) -> None:
    values = {
        **SMALL,
        "description": "a question about a parcel.",
        "label": "delivery",
        "subject": "a lamp",
        "words": 17,
    }
    rendered = shipped_prompt(f"private_evolution/{name}").render(values, chat=chat)
    text = rendered.text or rendered.messages[0].content
    assert "17 words" in text and "a question about a parcel." in text and "messages" in text
    assert ("a lamp" in text, TEXT in text, "My _." in text) == (name == "first", name == "rephrase", name == "fill")
    assert "\n\n\n" not in text
