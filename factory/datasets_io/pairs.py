"""What every fine-tuning format is made from: instruction, input, output."""

from __future__ import annotations

import msgspec


class Pair(msgspec.Struct, frozen=True):
    """One training example; `input` and `system` may be empty."""

    instruction: str
    input: str
    output: str
    system: str = ""


def question(pair: Pair) -> str:
    """Instruction and input as one text."""
    return f"{pair.instruction}\n\n{pair.input}" if pair.input.strip() else pair.instruction
