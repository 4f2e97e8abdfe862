"""Forward passes of a causal language model over rows that are at different places, each row's keys lying side by side.

The cache of a row is its own stretch of slots: a token's keys and values go to the slot of its position, so rows need
no padding between their tokens, rows that are ahead do not hold others up, and nothing is copied when the cache grows
by a token (DynamicCache concatenates it anew each time). Tokens of one pass stand at its right end, so that the last
hidden state of every row is the last one; what stands left of them goes to a slot that nobody reads.

Works with every decoder of transformers that takes a four-dimensional mask and position ids (`sdpa` or `eager`
attention).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from factory.errors import UserError

_FIRST_SLOTS = 32


class ModelError(UserError):
    """A model that rows cannot be drawn from."""


class Slots:
    """Keys and values of one layer; stands in for a cache layer of transformers.

    Attributes:
        keys: [rows, heads, slots, size]; None before the first pass.
        values: Likewise.
    """

    is_sliding = False
    is_compileable = False
    is_initialized = True

    def __init__(self, places: Places) -> None:
        """Have no slots yet; `places` says where the tokens of each pass go."""
        self._places = places
        self.keys: Any = None
        self.values: Any = None

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Put in the keys and values of a pass, [rows, heads, width, size]; give those of all slots in use."""
        if self.keys is None:
            self.keys, self.values = self._empty(key_states), self._empty(value_states)
        if self.keys.shape[2] < self._places.slots:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        used = self._places.used
        targets = self._places.targets(key_states.shape[1])
        for slots, states in ((self.keys, key_states), (self.values, value_states)):
            slots.view(-1, slots.shape[3]).index_copy_(0, targets, states.reshape(-1, slots.shape[3]))
        return self.keys[:, :, :used], self.values[:, :, :used]

    def keep(self, rows: Any) -> None:
        """Keep only these rows."""
        if self.keys is not None:
            self.keys, self.values = self.keys.index_select(0, rows), self.values.index_select(0, rows)

    def get_seq_length(self, *_: Any) -> int:
        """Slots in use before this pass."""
        return self._places.seen

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        """Slots in use with this pass, and the first of them."""
        return self._places.used, 0

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1

    get_max_cache_shape = get_max_length

    def _empty(self, states: Any) -> Any:
        rows, heads, _, size = states.shape
        return states.new_zeros(rows, heads, self._places.slots, size)

    def _grown(self, slots: Any) -> Any:
        rows, heads, count, size = slots.shape
        grown = slots.new_zeros(rows, heads, self._places.slots, size)
        grown[:, :, :count] = slots
        return grown


class Places:
    """Where the tokens of the current pass go.

    Attributes:
        slots: Slots of each row; the last one is never read.
        seen: Most slots that a row used before the pass.
        used: Most slots that a row uses with it.
    """

    def __init__(self) -> None:
        """Begin with empty rows."""
        self.slots = _FIRST_SLOTS
        self.seen = self.used = 0
        self._positions: Any = None
        self._targets: dict[int, Any] = {}

    def put(self, positions: Any, seen: int, used: int) -> None:
        """Take over the positions of a pass, [rows, width], negative where there is no token."""
        self.seen, self.used = seen, used
        while self.slots <= used:
            self.slots *= 2
        self._positions = positions.where(positions >= 0, self.slots - 1)
        self._targets = {}

    def targets(self, heads: int) -> Any:
        """Slot of each token for each head, counted over all rows, [rows * heads * width]."""
        import torch

        if heads not in self._targets:
            stretches = torch.arange(len(self._positions) * heads, device=self._positions.device) * self.slots
            self._targets[heads] = (stretches.view(-1, heads, 1) + self._positions[:, None]).flatten()
        return self._targets[heads]


