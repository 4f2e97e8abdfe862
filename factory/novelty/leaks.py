r"""Words of a prompt or a chat template that came along with a text.

    leaked("Paris.<|im_end|>")                       -> "<|im_end|>"
    leaked("Paris.\n\n### Instruction:\nName a city")  -> "### Instruction:"
    leaked("Paris.\nUser: And of Spain?")            -> "User:"
    leaked("Write a template with {{ name }}.")      -> None

Only what hardly has another meaning counts: marks of chat templates, headings of prompts for fine-tuning, marks of
evolving prompts, and slots that nobody filled in. Names of speakers at the beginning of a line can be switched off, for
data that are dialogues.
"""

from __future__ import annotations

import re

# Slots: names that prompts have. Others, such as {{ name }} or {x}, are what tasks about templates and code are about.
_SLOT = r"instructions?|given_(?:prompt|instruction|task)|seed_tasks?|few_shots?|input_text|user_(?:input|query|prompt)"
_MARKS = re.compile(
    r"<\|[a-zA-Z_]{2,30}\|>"
    r"|<｜[^｜>\n]{2,30}｜>"
    r"|\[/?INST\]|<</?SYS>>|</?s>(?=\s*(?:\[INST\]|\Z))"
    r"|<(?:start|end)_of_turn>"
    r"|^#{2,4} ?(?:New )?(?:Response|Instruction|Human|Assistant|User|System): ?"
    r"|#+ ?(?:The )?(?:Final )?(?:Given|Rewritten|Created|Evolved) (?:Prompt|Instruction|Task) ?#+"
    r"|\bBelow is an instruction that describes a task\b"
    rf"|\{{\{{\s*(?:{_SLOT}|prompt|question|context)\s*\}}\}}|(?<![{{$fF\"'])\{{(?:{_SLOT})\}}",
    re.MULTILINE,
)
_ROLES = re.compile(r"^(?:\*\*)?(?:User|Human|Assistant)(?:\*\*)?\s?:(?!:)", re.MULTILINE)


def leaked(text: str, *, roles: bool = True) -> str | None:
    """The first words of a prompt in a text; None if it has none.

    Args:
        text: Any text.
        roles: Whether "User:", "Human:" or "Assistant:" at the beginning of a line counts.
    """
    found = [pattern.search(text) for pattern in (_MARKS, *((_ROLES,) if roles else ()))]
    places = [match for match in found if match is not None]
    return min(places, key=lambda match: match.start()).group().strip() if places else None
