"""What a recipe says about a column, where it knows better than the data.

`Correction(high=120)` lets ages go up to 120 though the oldest of the table is 90, `Correction(kind="category")` keeps
postal codes from being numbers. Only what is set is changed.
"""

from __future__ import annotations

from typing import get_args

import msgspec

from factory.tables.column import ORDERED, CellError, Column, Kind, Scalar, number_of
from factory.tables.dates import known_form
from factory.tables.gathering import InferenceError
from factory.tables.recognising import DIGITS, PLACES


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a column.

    Attributes:
        kind: What it holds.
        low: Least value, as a value (`0`, `"1990-01-01"`) and not as a code.
        high: Greatest value.
        places: Digits behind the point, 0 to 10; the column is then one of decimals.
        form: Pattern of dates, see `factory.tables.dates`; the column is then one of dates.
        categories: Categories besides those of the data; the column is then one of categories.
        nullable: Whether cells may be missing.
    """

    kind: Kind | None = None
    low: int | float | str | None = None
    high: int | float | str | None = None
    places: int | None = None
    form: str | None = None
    categories: tuple[Scalar, ...] = ()
    nullable: bool | None = None


NOTHING = Correction()


def wanted_kind(correction: Correction, where: str) -> Kind | None:
    """The kind that a correction asks for, by its name or by what else is set; None where it leaves it open.

    Raises:
        InferenceError: If what is set does not go together.
    """
    implied: dict[Kind, bool] = {
        "decimal": correction.places is not None,
        "date": correction.form is not None,
        "category": bool(correction.categories),
    }
    named: dict[Kind, str] = {"decimal": "places", "date": "form", "category": "categories"}
    kinds = [kind for kind, given in implied.items() if given]
    if correction.kind is not None and correction.kind not in get_args(Kind):
        raise InferenceError(f"{where}: no kind '{correction.kind}'; expected one of {', '.join(get_args(Kind))}.")
    kind = correction.kind or (kinds[0] if kinds else None)
    for other in kinds:
        if other != kind:
            raise InferenceError(
                f"{where}: '{named[other]}' is for kind {other}, and the kind is {kind}; leave one out."
            )
    bounded = correction.low is not None or correction.high is not None
    if bounded and kind is not None and kind not in ORDERED:
        raise InferenceError(
            f"{where}: 'low' and 'high' are for numbers and dates, and the kind is {kind}; leave them out."
        )
    if correction.places is not None and not 0 <= correction.places <= PLACES:
        raise InferenceError(f"{where}: 'places' is {correction.places}; expected 0 to {PLACES}.")
    if correction.form is not None and not known_form(correction.form):
        raise InferenceError(
            f"{where}: '{correction.form}' is no pattern of dates; expected one like %Y-%m-%d or %d.%m.%Y %H:%M."
        )
    return kind


def bounded(column: Column, correction: Correction, where: str) -> Column:
    """The column with the bounds of the correction.

    Raises:
        InferenceError: If a bound is no value of the column, or the bounds leave nothing.
    """
    given = {end: value for end, value in (("low", correction.low), ("high", correction.high)) if value is not None}
    if not given and column.low > column.high:
        return column
    if len(given) == 1 and column.low > column.high and column.kind in ORDERED:
        raise InferenceError(f"{where} has no values; say both 'low' and 'high', or neither.")
    ends = {"low": column.low, "high": column.high} | {e: _bound(column, e, value, where) for e, value in given.items()}
    if ends["low"] > ends["high"]:
        low, high = (column.text(ends[end]) for end in ("low", "high"))
        raise InferenceError(f"{where}: allowed from {low} to {high}, which leaves nothing; swap or widen the bounds.")
    if column.kind == "decimal" and max(-ends["low"], ends["high"]) >= 10**DIGITS:
        raise InferenceError(
            f"{where}: with {column.places} places numbers up to its bounds have more than {DIGITS} digits, which a double "
            f"does not hold; take fewer 'places', nearer bounds, or kind float."
        )
    return msgspec.structs.replace(column, low=ends["low"], high=ends["high"])


def _bound(column: Column, end: str, value: float | str, where: str) -> int:
    if column.kind not in ORDERED:
        raise InferenceError(f"{where}: '{end}' is for numbers and dates, and this is a column of kind {column.kind}.")
    try:
        code = column.cell(value)
    except CellError as error:
        raise InferenceError(f"{where}: '{end}' is {value!r}, which is no {column.described}.") from error
    if not isinstance(code, int):
        raise InferenceError(f"{where}: '{end}' is {value!r}, which is no {column.described}.")
    return code


def with_categories(known: tuple[Scalar, ...], extra: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    """Categories of the data and those of the recipe, each once; a number becomes one of the type that the data has.

    >>> with_categories((0.5, 1.0), (2, 1))
    (0.5, 1.0, 2.0)
    """
    types = {type(each) for each in known}
    found = {(type(each), each): each for each in known}
    for each in extra:
        value: Scalar = each
        number = number_of(each)
        if number is not None and types == {float}:
            value = float(number)
        elif number is not None and types == {int} and isinstance(number, int):
            value = number
        elif types == {str} and isinstance(each, int | float) and not isinstance(each, bool):
            value = str(each)
        found.setdefault((type(value), value), value)
    return tuple(sorted(found.values(), key=category_order))


def category_order(value: Scalar) -> tuple[int, int | float, str]:
    """Where a category stands: truth values, then numbers by size, then texts."""
    if isinstance(value, bool):
        return 0, int(value), ""
    return (2, 0, value) if isinstance(value, str) else (1, value, type(value).__name__)
