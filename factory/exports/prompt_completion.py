r"""Prompt and completion as two texts: TRL's prompt-completion format, which trains on one text behind the other.

Plainly, the prompt is the instruction, a blank line, the input and a blank line. With `--templates
self-instruct` each row gets one of several layouts (7 with an input, 6 without), chosen by a hash of the
row, as in Self-Instruct (arXiv 2212.10560, section 2.3), whose point is that a tuned model should not hang
on one layout:

    {"prompt": "Task: Name the capital.\nInput: France\nOutput:", "completion": " Paris"}

`--templates conversational` writes both as lists of messages, which TRL puts through the chat template:

    {"prompt": [{"role": "user", "content": "Name the capital."}], "completion": [{"role": "assistant", …}]}

Half of the inputs that begin with a field name ("Text: …") lose it, and their blank lines; unlike the
released code we do not mistake a URL or a time of day for a field name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from factory.datasets_io.pairs import Message, Pair, answered, asked, question
from factory.prompts import Prompt, shipped_prompt
from factory.records import derive_seed

TAKES = "pair"
WITH_INPUT, WITHOUT_INPUT = 7, 6
_FIELD_NAME = re.compile(r"^[A-Za-z][A-Za-z ]{0,30}:(?=\s)", re.MULTILINE)


def convert(pair: Pair) -> dict[str, object]:
    """The plain layout."""
    return {"prompt": f"{question(pair)}\n\n", "completion": pair.output}


def convert_varied(pair: Pair) -> dict[str, object]:
    """One of the layouts of Self-Instruct, chosen by a hash of instruction and input."""
    text = pair.input if pair.input.strip() else ""
    if derive_seed("field name", pair.instruction, pair.input) % 2 == 0:
        text = strip_field_name(text)
    name, layouts = ("with_input", WITH_INPUT) if text else ("without_input", WITHOUT_INPUT)
    layout = derive_seed("layout", pair.instruction, pair.input) % layouts
    values = {"instruction": pair.instruction, "input": text, "layout": layout}
    prompt = str(_layouts(name).render(values, chat=False).text)
    space = "" if prompt[-1:].isspace() else " "
    return {"prompt": prompt, "completion": f"{space}{pair.output}"}


def convert_conversational(pair: Pair) -> dict[str, object]:
    """Prompt and completion as lists of messages."""
    return {"prompt": asked(pair), "completion": answered(pair.output)}


VARIANTS = {"self-instruct": convert_varied, "conversational": convert_conversational}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """The completion behind the prompt."""
    return [row["prompt"] + row["completion"]]


@lru_cache(maxsize=2)
def _layouts(name: str) -> Prompt:
    return shipped_prompt(f"finetune/{name}")


def strip_field_name(text: str) -> str:
    """Cut a leading field name if it is the only one, and turn blank lines into line ends.

    >>> strip_field_name("Review: Good soup.")
    'Good soup.'
    >>> strip_field_name("http://a.example/b at 12:30")
    'http://a.example/b at 12:30'
    """
    names = _FIELD_NAME.findall(text)
    rest = text[len(names[0]) :].strip() if names else ""
    if len(names) != 1 or not text.startswith(names[0]) or not rest:
        return text
    return rest.replace("\n\n", "\n")
