r"""From a model's answer to the texts, or the ways, that it lists.

    parse_texts('Sure! Here are 2 posts:\n1. "Oh great: rain."\n2. Late again', asked=2)
    -> [Item("Sure! Here are 2 posts:", "preamble"), Item("Oh great: rain."), Item("Late again")]

Numbers, bullets, quotation marks around an item and a leading "Post 3:" go; a colon inside a text stays. The paper's
code cut at the first colon, which made of "Oh great: rain." a mere "rain.". What is no item is handed on with its
problem, so that it can be filed as rejected.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

_NUMBER = re.compile(r"(?m)^[ \t]*(?:\*\*)?\(?\d{1,3}[.):](?:\*\*)?(?:[ \t]+|$)")
_BULLET = re.compile(r"(?m)^[ \t]*[-*•–][ \t]+")
_THING = r"(?:texts?|posts?|tweets?|messages?|sentences?|examples?|versions?|rewrit\w+|variations?|ways?|list|kinds?|options?)"
_YES = r"(?:sure|certainly|of course|absolutely|okay|ok|great|no problem)"
_AFFIRMED = re.compile(rf"(?i)\A{_YES}[ \t]*(?:thing)?[!.,:]*\Z")
_ANNOUNCED = re.compile(
    rf"(?i)\A(?:{_YES}\b[^:\n]{{0,40}}?)?\b(?:here(?:'s|’s| is| are)|below (?:is|are))\b[^:\n]{{0,90}}:[ \t]*"
)
_HAS_THING = re.compile(rf"(?i)\b{_THING}\b")
_REMARK = re.compile(
    r"(?i)\A(?:let me know|i hope (?:this|these)|feel free|would you like|these (?:texts|posts|examples|ways))\b"
)
_QUOTES = {'"': '"', "“": "”", "«": "»", "‘": "’", "'": "'"}
SHOWN_CHARS = 300


class Item(msgspec.Struct, frozen=True):
    """One item of an answer; `problem` is set where it is none.

    Attributes:
        text: The item on one line.
        problem: Why it cannot be used: `preamble`, `remark`, `no_list`, `cut_off` or `empty_answer`.
    """

    text: str
    problem: str | None = None


def parse_texts(
    answer: str, *, asked: int, cut: bool = False, opened: bool = False, names: Collection[str] = ()
) -> list[Item]:
    """Read what an answer lists.

    Args:
        answer: The answer.
        asked: Items asked for; an answer to a request for one is that one, without a list.
        cut: Whether it ended at `max_tokens`; its last item is then incomplete.
        opened: Whether the prompt ended with the first number, so that the answer begins inside the first item.
        names: Names of classes, which models like to put before a text.

    Returns:
        At least one item.
    """
    marker = _NUMBER if _NUMBER.search(answer) else _BULLET
    marks = list(marker.finditer(answer))
    if marks and (asked > 1 or opened or len(marks) > 1):
        items = _listed(answer, marks, opened)
    elif asked == 1:
        items = _alone(answer[marks[0].end() :] if marks and not answer[: marks[0].start()].strip() else answer, opened)
    else:
        items = _lines(answer, opened)
    items = [_cleaned(item, names) for item in items]
    items = [item for item in items if item.text]
    if cut and items:
        items[-1] = Item(items[-1].text, "cut_off")
    return items or [Item("", "empty_answer")]


def _listed(answer: str, marks: list[re.Match[str]], opened: bool) -> list[Item]:
    """Items behind numbers or bullets; what follows a blank line behind the last one is a remark."""
    head = answer[: marks[0].start()]
    items = [Item(head) if opened else Item(head, "preamble")] if head.strip() else []
    ends = [*(mark.start() for mark in marks[1:]), len(answer)]
    for mark, end in zip(marks, ends, strict=True):
        text, _, rest = answer[mark.end() : end].strip().partition("\n\n")
        items.append(Item(text))
        if rest.strip():
            items.append(Item(rest, "remark"))
    return items


def _alone(answer: str, opened: bool) -> list[Item]:
    """The one text asked for, without an announcement before it or a remark behind it."""
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", answer.strip()) if part.strip()]
    before = []
    if not opened and len(paragraphs) > 1 and _announces(paragraphs[0]):
        before = [Item(paragraphs[0], "preamble")]
        paragraphs = paragraphs[1:]
    behind = [Item(paragraphs.pop(), "remark")] if len(paragraphs) > 1 and _REMARK.match(paragraphs[-1].strip()) else []
    lines = "\n".join(paragraphs).split("\n")
    if not before and len(lines) > 1 and _announces(lines[0]):
        before, lines = [Item(lines[0], "preamble")], lines[1:]
    return [*before, Item("\n".join(lines)), *behind]


def _lines(answer: str, opened: bool) -> list[Item]:
    """An answer without numbers: every line is an item, if there are several."""
    lines = [line for line in answer.split("\n") if line.strip()]
    before = [Item(lines.pop(0), "preamble")] if lines and not opened and _announces(lines[0]) else []
    behind = [Item(lines.pop(), "remark")] if len(lines) > 1 and _REMARK.match(lines[-1].strip()) else []
    if len(lines) == 1 and not opened:
        return [*before, Item(lines[0], "no_list"), *behind]
    return [*before, *(Item(line) for line in lines), *behind]


def _announces(line: str) -> bool:
    """Whether a line only says that texts follow."""
    line = line.strip().strip("*").strip()
    if _AFFIRMED.match(line):
        return True
    found = _ANNOUNCED.match(line)
    return found is not None and not line[found.end() :].strip() and _HAS_THING.search(found.group()) is not None


def _cleaned(item: Item, names: Collection[str]) -> Item:
    """The item on one line, without an announcement, a marker or quotation marks around it."""
    text = " ".join(item.text.split())
    if item.problem is not None:
        return Item(text[:SHOWN_CHARS], item.problem)
    found = _ANNOUNCED.match(text)
    if found is not None and _HAS_THING.search(found.group()):
        text = text[found.end() :]
    return Item(_bare(_without_marker(_bare(text), names)))


def _without_marker(text: str, names: Collection[str]) -> str:
    """Without a leading "Post 3:" or the name of a class; a text that says no more than that stays."""
    words = "|".join([_THING, *(re.escape(name) for name in sorted(names, key=len, reverse=True))])
    found = re.match(rf"(?i)\**(?:rewritten )?(?:{words})\**(?:[ ]\d{{1,3}})?[ ]?:\**[ ]+", text)
    return text if found is None or not text[found.end() :] else text[found.end() :]


def _bare(text: str) -> str:
    """Without quotation marks around it all."""
    text = text.strip()
    close = _QUOTES.get(text[:1])
    if len(text) > 2 and close == text[-1] and text[0] not in text[1:-1] and close not in text[1:-1]:
        return text[1:-1].strip()
    return text


def normal(text: str) -> str:
    """What two texts are compared by: letters and digits in lower case; all of it if there are none.

    >>> normal('"Oh, GREAT!"') == normal("oh great")
    True
    """
    return " ".join(re.findall(r"\w+", text.casefold())) or " ".join(text.split())


def clean_way(text: str) -> str:
    """A way without emphasis and without a full stop at its end."""
    return re.sub(r"\*\*(.+?)\*\*", r"\1", text).rstrip(". ").strip()
