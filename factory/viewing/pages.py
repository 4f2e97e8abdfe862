"""One page of a list: which rows the filters leave, in which order, and how many there are.

    page(index, search, Wanted(state="rejected", reason="rouge_l: too_similar", sort="down"), marked, offset=0)

Filters are masks over the index's arrays, so a page of a million rows takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.recipe.suggest import did_you_mean
from factory.viewing.batches import STATES
from factory.viewing.index import Columns, Floats, Index, Ints
from factory.viewing.lineage import line
from factory.viewing.search import Search

PAGE_ROWS = 50
LIST_CHARS = 280
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What a list shows.

    Attributes:
        query: Text to find; empty for all.
        state: A state, or empty for all.
        step: A step, or empty.
        reason: `rule: reason` of a verdict, or empty.
        mark: `good`, `bad`, `any`, `none`, or empty for no filter.
        measure: Numeric column that `low`, `high` and `sort` speak of; empty for the verdict's score.
        low: Least value that is shown; None for no limit. Rows without a value are not shown where there is one.
        high: Greatest value.
        sort: `order`, `up` or `down`; rows without a value come last.
    """

    query: str = ""
    state: str = ""
    step: str = ""
    reason: str = ""
    mark: str = ""
    measure: str = ""
    low: float | None = None
    high: float | None = None
    sort: str = "order"


def values(columns: Columns, measure: str) -> Floats:
    """The numbers that a list is filtered and ordered by: [rows].

    Raises:
        UserError: If no column has that name.
    """
    if not measure:
        return columns.scores
    if measure not in columns.measures:
        known = did_you_mean(measure, columns.measures)
        raise UserError(f"no numeric column is called '{measure[:60]}'{known}; take one of the list.")
    return columns.measures[measure]


def mask(columns: Columns, wanted: Wanted, marked: dict[str, npt.NDArray[np.uint64]]) -> Mask:
    """Which rows the filters leave, the query aside: [rows]."""
    found = np.ones(len(columns), bool)
    if wanted.state:
        if wanted.state not in STATES:
            raise UserError(f"no state is called '{wanted.state[:40]}'; expected one of {', '.join(STATES)}.")
        found &= columns.states == STATES.index(wanted.state)
    if wanted.step:
        codes = [code for code, name in enumerate(columns.step_names) if name == wanted.step]
        found &= np.isin(columns.steps, codes)
    if wanted.reason:
        names = enumerate(columns.reason_names)
        found &= np.isin(columns.reasons, [code for code, one in names if f"{one[1]}: {one[2]}" == wanted.reason])
    if wanted.low is not None or wanted.high is not None:
        numbers = values(columns, wanted.measure)
        found &= (numbers >= (-np.inf if wanted.low is None else wanted.low)) & (
            numbers <= (np.inf if wanted.high is None else wanted.high)
        )
    return found & _by_mark(columns, wanted.mark, marked) if wanted.mark else found


def _by_mark(columns: Columns, mark: str, marked: dict[str, npt.NDArray[np.uint64]]) -> Mask:
    every = np.concatenate([*marked.values(), np.zeros(0, np.uint64)]).astype(np.uint64)
    if mark == "none":
        return ~np.isin(columns.keys, every)
    return np.isin(columns.keys, every if mark == "any" else marked.get(mark, np.zeros(0, np.uint64)))


def page(
    index: Index, search: Search | None, wanted: Wanted, marked: dict[str, npt.NDArray[np.uint64]], offset: int
) -> dict[str, Any]:
    """Rows `offset` to `offset + PAGE_ROWS` of a list.

    Returns:
        The rows, how many there are (so far, where `done` is false: ask again for the rest), and the share read.
    """
    columns = index.columns()
    left = mask(columns, wanted, marked)
    if search is None:
        rows = np.flatnonzero(left)
    else:
        needed = offset + PAGE_ROWS + 1
        ordered = wanted.sort != "order"
        hits = search.reach(lambda found: not ordered and int(_kept(left, found).sum()) >= needed)
        hits = hits[hits < len(columns)]
        rows = hits[left[hits]]
    rows = _sorted(rows, columns, wanted)
    shown = rows[offset : offset + PAGE_ROWS]
    return {
        "rows": [_row(index, columns, int(row), wanted) for row in shown],
        "offset": offset,
        "total": len(rows),
        "done": search is None or search.done,
        "share": 1.0 if search is None else search.share,
    }


def _kept(left: Mask, hits: Ints) -> Mask:
    return left[hits[hits < len(left)]]


def _row(index: Index, columns: Columns, row: int, wanted: Wanted) -> dict[str, Any]:
    shown = line(index, columns, row, wanted.query, LIST_CHARS)
    if wanted.measure:
        value = float(values(columns, wanted.measure)[row])
        shown["value"] = None if np.isnan(value) else value
    return shown


def _sorted(rows: Ints, columns: Columns, wanted: Wanted) -> Ints:
    if wanted.sort == "order":
        return rows
    if wanted.sort not in ("up", "down"):
        raise UserError(f"no order is called '{wanted.sort[:40]}'; expected order, up or down.")
    numbers = values(columns, wanted.measure)[rows]
    return rows[np.argsort(numbers if wanted.sort == "up" else -numbers, kind="stable")]
