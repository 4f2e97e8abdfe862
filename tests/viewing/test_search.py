"""Search finds what a plain comparison finds, in any script, in every part of a run."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.datasets_io.parquet import read_shards
from factory.viewing.batches import KEPT, key_of, keys_of
from factory.viewing.desk import Desk
from factory.viewing.lineage import line
from factory.viewing.pages import PAGE_ROWS, Wanted, page
from factory.viewing.search import Search, excerpt
from factory.viewing.texts import fold

from ..small_runs import Model, one_step, run
from .looked_at import HOSTILE, desk_of


def everything(path: Path) -> list[tuple[str, list[str]]]:
    """Id and texts of every record, read without the index."""
    found = []
    for folder in ("data", "rejected", "lineage"):
        for row in read_shards(path / folder):
            fields = row if folder == "data" else json.loads(row["fields"])
            values = [value for name, value in fields.items() if name not in ("record_id", "provenance")]
            texts = [value if isinstance(value, str) else json.dumps(value) for value in values if value is not None]
            found.append((row["record_id"], texts))
    return found


def plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def hits(desk: Desk, query: str) -> list[int]:
    return Search(query, desk.shelf.index).reach(lambda _: False, 60.0).tolist()


def pieces() -> list[str]:
    """Random pieces of the hostile texts, in another case; letters whose case has no single form are left out."""
    draw = random.Random(7)
    found = []
    for _ in range(300):
        text = draw.choice(HOSTILE)
        first = draw.randrange(len(text))
        piece = text[first : first + draw.randint(1, 12)]
        piece = piece.swapcase() if draw.random() < 0.5 else piece
        if piece and not unicodedata.combining(piece[0]) and "ς" not in piece.casefold() and "Σ" not in piece:
            found.append(piece)
    return found


def test_every_search_finds_what_a_plain_comparison_finds(hostile: Path) -> None:
    records = everything(hostile)
    with desk_of(hostile) as desk:
        assert desk.shelf.index.rows == len(records)
        for query in [*pieces(), "nowhere to be found", "{{ 7 * 7 }}", "\\n", "x" * 500, "nex\x1ft", "next"]:
            expected = [
                place for place, (_, texts) in enumerate(records) if any(plain(query) in plain(text) for text in texts)
            ]
            assert hits(desk, query) == expected, query


def test_a_hit_never_spans_two_records_or_two_fields(hostile: Path) -> None:
    with desk_of(hostile) as desk:
        index = desk.shelf.index
        texts = [index.text(row) for row in range(index.rows)]
        joined = [left[-2:] + right[:2] for left, right in zip(texts, texts[1:], strict=False)]
        for query in joined:
            expected = [place for place, text in enumerate(texts) if plain(query) in plain(text)]
            assert hits(desk, query) == expected, repr(query)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ΟΔΟΣ", "οδος"), ("Istanbul", "İSTANBUL"), ("straße", "STRAẞE"), ("cafe\u0301", "CAFÉ"), ("ſo", "SO")],
)
def test_case_and_composed_letters_do_not_count(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_an_id_or_its_beginning_is_found(hostile: Path) -> None:
    records = everything(hostile)
    with desk_of(hostile) as desk:
        for place, (name, _) in enumerate(records[:5]):
            assert place in hits(desk, name)
            assert place in hits(desk, name[:9].upper())
        assert hits(desk, "0123456789abcdef0123") == []


def test_a_search_goes_on_where_it_stopped(instructed: Path) -> None:
    with desk_of(instructed) as desk:
        whole = hits(desk, "a")
        search = Search("a", desk.shelf.index)
        steps = 0
        while not search.done:
            before = len(search.hits())
            found = search.reach(lambda found, before=before: len(found) > before, 0.0)
            steps += 1
            assert len(found) > before or search.done or steps < 100
        assert search.hits().tolist() == whole
        assert steps == len(desk.shelf.index.segments) > 1  # no segment is read twice, none is left out


def test_pages_cover_the_list_once_each(instructed: Path) -> None:
    with desk_of(instructed) as desk:
        index = desk.shelf.index
        wanted = Wanted(state="kept", query="e")
        seen: list[str] = []
        while True:
            found = page(index, Search("e", index), wanted, {}, len(seen))
            seen += [row["key"] for row in found["rows"]]
            if len(found["rows"]) < PAGE_ROWS:
                break
        columns = index.columns()
        expected = [row for row in hits(desk, "e") if columns.states[row] == 0]
        assert seen == [f"{int(columns.keys[row]):016x}" for row in expected]
        assert found["done"]
        assert found["total"] == len(seen)


def test_filters_and_orders_are_those_of_the_files(judged: tuple[Path, Path]) -> None:
    path, _ = judged
    rejected = list(read_shards(path / "rejected"))
    with desk_of(path) as desk:
        index = desk.shelf.index
        similar = [row for row in rejected if (row["rule"], row["reason"]) == ("rouge_l", "too_similar")]
        found = page(index, None, Wanted(state="rejected", reason="rouge_l: too_similar", sort="down"), {}, 0)
        assert found["total"] == len(similar) > 3
        scores = sorted((row["score"] for row in similar), reverse=True)
        assert [row["score"] for row in found["rows"]] == scores[:PAGE_ROWS]
        low, high = scores[-1], scores[len(scores) // 2]
        found = page(index, None, Wanted(low=low, high=high, step="novelty"), {}, 0)
        assert found["total"] == sum(low <= row["score"] <= high for row in similar)
        marks = [row["quality"] for row in read_shards(path / "data")]
        found = page(index, None, Wanted(state="kept", measure="quality", low=4), {}, 0)
        assert found["total"] == sum(mark >= 4 for mark in marks)
        assert all(row["value"] >= 4 for row in found["rows"])


def test_numbers_of_ids_are_one_by_one_those_of_all_at_once() -> None:
    ids = ["0123456789abcdef0123", "ffffffffffffffffffff", "00000000000000000000"]
    assert keys_of(pa.array(ids)).tolist() == [key_of(name) for name in ids] == [0x0123456789ABCDEF, 2**64 - 1, 0]
    mixed = ["a", "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ", "0123456789abcdef0123", "0123456789ABCDEF0123"]
    assert keys_of(pa.array(mixed)).tolist() == [key_of(name) for name in mixed]
    assert len(set(keys_of(pa.array(mixed[:3])).tolist())) == 3
    sliced = pa.array(["ffffffffffffffffffff", *ids]).slice(1)
    assert keys_of(sliced).tolist() == [key_of(name) for name in ids]
    assert keys_of(pa.array([], pa.string())).tolist() == []


def test_an_excerpt_shows_the_hit() -> None:
    assert excerpt("short", "x", 10) == "short"
    shown = excerpt("a" * 500 + "NEEDLE" + "b" * 500, "needle", 60)
    assert "NEEDLE" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert len(shown) == 62


def test_a_line_leaves_out_empty_fields_and_rounds_long_fractions(tmp_path: Path) -> None:
    rows = [{"text": "a river", "empty": "", "score": 0.3157894736842105, "least": 0.5}]
    with desk_of(run(one_step(tmp_path, rows), tmp_path / "out", Model(lambda request: "fine")).path) as desk:
        index = desk.shelf.index
        columns = index.columns()
        row = int(np.flatnonzero(columns.states == KEPT)[0])
        assert line(index, columns, row)["text"] == "a river · 0.3158 · 0.5 · fine"
        assert "0.3157894736842105" in line(index, columns, row, "0.31578")["text"]


def test_lists_of_texts_and_missing_values_are_searched_in_shards(tmp_path: Path, hostile: Path) -> None:
    """A shard as an older run may have left it: lists, nulls, truth values, bytes."""
    import shutil

    shutil.copytree(hostile, tmp_path / "run")
    shard = next((tmp_path / "run" / "data").glob("*.parquet"))
    table = pq.read_table(shard)
    count = table.num_rows
    table = table.append_column("tags", pa.array([["red", "blue"], None, []] + [["RED"]] * (count - 3)))
    table = table.append_column("flag", pa.array([True] * count))
    table = table.append_column("raw", pa.array([b"\x00\xff"] * count))
    table = table.append_column("share", pa.array(np.linspace(0, 1, count)))
    pq.write_table(table, shard)
    with desk_of(tmp_path / "run") as desk:
        assert not desk.shelf.problems
        assert hits(desk, "red") == [0, *range(3, count)]
        assert hits(desk, "redblue") == []
        assert "share" in desk.shelf.index.columns().measures
