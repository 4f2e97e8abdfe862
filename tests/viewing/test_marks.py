"""Marks: appended, undone, exported; never where the data are, and never run by a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from factory.datasets_io.parquet import read_shards
from factory.errors import FactoryError
from factory.viewing.marks import MOST_NOTE, Marks
from factory.viewing.view import export_marks

from .looked_at import hostile_run, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return hostile_run(tmp_path)


def content(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "marks.jsonl"
    }


def test_marks_are_kept_undone_and_found_again(path: Path) -> None:
    before = content(path)
    rows = list(read_shards(path / "data"))
    with served(path, marks=True) as ask:
        for row, mark in zip(rows, ["good", "bad", "good"], strict=False):
            assert (
                ask.post("/api/marks", {"id": row["record_id"], "mark": mark, "note": "=1+1 <b>"}).json["mark"] == mark
            )
        assert ask("/api/run").json["marks"] == {"good": 2, "bad": 1}
        assert ask("/api/records?mark=good").json["total"] == 2
        assert ask("/api/records?mark=any").json["total"] == 3
        assert ask("/api/records?mark=none&state=kept").json["total"] == len(rows) - 3
        assert ask(f"/api/record?id={rows[1]['record_id']}").json["mark"]["note"] == "=1+1 <b>"
        ask.post("/api/marks", {"id": rows[0]["record_id"], "mark": None})
        assert ask("/api/records?mark=good").json["total"] == 1
        shown = {row["key"]: row["mark"] for row in ask("/api/records").json["rows"]}
        assert [shown[row["record_id"][:16]] for row in rows[:3]] == [None, "bad", "good"]
    assert content(path) == before
    assert len((path / "marks.jsonl").read_text().splitlines()) == 4
    assert {mark.id for mark in Marks(path).all().values()} == {row["record_id"] for row in rows[1:3]}


def test_what_is_no_mark_is_refused_and_nothing_is_written(path: Path) -> None:
    name = next(iter(read_shards(path / "data")))["record_id"]
    with served(path, marks=True) as ask:
        for said in (
            {}, {"id": 5, "mark": "good"}, {"id": name, "mark": "fine"}, {"id": name, "mark": 1}, {"id": name, "mark": "good", "note": 5},
            {"id": "nothing", "mark": "good"}, {"id": "../../x", "mark": "good"}, {"id": name, "mark": "good", "note": "x" * (MOST_NOTE + 1)},
        ):  # fmt: skip
            assert ask.post("/api/marks", said).status == 400, said
    assert not (path / "marks.jsonl").exists()


def test_a_line_that_a_crash_has_cut_costs_that_line_alone(path: Path) -> None:
    first, second, third = [row["record_id"] for row in read_shards(path / "data")][:3]
    Marks(path).add(first, "good")
    with (path / "marks.jsonl").open("ab") as file:
        file.write(b'{"id": "' + second.encode() + b'", "ma')
    marks = Marks(path)
    marks.add(third, "bad")
    assert {mark.id: mark.mark for mark in marks.all().values()} == {first: "good", third: "bad"}
    assert marks.broken == 1
    with served(path) as ask:
        assert ask("/api/run").json["marks_broken"] == 1


def test_marks_of_ids_that_no_run_gives_break_nothing(path: Path, tmp_path: Path) -> None:
    strange = ["-1234567890123456789", "+1234567890123456789", "0x34567890123456789", "", "\ud800", "＝1"]
    for name in strange:
        Marks(path).add(name, "good", name)
    with served(path) as ask:
        assert ask("/api/records?mark=good").json["total"] == 0
        assert ask("/api/marks.jsonl").body.decode().count("\n") == len(strange)
    assert export_marks(path, tmp_path / "marks.csv") == len(strange)
    assert "'＝1,good,'＝1" in (tmp_path / "marks.csv").read_text(encoding="utf-8")


def test_an_export_never_replaces_the_marks_themselves(path: Path, tmp_path: Path) -> None:
    Marks(path).add(next(iter(read_shards(path / "data")))["record_id"], "good")
    before = (path / "marks.jsonl").read_bytes()
    (tmp_path / "link").symlink_to(path)
    for target in (path / "marks.jsonl", tmp_path / "link" / "marks.jsonl"):
        with pytest.raises(FactoryError, match="is where the marks themselves are kept"):
            export_marks(path, target)
    assert (path / "marks.jsonl").read_bytes() == before


def test_another_process_is_seen_at_once(path: Path) -> None:
    name = next(iter(read_shards(path / "data")))["record_id"]
    with served(path) as ask:
        assert ask("/api/run").json["marks"] == {"good": 0, "bad": 0}
        Marks(path).add(name, "bad")
        assert ask("/api/run").json["marks"] == {"good": 0, "bad": 1}


def test_exports_hold_the_records_and_no_formula(path: Path, tmp_path: Path) -> None:
    rows = [row for folder in ("data", "rejected") for row in read_shards(path / folder)]
    marks = Marks(path)
    for row in rows:
        marks.add(row["record_id"], "good", "-1 note")
    marks.add("00000000000000000000", "bad")
    assert export_marks(path, tmp_path / "marks.jsonl") == len(rows) + 1
    told = [json.loads(line) for line in (tmp_path / "marks.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert {one["id"]: (one["fields"] or {}).get("text") for one in told} == {
        row["record_id"]: row.get("text") or json.loads(row["fields"])["text"] for row in rows
    } | {"00000000000000000000": None}
    export_marks(path, tmp_path / "marks.csv")
    cells = list(csv.reader(io.StringIO((tmp_path / "marks.csv").read_bytes().decode())))
    assert len(cells) == len(rows) + 2
    assert not [cell for line in cells for cell in line if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    texts = {one["fields"]["text"] for one in told if one["fields"]}
    column = cells[0].index("text")
    assert {cell[column].removeprefix("'") for cell in cells[1:] if cell[column]} == texts
    with served(path) as ask:
        reply = ask("/api/marks.csv")
        assert reply.body.decode() == (tmp_path / "marks.csv").read_bytes().decode()
        assert reply.headers["content-disposition"] == 'attachment; filename="marks.csv"'
        assert ask("/api/marks.jsonl").body.decode().count("\n") == len(rows) + 1


def test_files_that_cannot_be_written_are_one_sentence(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"\.jsonl or \.csv"):
        export_marks(path, tmp_path / "marks.txt")
    with pytest.raises(FactoryError, match="cannot be written"):
        export_marks(path, tmp_path / "nowhere" / "marks.csv")
    (path / "marks.jsonl").mkdir()
    with pytest.raises(FactoryError, match="cannot be written"):
        Marks(path).add("0" * 20, "good")
    with pytest.raises(FactoryError, match="cannot be read"):
        Marks(path).all()
    (path / "marks.jsonl").rmdir()
