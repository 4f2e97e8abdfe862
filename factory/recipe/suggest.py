"""The "did you mean" of error messages.

Example: `did_you_mean("max-token", ["max_tokens", "min_p"])` gives `" (did you mean 'max_tokens'?)"`,
ready to be put behind the sentence that names the unknown word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

CUTOFF = 0.7  # Of difflib's ratio in [0, 1]; `seed` and `sed` have 0.86, `seed` and `name` 0.25.
SWAPPED = 0.8  # For the same letters in another order: difflib gives `ot` and `to` only 0.5.
LONGEST_WORD = 80  # A longer word is no misspelt name, and comparing it would take long.


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like `word`.

    Case, hyphens, underscores, dots and spaces do not count. Of equally good words the first in the
    alphabet is taken, so that a set gives the same answer in every process.

    >>> did_you_mean("Top-P", ["top_p", "top_k"])
    " (did you mean 'top_p'?)"
    >>> did_you_mean("banana", ["top_p", "top_k"])
    ''

    Returns:
        `" (did you mean 'x'?)"`, or an empty string if nothing is like it or the word itself is known.
    """
    names = sorted(set(known))
    if not names or word in names or len(word) > LONGEST_WORD:
        return ""
    best = max(names, key=lambda name: _likeness(_letters(word), _letters(name)))
    return f" (did you mean '{best}'?)" if _likeness(_letters(word), _letters(best)) >= CUTOFF else ""


def _letters(name: str) -> str:
    return re.sub(r"[-_.\s]+", "", name.casefold())


def _likeness(left: str, right: str) -> float:
    ratio = SequenceMatcher(None, left, right, autojunk=False).ratio()
    return max(ratio, SWAPPED) if sorted(left) == sorted(right) else ratio
