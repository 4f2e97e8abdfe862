"""Marks that people give records: good, bad, a note. One line of JSON is appended for each, and nothing else is written.

    {"id": "530fc88ec2223e47e73f", "mark": "good", "note": "", "at": "2026-01-31T12:00:00+00:00"}

`marks.jsonl` lies in the run directory, beside `data/`, never in it. The last line about a record counts; a mark of null
takes it back. A line that a crash has cut is passed over, and said.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from factory.errors import DiskError, UserError
from factory.viewing.texts import value_text

FILE = "marks.jsonl"
MARKS = ("good", "bad")
MOST_NOTE = 2000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class Mark:
    """What somebody said of a record."""

    id: str
    mark: str
    note: str
    at: str


class Marks:
    """The marks of one run directory; reads again what other processes append."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.path = folder / FILE
        self.broken = 0
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._marks: dict[str, Mark] = {}

    def all(self) -> dict[str, Mark]:
        """The mark of every record that has one, by id.

        Raises:
            UserError: If the file cannot be read.
        """
        with self._lock:
            return dict(self._read())

    def _read(self) -> dict[str, Mark]:
        try:
            stat = self.path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if stamp != self._stamp:
                self._marks, self.broken = _parsed(self.path.read_bytes())
                self._stamp = stamp
        except FileNotFoundError:
            self._marks, self.broken, self._stamp = {}, 0, None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error}); put that right.") from error
        return self._marks

    def add(self, record_id: str, mark: str | None, note: str = "") -> None:
        """Append a mark; None takes back what was said before.

        Raises:
            UserError: If there is no such mark, or the note is too long.
            DiskError: If the file cannot be written.
        """
        if mark is not None and mark not in MARKS:
            raise UserError(f"no mark is called '{mark[:40]}'; expected {' or '.join(MARKS)}.")
        if len(note) > MOST_NOTE:
            raise UserError(f"the note has {len(note):,} characters; a note may have {MOST_NOTE:,}.")
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")  # noqa: UP017
        line = json.dumps({"id": record_id, "mark": mark, "note": note, "at": at}, ensure_ascii=True)
        with self._lock:
            self._append(line.encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            with self.path.open("ab+") as file:
                if file.tell() and _last_byte(file) != b"\n":
                    line = b"\n" + line  # a crash has cut the last one
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DiskError(
                f"{self.path}: the mark cannot be written ({error.strerror or error}); free some space, or make the "
                "folder writable."
            ) from error


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return bytes(file.read(1))


def _parsed(content: bytes) -> tuple[dict[str, Mark], int]:
    """Marks by id, and how many lines are none."""
    found: dict[str, Mark] = {}
    broken = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            mark = Mark(str(said["id"]), said["mark"], str(said.get("note") or ""), str(said.get("at") or ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            broken += 1
            continue
        found.pop(mark.id, None)
        if mark.mark in MARKS:
            found[mark.id] = mark
    return found, broken


def as_jsonl(rows: list[tuple[Mark, dict[str, Any] | None]]) -> str:
    """Marks as JSON Lines, each with its record, or null where the run has none of that id any more."""
    return "".join(
        json.dumps({**_said(mark), "state": (record or {}).get("state"), "fields": (record or {}).get("fields")},
                   ensure_ascii=False, default=str) + "\n"
        for mark, record in rows
    )  # fmt: skip


def as_csv(rows: list[tuple[Mark, dict[str, Any] | None]]) -> str:
    """Marks as CSV, with a column for each field; cells that a spreadsheet would run as formulas begin with a quote."""
    names = list(dict.fromkeys(name for _, record in rows if record for name in record["fields"]))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_safe(cell) for cell in ("id", "mark", "note", "at", "state", *names)])
    for mark, record in rows:
        fields = (record or {}).get("fields") or {}
        cells = [*_said(mark).values(), (record or {}).get("state") or "", *(value_text(fields.get(n)) for n in names)]
        writer.writerow([_safe(cell) for cell in cells])
    return out.getvalue()


def _said(mark: Mark) -> dict[str, str]:
    return {"id": mark.id, "mark": mark.mark, "note": mark.note, "at": mark.at}


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
