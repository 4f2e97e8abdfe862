"""Labelled texts that an option names: what real texts look like, for grounding, discriminators and evaluations.

    real: {path: tweets.csv, text: tweet, label: sarcastic, values: {"1": sarcastic, "0": plain}}

gives `LabelledText(id="5f0c…", text="The only thing I got from college …", label="sarcastic")` and so on. The ids are
those that the source `rows` gives the same rows, so a text that served as a ground can be found again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field

from factory.datasets_io.rows import read_rows
from factory.errors import SourceError
from factory.recipe.schema import MayBePrivate
from factory.recipe.suggest import did_you_mean
from factory.records import source_id
from factory.resources import find

Column = Annotated[str, Field(min_length=1)]


class LabelledText(msgspec.Struct, frozen=True):
    """A text with its class.

    Attributes:
        id: Id of its row, as the source `rows` gives it.
        text: The text, not empty.
        label: Name of the class.
    """

    id: str
    text: str
    label: str


class LabelledSource(MayBePrivate):
    """Where labelled texts lie.

    Attributes:
        path: File or folder, relative to the recipe or the working directory.
        text: Column of the text.
        label: Column of the class.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV.
        values: Class for each value of the label column; without it the values are the classes.
        private: Whether nobody may see the texts; only differentially private methods may read those.
    """

    path: str
    text: Column = "text"
    label: Column = "label"
    header: tuple[Column, ...] | None = None
    quotes: bool = True
    values: dict[str, str] = Field(default={})
    private: bool = False

    def find(self, base: Path) -> Path:
        """The file or folder.

        Raises:
            SourceError: If there is none.
        """
        found = find(self.path, base)
        if found is None:
            raise SourceError(
                f"{self.path}: no such file or folder (looked beside the recipe and in the working directory)."
            )
        return found

    def read(self, base: Path, say: Callable[[str], None] | None = None) -> list[LabelledText]:
        """All texts; rows whose text is empty or missing are left out, which `say` is told.

        Raises:
            SourceError: If the file cannot be read, lacks a column, or has a label that `values` does not name.
        """
        path = self.find(base)
        seen: Counter[str] = Counter()
        texts: list[LabelledText] = []
        strange: Counter[str] = Counter()
        empty = 0
        for row in read_rows(path, self.header, quotes=self.quotes):
            for column in (self.text, self.label):
                if column not in row:
                    hint = did_you_mean(column, row)
                    raise SourceError(f"{path}: no column '{column}'{hint}; the rows have {', '.join(row)}.")
            name = source_id(row, 0)
            occurrence = seen[name]
            seen[name] += 1
            text, value = str(row[self.text] or ""), label_value(row[self.label])
            if self.values and value not in self.values:
                strange[value] += 1
            elif not text.strip():
                empty += 1
            else:
                identity = name if occurrence == 0 else source_id(row, occurrence)
                texts.append(LabelledText(identity, text, self.values.get(value, value)))
        if strange:
            shown = ", ".join(f"'{value}' ({count:,})" for value, count in strange.most_common(5))
            known = ", ".join(f"'{value}'" for value in self.values)
            raise SourceError(
                f"{path}: the column '{self.label}' has values that 'values' does not name: {shown}; it names {known}. "
                "Name them too, or take these rows out of the file."
            )
        if empty and say is not None:
            say(f"{path.name}: {empty:,} {'row' if empty == 1 else 'rows'} without text left out")
        if not texts:
            raise SourceError(f"{path}: has no text in the column '{self.text}'; expected at least one.")
        return texts


def label_value(value: object) -> str:
    """A label as text: whole numbers without a point, true and false in lower case, nothing for a missing one.

    >>> [label_value(value) for value in (1, 1.0, "1", True, None, float("nan"))]
    ['1', '1', '1', 'true', '', '']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
