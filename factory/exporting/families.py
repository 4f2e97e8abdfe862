"""Splits that do not leak: rows that must not be parted are on one side, whatever the shares.

A family is what descends from one source record, with all families that share a question with it. Its side follows
from a hash of its name: `side(0.97, validation=0.1, test=0.05)` is "test", as the last 5 % of all hashes are; a larger
validation share takes more families and moves no other. So the split of a row stays when rows are added, unless they
tie families together.
"""

from __future__ import annotations

from collections.abc import Iterable

from factory.exporting.item import Item
from factory.records import digest

SPLITS = ("train", "validation", "test")
_KIN = "~"  # behind all digits of an id, so that a root names its family


def side(share: float, *, validation: float, test: float) -> str:
    """The split of a family with that number in [0, 1)."""
    if share < validation:
        return "validation"
    return "test" if share >= 1.0 - test else "train"


class Families:
    """Rows that must not be parted: of one source record, of sources that share a question, of one instruction."""

    def __init__(self, items: Iterable[Item]) -> None:
        """Look at every row once."""
        self._elder: dict[str, str] = {}
        first_asked: dict[str, str] = {}
        for item in items:
            name = _names(item)[0]
            for other in _names(item)[1:]:
                self._join(name, other)
            self._join(first_asked.setdefault(digest(plain(item.asked)), name), name)

    def _join(self, one: str, other: str) -> None:
        """The smaller name stands for both, so that the order of the rows plays no part."""
        one, other = sorted((self._eldest(one), self._eldest(other)))
        if one != other:
            self._elder[other] = one

    def _eldest(self, name: str) -> str:
        eldest = name
        while eldest in self._elder:
            eldest = self._elder[eldest]
        while name != eldest:  # the next look is short
            self._elder[name], name = eldest, self._elder[name]
        return eldest

    def share(self, item: Item) -> float:
        """A number in [0, 1) that is the same for all rows of a family."""
        family = self._eldest(_names(item)[0]).removeprefix(_KIN)
        return int(digest("split", family)[:12], 16) / 16**12


def _names(item: Item) -> tuple[str, ...]:
    return item.roots or (_KIN + plain(item.kin),)


def plain(text: str) -> str:
    """Equal for texts that differ in case and spacing only."""
    return " ".join(text.casefold().split())
