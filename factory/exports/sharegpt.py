r"""Conversations of `from` and `value`, as ShareGPT has them; Axolotl and LLaMA-Factory read them, TRL wants `messages`.

`{"instruction": "Add.", "input": "2, 3", "output": "5"}` becomes
`{"conversations": [{"from": "human", "value": "Add.\n\n2, 3"}, {"from": "gpt", "value": "5"}]}`.
"""

from __future__ import annotations

from typing import Any

from factory.datasets_io.pairs import Message, Pair, answered, asked

TAKES = "pair"
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
ROLES = {speaker: role for role, speaker in SPEAKERS.items()}


def convert(pair: Pair) -> dict[str, object]:
    """What the human and the model say, after the system message if the pair has one."""
    said = asked(pair) + answered(pair.output)
    return {"conversations": [{"from": SPEAKERS[one["role"]], "value": one["content"]} for one in said]}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """The whole conversation."""
    return [[{"role": ROLES[one["from"]], "content": one["value"]} for one in row["conversations"]]]
