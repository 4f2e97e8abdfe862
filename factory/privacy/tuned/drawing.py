"""Texts drawn with what was tuned: the model reads [start][soft prompt][head] and writes a text up to its end.

    drawer = open_drawer("models/SmolLM2-135M", prompt, backend="auto", texts=2000)
    drawer.draw([head] * 3, seeds=[11, 12, 13], sampling=Sampling(max_tokens=64))
    # [Drawn(text="Your parcel is …", token_count=12, finished=True), …]
    drawer.close()

A special token is no part of a text: the first one ends it, whichever it is. By default tokens are drawn as the model has
learnt them, at temperature 1 from the whole vocabulary (as in Kurakin et al. 2023, arXiv 2306.01684).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from factory.engines.protocol import Sampling
from factory.errors import UserError
from factory.privacy.tuned.artifact import Artifact

Backend = Literal["transformers", "vllm"]
VLLM_FROM = 500  # texts that are worth vLLM's start on a CPU


class Drawn(NamedTuple):
    """A text that the model has written.

    Attributes:
        text: Without the token that ends it.
        token_count: Its tokens, likewise.
        finished: Whether it came to its end; if not, it was cut.
    """

    text: str
    token_count: int
    finished: bool


class Drawer(Protocol):
    """A loaded model that writes texts."""

    @property
    def description(self) -> str:
        """For example `vllm 0.32.0, cpu float32`."""

    def draw(self, heads: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Drawn]:
        """One text for each head.

        Args:
            heads: Tokens that the model reads before a text, without those that it reads before every text.
            seeds: One for each text.
            sampling: How tokens are drawn.

        Raises:
            UserError: If a text of `max_tokens` does not fit what the model reads.
            EngineError: If the model fails.
        """

    def close(self) -> None:
        """Free the model."""


def open_drawer(
    folder: str,
    artifact: Artifact | None,
    *,
    backend: Literal["auto", "transformers", "vllm"] = "auto",
    texts: int,
    dtype: str = "auto",
    name: str = "",
    rows: int | None = None,
    context: int | None = None,
    gpu_memory: float = 0.9,
) -> Drawer:
    """Load a base model with what was tuned for it.

    Args:
        folder: The base model, in Hugging Face layout.
        artifact: A soft prompt, adapters, or None for the base model as it is.
        backend: Which library; see `backend_of`.
        texts: How many are going to be drawn.
        dtype: `auto`, `float32` or `bfloat16`.
        name: What people call the base model.
        rows: Texts that are written side by side; None takes the backend's default.
        context: Most tokens that are read and written for a text; None takes the model's (vLLM on a CPU: at most 4096).
        gpu_memory: Share of a GPU's memory that vLLM takes.

    Raises:
        EngineError: If vLLM is missing or does not load.
        UserError: If the model does not load, or the artifact does not fit it.
    """
    if backend_of(backend, texts) == "vllm":
        from factory.privacy.tuned.vllm_drawer import VllmDrawer

        return VllmDrawer(folder, artifact, dtype=dtype, name=name, rows=rows, context=context, gpu_memory=gpu_memory)
    from factory.privacy.base import load_base
    from factory.privacy.tuned.model import tuned
    from factory.privacy.tuned.transformers_drawer import TransformersDrawer

    return TransformersDrawer(tuned(load_base(folder, dtype=dtype, name=name), artifact), rows=rows, context=context)


def backend_of(wanted: Literal["auto", "transformers", "vllm"], texts: int) -> Backend:
    """The backend itself: `auto` takes vLLM where it is installed and there is a GPU, or enough texts to make up for its start."""
    if wanted != "auto":
        return wanted
    if importlib.util.find_spec("vllm") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() or texts >= VLLM_FROM else "transformers"


def special_ids(tokenizer: Any) -> set[int]:
    """Tokens that are no part of any text."""
    return {
        *(int(token) for token, added in tokenizer.added_tokens_decoder.items() if added.special),
        *(int(token) for token in tokenizer.all_special_ids),
    }


def text_of(tokenizer: Any, ids: Sequence[int], sampling: Sampling) -> str:
    """The text of these tokens, up to the first string that ends it."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
    places = [place for stop in sampling.stop if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def check_asked(heads: Sequence[Sequence[int]], before: int, sampling: Sampling, most: int | None, name: str) -> None:
    """Refuse what the model cannot read.

    Args:
        heads: Tokens before the texts.
        before: How many tokens stand before the heads.
        sampling: How long texts may be.
        most: Tokens that the model reads at most.
        name: What people call the model.

    Raises:
        UserError: In one sentence.
    """
    if not before and not all(heads):
        raise UserError(f"model {name}: a head has no token, so that the model has nothing to begin from.")
    longest = before + max(map(len, heads), default=0) + sampling.max_tokens
    if most is not None and longest > most:
        raise UserError(
            f"max_tokens: a text of {sampling.max_tokens:,} tokens takes {longest:,} with what stands before it, and the model "
            f"{name} reads at most {most:,}; lower max_tokens."
        )
