"""Two runs by lineage: which kept rows stay, enter and leave, and what had turned them away.

The same as `factory.comparison`, whose rules it follows, over two indexes instead of dictionaries of all records: a row
is told by the verdict on itself or on the nearest record that it was made from.
"""

from __future__ import annotations

import zlib
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np

from factory.viewing.batches import KEPT, REJECTED
from factory.viewing.index import Columns, Index, Ints
from factory.viewing.lineage import line
from factory.viewing.pages import LIST_CHARS, PAGE_ROWS

SIDES = ("enter", "leave", "changed", "stay")
MOST_TOLD = 20_000


class Compared:
    """The rows of `old` against those of `new`."""

    def __init__(self, old: Index, new: Index) -> None:
        """Nothing is compared yet."""
        self.old, self.new = old, new
        self._old, self._new = old.columns(), new.columns()

    @cached_property
    def rows(self) -> dict[str, Ints]:
        """Rows of each side: of the old run for those that leave, else of the new one."""
        before, after = _kept(self._old), _kept(self._new)
        stays = np.isin(self._new.keys[after], self._old.keys[before])
        stay = after[stays]
        twins = self._old.rows_of(self._new.keys[stay])
        changed = [
            int(row) for row, twin in zip(stay, twins, strict=True) if _said(self.new, row) != _said(self.old, twin)
        ]
        return {
            "enter": after[~stays],
            "leave": before[~np.isin(self._old.keys[before], self._new.keys[after])],
            "changed": np.array(changed, np.int64),
            "stay": stay,
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """How many rows there are on each side, and why those enter and leave, the most frequent reason first."""
        why = {side: self._reasons(side) for side in ("enter", "leave")}
        return {"counts": {side: len(self.rows[side]) for side in SIDES}, "why": why, "told": MOST_TOLD}

    def _reasons(self, side: str) -> list[list[Any]]:
        told = Counter(self._told(side, int(row)) for row in self.rows[side][:MOST_TOLD])
        return [[reason, count] for reason, count in told.most_common()]

    def page(self, side: str, offset: int) -> dict[str, Any]:
        """Some rows of a side, each with the verdict of the other run."""
        rows = self.rows[side]
        of = self.old if side == "leave" else self.new
        shown = []
        for row in rows[offset : offset + PAGE_ROWS].tolist():
            one = line(of, of.columns(), row, width=LIST_CHARS)
            one["told"] = self._told(side, row) if side in ("enter", "leave") else ""
            if side == "changed":
                twin = int(self._old.rows_of(self._new.keys[[row]])[0])
                one["before"] = line(self.old, self._old, twin, width=LIST_CHARS)["text"]
            shown.append(one)
        return {"rows": shown, "offset": offset, "total": len(rows), "done": True, "share": 1.0}

    def _told(self, side: str, row: int) -> str:
        """What the other run says of a row, as `step: rule: reason`; empty where it says nothing."""
        mine, other = (self._old, self._new) if side == "leave" else (self._new, self._old)
        todo = [int(mine.keys[row])]
        seen = set(todo)
        for key in todo:
            verdict = _verdict(other, key)
            if verdict:
                return verdict
            own = mine.row_of(key)
            fresh = [int(parent) for parent in mine.parents_of(own)] if own >= 0 else []
            todo += [parent for parent in dict.fromkeys(fresh) if parent not in seen]
            seen.update(fresh)
        return ""


def _kept(columns: Columns) -> Ints:
    return np.flatnonzero(columns.states == KEPT)


def _verdict(columns: Columns, key: int) -> str:
    row = columns.row_of(key)
    if row < 0 or columns.states[row] != REJECTED:
        return ""
    return "{}: {}: {}".format(*columns.reason_names[int(columns.reasons[row])])


def _said(index: Index, row: int) -> int:
    """Hash of what a row says."""
    return zlib.crc32(index.text(int(row)).encode("utf-8", "replace"))
