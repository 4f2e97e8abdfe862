"""Values as cells of a CSV file (RFC 4180), and texts that a spreadsheet would take for a formula.

cell_line(["a", 'say "hi"', None, "x"])  ->  a 4-cell line: quotes are doubled inside of quotes, None is empty
neutral("=1+1")                         ->  '=1+1
neutral("-3.5")                         ->  -3.5
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from factory.datasets_io.parquet import to_json

_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')
# Also the wide forms, which some spreadsheets take for the plain ones.
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?%?", re.ASCII)


def cell(value: Any) -> str | None:
    """A value as the text of a cell: lists and mappings as JSON, truth values as `true` and `false`."""
    return value if value is None or isinstance(value, str) else to_json(value)


def neutral(text: str) -> str:
    """The text with an apostrophe before it, if a spreadsheet would calculate it; numbers stay as they are."""
    if _FORMULA.match(text) is None or _NUMBER.fullmatch(text) is not None:
        return text
    return f"'{text}"


def cell_line(cells: Iterable[str | None]) -> str:
    """One line without its end; the only cell of a line is quoted, since readers skip blank lines."""
    cells = list(cells)
    if cells in ([None], [""]):
        return '""'
    return ",".join("" if text is None else _quoted(text) for text in cells)


def _quoted(text: str) -> str:
    if text and _QUOTED.search(text) is None:
        return text
    return '"{}"'.format(text.replace('"', '""'))
