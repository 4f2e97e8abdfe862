"""What models of codes refuse: a table without rows, and free text.

check(table, "tvae")  -> UserError: tvae: free text in 'review', which only `great` can learn; …
"""

from __future__ import annotations

from factory.errors import UserError
from factory.tables.column import WRITTEN
from factory.tables.schema import Table


def check(table: Table, method: str) -> None:
    """Refuse what a model of codes cannot learn.

    Raises:
        UserError: If the table has no rows, or a column of free text.
    """
    if not table.rows:
        raise UserError(f"{method}: the table has no rows to learn from; give at least one.")
    written = [column.name for column in table.schema.learned if column.kind in WRITTEN]
    if written:
        named = ", ".join(f"'{name}'" for name in written)
        raise UserError(
            f"{method}: free text in {named}, which only `great` can learn; "
            f"use `great`, or leave the column out of the table."
        )
