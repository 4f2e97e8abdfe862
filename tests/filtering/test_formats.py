"""Every format in, every format out: kept rows are what they were, and none is lost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset

import factory

from .small_inputs import ROUGE_L, lines, rejected, rows, small_chunks, write, written

ROWS = rows()
GONE = [row["id"] for row in ROWS if row["id"] % 4 == 3]
STAYED = [row for row in ROWS if row["id"] not in GONE]


def filtered(source: Path, out: Path, **options: Any) -> factory.FilterResult:
    result = factory.filter(source, out, filters=[ROUGE_L], **options)
    assert (result.status, result.read, result.kept) == ("complete", 40, 30)
    assert result.rejected == {"rouge_l: too_similar": 10}
    assert sum(result.rejected.values()) + result.kept == result.read
    assert not out.with_name(f"{out.name}.partial").exists()
    return result


def test_lines_are_passed_on_byte_for_byte(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    odd = [line.replace(b'"id": ', b' "id" :').replace(b"\n", b"\r\n") for line in lines(ROWS)]
    source.write_bytes(b"\xef\xbb\xbf" + b"\n".join(odd)[:-2])
    filtered(source, tmp_path / "out.jsonl")
    expected = [line for row, line in zip(ROWS, odd, strict=True) if row["id"] not in GONE]
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(expected)


def test_rejected_rows_say_where_why_and_what(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ROWS)
    result = filtered(source, tmp_path / "out.jsonl")
    found = rejected(result.rejected_path)
    assert [row["fields"] for row in found] == [row for row in ROWS if row["id"] in GONE]
    assert list(found[0]) == ["row", "filter", "rule", "reason", "score", "threshold", "evidence", "fields"]
    assert found[0]["row"] == f"{source}:4"
    assert (found[0]["filter"], found[0]["rule"], found[0]["reason"]) == ("rouge_l", "rouge_l", "too_similar")
    assert found[0]["score"] == pytest.approx(12 / 13)
    assert (found[0]["threshold"], found[0]["evidence"]) == (0.7, ROWS[2]["instruction"])


@pytest.mark.parametrize("kind", [".csv", ".tsv"])
def test_cells_are_passed_on_byte_for_byte(kind: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"in{kind}", ROWS)
    result = filtered(source, tmp_path / f"out{kind}")
    expected = write(tmp_path / f"expected{kind}", STAYED)
    assert (tmp_path / f"out{kind}").read_bytes() == expected.read_bytes()
    mark = "\t" if kind == ".tsv" else ","
    found = list(csv.DictReader(io.StringIO(result.rejected_path.read_text(), newline=""), delimiter=mark))
    assert [json.loads(row["fields"])["id"] for row in found] == [str(name) for name in GONE]
    assert found[0]["row"] == f"{source}:8", "each row has two lines"


def test_parquet_keeps_schema_and_values(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", ROWS)
    result = filtered(source, tmp_path / "out.parquet")
    kept = pq.read_table(tmp_path / "out.parquet")
    assert kept.schema.equals(pq.read_schema(source), check_metadata=True)
    assert kept.equals(pq.read_table(source).filter(pa.array([row["id"] not in GONE for row in ROWS])))
    found = pq.read_table(result.rejected_path).to_pylist()
    assert found[0]["row"] == f"{source}: row 4"
    first = json.loads(found[0]["fields"])
    assert (first["id"], first["kind"], first["nested"]["a"]) == (3, "k0", [3])
    assert first["when"] == "1970-01-01 00:00:03.000000001Z"


def test_a_folder_of_shards_is_read_by_name_and_a_folder_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "in", rows(39))
    order = [row for index in range(3) for row in rows(39)[index::3]]
    result = factory.filter(source, tmp_path / "out", filters=[ROUGE_L])
    assert (result.read, result.kept) == (39, 30)
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"] == [row["id"] for row in order if row["id"] not in kept_out(order)]
    found = rejected(tmp_path / "out/rejected/rejected-00000-of-00001.jsonl")
    assert {row["row"].rpartition(":")[0] for row in found} <= {f"{source}/part-{index}.jsonl" for index in range(3)}
    said = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (said["read"], said["kept"], said["rejected"]) == (39, 30, {"rouge_l: too_similar": 9})


def kept_out(order: list[dict[str, Any]]) -> set[int]:
    """Of each two near-duplicates the later one."""
    seen: set[int] = set()
    gone = set()
    for row in order:
        base = row["id"] - 1 if row["id"] % 4 == 3 else row["id"]
        gone |= {row["id"]} if base in seen else set()
        seen.add(base)
    return gone


def test_files_of_several_names_are_one_input(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.csv", ROWS[:3]), write(tmp_path / "b.csv", ROWS[3:])
    result = factory.filter([first, second], tmp_path / "out.csv", filters=[ROUGE_L])
    assert (result.read, result.kept) == (40, 30)
    assert (tmp_path / "out.csv").read_bytes() == write(tmp_path / "expected.csv", STAYED).read_bytes()


def test_saved_and_hub_datasets_keep_their_features(tmp_path: Path) -> None:
    whole = Dataset.from_list(ROWS).add_column("label", [0, 1] * 20).class_encode_column("label")
    whole.save_to_disk(tmp_path / "saved", num_shards=3)
    (tmp_path / "hub/data").mkdir(parents=True)
    whole.to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")
    for name in ("saved", "hub"):
        filtered(tmp_path / name, tmp_path / f"{name}-out")
        loaded = load_dataset(str(tmp_path / f"{name}-out"), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.features == whole.features
        assert [row["id"] for row in loaded] == [row["id"] for row in STAYED]


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("form", [".jsonl", ".csv", ".tsv", ".parquet", ""])
def test_every_conversion_keeps_the_texts(kind: str, form: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{form}"
    filtered(write(tmp_path / f"in{kind}", ROWS), out)
    again = factory.filter(out, tmp_path / "again.jsonl", filters=["rouge_l: {threshold: 1.0}"])
    assert again.kept == 30
    found = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert [row["instruction"] for row in found] == [row["instruction"] for row in STAYED]
    assert [int(row["id"]) for row in found] == [row["id"] for row in STAYED]
    if kind != ".parquet":
        assert [row["output"] for row in found] == [row["output"] for row in STAYED]


def test_mixed_values_become_columns_that_hold_all_of_them(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"text": "a", "n": 1}\n{"text": "b", "n": 1.5, "extra": [1]}\n{"text": "c", "record_id": null}\n'
    )
    factory.filter(source, tmp_path / "out.parquet", filters=[ROUGE_L])
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.names == ["text", "n", "extra", "record_id"]
    assert found["n"].to_pylist() == [1.0, 1.5, None]
    assert found["extra"].to_pylist() == [None, "[1]", None]


def test_a_json_list_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps([*ROWS, 5], indent=1))
    result = factory.filter(tmp_path / "in.json", tmp_path / "out.jsonl", filters=[ROUGE_L])
    assert (result.read, result.kept) == (41, 30)
    assert result.rejected["input: not_object"] == 1
    assert rejected(result.rejected_path)[-1]["row"] == f"{tmp_path}/in.json: row 41"


@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".parquet"])
def test_chunks_of_any_size_give_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.filtering.tables.GROUP_ROWS", 8)
    source = write(tmp_path / f"in{kind}", ROWS)
    results = []
    for count in (1, 3, 40, 4096):
        small_chunks(monkeypatch, count)
        filtered(source, tmp_path / f"out{kind}", overwrite=True)
        results.append(written(tmp_path / f"out{kind}"))
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 2
    if kind == ".parquet":
        groups = pq.read_metadata(tmp_path / "out.parquet")
        assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [8, 8, 8, 6]


def test_shards_hold_so_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.filtering.kept.ROWS_PER_SHARD", 12)
    for kind, count in ((".jsonl", len), (".parquet", None)):
        out = tmp_path / f"out{kind[1:]}"
        filtered(write(tmp_path / f"in{kind}", ROWS), out)
        shards = sorted((out / "data").iterdir())
        assert [path.name for path in shards] == [f"train-0000{n}-of-00003{kind}" for n in range(3)]
        sizes = [len(path.read_bytes().splitlines()) if count else pq.read_metadata(path).num_rows for path in shards]
        assert sizes == [12, 12, 6]


def test_a_result_without_rows_still_has_its_columns(tmp_path: Path) -> None:
    pool = write(tmp_path / "pool.jsonl", ROWS)
    for kind in (".csv", ".parquet", ".jsonl"):
        source, out = write(tmp_path / f"in{kind}", ROWS), tmp_path / f"out{kind}"
        assert factory.filter(source, out, filters=[ROUGE_L], against=[pool]).kept == 0
        if kind == ".parquet":
            assert pq.read_table(out).schema.equals(pq.read_schema(source), check_metadata=True)
        else:
            assert len(out.read_bytes().splitlines()) == (1 if kind == ".csv" else 0)
