"""Records to Parquet: types over all rows, names of our own, nothing changed in silence, the same bytes."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.datasets_io.parquet import (
    LINEAGE,
    REJECTED,
    Columns,
    lineage_row,
    read_shards,
    rejected_row,
    text_safe,
    to_json,
    write_shards,
)
from factory.datasets_io.rows import column_name
from factory.datasets_io.spool import Spool
from factory.records import Provenance, Record, reject

PROVENANCE = Provenance(step="prompt", method="prompt", parents=("p",), root="p", prompt="x.jinja", model="m", seed=7)


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(f"{number:020x}", row, PROVENANCE) for number, row in enumerate(rows)]


def write(folder: Path, rows: list[Record], rows_per_shard: int = 1000) -> list[Path]:
    """As a run does: every record is seen, spooled, and then written."""
    columns, spool = Columns(), Spool(folder / "spool", Record)
    for record in rows:
        columns.see(record.fields)
        spool.append(record)
    paths = write_shards(folder / "data", "train", columns.rows(spool), len(spool), columns.schema(), rows_per_shard)
    spool.close()
    return paths


def column(folder: Path, *values: Any) -> tuple[pa.DataType, list[Any]]:
    """Type and values of a column of those values, written and read."""
    table = pq.read_table(write(folder, records(*({"x": value} for value in values)))[0])
    return table.schema.field("x").type, table.column("x").to_pylist()


TIME = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC)
BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, None], pa.int64(), [1, None]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([None, 1, None, 0.5], pa.float64(), [None, 1.0, None, 0.5]),
        ([-(2**63), 2**63 - 1], pa.int64(), [-(2**63), 2**63 - 1]),
        ([BIG, 0.5], pa.string(), [str(BIG), "0.5"]),
        ([2**63, 1], pa.string(), [str(2**63), "1"]),
        ([True, False], pa.bool_(), [True, False]),
        ([True, 1], pa.string(), ["true", "1"]),
        (["a", None], pa.string(), ["a", None]),
        (["a", 1], pa.string(), ['"a"', "1"]),
        ([None, None], pa.string(), [None, None]),
        ([["a", "b"], [], None], pa.list_(pa.string()), [["a", "b"], [], None]),
        ([["a"], [1]], pa.string(), ['["a"]', "[1]"]),
        ([{"k": [1]}, {}], pa.string(), ['{"k": [1]}', "{}"]),
        (["a", ["b"]], pa.string(), ['"a"', '["b"]']),
        ([b"\x89PNG", None], pa.binary(), [b"\x89PNG", None]),
        ([{"image": b"\x89"}], pa.string(), ['{"image": "iQ=="}']),
        ([datetime.date(2026, 3, 1), "soon"], pa.string(), ["2026-03-01", "soon"]),
        ([TIME], pa.string(), ["2026-03-01T12:30:00+00:00"]),
        ([TIME.replace(tzinfo=None)], pa.string(), ["2026-03-01T12:30:00"]),
        ([decimal.Decimal("1.10")], pa.string(), ["1.10"]),
        (["ü\x00"], pa.string(), ["ü\x00"]),
        ([float("inf"), 1], pa.float64(), [float("inf"), 1.0]),
    ],
)  # fmt: skip
def test_the_type_of_a_column_holds_all_of_its_values(
    values: list[Any], kind: pa.DataType, stored: list[Any], tmp_path: Path
) -> None:
    assert column(tmp_path, *values) == (kind, stored)


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, "1", True, 1.5, "x", None], pa.string(), ["1", "1", "true", "1.5", "x", None]),
        (["yes", "no", 0, None], pa.string(), ["yes", "no", "0", None]),
        ([2**63, "ü\ud800"], pa.string(), [str(2**63), "ü?"]),
        ([2**63, 1], pa.string(), [str(2**63), "1"]),
        ([datetime.date(2026, 3, 1), 1], pa.string(), ["2026-03-01", "1"]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        (["a", ["b"]], pa.string(), ['"a"', '["b"]']),
        (["a", {"b": 1}, 1], pa.string(), ['"a"', '{"b": 1}', "1"]),
        (["a", b"b"], pa.string(), ['"a"', '"Yg=="']),
    ],
)
def test_a_column_of_a_table_holds_texts_as_they_are(values: list[Any], kind: pa.DataType, stored: list[Any]) -> None:
    columns = Columns(of_tables=True)
    rows = [{"x": value} for value in values]
    for row in rows:
        columns.see(row)
    assert columns.fields_schema().field("x").type == kind
    assert [row["x"] for row in columns.fields_rows(rows)] == stored


def test_a_column_that_only_some_rows_have_is_null_in_the_others(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path, records({"a": 1}, {"b": "x"}, {"a": 2.5}))[0])
    assert table.column_names == ["a", "b", "record_id", "provenance"]
    assert (table.column("a").to_pylist(), table.column("b").to_pylist()) == ([1.0, None, 2.5], [None, "x", None])


def test_columns_that_the_dataset_needs_itself_get_another_name_and_none_is_lost(tmp_path: Path) -> None:
    row = {"record_id": "mine", "provenance": "the archive", "source_record_id": "older", "source": "web"}
    table = pq.read_table(write(tmp_path, records(row))[0])
    found = table.to_pylist()[0]
    assert found["record_id"] == f"{0:020x}"
    assert found["source_record_id"] == "mine"
    assert found["source_provenance"] == "the archive"
    assert found["source_source_record_id"] == "older"
    assert found["source"] == "web"


@given(st.sets(st.from_regex(r"(source_){0,3}(record_id|provenance|text|source)?", fullmatch=True), max_size=12))
def test_no_two_names_share_a_column(names: set[str]) -> None:
    assert len({column_name(name) for name in names} | {"record_id", "provenance"}) == len(names) + 2


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5)
)
FIELDS = st.dictionaries(st.sampled_from("abc"), SCALARS | st.lists(SCALARS, max_size=2) | st.binary(max_size=3))


@settings(max_examples=60, deadline=None)
@given(st.lists(FIELDS, max_size=6))
def test_any_rows_can_be_written_and_give_the_same_bytes_twice(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    first, second = (write(folder / name, records(*rows))[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    table = pq.read_table(first)
    assert table.num_rows == len(rows)
    for stored, row in zip(table.to_pylist(), rows, strict=True):
        for name, value in row.items():
            known = stored[name]
            assert known == value or (isinstance(known, str) and json.loads(known) is not Ellipsis) or value == known


@pytest.mark.parametrize(("count", "size", "shards"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (35, 10, 4)])
def test_shards_are_cut_and_named_as_the_hub_wants_them(count: int, size: int, shards: int, tmp_path: Path) -> None:
    paths = write(tmp_path, records(*({"n": number} for number in range(count))), size)
    assert [path.name for path in paths] == [f"train-{i:05d}-of-{shards:05d}.parquet" for i in range(shards)]
    assert [row["n"] for row in read_shards(tmp_path / "data")] == list(range(count))
    assert all(pq.read_metadata(path).num_rows <= size for path in paths)


def test_a_dataset_loads_with_the_datasets_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    write(tmp_path, records({"text": "one", "n": 1}, {"text": "two", "n": None}), 1)
    loaded = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["text"] == ["one", "two"]
    assert loaded[0]["provenance"]["parents"] == ["p"]


def test_rejected_records_keep_their_verdict_and_all_their_fields(tmp_path: Path) -> None:
    record = records({"text": "ü \ud800", "nested": {"a": [1, None]}})[0]
    rejected = reject(record, "rouge_l", "too_similar", score=0.8, threshold=0.7, evidence="near \ud800")
    path = write_shards(tmp_path, "rejected", [rejected_row("prompt", rejected)], 1, REJECTED, 10)[0]
    row = pq.read_table(path).to_pylist()[0]
    assert json.loads(row["fields"]) == {"text": "ü ?", "nested": {"a": [1, None]}}
    assert (row["step"], row["rule"], row["reason"], row["score"], row["threshold"], row["evidence"]) == (
        "prompt", "rouge_l", "too_similar", 0.8, 0.7, "near ?",
    )  # fmt: skip
    assert row["provenance"]["seed"] == 7
    assert lineage_row(record)["record_id"] == record.id
    assert set(lineage_row(record)) == set(LINEAGE.names)


def test_rows_are_selected_by_id_before_they_are_built(tmp_path: Path) -> None:
    write(tmp_path, records(*({"n": number} for number in range(25))), 10)
    wanted = {f"{number:020x}" for number in (3, 12, 24)}
    assert [row["n"] for row in read_shards(tmp_path / "data", wanted.__contains__)] == [3, 12, 24]
    assert list(read_shards(tmp_path / "data", lambda name: False)) == []


def test_text_helpers() -> None:
    assert text_safe("plain") == "plain"
    assert text_safe("ü\ud800") == "ü?"
    assert to_json({"b": 1, "a": "ü"}) == '{"b": 1, "a": "ü"}'
