r"""What every fine-tuning format is made from: a question with one answer, or with a better and a worse one.

`Pair("Add.", "2, 3", "5")` asks "Add.\n\n2, 3" and is answered "5".
"""

from __future__ import annotations

import msgspec

Message = dict[str, str]


class Pair(msgspec.Struct, frozen=True):
    """One training example.

    Attributes:
        instruction: The task.
        input: What it is about; may be empty.
        output: The answer.
        system: System message, may be empty; None where the rows have no column for it.
    """

    instruction: str
    input: str
    output: str
    system: str | None = None


class Preference(msgspec.Struct, frozen=True):
    """One question with two answers of which one is better."""

    asked: Pair
    chosen: str
    rejected: str


def question(pair: Pair) -> str:
    """Instruction and input as one text."""
    return f"{pair.instruction}\n\n{pair.input}" if pair.input.strip() else pair.instruction


def asked(pair: Pair) -> list[Message]:
    """The messages that come before the answer."""
    user = {"role": "user", "content": question(pair)}
    return [{"role": "system", "content": pair.system}, user] if pair.system else [user]


def answered(text: str) -> list[Message]:
    """The message of an answer."""
    return [{"role": "assistant", "content": text}]
