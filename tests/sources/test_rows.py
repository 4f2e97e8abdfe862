"""Rows of the user in every format, with stable ids."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.context import StepStats
from factory.datasets_io.rows import read_rows, scan_rows, storable
from factory.errors import SourceError
from factory.records import Record
from factory.sources import rows
from factory.sources.rows import Options

ROWS = [{"id": "17", "text": "My order …"}, {"id": "18", "text": "two\nlines, and a comma"}]


def write(folder: Path, name: str) -> Path:
    path = folder / name
    kind = path.suffix
    if kind in (".jsonl", ".ndjson"):
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n")
    elif kind == ".json":
        path.write_text(json.dumps(ROWS))
    elif kind in (".csv", ".tsv"):
        mark = "," if kind == ".csv" else "\t"
        path.write_bytes(
            f'\ufeffid{mark}text\r\n17{mark}My order …\r\n18{mark}"two\nlines, and a comma"\r\n\r\n'.encode()
        )
    elif kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        (path / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(ROWS[:1]), path / "data" / "a.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS[1:]), path / "data" / "b.parquet")
    return path


def emitted(path: Path, **options: Any) -> list[Record]:
    async def collect() -> list[Record]:
        context: Any = SimpleNamespace(step="rows", base=path.parent, stats=StepStats())
        found = rows.run(None, context, Options(path=path.name, **options))  # type: ignore[arg-type]
        return [record async for record in found]  # type: ignore[misc]

    return asyncio.run(collect())


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.csv", "a.tsv", "a.parquet", "folder", "A.JSONL"])
def test_every_format_gives_the_same_rows_and_the_same_ids(tmp_path: Path, name: str) -> None:
    records = emitted(write(tmp_path, name))
    assert [record.fields for record in records] == ROWS
    assert [record.id for record in records] == [record.id for record in emitted(write(tmp_path, "other.jsonl"))]


def test_a_saved_dataset_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    assert list(read_rows(tmp_path / "saved")) == ROWS
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "both"))
    assert list(read_rows(tmp_path / "both" / "train")) == ROWS
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(SourceError, match="not a dataset that 'datasets' can load"):
        list(read_rows(tmp_path / "saved"))


def test_a_run_directory_is_read(tmp_path: Path) -> None:
    from factory.runner import run

    from ..driver import workplace

    done = run(workplace(tmp_path) / "demo.yaml", tmp_path / "out", progress=False)
    assert [row["text"] for row in read_rows(done.path)] == [record.fields["text"] for record in done.first] + [
        "Ticket 5: my order never came."
    ]


def test_an_id_depends_on_the_content_and_not_on_the_place(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": 1}\n{"n": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"n": 0}\n{"n": 1}\n{"n": 1}\n{"n": 2}\n{"n": 1}\n')
    first, second = emitted(tmp_path / "a.jsonl"), emitted(tmp_path / "b.jsonl")
    assert len({record.id for record in first}) == 4
    assert {record.id for record in first} < {record.id for record in second}


def test_only_so_many_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\noops\n')
    assert [record.fields["n"] for record in emitted(path, first=2)] == [1, 2]
    assert rows.check(Options(path="a.jsonl", first=2), tmp_path) == []
    assert len(rows.check(Options(path="a.jsonl", first=3), tmp_path)) == 1


def test_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    assert rows.columns(Options(path="a.jsonl"), tmp_path, None) == {"a", "b"}


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n')
    assert rows.columns(Options(path="a.jsonl"), tmp_path, None) == {"a"}
    path.write_text('{"bc": 1}\n')
    assert rows.columns(Options(path="a.jsonl"), tmp_path, None) == {"bc"}


def test_of_a_large_file_only_the_beginning_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 50 + "oops\n")
    assert len(rows.check(Options(path="a.jsonl"), tmp_path)) == 1
    rows._surveyed.cache_clear()
    monkeypatch.setattr(rows, "SURVEYED_BYTES", 10)
    monkeypatch.setattr(rows, "SURVEYED_ROWS", 50)
    assert rows.check(Options(path="a.jsonl"), tmp_path) == []
    with pytest.raises(SourceError, match=r"a\.jsonl:51:1: not JSON"):
        emitted(tmp_path / "a.jsonl")


def test_a_very_long_cell_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text\n{'word ' * 100_000}\n")
    ((_, row),) = scan_rows(tmp_path / "a.csv")
    assert isinstance(row, dict)
    assert len(row["text"]) == 500_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=5), JSON, max_size=4))
def test_any_json_object_can_be_stored_and_most_are_unchanged(row: dict[str, Any]) -> None:
    import msgspec

    stored = storable(row)
    msgspec.msgpack.encode(stored)
    assert storable(stored) == stored


@given(st.binary(max_size=60), st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".parquet"]))
def test_no_bytes_make_a_reader_stumble(tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str) -> None:
    path = tmp_path_factory.mktemp("rows") / f"a{kind}"
    path.write_bytes(content)
    for place, row in scan_rows(path):
        assert place.startswith(str(path))
        assert isinstance(row, dict | SourceError)
