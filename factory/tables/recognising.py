"""What distinct values look like: numbers, dates, truth values, or the names of things.

`number_kind({"0.1": "0.1", "2": "2"}, …)` is `("decimal", 1)`, and `date_forms(["31.12.1999"])` is `["%d.%m.%Y"]`.
Every rule here must hold for all values of a column; what to make of it is decided in `inferring`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Literal

from factory.tables.column import number_of
from factory.tables.dates import code_of_date
from factory.tables.gathering import InferenceError, Values
from factory.tables.numbers import LONGEST, scaled

Numeric = Literal["integer", "decimal", "float"]
PLACES = 10  # most digits behind the point of a decimal column; with more, values count as doubles
DIGITS = 15  # decimal digits that a double keeps
NULL_WORDS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "Null", "null", "None", "none", "?", "-"})
TRUTH_SPELLINGS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"})
INFINITE = frozenset(f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity"))
_NUMBER = re.compile(r"\s*-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\s*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ID_WORDS = frozenset({"id", "uuid", "guid"})
_WHOSE_ID = re.compile(
    r"(?:user|customer|client|person|patient|member|employee|account|order|product|item|record|session)id"
)
_PERSONAL = re.compile(
    r"(?:^|.* )(?:(?:e ?)?mail|(?:e ?)?mail address|(?:tele|cell|mobile )?phone|ssn|iban|passport|imei|user ?name|"
    r"(?:(?:tele|cell|mobile )?phone|mobile|fax|social security|passport|account|card|credit card) (?:number|no|nr)|"
    r"social security|(?:ip|mac) address)"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[^\W\d_]+")
LONGEST_ID, LONGEST_NAMED_ID = 64, 256
PERSONAL_NUMBER = 10**5  # phone and social security numbers are not below it; counts of calls are
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^\W\d_]{2,}")
_PHONE = re.compile(r"(?=.*[0-9].*[0-9].*[0-9].*[0-9].*[0-9].*[0-9].*[0-9])(?:\+|\()[0-9][0-9 ()/.\-]{5,24}")
_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_AMOUNT = re.compile(
    r"[-+~<>≤≥]?[$€£¥]?[0-9]{1,3}(?:[,.'][0-9]{3})*(?:[.,][0-9]+)?[%$€£¥]?|[-+<>≤≥$€£¥]?[0-9]+[.,][0-9]+[%$€£¥]?"
)
_MOMENT = re.compile(
    r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}.*|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}.*|[0-9]{1,2}:[0-9]{2}.*"
)
_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%-d.%-m.%Y", "%m/%d/%Y", "%-m/%-d/%Y", "%d/%m/%Y", "%-d/%-m/%Y",
    "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%-m/%-d/%y", "%d/%m/%y", "%-d/%-m/%y", "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y",
    "%d %b %Y", "%-d %b %Y", "%b %d, %Y", "%b %-d, %Y", "%d %B %Y", "%-d %B %Y", "%B %d, %Y", "%B %-d, %Y",
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%L", "%H:%M:%S.%f", "%-H:%M", "%-H:%M:%S", "%I:%M %p", "%-I:%M %p",
           "%I:%M:%S %p", "%-I:%M:%S %p")  # fmt: skip
_ZONES = ("", "Z", "+00:00")
_OTHER = ("%Y-%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%Y-%m-%dT%H", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p")
FORMS = (
    *_DATES,
    *(f"{day}{gap}{clock}" for day, gap, clock in itertools.product(_DATES, (" ", ", "), _CLOCKS)),
    *(f"%Y-%m-%dT{clock}{zone}" for clock, zone in itertools.product(_CLOCKS[:4], _ZONES)),
    *(f"%Y-%m-%d {clock}{zone}" for clock, zone in itertools.product(_CLOCKS[:4], _ZONES[1:])),
    *_OTHER,
)
_LONGEST_DATE = 40


def is_truth(values: Values) -> bool:
    """Whether all are truth values: typed ones, or true and false in one spelling in CSV."""
    held = values.values.values()
    if all(isinstance(value, bool) for value in held):
        return True
    return values.written and any(set(held) <= spelling for spelling in TRUTH_SPELLINGS)


def number_kind(values: Values) -> tuple[Numeric, int] | None:
    """The kind that holds all values as numbers, and its places; None where one is no number.

    In CSV a number has no plus sign and no zeros in front, which would be lost; elsewhere text is never a number.
    A decimal column has the most places that any value is written with, so that 0.1 and 0.10 are one value there; it
    has at most 10 places and 15 digits, which a double keeps. Typed floats count as written by `repr`, whole ones with
    0 places: the column stays one of floats.

    Raises:
        InferenceError: If a value is infinite, or beyond what a double holds, and all others are numbers.
    """
    texts: list[str] = []
    infinite = None
    for key, value in values.values.items():
        if _infinite(value, values.written):
            infinite = key
            continue
        text = _number_text(value, values.written)
        if text is None:
            return None
        texts.append(text)
    if infinite is not None and (texts or isinstance(values.values[infinite], float)):
        raise InferenceError(
            f"{values.place(infinite)}: {values.values[infinite]!r} is infinite or beyond what a double holds; put a "
            f"finite number there, or name it under 'missing'."
        )
    if not texts:
        return None
    whole = all(text.lstrip("-").isdigit() for text in texts)
    typed_floats = any(isinstance(value, float | Decimal) for value in values.values.values())
    return ("integer", 0) if whole and not typed_floats else _decimal(texts)


def _infinite(value: object, written: bool) -> bool:
    if isinstance(value, float | Decimal):
        return math.isinf(value)
    if not written or not isinstance(value, str):
        return False
    if value.strip().lower() in INFINITE:
        return True
    return "e" in value.lower() and _NUMBER.fullmatch(value) is not None and number_of(value) is None


def _number_text(value: object, written: bool) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    if written and isinstance(value, str) and len(value) <= LONGEST and _NUMBER.fullmatch(value):
        return value.strip()
    return None


def _decimal(texts: Sequence[str]) -> tuple[Numeric, int]:
    if any("e" in text or "E" in text for text in texts):
        return "float", 0
    places = max(len(text.partition(".")[2]) for text in texts)
    if places > PLACES:
        places = max(len(text.partition(".")[2].rstrip("0")) for text in texts)
    if places > PLACES or any(abs(scaled(text, places)) >= 10**DIGITS for text in texts):
        return "float", 0
    return "decimal", places


def fits_date(text: object, form: str) -> bool:
    """Whether a value is a date as the pattern writes it."""
    try:
        code_of_date(str(text), form)
    except ValueError:
        return False
    return isinstance(text, str)


def date_forms(values: Collection[object]) -> list[str]:
    """The patterns that read all values, and write them as they are; the likelier first."""
    first = next(iter(values), None)
    if not isinstance(first, str) or len(first) > _LONGEST_DATE or not any(char.isdigit() for char in first):
        return []
    forms = [form for form in FORMS if fits_date(first, form)]
    for value in values:
        if not forms:
            return []
        forms = [form for form in forms if fits_date(value, form)]
    return forms


def ambiguous(forms: Sequence[str], values: Iterable[object]) -> bool:
    """Whether two patterns that fit make different dates of a value, as of 01/02/2024."""
    return len(forms) > 1 and any(len({code_of_date(str(value), form) for form in forms}) > 1 for value in values)


def named_id(name: str) -> bool:
    """Whether a column is named like an identifier.

    >>> [named_id(name) for name in ("id", "customer_id", "userId", "userid", "id_number", "paid", "Customer ID")]
    [True, True, True, True, True, False, True]
    """
    words = _words(name)
    return bool(words) and (words[-1] in _ID_WORDS or words[0] == "id" or _WHOSE_ID.fullmatch(words[-1]) is not None)


def named_personal(name: str) -> bool:
    """Whether a column is named after what tells people apart: an address of mail, a telephone number, and the like.

    >>> [named_personal(name) for name in ("email", "E-Mail", "homePhone", "phone_number", "ssn", "phones sold")]
    [True, True, True, True, True, False]
    """
    return _PERSONAL.fullmatch(" ".join(_words(name))) is not None


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def is_uuid(value: object) -> bool:
    """Whether a text has the form of a UUID."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def is_email(value: object) -> bool:
    """Whether a text has the form of an address of mail."""
    return isinstance(value, str) and _EMAIL.fullmatch(value) is not None


