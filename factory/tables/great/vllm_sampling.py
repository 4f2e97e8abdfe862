"""Rows drawn with vLLM in this process: all rows at once, each kept within its columns token by token.

    sampler = VllmSampler(folder / "model", codec, rules)
    sampler.sample([Want()] * 500, seed=1, say=print)
    # sampling: 120 of 500 rows, 31 rows/s, about 12 s left

vLLM's own structured output knows texts, not tokens: a regex allows tokenizations that the model has never seen, and no
rule between cells. Here a logits processor of vLLM's asks each row's `Walk` which tokens may come, draws one with that
row's own generator, and leaves vLLM nothing to choose. So a row depends on the model, its want and its seed, and on no
other row but for rounding; and vLLM's per-request seeds, which end its CPU build (see `factory.engines.vllm`), are not
needed.

Names of columns and all else that must follow are not generated: where many tokens are decided at once, the request is
ended and the row goes on as a new one, of which vLLM has the beginning in its prefix cache.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from factory.engines.vllm import bare_engine
from factory.errors import UserError
from factory.tables.great.automata import Automata
from factory.tables.great.codec import RowCodec
from factory.tables.great.orders import generator
from factory.tables.great.walks import Walk, order_of
from factory.tables.rules import Rules
from factory.tables.schema import Cells
from factory.tables.synthesizer import Say, Want

SAY_S = 2.0
JUMP = 4
BLOCK_TOKENS = 32
ABOVE_ALL = 1e30


class Row:
    """A row with its generator, and its request to vLLM.

    Attributes:
        walk: What is decided.
        random: Draws its choices.
        prompt: Tokens that the running request began with.
        done: Whether the running request has nothing more to do.
    """

    def __init__(self, walk: Walk, random: np.random.Generator) -> None:
        """Begin a row."""
        self.walk, self.random = walk, random
        self.prompt = 0
        self.done = False

    def draw(self, scores: Any, temperature: float) -> None:
        """Take one of the choices, given the model's scores of them in their order."""
        if self.walk.choices is None:
            raise ValueError("the row is whole")
        scaled = np.asarray(scores, dtype=np.float64)
        if temperature > 0:
            weights = np.exp((scaled - scaled.max()) / temperature).cumsum()
            at = int(np.searchsorted(weights, self.random.random() * weights[-1], side="right"))
        else:
            at = int(scaled.argmax())
        self.walk.take(int(self.walk.choices[min(at, len(scaled) - 1)]))


