r"""Chat messages, as TRL and Axolotl read them.

`{"instruction": "Add.", "input": "2, 3", "output": "5"}` becomes
`{"messages": [{"role": "user", "content": "Add.\n\n2, 3"}, {"role": "assistant", "content": "5"}]}`.
"""

from __future__ import annotations

from typing import Any

from factory.datasets_io.pairs import Message, Pair, answered, asked

TAKES = "pair"


def convert(pair: Pair) -> dict[str, object]:
    """One user message and one assistant message, after a system message if the pair has one."""
    return {"messages": asked(pair) + answered(pair.output)}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """The whole conversation."""
    return [row["messages"]]
