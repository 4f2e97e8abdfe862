"""Keep the first of rows whose text is the same, by a hash of 16 bytes.

    {"instruction": "Name three rivers."}     kept
    {"instruction": "name three  rivers."}    kept; with `normalize: whitespace+case` rejected: duplicate

The first text itself is not kept: the evidence is the text as it was compared, which both have. Several columns are compared together. A value that
is no text (a number, a list) is compared as JSON writes it. A row without any text in the columns is kept: there is
nothing to compare.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from factory.context import Context
from factory.context.sifting import Row, Sift, sifted
from factory.novelty.duplicates import DuplicatePool, Normalize, normalized
from factory.recipe.columns import Columns, listed, require
from factory.recipe.schema import StepOptions
from factory.records import Outcome, Record, Verdict

SHOWN_CHARS = 200


class Options(StepOptions):
    """Options of the `exact` filter.

    Attributes:
        field: Column that is compared, or a list of columns that must all be equal.
        normalize: `whitespace+case` ignores case, white space and compatibility forms (NFKC); `none` compares bytes.
    """

    field: Columns = "instruction"
    normalize: Normalize = "none"


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If a compared column is not among them.
    """
    for name in listed(options.field):
        require("field", name, incoming)
    return incoming


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin."""
    return _Exact(options)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Compare each record with those before it."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


class _Exact:
    """The hashes of what was seen."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._columns = listed(options.field)
        self._pool = DuplicatePool(options.normalize)

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        return [self._judged(row) for row in rows]

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        # A duplicate changes nothing but the count of rows, so whether a row was kept need not be asked.
        for row in rows:
            self._judged(row)

    def _judged(self, row: Row) -> Verdict | None:
        parts = [_part(row.get(name)) for name in self._columns]
        if not any(part.strip() for part in parts):
            self._pool.skip()
            return None
        first = self._pool.add(parts)
        if first is None:
            return None
        text = " | ".join(normalized(part, self._options.normalize) for part in parts)
        evidence = f"{text[:SHOWN_CHARS]}{'…' if len(text) > SHOWN_CHARS else ''}"
        return Verdict(keep=False, rule="exact", reason="duplicate", evidence=evidence)


def _part(value: Any) -> str:
    """What is hashed of a value; "" of one that is missing or null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
