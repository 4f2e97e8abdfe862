"""What each request of a class asks for: strategy, real texts and node, all decided by its number.

Request 0 of the class `plain` may be `Asking(strategy="grounded", grounds=[…], node=None, draw="plain/grounded/5f0c…/0")`.
Strategies take turns by their shares; real texts and nodes are dealt in rounds, so that each is used as often as any
other, give or take one. A request is named by what it shows, not by its number: it outlives an edit of other rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from factory.methods.faithful_text.grounds import Deal, Ground, Grounds
from factory.methods.faithful_text.options import Options, Strategy
from factory.records import Record


class Asking(msgspec.Struct, frozen=True):
    """One request for texts of a class.

    Attributes:
        label: The class.
        strategy: How it is asked for.
        grounds: Real texts shown; the first one is the ground of the rows.
        node: The way, as the record of the answer that named it.
        draw: Names the request.
        number: How many requests of the class and strategy came before it.
    """

    label: str
    strategy: Strategy
    grounds: list[Ground]
    node: Record | None
    draw: str
    number: int

    @property
    def parents(self) -> tuple[str, ...]:
        """Records that a row of this request is made from."""
        return (*(ground.record.id for ground in self.grounds), *([] if self.node is None else [self.node.id]))

    @property
    def root(self) -> str | None:
        """The source that a row descends from, if it is one alone."""
        return self.grounds[0].record.family if len(self.grounds) == 1 else None

    def fields(self, options: Options) -> dict[str, Any]:
        """Columns that a row has besides its text."""
        ground = self.grounds[0] if self.grounds else None
        fields = {
            "label": self.label,
            "strategy": self.strategy,
            "node": None if self.node is None else self.node.fields["node"],
            "ground_id": None if ground is None else ground.record.id,
        }
        if options.keep_ground:
            fields["ground"] = None if ground is None else ground.text
            fields["ground_label"] = None if ground is None else ground.label
        return fields


class Requests:
    """The requests of a class, one after the other."""

    def __init__(self, options: Options, seed: str, label: str, grounds: Grounds, nodes: Sequence[Record]) -> None:
        """Begin with the first one; without nodes there is no turn for `taxonomy`."""
        self._options = options
        self._label = label
        self._grounds: Mapping[str, list[Ground]] = {
            name: grounds.of(label) if name == "similar" else grounds.all for name in options.shares()
        }
        self._nodes = nodes
        self._deals = {
            name: Deal([ground.record.id for ground in chosen], f"{seed}/{label}/{name}")
            for name, chosen in self._grounds.items()
        }
        self._node_deal = Deal([node.id for node in nodes], f"{seed}/{label}/nodes")
        self.shares = {name: share for name, share in options.shares().items() if name != "taxonomy" or nodes}
        self._made = dict.fromkeys(self.shares, 0)

    def next(self) -> Asking:
        """The next request: of the strategy that is furthest behind its share."""
        strategy = min(self.shares, key=lambda name: (self._made[name] + 1) / self.shares[name])
        number = self._made[strategy]
        self._made[strategy] += 1
        if strategy == "simple":
            return Asking(self._label, strategy, [], None, f"{self._label}/simple/{number}", number)
        deal, chosen = self._deals[strategy], self._grounds[strategy]
        places = [deal.place(number)]
        if strategy == "similar":
            places += deal.others(number, self._options.shown - 1)
        grounds = [chosen[place] for place in places]
        node = self._nodes[self._node_deal.place(number)] if strategy == "taxonomy" else None
        shown = "/".join([grounds[0].record.id, *([] if node is None else [node.id])])
        draw = f"{self._label}/{strategy}/{shown}/{number // len(deal)}"
        return Asking(self._label, strategy, grounds, node, draw, number)
