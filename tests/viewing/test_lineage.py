"""A record's story is that of `factory.why`, for every record of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.datasets_io.parquet import read_shards
from factory.viewing.batches import key_of
from factory.viewing.desk import Desk
from factory.viewing.lineage import ancestry, story

from .looked_at import desk_of


def ids(path: Path) -> dict[str, list[str]]:
    """Every record with its parents."""
    rows = [row for folder in ("lineage", "rejected", "data") for row in read_shards(path / folder)]
    return {row["record_id"]: list(row["provenance"]["parents"] or []) for row in rows}


def told(desk: Desk, record_id: str) -> dict[str, Any]:
    shelf = desk.shelf
    row = shelf.index.columns().row_of(key_of(record_id))
    return story(shelf.index, shelf.reader, desk.directory.journal, row)


@pytest.mark.parametrize("run", ["instructed", "judged"])
def test_it_is_what_why_tells(run: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(run)
    path = found if isinstance(found, Path) else found[0]
    records = ids(path)
    names = sorted(records)[:: max(1, len(records) // 25)]
    with desk_of(path) as desk:
        for name in names:
            stories = factory.why(path, name)
            mine = told(desk, name)
            first = stories[0]
            assert mine["id"] == first.id
            assert mine["state"] == first.state
            assert [(field["name"], field["text"]) for field in mine["fields"]] == [
                (key, "" if value is None else value if isinstance(value, str) else json.dumps(value))
                for key, value in first.fields.items()
            ]
            assert (mine["verdict"] is None) == (first.verdict is None)
            if first.verdict is not None:
                assert mine["verdict"] == {
                    part: getattr(first.verdict, part) for part in ("rule", "reason", "score", "threshold", "evidence")
                }
                assert mine["step"] == first.step
            asked = [
                (tuple((message.role, message.content) for message in one.messages), answer.text)
                for one, answer in first.exchanges
            ]
            assert [
                (tuple((message["role"], message["text"]) for message in one["asked"]), one["answer"])
                for one in mine["exchanges"]
            ] == asked
            assert mine["provenance"]["requests"] == list(first.provenance["requests"] or [])
            order, _ = ancestry(desk.shelf.index.columns(), desk.shelf.index.columns().row_of(key_of(name)))
            assert [desk.shelf.reader.row(row)["id"] for row in order] == [one.id for one in stories]


def test_children_are_all_records_that_name_it_as_a_parent(instructed: Path) -> None:
    records = ids(instructed)
    with desk_of(instructed) as desk:
        for parent in {name for parents in records.values() for name in parents}:
            if parent not in records:
                continue
            columns = desk.shelf.index.columns()
            rows = columns.children_of(columns.row_of(key_of(parent)))
            found = {desk.shelf.reader.row(int(row))["id"] for row in rows}
            assert found == {name for name, parents in records.items() if parent in parents}


def test_the_tree_of_the_page_holds_every_ancestor_once(instructed: Path) -> None:
    with desk_of(instructed) as desk:
        name = next(iter(read_shards(instructed / "data")))["record_id"]
        mine = told(desk, name)
        rows = [one["row"] for one in mine["ancestors"]]
        assert len(rows) == len(set(rows)) == len(factory.why(instructed, name)) > 2
        assert all(parent in rows for one in mine["ancestors"] for parent in one["parents"])
        assert mine["more_ancestors"] == mine["unknown_parents"] == 0


def test_without_a_journal_the_page_says_so(tmp_path: Path, judged: tuple[Path, Path]) -> None:
    import shutil

    shutil.copytree(judged[0], tmp_path / "run")
    for path in (tmp_path / "run").glob("journal.sqlite*"):
        path.unlink()
    with desk_of(tmp_path / "run") as desk:
        mine = told(desk, next(iter(read_shards(tmp_path / "run" / "data")))["record_id"])
        assert mine["exchanges"] == []
        assert mine["lost_exchanges"]
    assert not list((tmp_path / "run").glob("journal.sqlite*"))
