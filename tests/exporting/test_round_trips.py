"""What goes in comes out, whatever the texts hold and whatever reads the files."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.datasets_io.cells import neutral
from factory.datasets_io.rows import read_rows
from factory.exporting import export

from .directories import directory, pairs, record

HOSTILE = [
    'say "hi", she said',
    "two\nlines\r\nand\rone more\n",
    "\x00NUL and \x07bell",
    "🎉👩‍👩‍👧 e\u0301",
    "\u202eمرحبا\u200f שלום",
    "separators \u2028 \u2029 \x85 \x0b \x0c \x1c end",
    "=1+1",
    "-3.5",
    "\ufeffmark",
    "  spaces  ",
    "null",
    "2024-01-01T00:00:00",
    "x" * 100_000,
    "{{ x }} <script>alert(1)</script> \\n \\u0041",
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(HOSTILE)
COLUMNS = ("instruction", "input", "output")


def made(folder: Path, texts: list[str]) -> tuple[Path, list[dict[str, str]]]:
    """A run with those texts in every column, and its rows; no row is empty, none is there twice."""
    rows = [
        {"instruction": f"{n}{text}", "input": text if text.strip() else "", "output": f"{text}{n}"}
        for n, text in enumerate(texts)
    ]
    return pairs(folder / "run", rows), rows


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6))
@example(HOSTILE)
def test_json_lines_parquet_and_csv_lose_nothing(texts: list[str]) -> None:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as name:
        run, rows = made(Path(name), texts)
        (file,) = export(run, Path(name) / "a", format="alpaca").files
        assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == rows
        assert list(read_rows(file)) == rows
        (file,) = export(run, Path(name) / "b", format="alpaca", parquet=True).files
        assert pq.read_table(file).to_pylist() == rows
        (file,) = export(run, Path(name) / "c", format="csv", formulas="keep").files
        csv.field_size_limit(2**31 - 1)
        with file.open(encoding="utf-8", newline="") as lines:
            assert list(csv.DictReader(lines, strict=True)) == rows


def test_pandas_reads_back_what_was_written(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    run, rows = made(tmp_path, HOSTILE)
    done = export(run, tmp_path / "csv", format="csv", formulas="keep")
    assert pandas.read_csv(done.files[0], dtype=str, keep_default_na=False).to_dict("records") == rows
    done = export(run, tmp_path / "jsonl", format="alpaca")
    read = pandas.read_json(done.files[0], lines=True, dtype=False)
    assert read.to_dict("records") == rows
    done = export(run, tmp_path / "parquet", format="alpaca", parquet=True)
    assert pandas.read_parquet(done.files[0]).to_dict("records") == rows


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("container", ["jsonl", "parquet", "csv"])
def test_datasets_reads_back_every_shard_and_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, streaming: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    run, rows = made(tmp_path, [*HOSTILE, *(f"text {n}" for n in range(80))])
    (tmp_path / "bench.jsonl").write_text('{"text": "no such words in here at all"}\n')
    asked: dict[str, Any] = {"format": "alpaca", "parquet": container == "parquet"}
    if container == "csv":
        asked = {"format": "csv", "formulas": "keep"}
    benchmark = [str(tmp_path / "bench.jsonl")]
    done = export(run, tmp_path / "out", validation=0.2, test=0.2, shard_rows=10, decontaminate=benchmark, **asked)
    assert all(count > 1 for count in done.rows.values())
    assert len(done.files) == sum(-(-count // 10) for count in done.rows.values())
    # As their loader reads CSV, an empty text and a missing one are the same.
    options = {"keep_default_na": False} if container == "csv" else {}
    loaded = datasets.load_dataset(str(tmp_path / "out"), streaming=streaming, cache_dir=str(tmp_path / "c"), **options)
    assert set(loaded) == {"train", "validation", "test"}
    found = [row for name in loaded for row in loaded[name]]
    assert {name: len(list(loaded[name])) for name in loaded} == done.rows
    assert sorted(found, key=str) == sorted(rows, key=str)


def test_messages_and_preferences_load_with_datasets_from_both_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    kept = [
        record(f"{n}{m}", {"instruction": f"{n}{text}", "output": f"{m}{text}", "s": m}, f"r{n}")
        for n, text in enumerate(HOSTILE)
        for m in range(2)
    ]
    run = directory(tmp_path / "run", kept)
    for format_ in ("messages", "sharegpt", "preference", "prompt-completion"):
        told = []
        for parquet in (False, True):
            out = tmp_path / f"{format_}{parquet}"
            done = export(run, out, format=format_, parquet=parquet, score="s", ids=True)
            rows = datasets.load_dataset(str(out), split="train", streaming=True, cache_dir=str(tmp_path / "c"))
            told.append(list(rows))
            assert len(told[-1]) == done.rows["train"]
        assert told[0] == told[1]
        assert json.dumps(HOSTILE[0], ensure_ascii=False)[1:-1] in json.dumps(told[0], ensure_ascii=False)


# --- formulas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "- item", "+1-555", "-", "--1"],
)
def test_what_a_spreadsheet_calculates_gets_an_apostrophe(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "a=1", "-3.5", "+4", "-1e-5", "-.5", "+12 %".replace(" ", ""), "'=1", " =1", "12"]
)
def test_numbers_and_texts_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text


def test_formulas_are_neutralised_in_cells_and_in_the_header_and_counted(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"=a": "=1+1", "n": -5, "x": "-5"},
        {"=a": "plain", "n": None, "x": ""},
        {"=a": "@b", "n": 1, "x": None},
    ]
    run = pairs(tmp_path / "run", rows)
    done = export(run, tmp_path / "out", format="csv")
    assert done.files[0].read_text() == "'=a,n,x\n'=1+1,-5,-5\nplain,,\"\"\n'@b,1,\n"
    assert done.changed_cells == 3
    assert export(run, tmp_path / "kept", format="csv", formulas="keep").changed_cells == 0


def test_csv_has_every_kind_of_value_and_every_row(tmp_path: Path) -> None:
    row = {"flag": True, "n": 2**60, "x": 0.1, "tags": ["a", 'b"'], "none": None, "text": "ü"}
    run = pairs(tmp_path / "run", [row, dict(row)])
    (file,) = export(run, tmp_path / "out", format="csv", ids=True).files
    with file.open(encoding="utf-8", newline="") as lines:
        first, second = csv.DictReader(lines, strict=True)
    assert first == {
        "flag": "true",
        "n": str(2**60),
        "x": "0.1",
        "tags": '["a", "b\\""]',
        "none": "",
        "text": "ü",
        "record_id": "0" * 20,
    }
    assert second["record_id"] != first["record_id"]


def test_a_table_of_one_column_has_no_blank_lines(tmp_path: Path) -> None:
    run = pairs(tmp_path / "run", [{"a": None}, {"a": ""}, {"a": "x"}])
    (file,) = export(run, tmp_path / "out", format="csv").files
    assert file.read_text() == 'a\n""\n""\nx\n'


def test_long_conversations_do_not_wait_for_thousands_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.exporting.containers.GROUP_CHARS", 1000)
    made = [{"instruction": f"Q{n}", "input": "", "output": f"{n}" * 600} for n in range(1, 7)]
    run = pairs(tmp_path / "run", made)
    for format_ in ("alpaca", "messages", "preference"):
        if format_ == "preference":
            made = [{"instruction": f"Q{n // 2}", "input": "", "output": f"{n}" * 600, "s": n} for n in range(12)]
            run = pairs(tmp_path / "scored", made)
        score = {"score": "s"} if format_ == "preference" else {}
        done = export(run, tmp_path / format_, format=format_, parquet=True, **score)
        groups = pq.read_metadata(done.files[0]).num_row_groups
        assert groups == (6 if format_ == "preference" else 3)
