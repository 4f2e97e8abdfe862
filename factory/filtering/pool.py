"""`--against`: texts that count as kept before the first row is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from factory.datasets_io.chunks import Broken, text_of
from factory.datasets_io.inputs import find_input
from factory.errors import OptionError, SourceError, UserError
from factory.filtering.chain import Chain
from factory.recipe.columns import require


def add_pool(chain: Chain, pools: Sequence[Path]) -> list[str]:
    """Hand the rows of all pools to the filters, as kept ones.

    Returns:
        A warning for each pool with rows that have no text to compare.

    Raises:
        UserError: If no filter remembers rows.
        SourceError: If a pool cannot be read, or lacks a column that is compared.
    """
    if pools and not any(getattr(link.sift, "remembers", True) for link in chain.links):
        raise UserError(
            f"--against: no filter that is given compares rows with each other ({', '.join(chain.names)}); add one such "
            "as --rouge-l 0.7, or leave it out."
        )
    found = (_add(chain, pool) for pool in pools)
    return [warning for warning in found if warning is not None]


def _add(chain: Chain, pool: Path) -> str | None:
    unusable = read = 0
    for chunk in find_input([str(pool)]).chunks():
        if read == 0:
            _check_columns(chain, pool, chunk.columns())
        rows = [
            row
            for row in chunk.rows(chain.needed)
            if not isinstance(row, Broken) and all(text_of(row, name) is None for name in chain.fields)
        ]
        chain.restore(rows, [None] * len(rows))
        read += len(chunk)
        unusable += len(chunk) - len(rows)
    if not read:
        raise SourceError(f"{pool}: has no rows to compare with; expected at least one.")
    return f"{pool}: {unusable:,} of {read:,} rows have no text to compare with." if unusable else None


def _check_columns(chain: Chain, pool: Path, columns: Sequence[str]) -> None:
    for name in chain.fields:
        try:
            require("field", name, set(columns))
        except OptionError as error:
            raise SourceError(f"{pool}: {error}") from error