class VllmSampler:
    """Draws rows with vLLM.

    Args:
        model: Folder with all weights of the fine-tuned model, or with an adapter of peft.
        codec: How rows are written.
        rules: Domains and relations of the rows.
        order: The order of columns that the model has learnt; None for any.
        temperature: Of the choices; 0 takes the likeliest.
        in_flight: Rows that vLLM works on at once.
        max_text_tokens: Most tokens of a free text.
        dtype: Of vLLM's weights.
        options: Passed to vLLM's `EngineArgs`.
    """

    def __init__(
        self,
        model: Path,
        codec: RowCodec,
        rules: Rules,
        *,
        order: Sequence[str] | None = None,
        temperature: float = 1.0,
        in_flight: int = 64,
        max_text_tokens: int = 64,
        dtype: str = "auto",
        options: dict[str, Any] | None = None,
    ) -> None:
        """Load the model into vLLM.

        Raises:
            EngineError: If vLLM or the model does not load.
        """
        self._rules, self._order, self._names = rules, order, [column.name for column in rules.schema.learned]
        self._automata = Automata(codec, max_text_tokens)
        self._eos = codec.eos
        self._rows: dict[int, Row] = {}
        self._context = codec.longest(max_text_tokens=max_text_tokens) + 1
        chosen = {
            "logits_processors": [_processor(self._rows, temperature)],
            "async_scheduling": False,
            "block_size": BLOCK_TOKENS,
            "skip_tokenizer_init": True,
        }
        self._engine = bare_engine(
            str(model), max_model_len=self._context, max_in_flight=in_flight, dtype=dtype, options=chosen | (options or {})
        )

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want; see `factory.tables.synthesizer.Sampler`."""
        self._rows.clear()
        for number, want in enumerate(wants):
            random = generator(seed, number)
            self._rows[number] = Row(Walk(want, order_of(self._names, want, self._order, random), self._automata, self._rules), random)
        drawn = [row.walk for row in self._rows.values()]
        try:
            self._draw(say)
        finally:
            self._forget()
        return [walk.cells for walk in drawn]

    def close(self) -> None:
        """Free the model."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.engine_core.shutdown()

    def _draw(self, say: Say) -> None:
        began = said = time.monotonic()
        total = len(self._rows)
        requests: dict[str, int] = {}
        count = 0
        waiting = list(self._rows)
        while True:
            for number in waiting:
                if self._rows[number].walk.choices is not None:
                    count += 1
                    requests[str(count)] = number
                    self._ask(str(count), number)
            waiting = []
            if not requests:
                return
            self._engine.step()
            ended = [name for name, number in requests.items() if self._rows[number].done]
            if ended:
                self._engine.abort_request(ended)
                waiting = [requests.pop(name) for name in ended]
            if time.monotonic() - said >= SAY_S:
                said = time.monotonic()
                left = len(requests) + sum(self._rows[number].walk.choices is not None for number in waiting)
                say(_progress(total - left, total, said - began))

    def _ask(self, name: str, number: int) -> None:
        """Ask vLLM for the next tokens of a row."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        row = self._rows[number]
        row.prompt, row.done = len(row.walk.tokens), False
        parameters = SamplingParams(
            max_tokens=max(1, self._context - row.prompt),
            temperature=0.0,
            ignore_eos=True,
            detokenize=False,
            extra_args={"row": number},
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        tokens = {"type": "token", "prompt_token_ids": list(row.walk.tokens)}
        self._engine.add_request(name, tokens, parameters)

    def _forget(self) -> None:
        """Leave no request behind where drawing was ended."""
        unfinished = list(self._engine.output_processor.request_states)
        if unfinished:
            self._engine.abort_request(unfinished)
        self._rows.clear()


def _progress(done: int, total: int, elapsed_s: float) -> str:
    left = f", about {elapsed_s / done * (total - done):.0f} s left" if done else ""
    return f"sampling: {done:,} of {total:,} rows, {done / max(elapsed_s, 1e-9):,.1f} rows/s{left}"


def _processor(rows: dict[int, Row], temperature: float) -> type:
    """A logits processor for vLLM that draws for these rows; a class, since vLLM builds it itself.

    A request's place in the batch changes; its output list, which vLLM appends to, says how many of the row's tokens it
    has. Where that is fewer than are decided, the decided one is given again, so nothing is drawn twice when vLLM throws
    a step away (preemption, a prefill in two parts).
    """
    import torch
    from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

    class RowProcessor(LogitsProcessor):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
            self._places: dict[int, tuple[Row, list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            if batch_update is None:
                return
            for index in batch_update.removed:
                self._places.pop(index, None)
            for index, parameters, _, output in batch_update.added:
                self._places.pop(index, None)
                number = (parameters.extra_args or {}).get("row")
                if number in rows:
                    self._places[index] = (rows[number], output)
            for source, target, direction in batch_update.moved:
                moved, other = self._places.pop(source, None), self._places.pop(target, None)
                if moved is not None:
                    self._places[target] = moved
                if other is not None and direction == MoveDirectionality.SWAP:
                    self._places[source] = other

        def apply(self, logits: Any) -> Any:
            places = [(index, row, row.prompt + len(output)) for index, (row, output) in self._places.items()]
            asked = [
                (index, row)
                for index, row, at in places
                if at == len(row.walk.tokens) and row.walk.choices is not None
            ]
            self._choose(logits, asked)
            sure = [(index, row.walk.tokens[at]) for index, row, at in places if at < len(row.walk.tokens)]
            if sure:
                where = torch.tensor(sure, device=logits.device)
                logits[where[:, 0], where[:, 1]] = ABOVE_ALL
            for _, row, at in places:
                left = len(row.walk.tokens) - at - 1
                row.done = row.walk.choices is None or left >= JUMP
            return logits

        def _choose(self, logits: Any, asked: list[tuple[int, Row]]) -> None:
            """Draw for all rows with one transfer of the scores of their choices."""
            if not asked:
                return
            width = logits.shape[1]
            flat = np.concatenate([index * width + row.walk.choices for index, row in asked])
            scores = torch.take(logits, torch.from_numpy(flat).to(logits.device)).float().cpu().numpy()
            ends = np.cumsum([len(row.walk.choices) for _, row in asked if row.walk.choices is not None])
            for (_, row), part in zip(asked, np.split(scores, ends[:-1]), strict=True):
                row.draw(part, temperature)

    return RowProcessor
