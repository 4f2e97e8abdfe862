"""The real texts that come in, by class, and how they are dealt to requests.

A row `{"text": "Nice, rain again", "label": "1"}` with `values: {"1": sarcastic}` is a ground of the class `sarcastic`.
Rows that cannot be one (no text, a text that was there before, a label of no class) are rejected with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from factory.draws import Candidates
from factory.errors import SourceError
from factory.methods.faithful_text.options import Options
from factory.methods.faithful_text.parse import normal
from factory.recipe.labelled import label_value
from factory.records import Record, Rejected, reject


class Ground(msgspec.Struct, frozen=True):
    """A real text: its record, the text on one line, and its class."""

    record: Record
    text: str
    label: str


class Grounds:
    """All real texts, in the order in which they came."""

    def __init__(self, options: Options) -> None:
        """None yet."""
        self._options = options
        self._seen: dict[str, Ground] = {}
        self._unknown: Counter[str] = Counter()
        self.all: list[Ground] = []

    def take(self, record: Record) -> Rejected | None:
        """Add a row, or say why it is no ground."""
        options = self._options
        value = record.fields.get(options.text)
        text = " ".join("" if value is None else str(value).split())
        if not text:
            return reject(record, "source", "empty_text", evidence=repr(value)[:200])
        named = label_value(record.fields.get(options.label))
        label = options.values.get(named, "" if options.values else named)
        if label not in options.classes:
            self._unknown[named] += 1
            return reject(record, "source", "unknown_label", evidence=f"the label is '{named}'"[:200])
        if (before := self.same(text)) is not None:
            evidence = f"{before.record.id} has this text, with the class '{before.label}'"
            return reject(record, "source", "duplicate_text", evidence=evidence)
        ground = Ground(record, text, label)
        self._seen[normal(text)] = ground
        self.all.append(ground)
        return None

    def same(self, text: str) -> Ground | None:
        """The real text that this one is a copy of, if there is one."""
        return self._seen.get(normal(text))

    def of(self, label: str) -> list[Ground]:
        """Real texts of a class."""
        return [ground for ground in self.all if ground.label == label]

    def check(self) -> list[str]:
        """What is worth knowing about the real texts, after the last one has come.

        Raises:
            SourceError: If a strategy shows texts that are not there.
        """
        strategies, notes = self._options.shares(), []
        if not self.all and set(strategies) != {"simple"}:
            wanted = ", ".join(sorted(set(strategies) - {"simple"}))
            raise SourceError(f"faithful_text: no real text came in, but {wanted} shows some{self._strangers()}.")
        for label in self._options.classes:
            count = len(self.of(label))
            if not count and "similar" in strategies:
                raise SourceError(
                    f"faithful_text: no text of the class '{label}' came in, but similar shows some{self._strangers()}; "
                    "add some to the rows, or take out similar."
                )
            if not count and self.all:
                notes.append(f"no text of the class '{label}' came in: its rows are made without")
            elif "similar" in strategies and count < self._options.shown:
                notes.append(
                    f"similar shows {count:,} of {self._options.shown:,} texts of '{label}': there are no more"
                )
        return notes

    def _strangers(self) -> str:
        if not self._unknown:
            return ""
        shown = ", ".join(f"'{name}' ({count:,})" for name, count in self._unknown.most_common(5))
        return f"; rows have labels that no class has: {shown}, which 'values' can map to classes"


PART = 4  # as many times the texts shown at once belong together


class Deal:
    """Deals places in rounds: each once a round, in an order that is the round's own.

    >>> deal = Deal(["aa" * 10, "bb" * 10, "cc" * 10], "plain/grounded")
    >>> sorted(deal.place(number) for number in (3, 4, 5))
    [0, 1, 2]
    """

    def __init__(self, names: Sequence[str], draw: str) -> None:
        """Deal among those ids (at least 16 hex digits each)."""
        self._names = list(names)
        self._candidates = Candidates(names)
        self._draw = draw
        self._round = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        """Places in a round."""
        return len(self._candidates)

    def place(self, number: int) -> int:
        """Which one the draw of that number gets."""
        turn, place = divmod(number, len(self))
        if turn != self._round:
            self._round, self._order = turn, self._candidates.draw(f"{self._draw}/{turn}", len(self))
        return self._order[place]

    def others(self, number: int, count: int) -> list[int]:
        """As many more for that draw, each another one."""
        own = self.place(number)
        drawn = self._candidates.draw(f"{self._draw}/others/{number}", len(self))
        part = self._part(own, count)
        return [place for place in drawn if place != own and self._part(place, count) == part][:count]

    def _part(self, place: int, count: int) -> int:
        """Part of the texts that are shown with each other and with no others.

        Were they mixed freely, every text would be tied to every other by the rows made of both, and no discriminator
        could be trained on texts that have nothing to do with the row that it judges.
        """
        parts = max(1, len(self) // (PART * (count + 1)))
        return int(self._names[place][:8], 16) % parts
