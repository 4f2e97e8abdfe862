"""One column of a table: what it holds, and each of its values as a code and as text.

A column of kind `decimal` with two places turns `19.9` into the code 1990 and the text "19.90"; a `category` turns
"Private" into its number among the categories. Codes are whole numbers in the order of the values, so that ranges,
bins and quantiles are exact for every kind:

    category, boolean   number of the value in `categories`
    integer             the number itself, of any size
    decimal             the number times 10 ** places
    float               the bits of the double, in an order that agrees with that of the numbers
    date                steps of `form`: days, seconds or microseconds since 1970
    text, identifier    no code: the text itself
"""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from factory.errors import UserError
from factory.tables.domain import Cell, Domain

Kind = Literal["category", "boolean", "integer", "decimal", "float", "date", "text", "identifier"]
Value = str | int | float | bool | None
CATEGORICAL = ("category", "boolean")
ORDERED = ("integer", "decimal", "float", "date")
WRITTEN = ("text", "identifier")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGN = 1 << 63


class CellError(UserError):
    """A value that its column cannot hold."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column.

    Attributes:
        name: Its name.
        kind: What it holds.
        nullable: Whether cells may be missing.
        low: Least code of an ordered kind.
        high: Greatest code of an ordered kind.
        places: Digits behind the point, for `decimal`.
        form: Pattern of `strftime`, for `date`.
        categories: Values of a `category` or `boolean`, each once.
    """

    name: str
    kind: Kind
    nullable: bool = False
    low: int = 0
    high: int = 0
    places: int = 0
    form: str = "%Y-%m-%d"
    categories: tuple[str | int | float | bool, ...] = ()

    @property
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
        if self.kind in CATEGORICAL:
            return self._category(value)
        if self.kind in WRITTEN:
            if not isinstance(value, str):
                return str(value).lower() if isinstance(value, bool) else str(value)
            return value
        try:
            return self._number(value)
        except (ValueError, ArithmeticError, TypeError) as error:
            raise CellError(f"column '{self.name}': {value!r} is no {self.described}.") from error

    def value(self, cell: Cell) -> Value:
        """The value that a cell stands for, as the dataset holds it."""
        if cell is None or isinstance(cell, str):
            return cell
        if self.kind in CATEGORICAL:
            return self.categories[cell]
        if self.kind == "decimal":
            return float(Decimal(cell).scaleb(-self.places))
        if self.kind == "float":
            return float_of(cell)
        return self._date(cell) if self.kind == "date" else cell

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
            return format(Decimal(cell).scaleb(-self.places), "f")
        if self.kind == "float":
            return repr(float_of(cell))
        return self._date(cell) if self.kind == "date" else str(cell)

    @property
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
            return f"number with {self.places} decimal places"
        return {"float": "number", "integer": "whole number", "date": f"date like {self.form}"}.get(
            self.kind, str(self.kind)
        )

    def _category(self, value: object) -> int:
        for code, known in enumerate(self.categories):
            if known == value and type(known) is type(value):
                return code
        shown = ", ".join(repr(each) for each in self.categories[:5]) + (", …" if len(self.categories) > 5 else "")
        raise CellError(f"column '{self.name}': no category {value!r}; expected one of {shown or 'none'}.")

    def _number(self, value: object) -> int:
        if isinstance(value, bool):
            raise ValueError("a truth value is no number")
        if self.kind == "date":
            return code_of_date(str(value), self.form)
        number = Decimal(str(value).strip())
        if self.kind == "float":
            return code_of_float(float(value))  # type: ignore[arg-type]
        scaled = number.scaleb(self.places)
        code = int(scaled)
        if code != scaled:
            raise ValueError("more decimal places than the column has")
        return code

    def _date(self, code: int) -> str:
        return (_EPOCH + timedelta(microseconds=code * step_us(self.form))).strftime(self.form)


def step_us(form: str) -> int:
    """Microseconds of one step of a date pattern: a microsecond, a second, a minute, or a day."""
    if "%f" in form:
        return 1
    if "%S" in form:
        return 10**6
    return 60 * 10**6 if "%M" in form else 86_400 * 10**6


def code_of_date(text: str, form: str) -> int:
    """Steps since 1970 of a date written like that.

    Raises:
        ValueError: If it is written otherwise; also where the pattern would write it otherwise.
    """
    moment = datetime.strptime(text, form).replace(tzinfo=UTC)
    if moment.strftime(form) != text:
        raise ValueError(f"{text} is not as {form} writes it")
    return (moment - _EPOCH) // timedelta(microseconds=step_us(form))


def code_of_float(number: float) -> int:
    """The bits of a double as a whole number that orders as the doubles do; -0.0 counts as 0.0.

    >>> code_of_float(-1.5) < code_of_float(0.0) < code_of_float(1e-300) < code_of_float(2.0)
    True
    """
    bits = int(struct.unpack("<Q", struct.pack("<d", number + 0.0))[0])
    return bits if bits < _SIGN else _SIGN - bits


def float_of(code: int) -> float:
    """The double of a code.

    >>> float_of(code_of_float(-0.1))
    -0.1
    """
    bits = code if code >= 0 else _SIGN - code
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
