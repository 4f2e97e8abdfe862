"""What the columns of a table hold, told from its rows.

`infer(rows, origin="adult.csv")` of the Adult census table finds `age` an integer from 17 to 90 and `workclass` a
category of 9, and gives the schema with the table as codes. The first rule that fits decides:

1. no value at all: a category without categories, that may be missing;
2. true and false: boolean;
3. numbers: an identifier if they are whole, and are all different and count up by one from 0 or 1 over 10 rows or
   more, or the column is named id, …_id, …Id, uuid and most rows have a number of their own, or it is named phone, ssn
   and the like and at least 95 % of them do; a category if there is only one value, or if 200 rows or more hold at most
   20 values and there are gaps between these (0, 10, 25; a score from 1 to 5 stays a number, and so do 0 and 1); else
   an integer, a decimal of at most 10 places and 15 digits, or a float;
4. dates, if one pattern reads and writes all of them: date;
5. text of a column named id, …_id, email, phone and the like, of which most rows have one of their own; or text of
   which at least 95 % of the rows have one of their own, and which is UUIDs, addresses of mail, telephone numbers, or
   without spaces in 20 rows or more and no amounts: identifier;
6. text that is mostly different (more values than half the rows) and longer than 40 characters on average, or with
   spaces in half of the values and in 20 rows or more, or of more than 10,000 values: text;
7. else a category. Values of several types in one column (1, "1", true) keep their types as categories.

Words such as NA are missing only where the user says so, or where all other values of the column are numbers or dates;
a note tells of it, and of text that is learnt though nearly every row has one of its own. The domain of numbers and dates reaches from the least to the greatest value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from factory.tables.column import ORDERED, CellError, Column, Kind, Scalar, number_of, quoted, text_of
from factory.tables.correcting import NOTHING, Correction, bounded, category_order, wanted_kind, with_categories
from factory.tables.describing import describe
from factory.tables.domain import Cell
from factory.tables.gathering import InferenceError, Values, gather
from factory.tables.nearest import did_you_mean
from factory.tables.recognising import (
    NULL_WORDS,
    PERSONAL_NUMBER,
    Numeric,
    ambiguous,
    date_forms,
    is_id_text,
    is_measure,
    is_named_id_text,
    is_personal,
    is_truth,
    is_uuid,
    named_id,
    named_personal,
    number_kind,
)
from factory.tables.schema import Schema, Table

__all__ = ["Correction", "InferenceError", "Inferred", "describe", "infer"]

FEW_NUMBERS = 20  # at most so many different numbers are categories …
MANY_ROWS = 200  # … in at least so many rows
COUNTED_ROWS = 10  # numbers that count up are an identifier in at least so many rows
NAMED_ROWS = 20  # different words are identifiers, and short different texts are text, in at least so many rows
MOST_CATEGORIES = 10_000
HANDFUL = 5  # in fewer rows values are all different by chance
NEARLY = 0.95  # so many different values for each row are one for nearly every row: a few rows come twice
LONG_TEXT = 40  # characters on average
CSV = (".csv", ".tsv")
UNCORRECTED: Mapping[str, Correction] = {}


class Inferred(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        schema: Its columns, in the order in which rows name them first.
        table: The rows as codes.
        notes: Sentences on what the user may want to know, e.g. words that were taken for missing.
    """

    schema: Schema
    table: Table
    notes: tuple[str, ...] = ()


