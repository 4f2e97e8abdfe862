"""Pieces of HTML: everything that is not said to be markup is escaped here, and nowhere else.

table(("reason", "rows"), [("too <similar>", 41)])  ->  '<div class="wide"…><table>…too &lt;similar&gt;…'
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from factory.datasets_io.parquet import to_json

MOST_COLUMNS = 12
LONG = 40  # characters of a cell that is not squeezed


class Markup(str):
    """HTML that is put into the page as it is."""

    __slots__ = ()


def text(value: object) -> str:
    """A value as HTML: numbers with thousands, markup as it is, all else escaped.

    >>> text(1234), text("<b>"), text(0.12345), text(34.3), text(7.5), text(7.0), text(float("inf")), text(None)
    ('1,234', '&lt;b&gt;', '0.123', '34.3', '7.5', '7', 'inf', '-')
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, float):
        if value == round(value):
            return f"{value:,.0f}"
        return f"{value:,.{3 if (abs(value) < 10 and value != round(value, 1)) or abs(value) < 1 else 1}f}"
    return escape(str(value))


def paragraph(*sentences: str, kind: str = "") -> str:
    """Sentences as one paragraph."""
    shown = " ".join(text(each) for each in sentences if each)
    return f'<p class="{kind}">{shown}</p>' if kind and shown else f"<p>{shown}</p>" if shown else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", *, sort: bool = True) -> str:
    """A table whose columns can be sorted; a column of numbers stands at the right.

    Args:
        heads: Names of the columns.
        rows: Cells; numbers are shown with thousands and sorted as numbers.
        caption: What it shows, for all readers.
        sort: Whether its columns have buttons.
    """
    rows = [tuple(row) for row in rows]
    numeric = [_numeric(row[at] for row in rows) for at in range(len(heads))]
    head = "".join(
        _head(name, number, sort=sort and len(rows) > 1) for name, number in zip(heads, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in rows)
    told = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption or ", ".join(heads))}">'
        f"<table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _numeric(cells: Iterable[object]) -> bool:
    told = [cell for cell in cells if cell is not None]
    return bool(told) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in told)


def _head(name: str, number: bool, *, sort: bool) -> str:
    kind = ' class="number"' if number else ""
    inner = f'<button type="button" class="sort">{text(name)}</button>' if sort else text(name)
    return f'<th scope="col"{kind}>{inner}</th>'


def _cell(value: object, number: bool) -> str:
    if not number:
        kind = ' class="long"' if isinstance(value, str) and not isinstance(value, Markup) and len(value) > LONG else ""
        return f"<td{kind}>{text(value)}</td>"
    told = "" if value is None else f' data-value="{value!r}"'
    return f'<td class="number"{told}>{text(value)}</td>'


def details(summary: str, inner: str, *, opened: bool = False) -> str:
    """Something that is shown when asked for; the inner part is markup."""
    return f"<details{' open' if opened else ''}><summary>{text(summary)}</summary>{inner}</details>"


def figure(drawing: str, caption: str, title: str = "") -> str:
    """A drawing with what it shows; the drawing is markup."""
    head = f"<h3>{text(title)}</h3>" if title else ""
    return f"<figure>{head}{drawing}<figcaption>{text(caption)}</figcaption></figure>"


def legend(names: Iterable[tuple[str, str]]) -> str:
    """What colours stand for: class and name of each."""
    parts = [f'<li><span class="key {kind}"></span>{text(name)}</li>' for kind, name in names]
    return f'<ul class="legend">{"".join(parts)}</ul>'


KEPT_AND_REJECTED = (("kept", "kept"), ("rejected", "rejected"))


def grid(figures: Iterable[str]) -> str:
    """Figures side by side where there is room."""
    return f'<div class="grid">{"".join(figures)}</div>'


def record(fields: Mapping[str, Any], columns: int = MOST_COLUMNS) -> str:
    """Fields of a record, one below the other; empty ones are left out."""
    shown = [(name, value) for name, value in fields.items() if value is not None and value != ""]
    parts = [f"<dt>{text(name)}</dt><dd>{text(_plain(value))}</dd>" for name, value in shown[:columns]]
    if len(shown) > columns:
        parts.append(f"<dt>and</dt><dd>{len(shown) - columns} more columns</dd>")
    return f'<dl class="record">{"".join(parts)}</dl>'


def _plain(value: Any) -> object:
    return value if isinstance(value, str | int | float) else to_json(value)
