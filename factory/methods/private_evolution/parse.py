r"""From a model's answer to the one text that it was asked for, and from a text to one with blanks.

    bare_text('Sure, here is the ticket:\n\n"My parcel is late."\n\nLet me know if …')   ->  "My parcel is late."
    blanked("My parcel is late again.", 0.5, random.Random(1))                            ->  "_ parcel is _ _."

What stands around a text in the answer of a chat model goes: an announcement, quotation marks, a remark at the end.
"""

from __future__ import annotations

import random
import re

BLANK = "_"
_ANNOUNCED = re.compile(
    r"(?i)\A(?:sure|certainly|of course|absolutely|okay|ok|here\b|below\b)[^\n]{0,120}?:[ \t]*(?:\n|\Z)"
)
_AFFIRMED = re.compile(r"(?i)\A(?:sure|certainly|of course|absolutely|okay|ok)(?: thing)?[!.]?[ \t]*(?:\n|\Z)")
_MARKED = re.compile(r"(?i)\A\**(?:text|message|answer|filled in|rewritten|new text|version \d+)\**[ \t]*:\**[ \t]*")
_REMARK = re.compile(r"(?i)\A(?:let me know|i hope (?:this|that)|feel free|note:|would you like|\(note)")
_QUOTES = {'"': '"', "“": "”", "«": "»", "‘": "’", "'": "'"}
_WORD = re.compile(r"\w[\w'’-]*")


def bare_text(answer: str) -> str:
    """The text of an answer, without what a chat model puts around it."""
    text = answer.strip()
    for pattern in (_AFFIRMED, _ANNOUNCED, _MARKED):
        text = pattern.sub("", text, count=1).strip()
    paragraphs = re.split(r"\n[ \t]*\n", text)
    if len(paragraphs) > 1 and _REMARK.match(paragraphs[-1].strip()):
        text = "\n\n".join(paragraphs[:-1]).strip()
    close = _QUOTES.get(text[:1])
    if len(text) > 2 and close == text[-1] and text[0] not in text[1:-1] and close not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def first_line(answer: str) -> str:
    """The first line of what a base model goes on with: whatever follows is the next text of its list."""
    return next((line.strip() for line in answer.split("\n") if line.strip()), "")


def blanked(text: str, share: float, draw: random.Random) -> str:
    """The text on one line with words replaced by `_`: each with that probability, at least one and never all.

    >>> blanked("Late again, as ever.", 0.5, random.Random(3))
    '_ again, _ ever.'
    """
    line = " ".join(text.split())
    words = list(_WORD.finditer(line))
    out = [draw.random() < share for _ in words]
    if words and not any(out):
        out[draw.randrange(len(words))] = True
    if len(words) > 1 and all(out):
        out[draw.randrange(len(words))] = False
    for word, blank in reversed(list(zip(words, out, strict=True))):
        if blank:
            line = line[: word.start()] + BLANK + line[word.end() :]
    return line


def normal(text: str) -> str:
    """What two texts are compared by: letters and digits in lower case; all of it if there are none."""
    return " ".join(re.findall(r"\w+", text.casefold())) or " ".join(text.split())
