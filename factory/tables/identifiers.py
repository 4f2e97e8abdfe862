"""Identifiers made up in the pattern of known ones, none of which is given out again.

`fresh(column, ["C-00123", "C-00477"], 2, seed=1)` gives two like `"C-00591"`: the positions at which all known ones
agree are kept, the others are drawn from what is found there (digits, letters, hexadecimal digits). Where that leaves too
little room, all digits may differ, then all letters. What only a few of many agree in is a name rather than a pattern, and
is drawn too. Whole numbers that count up (or down, below 0) are counted on, others keep sign and number of digits. UUIDs
stay UUIDs, of version 4. Addresses of mail keep the hosts that at least two of them share, else they are at example.org.
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
from factory.tables.recognising import is_email, is_uuid

HEX_LETTERS = 8  # so many letters, all of a to f, are hexadecimal: by chance (6 / 26) ** 8, 8 in a million
FIRST_DIGITS = 10  # so many first digits without a zero: numbers are not padded there
SPARSE = 4  # with so much room for each identifier, drawing and looking whether it is taken is quick
TRIES = 50
MANY, FEW = 10, 3  # of at least so many identifiers, fewer than three that agree in a letter agree by chance
HOST = "example.org"  # kept free of real addresses, RFC 2606
MOST_WEIGHT = 10**100  # below the greatest double
_CLASSES = (
    (string.digits, string.digits),
    (string.ascii_lowercase, "abcdef"),
    (string.ascii_uppercase, "ABCDEF"),
)  # all of a class, and its hexadecimal digits
_LETTER = re.compile(r"[A-Za-z0-9]")
WIDENED = ("", string.digits, string.digits + string.ascii_letters)  # what may differ though all known ones agree


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
    if all(is_email(text) for text in texts):
        found = _emails(texts, taken, count, draws)
    else:
        tried = (_drawn(_patterns(texts, widened), taken, count, draws) for widened in WIDENED)
        found = next((each for each in tried if each is not None), None)
    if found is None:
        raise _no_room(column, count, texts[0])
    return list(found)


def _no_room(column: Column, count: int, example: object) -> IdentifierError:
    return IdentifierError(
        f"column '{column.name}': no room for {count:,} new identifiers like {example!r}; ask for fewer rows, or correct "
        f"the kind of the column."
    )


def _numbers(column: Column, taken: set[int], count: int, draws: random.Random) -> list[int]:
    first = max(taken, default=0) + 1
    if not taken or first - min(taken) <= 2 * len(taken):
        down = first <= 0
        return list(range(min(taken) - 1, min(taken) - 1 - count, -1) if down else range(first, first + count))
    spans = Counter((-1 if number < 0 else 1, len(str(abs(number)))) for number in taken)
    forms = sorted(spans)
    room = sum(9 * 10 ** (length - 1) for _, length in forms)
    if room < SPARSE * (count + len(taken)):
        every = (sign * n for sign, length in forms for n in range(10 ** (length - 1), 10**length))
        free = [number for number in every if number not in taken]
        if len(free) < count:
            raise _no_room(column, count, min(taken))
        return draws.sample(free, count)
    found: dict[int, None] = {}
    for attempt in itertools.count():
        if len(found) == count:
            break
        often = attempt < TRIES * count
        weights = [spans[form] if often else min(10 ** form[1], MOST_WEIGHT) for form in forms]
        sign, length = draws.choices(forms, weights)[0]
        number = sign * draws.randrange(10 ** (length - 1), 10**length)
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


def _emails(texts: Sequence[str], taken: set[str], count: int, draws: random.Random) -> list[str] | None:
    """Addresses: names with every letter and digit drawn anew but for what all begin with, at hosts that are shared."""
    parted = [text.rpartition("@") for text in texts]
    hosts = Counter(host for _, _, host in parted)
    commonest, known = min(hosts.items(), key=lambda item: (-item[1], item[0]))
    instead = commonest if known > 1 else HOST
    begin = _begin([name for name, _, _ in parted]) if len(texts) >= FEW else 0
    weights: Counter[tuple[str, ...]] = Counter()
    for name, _, host in parted:
        drawn = tuple(char if at < begin else _alike(char) for at, char in enumerate(name))
        weights[(*drawn, "@", *(host if hosts[host] > 1 else instead))] += 1
    return _drawn([Pattern(choices, weight) for choices, weight in sorted(weights.items())], taken, count, draws)


def _begin(texts: Sequence[str]) -> int:
    """Number of characters that all texts begin with."""
    least, greatest = min(texts), max(texts)
    return next((at for at, (one, two) in enumerate(zip(least, greatest, strict=False)) if one != two), len(least))


def _alike(char: str) -> str:
    """What may stand in the place of a character: letters of its case, digits, or only itself."""
    if char.isdigit():
        return string.digits
    if not char.isalpha():
        return char
    return string.ascii_uppercase if char.isupper() else string.ascii_lowercase


def _patterns(texts: Sequence[str], widened: str) -> list[Pattern]:
    """The patterns of texts; those of `widened` may differ also where all known ones agree."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(_LETTER.sub("x", text), []).append(text)
    agreed = _begin(texts) if len(texts) >= MANY else 0
    foreign = "".join(sorted({char for text in texts for char in text if char.isalpha() and not char.isascii()}))
    found = []
    for group in groups.values():
        by_chance = len(texts) >= MANY and len(group) < FEW
        differ = WIDENED[-1] if by_chance else WIDENED[1] + widened if len(group) == 1 else widened
        found.append(_pattern(group, differ, agreed if by_chance else 0, foreign))
    return found


