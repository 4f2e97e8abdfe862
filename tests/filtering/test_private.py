"""`factory filter` reads nothing that is private: not as input, not to compare with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.errors import UserError
from factory.table_evaluating import evaluate_tables

COPIED = "its rows would be written as a dataset"
TELLS = "what is kept and what is dropped by private rows tells which those are"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "private"):
        rows = [{"text": f"Row {number} of {name}."} for number in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


COMMANDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("private.jsonl", {"filters": "exact: {field: text}"}, "IN private.jsonl", COPIED),
    ("in.jsonl", {"filters": "exact: {field: text}", "against": ["private.jsonl"]}, "--against private.jsonl", TELLS),
    (
        "in.jsonl",
        {"filters": "decontaminate: {field: text, against: [in.jsonl, private.jsonl]}"},
        "--filter .*/private.jsonl",
        TELLS,
    ),
]


@pytest.mark.parametrize(("source", "options", "what", "why"), COMMANDS)
def test_a_file_with_a_ledger_is_refused(
    folder: Path, source: str, options: dict[str, Any], what: str, why: str
) -> None:
    factory.filter(source, "out.jsonl", **options)
    (folder / "private.jsonl.privacy.jsonl").write_text("")
    with pytest.raises(UserError) as caught:
        factory.filter(source, "other.jsonl", **options)
    assert re.match(
        rf"{what}: was declared private before \(its ledger is .*private.jsonl.privacy.jsonl\); ", str(caught.value)
    )
    assert why in str(caught.value)
    assert not list(folder.glob("other*"))


def test_a_folder_that_holds_such_a_file_is_refused(folder: Path) -> None:
    (folder / "shards").mkdir()
    for name in ("in", "private"):
        (folder / f"{name}.jsonl").rename(folder / "shards" / f"{name}.jsonl")
    (folder / "shards" / "private.jsonl.privacy.jsonl").write_text("")
    with pytest.raises(UserError, match="^IN shards: was declared private before"):
        factory.filter("shards", "out.jsonl", filters="exact: {field: text}")


def test_rows_of_a_run_that_stay_private_are_refused(folder: Path) -> None:
    run = folder / "run"
    (run / "data").mkdir(parents=True)
    (folder / "in.jsonl").rename(run / "data" / "in.jsonl")
    (run / "manifest.json").write_text(
        json.dumps({"privacy": {"output_private": True, "why": "no noise", "claims": []}})
    )
    for name in ("run", "run/data", "run/data/in.jsonl"):
        with pytest.raises(
            UserError, match=rf"^IN {name}: belongs to a run whose rows stay private \(no noise\); its rows"
        ):
            factory.filter(name, "out.jsonl", filters="exact: {field: text}")


def test_figures_of_tables_are_not_taken_against_private_rows(folder: Path) -> None:
    for name in ("real", "test"):
        (folder / f"{name}.csv").write_text("a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(60)))
    for name in ("real", "test"):
        ledger = folder / f"{name}.csv.privacy.jsonl"
        ledger.write_text("")
        with pytest.raises(UserError, match=rf"^evaluate: {name}.csv: was declared private before .*; figures against"):
            evaluate_tables(["real.csv"], "real.csv", test="test.csv")
        ledger.unlink()
