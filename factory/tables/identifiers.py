"""Identifiers made up in the pattern of known ones, none of which is given out again.

`fresh(column, ["C-00123", "C-00477"], 2, seed=1)` gives two like `"C-00591"`: the positions at which all known ones
agree are kept, the others are drawn from what is found there (digits, letters, hexadecimal digits). Whole numbers that
count up are counted on, others keep their number of digits. UUIDs stay UUIDs, of version 4.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import string
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.domain import Cell
from factory.tables.recognising import is_uuid

HEX_LETTERS = 8  # so many letters, all of a to f, are hexadecimal: by chance (6 / 26) ** 8, 8 in a million
FIRST_DIGITS = 10  # so many first digits without a zero: numbers are not padded there
SPARSE = 4  # with so much room for each identifier, drawing and looking whether it is taken is quick
TRIES = 50
MOST_WEIGHT = 10**100  # below the greatest double
_CLASSES = (
    (string.digits, string.digits),
    (string.ascii_lowercase, "abcdef"),
    (string.ascii_uppercase, "ABCDEF"),
)  # all of a class, and its hexadecimal digits
_LETTER = re.compile(r"[A-Za-z0-9]")


class IdentifierError(UserError):
    """A pattern of identifiers that has no room for more."""


@dataclass(frozen=True)
class Pattern:
    """Identifiers of one length with their other signs in the same places.

    Attributes:
        choices: Characters that each position may have.
        weight: Number of known identifiers of the pattern.
    """

    choices: tuple[str, ...]
    weight: int

    @property
    def room(self) -> int:
        """Number of different identifiers."""
        return math.prod(map(len, self.choices))


def fresh(column: Column, known: Iterable[Cell], count: int, seed: int) -> list[str | int]:
    """Made-up identifiers, all different and none of them known.

    Args:
        column: The column, of kind `identifier`; `numeric` says that values are whole numbers.
        known: Its cells in the table; missing ones are passed over.
        count: How many.
        seed: Decides which.

    Returns:
        Values: ints for a numeric column, else texts. With nothing known they count from 1.

    Raises:
        IdentifierError: If the pattern has no room for so many.
    """
    draws = random.Random(seed)
    taken = {str(cell) for cell in known if cell is not None}
    if column.numeric or not taken:
        numbers = _numbers(column, {int(cell) for cell in taken}, count, draws)
        return list(numbers) if column.numeric else [str(number) for number in numbers]
    if all(is_uuid(text) for text in taken):
        return list(_uuids(taken, count, draws))
    texts = sorted(taken)
    for widened in (False, True):
        found = _drawn(_patterns(texts, widened), taken, count, draws)
        if found is not None:
            return list(found)
    raise _no_room(column, count, texts[0])


def _no_room(column: Column, count: int, example: object) -> IdentifierError:
    return IdentifierError(
        f"column '{column.name}': no room for {count:,} new identifiers like {example!r}; ask for fewer rows, or correct "
        f"the kind of the column."
    )


def _numbers(column: Column, taken: set[int], count: int, draws: random.Random) -> list[int]:
    first = max(taken, default=0) + 1
    if not taken or first - min(taken) <= 2 * len(taken):
        return list(range(first, first + count))
    spans = Counter(max(1, len(str(abs(number)))) for number in taken)
    digits = sorted(spans)
    room = sum(9 * 10 ** (length - 1) for length in digits)
    if room < SPARSE * (count + len(taken)):
        free = [n for length in digits for n in range(10 ** (length - 1), 10**length) if n not in taken]
        if len(free) < count:
            raise _no_room(column, count, min(taken))
        return draws.sample(free, count)
    found: dict[int, None] = {}
    for attempt in itertools.count():
        if len(found) == count:
            break
        often = attempt < TRIES * count
        length = draws.choices(digits, [spans[d] if often else min(10**d, MOST_WEIGHT) for d in digits])[0]
        number = draws.randrange(10 ** (length - 1), 10**length)
        if number not in taken:
            found[number] = None
    return list(found)


def _uuids(taken: set[str], count: int, draws: random.Random) -> Iterator[str]:
    upper = all(text == text.upper() for text in taken)
    seen = {text.lower() for text in taken}
    while count:
        made = str(uuid.UUID(int=draws.getrandbits(128), version=4))
        if made not in seen:
            seen.add(made)
            count -= 1
            yield made.upper() if upper else made


def _patterns(texts: Sequence[str], widened: bool) -> list[Pattern]:
    """The patterns of texts; if widened, digits and letters may differ also where all known ones agree."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(_LETTER.sub("x", text), []).append(text)
    return [_pattern(group, widened or len(group) == 1) for group in groups.values()]


def _pattern(group: Sequence[str], widened: bool) -> Pattern:
    columns = [set(column) for column in zip(*group, strict=True)]
    varied = [char for text in group for char, held in zip(text, columns, strict=True) if len(held) > 1]
    hexadecimal = _hexadecimal(varied)
    choices = []
    for at, held in enumerate(columns):
        only_digits = all(char in string.digits for char in held)
        if len(held) == 1 and not (widened and only_digits):
            choices.append(min(held))
            continue
        chars = _choices(held, hexadecimal)
        begins = at == 0 or not columns[at - 1] & set(string.digits)
        unpadded = only_digits and begins and "0" not in held and len(group) >= FIRST_DIGITS
        choices.append(chars.replace("0", "") if unpadded else chars)
    return Pattern(tuple(choices), len(group))


def _hexadecimal(chars: Sequence[str]) -> bool:
    letters = [char for char in chars if char not in string.digits]
    return len(letters) >= HEX_LETTERS and all(char in string.hexdigits for char in letters)


def _choices(held: set[str], hexadecimal: bool) -> str:
    """The characters of the classes that are found at a position."""
    found = ""
    for letters, few in _CLASSES:
        if held & set(letters) or (hexadecimal and letters == string.digits):
            found += few if hexadecimal else letters
    return found + "".join(sorted(held - set(string.ascii_letters + string.digits)))


def _drawn(patterns: Sequence[Pattern], taken: set[str], count: int, draws: random.Random) -> list[str] | None:
    """So many texts of the patterns; None where there are not so many."""
    room = sum(pattern.room for pattern in patterns)
    if room < SPARSE * (count + len(taken)):
        every = {"".join(chars) for pattern in patterns for chars in itertools.product(*pattern.choices)}
        free = sorted(every - taken)
        return draws.sample(free, count) if len(free) >= count else None
    found: dict[str, None] = {}
    for attempt in itertools.count():
        if len(found) == count:
            break
        often = attempt < TRIES * count
        pattern = draws.choices(patterns, [p.weight if often else min(p.room, MOST_WEIGHT) for p in patterns])[0]
        text = "".join(map(draws.choice, pattern.choices))
        if text not in taken:
            found[text] = None
    return list(found)
