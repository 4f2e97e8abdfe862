from __future__ import annotations

import json
from pathlib import Path

import pytest

import factory
from factory.errors import RecipeError

RECIPE = """\
name: compared
table: {{path: "sklearn:iris", held_out: {held_out}, target: species}}
steps:
  - gaussian_copula: {{rows: 90}}
  - gaussian_copula: {{rows: 80, name: other, sweeps: 1}}
  - evaluate_table: {{seeds: 1}}
"""


def test_every_step_is_a_set_and_the_page_lies_in_the_run_directory(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(held_out=0.4))
    result = factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False)
    assert (result.status, result.rows) == ("complete", 170)
    notes = " ".join(result.manifest["steps"][2]["notes"])
    assert "gaussian_copula (90 rows): valid 1.000" in notes
    assert "other (80 rows): valid 1.000" in notes
    assert notes.count("membership attack AUC 0.") == 4  # both steps, real rows, shuffled columns
    assert "shuffled columns" in notes
    found = json.loads((tmp_path / "out/artifacts/evaluate_table/evaluation.json").read_text())
    assert [line["name"] for line in found["sets"]] == ["gaussian_copula", "other"]
    page = (tmp_path / "out/artifacts/evaluate_table/page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    again = factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False)
    assert again.manifest["steps"][2]["notes"] == result.manifest["steps"][2]["notes"]


def test_too_few_real_rows_to_compare_with_are_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.format(held_out=0.1))
    with pytest.raises(RecipeError, match="15 real rows that no model sees; expected at least 40"):
        factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False)
