"""Rows drawn with vLLM in this process: all rows at once, each kept within its columns token by token.

    sampler = VllmSampler(folder / "model", tokenizer, schema, rules)
    sampler.sample([Want()] * 500, seed=1, say=print)     # [{"age": 39, …}, …]

vLLM's own structured output knows texts, not tokens: a regex allows tokenizations that the model has never seen, and no
rule between cells. Here a logits processor of vLLM's asks each row's draft which tokens may come, draws one with the row's
own numbers (those of `drawing`, so that transformers would draw the same row but for rounding), and leaves vLLM nothing to
choose. Its per-request seeds, which end its CPU build (see `factory.engines.vllm`), are not needed.

What must follow is not generated: where several tokens are decided at once (a comma, a name), the request is ended and
the row goes on as a new one, of which vLLM has the beginning in its prefix cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from factory.draws import uniforms
from factory.engines.vllm import bare_engine
from factory.errors import UserError
from factory.tables.great.codec import RowCodec
from factory.tables.great.drafts import Draft, Drafting, Progress
from factory.tables.great.drawing import draw
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema
from factory.tables.synthesizer import Say, Want

JUMP = 2  # so many tokens that are decided are worth a new request: measured, 15 columns on a CPU
BLOCK_TOKENS = 32  # of the prefix cache; the least that vLLM's attention takes on a CPU
ABOVE_ALL = 1e30


class Row:
    """A draft with its request to vLLM.

    Attributes:
        draft: The row; its pending tokens are all that are decided, from the beginning.
        prompt: Number of tokens that the running request began with.
        done: Whether the running request has nothing more to do.
    """

    def __init__(self, draft: Draft) -> None:
        """Take over a draft."""
        self.draft = draft
        self.prompt = 0
        self.done = False

    def asks(self, at: int) -> bool:
        """Whether the row chooses its token at that place now."""
        return at == len(self.draft.pending) and not self.draft.over

    def given(self, at: int) -> None:
        """Note that vLLM has got the token at that place."""
        self.done = self.draft.over or len(self.draft.pending) - at > JUMP


class VllmSampler:
    """Draws rows with vLLM, as `factory.tables.synthesizer.Sampler`; `close` frees the model."""

    def __init__(
        self,
        model: Path,
        tokenizer: Any,
        schema: Schema,
        rules: Rules,
        *,
        temperature: float = 1.0,
        batch_rows: int = 64,
        order: str | Sequence[str] = "random",
        max_text_tokens: int = 64,
        dtype: str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Load the model into vLLM.

        Args:
            model: Folder with all weights of a model that has learnt rows; see `base.merged` for adapters.
            tokenizer: Its (fast) tokenizer.
            schema: Columns.
            rules: What rows must keep.
            temperature: What logits are divided by; 1 draws as the model has learnt, less narrows.
            batch_rows: Rows that vLLM works on at once; the others wait inside vLLM.
            order: "random", or the learned columns in the order to draw them in (restricted ones still go first).
            max_text_tokens: Most tokens of a free text.
            dtype: Of vLLM's weights.
            options: Passed to vLLM's `EngineArgs`; these win over everything above.

        Raises:
            EngineError: If vLLM or the model does not load.
            CodecError, TokenizerError: If the tokenizer cannot write the table.
            UserError: If the temperature is not above 0, or the model's context is too short for the table.
        """
        if not temperature > 0:
            raise UserError(f"temperature is {temperature}; expected a number above 0.")
        codec = RowCodec(tokenizer, schema)
        self._drafting = Drafting(codec, rules, order=order, max_text_tokens=max_text_tokens)
        self._rows: dict[int, Row] = {}
        self._requests: dict[str, int] = {}  # rows by the names of running requests
        self._asked = 0
        self._longest = codec.longest(max_text_tokens=max_text_tokens)
        _require_context(model, self._longest)
        chosen = {
            "logits_processors": [_processor(self._rows, temperature)],
            "async_scheduling": False,  # a draw needs the tokens of the step before
            "block_size": BLOCK_TOKENS,
            "skip_tokenizer_init": True,
        }
        self._engine = bare_engine(
            str(model),
            max_model_len=self._longest,
            max_in_flight=batch_rows,
            dtype=dtype,
            options=chosen | dict(options or {}),
        )

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want; None where cells drawn first left nothing for a later one."""
        drafts = self._drafting.begin(wants, seed)
        self._rows.update({draft.index: Row(draft) for draft in drafts})
        try:
            self._draw(Progress(len(wants), len(self._drafting.codec.schema.learned), say))
        finally:  # also where drawing is broken off
            self._engine.abort_request(list(self._requests))
            self._requests.clear()
            self._rows.clear()
        return [self._drafting.kept(draft) for draft in drafts]

    def close(self) -> None:
        """Free the weights and the cache."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.engine_core.shutdown()

    def _draw(self, progress: Progress) -> None:
        waiting = list(self._rows)
        while waiting or self._requests:
            for number in waiting:
                if self._rows[number].draft.over:
                    progress.over()
                else:
                    self._ask(number)
            if self._requests:
                self._engine.step()
            progress.tell(self._rows[number].draft for number in self._requests.values())
            ended = [name for name, number in self._requests.items() if self._rows[number].done]
            self._engine.abort_request(ended)
            waiting = [self._requests.pop(name) for name in ended]

    def _ask(self, number: int) -> None:
        """Let vLLM go on with a row."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        row = self._rows[number]
        row.prompt, row.done = len(row.draft.pending), False
        parameters = SamplingParams(
            max_tokens=max(1, self._longest - row.prompt),
            temperature=0.0,
            ignore_eos=True,
            detokenize=False,
            extra_args={"row": number},
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._asked += 1
        name, tokens = str(self._asked), list(row.draft.pending)
        self._requests[name] = number
        self._engine.add_request(name, {"type": "token", "prompt_token_ids": tokens}, parameters)


def _require_context(model: Path, longest: int) -> None:
    config = json.loads((model / "config.json").read_text())
    context = config.get("max_position_embeddings", longest)
    if longest > context:
        raise UserError(
            f"great: a row takes up to {longest:,} tokens, and the model reads at most {context:,}; lower max_text_tokens, "
            "or choose a model with a longer context."
        )


class Places:
    """Which row stands where in vLLM's batch, and how many tokens vLLM has of it.

    Requests change places; a request's list of output, which vLLM appends to, says how far it is. Where the token of a
    place is decided already it is given again, so that nothing is drawn twice when vLLM throws a step away (a preemption,
    a prefill in parts).
    """

    def __init__(self, rows: Mapping[int, Row]) -> None:
        """Follow these rows, which may change."""
        self._rows = rows
        self._places: dict[int, tuple[Row, list[int]]] = {}

    def update(self, batch_update: Any, swap: object) -> None:
        """Follow a `BatchUpdate` of vLLM's; `swap` is the direction that exchanges two places."""
        for index in batch_update.removed:
            self._places.pop(index, None)
        for index, parameters, _, output in batch_update.added:
            self._places.pop(index, None)
            row = self._rows.get((parameters.extra_args or {}).get("row", -1))
            if row is not None:
                self._places[index] = (row, output)
        for source, target, direction in batch_update.moved:
            moved, other = self._places.pop(source, None), self._places.pop(target, None)
            if moved is not None:
                self._places[target] = moved
            if other is not None and direction == swap:
                self._places[source] = other

    def decide(self, logits: Any, temperature: float) -> None:
        """Raise the next token of each row above all others in the logits [places, vocabulary]."""
        import torch

        places = [(index, row, row.prompt + len(output)) for index, (row, output) in self._places.items()]
        _choose(logits, [(index, row.draft) for index, row, at in places if row.asks(at)], temperature)
        sure = [(index, row.draft.pending[at]) for index, row, at in places if at < len(row.draft.pending)]
        if sure:
            where = torch.tensor(sure, device=logits.device)
            logits[where[:, 0], where[:, 1]] = ABOVE_ALL
        for _, row, at in places:
            row.given(at)


