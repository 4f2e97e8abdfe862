"""A recipe of `great` that cannot be: one clear sentence, whatever part of it finds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.errors import UserError
from tests.tables.great.kinds import unigram

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")


def run(folder: Path, rows: list[dict[str, Any]], step: str) -> None:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.yaml").write_text(f"name: t\ntable: {{path: t.jsonl}}\nsteps:\n  - great: {step}\n")
    factory.run(folder / "r.yaml", folder / "out", progress=False)


def test_a_table_wider_than_the_context(tmp_path: Path) -> None:
    rows = [{f"measurement number {at}": at * row for at in range(300)} for row in range(9)]
    with pytest.raises(
        UserError,
        match=r"a row of this table takes up to \d,\d+ tokens in 300 columns, and the model reads at most 1,024",
    ):
        run(tmp_path, rows, "{rows: 5, model: scratch, train: {max_steps: 1}}")


def test_a_value_that_the_tokenizer_cannot_write(tmp_path: Path) -> None:
    tokenizer = unigram()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"age": age, "note": note} for age, note in ((39, "Some text"), (7, "日本"), (8, "more")) for _ in range(3)]
    with pytest.raises(UserError, match=r"column 'note': the tokenizer cannot write '.*日本.*' and give it back; "):
        run(tmp_path, rows, "{rows: 5, model: model, train: {max_steps: 1}}")
