"""Requests of the page and their answers, as JSON values; HTTP is `server`'s matter.

    Answers(desk, marks).get("records", {"q": "rivers", "state": "kept"})  ->  {"rows": […], "total": 12, "done": True}

Nothing that a request holds becomes a path: records are named by id, everything else by words that are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.viewing.batches import key_of
from factory.viewing.comparing import SIDES, Compared
from factory.viewing.desk import Desk, Shelf, named
from factory.viewing.lineage import line, story
from factory.viewing.marks import MARKS, Mark, Marks, as_csv, as_jsonl
from factory.viewing.pages import LIST_CHARS, Wanted, page
from factory.viewing.search import MOST_CHARS
from factory.viewing.thresholds import Rule, command, histogram, what_if

Query = dict[str, str]
SHORTEST_ID = 4


class Answers:
    """Answers for one run, and another one to compare it with."""

    def __init__(self, desk: Desk, marks: Marks, *, writable: bool, other: Desk | None = None) -> None:
        """Keep what is asked about.

        Args:
            desk: The run.
            marks: Its marks.
            writable: Whether marks may be added.
            other: A run to compare with, which counts as the newer one.
        """
        self._desk, self._marks, self._other = desk, marks, other
        self.writable = writable
        self._compared: tuple[tuple[int, int], Compared] | None = None
        self._routes: dict[str, Callable[[Query], dict[str, Any]]] = {
            "run": self._run,
            "records": self._records,
            "record": self._record,
            "rules": self._rules,
            "threshold": self._threshold,
            "compare": self._compare,
        }

    def get(self, name: str, query: Query) -> dict[str, Any] | None:
        """The answer to a question; None where there is no such question.

        Raises:
            FactoryError: With the sentence to show.
        """
        route = self._routes.get(name)
        return None if route is None else route(query)

    # --- records ------------------------------------------------------------------------------------------------------

    def _run(self, query: Query) -> dict[str, Any]:
        state = self._desk.state()
        marks = self._marks.all()
        other = None
        if self._other is not None:
            told = self._other.state()
            other = {"name": told["name"], "folder": told["folder"], "done": told["indexing"]["done"],
                     "problems": told["problems"], "not_private": told["not_private"]}  # fmt: skip
        return {
            **state,
            "marks": {mark: sum(one.mark == mark for one in marks.values()) for mark in MARKS},
            "marks_writable": self.writable,
            "marks_broken": self._marks.broken,
            "other": other,
        }

    def _records(self, query: Query) -> dict[str, Any]:
        text = query.get("q", "")
        if len(text) > MOST_CHARS:
            raise UserError(f"the search has {len(text):,} characters; it may have {MOST_CHARS:,}.")
        wanted = Wanted(
            query=text,
            **{name: query.get(name, "") for name in ("state", "step", "reason", "mark", "measure")},
            low=_number(query, "low"),
            high=_number(query, "high"),
            sort=query.get("sort", "") or "order",
        )
        shelf, marks = self._desk.shelf, self._marks.all()
        search = self._desk.search(shelf, text) if text else None
        found = page(shelf.index, search, wanted, _keys(marks), _count(query, "offset"))
        return {**self._with_marks(found, marks), "generation": shelf.generation}

    def _with_marks(self, found: dict[str, Any], marks: dict[str, Mark]) -> dict[str, Any]:
        said = {f"{key_of(name):016x}": mark.mark for name, mark in marks.items()}
        for row in found["rows"]:
            row["mark"] = said.get(row["key"])
        return found

    def _record(self, query: Query) -> dict[str, Any]:
        desk = self._other if query.get("of") == "other" and self._other is not None else self._desk
        shelf = desk.shelf
        told = story(shelf.index, shelf.reader, desk.directory.journal, _row(desk, shelf, query))
        mark = self._marks.all().get(told["id"])
        return {**told, "mark": None if mark is None else {"mark": mark.mark, "note": mark.note, "at": mark.at}}

    # --- thresholds ---------------------------------------------------------------------------------------------------

    def _rules(self, query: Query) -> dict[str, Any]:
        shelf = self._desk.shelf
        found = self._desk.rules(shelf)
        told = []
        for rule in found:
            scores = self._desk.rescorer(shelf).scores(rule)
            told.append({**_told(rule), "rejected": len(scores.rejected)})
        return {"rules": told, "generation": shelf.generation}

    def _threshold(self, query: Query) -> dict[str, Any]:
        shelf = self._desk.shelf
        columns = shelf.index.columns()
        rule = next((one for one in self._desk.rules(shelf) if one.key == query.get("rule")), None)
        if rule is None:
            raise UserError("this rule has turned no row away by a score; take one of the list.")
        scores = self._desk.rescorer(shelf).scores(rule)
        at = _number(query, "at")
        found = what_if(rule, scores, rule.threshold if at is None else at)
        for side in ("passing", "failing"):
            found[side] = [
                {**line(shelf.index, columns, row, width=LIST_CHARS), "score": score} for row, score in found[side]
            ]
        return {
            **found,
            "rule": _told(rule),
            "histogram": histogram(rule, scores),
            "note": scores.note,
            "known": scores.known,
            "working": scores.working,
            "was": {"kept": len(scores.kept), "rejected": len(scores.rejected)},
            "command": command(rule, str(self._desk.directory.path), found["at"]),
        }

    # --- another run --------------------------------------------------------------------------------------------------

    def _compare(self, query: Query) -> dict[str, Any]:
        if self._other is None:
            raise UserError("there is no run to compare with; start 'factory view' with --compare OTHER.")
        old, new = self._desk.shelf, self._other.shelf
        if not (old.done and new.done):
            return {"working": True}
        stamp = (old.generation, new.generation)
        if self._compared is None or self._compared[0] != stamp or old.live or new.live:
            self._compared = (stamp, Compared(old.index, new.index))
        compared = self._compared[1]
        side = query.get("side", "") or "leave"
        if side not in SIDES:
            raise UserError(f"no side is called '{side[:40]}'; expected one of {', '.join(SIDES)}.")
        return {**compared.page(side, _count(query, "offset")), "side": side, **compared.summary, "working": False}

    # --- marks --------------------------------------------------------------------------------------------------------

    def mark(self, said: dict[str, Any]) -> dict[str, Any]:
        """Add a mark.

        Raises:
            UserError: If marks may not be added, or this is none.
        """
        if not self.writable:
            raise UserError("this page is read-only; start 'factory view' with --marks to mark records.")
        if not isinstance(said.get("id"), str) or not isinstance(said.get("note", ""), str):
            raise UserError("a mark needs the id of a record, and its note must be a text.")
        mark = said.get("mark")
        if mark is not None and not isinstance(mark, str):
            raise UserError(f"no such mark; expected {' or '.join(MARKS)}, or null to take it back.")
        shelf = self._desk.shelf
        record = shelf.reader.row(_row(self._desk, shelf, {"id": said["id"]}))
        self._marks.add(record["id"], mark, said.get("note", ""))
        return {"id": record["id"], "mark": mark}

    def marked(self, form: str) -> str:
        """All marks with their records, as `jsonl` or `csv`."""
        return exported(self._desk, self._marks, form)


def exported(desk: Desk, marks: Marks, form: str) -> str:
    """All marks of a run with their records.

    Args:
        desk: The run; it must be indexed.
        marks: Its marks.
        form: `jsonl` or `csv`.
    """
    shelf = desk.shelf
    rows: list[tuple[Mark, dict[str, Any] | None]] = []
    for mark in marks.all().values():
        row = shelf.index.columns().row_of(key_of(mark.id))
        rows.append((mark, shelf.reader.row(row) if row >= 0 else None))
    return as_csv(rows) if form == "csv" else as_jsonl(rows)


def _told(rule: Rule) -> dict[str, Any]:
    names = ("key", "step", "method", "rule", "reason", "threshold", "varied", "at_most", "at_equal")
    return {name: getattr(rule, name) for name in names}


def _keys(marks: dict[str, Mark]) -> dict[str, npt.NDArray[np.uint64]]:
    return {
        mark: np.array([key_of(name) for name, one in marks.items() if one.mark == mark], np.uint64) for mark in MARKS
    }


def _row(desk: Desk, shelf: Shelf, query: Query) -> int:
    """The row of a record that is named by `key`, or by `id` or the only beginning of one."""
    columns = shelf.index.columns()
    name = query.get("id", "")
    key = query.get("key", "")
    if key:
        row = columns.row_of(int(key, 16)) if len(key) <= 16 and key.isascii() and key.isalnum() and _hex(key) else -1
    else:
        row = columns.row_of(key_of(name)) if name else -1
    if row < 0 and SHORTEST_ID <= len(name) < 16 and _hex(name):
        shift = np.uint64(4 * (16 - len(name)))
        rows = np.flatnonzero(columns.keys >> shift == np.uint64(int(name, 16)))
        distinct = np.unique(columns.keys[rows])
        if len(distinct) > 1:
            raise UserError(f"{len(distinct):,} records begin with '{name}'; give more digits.")
        row = int(rows[0]) if len(rows) else -1
    if row < 0:
        raise named(desk, key or name)
    return row


def _hex(text: str) -> bool:
    return bool(text) and all(digit in "0123456789abcdef" for digit in text)


def _number(query: Query, name: str) -> float | None:
    given = query.get(name, "")
    if not given:
        return None
    try:
        number = float(given)
    except ValueError as error:
        raise UserError(f"{name}: expected a number, found '{given[:40]}'.") from error
    if not math.isfinite(number):
        raise UserError(f"{name}: expected a finite number, found '{given[:40]}'.")
    return number


def _count(query: Query, name: str) -> int:
    given = query.get(name, "") or "0"
    if not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise UserError(f"{name}: expected a whole number, found '{given[:40]}'.")
    return int(given)
