"""Attention as two products of matrices, for training in bfloat16 on a CPU, where torch's fused kernel is slow backwards.

    model.set_attn_implementation(registered())     # as transformers has it: by a name

It reads whole rows and no cache: text is generated with the model's own.
"""

from __future__ import annotations

from typing import Any

Tensor = Any
PRODUCTS = "factory_products"


def registered() -> str:
    """The name that transformers knows it by."""
    from transformers import AttentionInterface

    AttentionInterface.register(PRODUCTS, products)
    return PRODUCTS


def products(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention over whole rows, without a cache: queries of a group against the keys that they share.

    Args:
        module: The layer; not needed.
        query: [rows, heads, length, width].
        key: [rows, shared heads, length, width].
        value: Like `key`.
        attention_mask: Added to the scores where there is one.
        scaling: Factor of the scores; None for one over the root of the width.
        dropout: Share of the weights that are left out in training.

    Returns:
        [rows, length, heads, width], and no weights.
    """
    import torch

    rows, heads, length, width = query.shape
    shared = key.shape[1]
    scores = query.reshape(rows, shared, -1, width) @ key.transpose(-1, -2)
    scores = scores.view(rows, heads, length, length) * (width**-0.5 if scaling is None else scaling)
    hidden = torch.full((length, length), float("-inf"), dtype=scores.dtype, device=scores.device).triu(1)
    scores = scores + hidden if attention_mask is None else scores + hidden + attention_mask
    weights = torch.nn.functional.dropout(scores.softmax(-1), dropout, getattr(module, "training", False))
    mixed = weights.to(value.dtype).view(rows, shared, -1, length) @ value
    return mixed.view(rows, heads, length, width).transpose(1, 2).contiguous(), None
