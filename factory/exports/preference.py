r"""Preference pairs, as TRL's DPO reads them: one prompt, a chosen and a rejected answer.

    {"prompt": [{"role": "user", "content": "Add.\n\n2, 3"}],
     "chosen": [{"role": "assistant", "content": "5"}], "rejected": [{"role": "assistant", "content": "6"}]}

`--templates plain` writes three texts instead. Which rows make a pair is told in `factory.exporting.pairing`.
"""

from __future__ import annotations

from typing import Any

from factory.datasets_io.pairs import Message, Preference, answered, asked, question

TAKES = "preference"
LAYOUT = "conversational"


def convert(preference: Preference) -> dict[str, object]:
    """Three lists of messages."""
    return {
        "prompt": asked(preference.asked),
        "chosen": answered(preference.chosen),
        "rejected": answered(preference.rejected),
    }


def convert_plain(preference: Preference) -> dict[str, object]:
    """Three texts; the prompt ends in a blank line, as in the format prompt-completion."""
    prompt = f"{question(preference.asked)}\n\n"
    return {"prompt": prompt, "chosen": preference.chosen, "rejected": preference.rejected}


VARIANTS = {"plain": convert_plain}


def sequences(row: dict[str, Any]) -> list[str | list[Message]]:
    """Each answer behind the prompt; the longer one counts."""
    return [row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]]
