r"""Chat messages, as TRL and Axolotl read them.

`{"instruction": "Add.", "input": "2, 3", "output": "5"}` becomes
`{"messages": [{"role": "user", "content": "Add.\n\n2, 3"}, {"role": "assistant", "content": "5"}]}`.
"""

from __future__ import annotations

from factory.datasets_io.pairs import Pair, question


def convert(pair: Pair) -> dict[str, object]:
    """One user message and one assistant message, after a system message if the pair has one."""
    messages = [{"role": "user", "content": question(pair)}, {"role": "assistant", "content": pair.output}]
    if pair.system:
        messages.insert(0, {"role": "system", "content": pair.system})
    return {"messages": messages}
