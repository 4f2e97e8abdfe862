"""Drawing the next token of each request in a batch, with its own sampling and its own seed.

transformers draws a whole batch from one global generator, with one set of options, and has no presence
or frequency penalty. Here every row has its own, in vLLM's order: penalties, temperature, `min_p`,
`top_k`, `top_p`. The draw is the Gumbel-max trick (Gumbel, 1954): the largest of `logit - log(e)`, with
`e` from an exponential distribution, is a draw from the softmax, so `generate` may stay greedy.

    BatchDraw([RowDraw(prompt_ids=[1, 9690], sampling=Sampling(temperature=0.7), seed=3)], prompt_width=2)

The log-probabilities that a row asks for are taken from the logits before any of that.
"""

from __future__ import annotations

import math
import secrets
from typing import Any, NamedTuple

from factory.engines.protocol import Sampling


class RowDraw(NamedTuple):
    """How one row of a batch is drawn.

    Attributes:
        prompt_ids: Token ids of the prompt, which the repetition penalty counts as seen.
        sampling: Penalties, temperature and truncation.
        seed: Seed of the row's own generator; None takes one from the operating system.
        logprobs: So many likeliest first tokens are remembered.
    """

    prompt_ids: list[int]
    sampling: Sampling
    seed: int | None
    logprobs: int = 0


class BatchDraw:
    """A logits processor after which the most likely token is the drawn one.

    Attributes:
        first: For each row the ids of its likeliest first tokens with their log-probabilities.

    Args:
        rows: One for each row of the batch.
        prompt_width: Columns of `input_ids` that are padding and prompt.
        device: Where the logits are.
    """

    def __init__(self, rows: list[RowDraw], prompt_width: int, device: Any = "cpu") -> None:
        """Seed one generator for each row."""
        import torch

        self._rows = rows
        self._prompt_width = prompt_width
        self.first: list[list[tuple[int, float]]] = [[] for _ in rows]
        self._generators = [
            torch.Generator(device).manual_seed(secrets.randbits(63) if row.seed is None else row.seed) for row in rows
        ]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores to take the largest of.

        Args:
            input_ids: [batch, seq], left-padded prompts and what was generated so far.
            scores: [batch, vocabulary], logits.
        """
        if input_ids.shape[1] == self._prompt_width:
            self.first = [_likeliest(logits, row.logprobs) for logits, row in zip(scores, self._rows, strict=True)]
        drawn = scores.float().clone()
        for index, (row, generator) in enumerate(zip(self._rows, self._generators, strict=True)):
            logits = penalise(drawn[index], row, input_ids[index, self._prompt_width :])
            if row.sampling.temperature > 0:
                logits = truncate(logits / row.sampling.temperature, row.sampling)
                logits = logits - logits.new_empty(logits.shape).exponential_(generator=generator).log()
            drawn[index] = logits
        return drawn


def _likeliest(logits: Any, count: int) -> list[tuple[int, float]]:
    """Ids and log-probabilities of the greatest logits [vocabulary]."""
    if not count:
        return []
    best = logits.float().log_softmax(-1).topk(min(count, logits.shape[0]))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def penalise(logits: Any, row: RowDraw, generated: Any) -> Any:
    """Lower the logits [vocabulary] of tokens that occurred.

    Repetition counts the prompt, presence and frequency only what was generated, as in vLLM.
    """
    import torch

    sampling = row.sampling
    if sampling.repetition_penalty != 1.0:
        occurred: Any = torch.cat([generated, generated.new_tensor(row.prompt_ids)])
        seen = occurred.unique()
        values, factor = logits[seen], sampling.repetition_penalty
        logits = logits.index_copy(0, seen, torch.where(values > 0, values / factor, values * factor))
    if sampling.presence_penalty or sampling.frequency_penalty:
        counts = torch.bincount(generated, minlength=logits.shape[0]).to(logits.dtype)
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    return logits


def truncate(logits: Any, sampling: Sampling) -> Any:
    """Set the logits [vocabulary] of tokens that may not be drawn to minus infinity; one token always stays."""
    if sampling.min_p > 0:
        logits = logits.masked_fill(logits < logits.max() + math.log(sampling.min_p), -math.inf)
    if 0 < sampling.top_k < logits.shape[0]:
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -math.inf)
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        mass = ordered.softmax(-1)
        logits = logits.index_fill(0, places[mass.cumsum(-1) - mass >= sampling.top_p], -math.inf)
    return logits
