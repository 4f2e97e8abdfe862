"""The output embedding of a model that rows of a table are drawn from, computed where it is needed.

    with narrowed(model) as head:
        head.tokens = np.array([3, 17, 250])     # the logits of these three only

The passes themselves are in `factory.engines.slots`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.engines.slots import drawing_mode, most_tokens, refusal
from factory.errors import UserError


class ModelError(UserError):
    """A model that rows cannot be drawn from."""


class Head:
    """The output embedding of a model, which may be told to compute the logits of some tokens only.

    Attributes:
        tokens: These tokens, sorted; None for all.
        size: Number of all.
    """

    def __init__(self, linear: Any) -> None:
        """Take over an output embedding."""
        self._linear = linear
        self.size = int(linear.weight.shape[0])
        self.tokens: npt.NDArray[np.int64] | None = None

    def __call__(self, hidden: Any) -> Any:
        """Logits of hidden states; scaling and the like is the model's, after this.

        Those of some tokens are in float32, whatever the model's weights are: in bfloat16 a logit of 20 is off by up
        to 0.06, and its odds by 6 %.
        """
        import torch

        weight, bias = self._linear.weight, self._linear.bias
        if self.tokens is not None:
            rows = torch.from_numpy(self.tokens).to(weight.device)
            weight, bias = weight[rows].float(), None if bias is None else bias[rows].float()
            hidden = hidden.float()
        return torch.nn.functional.linear(hidden, weight, bias)


@contextmanager
def narrowed(model: Any) -> Iterator[Head | None]:
    """A model for drawing, see `drawing_mode`, its head as a `Head` where that can be.

    None where the output embedding is no plain linear layer (an adapter lies on it, it is quantized): then all logits
    are computed.
    """
    import torch

    linear = model.get_output_embeddings()
    head = Head(linear) if type(linear) is torch.nn.Linear else None
    try:
        if head is not None:
            linear.forward = head
        with drawing_mode(model):
            yield head
    finally:
        if head is not None:
            del linear.forward


def check_model(model: Any, longest: int) -> None:
    """Refuse a model that cannot hold rows so long, or whose attention takes no mask of ours.

    Raises:
        ModelError: In one sentence.
    """
    if sentence := refusal(model):
        raise ModelError(sentence)
    limit = most_tokens(model)
    if limit is not None and longest > limit:
        raise ModelError(
            f"a row of this table may take {longest:,} tokens, and the model reads {limit:,} at most; choose a model with a "
            "longer context, shorter free texts, or fewer columns."
        )
