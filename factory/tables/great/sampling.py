"""Rows drawn from a language model of transformers, every cell within what its column and its row allow.

    sampler = TransformersSampler(model, tokenizer, schema, rules)
    sampler.sample([Want(), Want({"income": just(1)})], seed=7, say=print)     # [{"age": 39, …}, {"age": 52, …}]

Section 3.2 of GReaT (Borisov et al., 2210.06280), with these deviations: tokens are drawn from those that the automata
of `automata` allow and no others, so that every row is complete and valid whatever the model has learnt, where the
paper draws freely and throws away what it cannot read; conditions and cells that are given stand first and are fed, not
drawn, and ranges narrow what is drawn. Each row has a random order of columns of its own, as in training.

Names, separators and all tokens that must follow are fed along with the next choice, without a pass of their own; rows
go ahead independently of each other. Only the logits of tokens that some row may choose are computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from factory.tables.domain import Cell, Domain
from factory.tables.great.automata import Automata, Node
from factory.tables.great.codec import RowCodec
from factory.tables.great.drawing import Words, draw, row_keys, uniforms
from factory.tables.great.slots import Head, ModelError, Passes, check_model, narrowed
from factory.tables.great.unicode import Tokens
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema
from factory.tables.synthesizer import Say, Want

_PASS_COST = {"cpu": 64}  # what a pass costs beside its tokens, in tokens: measured for a Llama of 1.1 M weights
_PASS_COST_ELSEWHERE = 2048  # on a GPU small passes take all the same time
_ROW_COST = 0.75  # what a pass costs for each row beside its tokens (attention reads all that is before them)
_KEPT = 0.75  # rows that are over leave the passes once no more than this share is left
_NARROWED_FROM = 4096  # tokens of a vocabulary whose logits are worth computing only in part
_SAY_EVERY_S = 5.0
_ORDER_DRAWS = 1 << 32  # draws of orders are numbered from here, so that they are none of those of cells


class Draft:
    """A row that is being drawn.

    Attributes:
        index: Its number.
        cells: Cells so far; the whole row once `done`.
        pending: Tokens that are decided and not fed yet.
        draws: How many tokens were drawn.
        done: Whether the row is whole.
        stuck: Whether nothing was left for some cell, so that the row is given up.
    """

    def __init__(self, sampler: TransformersSampler, index: int, want: Want, order: Sequence[str]) -> None:
        """Begin, and go on to the first choice."""
        self._sampler = sampler
        self._codec = sampler.codec
        self._want = want.domains
        self._order = order
        self._node: Node
        self._tokens: list[int] = []
        self.index = index
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
        domain = self._sampler.domain(name, self.cells, self._want)
        if domain.empty:
            self.stuck = True
            return
        self.pending += self._codec.name(name, first=not self.cells)
        self._tokens = []
        self._node = self._sampler.automata.of(name, domain).start
        self._force()


class TransformersSampler:
    """Draws rows from a causal language model, as `factory.tables.synthesizer.Sampler`.

    Attributes:
        codec: How rows are written.
        automata: What each cell may be.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        schema: Schema,
        rules: Rules,
        *,
        temperature: float = 1.0,
        batch_rows: int = 256,
        order: str | Sequence[str] = "random",
        max_text_tokens: int = 64,
        device: str | None = None,
    ) -> None:
        """Prepare.

        Args:
            model: A causal language model of transformers that has learnt rows as `codec` writes them.
            tokenizer: Its (fast) tokenizer.
            schema: Columns.
            rules: What rows must keep.
            temperature: What logits are divided by; 1 draws as the model has learnt, less narrows.
            batch_rows: Rows that are drawn side by side; their keys and values are held in memory.
            order: "random", or the learned columns in the order to draw them in (restricted ones still go first).
            max_text_tokens: Most tokens of a free text.
            device: Where to put the model; None leaves it where it is.

        Raises:
            ModelError: If the model's context is too short for the table, the temperature is not above 0, or the
                order is none of the table's columns.
            CodecError, TokenizerError: If the tokenizer cannot write the table.
        """
        if not temperature > 0:
            raise ModelError(f"temperature is {temperature}; expected a number above 0.")
        self.codec = RowCodec(tokenizer, schema)
        self.automata = Automata(self.codec, max_text_tokens)
        self._model = model if device is None else model.to(device)
        self._rules = rules
        self._temperature = temperature
        self._batch_rows = batch_rows
        self._random = order == "random"
        learned = [column.name for column in schema.learned]
        self._names = learned if self._random else list(order)
        if sorted(self._names) != sorted(learned):
            raise ModelError(f"order is {self._names}; expected 'random' or each of {learned} once.")
        check_model(model, self.codec.longest(max_text_tokens=max_text_tokens))

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want; None where cells drawn first left nothing for a later one."""
        rows: list[Cells | None] = [None] * len(wants)
        keys, progress = row_keys(seed, len(wants)), _Progress(len(wants), len(self._names), say)
        with narrowed(self._model) as head:
            for first in range(0, len(wants), self._batch_rows):
                indices = range(first, min(first + self._batch_rows, len(wants)))
                drafts = [Draft(self, index, wants[index], self._order(wants[index], keys[index])) for index in indices]
                for draft in self._drawn(drafts, keys, head, progress):
                    rows[draft.index] = self._kept(draft)
                    progress.over()
        return rows

    def domain(self, name: str, cells: Mapping[str, Cell], wanted: Mapping[str, Domain]) -> Domain:
        """What a cell may be, given those before it."""
        if name in self._rules.linked:
            return self._rules.narrow(name, cells, wanted)
        domain = self._rules.domains[name]
        return domain & wanted[name] if name in wanted else domain

    def _order(self, want: Want, key: np.uint64) -> list[str]:
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

    def _kept(self, draft: Draft) -> Cells | None:
        if draft.stuck or self._rules.broken(draft.cells) is not None:
            return None
        return {name: draft.cells[name] for name in self._names}

    def _drawn(self, drafts: list[Draft], keys: Words, head: Head | None, progress: _Progress) -> Iterator[Draft]:
        """The drafts, each when nothing more is to be drawn for it."""
        yield from (draft for draft in drafts if draft.over)
        beside: list[Draft] = [draft for draft in drafts if not draft.over]
        if not beside:
            return
        passes = Passes(self._model, len(beside))
        while beside:
            yield from self._step(passes, beside, keys, head)
            progress.tell(beside)
            left = [at for at, draft in enumerate(beside) if not draft.over]
            if len(left) <= _KEPT * len(beside):
                beside = [beside[at] for at in left]
                if beside:
                    passes.keep(left)

    def _step(self, passes: Passes, drafts: Sequence[Draft], keys: Words, head: Head | None) -> list[Draft]:
        """One pass; every draft that has no more pending makes a choice. Those that are over by it."""
        width = self._width([len(draft.pending) for draft in drafts if not draft.over])
        chunks: list[list[int]] = []
        choosing: list[int] = []
        for at, draft in enumerate(drafts):
            chunk = [] if draft.over else draft.pending[:width]
            chunks.append(chunk)
            if chunk:
                draft.pending = draft.pending[width:]
                if not draft.pending:
                    choosing.append(at)
        choices = [drafts[at].choices for at in choosing]
        self._narrow(head, choices)
        logits = passes.feed(chunks)
        if not choosing:
            return []
        chosen = logits[choosing].float().cpu().numpy()
        if head is not None and head.tokens is not None:
            choices_at = [np.searchsorted(head.tokens, tokens) for tokens in choices]
        else:
            choices_at = choices
        numbers = uniforms(keys[[drafts[at].index for at in choosing]], np.array([drafts[at].draws for at in choosing]))
        over = []
        for at, tokens, drawn in zip(
            choosing, choices, draw(chosen, choices_at, numbers, self._temperature), strict=True
        ):
            drafts[at].take(int(tokens[drawn]))
            if drafts[at].over:
                over.append(drafts[at])
        return over

    def _narrow(self, head: Head | None, choices: Sequence[Tokens]) -> None:
        """Have the head compute the logits of these tokens only, where that is less."""
        if head is None:
            return
        head.tokens = None
        distinct = {id(tokens): tokens for tokens in choices}
        if head.size > _NARROWED_FROM and sum(map(len, distinct.values())) < head.size:
            head.tokens = np.unique(np.concatenate(list(distinct.values())))

    def _width(self, pending: Sequence[int]) -> int:
        """How many tokens a row is fed at most, so that a pass does the most for what it costs.

        Wider passes are fewer, but rows that have less pending waste what they are padded with.
        """
        lengths = np.array(pending)
        beside = _PASS_COST.get(self._model.device.type, _PASS_COST_ELSEWHERE) + _ROW_COST * len(lengths)
        widths = np.unique(lengths)
        gains = [np.minimum(lengths, width).sum() / (beside + len(lengths) * width) for width in widths]
        return int(widths[int(np.argmax(gains))])


class _Progress:
    """Tells how many rows are drawn, counting begun ones in part, and when the rest will be."""

    def __init__(self, rows: int, columns: int, say: Say) -> None:
        self._rows, self._columns, self._say = rows, columns, say
        self._over = 0
        self._started = self._said = time.monotonic()

    def over(self) -> None:
        self._over += 1

    def tell(self, beside: Sequence[Draft]) -> None:
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
