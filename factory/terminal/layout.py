"""Tables, fields and sentences for a terminal of 80 columns."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from factory.records import Verdict

WIDTH = 80
CLIP = 600
NARROW = 12


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; text is left-aligned and wrapped where the line would be too long, numbers are right-aligned."""
    numeric = [all(_is_number(row[index]) for row in rows) for index in range(len(headings))]
    widths = _widths([headings, *rows], numeric)
    lines = []
    for row in [headings, *rows]:
        cells = [
            [cell] if right else _wrapped(cell, width) for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            aligned = (
                part.rjust(width) if right else part.ljust(width)
                for part, width, right in zip(parts, widths, numeric, strict=True)
            )
            lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _widths(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[int]:
    """Width of each column; the widest columns of text give way until a line fits."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(numeric))]
    texts = [index for index, right in enumerate(numeric) if not right]
    over = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    while over > 0 and texts and (widest := max(texts, key=widths.__getitem__)) is not None and widths[widest] > NARROW:
        widths[widest] -= 1
        over -= 1
    return widths


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a cell; one that is too long breaks behind a slash where it has one."""
    lines = textwrap.wrap(text if len(text) <= width else text.replace("/", "/ "), width)
    return [line.replace("/ ", "/") for line in lines] or [""]


def fill(text: str, width: int = WIDTH) -> str:
    """A sentence over several lines; paths and commands stay whole."""
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def rows_of(count: int) -> str:
    """A number of rows.

    >>> rows_of(1), rows_of(1200)
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def fact(name: str, value: str) -> str:
    """A line of a list of facts, their values one below the other."""
    return textwrap.fill(
        f"{name:<8}  {value}", WIDTH, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
    )


def _is_number(text: str) -> bool:
    return text in ("", "-") or re.fullmatch(r"[\d,.%-]+M?", text) is not None


def record_text(record_id: str, fields: dict[str, Any]) -> str:
    """A record: its id and its fields."""
    return "\n".join([f"[{record_id}]", *(field_text(name, value) for name, value in fields.items())])


def field_text(name: str, value: Any, clip: int = CLIP) -> str:
    """A field on one line if it fits, else below its name; cut at `clip` characters."""
    text = printable("" if value is None else str(value))
    text = text if len(text) <= clip else f"{text[:clip]} … ({len(text):,} characters)"
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, width - 4, replace_whitespace=False) or [""]
    return (
        f"  {name}: {lines[0]}".rstrip()
        if len(lines) == 1 and len(name) + len(text) + 4 <= width
        else "\n".join([f"  {name}:", *(f"    {line}".rstrip() for line in lines)])
    )


def printable(text: str) -> str:
    """The text with control characters spelt out: what a model writes must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def indented(sentence: str) -> str:
    """A sentence, wrapped and two columns in."""
    return textwrap.indent(fill(sentence, WIDTH - 2), "  ")


def measured(verdict: Verdict) -> str:
    """Score and threshold of a verdict, where it has them."""
    score = f", score {verdict.score:.4g}" if verdict.score is not None else ""
    return score + (f", threshold {verdict.threshold:.4g}" if verdict.threshold is not None else "")


def rounded(count: int) -> str:
    """A count; from ten million on in millions, as no estimate is better than that."""
    return f"{count:,}" if count < 10**7 else f"{count / 10**6:,.0f}M"


def command_name() -> str:
    """How the command line was called: `factory` where that is found, else the path that leads to it."""
    called = Path(sys.argv[0])
    found = shutil.which("factory")
    if called.name != "factory" or (found is not None and Path(found).resolve() == called.resolve()):
        return "factory"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_absolute() and called.is_relative_to(here) else str(called)
