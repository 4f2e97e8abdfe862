"""What the data files say of themselves: columns, rows, bytes, and a few rows to show.

shape(Path("runs/quickstart/data")).rows  ->  31
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.datasets_io.parquet import damaged, read_shards, to_json
from factory.datasets_io.rows import RESERVED
from factory.manifest import file_hash

EXAMPLES = 2
LONGEST_VALUE = 400  # characters of a value in an example
SHOWN_COLUMNS = 24
WIDTH, INDENT = 88, "    "


@dataclass(frozen=True)
class Shape:
    """Facts of the shards of a dataset.

    Attributes:
        schema: Columns and their types; the same in all shards.
        rows: In all shards.
        file_bytes: Size of the files.
        plain_bytes: Size of their content before compression.
        digest: Hash of the content of all files.
        examples: The first rows as text, long values cut.
    """

    schema: pa.Schema
    rows: int
    file_bytes: int
    plain_bytes: int
    digest: str
    examples: list[str]


def shape(data: Path) -> Shape:
    """Read it from the footers of the files, and a few rows.

    Raises:
        RunDirError: If a file is damaged.
    """
    rows = plain_bytes = file_bytes = 0
    schema = pa.schema([])
    for path in sorted(data.glob("*.parquet")):
        try:
            footer = pq.read_metadata(path)
            schema = footer.schema.to_arrow_schema()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error
        rows += footer.num_rows
        plain_bytes += sum(footer.row_group(index).total_byte_size for index in range(footer.num_row_groups))
        file_bytes += path.stat().st_size
    found = [row for _, row in zip(range(EXAMPLES), read_shards(data), strict=False)]
    return Shape(schema, rows, file_bytes, plain_bytes, file_hash(data), [_example(row) for row in found])


def own_columns(schema: pa.Schema) -> list[str]:
    """Columns of the task, without those that every dataset of the factory has."""
    return [name for name in schema.names if name not in RESERVED]


def _example(row: dict[str, Any]) -> str:
    """A row as text that needs no scrolling: a short value beside its name, a long one below it."""
    fields = {name: value for name, value in row.items() if name not in RESERVED}
    names = list(fields)[:SHOWN_COLUMNS]
    lines = [line for name in names for line in _field(" ".join(name.split()), _shortened(fields[name]))]
    more = len(fields) - len(names)
    return "\n".join([*lines, *([f"… {more} more columns"] if more else [])])


def _field(name: str, text: str) -> list[str]:
    lines = [part for line in text.split("\n") for part in (textwrap.wrap(line, WIDTH - len(INDENT)) or [""])]
    if len(lines) == 1 and len(name) + len(lines[0]) + 2 <= WIDTH:
        return [f"{name}: {lines[0]}".rstrip()]
    return [f"{name}:", *(f"{INDENT}{line}".rstrip() for line in lines)]


def _shortened(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else to_json(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE].rstrip()} … ({len(text):,} characters)"


# --- for the header -----------------------------------------------------------------------------------


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns as `dataset_info` lists them.

    >>> features(pa.schema([("text", pa.string()), ("tags", pa.list_(pa.string()))]))
    [{'name': 'text', 'dtype': 'string'}, {'name': 'tags', 'list': 'string'}]
    """
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner["dtype"] if list(inner) == ["dtype"] else inner.get("struct", inner)}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind))}


def type_name(kind: pa.DataType) -> str:
    """A type in a word or two."""
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return names.get(str(kind), str(kind))
