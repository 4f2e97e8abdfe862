"""What `factory ls` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from factory.catalogue import Entry, Option
from factory.terminal.layout import WIDTH, printable


def options_text(options: Sequence[Option]) -> str:
    """What `factory ls NAME` prints."""
    parts = []
    for option in options:
        default = f" (default {option.default})" if option.default not in ("", "required") else ""
        required = ", required" if option.default == "required" else ""
        lines = [printable(f"{option.name}: {option.expects}{required}{default}")]
        lines += textwrap.wrap(option.about, WIDTH, initial_indent="    ", subsequent_indent="    ")
        parts.append("\n".join([textwrap.fill(lines[0], WIDTH, subsequent_indent="  "), *lines[1:]]))
    return "\n".join(parts)


def catalogue_text(entries: Sequence[Entry]) -> str:
    """What `factory ls` prints."""
    wide = max(len(entry.name) for entry in entries)
    lines = (f"{entry.kind:<7} {entry.name:<{wide}}  {entry.summary}" for entry in entries)
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent=" " * (wide + 10)) for line in lines)
