"""A row as it is being drawn: the tokens that are decided, and those among which the model has the next choice.

    walk = Walk(want, order, automata, rules)
    walk.tokens      # "sex is", as the name of the first column must come
    walk.choices     # ids of " Male" and " Female"; the model's scores of these alone decide
    walk.take(token) # and what must follow is decided at once: ",", " age is", " "

Whatever must follow a choice (the rest of a value, a comma, the next name, a cell with only one value left) is appended
without asking the model. Each column's domain is narrowed by the cells before it when its turn comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factory.tables.great.automata import Automata, Node
from factory.tables.great.unicode import Tokens
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Want


class Walk:
    """One row on its way.

    Attributes:
        tokens: Tokens that are decided, from the beginning of the sentence.
        choices: Ids of at least two tokens of which one comes next; None if the row is whole or given up.
        cells: The cells of the row once it is whole; None before, and if it was given up.
    """

    def __init__(self, want: Want, order: Sequence[str], automata: Automata, rules: Rules) -> None:
        """Begin, and decide what must come first.

        Args:
            want: How the row must be.
            order: All learned columns.
            automata: Tokens of cells.
            rules: Domains and relations.
        """
        self._want, self._order, self._automata, self._rules = want, order, automata, rules
        self._codec = automata.codec
        self._known: Cells = {}
        self._at = -1
        self._since = 0
        self._node: Node | None = None
        self.tokens: list[int] = list(self._codec.opening)
        self.choices: Tokens | None = None
        self.cells: Cells | None = None
        self._next_column()
        self._go_on()

    def take(self, token: int) -> None:
        """Go on with one of the choices."""
        if self._node is None:
            raise ValueError("the row is whole")
        self.tokens.append(token)
        if token == self._end and self._node.final:
            self._close_cell()
        else:
            self._node = self._node.next(token)
        self._go_on()

    @property
    def _end(self) -> int:
        return self._codec.eos if self._at == len(self._order) - 1 else self._codec.comma

    def _go_on(self) -> None:
        """Decide all that must follow, up to a choice or the end of the row."""
        self.choices = None
        while self._node is not None:
            forced, self._node = self._node.forced
            self.tokens += forced
            choices = self._node.choices(self._end)
            if len(choices) != 1:
                self.choices = choices
                return
            self.tokens.append(self._end)
            self._close_cell()

    def _close_cell(self) -> None:
        name = self._order[self._at]
        if name in self._rules.linked:
            beginning = [*self._codec.opening, *self._codec.name(name, first=True)]
            self._known |= self._codec.decode([*beginning, *self.tokens[self._since : -1]])
        self._next_column()

    def _next_column(self) -> None:
        """Write the next column's name; the row is whole where there is none, given up where nothing is left for it."""
        self._at += 1
        self._node = None
        if self._at == len(self._order):
            self.cells = self._codec.decode(self.tokens)
            return
        name = self._order[self._at]
        domain = self._rules.narrow(name, self._known, self._want.domains)
        if domain.empty:
            return
        self.tokens += self._codec.name(name, first=self._at == 0)
        self._since = len(self.tokens)
        self._node = self._automata.of(name, domain).start


def order_of(names: Sequence[str], want: Want, fixed: Sequence[str] | None, random: np.random.Generator) -> list[str]:
    """The order in which a row's columns are drawn: those that are wanted first, so that the others are drawn given them.

    Args:
        names: All learned columns.
        want: How the row must be.
        fixed: The order that the model has learnt, if it has learnt one; it holds among the wanted and among the others.
        random: Decides the order where none is fixed.
    """
    order = list(fixed) if fixed is not None else [names[at] for at in random.permutation(len(names))]
    return sorted(order, key=lambda name: name not in want.domains)
