"""The "did you mean" of messages about columns and categories.

`did_you_mean("educaton", ["age", "education"])` is `" (did you mean 'education'?)"`, to be put behind the unknown word.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.6  # of difflib's ratio in [0, 1]
LONGEST = 80  # a longer word is no misspelt name, and comparing it would take long


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like `word`, case aside; empty where nothing is like it."""
    names = {name.casefold(): name for name in sorted(known, reverse=True) if len(name) <= LONGEST}
    if len(word) > LONGEST:
        return ""
    found = get_close_matches(word.casefold(), names, n=1, cutoff=CUTOFF)
    return f" (did you mean '{names[found[0]]}'?)" if found else ""
