"""Words of prompts are found, tasks about prompts and code are not taken for them."""

from __future__ import annotations

import pytest

from factory.novelty.leaks import leaked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Paris.<|im_end|>", "<|im_end|>"),
        ("<|start_header_id|>user", "<|start_header_id|>"),
        ("<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        ("[INST] Name a city [/INST]", "[INST]"),
        ("Paris.</s>", "</s>"),
        ("<<SYS>> be kind", "<<SYS>>"),
        ("Paris.<end_of_turn>", "<end_of_turn>"),
        ("Paris.\n\n### Response: Rome", "### Response:"),
        ("Paris.\n\n### Instruction:\nName a city", "### Instruction:"),
        ("#Rewritten Prompt#: Name two cities", "#Rewritten Prompt#"),
        ("Make #The Given Prompt# harder", "#The Given Prompt#"),
        ("Below is an instruction that describes a task.", "Below is an instruction that describes a task"),
        ("Answer this: {{ instruction }}", "{{ instruction }}"),
        ("Answer this: {instruction}", "{instruction}"),
        ("Paris.\nUser: And of Spain?\nAssistant: Madrid.", "User:"),
        ("**Assistant**: Paris.", "**Assistant**:"),
    ],
)
def test_words_of_a_prompt_are_found(text: str, words: str) -> None:
    assert leaked(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "Write a Handlebars template with {{ name }} and {{title}}.",
        'print(f"{input} and {question} and {x}")',
        "f'{instruction}'",
        "const s = `${instruction}`",
        "### Instructions:\n1. Boil water.",
        "### Input\nA list of numbers.\n### Output:\nTheir sum.",
        "The user: a person. My assistant: a friend.",
        "a <| b |> c, List.map f <| xs |> ys",
        "Strike out with <s>old</s> <b>new</b>.",
        "The given prompt was hard. I rewrote the prompt.",
        "Assistant::run() is a method of C++",
        "#!/bin/sh\n# Created task list",
        "Use [MASK] for the missing word.",
    ],
)
def test_what_has_another_meaning_is_kept(text: str) -> None:
    assert leaked(text) is None


def test_speakers_can_be_allowed_and_the_first_leak_is_shown() -> None:
    dialogue = "User: Hi\nAssistant: Hello"
    assert leaked(dialogue, roles=False) is None
    assert leaked(f"{dialogue}<|im_end|>", roles=False) == "<|im_end|>"
    assert leaked(f"{dialogue}<|im_end|>") == "User:"
