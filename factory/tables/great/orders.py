"""In which order a row's columns are written: fresh each time it is read, or always the same.

Random orders let a model be asked for any columns given any others (GReaT, section 3.2), at a price: a column is often
written before the one that decides it (Xu et al., 2406.14541). `determining_order` puts those first that tell most about
the others, for tables that are drawn from the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.tables.schema import Table

GROUPS = 16
_Codes = npt.NDArray[np.int64]


def generator(seed: int, *place: int) -> np.random.Generator:
    """A generator that depends on the seed and on a place (an epoch, a row) alone."""
    return np.random.default_rng([seed % 2**64, *place])


class Orders:
    """Column orders of rows.

    Args:
        names: Learned columns.
        fixed: The order of every row; None for a fresh one each time.
        seed: Decides fresh orders.
    """

    def __init__(self, names: Sequence[str], fixed: Sequence[str] | None, seed: int) -> None:
        """Check a fixed order.

        Raises:
            UserError: If it is not one of all columns.
        """
        self._names, self._seed = list(names), seed
        self.fixed = list(fixed) if fixed is not None else None
        if self.fixed is not None and sorted(self.fixed) != sorted(self._names):
            odd = sorted(set(self.fixed) ^ set(self._names)) or self.fixed
            raise UserError(f"great.order: expected every column once; look at {', '.join(map(repr, odd[:5]))}.")

    def of(self, epoch: int, row: int) -> list[str]:
        """The order of a row in an epoch."""
        if self.fixed is not None:
            return self.fixed
        return [self._names[at] for at in generator(self._seed, 1, epoch, row).permutation(len(self._names))]


def chosen_order(order: str | tuple[str, ...], table: Table) -> list[str] | None:
    """The fixed order that a setting stands for; None for random ones."""
    if order == "random":
        return None
    return determining_order(table) if isinstance(order, str) else list(order)


def determining_order(table: Table) -> list[str]:
    """Columns by how much they tell about the others, most first; free text last.

    A column's score is the sum over the others of I(column; other) / H(other), the share of the other's entropy that it
    removes. Numbers and dates count by quantiles, categories by the 15 most frequent and the rest, so that a column of
    (nearly) unique values does not seem to decide everything. Ties keep the table's order.
    """
    columns = [column for column in table.schema.learned if column.kind != "text"]
    groups = [_groups(table, column.name) for column in columns]
    scores = [sum(_share(one, other) for other in groups if other is not one) for one in groups]
    ranked = sorted(range(len(columns)), key=lambda at: -scores[at])
    return [columns[at].name for at in ranked] + [each.name for each in table.schema.learned if each.kind == "text"]


def _groups(table: Table, name: str) -> _Codes:
    """Each row's group of a column, in [0, 16]; 16 where the cell is missing."""
    cells = table.cells[name]
    column = table.schema.named[name]
    if column.kind in ("category", "boolean"):
        frequent = {cell: at for at, (cell, _) in enumerate(Counter(cells).most_common(GROUPS - 1)) if cell is not None}
        return np.array([GROUPS if cell is None else frequent.get(cell, GROUPS - 1) for cell in cells], dtype=np.int64)
    known = sorted(cell for cell in cells if isinstance(cell, int))
    edges = sorted({known[len(known) * at // GROUPS] for at in range(1, GROUPS)}) if known else []
    from bisect import bisect_right

    return np.array([bisect_right(edges, cell) if isinstance(cell, int) else GROUPS for cell in cells], dtype=np.int64)


def _share(one: _Codes, other: _Codes) -> float:
    entropy = _entropy(other)
    joint = _entropy(one * (GROUPS + 1) + other)
    return (_entropy(one) + entropy - joint) / entropy if entropy > 0 else 0.0


def _entropy(codes: _Codes) -> float:
    counts = np.bincount(codes)
    shares = counts[counts > 0] / max(1, len(codes))
    return float(-(shares * np.log(shares)).sum())