def _pattern(group: Sequence[str], widened: str, agreed: int, foreign: str) -> Pattern:
    """The pattern of a group; `foreign` are the letters beyond ASCII of all groups."""
    letters = string.ascii_letters in widened
    columns = [set(column) for column in zip(*group, strict=True)]
    varied = [char for text in group for char, held in zip(text, columns, strict=True) if len(held) > 1]
    hexadecimal = _hexadecimal(varied)
    choices = []
    for at, held in enumerate(columns):
        may_differ = held <= set(widened) or (letters and min(held).isalpha())
        if len(held) == 1 and (at < agreed or not may_differ):
            choices.append(min(held))
            continue
        only_digits = all(char in string.digits for char in held)
        cases = {char.isupper() for char in held if char in foreign} if letters else set()
        chars = _choices(held, hexadecimal, [char for char in foreign if char.isupper() in cases])
        begins = at == 0 or not columns[at - 1] & set(string.digits)
        unpadded = only_digits and begins and "0" not in held and len(group) >= FIRST_DIGITS
        choices.append(chars.replace("0", "") if unpadded else chars)
    return Pattern(tuple(choices), len(group))


def _hexadecimal(chars: Sequence[str]) -> bool:
    letters = [char for char in chars if char not in string.digits]
    return len(letters) >= HEX_LETTERS and all(char in string.hexdigits for char in letters)


def _choices(held: set[str], hexadecimal: bool, more: Sequence[str]) -> str:
    """The characters of the classes that are found at a position, and more letters beyond ASCII."""
    found = ""
    for letters, few in _CLASSES:
        if held & set(letters) or (hexadecimal and letters == string.digits):
            found += few if hexadecimal else letters
    return found + "".join(sorted((held | set(more)) - set(string.ascii_letters + string.digits)))


def _drawn(patterns: Sequence[Pattern], taken: set[str], count: int, draws: random.Random) -> list[str] | None:
    """So many texts of the patterns; None where there are not so many."""
    room = sum(pattern.room for pattern in patterns)
    if room < SPARSE * (count + len(taken)):
        every = {"".join(chars) for pattern in patterns for chars in itertools.product(*pattern.choices)}
        free = sorted(every - taken)
        return draws.sample(free, count) if len(free) >= count else None
    found: dict[str, None] = {}
    often = list(itertools.accumulate(pattern.weight for pattern in patterns))
    later = list(itertools.accumulate(min(pattern.room, MOST_WEIGHT) for pattern in patterns))
    for attempt in itertools.count():
        if len(found) == count:
            break
        pattern = draws.choices(patterns, cum_weights=often if attempt < TRIES * count else later)[0]
        text = "".join(map(draws.choice, pattern.choices))
        if text not in taken:
            found[text] = None
    return list(found)
