"""The language model that something small is trained for: loaded whole, frozen, and asked for what training needs.

    base = load_base("models/SmolLM2-135M")
    base.embed(ids)                    # [rows, tokens, width]: what a soft prompt is put before
    base.hidden(embeds, mask)          # [rows, tokens, width]
    base.logits(hidden)                # [positions, vocabulary], of the positions that are needed only

Its weights never change, and no dropout is on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.engines.attention import registered
from factory.engines.embedded import without_progress_bars
from factory.engines.model_source import wait_without_spinning
from factory.errors import UserError

_PROBE = 12
_FUSED = "sdpa"
# Rounding alone sets bfloat16 logits 0.01 apart, relative to their mean size; a window or scaled scores set them further.
_SAME = 0.02


EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")  # as configurations call them


class Base:
    """A frozen causal language model and its tokenizer.

    Attributes:
        model: As transformers loads it, in evaluation mode, no weight of which is trained.
        tokenizer: Its tokenizer.
        start: Tokens that stand before everything: the beginning-of-text token where the tokenizer puts one, else none.
        end: The token that ends a text.
        context: Most tokens that it reads.
        own_attention: Whether rows are read through `factory.engines.attention`, as fast as it gets on a CPU.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        """Take over a loaded model.

        Raises:
            UserError: If the model has no token embedding of the ordinary kind, or no token that ends a text.
        """
        self.model, self.tokenizer, self.name = model, tokenizer, name
        model.requires_grad_(False)
        model.eval()
        self._embedding = _embedding(model, name)
        self._plain, self.own_attention = True, False
        self.start = start_of(tokenizer)
        self.end = _end(model, tokenizer, name)
        found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.context: int | None = int(found) if found else None
        self._plain = self._is_plain()
        self.own_attention = self._use_own_attention()

    @property
    def has_experts(self) -> bool:
        """Whether layers are mixtures of experts, which read the tokens of all rows in one list."""
        config = self.model.config.get_text_config()
        return any((getattr(config, name, None) or 0) > 1 for name in EXPERTS)

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return int(self._embedding.weight.shape[1])

    @property
    def device(self) -> Any:
        """Where the model lies."""
        return self._embedding.weight.device

    @property
    def dtype(self) -> Any:
        """Kind of number that its activations are."""
        return self._embedding.weight.dtype

    def ids(self, text: str) -> list[int]:
        """Tokens of a text, none added before or behind."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def embed(self, ids: Any) -> Any:
        """Embeddings of tokens, as the model's first layer reads them."""
        return self._embedding(ids)

    def hidden(self, embeds: Any, mask: Any) -> Any:
        """Last hidden states [rows, tokens, width]; where the head is not plain, logits instead, see `logits`."""
        model, wanted = (self._body(), "last_hidden_state") if self._plain else (self.model, "logits")
        with self._quick_attention():
            return model(inputs_embeds=embeds, attention_mask=mask, use_cache=False)[wanted]

    def logits(self, hidden: Any) -> Any:
        """Logits of hidden states that were picked out of `hidden`, at least in float32."""
        found = self.model.get_output_embeddings()(hidden) if self._plain else hidden
        return found.float() if found.dtype.itemsize < 4 else found

    @contextmanager
    def _quick_attention(self) -> Iterator[None]:
        """The attention that is quicker to learn through, for as long as whole rows are read: it knows no cache."""
        if not self.own_attention:
            yield
            return
        inner = self._inner()
        inner.set_attn_implementation(registered())
        try:
            yield
        finally:
            inner.set_attn_implementation(_FUSED)

    def _use_own_attention(self) -> bool:
        """Whether ours is the quicker one here, and gives what the model's own does."""
        import torch

        fused = getattr(self.model.config, "_attn_implementation", None) == _FUSED
        if not (fused and self.device.type == "cpu" and self.dtype == torch.bfloat16):
            return False
        ids = (torch.arange(2 * _PROBE, device=self.device).view(2, _PROBE) * 7) % self._embedding.weight.shape[0]
        mask = torch.ones_like(ids)
        mask[1, _PROBE // 2 :] = 0
        self.own_attention = False
        with torch.no_grad():
            wanted = self.logits(self.hidden(self.embed(ids), mask))[mask.bool()]
            self.own_attention = True
            found = self.logits(self.hidden(self.embed(ids), mask))[mask.bool()]
        return bool((found - wanted).abs().mean() <= _SAME * wanted.abs().mean())

    def _inner(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def _body(self) -> Any:
        return self._inner().base_model

    def _is_plain(self) -> bool:
        """Whether the logits are the output matrix times the last hidden states, with nothing after that.

        Some models scale or cap their logits; a probe tells, whatever they call it.
        """
        import torch

        ids = torch.arange(_PROBE, device=self.device)[None] % self._embedding.weight.shape[0]
        mask = torch.ones_like(ids)
        with torch.no_grad():
            embeds = self.embed(ids)
            wanted = self.model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).logits.float()
            if not hasattr(self.model, "base_model") or self.model.get_output_embeddings() is None:
                return False
            found = self.logits(self.hidden(embeds, mask))
        if not bool(torch.isfinite(wanted).all()):
            raise UserError(f"model {self.name}: its logits are not finite in {wanted.dtype}; take another precision.")
        return bool((found - wanted).abs().max() <= 1e-3 * wanted.abs().max())


def load_base(folder: str, *, dtype: str = "auto", name: str = "") -> Base:
    """Load a model from a folder in Hugging Face layout.

    Args:
        folder: Where it lies.
        dtype: `auto`, `float32` or `bfloat16`; auto is what the device multiplies quickest.
        name: What people call it; the folder's name by default.

    Raises:
        UserError: If it does not load as a causal language model, or lacks what a soft prompt needs.
    """
    wait_without_spinning()
    import torch

    name = name or Path(folder).name
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transformers = importlib.import_module("transformers")
    kind = getattr(torch, _kind(dtype, device))
    try:
        with without_progress_bars():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind, device_map={"": device})
    except (OSError, ValueError) as error:
        raise UserError(f"model {name}: does not load as a causal language model ({error}).") from error
    return Base(model, tokenizer, name)


def start_of(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text: most often nothing, or a beginning-of-text token."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    found = (whole[:at] for at in range(len(whole) - len(plain) + 1) if whole[at : at + len(plain)] == plain)
    return next(found, [])


def _kind(dtype: str, device: Any) -> str:
    if dtype != "auto":
        return dtype
    if device.type == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    from factory.engines.model_source import cpu_dtype

    return cpu_dtype("auto")


def _embedding(model: Any, name: str) -> Any:
    import torch

    found = model.get_input_embeddings()
    if not isinstance(found, torch.nn.Embedding):
        raise UserError(
            f"model {name}: its input layer is {type(found).__name__}; expected an ordinary token embedding, before whose "
            "output a soft prompt can be put; take another model."
        )
    return found


def _end(model: Any, tokenizer: Any, name: str) -> int:
    configured = model.generation_config.eos_token_id if getattr(model, "generation_config", None) else None
    candidates = configured if isinstance(configured, list) else [configured]
    for token in (getattr(tokenizer, "eos_token_id", None), *candidates):
        if token is not None:
            return int(token)
    raise UserError(f"model {name}: has no token that ends a text (eos_token); take another model.")