def infer(
    rows: Sequence[Mapping[str, object]],
    corrections: Mapping[str, Correction] = UNCORRECTED,
    *,
    missing: Sequence[str] = (),
    origin: str,
    written: bool | None = None,
) -> Inferred:
    """Tell the columns of a table.

    Args:
        rows: As `factory.datasets_io.rows` gives them: all text from CSV and TSV, typed from other files. Where rows
            have different keys, a column that a row lacks is missing there.
        corrections: What the recipe says of some columns.
        missing: Texts that stand for a missing value in every column; an empty CSV cell always does.
        origin: Path of the file as messages name it.
        written: Whether all cells are text, and numbers have to be read from it, as in CSV; if left out, the ending of
            `origin` says so (.csv, .tsv).

    Raises:
        InferenceError: If there are no rows, a cell holds what no table can, or a correction does not fit the data.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise InferenceError(f"{origin}: no rows with columns; expected at least one row to learn from.")
    for name in corrections:
        if name not in names:
            raise InferenceError(f"{origin}: no column '{name}'{did_you_mean(name, names)}; it has {', '.join(names)}.")
    written = origin.lower().endswith(CSV) if written is None else written
    columns: list[Column] = []
    cells: dict[str, list[Cell]] = {}
    notes: list[str] = []
    for name in names:
        values = gather(rows, name, missing, origin, written=written)
        column, cells[name] = _column(values, corrections.get(name, NOTHING), notes.append)
        columns.append(column)
    schema = Schema(tuple(columns))
    return Inferred(schema, Table(schema, cells, len(rows)), tuple(notes))


def _column(values: Values, correction: Correction, note: Callable[[str], None]) -> tuple[Column, list[Cell]]:
    where = f"{values.origin}: column '{values.name}'"
    asked = wanted_kind(correction, where)
    kept = _without_words(values, asked)
    if kept is not values:
        words = ", ".join(repr(word) for word in kept.missing[len(values.missing) :])
        note(f"{where}: {words} counts as missing, as all other values are numbers or dates.")
    column = _draft(kept, correction, asked, note)
    codes, column = _codes(kept, column)
    column = bounded(column, correction, where)
    _inside(kept, column, codes)
    gaps = None in kept.keys
    if gaps and correction.nullable is False:
        row = kept.keys.index(None) + 1
        raise InferenceError(
            f"{where} is said not to be nullable, and row {row:,} has no value; fill it or drop the row."
        )
    nullable = gaps if correction.nullable is None else correction.nullable
    column = msgspec.structs.replace(column, nullable=nullable, missing=kept.missing)
    codes[None] = None
    return column, [codes[key] for key in kept.keys]


def _without_words(values: Values, asked: Kind | None) -> Values:
    """The values without words such as NA, where all others are numbers or dates."""
    words = {value for value in values.values.values() if isinstance(value, str)} & NULL_WORDS
    if not words or len(words) == len(values.values) or (asked is not None and asked not in ORDERED):
        return values
    rest = values.without(words)
    held = [value for value in rest.values.values() if not isinstance(value, bool)]
    fits = asked is not None or number_kind(rest) is not None or bool(date_forms(held))
    return rest if fits and len(held) == len(rest.values) else values


def _draft(values: Values, correction: Correction, asked: Kind | None, note: Callable[[str], None]) -> Column:
    """The column but for its bounds and missing cells."""
    name = values.name
    forced = correction.low is not None or correction.high is not None
    kind = asked or _kind(values, forced)
    if asked is None:
        _tell_of_own_values(values, kind, note)
    if kind == "category":
        return Column(name=name, kind=kind, categories=with_categories(_categories(values), correction.categories))
    if kind == "boolean":
        truths = _truths(values) if asked is None else (False, True)
        return Column(name=name, kind=kind, categories=truths)
    if kind == "date":
        return Column(name=name, kind=kind, form=correction.form or _form(values, note))
    if kind == "decimal":
        return Column(name=name, kind=kind, places=_places(values, correction))
    if kind == "text" and not all(isinstance(value, str) for value in values.values.values()):
        note(f"{values.origin}: column '{name}': values that are no text are written as text.")
    numeric = kind == "identifier" and bool(values.values) and number_kind(values) == ("integer", 0)
    return Column(name=name, kind=kind, numeric=numeric)


def _kind(values: Values, forced: bool) -> Kind:
    if not values.values:
        return "category"
    if is_truth(values):
        return "boolean"
    numeric = number_kind(values)
    if numeric is not None:
        return numeric[0] if forced else _kind_of_numbers(values, *numeric)
    if date_forms(values.values.values()):
        return "date"
    return _kind_of_text(values)


def _kind_of_numbers(values: Values, kind: Numeric, places: int) -> Kind:
    distinct = len(values.values)
    if distinct == 1:
        return "category"
    if kind == "integer" and (_is_named_number(values) or (distinct == values.filled and _counts_up(values))):
        return "identifier"
    if values.filled >= MANY_ROWS and distinct <= FEW_NUMBERS:
        column = Column(name=values.name, kind=kind, places=places)
        codes = {code for value in values.values.values() if isinstance(code := column.cell(value), int)}
        if max(codes) - min(codes) + 1 > len(codes) > 1:
            return "category"
    return kind


def _is_named_number(values: Values) -> bool:
    if named_id(values.name):
        return _mostly_own(values)
    large = all(abs(number_of(value) or 0) >= PERSONAL_NUMBER for value in values.values.values())
    return large and named_personal(values.name) and _nearly_own(values) and values.filled >= HANDFUL


def _mostly_own(values: Values) -> bool:
    """Whether values are different in most rows; those of a foreign key repeat more often."""
    return 1 < len(values.values) > values.filled / 2


def _nearly_own(values: Values) -> bool:
    return 1 < len(values.values) >= NEARLY * values.filled


def _tell_of_own_values(values: Values, kind: Kind, note: Callable[[str], None]) -> None:
    """Tell of identifiers that repeat, and of text that is learnt though it tells nearly every row from the others."""
    name, distinct = values.name, len(values.values)
    where = f"{values.origin}: column '{name}'"
    if kind == "identifier" and distinct < values.filled:
        note(
            f"{where} is taken for an identifier, though only {distinct:,} of its {values.filled:,} values are "
            f"different; new ones are all different; to learn it instead, set columns: {{{name}: {{kind: category}}}}."
        )
    if kind not in ("category", "text") or values.filled < HANDFUL or not _nearly_own(values):
        return
    if not any(isinstance(value, str) for value in values.values.values()):
        return
    texts = [value for value in values.values.values() if isinstance(value, str)]
    if all(map(is_measure, texts)):
        note(
            f"{where} holds texts such as {texts[0]!r}, not numbers or dates; rows that are given out hold them word for "
            "word. Written plainly, as 1250.00 or 2024-01-31, they are learnt as what they are."
        )
        return
    held = "hold them word for word" if kind == "category" else "may hold some of them word for word"
    note(
        f"{where} has a different value in nearly every row, and rows that are given out {held}; to make new ones up "
        f"instead, set columns: {{{name}: {{kind: identifier}}}}, or leave the column out with 'only'."
    )


def _counts_up(values: Values) -> bool:
    if None in values.keys or len(values.keys) < COUNTED_ROWS:
        return False
    first = number_of(values.values[values.keys[0]])
    return first in (0, 1) and all(number_of(values.values[key]) == first + i for i, key in enumerate(values.keys))


def _kind_of_text(values: Values) -> Kind:
    distinct, filled, held = len(values.values), values.filled, values.values.values()
    if _is_identifier(values):
        return "identifier"
    if distinct > MOST_CATEGORIES:
        return "text"
    if distinct == 1 or distinct <= filled / 2:
        return "category"
    texts = [text_of(value) for value in held]
    spaced = sum(any(char.isspace() for char in text) for text in texts) >= distinct / 2
    long = sum(map(len, texts)) > LONG_TEXT * distinct
    return "text" if long or (spaced and filled >= NAMED_ROWS) else "category"


def _is_identifier(values: Values) -> bool:
    held, filled = values.values.values(), values.filled
    named = named_id(values.name) or (named_personal(values.name) and filled >= HANDFUL)
    if named and _mostly_own(values):
        return all(is_named_id_text(value) for value in held)
    if not _nearly_own(values):
        return False
    if all(is_uuid(value) for value in held) or (filled >= HANDFUL and all(is_personal(value) for value in held)):
        return True
    return filled >= NAMED_ROWS and all(is_id_text(value) for value in held)


def _categories(values: Values) -> tuple[Scalar, ...]:
    """The distinct values, as numbers where a CSV file holds nothing but numbers."""
    kind = number_kind(values) if values.written and values.values else None
    if kind is None:
        held = values.values.values()
        plain = {(type(each), each): each for each in map(_scalar, held)}
        return tuple(sorted(plain.values(), key=category_order))
    numbers = {number_of(value) for value in values.values.values()}
    typed: set[Scalar] = {number if kind[0] == "integer" else float(number) for number in numbers if number is not None}
    return tuple(sorted(typed, key=category_order))


def _scalar(value: object) -> Scalar:
    if isinstance(value, Scalar):
        return value
    number = number_of(value)
    return text_of(value) if number is None else number


def _truths(values: Values) -> tuple[bool, ...]:
    return tuple(
        sorted({value if isinstance(value, bool) else str(value).lower() == "true" for value in values.values.values()})
    )


def _form(values: Values, note: Callable[[str], None]) -> str:
    held = list(values.values.values())
    forms = date_forms(held)
    where = f"{values.origin}: column '{values.name}'"
    if not forms:
        raise InferenceError(f"{where}: no pattern of dates that is known reads all values; say it as 'form'.")
    if ambiguous(forms, held):
        others = ", ".join(forms[1:])
        note(f"{where}: dates are read as {forms[0]}; {others} would fit as well: say which as 'form'.")
    return forms[0]


def _places(values: Values, correction: Correction) -> int:
    if correction.places is not None:
        return correction.places
    kind = number_kind(values) if values.values else ("decimal", 0)
    if kind is not None and kind[0] == "float":
        raise InferenceError(
            f"{values.origin}: column '{values.name}' holds numbers too long or too large for kind decimal; say "
            f"'places', or take kind float."
        )
    return kind[1] if kind is not None else 0


def _codes(values: Values, column: Column) -> tuple[dict[Hashable, Cell], Column]:
    """Cells of the distinct values, and the column with the bounds of the data."""
    codes: dict[Hashable, Cell] = {}
    for key, value in values.values.items():
        try:
            codes[key] = column.cell(value)
        except CellError as error:
            raise InferenceError(
                f"{values.place(key)}: {quoted(value)} is no {column.described}; correct the cell, or the kind of the column."
            ) from error
    if column.kind not in ORDERED:
        return codes, column
    numbers = [code for code in codes.values() if isinstance(code, int)]
    low, high = (min(numbers), max(numbers)) if numbers else (0, -1)
    return codes, msgspec.structs.replace(column, low=low, high=high)


def _inside(values: Values, column: Column, codes: Mapping[Hashable, Cell]) -> None:
    """Refuse bounds of the recipe that the data breaks."""
    if column.kind not in ORDERED:
        return
    for key, code in codes.items():
        if isinstance(code, int) and not column.low <= code <= column.high:
            low, high = column.text(column.low), column.text(column.high)
            raise InferenceError(
                f"{values.place(key)}: {quoted(values.values[key])} is outside of {low} to {high}, as the recipe bounds the "
                f"column; widen the bounds or drop the row."
            )
