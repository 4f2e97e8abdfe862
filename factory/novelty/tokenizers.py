"""Text to tokens, for comparing texts by ROUGE-L.

Three ways, by name:

* `rouge`: what the package rouge_score does without a stemmer, token for token: lower-case, then runs
  of a-z and 0-9. Self-Instruct (arXiv 2212.10560) and Alpaca filter with it.
* `unicode`: for every script. Compatibility forms and case are folded (NFKC, casefold, NFKC again);
  scripts written without spaces give one token per character, every other run of letters, marks and
  digits gives one token.
* `auto`: `unicode` for a text with at least one letter of a non-Latin script, `rouge` for all others,
  so English decisions equal the reference's. Deviation: `rouge` alone turns "写一首诗" into nothing
  (a verbatim repeat would pass as new) and two Chinese texts that share the word "Python" into equals.

Example:
    >>> tokenize("Don't write 写诗 in Café-style!", "rouge")
    ['don', 't', 'write', 'in', 'caf', 'style']
    >>> tokenize("Don't write 写诗 in Café-style!", "unicode")
    ['don', 't', 'write', '写', '诗', 'in', 'café', 'style']
    >>> tokenize("Café", "auto"), tokenize("Кафе №5", "auto")
    (['caf'], ['кафе', 'no5'])

Characters are classed by Python's own `unicodedata`; one that a Python version does not know yet separates.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Tokenizer = Literal["auto", "rouge", "unicode"]

_ROUGE_TOKEN = re.compile("[a-z0-9]+")

# By the first words of a character's Unicode name: ideographs, kana, the scripts without spaces between
# words (line-break class SA of Unicode Annex 14), and Hangul. Korean does have spaces, but its particles
# are glued to the nouns and spacing varies between writers ("서울의 날씨", "서울 날씨", "서울날씨"):
# by words such near-duplicates share next to nothing, by syllables nearly everything.
_ONE_TOKEN_EACH = (
    *("CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HANGUL "),
    *("THAI ", "LAO ", "KHMER ", "MYANMAR ", "TAI ", "NEW TAI LUE ", "AHOM "),
)
_ZERO_WIDTH_SPACE = "\u200b"
_MICRO_SIGN = "\u00b5"


def tokenize(text: str, kind: Tokenizer) -> list[str]:
    """Split a text into the tokens that are compared.

    Any string will do, lone surrogates included; the list is empty if nothing in the text counts.
    """
    # On ASCII all three are the same: folding there is lower-casing, and only a-z and 0-9 are in words.
    if kind == "rouge" or text.isascii() or (kind == "auto" and not _has_non_latin_letter(text)):
        return _ROUGE_TOKEN.findall(text.lower())
    return _fold(text).translate(_SPACING).split()


def _fold(text: str) -> str:
    """Make compatibility forms and upper case equal to their plain forms."""
    # Case folding can leave a letter decomposed ("ΐ" does), hence composed once more.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _has_non_latin_letter(text: str) -> bool:
    return any(char > "\x7f" and _is_non_latin_letter(char) for char in text)


@lru_cache(maxsize=1 << 16)
def _is_non_latin_letter(char: str) -> bool:
    """Whether a character is a letter of a script other than Latin.

    Letters that belong to no script (modifier letters, the micro sign) do not count; styled letters
    such as the full-width or mathematical ones count as what they stand for.
    """
    if not unicodedata.category(char).startswith("L") or char == _MICRO_SIGN:
        return False
    base = unicodedata.normalize("NFKD", char)[0]
    return not unicodedata.name(base, "").startswith(("LATIN ", "MODIFIER LETTER "))


class _Spacing(dict[int, str]):
    """Translation table that sets tokens apart by spaces; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = spaced = _spaced(chr(code))
        return spaced


def _spaced(char: str) -> str:
    """What a character becomes before the text is split at spaces."""
    category = unicodedata.category(char)
    name = unicodedata.name(char, "")
    if char == _ZERO_WIDTH_SPACE:
        return " "
    if category in ("Cf", "Me") or "VARIATION SELECTOR" in name:
        return ""  # joiners, soft hyphens, emoji styles: invisible, so they must not make a word differ
    if category[0] not in "LMN":
        return " "
    return f" {char} " if name.startswith(_ONE_TOKEN_EACH) else char


_SPACING = _Spacing()
