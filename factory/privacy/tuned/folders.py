"""Tuned artifacts as files: ours, and those that peft loads.

    write(prompt, folder)                   # soft_prompt.safetensors, soft_prompt.json
    write(adapter, folder)                  # adapter_model.safetensors, adapter_config.json, adapter.json
    read(folder)                            # either of them
    export_prompt(prompt, folder, start)    # adapter_model.safetensors, adapter_config.json: peft's prompt tuning

With peft a soft prompt is loaded by `PeftModel.from_pretrained(base, folder)`. It stands before everything that the model
reads there, so that a beginning-of-text token, which comes before the soft prompt, is exported as its first vector: texts
are tokenised without special tokens then.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np

from factory.datasets_io.whole import write_whole
from factory.errors import UserError
from factory.privacy.tuned.artifact import (
    PROMPT,
    About,
    Adapter,
    Artifact,
    Floats,
    SoftPrompt,
    adapter,
    decoded,
    encoded,
    plain,
)

PROMPT_FILES = ("soft_prompt.safetensors", "soft_prompt.json")
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json", "adapter.json")
PEFT_FILES = ADAPTER_FILES[:2]


def write(artifact: Artifact, folder: Path) -> list[Path]:
    """Write an artifact into a folder, which is made; gives the files.

    Raises:
        DiskError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(artifact, SoftPrompt):
        known = {"shape": artifact.vectors.shape, **msgspec.to_builtins(artifact.about)}
        return _write(folder, dict(zip(PROMPT_FILES, (encoded(artifact), _json(known)), strict=True)))
    contents = (_tensors(artifact.weights), artifact.config, _json(artifact.about))
    return _write(folder, dict(zip(ADAPTER_FILES, contents, strict=True)))


def read(folder: Path) -> Artifact:
    """The artifact in a folder.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    if not any((folder / name).is_file() for name in (PROMPT_FILES[0], ADAPTER_FILES[-1])):
        raise UserError(
            f"{folder}: holds no soft prompt and no adapter; expected {PROMPT_FILES[0]} or {ADAPTER_FILES[0]}."
        )
    try:
        return _read_prompt(folder) if (folder / PROMPT_FILES[0]).is_file() else _read_adapter(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}).") from error
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def export_prompt(prompt: SoftPrompt, folder: Path, start: Floats | None = None) -> list[Path]:
    """Write a soft prompt as an adapter of peft's prompt tuning; for others to load, it is never trained through peft.

    Args:
        prompt: The soft prompt.
        folder: Where to; it is made.
        start: Embeddings [tokens, width] of `prompt.about.start`, which become its first vectors.

    Raises:
        DiskError: If the files cannot be written.
    """
    before = np.empty((0, prompt.vectors.shape[1]), np.float32) if start is None else start
    if len(before) != len(prompt.about.start):
        raise ValueError(f"expected the embeddings of {len(prompt.about.start)} start tokens, found {len(before)}")
    vectors = np.concatenate([before, prompt.vectors])
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": prompt.about.base_name,
        "inference_mode": True,
        "num_virtual_tokens": len(vectors),
        "token_dim": vectors.shape[1],
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }
    folder.mkdir(parents=True, exist_ok=True)
    contents = (_tensors({PROMPT: vectors}), json.dumps(config, indent=2, sort_keys=True).encode())
    return _write(folder, dict(zip(PEFT_FILES, contents, strict=True)))


def _read_prompt(folder: Path) -> Artifact:
    return decoded((folder / PROMPT_FILES[0]).read_bytes())


def _read_adapter(folder: Path) -> Adapter:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    tensors, config, about = ((folder / name).read_bytes() for name in ADAPTER_FILES)
    try:
        return adapter(msgspec.json.decode(about, type=About), config, load(tensors))
    except (SafetensorError, msgspec.DecodeError) as error:
        raise UserError(f"the adapter is damaged ({error}).") from error


def _tensors(numbers: dict[str, Floats]) -> bytes:
    from safetensors.numpy import save

    return bytes(save(plain(numbers), metadata={"format": "pt"}))


def _json(known: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"


def _write(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]
