r"""A row as a sentence, and back: `age is 39, workclass is State-gov, note is "5\q, he said", capital is None`.

Section 3.1 of GReaT (Borisov et al., 2210.06280). Deviations: there a value that holds a comma or " is " cannot be read
again, and a missing cell reads like the text "None". Here what would be ambiguous stands in quotes, with a backslash
written `\\` and a quote written `\q`, so that no quote ever stands inside of quotes; free text always stands in quotes,
and `None` without quotes is the missing cell. Numbers and dates stand as `Column.text` has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from factory.errors import UserError
from factory.tables.column import CATEGORICAL, CellError, Column
from factory.tables.domain import Cell
from factory.tables.schema import Cells, Schema

MISSING = "None"
_ESCAPED = re.compile(r"\\([\\q])")
_PLAIN_FORM = re.compile(r"(%[YmdHMSfyjbBaAp]|[-/:.TZ_ ])+")


class SentenceError(UserError):
    """A sentence that is no row of the table."""


def quoted(text: str) -> str:
    r"""The text in quotes.

    >>> print(quoted('say "so"'))
    "say \qso\q"
    """
    return '"' + text.replace("\\", "\\\\").replace('"', "\\q") + '"'


def unquoted(content: str) -> str:
    """The text that stands between quotes; a backslash that begins no escape is one."""
    return _ESCAPED.sub(lambda found: '"' if found[1] == "q" else "\\", content)


def plain(text: str) -> bool:
    """Whether a category needs no quotes."""
    return bool(text) and text == text.strip() and text != MISSING and not set(text) & set(',"\\\n\r')


def written_name(name: str) -> str:
    """A column's name as it stands in a sentence.

    >>> written_name("age"), written_name("what is new")
    ('age', '"what is new"')
    """
    return name if plain(name) and " is" not in name else quoted(name)


def plain_dates(column: Column) -> bool:
    """Whether the dates of a column need no quotes."""
    return column.kind == "date" and column.form == column.form.strip() and bool(_PLAIN_FORM.fullmatch(column.form))


def ordered_text(column: Column, code: int) -> str:
    """The text of a code; exact for whole numbers and decimals of any size."""
    if column.kind != "decimal" or not column.places:
        return str(code) if column.kind in ("integer", "decimal") else column.text(code)
    whole, part = divmod(abs(code), 10**column.places)
    return f"{'-' if code < 0 else ''}{whole}.{part:0{column.places}}"


class Writer:
    """Writes rows of a schema as sentences, and reads them."""

    def __init__(self, schema: Schema) -> None:
        """Write the learned columns of this schema."""
        self.columns: dict[str, Column] = {column.name: column for column in schema.learned}
        self._named = {f"{written_name(name)} is ": name for name in self.columns}
        starts = sorted(self._named, key=len, reverse=True)
        self._start = re.compile("|".join(map(re.escape, starts)) or "$^")
        self._labels = {column.name: column.labels for column in schema.learned if column.kind in CATEGORICAL}
        self._codes = {
            name: {label: code for code, label in enumerate(labels)} for name, labels in self._labels.items()
        }

    def write(self, cells: Mapping[str, Cell], order: Sequence[str]) -> str:
        """The sentence of a row, its columns in that order."""
        return ", ".join(f"{written_name(name)} is {self.written(name, cells[name])}" for name in order)

    def written(self, name: str, cell: Cell) -> str:
        """A cell as it stands in a sentence; no two cells of a column stand alike."""
        if cell is None:
            return MISSING
        if isinstance(cell, str):
            return quoted(cell)
        if name in self._labels:
            label = self._labels[name][cell]
            return label if plain(label) else quoted(label)
        column = self.columns[name]
        text = ordered_text(column, cell)
        return quoted(text) if column.kind == "date" and not plain_dates(column) else text

    def read(self, sentence: str) -> Cells:
        """The cells of a sentence.

        Raises:
            SentenceError: If it is not one that `write` gives: where reading stopped, and at what.
        """
        cells: Cells = {}
        for name, value, is_quoted in self._clauses(sentence):
            if name in cells:
                raise SentenceError(f"column '{name}' stands twice in {sentence!r}.")
            cells[name] = self._cell(self.columns[name], value, is_quoted)
        return cells

    def cell(self, name: str, text: str) -> Cell:
        """The cell of a column that `written` writes so.

        Raises:
            SentenceError: If there is none.
        """
        is_quoted = len(text) > 1 and text.startswith('"') and text.endswith('"')
        return self._cell(self.columns[name], text[1:-1] if is_quoted else text, is_quoted)

    def _clauses(self, sentence: str) -> Iterator[tuple[str, str, bool]]:
        at = 0
        while at < len(sentence):
            start = self._start.match(sentence, at)
            if start is None:
                raise SentenceError(f"expected a column's name and ' is ', found {sentence[at : at + 40]!r}.")
            at = start.end()
            opened = sentence.startswith('"', at)
            end = sentence.find('"' if opened else ",", at + opened)
            if end < 0 and opened:
                raise SentenceError(f"no closing quote after {sentence[at : at + 40]!r}.")
            end = len(sentence) if end < 0 else end
            yield self._named[start[0]], sentence[at + opened : end], opened
            at = end + opened
            if at < len(sentence):
                if not sentence.startswith(", ", at) or at + 2 == len(sentence):
                    raise SentenceError(f"expected ', ' and a further column, found {sentence[at : at + 40]!r}.")
                at += 2

    def _cell(self, column: Column, value: str, is_quoted: bool) -> Cell:
        if not is_quoted and value == MISSING:
            return None
        text = unquoted(value) if is_quoted else value
        try:
            cell = self._code(column, text)
        except (ValueError, CellError) as error:
            raise SentenceError(f"column '{column.name}': {text!r} is no {column.described}.") from error
        if self.written(column.name, cell) != (quoted(text) if is_quoted else value):
            raise SentenceError(f"column '{column.name}': {text!r} is not as the column writes it.")
        return cell

    def _code(self, column: Column, text: str) -> Cell:
        if column.kind in CATEGORICAL:
            code = self._codes[column.name].get(text)
            if code is None:
                raise ValueError(text)
            return code
        if column.kind == "integer":
            return int(text)
        if column.kind == "decimal":
            whole, _, part = text.partition(".")
            return int(whole + part)
        return column.cell(text)