def is_personal(value: object) -> bool:
    """Whether a text has the form of what tells people apart: an address of mail, a telephone number with its code in
    front, or a social security number.
    """  # noqa: D205
    return is_email(value) or (isinstance(value, str) and bool(_PHONE.fullmatch(value) or _SSN.fullmatch(value)))


def is_id_text(value: object) -> bool:
    """Whether a text may be an identifier: short, of visible characters, without spaces, and no amount or date."""
    plain = isinstance(value, str) and 1 <= len(value) <= LONGEST_ID and value.isprintable()
    return plain and not any(map(str.isspace, str(value))) and not is_measure(str(value))


def is_measure(text: str) -> bool:
    """Whether a text reads as an amount or a date, though in no pattern that is known.

    >>> [is_measure(text) for text in ("1,250.00", "12.5%", "2024-01-31T10:00:00+02:00", "00123", "10.0.0.1")]
    [True, True, True, False, False]
    """
    padded = text.isdigit()  # what has nothing but digits is text because of zeros in front
    return not padded and (_AMOUNT.fullmatch(text) is not None or _MOMENT.fullmatch(text) is not None)


def is_named_id_text(value: object) -> bool:
    """Whether a column that is named like an identifier may hold it: whole numbers and texts of one line."""
    if isinstance(value, str):
        return 1 <= len(value) <= LONGEST_NAMED_ID and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool)
