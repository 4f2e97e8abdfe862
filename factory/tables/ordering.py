"""The order of values across columns of different kinds, so that relations and conditions compare what users see.

With `age` an integer and `score` a decimal, `at_least(score, 30, strict=True)` is every score above 30, whatever its
code. Numbers compare as Python compares ints and floats, which is exact; dates as the microseconds at which they begin.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Literal

from factory.tables.column import Column
from factory.tables.dates import code_at, instant, step_us
from factory.tables.domain import Domain, of_codes
from factory.tables.numbers import code_of_float, float_of, unscaled

Number = int | float
Scale = Literal["number", "date"]
INFINITY = code_of_float(math.inf)


def scale_of(column: Column) -> Scale | None:
    """What the values of a column can be compared with: numbers, dates, or (None) nothing.

    A category is one of numbers if all its values are.
    """
    if column.kind == "date":
        return "date"
    if column.kind in ("integer", "decimal", "float"):
        return "number"
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in column.categories)
    return "number" if column.kind == "category" and numeric and column.categories else None


def value_of(column: Column, code: int) -> Number:
    """What a code is compared by: the number, or microseconds since 1970."""
    if column.kind == "integer":
        return code
    if column.kind == "decimal":
        return float(unscaled(code, column.places))
    if column.kind == "float":
        return float_of(code)
    if column.kind == "date":
        return instant(code, column.form)
    value = column.categories[code]
    if isinstance(value, str):
        raise ValueError(f"column '{column.name}' has no order")
    return value


def at_least(column: Column, bound: Number, *, strict: bool = False) -> Domain:
    """Codes of the column whose value is `bound` or more; above it if strict. Missing is not among them."""
    if column.categories:
        return of_codes(
            code
            for code in range(len(column.categories))
            if (value := value_of(column, code)) > bound or (value == bound and not strict)
        )
    low = max(column.low, _first(column, bound, strict))
    return Domain(((low, column.high),) if low <= column.high else ())


def at_most(column: Column, bound: Number, *, strict: bool = False) -> Domain:
    """Codes of the column whose value is `bound` or less; below it if strict. Missing is not among them."""
    if column.categories:
        return of_codes(
            code
            for code in range(len(column.categories))
            if (value := value_of(column, code)) < bound or (value == bound and not strict)
        )
    high = min(column.high, _first(column, bound, not strict) - 1)
    return Domain(((column.low, high),) if column.low <= high else ())


def least(column: Column, domain: Domain) -> Number | None:
    """The least value in a domain; None where it has no codes."""
    if column.categories:
        return min((value_of(column, code) for code in domain.codes()), default=None)
    return value_of(column, domain.intervals[0][0]) if domain.intervals else None


def greatest(column: Column, domain: Domain) -> Number | None:
    """The greatest value in a domain; None where it has no codes."""
    if column.categories:
        return max((value_of(column, code) for code in domain.codes()), default=None)
    return value_of(column, domain.intervals[-1][1]) if domain.intervals else None


def _first(column: Column, bound: Number, strict: bool) -> int:
    """The first code whose value is `bound` or more (above it, if strict); codes need not be of the domain."""
    if column.kind == "date":
        return _first_date(column, bound, strict)
    if bound in (math.inf, -math.inf):
        return column.high + 1 if bound > 0 else column.low
    if column.kind == "integer":
        return math.floor(bound) + 1 if strict else math.ceil(bound)
    if column.kind == "decimal":
        code: int = math.floor(Fraction(bound) * 10**column.places)
        if not column.low - 1 <= code <= column.high:
            return column.high + 1 if code > column.high else column.low
    else:
        if abs(bound) > sys.float_info.max:
            return INFINITY if bound > 0 else -INFINITY
        code = code_of_float(float(bound))
    while (value := value_of(column, code)) < bound or (value == bound and strict):
        code += 1  # the value of the code was rounded down to the bound or below; at most two steps
    return code


def _first_date(column: Column, bound: Number, strict: bool) -> int:
    step = step_us(column.form)
    if step:
        code, rest = divmod(int(bound), step)
        return code + (strict or rest > 0)
    code = code_at(int(bound), column.form)
    return code + (strict or instant(code, column.form) < bound)
