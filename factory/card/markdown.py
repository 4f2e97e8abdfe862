r"""Text that others wrote, put into Markdown so that it stays text.

    code("a|b")                  ->  "`a\\|b`"
    fenced("```", "json")        ->  "````json\n```\n````"

What a model wrote can hold tables, HTML, rulers and fences of its own; none of it may reach past its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RAW = re.compile(r"<(?=[!?]|/?(?:pre|script|style|textarea|details|summary)\b)", re.IGNORECASE)


def code(text: str) -> str:
    """A code span, for a name in a sentence or in a cell of a table."""
    flat = " ".join(visible(text).split()) or " "
    ticks = "`" * (_longest_run(flat) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """A block of code, with a fence that is longer than any in it."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def prose(text: str) -> str:
    """A sentence on one line: no HTML, no images, no links; backticks and stars stay."""
    flat = " ".join(visible(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return re.sub(r"^([#>+=|-]|\d+[.)](?= ))", r"\\\1", flat)


def contained(text: str) -> str:
    """Markdown of the recipe's author that cannot swallow what comes after it: no open fence, comment or raw block."""
    lines, fence = [], ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line[mark.end() :].strip()
            fence = "" if closes else fence
        else:
            line = _RAW.sub("&lt;", line)
            fence = mark[1] if mark is not None else ""
        lines.append(line)
    return "\n".join([*lines, *([fence] if fence else [])])


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> list[str]:
    """Lines of a table; cells are Markdown already.

    Args:
        headings: Of the columns.
        rows: Their cells.
        numbers: How many of the last columns hold numbers, which are aligned to the right.
    """
    left = len(headings) - numbers
    ruler = "|".join(["---"] * left + ["---:"] * numbers)
    return [f"| {' | '.join(headings)} |", f"|{ruler}|", *(f"| {' | '.join(row)} |" for row in rows)]


def cell(text: str) -> str:
    """A sentence for a cell of a table."""
    return prose(text).replace("|", "\\|")


def visible(text: str) -> str:
    """The text with characters that cannot be seen, or that turn the text around, spelt out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