class Passes:
    """Forward passes over a number of rows, which all begin empty.

    Attributes:
        lengths: Tokens that each row has been fed.
    """

    def __init__(self, model: Any, rows: int) -> None:
        """Begin.

        Args:
            model: A causal language model of transformers, in evaluation mode.
            rows: Number of rows.
        """
        from transformers import DynamicCache

        self._model = model
        self._device = model.device
        self._places = Places()
        layers = model.config.get_text_config().num_hidden_layers
        self._layers = [Slots(self._places) for _ in range(layers)]
        self._cache = cast(Any, DynamicCache())
        self._cache.layers = self._layers
        self._cache.get_seq_length = self._layers[0].get_seq_length  # its own ask for the library's class of layers
        self._cache.get_mask_sizes = self._layers[0].get_mask_sizes
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in signature(base.forward).parameters else {}
        self.lengths: npt.NDArray[np.int64] = np.zeros(rows, dtype=np.int64)

    def feed(self, chunks: Sequence[Sequence[int]]) -> Any:
        """Feed each row its next tokens (perhaps none).

        Args:
            chunks: Tokens of each row; not all empty.

        Returns:
            The logits after the last token of each row, [rows, vocabulary] or what the head was narrowed to; of rows
            that were fed nothing, they mean nothing.
        """
        import torch

        counts = np.fromiter(map(len, chunks), dtype=np.int64, count=len(chunks))
        width = int(counts.max())
        tokens = np.zeros((len(chunks), width), dtype=np.int64)
        for row, chunk in enumerate(chunks):
            if chunk:
                tokens[row, -len(chunk) :] = chunk
        steps = np.arange(width) - (width - counts)[:, None]
        places = np.where(steps >= 0, self.lengths[:, None] + steps, -1)
        positions = torch.from_numpy(places).to(self._device)
        self._places.put(positions, int(self.lengths.max()), int((self.lengths + counts).max()))
        outputs = self._model(
            input_ids=torch.from_numpy(tokens).to(self._device),
            position_ids=positions.clamp(min=0),
            attention_mask=self._mask(positions),
            past_key_values=self._cache,
            use_cache=True,
            **self._last_only,
        )
        self.lengths += counts
        return outputs.logits[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        import torch

        index = torch.tensor(rows, device=self._device)
        for layer in self._layers:
            layer.keep(index)
        self.lengths = self.lengths[list(rows)]

    def _mask(self, positions: Any) -> Any:
        """What is added to attention scores, [rows, 1, width, slots in use]: no token sees what comes after it."""
        import torch

        seen = torch.arange(self._places.used, device=self._device) <= positions.clamp(min=0)[:, None, :, None]
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(self._model.dtype).min)


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
    """A model for drawing: in evaluation mode, without gradients, its head as a `Head` where that can be.

    None where the output embedding is no plain linear layer (an adapter lies on it, it is quantized): then all logits
    are computed. On a processor attention is done as plain products, which for many short rows is faster than the
    fused kernel: a fifth more rows a second with a Llama of 1.1 M weights, as many with one of 135 M.
    """
    import torch

    linear, training, config = model.get_output_embeddings(), model.training, model.config.get_text_config()
    head = Head(linear) if type(linear) is torch.nn.Linear else None
    attention = config._attn_implementation
    model.eval()
    try:
        if head is not None:
            linear.forward = head
        if model.device.type == "cpu":
            config._attn_implementation = "eager"
        with torch.inference_mode():
            yield head
    finally:
        config._attn_implementation = attention
        if head is not None:
            del linear.forward
        model.train(training)


def check_model(model: Any, longest: int) -> None:
    """Refuse a model that cannot hold rows so long, or whose attention takes no mask of ours.

    Raises:
        ModelError: In one sentence.
    """
    config = model.config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        raise ModelError(f"the model is loaded with attention '{attention}'; load it with 'sdpa' or 'eager'.")
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    limit = min((each for each in limits if each), default=longest)
    if longest > limit:
        raise ModelError(
            f"a row of this table may take {longest:,} tokens, and the model reads {limit:,} at most; choose a model with a "
            "longer context, shorter free texts, or fewer columns."
        )
