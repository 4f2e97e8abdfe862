"""Forward passes of a causal language model over rows that are at different places, each row's keys lying side by side.

The cache of a row is its own stretch of slots: a token's keys and values go to the slot of its position, so rows need
no padding between their tokens, rows that are ahead do not hold others up, and nothing is copied when the cache grows
by a token (DynamicCache concatenates it anew each time). Tokens of one pass stand at its right end, so that the last
hidden state of every row is the last one; what stands left of them goes to a slot that nobody reads.

    stems = Passes(model, 2)
    logits = stems.feed([[5, 8, 13], [5, 9]])       # what two beginnings are followed by
    rows = stems.taken([0, 0, 1])                   # three rows that go on from them
    rows.feed([[7], [9], [9]])

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

_FIRST_SLOTS = 32
_Counts = npt.NDArray[np.int64]


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

    def take(self, other: Slots, rows: Any) -> None:
        """Become copies of these rows of another's."""
        self.keys, self.values = other.keys.index_select(0, rows), other.values.index_select(0, rows)

    def put(self, at: Any, other: Slots, rows: Any, used: int) -> None:
        """Put the first slots of these rows of another's in the place of the rows `at`."""
        self.keys[at, :, :used] = other.keys[rows, :, :used]
        self.values[at, :, :used] = other.values[rows, :, :used]

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
        tokens = np.zeros((len(chunks), int(counts.max())), dtype=np.int64)
        for row, chunk in enumerate(chunks):
            if chunk:
                tokens[row, -len(chunk) :] = chunk
        return self._pass(counts, input_ids=torch.from_numpy(tokens).to(self._device))

    def feed_embeddings(self, chunks: Sequence[Any]) -> Any:
        """Feed each row what stands in the place of embeddings of tokens: [tokens, width], at least one; see `feed`."""
        counts = np.fromiter(map(len, chunks), dtype=np.int64, count=len(chunks))
        embeddings = chunks[0].new_zeros(len(chunks), int(counts.max()), chunks[0].shape[1])
        for row, chunk in enumerate(chunks):
            embeddings[row, -len(chunk) :] = chunk
        return self._pass(counts, inputs_embeds=embeddings)

    def _pass(self, counts: _Counts, **inputs: Any) -> Any:
        """Logits after tokens that stand at the right end of the inputs, so many of each row."""
        import torch

        width = int(counts.max())
        steps = np.arange(width) - (width - counts)[:, None]
        places = np.where(steps >= 0, self.lengths[:, None] + steps, -1)
        positions = torch.from_numpy(places).to(self._device)
        self._places.put(positions, int(self.lengths.max()), int((self.lengths + counts).max()))
        outputs = self._model(
            **inputs,
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

    def taken(self, rows: Sequence[int]) -> Passes:
        """New passes over copies of these rows, each as often as it is named; the model must have read something."""
        import torch

        taken, index = Passes(self._model, len(rows)), torch.tensor(rows, device=self._device)
        taken._places.slots = self._places.slots
        for layer, own in zip(taken._layers, self._layers, strict=True):
            layer.take(own, index)
        taken.lengths = self.lengths[list(rows)]
        return taken

    def put(self, at: Sequence[int], other: Passes, rows: Sequence[int]) -> None:
        """Put copies of these rows of `other`, from which these passes were taken, in the place of the rows `at`."""
        import torch

        places, index = torch.tensor(at, device=self._device), torch.tensor(rows, device=self._device)
        used = int(other.lengths.max())
        for layer, source in zip(self._layers, other._layers, strict=True):
            layer.put(places, source, index, used)
        self.lengths[list(at)] = other.lengths[list(rows)]

    def _mask(self, positions: Any) -> Any:
        """What is added to attention scores, [rows, 1, width, slots in use]: no token sees what comes after it."""
        import torch

        seen = torch.arange(self._places.used, device=self._device) <= positions.clamp(min=0)[:, None, :, None]
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        return mask.masked_fill_(~seen, torch.finfo(self._model.dtype).min)


@contextmanager
def drawing_mode(model: Any) -> Iterator[None]:
    """A model for drawing: in evaluation mode, without gradients; afterwards as it was.

    On a processor attention is done as plain products, which for many short rows is faster than the fused kernel: a fifth
    more rows a second with a Llama of 1.1 M weights, as many with one of 135 M.
    """
    import torch

    training, config = [module for module in model.modules() if module.training], model.config.get_text_config()
    attention = config._attn_implementation
    model.eval()
    try:
        if model.device.type == "cpu":
            config._attn_implementation = "eager"
        with torch.inference_mode():
            yield
    finally:
        config._attn_implementation = attention
        for module in training:
            module.training = True


def refusal(model: Any) -> str:
    """Why passes over the model cannot be made, whose attention takes no mask of ours; empty if they can."""
    attention = getattr(model.config.get_text_config(), "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        return f"the model is loaded with attention '{attention}'; load it with 'sdpa' or 'eager'."
    return ""


def most_tokens(model: Any) -> int | None:
    """Most tokens that a row of the model may have: none may be seen by part of what comes after it only."""
    config = model.config.get_text_config()
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    return min((int(each) for each in limits if each), default=None)
