"""Two runs side by side: the same rows stay, enter and leave as `factory.comparison` says, for the same reasons."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.comparison import compare, held
from factory.datasets_io.parquet import read_shards
from factory.viewing.batches import key_of
from factory.viewing.comparing import Compared

from .looked_at import desk_of, served


def ids(keys: list[str], names: set[str]) -> set[str]:
    by_key = {f"{key_of(name):016x}": name for name in names}
    return {by_key[key] for key in keys}


@pytest.mark.parametrize("turned", [False, True])
def test_it_is_what_the_comparison_of_refilter_says(judged: tuple[Path, Path], turned: bool) -> None:
    first, second = reversed(judged) if turned else judged
    expected = compare(held(first), held(second))
    before = {row["record_id"] for row in read_shards(first / "data")}
    after = {row["record_id"] for row in read_shards(second / "data")}
    with desk_of(first) as old, desk_of(second) as new:
        compared = Compared(old.shelf.index, new.shelf.index)
        counts = compared.summary["counts"]
        assert counts["stay"] == expected.stay == len(before & after)
        assert counts["changed"] == expected.changed == 0
        for side, moved, names in (
            ("enter", expected.entered, after - before),
            ("leave", expected.left, before - after),
        ):
            assert counts[side] == len(names)
            reasons = {f"{one.step}: {one.rule}": one.count for one in moved}
            assert dict(compared.summary["why"][side]) == reasons
            pages = [compared.page(side, offset)["rows"] for offset in range(0, max(1, len(names)), 50)]
            rows = [row for page in pages for row in page]
            assert ids([row["key"] for row in rows], before | after) == names
            assert Counter(row["told"] for row in rows) == reasons
    assert counts["enter" if turned else "leave"] > 10


def test_a_row_that_says_something_else_is_changed(judged: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(judged[0], tmp_path / "other")
    shard = next((tmp_path / "other" / "data").glob("*.parquet"))
    table = pq.read_table(shard)
    titles = table.column("title").to_pylist()
    titles[3] = "another title"
    pq.write_table(table.set_column(table.schema.get_field_index("title"), "title", pa.array(titles)), shard)
    with served(judged[0], compare=tmp_path / "other") as ask:
        found = ask("/api/compare?side=changed").json
        while found["working"]:
            found = ask("/api/compare?side=changed").json
        assert found["counts"] == {"enter": 0, "leave": 0, "changed": 1, "stay": len(titles)}
        assert "another title" in found["rows"][0]["text"]
        assert "another title" not in found["rows"][0]["before"]
        key = found["rows"][0]["key"]
        assert "another title" in str(ask(f"/api/record?key={key}&of=other").json["fields"])
        assert "another title" not in str(ask(f"/api/record?key={key}").json["fields"])
        assert ask("/api/compare?side=up").status == 400
