"""What the tests of the DP text methods share: a small private file, a tiny model, a recipe, and what a run left behind."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

import factory
from factory.privacy.ledger import Ledger, ledger_of
from tests.privacy.tiny import saved

ROWS = 137
WORD = "zanzibar"  # in every private text
METHODS = ("dp_prompt_tuning", "dp_lora")
CLASSES = "{billing: about a bill, delivery: about a parcel}"
TRAIN = "steps: 4, batch_size: 20, max_tokens: 10, micro_batch: 8, rows: 6, keep_cut: true, backend: transformers"


def write(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """A private file."""
    draw = random.Random(3)
    made = [
        {
            "text": f"{draw.choice(['bill', 'parcel'])} number {number} {WORD}",
            "label": ("billing", "delivery")[number % 2],
        }
        for number in range(ROWS)
    ]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (made if rows is None else rows)))
    return path


def recipe(folder: Path, options: str, *, method: str = "dp_prompt_tuning", data: str = "", more: str = "") -> Path:
    """A recipe beside the private file; the model is made once."""
    if not (folder / "model").exists():
        saved(folder / "model")
    settings = {**yaml.safe_load(f"{{{TRAIN}}}"), "model": "model"}
    settings |= {"prompt_tokens": 3} if method == "dp_prompt_tuning" else {"rank": 2}
    settings |= {"data": {"path": "texts.jsonl", **yaml.safe_load(f"{{{data}}}")}, **yaml.safe_load(f"{{{options}}}")}
    path = folder / "recipe.yaml"
    path.write_text(f"name: t\nsteps:\n  - {method}: {json.dumps(settings)}\n{more}")
    return path


def run(folder: Path, options: str, out: str = "out", **further: Any) -> factory.RunResult:
    """Run it."""
    return factory.run(recipe(folder, options, **further), folder / out, progress=False, accept_changes=True)


def rows_of(result: factory.RunResult) -> list[dict[str, Any]]:
    """The dataset."""
    return [row for path in sorted((result.path / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def ledger(folder: Path) -> Ledger:
    """The ledger of the private file."""
    return Ledger(ledger_of(folder / "texts.jsonl"))


def claim(result: factory.RunResult, method: str = "dp_prompt_tuning") -> dict[str, Any]:
    """The claim as it is published."""
    return dict(json.loads((result.path / "artifacts" / method / "privacy.json").read_text()))
