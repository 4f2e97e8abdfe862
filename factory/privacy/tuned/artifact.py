"""What is released of a tuning: a soft prompt or LoRA adapters, and nothing else, as bytes.

    blob = encoded(SoftPrompt(about=About(run="5f0c…", base="SmolLM2-135M-Instruct@…", …), vectors=[20, 576] of float32))
    decoded(blob).about.heads       # {"spam": (9690, 365, …)}

The bytes are one safetensors file: numbers, with the rest as JSON in its header. There is no room in it for weights of the
base model, for the state of an optimizer, or for anything else that has seen private data without noise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.journal import MAX_ARTIFACT_BYTES

FORMAT = 1
BYTES_PER_NUMBER, HEADER_ROOM = 4, 1_000_000
HEADER = "factory"
PROMPT = "prompt_embeddings"
_LENGTH_BYTES = 8
Floats = npt.NDArray[np.float32]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known of a tuned artifact besides its numbers; all of it is public.

    Attributes:
        run: Id of the claim's run in the ledger; random.
        base: Identity of the base model, which the artifact is worth nothing without.
        base_name: What people call it.
        start: Tokens that stand before the soft prompt: the beginning-of-text token where the tokenizer puts one.
        end: Token that ends a text.
        head: Name of the template of the heads.
        head_hash: Its hash.
        heads: For each label the tokens that its texts were learnt after; `""` where there are no labels.
        max_tokens: Most tokens of a text that were learnt.
        format: Of the file.
    """

    run: str
    base: str
    base_name: str
    start: tuple[int, ...]
    end: int
    head: str
    head_hash: str
    heads: dict[str, tuple[int, ...]]
    max_tokens: int
    format: int = FORMAT


class SoftPrompt(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Vectors that stand in the place of token embeddings.

    Attributes:
        about: What is known of them.
        vectors: [P, width], float32.
    """

    about: About
    vectors: Floats


class Adapter(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """LoRA adapters as peft has them.

    Attributes:
        about: What is known of them.
        config: Content of `adapter_config.json`.
        weights: Matrices in float32 by the names that peft saves them under.
    """

    about: About
    config: bytes
    weights: dict[str, Floats]

    @property
    def rank(self) -> int:
        """Of the adapters."""
        return int(json.loads(self.config)["r"])


Artifact = SoftPrompt | Adapter


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    about: About
    config: str | None = None  # of adapters


def require_room(numbers: int) -> None:
    """Make sure that so many trained numbers go into the journal, before they are paid for.

    Raises:
        UserError: If they do not.
    """
    _require_fit(BYTES_PER_NUMBER * numbers + HEADER_ROOM)


def _require_fit(size: int) -> None:
    if size > MAX_ARTIFACT_BYTES:
        raise UserError(
            f"what is trained takes {size:,} bytes, and the journal holds at most {MAX_ARTIFACT_BYTES:,} of one thing; take "
            "a lower rank, fewer layers, or a shorter soft prompt."
        )


def encoded(artifact: Artifact) -> bytes:
    """One safetensors file.

    Raises:
        UserError: If it is too large for the journal.
    """
    from safetensors.numpy import save

    if isinstance(artifact, SoftPrompt):
        header, numbers = _Header(about=artifact.about), {PROMPT: artifact.vectors}
    else:
        header, numbers = _Header(about=artifact.about, config=artifact.config.decode()), artifact.weights
    _require_fit(sum(each.nbytes for each in numbers.values()))
    return bytes(save(plain(numbers), metadata={HEADER: msgspec.json.encode(header).decode()}))


def decoded(blob: bytes) -> Artifact:
    """What was encoded.

    Raises:
        UserError: If it is something else, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        header = msgspec.json.decode(_header_text(blob), type=_Header)
        numbers = load(blob)
    except (SafetensorError, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"this is no soft prompt and no adapter that was tuned here ({error}).") from error
    if header.about.format > FORMAT:
        raise UserError(
            f"format {header.about.format} of tuned artifacts is newer than {FORMAT}; take a newer version."
        )
    if header.config is not None:
        return adapter(header.about, header.config.encode(), numbers)
    if set(numbers) != {PROMPT}:
        raise UserError(f"a soft prompt has one tensor, {PROMPT}; found {', '.join(numbers)}.")
    return soft_prompt(header.about, numbers[PROMPT])


def soft_prompt(about: About, vectors: npt.NDArray[Any]) -> SoftPrompt:
    """A soft prompt of these vectors.

    Raises:
        UserError: If they are no finite matrix.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise UserError(f"a soft prompt is a matrix of at least one row; found the shape {vectors.shape}.")
    return SoftPrompt(about=about, vectors=_finite(PROMPT, vectors))


def adapter(about: About, config: bytes, weights: Mapping[str, npt.NDArray[Any]]) -> Adapter:
    """Adapters of these matrices.

    Raises:
        UserError: If there is anything among them that is no adapter's matrix, or a number that is not finite.
    """
    strange = [name for name in weights if ".lora_" not in name]
    if strange or not weights:
        raise UserError(
            f"an adapter is released as LoRA matrices and nothing else; found {strange[0] if strange else 'none'}."
        )
    return Adapter(about=about, config=config, weights={name: _finite(name, weights[name]) for name in sorted(weights)})


def adapter_of(model: Any, about: About) -> Adapter:
    """The adapters of a model that peft has wrapped.

    Raises:
        UserError: If more than LoRA matrices would be released.
    """
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in state.items()}
    return adapter(about, _config(model.peft_config[model.active_adapter], about), weights)


def plain(numbers: Mapping[str, Floats]) -> dict[str, Floats]:
    """The same numbers as safetensors writes them: its writer reads memory as it lies."""
    return {name: np.ascontiguousarray(each, dtype=np.float32) for name, each in numbers.items()}


def _config(config: Any, about: About) -> bytes:
    """Settings of peft's without the place where the base model lay on the machine of the training."""
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    values |= {"base_model_name_or_path": about.base_name, "inference_mode": True, "revision": None}
    return json.dumps(values, indent=2, sort_keys=True).encode()


def _header_text(blob: bytes) -> str:
    """The JSON of ours in the header of a safetensors file: its length comes first, in 8 bytes."""
    length = int.from_bytes(blob[:_LENGTH_BYTES], "little")
    return str(json.loads(blob[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"][HEADER])


def _finite(name: str, numbers: npt.NDArray[Any]) -> Floats:
    if not np.isfinite(numbers).all():
        raise UserError(f"{name}: holds numbers that are not finite; the tuning went wrong, lower its learning rate.")
    return np.ascontiguousarray(numbers, dtype=np.float32)
