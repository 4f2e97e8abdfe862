"""What a recipe asks of some columns, as domains: `where` for all rows, `balance` for shares of them.

    conditions(schema, {"income": ">50K", "age": ">= 30", "sex": ["Male", "Female"], "born": "1990-01-01 .. 1999-12-31"})

gives one domain a column. What a value may be:

    30, true, ">50K"        this value; a text that is a category is that category, before any sign in it is looked at
    null                    missing
    [a, b, null]            any of these
    "= a", "!= a"           this value; any other that is not missing
    ">= 30", "< 2.5"        values in that order, for numbers, dates, and categories that are all numbers
    "18 .. 30"              from, to, both included

Dates are written as in the column, or as 1990-01-31; where the column has times too, that is the whole day. Bounds need
not be values of the column (`"> 2.5"` of whole numbers is 3 and more) nor lie inside its domain, but something must be
left. A value on its own must be one that the column has learnt. Only null allows missing cells.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence

from factory.errors import UserError
from factory.tables.column import CATEGORICAL, NO_IDENTIFIER, ORDERED, CellError, Column, Value, number_of, text_of
from factory.tables.dates import code_of_date, instant
from factory.tables.domain import Domain, just, union
from factory.tables.nearest import did_you_mean
from factory.tables.ordering import Number, at_least, at_most, scale_of
from factory.tables.schema import Schema

Condition = Value | Sequence[Value]
_SIGNED = re.compile(r"\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
_RANGE = re.compile(r"\s*(.+?)\s*\.\.\s*(.+?)\s*", re.DOTALL)
_ISO = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m", "%Y")
_TOLERANCE = 1e-9  # by which shares may miss 1, as 0.1 + 0.2 + 0.7 does
_SHOWN = 8


class ConditionError(UserError):
    """A condition that no row of the table can meet, or that cannot be read."""


def conditions(schema: Schema, where: Mapping[str, object]) -> dict[str, Domain]:
    """The domains that conditions leave, by column.

    Raises:
        ConditionError: If a column or category is not known, a value lies outside of the domain, or nothing is left.
    """
    return {name: _condition(_known(schema, name), asked) for name, asked in where.items()}


def shares(schema: Schema, balance: Mapping[str, Mapping[object, float]]) -> list[tuple[dict[str, Domain], float]]:
    """Parts into which rows are to fall, with the share of each: for several columns every combination.

    Args:
        schema: The columns.
        balance: For each column conditions as in `where` with their shares, which must sum to 1: what is left out
            gets no rows. Conditions of one column must not overlap.

    Returns:
        Domains by column and the share in (0, 1], in the order of the recipe; parts with share 0 are left out.

    Raises:
        ConditionError: Also if shares are negative or do not sum to 1, or conditions overlap.
    """
    parts = [_parts(_known(schema, name), asked) for name, asked in balance.items()]
    found = []
    for combination in itertools.product(*parts):
        share = math.prod(share for _, _, share in combination)
        if share > 0:
            found.append(({name: domain for name, domain, _ in combination}, share))
    return found


def _parts(column: Column, asked: Mapping[object, float]) -> list[tuple[str, Domain, float]]:
    for shown, share in asked.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConditionError(f"column '{column.name}': the share of {shown!r} is {share!r}; expected 0 to 1.")
    total = math.fsum(asked.values())
    if abs(total - 1) > _TOLERANCE:
        raise ConditionError(
            f"column '{column.name}': the shares sum to {total:g}; expected 1. What is not named gets no rows."
        )
    parts = [(column.name, _condition(column, shown), share) for shown, share in asked.items()]
    for (one, left), (other, right) in itertools.combinations(zip(asked, parts, strict=True), 2):
        if not (left[1] & right[1]).empty:
            raise ConditionError(
                f"column '{column.name}': {one!r} and {other!r} overlap, so that their shares cannot both be kept."
            )
    return parts


def _known(schema: Schema, name: str) -> Column:
    column = schema.named.get(name)
    if column is None:
        raise ConditionError(
            f"no column '{name}'{did_you_mean(str(name), schema.names)}; the table has {', '.join(schema.names)}."
        )
    if column.kind == "identifier":
        raise ConditionError(
            f"column '{name}' is an identifier, which is made up anew; no condition can be put on it. {NO_IDENTIFIER}"
        )
    return column


def _condition(column: Column, asked: object) -> Domain:
    if isinstance(asked, list | tuple | set | frozenset):
        if not asked:
            raise ConditionError(f"column '{column.name}': an empty list allows nothing; name at least one value.")
        return union(_one(column, each) for each in asked)
    return _one(column, asked)


def _one(column: Column, asked: object) -> Domain:
    if asked is None:
        if not column.nullable:
            raise ConditionError(f"column '{column.name}' is never missing; null allows nothing there.")
        return just(None)
    if isinstance(asked, str) and column.kind in CATEGORICAL:
        code = _category(column, asked)
        if code is not None:
            return just(code)
    if isinstance(asked, str) and column.kind != "text":
        signed = _SIGNED.fullmatch(asked)
        if signed:
            return _signed(column, signed[1], signed[2], asked)
        limits = _RANGE.fullmatch(asked)
        if limits and scale_of(column):
            return _between(column, limits[1], limits[2], asked)
    return _equal(column, asked)


def _signed(column: Column, sign: str, operand: str, asked: str) -> Domain:
    if sign in ("=", "==") and operand[:1] in ("<", ">") and scale_of(column):
        turned = f"{operand[0]}= {operand[1:].strip()}"
        raise ConditionError(f"column '{column.name}': {asked!r} is no comparison; did you mean '{turned}'?")
    if sign in ("=", "=="):
        return _equal(column, operand)
    if sign == "!=":
        return _left(column, _without(column, _equal(column, operand)), asked)
    if scale_of(column) is None and column.kind in CATEGORICAL:
        return _equal(column, asked)  # refuses it as a category that is not known
    first, last = _limits(column, operand, asked)
    domains = {
        "<": lambda: at_most(column, first, strict=True),
        "<=": lambda: at_most(column, last),
        ">": lambda: at_least(column, last, strict=True),
        ">=": lambda: at_least(column, first),
    }
    return _left(column, domains[sign](), asked)


def _between(column: Column, low: str, high: str, asked: str) -> Domain:
    (first, _), (_, last) = _limits(column, low, asked), _limits(column, high, asked)
    if first > last:
        raise ConditionError(f"column '{column.name}': {asked!r} runs backwards; swap the bounds.")
    return _left(column, at_least(column, first) & at_most(column, last), asked)


def _without(column: Column, gone: Domain) -> Domain:
    """The domain but for these codes, and for missing."""
    kept: list[tuple[int, int]] = []
    for low, high in column.domain.intervals:
        at = low
        for begin, end in gone.intervals:
            if low <= begin and end <= high:
                kept.append((at, begin - 1))
                at = end + 1
        kept.append((at, high))
    return Domain(tuple((low, high) for low, high in kept if low <= high))


def _left(column: Column, domain: Domain, asked: str) -> Domain:
    if domain.empty:
        raise ConditionError(f"column '{column.name}': {asked!r} leaves nothing; {_domain(column)}.")
    return domain


def _equal(column: Column, asked: object) -> Domain:
    if column.kind == "text":
        return just(text_of(asked))
    if column.kind in CATEGORICAL:
        code = _category(column, asked)
        if code is None:
            known = did_you_mean(text_of(asked), column.labels)
            raise ConditionError(f"column '{column.name}': no category {asked!r}{known}; {_domain(column)}.")
        return just(code)
    if column.kind == "date":
        first, last = _limits(column, text_of(asked), asked)
        found = at_least(column, first) & at_most(column, last)
    else:
        found = _number(column, asked)
    if found.empty:
        raise ConditionError(f"column '{column.name}': {asked!r} lies outside; {_domain(column)}.")
    return found


def _number(column: Column, asked: object) -> Domain:
    try:
        code = column.cell(asked)
    except CellError as error:
        raise ConditionError(
            f"column '{column.name}': {asked!r} is no {column.described}; {_domain(column)}."
        ) from error
    return just(code) & Domain(column.domain.intervals) if isinstance(code, int) else Domain()


def _category(column: Column, asked: object) -> int | None:
    """The code of a category: the value itself, its text, or an equal number of another type; None if there is none."""
    try:
        code = column.cell(asked)
    except CellError:
        code = column.labels.index(text_of(asked)) if text_of(asked) in column.labels else None
    return code if isinstance(code, int) else None


def _limits(column: Column, operand: str, asked: object) -> tuple[Number, Number]:
    """The first and the last value that an operand means: a day has many seconds, a number is one."""
    scale = scale_of(column)
    if scale is None:
        raise ConditionError(
            f"column '{column.name}': {asked!r} compares by size, and its values have no order; name the values, as in "
            f"a list."
        )
    found = _moments(column, operand) if scale == "date" else None
    number = number_of(operand) if scale == "number" else None
    if number is not None:
        return number, number
    if found is None:
        raise ConditionError(
            f"column '{column.name}': '{operand}' in {asked!r} is no {'date' if scale == 'date' else 'number'}; "
            f"{_domain(column)}."
        )
    return found


def _moments(column: Column, operand: str) -> tuple[int, int] | None:
    for form in (column.form, *_ISO):
        try:
            code = code_of_date(operand, form)
            return instant(code, form), instant(code + 1, form) - 1
        except ValueError:
            continue
    return None


def _domain(column: Column) -> str:
    """What the column has learnt, for a message."""
    if column.kind in ORDERED:
        if column.low > column.high:
            return "the column has no values"
        return f"the column goes from {column.text(column.low)} to {column.text(column.high)}"
    shown = ", ".join(column.labels[:_SHOWN]) + (", …" if len(column.categories) > _SHOWN else "")
    return f"expected one of {shown or 'none'}"
