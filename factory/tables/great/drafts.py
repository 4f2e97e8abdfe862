"""Rows on their way: what is decided of them, what they may choose next, and what decides it.

    drafting = Drafting(codec, rules, order="random")
    [draft] = drafting.begin([Want()], seed=7)
    draft.pending     # tokens that are decided and that the model has not read: "sex is"
    draft.choices     # ids of " Male" and " Female"
    draft.take(male)  # and what must follow is decided at once: ",", " age is", " "

Whatever reads tokens and gives logits can draw rows with this; with the same numbers of `drawing`, the same rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from factory.draws import uniforms
from factory.tables.domain import Cell, Domain
from factory.tables.great.automata import Automata, Node
from factory.tables.great.codec import RowCodec
from factory.tables.great.drawing import row_keys
from factory.tables.great.heads import ModelError
from factory.tables.great.unicode import Tokens
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Say, Want

_SAY_EVERY_S = 5.0
_ORDER_DRAWS = 1 << 32  # draws of orders are numbered from here, so that they are none of those of cells


class Draft:
    """A row that is being drawn.

    Attributes:
        index: Its number.
        key: Decides its draws.
        cells: Cells so far; the whole row once `done`.
        pending: Tokens that are decided and not fed yet.
        draws: How many tokens were drawn.
        done: Whether the row is whole.
        stuck: Whether nothing was left for some cell, so that the row is given up.
    """

    def __init__(self, drafting: Drafting, index: int, want: Want, key: np.uint64) -> None:
        """Begin, and go on to the first choice."""
        self._drafting = drafting
        self._codec = drafting.codec
        self._want = want.domains
        self._order = drafting.order(want, key)
        self._node: Node
        self._tokens: list[int] = []
        self.index, self.key = index, key
        self.cells: Cells = {}
        self.pending: list[int] = list(self._codec.opening)
        self.draws = 0
        self.done = self.stuck = False
        self._ahead()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be drawn."""
        return self.done or self.stuck

    @property
    def choices(self) -> Tokens:
        """The tokens that the next draw is from."""
        return self._node.choices(self._end)

    def take(self, token: int) -> None:
        """Go on with one of the choices, up to the next."""
        self.draws += 1
        if token == self._end and self._node.final:
            self._close()
            return
        self._tokens.append(token)
        self.pending.append(token)
        self._node = self._node.next(token)
        self._force()

    @property
    def _end(self) -> int:
        return self._codec.comma if len(self.cells) + 1 < len(self._order) else self._codec.eos

    def _force(self) -> None:
        tokens, self._node = self._node.forced
        self._tokens += tokens
        self.pending += tokens
        if self._node.final and not len(self._node.allowed):
            self._close()

    def _close(self) -> None:
        """End a cell, and go on to the first choice of the next that has one."""
        name = self._order[len(self.cells)]
        self.pending.append(self._end)
        self.cells[name] = self._codec.cell(name, tuple(self._tokens))
        self._ahead()

    def _ahead(self) -> None:
        if len(self.cells) == len(self._order):
            self.done = True
            return
        name = self._order[len(self.cells)]
        domain = self._drafting.domain(name, self.cells, self._want)
        if domain.empty:
            self.stuck = True
            return
        self.pending += self._codec.name(name, first=not self.cells)
        self._tokens = []
        self._node = self._drafting.automata.of(name, domain).start
        self._force()


class Drafting:
    """Begins rows, and says what their cells may be.

    Attributes:
        codec: How rows are written.
        automata: What each cell may be.
    """

    def __init__(
        self, codec: RowCodec, rules: Rules, *, order: str | Sequence[str] = "random", max_text_tokens: int = 64
    ) -> None:
        """Prepare.

        Args:
            codec: How rows are written.
            rules: What rows must keep.
            order: "random", or the learned columns in the order to draw them in (restricted ones still go first).
            max_text_tokens: Most tokens of a free text.

        Raises:
            ModelError: If the order does not name each column once.
        """
        self.codec = codec
        self.automata = Automata(codec, max_text_tokens)
        self._rules = rules
        self._random = order == "random"
        learned = [column.name for column in codec.schema.learned]
        self._names = learned if self._random else list(order)
        if sorted(self._names) != sorted(learned):
            raise ModelError(f"order is {self._names}; expected 'random' or each of {learned} once.")

    def begin(self, wants: Sequence[Want], seed: int, first: int = 0) -> list[Draft]:
        """A draft for each want; the first is number `first` of the rows of the seed."""
        keys = row_keys(seed, first + len(wants))[first:]
        return [Draft(self, first + at, want, key) for at, (want, key) in enumerate(zip(wants, keys, strict=True))]

    def domain(self, name: str, cells: Mapping[str, Cell], wanted: Mapping[str, Domain]) -> Domain:
        """What a cell may be, given those before it."""
        if name in self._rules.linked:
            return self._rules.narrow(name, cells, wanted)
        domain = self._rules.domains[name]
        return domain & wanted[name] if name in wanted else domain

    def order(self, want: Want, key: np.uint64) -> list[str]:
        """Restricted columns, the fewest possibilities first, then the others."""
        names = self._names
        if self._random:
            numbers = uniforms(np.full(len(names), key, dtype=np.uint64), _ORDER_DRAWS + np.arange(len(names)))
            names = [names[at] for at in np.argsort(numbers, kind="stable")]
        if not want.domains:
            return names
        given = [name for name in names if name in want.domains]
        given.sort(key=lambda name: _possibilities(self._rules.domains[name] & want.domains[name]))
        return given + [name for name in names if name not in want.domains]

    def kept(self, draft: Draft) -> Cells | None:
        """The cells of a whole row; None if it was given up."""
        if draft.stuck or self._rules.broken(draft.cells) is not None:
            return None
        return {name: draft.cells[name] for name in self._names}


class Progress:
    """Tells how many rows are drawn, counting begun ones in part, and when the rest will be."""

    def __init__(self, rows: int, columns: int, say: Say) -> None:
        """Begin to draw so many rows of so many columns."""
        self._rows, self._columns, self._say = rows, columns, say
        self._over = 0
        self._started = self._said = time.monotonic()

    def over(self) -> None:
        """Count a row that is over."""
        self._over += 1

    def tell(self, beside: Iterable[Draft]) -> None:
        """Say how far it is, with these rows begun, if that was long ago."""
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        drawn = self._over + sum(len(draft.cells) for draft in beside if not draft.over) / max(1, self._columns)
        rate = drawn / (now - self._started)
        left = f"{(self._rows - drawn) / rate:,.0f} s left" if rate else "just begun"
        self._say(f"drew {self._over:,} of {self._rows:,} rows, {rate:,.1f} a second, {left}")


def _possibilities(domain: Domain) -> float:
    return math.inf if domain.text else domain.size + len(domain.texts) + domain.null
