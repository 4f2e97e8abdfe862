r"""One column `text`, for language modelling and continued pretraining.

`{"instruction": "Add.", "input": "2, 3", "output": "5"}` becomes `{"text": "Add.\n\n2, 3\n\n5"}`; with a tokenizer that
has a chat template, the text is the conversation as that template writes it. A beginning-of-text mark that the
tokenizer puts before every text itself is left out of it, so that training does not see two. Rows that have no question
but a column `text`, such as private texts, are that text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factory.datasets_io.pairs import Message, Pair, answered, asked, question

TAKES = "pair"
ALONE = "text"


def convert(pair: Pair) -> dict[str, object]:
    """Question and answer with a blank line between them; the answer alone where nothing is asked."""
    parts = [pair.system or "", question(pair), pair.output]
    return {"text": "\n\n".join(part for part in parts if part)}


def templated(pair: Pair, chat: Callable[[list[Message]], str]) -> dict[str, object]:
    """The conversation as a chat template writes it."""
    return {"text": chat(asked(pair) + answered(pair.output))}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """The text."""
    return [row["text"]]
