"""How likely a tuned model finds texts: what canaries are compared by, and what a public validation set shows.

    losses(tuned(base, prompt), [encoder.encode("WIN a prize", "spam")])     # [Loss(nats=21.4, tokens=5)]

The loss of a text is that of training without its scale: the negative log-likelihood of its tokens and its end after [soft
prompt][head]. With a base in float32 it does not depend on what is computed beside it, but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from factory.privacy import objective
from factory.privacy.objective import Example
from factory.privacy.tuned.model import Tuned

TOKENS_AT_ONCE = 2048  # whose logits are held: 0.4 GB with a vocabulary of 50,000


class Loss(NamedTuple):
    """Loss of a text.

    Attributes:
        nats: Sum over its tokens.
        tokens: How many they are, its end included.
    """

    nats: float
    tokens: int


def losses(model: Tuned, examples: Sequence[Example], tokens_at_once: int = TOKENS_AT_ONCE) -> list[Loss]:
    """The loss of each text.

    Args:
        model: A base model with what was tuned for it.
        examples: Texts as tokens, see `objective.Encoder`; as in training, one that was cut has no end.
        tokens_at_once: Most tokens that the model reads at once, padding included; one text is always read whole.
    """
    import torch

    found: list[Loss | None] = [None] * len(examples)
    with torch.inference_mode():
        for places in _batches([example.length for example in examples], tokens_at_once):
            batch = [examples[place] for place in places]
            prompt = None if model.prompt is None else model.prompt.expand(len(batch), -1, -1)
            nats = objective.losses(model.base, batch, prompt, 1.0)
            for place, loss in zip(places, nats.tolist(), strict=True):
                found[place] = Loss(loss, len(examples[place].text))
    return [loss for loss in found if loss is not None]


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of texts of about the same length, so many that with padding they are no more tokens than `most`."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if batch and (len(batch) + 1) * lengths[place] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
