"""The three columns of Alpaca: `instruction`, `input` (may be empty), `output`."""

from __future__ import annotations

from factory.datasets_io.pairs import Pair


def convert(pair: Pair) -> dict[str, object]:
    """The pair, with its system message in a column of its own if it has one."""
    row: dict[str, object] = {"instruction": pair.instruction, "input": pair.input, "output": pair.output}
    return {**row, "system": pair.system} if pair.system else row
