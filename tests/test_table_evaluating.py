"""`factory evaluate` for tables as a user meets it: sources, real rows, the page; one sentence for what is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from factory import run
from factory.datasets_io.rows import column_name
from factory.table_evaluating import evaluate_tables, holds_tables

from .driver import Command, in_process, write_rows
from .evaluation.tables.made import made, shuffled, values

REAL = ("--real", "train.csv", "--test", "test.jsonl", "--target", "rich", "--seeds", "1")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    write_csv(tmp_path / "train.csv", values(made(150, 1)))
    write_rows(tmp_path / "test.jsonl", values(made(200, 2)))
    good, bad = values(made(120, 3)), values(shuffled(made(120, 4), 1))
    rows = [
        {**row, "record_id": f"{step}{at}", "provenance": {"step": step, "method": step}}
        for step, some in (("great", good), ("copula", bad))
        for at, row in enumerate(some)
    ]
    write_rows(tmp_path / "made.jsonl", rows)
    write_csv(tmp_path / "plain.csv", good)
    return in_process(tmp_path, monkeypatch, capsys)


def test_steps_are_compared_and_everything_is_written(factory: Command) -> None:
    done = factory("evaluate", "made.jsonl", "--by", "step", *REAL, "--out", "e.json", "--page", "e.html")
    assert done.code == 0, done.err
    for name in ("great", "copula", "real, same n", "real, all", "shuffled columns", "detection AUC", "halved"):
        assert name in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    assert "\x1b" not in done.out
    assert "seed 1 of 1" in done.err
    saved = json.loads(Path("e.json").read_text())
    assert [line["name"] for line in saved["evaluation"]["sets"]] == ["great", "copula"]
    figures = {line["name"]: line["figures"] for line in saved["evaluation"]["sets"]}
    assert figures["copula"]["detection_auc"]["value"] > figures["great"]["detection_auc"]["value"] + 0.2
    assert "record_id" not in Path("e.html").read_text()
    again = factory("evaluate", "plain.csv", *REAL, "--out", "e.json", "--page", "e.html")
    assert again.code == 0, again.err


def test_a_run_directory_tells_by_its_recipe_that_it_holds_a_table(tmp_path: Path) -> None:
    manifest = {"recipe": {"steps": [{"great": {"name": "great", "table": {"path": "a.csv"}}}]}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert holds_tables([tmp_path])
    for other in ({"recipe": {"steps": [{"rows": {"path": "a.csv"}}]}}, {"recipe": None}, []):
        (tmp_path / "manifest.json").write_text(json.dumps(other))
        assert not holds_tables([tmp_path])
    assert not holds_tables([tmp_path / "nothing.csv"])


def test_a_column_that_is_not_there_counts_as_missing_and_is_said(factory: Command) -> None:
    write_csv(Path("less.csv"), [{"age": row["age"], "rich": row["rich"]} for row in values(made(100, 5))])
    found = evaluate_tables(["less.csv"], "train.csv", test="test.jsonl", target="rich", seeds=1).evaluation
    assert "less: has no column group, number, wage; it counts as missing." in found.notes
    assert found.sets[0].validity is not None
    assert found.sets[0].validity.complete == 0.0


def test_columns_called_as_those_that_a_run_adds_are_compared(factory: Command) -> None:
    names = {"group": "provenance", "age": "record_id", "number": "source_record_id"}
    real, test, fresh = (
        [{names.get(name, name): value for name, value in row.items()} for row in values(made(rows, seed))]
        for rows, seed in ((150, 1), (100, 2), (60, 3))
    )
    write_csv(Path("real.csv"), real)
    write_csv(Path("fresh.csv"), fresh)
    write_rows(Path("test.jsonl"), test)
    rows = [{column_name(name): value for name, value in row.items()} for row in fresh]
    made_by = {"provenance": {"step": "great", "method": "great"}}
    write_rows(Path("run.jsonl"), [{**row, "record_id": f"r{at}", **made_by} for at, row in enumerate(rows)])
    found = evaluate_tables(["run.jsonl", "fresh.csv"], "real.csv", test="test.jsonl", target="provenance", seeds=1)
    run, plain = found.evaluation.sets
    assert found.evaluation.target == "provenance"
    assert run.validity == plain.validity
    assert run.validity is not None
    assert run.validity.valid == 1.0
    by_step = evaluate_tables(["run.jsonl"], "real.csv", test="test.jsonl", by="step", seeds=1).evaluation
    assert [line.name for line in by_step.sets] == ["great"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plain.csv", "--real", "train.csv", "--target", "rich"), "--test: expected a file"),
        (("plain.csv", *REAL[:4], "--target", "rick"), "target 'rick': no such column"),
        (("none.csv", *REAL), "none.csv: no such file"),
        (("plain.csv", *REAL, "--holdout", "none.csv"), "none.csv: no such file"),
        (("plain.csv", *REAL, "--by", "wya"), "no column 'wya'"),
        (("plain.csv", *REAL, "--page", "train.csv"), "is no page of an evaluation"),
        (("plain.csv", *REAL, "--out", "train.csv"), "is no evaluation"),
        (("plain.csv", *REAL, "--page", "nowhere/e.html"), "there is no folder"),
        (("odd.jsonl", *REAL), "no column 'age'"),
        (("plain.csv", "--real", "train.csv", "--page", "e.html"), "--page: only for tables (name --target"),
        (("plain.csv", "--real", "train.csv", "--seeds", "4"), "--seeds: only for tables"),
        (("plain.csv", *REAL, "--label", "rich", "--draws", "9"), "--label and --draws: only for texts"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(factory: Command, arguments: tuple[str, ...], message: str) -> None:
    write_rows(Path("odd.jsonl"), [{"text": "no table"}] * 30)
    done = factory("evaluate", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def run_copula(folder: Path, step: str) -> list[dict[str, Any]]:
    (folder / "r.yaml").write_text(f"name: t\ntable: {{path: t.jsonl}}\nsteps:\n  - gaussian_copula: {step}\n")
    result = run(folder / "r.yaml", folder / "out", progress=False)
    return [row for path in sorted((result.path / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_columns_of_several_types_are_in_domain_after_a_run(tmp_path: Path) -> None:
    mixed, answers = [1, "1", True, 1.5, "x"], ["yes", "no", 0, None]
    write_rows(tmp_path / "t.jsonl", [{"a": mixed[n % 5], "b": answers[n % 4], "n": n % 37} for n in range(200)])
    rows = run_copula(tmp_path, "{rows: 200}")
    assert {row["a"] for row in rows} == {"1", "true", "1.5", "x"}
    assert {row["b"] for row in rows} == {"yes", "no", "0", None}
    real = tmp_path / "t.jsonl"
    found = evaluate_tables([tmp_path / "out"], real, test=real, target="b", seeds=1).evaluation
    assert found.sets[0].validity is not None
    assert found.sets[0].validity.valid == 1.0


def test_a_given_text_among_numbers_stays_as_it_is(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.jsonl", [{"a": n % 50, "b": ("yes", "no")[n % 2]} for n in range(200)])
    write_rows(tmp_path / "gaps.jsonl", [{"a": "abc", "b": None}, {"a": 7, "b": "yes"}, {"a": None, "b": 3}])
    rows = run_copula(tmp_path, "{impute: {path: gaps.jsonl}}")
    assert [row["a"] for row in rows][:2] == ["abc", "7"]
    assert rows[0]["b"] in ("yes", "no")
    assert [row["b"] for row in rows][1:] == ["yes", "3"]
