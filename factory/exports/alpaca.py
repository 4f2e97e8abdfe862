"""The three columns of Alpaca: `instruction`, `input` (may be empty), `output`."""

from __future__ import annotations

from typing import Any

from factory.datasets_io.pairs import Message, Pair, answered, asked

TAKES = "pair"


def convert(pair: Pair) -> dict[str, object]:
    """The pair, with a column `system` if the rows have system messages, in all of them or in none."""
    row: dict[str, object] = {"instruction": pair.instruction, "input": pair.input, "output": pair.output}
    return row if pair.system is None else {**row, "system": pair.system}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """The pair as a conversation; a trainer that puts another layout around it needs a few tokens more or less."""
    pair = Pair(row["instruction"], row["input"], row["output"], row.get("system"))
    return [asked(pair) + answered(pair.output)]
