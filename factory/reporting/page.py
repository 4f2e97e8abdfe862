"""The page: panels in a template, with the figures as JSON and one script that the page allows by its hash.

    page(run, built(run))  ->  "<!doctype html>…"

The browser is told to fetch nothing (Content-Security-Policy), so that even what slipped through escaping could not run or
call anybody.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from factory import __version__
from factory.reporting.gather.run import Run
from factory.reporting.markup import text
from factory.reporting.panels import LeftOut, Panel

GENERATOR: Final = '<meta name="generator" content="factory report">'
"""Stands near the beginning of every report."""
_UNSAFE: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(run: Run, parts: Sequence[tuple[str, Panel | LeftOut]]) -> str:
    """The whole page.

    Args:
        run: What it tells of.
        parts: Title and content of the panels, in order.
    """
    script, style = _template("report.js"), _template("report.css")
    shown = [(title, part) for title, part in parts if isinstance(part, Panel)]
    left_out = [(title, part.why) for title, part in parts if isinstance(part, LeftOut)]
    figures = {name: part.data for name, part in shown if part.data}
    values = {
        "generator": GENERATOR,
        "policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "name": text(run.manifest["name"]),
        "description": text(run.manifest["recipe"].get("description") or ""),
        "banner": _banner(run),
        "links": "".join(f'<li><a href="#{_anchor(title)}">{text(title)}</a></li>' for title, _ in shown),
        "panels": "".join(_section(title, part) for title, part in shown),
        "left_out": _left_out(left_out),
        "figures": json_block({"format": 1, "name": run.manifest["name"], "panels": figures}),
        "version": text(__version__),
    }
    return filled(_template("page.html"), values)


def filled(template: str, values: dict[str, str]) -> str:
    """A template with its `{{ names }}` replaced, once each and from left to right: what is put in is not read again.

    >>> filled("<p>{{ a }}</p>{{ b }}", {"a": "{{ b }}", "b": "!"})
    '<p>{{ b }}</p>!'
    """
    parts = template.split("{{ ")
    out = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition(" }}")
        out.append(values[name] + rest)
    return "".join(out)


def json_block(value: Any) -> str:
    r"""JSON that may stand in a `<script>` element: nothing in it can end the element or begin a comment.

    >>> json_block(["</script><!--"])
    '["\\u003c/script\\u003e\\u003c!--"]'
    """
    told = msgspec.json.encode(value).decode()
    for char, safe in _UNSAFE.items():
        told = told.replace(char, safe)
    return told


def _template(name: str) -> str:
    return files("factory.reporting").joinpath("template", name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _banner(run: Run) -> str:
    if not run.not_private:
        return ""
    return f'<p class="banner" role="alert"><strong>NOT PRIVATE:</strong> {text(run.not_private)}</p>'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, part: Panel) -> str:
    name = _anchor(title)
    return f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{text(title)}</h2>{part.html}</section>'


def _left_out(titles: Sequence[tuple[str, str]]) -> str:
    if not titles:
        return ""
    items = "".join(f"<li><strong>{text(title)}.</strong> {text(why)}</li>" for title, why in titles)
    return f'<section id="left-out"><h2>Not on this page</h2><ul>{items}</ul></section>'
