"""CSV and TSV results of a spool of JSON lines: texts as they are, all else as JSON, nothing for null."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from factory.datasets_io.cell_chunks import delimiter_of
from factory.datasets_io.parquet import text_safe, to_json
from factory.filtering.kept import Filed
from factory.filtering.lines import fields_in, filed_in

FIELDS = "fields"


def write_cells(way: str, spool: Path, path: Path, form: str) -> None:
    """Write the rows of a spool; the columns are all those that any row has, in the order in which they appear."""
    if way == "filed":
        _write(path, form, [*Filed.__struct_fields__, FIELDS], filed_in(spool))
    else:
        names = dict.fromkeys(name for row in fields_in(spool) for name in row)
        _write(path, form, list(names), fields_in(spool))


def _write(path: Path, form: str, names: list[str], rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter_of(form), lineterminator="\n")
        writer.writerow(map(text_safe, names))
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return text_safe(value) if isinstance(value, str) else to_json(value)