def _processor(rows: Mapping[int, Row], temperature: float) -> type:
    """A class of logits processors that draw for these rows; vLLM makes the instance itself."""
    from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

    class RowProcessor(LogitsProcessor):
        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
            self._places = Places(rows)

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            if batch_update is not None:
                self._places.update(batch_update, MoveDirectionality.SWAP)

        def apply(self, logits: Any) -> Any:
            self._places.decide(logits, temperature)
            return logits

    return RowProcessor


def _choose(logits: Any, asking: Sequence[tuple[int, Draft]], temperature: float) -> None:
    """Draw once for each draft from the logits [places, vocabulary] of its place."""
    import torch

    if not asking:
        return
    choices = [draft.choices for _, draft in asking]
    tokens = np.unique(np.concatenate(choices))
    rows = torch.tensor([index for index, _ in asking], device=logits.device)
    found = logits[rows[:, None], torch.from_numpy(tokens).to(logits.device)].float().cpu().numpy()
    keys = np.array([draft.key for _, draft in asking], dtype=np.uint64)
    numbers = uniforms(keys, np.array([draft.draws for _, draft in asking]))
    drawn = draw(found, [np.searchsorted(tokens, each) for each in choices], numbers, temperature)
    for (_, draft), chosen, at in zip(asking, choices, drawn, strict=True):
        draft.take(int(chosen[at]))
