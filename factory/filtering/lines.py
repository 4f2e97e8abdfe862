"""Rows of a spool of JSON lines, read back when the result is of another format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from factory.datasets_io.line_chunks import parsed
from factory.filtering.kept import Filed

_FIELDS = b',"fields":'  # inside a text the quotes would be escaped, so the first one is the key
_filed = msgspec.json.Decoder(Filed).decode


def fields_in(spool: Path) -> Iterator[dict[str, Any]]:
    """Columns of the kept rows."""
    with spool.open("rb") as lines:
        for line in lines:
            row = parsed(line)
            yield row if isinstance(row, dict) else json.loads(line)


def filed_in(spool: Path) -> Iterator[dict[str, Any]]:
    """Rejected rows, with their columns as JSON text; None where a row has none."""
    with spool.open("rb") as lines:
        for line in lines:
            said, _, fields = line.partition(_FIELDS)
            text = fields[:-2].decode("utf-8")
            yield {**msgspec.structs.asdict(_filed(said + b"}")), "fields": None if text == "null" else text}
