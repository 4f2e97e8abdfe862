r"""Exact duplicates among texts, by a hash of each.

    pool = DuplicatePool("whitespace+case")
    pool.add(["Name three rivers."])       -> None      (nothing like it before)
    pool.add(["  name three\nRIVERS. "])   -> 0         (the first text, counted from 0)

Only 16 bytes of a text are kept, and its number: about 160 bytes a text with what Python needs around them, whatever
the length of the texts. Two different texts share a hash of 128 bits with a chance of 1e-27 in a pool of a million.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Final, Literal

Normalize = Literal["none", "whitespace+case"]
HASH_BYTES: Final = 16


class DuplicatePool:
    """Texts that were seen; each has one part or several (the columns of a row)."""

    def __init__(self, normalize: Normalize = "none") -> None:
        """Start with no texts."""
        self._normalize = normalize
        self._first: dict[bytes, int] = {}
        self._seen = 0

    def __len__(self) -> int:
        """How many different texts were added."""
        return len(self._first)

    def add(self, parts: Sequence[str]) -> int | None:
        """Count a text, and return the number of the first one that equals it; None if it is the first.

        Numbers count every call from 0, of duplicates too, so that they are those of the rows.
        """
        number, self._seen = self._seen, self._seen + 1
        first = self._first.setdefault(_hash(parts, self._normalize), number)
        return None if first == number else first

    def skip(self) -> None:
        """Count a text that is not compared."""
        self._seen += 1


def normalized(text: str, how: Normalize) -> str:
    r"""The form in which texts are compared.

    `whitespace+case` makes compatibility forms equal (NFKC), folds case, and makes white space one space.

    >>> normalized("  Ｎame\tTHREE rivers ", "whitespace+case")
    'name three rivers'
    """
    if how == "none":
        return text
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Case folding can leave a letter decomposed ("ΐ" does), hence composed once more.
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _hash(parts: Sequence[str], how: Normalize) -> bytes:
    """16 bytes of all parts; each goes in behind its length, so that no two lists of parts read alike."""
    hashed = hashlib.blake2b(digest_size=HASH_BYTES)
    for part in parts:
        encoded = normalized(part, how).encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "little"))
        hashed.update(encoded)
    return hashed.digest()
