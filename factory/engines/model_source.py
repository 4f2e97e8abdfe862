"""Where the weights of a local engine come from: a folder, the Hub, or the embedded model.

locate_model("embedded", None)         -> ModelSource(path="~/.cache/dataset-factory/SmolLM2-…", revision=None)
locate_model("Qwen/Qwen3-4B", "main")  -> ModelSource(path="Qwen/Qwen3-4B", revision="main")
locate_model("models/typo", None)      -> EngineError: no such folder, and not a Hub id
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

from factory.engines.embedded import EMBEDDED_NAME, embedded_model_dir
from factory.errors import EngineError

HUB_TIMEOUT_S = 10.0


class ModelSource(NamedTuple):
    """What to hand to a library that loads models.

    Attributes:
        path: Local folder or Hub id.
        revision: Hub revision; None for folders.
        name: What people call it.
    """

    path: str
    revision: str | None
    name: str


def locate_model(model: str, revision: str | None) -> ModelSource:
    """Find a model cheaply: no weights are read, and the Hub is asked only for what is not cached.

    Raises:
        EngineError: If there is no such model, or no way to reach it.
        UserError: If the embedded model is asked for and its package is missing.
    """
    if model == "embedded":
        return ModelSource(str(embedded_model_dir()), None, f"{EMBEDDED_NAME} (embedded)")
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise EngineError(
                f"model {model!r}: the folder has no config.json; expected a model in Hugging Face layout "
                "(config.json, weights, tokenizer), so name the folder that holds them."
            )
        return ModelSource(str(folder), None, folder.name)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise EngineError(
            f"model {model!r}: no such folder, and not a Hub id of the form owner/name; "
            "correct engine.model, or use `model: embedded`."
        )
    _require_on_hub(model, revision)
    return ModelSource(model, revision, model if revision is None else f"{model}@{revision}")


def _require_on_hub(model: str, revision: str | None) -> None:
    """Pass when the model is in the local Hub cache or the Hub knows it."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        if isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
            return
        HfApi().model_info(model, revision=revision, timeout=HUB_TIMEOUT_S)
    except _hub_errors() as error:
        raise EngineError(
            f"model {model!r}{f' at revision {revision!r}' if revision else ''}: not a local folder, not in the "
            f"Hub cache, and the Hub did not give it ({type(error).__name__}: {first_line(error)}); without network, "
            "name a local folder, or fill the Hub cache (HF_HOME) elsewhere and set HF_HUB_OFFLINE=1, "
            "or use `model: embedded`."
        ) from error


def _hub_errors() -> tuple[type[Exception], ...]:
    """What the Hub's library raises where it cannot reach the Hub: its HTTP client has changed from version to version."""
    clients = [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
    return OSError, ValueError, *(client.HTTPError for client in clients)


def load_tokenizer(source: ModelSource, *, trust_remote_code: bool = False) -> Any:
    """The model's own tokenizer.

    Raises:
        EngineError: If it does not load.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source.path, revision=source.revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        raise EngineError(f"model {source.name}: its tokenizer does not load ({first_line(error)}).") from error


def cpu_dtype(dtype: str) -> str:
    """`auto` resolved for a CPU: float32, unless the processor multiplies bfloat16 natively.

    Without AVX512-BF16 or AMX, bfloat16 is more than ten times slower than float32 here, in vLLM too.
    """
    if dtype != "auto":
        return dtype
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    native = any(capabilities.get(flag) for flag in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if native else "float32"


def wait_without_spinning() -> None:
    """Let torch's CPU threads sleep while they wait for each other; works only before torch is imported.

    By default they spin, which doubles the CPU time, and on cores that are shared with anything else
    (the event loop, parsers, other users) costs half of the throughput up to nine tenths of it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else "no further text"
