"""A recipe of `great` that cannot be: one clear sentence, whatever part of it finds out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.errors import UserError
from tests.tables.great.kinds import byte_level, unigram

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")


def run(folder: Path, rows: list[dict[str, Any]], step: str) -> list[dict[str, Any]]:
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.yaml").write_text(f"name: t\ntable: {{path: t.jsonl}}\nsteps:\n  - great: {step}\n")
    result = factory.run(folder / "r.yaml", folder / "out", progress=False, accept_changes=True)
    return [row for path in sorted((result.path / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def save_model(folder: Path, tokenizer: Any) -> None:
    """A tiny model that reads 256 tokens."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


WIDE = [{f"measurement number {at}": at * row for at in range(300)} for row in range(9)]


def test_a_table_wider_than_the_context(tmp_path: Path) -> None:
    save_model(tmp_path / "model", byte_level())
    with pytest.raises(
        UserError,
        match=r"a row of this table takes up to \d,\d+ tokens in 300 columns, and the model reads at most 256",
    ):
        run(tmp_path, WIDE, "{rows: 5, model: model, train: {max_steps: 1}}")


SMALL = "model: scratch, scratch: {hidden: 32, layers: 1, heads: 2}, train: {max_steps: 1}, backend: transformers"


def test_a_model_from_scratch_reads_a_wide_table(tmp_path: Path) -> None:
    rows = run(tmp_path, WIDE, f"{{rows: 2, {SMALL}}}")
    assert [sum(name in WIDE[0] for name in row) for row in rows] == [300, 300]


def test_a_model_from_scratch_has_room_for_long_texts(tmp_path: Path) -> None:
    table = [{"age": at, "note": f"spoke with {at} people, then left"} for at in range(30)]
    assert len(run(tmp_path, table, f"{{rows: 2, text_tokens: 1100, {SMALL}}}")) == 2
    assert len(run(tmp_path, table, f"{{rows: 2, text_tokens: 2100, {SMALL}}}")) == 2  # the model is made anew


def test_a_value_that_the_tokenizer_cannot_write(tmp_path: Path) -> None:
    save_model(tmp_path / "model", unigram())
    rows = [{"age": age, "note": note} for age, note in ((39, "Some text"), (7, "日本"), (8, "more")) for _ in range(3)]
    with pytest.raises(UserError, match=r"column 'note': the tokenizer cannot write '.*日本.*' and give it back; "):
        run(tmp_path, rows, "{rows: 5, model: model, train: {max_steps: 1}}")
