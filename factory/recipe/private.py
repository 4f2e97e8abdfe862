"""Private texts that an option of a differentially private step names; nothing else may read them.

    data: {path: tickets.csv, text: body, label: kind, user: customer}

They never become records: a record is filed in `lineage/`, shown by `factory show` and pushed. What leaves a step is made
from what it learnt with noise. `size` says what may be known of how many there are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import Field

from factory.datasets_io.rows import CELL_FORMATS, read_rows
from factory.errors import OptionError, SourceError
from factory.privacy.accounting import rounded
from factory.privacy.ledger import Ledger, ledger_of
from factory.privacy.places import led_to, ledgers_near
from factory.recipe.labelled import Column, LabelledSource, label_value
from factory.recipe.suggest import did_you_mean
from factory.records import digest
from factory.resources import expanded

FEWEST_RECORDS = 2
PLAIN_NAME = r"[^\W\d][\w .-]{0,39}"


class PrivateText(msgspec.Struct, frozen=True):
    """A private text with its class, `""` where there are none."""

    text: str
    label: str


class PrivateSource(LabelledSource):
    """Where private texts lie.

    Attributes:
        path: File or folder, relative to the recipe or the working directory.
        text: Column of the text.
        label: Column of the class, where the step names labels.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV.
        values: Class for each value of the label column; without it the values are the classes.
        private: Whether the texts are private. Public ones, as for a benchmark, go through the same noise.
        size: Their number as far as it may be known: `rounded` down to two digits, `public` as it is, or a number that is
            known from elsewhere.
        user: Column that names whose text it is; one text of each is read, and a user is what is protected. Without it
            one record is. Texts that name nobody count as those of one user.
        ledger: File of the privacy ledger; beside the texts by default.
        again: Whether what the ledger has as paid already may be paid for once more.
    """

    private: bool = True
    size: Literal["rounded", "public"] | Annotated[int, Field(ge=FEWEST_RECORDS, strict=True)] = "rounded"
    user: Column | None = None
    ledger: str | None = None
    again: bool = False

    @property
    def unit(self) -> str:
        """What may be added or removed."""
        return "one record" if self.user is None else f"one user (column '{self.user}'), who has one text"

    def ledger_in(self, base: Path) -> Ledger:
        """The ledger of these texts.

        Raises:
            OptionError: If some of them have another one: what each knows would not be added up. Or if it is gone.
        """
        path = self.find(base)
        beside = ledger_of(path.resolve())  # one file has one ledger, whatever links lead to it
        chosen = led_to(beside if self.ledger is None else base / expanded(self.ledger)).resolve()
        known = [_there(mark) for mark in ledgers_near(path)]
        others = [ledger for ledger in dict.fromkeys(known) if ledger != chosen]
        if others and (self.ledger is None or chosen not in known):
            raise OptionError(
                "data.ledger",
                f"the texts of {self.path}, or some of them, have the ledger {others[0]}, so that what was spent before would "
                "not be added up; name that one.",
            )
        return Ledger(chosen, also=others, beside=None if chosen == beside else beside)

    def records(self, count: int) -> tuple[int, str]:
        """The number that is known, and how it comes to be known."""
        if isinstance(self.size, int):
            return self.size, "given"
        return (count, "public") if self.size == "public" else (rounded(count), "rounded")

    def texts(self, base: Path, labels: Sequence[str]) -> list[PrivateText]:
        """The texts; those without one are left out, each by itself, and nobody is told how many.

        Args:
            base: Folder that the path is relative to.
            labels: Classes that the step names; empty where it names none.

        Raises:
            OptionError: If the file cannot be read, lacks a column, or has a class that the step does not name.
        """
        try:
            return _one_of_each([*self._read(base, labels)])
        except SourceError as error:
            raise OptionError("data", str(error)) from error

    def _no_column(self, path: Path, column: str, names: list[str]) -> str:
        """What to do; without the names that are there where they may be a private row, taken for a header."""
        if path.suffix.lower() not in CELL_FORMATS or self.header is not None:
            return f"{path}: no column '{column}'{did_you_mean(column, names)}; the rows have {', '.join(names)}."
        plain = not self.private and all(re.fullmatch(PLAIN_NAME, name) for name in names)
        shown = f"; the rows have {', '.join(names)}" if plain else f" among the {len(names)} that its first line names"
        return (
            f"{path}: no column '{column}'{did_you_mean(column, names)}{shown}. If it begins without a header line, name its "
            "columns with 'data.header: [label, text]'."
        )

    def _read(self, base: Path, labels: Sequence[str]) -> list[tuple[str, PrivateText]]:
        path = self.find(base)
        found: list[tuple[str, PrivateText]] = []
        strange: Counter[str] = Counter()
        first = 0
        wanted = [self.text, *([self.label] if labels else []), *([self.user] if self.user else [])]
        for number, row in enumerate(read_rows(path, self.header, quotes=self.quotes)):
            for column in wanted:
                if column not in row:
                    raise SourceError(self._no_column(path, column, [*row]))
            text = str(row[self.text] if row[self.text] is not None else "")
            value = label_value(row[self.label]) if labels else ""
            label = self.values.get(value, value)
            if labels and label not in labels:
                strange[value] += 1
                first = first or number + 1
            elif text.strip():
                user = str(number) if self.user is None else label_value(row[self.user])  # without one: all as one user
                found.append((user, PrivateText(text, label)))
        if strange:
            shown = ", ".join(f"'{value}'" if value else "none" for value, _ in strange.most_common(5))
            shown = _unnamed(strange, first) if self.private else shown
            raise SourceError(
                f"{path}: the column '{self.label}' has classes that 'classes' does not name: {shown}; it names "
                f"{', '.join(labels)}. Name them, map them with 'data.values', or take these rows out of the file."
            )
        return found


def _unnamed(strange: Counter[str], first: int) -> str:
    """Classes that may not be repeated, as a text can stand where a class should."""
    values = len(strange) - ("" in strange)
    told = ["none"] * ("" in strange) + [f"{values:,} {'value' if values == 1 else 'values'}"] * (values > 0)
    return f"{' and '.join(told)}, first in row {first:,}"


def _there(mark: Path) -> Path:
    """The ledger that a mark beside private texts tells of.

    Raises:
        OptionError: If it is gone.
    """
    ledger = led_to(mark).resolve()
    if not ledger.is_file():
        raise OptionError(
            "data.ledger",
            f"{mark} says that the privacy ledger of these texts is {ledger}, which is not there, so that nobody can say what "
            "was spent; put it back there, or beside the texts in place of that file.",
        )
    return ledger


def _one_of_each(found: Sequence[tuple[str, PrivateText]]) -> list[PrivateText]:
    """One text of each user: the one whose hash comes first, whatever other users there are."""
    chosen: dict[str, PrivateText] = {}
    for user, text in found:
        known = chosen.get(user)
        if known is None or digest(user, text.text) < digest(user, known.text):
            chosen[user] = text
    return list(chosen.values())


def content_of(texts: Sequence[PrivateText]) -> str:
    """Digest of private texts, in any order; for the ledger and the journal, never for what is published."""
    return digest("private texts", sorted([text.label, text.text] for text in texts))
