"""The text by which a record is searched and shown: its fields, one behind the other, and its folded form.

    fields_text({"instruction": "Name a river.", "n": 3})  ->  "Name a river.␟3"
    fold("Straße ÉTÉ") == fold("STRAẞE été")               ->  True

Folding is what makes a search blind to case: NFC, then upper, then lower case, each by Arrow's tables, for the query
as for the texts.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BETWEEN = "\x1f"
"""Stands between two fields, so that no hit spans them."""


def value_text(value: Any) -> str:
    """A field as text: "" for null, lists of texts one behind the other, everything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return BETWEEN.join(value)
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str)


def fields_text(fields: dict[str, Any]) -> str:
    """All fields of a record, as they are searched."""
    return BETWEEN.join(value_text(value) for value in fields.values())


def column_texts(column: Any) -> Any:
    """A column of a Parquet file as texts: what `value_text` gives for each value, in Arrow: [rows]."""
    kind = column.type
    if pa.types.is_list(kind):
        text = pc.binary_join(column, BETWEEN)
    elif pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        text = column.cast(pa.string())
    else:
        text = pa.array([value_text(value) for value in column.to_pylist()], pa.string())
    return pc.fill_null(text, "")


def folded(texts: Any) -> Any:
    """Texts without a difference of case or of composed letters: [rows]."""
    if pc.all(pc.string_is_ascii(texts)).as_py() is not False:
        return pc.ascii_lower(texts)
    return pc.utf8_lower(pc.utf8_upper(pc.utf8_normalize(texts, "NFC")))


def fold(text: str) -> str:
    """One text, folded as all are."""
    return str(folded(pa.array([text], pa.string()))[0].as_py())
