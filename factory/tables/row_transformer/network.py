"""The network: an autoregressive transformer over the cells of a row, in any order.

Of a row in the order (income, age, sex) the network reads three positions:

    what is known        start    income=<=50K    age=39
    what is asked for    income   age             sex
    attends to           1        1 2             1 2 3

and tells at each position the logits of the asked column's tokens. A position is the sum of the embeddings of the last
known cell's token, its column, and the column that is asked for; nothing else says where in the order it stands. One
matrix over the vocabularies of all columns, of which a position is only multiplied with the rows of its own column,
makes the logits.

Source: order-agnostic autoregressive models (Uria et al. 2014, "A Deep and Tractable Density Estimator", section 4) with
the causal transformer that is told the next place (Pannatier et al. 2024, "sigma-GPTs", section 3.1). Weights are a plain
dict of tensors, so that they are averaged, stored and restored by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from torch import Generator, Tensor

    Weights = dict[str, Tensor]
    Cache = list[tuple[Tensor, Tensor]]


class Shape(msgspec.Struct, frozen=True):
    """Sizes of a network.

    Attributes:
        vocabularies: Tokens of each column.
        hidden_size: Width.
        layers: Blocks.
        heads: Attention heads of each.
    """

    vocabularies: tuple[int, ...]
    hidden_size: int
    layers: int
    heads: int

    @property
    def offsets(self) -> list[int]:
        """Where the tokens of each column begin among all, and the number of all."""
        offsets = [0]
        for size in self.vocabularies:
            offsets.append(offsets[-1] + size)
        return offsets


def initial(shape: Shape, generator: Generator) -> Weights:
    """Weights before training: normal, 0.02 for embeddings, Xavier in the blocks, scaled down by depth at their ends."""
    import torch

    def normal(rows: int, width: int, deviation: float) -> Tensor:
        return torch.empty(rows, width).normal_(0.0, deviation, generator=generator)

    size, columns, values = shape.hidden_size, len(shape.vocabularies), shape.offsets[-1]
    weights = {
        "known.value": normal(values + 1, size, 0.02),  # the last one stands for the start
        "known.column": normal(columns + 1, size, 0.02),
        "asked.column": normal(columns, size, 0.02),
        "out.weight": normal(values, size, 0.02),
        "out.bias": torch.zeros(values),
        "norm.weight": torch.ones(size),
        "norm.bias": torch.zeros(size),
    }
    for layer in range(shape.layers):
        for name, rows, width, gain in (
            ("attend.in", 3 * size, size, 1.0),
            ("attend.out", size, size, 2 * shape.layers),
            ("feed.in", 4 * size, size, 1.0),
            ("feed.out", size, 4 * size, 2 * shape.layers),
        ):
            weights[f"{layer}.{name}.weight"] = normal(rows, width, math.sqrt(2 / (size + width) / gain))
            weights[f"{layer}.{name}.bias"] = torch.zeros(rows)
        for name in ("attend", "feed"):
            weights[f"{layer}.{name}.norm.weight"] = torch.ones(size)
            weights[f"{layer}.{name}.norm.bias"] = torch.zeros(size)
    return weights


class Network:
    """A network with weights."""

    def __init__(self, shape: Shape, weights: Weights) -> None:
        """Keep them; offsets of the columns' vocabularies are worked out."""
        self.shape, self.weights = shape, weights
        self.offsets = shape.offsets

    def hidden(
        self,
        known: Tensor,
        known_column: Tensor,
        asked: Tensor,
        cache: Cache | None = None,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """What each position knows of the asked column: [batch, seq, hidden].

        Args:
            known: [batch, seq] Last known cells, numbered over all vocabularies; the start where there is none.
            known_column: [batch, seq] Their columns; the number of columns for the start.
            asked: [batch, seq] Columns that are asked for.
            cache: Keys and values of earlier positions, one pair for each layer, extended in place; an empty list
                at the first call. Only one position may be given with a cache that is not empty.
            dropout: Share that is dropped.
            generator: Draws what is dropped.
        """
        from torch.nn import functional

        weights = self.weights
        states = (
            functional.embedding(known, weights["known.value"])
            + functional.embedding(known_column, weights["known.column"])
            + functional.embedding(asked, weights["asked.column"])
        )
        states = _dropped(states, dropout, generator)
        for layer in range(self.shape.layers):
            inner = self._norm(states, f"{layer}.attend.norm")
            states = states + _dropped(self._attend(inner, layer, cache), dropout, generator)
            inner = self._linear(self._norm(states, f"{layer}.feed.norm"), f"{layer}.feed.in")
            states = states + _dropped(self._linear(functional.gelu(inner), f"{layer}.feed.out"), dropout, generator)
        return self._norm(states, "norm")

    def logits(self, states: Tensor, column: int) -> Tensor:
        """Logits of one column's tokens, [..., tokens], from states that ask for it, [..., hidden]."""
        from torch.nn import functional

        rows = slice(self.offsets[column], self.offsets[column + 1])
        return functional.linear(states, self.weights["out.weight"][rows], self.weights["out.bias"][rows])

    def losses(
        self, tokens: Tensor, orders: Tensor, dropout: float = 0.0, generator: Generator | None = None
    ) -> list[Tensor]:
        """Mean negative log-likelihood of each column's cells, in nats.

        Args:
            tokens: [batch, columns] Rows as tokens of each column's own vocabulary.
            orders: [batch, columns] The order of the columns in each row.
            dropout: Share that is dropped.
            generator: Draws what is dropped.
        """
        import torch
        from torch.nn import functional

        offsets = torch.tensor(self.offsets[:-1], device=tokens.device)
        known = (tokens + offsets).gather(1, orders)[:, :-1]
        known = functional.pad(known, (1, 0), value=self.offsets[-1])
        known_column = functional.pad(orders[:, :-1], (1, 0), value=len(self.shape.vocabularies))
        states = self.hidden(known, known_column, orders, None, dropout, generator)
        places = orders.argsort(1)
        states = states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
        return [
            functional.cross_entropy(self.logits(states[:, column], column), tokens[:, column])
            for column in range(tokens.shape[1])
        ]

    def _attend(self, states: Tensor, layer: int, cache: Cache | None) -> Tensor:
        """Causal attention: [batch, seq, hidden]."""
        import torch
        from torch.nn import functional

        batch, seq, size = states.shape
        mixed = self._linear(states, f"{layer}.attend.in").view(batch, seq, 3, self.shape.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        if cache is not None:
            if layer < len(cache):
                key, value = (torch.cat([old, new], dim=2) for old, new in zip(cache[layer], (key, value), strict=True))
                cache[layer] = (key, value)
            else:
                cache.append((key, value))
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=seq > 1)
        return self._linear(found.transpose(1, 2).reshape(batch, seq, size), f"{layer}.attend.out")

    def _linear(self, states: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(states, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, states: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.layer_norm(
            states, states.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )


def _dropped(states: Tensor, share: float, generator: Generator | None) -> Tensor:
    """Inverted dropout with a generator of its own, which `functional.dropout` does not take."""
    if not share:
        return states
    import torch

    kept = torch.empty_like(states, requires_grad=False).bernoulli_(1.0 - share, generator=generator)
    return states * kept.div_(1.0 - share)
