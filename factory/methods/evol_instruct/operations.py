r"""The operations of Evol-Instruct: which one a row gets, and how its answer becomes the evolved task.

    draw("epoch 1 of 5f0c…", {"deepen": 1.0, "in_breadth": 1.0})  -> "deepen"
    evolved("", "#Rewritten Task#: Name three rivers and …")      -> "Name three rivers and …"

Paper: WizardLM (Xu et al. 2023, arXiv 2304.12244), section 3.2: five in-depth operations and one in breadth.
WizardCoder (Luo et al. 2023, arXiv 2306.08568), section 3.1: five for code. An operation is drawn by hash rank:
the smallest of `-log(u) / weight` wins (Efraimidis and Spirakis 2006), so another weight changes few draws.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from factory.engines.protocol import Constraint
from factory.records import digest

PAPER = ("add_constraint", "deepen", "concretise", "more_steps", "complicate_input", "in_breadth")
CODE = ("code_constraint", "code_rarer", "code_steps", "code_decoy", "code_bounds")
COUNTED = PAPER[:4]  # whose prompts ask for so many words more
FORMATS = ("json", "csv", "sql", "python", "formula", "html")
SMALL_FORMATS = FORMATS[:3]
WORDS_WANTED = (10, 20)  # section 3.2

_NOUN = r"(?:task|prompt|instruction|question|version)"
_CHATTER = r"(?:sure|certainly|of course|absolutely|okay|ok|got it|great)"
# "**Rewritten Task (harder)**:", "The rewritten task is:", "Task:"; always with a colon or a line of its own.
_LEAD = re.compile(
    rf"\A[#*_\s]*(?:(?:the\s+)?(?:rewritten|evolved|created|new|harder|revised|updated)\s+{_NOUN}(?:\s*\([^)\n]*\))?(?:\s+is)?"
    r"|task|prompt)[#*_ \t]*(?::[#*_\s]*|\n[#*_\s]*|\Z)",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    rf"\A(?:{_CHATTER}\b[^\n:]{{0,80}}|(?:here(?:['’]s|\s+is)|below\s+is)\b)(?=[^\n:]*\b(?:{_NOUN}|rewrit\w+)\b)[^\n:]{{0,120}}"
    r"(?::\s*|\.[ \t]*\n\s*\n)",
    re.IGNORECASE,
)
_AGREEING = re.compile(rf"\A{_CHATTER}[!.,]?[ \t]*\n\s*", re.IGNORECASE)
_CLOSING = re.compile(
    r"\n\s*\n[*_ \t]*(?:let me know\b|i hope (?:this|that)\b|feel free\b|note:? i\b|\(note:? i\b|this (?:version|rewritten|new)\b)"
    r"[^\n]*(?:\n[^\n]+)*\s*\Z",
    re.IGNORECASE,
)
_RULE = re.compile(r"\A(?:[-*_]{3,}\s*\n\s*)+|(?:\s*\n[-*_]{3,})+\s*\Z")
_THOUGHT = re.compile(r"\A.*</think>|\A\s*<think>.*\Z", re.DOTALL)
_FENCE_AROUND = re.compile(r"\A```[^\n`]*\n(.*)\n[ \t]*```\Z", re.DOTALL)
_LIST_NUMBER = re.compile(r"\s*\d+\.\s*")
_QUOTES = {'"': '"', "“": "”", "«": "»"}


def known() -> tuple[str, ...]:
    """Names of all operations."""
    return PAPER + CODE


def draw(name: str, weights: Mapping[str, float]) -> str:
    """The operation of that draw."""

    def rank(operation: str) -> tuple[float, str]:
        share = (int(digest("operation", name, operation)[:13], 16) + 1) / 16**13
        return -math.log(share) / weights[operation], operation

    return min((operation for operation, weight in weights.items() if weight > 0), key=rank)


def pick(name: str, *, count: int) -> int:
    """A number in [0, count) of that draw: which variant of a prompt is shown."""
    return int(digest("pick", name)[:13], 16) % count


def data_format(name: str, *, small: bool) -> str:
    """The data format that `complicate_input` shows in that draw."""
    formats = SMALL_FORMATS if small else FORMATS
    return formats[pick(f"{name}/format", count=len(formats))]


_SENTENCE = r"[^\n.?!]{6,160}[.?!]"
_VALUE = r'("[^"\\\n]{1,40}"|[0-9]{1,5})'
_CELL = r'[^,"\n]{1,24}'
_SMALL_FORMS = {
    "in_breadth": r" [A-Z][^\n.?!]{8,160}[.?!]",
    "json": rf'\{{\n  "[a-z_]{{2,20}}": {_VALUE}(,\n  "[a-z_]{{2,20}}": {_VALUE}){{1,4}}\n\}}\n',
    "csv": rf"[a-z_]{{2,16}},[a-z_]{{2,16}},[a-z_]{{2,16}}\n({_CELL},{_CELL},{_CELL}\n){{2,4}}",
    "sql": r"CREATE TABLE [a-z_]{3,20} \(\n  [a-z_]{2,20} [A-Z]{3,10}(,\n  [a-z_]{2,20} [A-Z]{3,10}){1,4}\n\);\n",
}


def small_form(operation: str, shown: str) -> Constraint:
    """What a small model's answer is held to, where the engine can: one sentence, or one piece of data."""
    form = _SMALL_FORMS.get(shown if operation == "complicate_input" else operation, _SENTENCE)
    return Constraint(regex=form)


def evolved(begun: str, answer: str) -> str:
    """The evolved task: an answer without what a model says around it, behind what the prompt had begun.

    Empty if the answer holds no letter or digit.
    """
    if not re.search(r"[^\W_]", answer):
        return ""
    if not begun:
        text = _bare(without_thoughts(answer))
    elif begun.rstrip(" ").endswith("\n"):  # a piece of data, to the end of its fence
        text = begun + answer.split("```", 1)[0]
    else:  # a sentence: a small model that is held to no form goes on with something else
        first = next(line for line in answer.split("\n") if line.strip())
        text = first if _LIST_NUMBER.fullmatch(begun) else begun + first
    text = text.strip()
    if not re.search(r"[^\W_]", text):
        return ""
    return f"{text}\n```" if text.count("```") % 2 else text


def without_thoughts(answer: str) -> str:
    """An answer without the thinking that some models write down before it, stripped."""
    return _THOUGHT.sub("", answer).strip()


def _bare(text: str) -> str:
    """Without agreement, an announcement, a heading that names it, rules, a fence or quotes around it, a closing remark."""
    for pattern in (_AGREEING, _ANNOUNCED, _CLOSING, _RULE, _LEAD, _RULE):
        text = pattern.sub("", text).strip()
    if (fence := _FENCE_AROUND.match(text)) is not None and "```" not in fence.group(1):
        text = fence.group(1).strip()
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text
