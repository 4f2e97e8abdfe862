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

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from factory.draws import Words, uniforms
from factory.engines.slots import Passes
from factory.tables.great.codec import RowCodec
from factory.tables.great.drafts import Draft, Drafting, Progress
from factory.tables.great.drawing import draw, row_keys
from factory.tables.great.heads import Head, ModelError, check_model, narrowed
from factory.tables.great.unicode import Tokens
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema
from factory.tables.synthesizer import Say, Want

_PASS_COST = {"cpu": 64}  # what a pass costs beside its tokens, in tokens: measured for a Llama of 1.1 M weights
_PASS_COST_ELSEWHERE = 2048  # on a GPU small passes take all the same time
_ROW_COST = 0.75  # what a pass costs for each row beside its tokens (attention reads all that is before them)
_KEPT = 0.75  # rows that are over leave the passes once no more than this share is left
_NARROWED_FROM = 4096  # tokens of a vocabulary whose logits are worth computing only in part
_NARROWED_TO = 0.25  # share of the vocabulary up to which that pays, as the weights of the part are copied


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
        self._drafting = Drafting(self.codec, rules, order=order, max_text_tokens=max_text_tokens)
        self.automata = self._drafting.automata
        self._model = model if device is None else model.to(device)
        self._temperature = temperature
        self._batch_rows = batch_rows
        check_model(model, self.codec.longest(max_text_tokens=max_text_tokens))

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want; None where cells drawn first left nothing for a later one."""
        rows: list[Cells | None] = [None] * len(wants)
        keys, progress = row_keys(seed, len(wants)), Progress(len(wants), len(self.codec.schema.learned), say)
        with narrowed(self._model) as head:
            for first in range(0, len(wants), self._batch_rows):
                drafts = self._drafting.begin(wants[first : first + self._batch_rows], seed, first)
                for draft in self._drawn(drafts, keys, head, progress):
                    rows[draft.index] = self._drafting.kept(draft)
                    progress.over()
        return rows

    def _drawn(self, drafts: list[Draft], keys: Words, head: Head | None, progress: Progress) -> Iterator[Draft]:
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
        if head.size > _NARROWED_FROM and sum(map(len, distinct.values())) < _NARROWED_TO * head.size:
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
