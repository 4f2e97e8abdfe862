"""What a text is written with: the share of symbols, of letters, and of each script.

    shares("f(x) = 2 ** x!")      -> Shares(symbols=0.6, letters=0.3)
    scripts("Привет, world")      -> {"Cyrillic": 6, "Latin": 5}

Scripts are told by the names that Unicode gives to letters; letters of none that is listed count as "Other".
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Final, Literal, get_args

import msgspec

Script = Literal[
    "Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Ethiopic", "Devanagari", "Bengali",
    "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan",
    "Myanmar", "Khmer", "Mongolian", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo",
]  # fmt: skip
OTHER: Final = "Other"
_NAMES: Final[dict[str, str]] = {name.upper(): name for name in get_args(Script)} | {"CJK": "Han", "IDEOGRAPHIC": "Han"}


class Shares(msgspec.Struct, frozen=True):
    """Shares of the characters that are not white space, in [0, 1].

    Attributes:
        symbols: Neither letters, marks of letters, nor digits.
        letters: Letters of any script, and their marks.
    """

    symbols: float
    letters: float


def shares(text: str) -> Shares:
    """What share of a text is symbols and letters; 0 of each for a text of white space."""
    counts: Counter[str] = Counter()
    for char, times in Counter(text).items():
        if not char.isspace():
            counts[_class(char)] += times
    total = counts.total() or 1
    return Shares(counts["symbol"] / total, counts["letter"] / total)


def scripts(text: str) -> dict[str, int]:
    """Letters of each script, the most frequent one first; of equally frequent ones the one that comes first."""
    counts: Counter[str] = Counter()
    for char, times in Counter(text).items():
        if (script := _script(char)) is not None:
            counts[script] += times
    return dict(counts.most_common())


@lru_cache(maxsize=1 << 16)
def _class(char: str) -> str:
    kind = unicodedata.category(char)[0]
    return "letter" if kind in "LM" else "digit" if kind == "N" else "symbol"


@lru_cache(maxsize=1 << 16)
def _script(char: str) -> str | None:
    """Script of a letter; None of other characters and of letters that serve all scripts."""
    name = unicodedata.name(char, OTHER)
    if not unicodedata.category(char).startswith("L") or name.startswith(("MODIFIER ", "MICRO ")):
        return None
    # "KATAKANA-HIRAGANA PROLONGED SOUND MARK"; "HALFWIDTH KATAKANA LETTER A" is made whole first.
    first = unicodedata.name(unicodedata.normalize("NFKD", char)[0], OTHER).split()[0].split("-")[0]
    return _NAMES.get(first, OTHER)
