"""One column of a table: what it holds, and each of its values as a code and as text.

A column of kind `decimal` with two places turns `19.9` into the code 1990 and the text "19.90"; a `category` turns
"Private" into its number among the categories. Codes are whole numbers in the order of the values, so that ranges,
bins and quantiles are exact for every kind:

    category, boolean   number of the value in `categories`
    integer             the number itself, of any size
    decimal             the number times 10 ** places
    float               the bits of the double, in an order that agrees with that of the numbers
    date                what `form` counts: microseconds, seconds, minutes, hours, days or months since 1970
    text, identifier    no code: the text itself

Values of a `decimal` column are floats, also with 0 places; values that are equal, such as 0.1 and 0.10, are one.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import Literal

import msgspec

from factory.errors import UserError
from factory.tables.dates import code_of_date, date_of, step_us, utc, write_date
from factory.tables.domain import Cell, Domain
from factory.tables.numbers import code_of_float, float_of, scaled, unscaled

__all__ = ["CATEGORICAL", "ORDERED", "WRITTEN", "CellError", "Column", "Kind", "Scalar", "Value",
           "code_of_date", "code_of_float", "float_of", "step_us"]  # fmt: skip

Kind = Literal["category", "boolean", "integer", "decimal", "float", "date", "text", "identifier"]
Scalar = str | int | float | bool
Value = Scalar | None
CATEGORICAL = ("category", "boolean")
NO_IDENTIFIER = "If it is none, say what it is: 'columns: {…: {kind: …}}'."
ORDERED = ("integer", "decimal", "float", "date")
WRITTEN = ("text", "identifier")
_TRUTH = {"true": True, "false": False}
_SHOWN = 5  # categories in a message
_LONGEST_SHOWN = 80  # characters of a value in a message


class CellError(UserError):
    """A value that its column cannot hold."""


class Column(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A column.

    Attributes:
        name: Its name.
        kind: What it holds.
        nullable: Whether cells may be missing.
        low: Least code of an ordered kind.
        high: Greatest code of an ordered kind.
        places: Digits behind the point, for `decimal`.
        form: Pattern of `factory.tables.dates`, for `date`.
        categories: Values of a `category` or `boolean`, each once.
        missing: Texts that stand for a missing cell in the file, e.g. the empty one in CSV.
        numeric: Whether identifiers are whole numbers.
    """

    name: str
    kind: Kind
    nullable: bool = False
    low: int = 0
    high: int = 0
    places: int = 0
    form: str = "%Y-%m-%d"
    categories: tuple[Scalar, ...] = ()
    missing: tuple[str, ...] = ()
    numeric: bool = False

    @cached_property
    def domain(self) -> Domain:
        """All that the column may hold."""
        if self.kind in WRITTEN:
            return Domain(null=self.nullable, text=True)
        low, high = (0, len(self.categories) - 1) if self.kind in CATEGORICAL else (self.low, self.high)
        return Domain(((low, high),) if low <= high else (), self.nullable)

    def cell(self, value: object) -> Cell:
        """The code (or text) of a value as a file holds it: typed, or as the text of a CSV cell.

        Raises:
            CellError: If the column cannot hold such a value. Whether the code lies in the domain is not asked.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if self.missing and text_of(value) in self.missing:
            return None
        if self.kind in CATEGORICAL:
            return self._category(value)
        if self.kind in WRITTEN:
            return text_of(value)
        try:
            return self._date(value) if self.kind == "date" else self._number(value)
        except (ValueError, ArithmeticError, TypeError) as error:
            raise CellError(f"column '{self.name}': {quoted(value)} is no {self.described}.") from error

    def value(self, cell: Cell) -> Value:
        """The value that a cell stands for, as the dataset holds it."""
        if cell is None:
            return None
        if isinstance(cell, str):
            return int(cell) if self.numeric else cell
        if self.kind in CATEGORICAL:
            return self.categories[cell]
        if self.kind == "decimal":
            return float(unscaled(cell, self.places))
        if self.kind == "float":
            return float_of(cell)
        return date_of(cell, self.form) if self.kind == "date" else cell

    def text(self, cell: Cell) -> str:
        """The canonical text of a cell that is not missing; no two cells share one.

        >>> Column(name="price", kind="decimal", places=2).text(1990)
        '19.90'
        """
        if cell is None:
            raise ValueError("a missing cell has no text")
        if isinstance(cell, str):
            return cell
        if self.kind in CATEGORICAL:
            return self.labels[cell]
        if self.kind == "decimal":
            return unscaled(cell, self.places)
        if self.kind == "float":
            return repr(float_of(cell))
        return date_of(cell, self.form) if self.kind == "date" else str(cell)

    @cached_property
    def labels(self) -> list[str]:
        """Text of each category: as it is if all are text, else as JSON where two would read the same."""
        plain = [each if isinstance(each, str) else json.dumps(each) for each in self.categories]
        if len(set(plain)) == len(plain):
            return plain
        return [json.dumps(each, ensure_ascii=False) for each in self.categories]

    @property
    def described(self) -> str:
        """What a value of the column is, in words."""
        if self.kind == "decimal":
            return f"number with {self.places} decimal place{'' if self.places == 1 else 's'}"
        return {"float": "number that a double holds", "integer": "whole number", "date": f"date like {self.form}"}.get(
            self.kind, str(self.kind)
        )

    @cached_property
    def _codes(self) -> dict[tuple[type, Scalar], int]:
        """Codes by type and value: 1, 1.0 and True are one key of a dict, but three categories."""
        return {(type(each), each): code for code, each in enumerate(self.categories)}

    @cached_property
    def _numbers(self) -> dict[int | float, int]:
        found: dict[int | float, int] = {}
        for code, each in enumerate(self.categories):
            if isinstance(each, int | float) and not isinstance(each, bool):
                found.setdefault(each, code)
        return found

    @cached_property
    def _written(self) -> dict[str, int]:
        """Codes by JSON text of the categories that are no text, as Parquet and CSV hold them beside those that are."""
        return {json.dumps(each): code for code, each in enumerate(self.categories) if not isinstance(each, str)}

    @cached_property
    def _typed(self) -> bool:
        return not any(isinstance(each, str) for each in self.categories)

    def _category(self, value: object) -> int:
        code = self._codes.get((type(value), value)) if isinstance(value, Scalar) else None
        if code is None and not isinstance(value, bool):
            code = self._written_category(value)
        if code is not None:
            return code
        shown = ", ".join(quoted(each) for each in self.categories[:_SHOWN])
        shown += ", …" if len(self.categories) > _SHOWN else ""
        raise CellError(f"column '{self.name}': no category {quoted(value)}; expected one of {shown or 'none'}.")

    def _written_category(self, value: object) -> int | None:
        """The code of a number or truth value that a file holds as text, or of an equal number of another type."""
        if isinstance(value, str) and not self._typed:
            return self._written.get(value)
        if isinstance(value, str) and value.strip().lower() in _TRUTH:
            return self._codes.get((bool, _TRUTH[value.strip().lower()]))
        if isinstance(value, datetime | date | time):
            return self._codes.get((str, text_of(value)))
        return self._numbers.get(number) if (number := number_of(value)) is not None else None

    def _number(self, value: object) -> int:
        if isinstance(value, bool):
            raise ValueError("a truth value is no number")
        text = text_of(value)
        if self.kind == "float":
            number = number_of(text)
            if number is None:
                raise ValueError("no number that a double holds")
            return code_of_float(float(number))
        return scaled(text, self.places if self.kind == "decimal" else 0)

    def _date(self, value: object) -> int:
        if isinstance(value, datetime):
            value = write_date(utc(value), self.form)
        elif isinstance(value, date):
            value = write_date(datetime(value.year, value.month, value.day), self.form)
        return code_of_date(text_of(value), self.form)


def quoted(value: object) -> str:
    """A value as a message shows it, cut if it is long."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def text_of(value: object) -> str:
    """A value as text, the way that CSV and JSON write it.

    >>> text_of(True), text_of(1.5), text_of(10**20)
    ('true', '1.5', '100000000000000000000')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return utc(value).isoformat(timespec="microseconds" if value.microsecond else "seconds")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def number_of(value: object) -> int | float | None:
    """The number of a value: an int where it is whole and written so, else the double; None if there is none.

    >>> number_of("17"), number_of("0.10"), number_of("1e400"), number_of("NaN")
    (17, 0.1, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if not isinstance(value, float | str | Decimal):
        return None
    text = str(value)
    try:
        return scaled(text, 0) if not isinstance(value, float) and text.strip("+- ").isdigit() else _double(text)
    except (ValueError, OverflowError):
        return None


def _double(text: str) -> float | None:
    if "_" in text:
        return None
    number = float(text)
    return number if math.isfinite(number) else None
