"""Dates and times as whole numbers: how a pattern reads them, counts them and writes them back.

`code_of_date("2024-02-29", "%Y-%m-%d")` is 19782, the days since 1970, and `date_of(19782, "%Y-%m-%d")` writes it
again. The pattern decides what is counted: microseconds, milliseconds, seconds, minutes, hours, days or months.

Directives are those of `strftime` that do not depend on the language of the machine: %Y %y %m %d %H %I %M %S %f %p %b %B,
with English names of months. Two more for what files hold often: %L is milliseconds (three digits), and a dash, as in
%-d, leaves out the zero in front. `strptime` is not used, as it knows neither and reads names in the machine's language.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
SHORT_MONTHS = tuple(month[:3] for month in MONTHS)
HALVES = ("AM", "PM")
SECOND = 10**6
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1)
_PIVOT = 69  # %y: 69 to 99 are of the 20th century, as in POSIX
_READ = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "f": "[0-9]{6}",
    "L": "[0-9]{3}",
    "p": "|".join(HALVES),
    "b": "|".join(SHORT_MONTHS),
    "B": "|".join(MONTHS),
    **dict.fromkeys("mdHIMS", "[0-9]{2}"),
}
_WRITE: dict[str, Callable[[datetime], str]] = {
    "Y": lambda moment: f"{moment.year:04d}",
    "y": lambda moment: f"{moment.year % 100:02d}",
    "m": lambda moment: f"{moment.month:02d}",
    "d": lambda moment: f"{moment.day:02d}",
    "H": lambda moment: f"{moment.hour:02d}",
    "I": lambda moment: f"{(moment.hour - 1) % 12 + 1:02d}",
    "M": lambda moment: f"{moment.minute:02d}",
    "S": lambda moment: f"{moment.second:02d}",
    "f": lambda moment: f"{moment.microsecond:06d}",
    "L": lambda moment: f"{moment.microsecond // 1000:03d}",
    "p": lambda moment: HALVES[moment.hour // 12],
    "b": lambda moment: SHORT_MONTHS[moment.month - 1],
    "B": lambda moment: MONTHS[moment.month - 1],
}
_DIRECTIVE = re.compile(r"%(-?)(.?)")


@lru_cache(maxsize=1024)
def step_us(form: str) -> int:
    """Microseconds of what a date pattern counts; 0 where it counts months, which differ in length.

    >>> step_us("%Y-%m-%d"), step_us("%H:%M"), step_us("%m/%Y")
    (86400000000, 60000000, 0)
    """
    letters = {letter for _, letter in _DIRECTIVE.findall(form)}
    for held, step in (("f", 1), ("L", 1000), ("S", SECOND), ("M", 60 * SECOND), ("HI", 3600 * SECOND), ("d", DAY)):
        if letters & set(held):
            return step
    return 0


def code_of_date(text: str, form: str) -> int:
    """Steps since 1970 of a date written like that.

    Raises:
        ValueError: If it is written otherwise; also where the pattern would write it otherwise.
    """
    code = _code(_moment(text, form), form)
    if date_of(code, form) != text:
        raise ValueError(f"{text} is not as {form} writes it")
    return code


def date_of(code: int, form: str) -> str:
    """The date of a code, as the pattern writes it.

    Raises:
        ValueError: If it lies outside of the years 1 to 9999.
    """
    return write_date(_at(code, form), form)


def write_date(moment: datetime, form: str) -> str:
    """A moment as the pattern writes it."""
    return "".join(part if isinstance(part, str) else part(moment) for part in _compiled(form)[1])


def instant(code: int, form: str) -> int:
    """Microseconds since 1970 at which the step of a code begins, to compare dates of different patterns."""
    return (_at(code, form) - _EPOCH) // timedelta(microseconds=1)


def code_at(microseconds: int, form: str) -> int:
    """The code of the step that holds an instant.

    >>> code_at(instant(3, "%Y-%m"), "%Y-%m")
    3
    """
    step = step_us(form)
    return microseconds // step if step else _code(_EPOCH + timedelta(microseconds=microseconds), form)


def known_form(form: str) -> bool:
    """Whether the pattern has only directives that are known, and says a date or a time without gaps.

    >>> known_form("%d.%m.%Y"), known_form("%Y-%d"), known_form("week %U")
    (True, False, False)
    """
    found = [letter for _, letter in _DIRECTIVE.findall(form)]
    letters = {"b": "m", "B": "m", "y": "Y", "L": "f"}
    plain = [letters.get(letter, letter) for letter in found if letter != "%"]
    if not all(letter in _READ for letter in found if letter != "%") or len(set(plain)) != len(plain):
        return False
    if ("I" in plain) != ("p" in plain) or {"H", "I"} <= set(plain):
        return False
    held = "".join(sorted(set("".join(plain).replace("I", "H").replace("p", ""))))
    dates, times = ("Ym", "Ydm"), ("H", "HM", "HMS", "HMSf")
    kinds = {"".join(sorted(date + time)) for date in ("", "Ydm") for time in times} | {
        "".join(sorted(d)) for d in dates
    }
    return held in kinds


def _at(code: int, form: str) -> datetime:
    step = step_us(form)
    try:
        if step:
            return _EPOCH + timedelta(microseconds=code * step)
        return datetime(1970 + code // 12, code % 12 + 1, 1)
    except OverflowError as error:
        raise ValueError(f"{code} is no date of the years 1 to 9999") from error


def _code(moment: datetime, form: str) -> int:
    step = step_us(form)
    if step:
        return (moment - _EPOCH) // timedelta(microseconds=step)
    return (moment.year - 1970) * 12 + moment.month - 1


def _moment(text: str, form: str) -> datetime:
    found = _compiled(form)[0].fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is not like {form}")
    parts = found.groupdict()
    hour = int(parts.get("H", 0))
    if "p" in parts:
        hour = int(parts["I"]) % 12 + 12 * HALVES.index(parts["p"])
    microsecond = int(parts["f"]) if "f" in parts else 1000 * int(parts.get("L", 0))
    clock = (hour, int(parts.get("M", 0)), int(parts.get("S", 0)), microsecond)
    return datetime(_year(parts), _month(parts), int(parts.get("d", 1)), *clock)


def _year(parts: dict[str, str]) -> int:
    if "y" in parts:
        short = int(parts["y"])
        return short + (1900 if short >= _PIVOT else 2000)
    return int(parts.get("Y", 1970))


def _month(parts: dict[str, str]) -> int:
    if "B" in parts:
        return MONTHS.index(parts["B"]) + 1
    return SHORT_MONTHS.index(parts["b"]) + 1 if "b" in parts else int(parts.get("m", 1))


@lru_cache(maxsize=1024)
def _compiled(form: str) -> tuple[re.Pattern[str], list[str | Callable[[datetime], str]]]:
    if not known_form(form):
        raise ValueError(f"{form} is no pattern of dates that is known")
    read, write, at = "", list[str | Callable[[datetime], str]](), 0
    for found in _DIRECTIVE.finditer(form):
        read += re.escape(form[at : found.start()])
        write.append(form[at : found.start()])
        dash, letter = found.groups()
        if letter == "%":
            read, write = read + "%", [*write, "%"]
        else:
            read += f"(?P<{letter}>{'[0-9]{1,2}' if dash else _READ[letter]})"
            write.append(_bare(_WRITE[letter]) if dash else _WRITE[letter])
        at = found.end()
    return re.compile(read + re.escape(form[at:])), [*write, form[at:]]


def _bare(written: Callable[[datetime], str]) -> Callable[[datetime], str]:
    return lambda moment: written(moment).lstrip("0") or "0"


def utc(moment: datetime) -> datetime:
    """A moment without time zone: that of UTC where it has one."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
