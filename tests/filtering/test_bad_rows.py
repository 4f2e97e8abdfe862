"""Rows that cannot be used, inputs that are none, and names that do not fit: filed, or one sentence and exit code 2."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import factory
from factory.datasets_io import line_chunks
from factory.errors import FactoryError, RunDirError, SourceError, UserError

from .small_inputs import ROUGE_L, lines, rejected, rows, small_chunks, table, write

GOOD = b'{"instruction": "Name three rivers"}\n'


def filtered(source: Path, **options: Any) -> factory.FilterResult:
    return factory.filter(source, source.parent / "out.jsonl", filters=[ROUGE_L], **options)


def nothing_left(folder: Path) -> bool:
    return not list(folder.glob("out*"))


@pytest.mark.parametrize(
    ("line", "reason", "evidence", "fields"),
    [
        (b'{"instruction" "c"}', "not_json", "not JSON: Expecting ':' delimiter (character 16): {\"instruction\" \"c\"}", None),
        (b"[1]", "not_object", 'expected an object like {"text": …}, found a list: [1]', None),
        (b'"text"', "not_object", 'expected an object like {"text": …}, found a text: "text"', None),
        (b'{"instruction": "caf\xe9"}', "not_utf8", "not UTF-8 text (byte 21 of the line): {\"instruction\": \"caf\\xe9\"}", None),
        (b'{"output": "b"}', "missing_field", "column 'instruction' is missing; expected a text", {"output": "b"}),
        (b'{"instruction": null}', "missing_field", "column 'instruction' holds nothing; expected a text", {"instruction": None}),
        (b'{"instruction": 5}', "not_text", "column 'instruction' holds a number; expected a text", {"instruction": 5}),
        (b'{"instruction": ["a"]}', "not_text", "column 'instruction' holds a list; expected a text", {"instruction": ["a"]}),
        (b"[" * 100_000, "not_json", None, None),
    ],
)  # fmt: skip
def test_a_broken_line_is_filed_with_its_place(
    line: bytes, reason: str, evidence: str | None, fields: Any, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(GOOD + b"\n" + line + b"\n" + b'{"instruction": "Write a poem"}\n')
    result = filtered(source)
    assert (result.read, result.kept, result.rejected) == (3, 2, {f"input: {reason}": 1})
    (found,) = rejected(result.rejected_path)
    assert (found["row"], found["filter"], found["rule"], found["reason"]) == (f"{source}:3", "input", "input", reason)
    assert found["fields"] == fields
    assert evidence is None or found["evidence"] == evidence
    with pytest.raises(SourceError, match=r"in\.jsonl:3: .+; put it right, or leave out --strict\.") as raised:
        filtered(source, strict=True, overwrite=True)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("row", "reason", "place"),
    [
        (b"1,2,3\r\n", "wrong_cells", 3),
        (b'"x"y,3\r\n', "not_csv", 3),
        (b"caf\xe9,3\r\n", "not_utf8", 3),
        (b'"a\r\nb\xe9",3\r\n', "not_utf8", 3),
    ],
)
def test_a_broken_record_of_a_table_is_filed(row: bytes, reason: str, place: int, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"text,b\r\nok,1\r\n" + row + b'"fine\n, too",3\r\n')
    result = factory.filter(source, tmp_path / "out.csv", filters=[ROUGE_L])
    assert (result.kept, result.rejected) == (2, {f"input: {reason}": 1})
    assert f"in.csv:{place},input,input,{reason}," in result.rejected_path.read_text()
    assert (tmp_path / "out.csv").read_bytes() == b'text,b\r\nok,1\r\n"fine\n, too",3\r\n'


def test_texts_of_parquet_that_are_no_text_are_filed(tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"caf\xe9", None]).view(pa.string())
    pq.write_table(pa.table({"text": broken, "id": [1, 2, 3]}), tmp_path / "in.parquet")
    result = factory.filter(tmp_path / "in.parquet", tmp_path / "out.parquet", filters=[ROUGE_L])
    assert (result.kept, result.rejected) == (1, {"input: missing_field": 1, "input: not_utf8": 1})
    found = pq.read_table(result.rejected_path).to_pylist()
    assert [row["row"] for row in found] == [f"{tmp_path}/in.parquet: row {number}" for number in (2, 3)]
    assert json.loads(found[0]["fields"]) == {"text": "caf\\xe9", "id": 2}


@pytest.mark.parametrize("chunk_rows", [1, 4096])
def test_a_line_that_is_too_long_is_skipped_to_its_end(
    chunk_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_chunks, "LONGEST_LINE", 1000)
    small_chunks(monkeypatch, chunk_rows)
    source = tmp_path / "in.jsonl"
    fits = b'{"instruction": "' + b"x" * (1000 - 19) + b'"}\n'
    long = b'{"instruction": "' + b"y" * 5_000_000 + b'"}'
    source.write_bytes(GOOD + fits + long + b"\n" + b'{"instruction": "Write a poem"}\n' + long)
    result = filtered(source)
    assert (result.read, result.kept, result.rejected) == (5, 3, {"input: too_long": 2})
    found = rejected(result.rejected_path)
    assert [row["row"] for row in found] == [f"{source}:{number}" for number in (3, 5)]
    assert [(row["score"], row["threshold"]) for row in found] == [(len(long), 1000)] * 2
    assert found[0]["evidence"].endswith('expected at most 1,000: {"instruction": "' + "y" * 183)
    assert (tmp_path / "out.jsonl").read_bytes() == GOOD + fits + b'{"instruction": "Write a poem"}\n'


def test_a_line_of_a_table_that_is_too_long_is_skipped_unless_it_is_inside_of_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_chunks, "LONGEST_LINE", 1000)
    source = tmp_path / "in.csv"
    source.write_bytes(b"text\na\n" + b"y" * 5000 + b"\nb\n")
    assert filtered(source).rejected == {"input: too_long": 1}
    source.write_bytes(b'text\na\n"' + b"y\n" * 5000 + b'"\nb\n')
    with pytest.raises(SourceError, match=r"in\.csv:3: .*a quote that opens here is never closed within 1,000 bytes"):
        filtered(source, overwrite=True)


def test_a_long_line_that_changes_between_sessions_changes_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(line_chunks, "LONGEST_LINE", 10)
    one, other = (next(line_chunks.line_chunks("x", io.BytesIO(b"y" * 5000 + end), 0)) for end in (b"a", b"b"))
    assert one.raw != other.raw


@pytest.mark.parametrize("chunk_rows", [7, 4096])
def test_an_input_that_begins_with_100_broken_rows_is_refused_and_leaves_nothing(
    chunk_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch, chunk_rows)
    monkeypatch.setattr("factory.filtering.session.COMMIT_EVERY_S", 0.0)
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"[1]\n" * 99 + GOOD)
    assert filtered(source).kept == 1
    for text in (b"[1]\n" * 101 + GOOD, b"[1]\n" * 3, b'{"instruction": 5}\n' * 101 + GOOD):
        for path in tmp_path.glob("out*"):
            path.unlink()
        source.write_bytes(text)
        with pytest.raises(SourceError, match=r"in\.jsonl:1: .+ rows are not usable. Is this the right file"):
            filtered(source)
        assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("in.jsonl", bytes(range(256)), "in.jsonl: not text (it holds NUL bytes); expected .jsonl"),
        ("in.jsonl", gzip.compress(GOOD, mtime=0), "in.jsonl: gzip-compressed: unpack it first, or pipe it: zcat"),
        ("in.csv", b"PAR1" + b"\0" * 99, "in.csv: a Parquet file: give it a name that ends in .parquet"),
        ("in.csv", "text\nä\n".encode("utf-16"), "in.csv: UTF-16 text: save it as UTF-8"),
        ("in.parquet", GOOD, "in.parquet: not a Parquet file, or damaged: "),
        ("in.arrow", GOOD, "in.arrow: not an Arrow file, or damaged: "),
        ("in.jsonl", b"", "in.jsonl: has no rows; expected at least one"),
        ("in.jsonl", b"\n\n", "in.jsonl: has no rows; expected at least one"),
        ("in.csv", b"text\n", "in.csv: has no rows; expected at least one"),
        ("in.csv", b"", "in.csv:1: expected a header line of distinct column names, found nothing"),
        ("in.csv", b"text,text\n1,2\n", "in.csv:1: expected a header line of distinct column names, found text, text"),
        ("in.csv", b'text\na\n"b\n', "in.csv:3: not CSV: a quote that opens here is never closed"),
        ("in.txt", GOOD, "in.txt: format not known; expected .jsonl, .ndjson, .json, .csv"),
        ("in.jsonl.gz", gzip.compress(GOOD, mtime=0), "in.jsonl.gz: compressed; unpack it first, or pipe it: zcat"),
        ("in.json", b'{"a": 1}', "in.json: expected a list of objects, found one object"),
        ("in.jsonl", None, "in.jsonl: no such file or folder"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_leaves_nothing(
    name: str, content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FactoryError) as raised:
        filtered(tmp_path / name)
    assert sentence in str(raised.value)
    assert (raised.value.exit_code, str(raised.value).count("\n")) == (2, 0)
    assert nothing_left(tmp_path)


def test_a_damaged_page_ends_it_and_what_is_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_chunks(monkeypatch, 50)
    source = tmp_path / "in.parquet"
    pq.write_table(table(rows(400)), source, row_group_size=100, compression="zstd")
    whole = source.read_bytes()
    start = pq.read_metadata(source).row_group(2).column(1).data_page_offset
    source.write_bytes(whole[:start] + b"\xff" * 400 + whole[start + 400 :])
    with pytest.raises(SourceError, match=r"in\.parquet: not a Parquet file, or damaged: ") as raised:
        filtered(source)
    assert raised.value.exit_code == 2
    assert not (tmp_path / "out.jsonl").exists()
    assert json.loads((tmp_path / "out.jsonl.partial/state.json").read_text())["rows"] == 200
    source.write_bytes(whole)
    result = filtered(source)
    assert (result.read, result.resumed) == (400, 200)


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        (["instruction"], {"field": "instrction"}, "--field: no column 'instrction' (did you mean 'instruction'?); the rows have instruction."),
        (["a", "b"], {}, "--field: expected the column that 'rouge_l' compares, as there is no 'instruction'; the rows have a, b."),
        (["text", "content"], {}, "--field: expected the column that 'rouge_l' compares, as there is no 'instruction'; the rows have text, content."),
        (["Instruction"], {}, "no 'instruction' (did you mean 'Instruction'?); the rows have Instruction."),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there(columns: list[str], options: Any, sentence: str, tmp_path: Path) -> None:
    for kind in (".jsonl", ".csv"):
        source = write(tmp_path / f"in{kind}", [dict.fromkeys(columns, f"word {number}") for number in range(9)])
        with pytest.raises(UserError) as raised:
            filtered(source, **options)
        assert sentence in str(raised.value)
        assert nothing_left(tmp_path)


def test_the_only_column_of_texts_is_compared(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"id": n, "question": "Which river is the longest?"} for n in range(9)])
    assert filtered(source).kept == 1


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("in.jsonl", "in.jsonl: is read and would be written; choose another OUT."),
        ("pool.jsonl", "pool.jsonl: is read and would be written; choose another OUT."),
        ("old.jsonl", "old.jsonl: exists already; choose another OUT, or replace it with --overwrite."),
        ("shards/new.jsonl", "shards/new.jsonl: lies in a folder that is read"),
        (".", "expected a name that ends in .jsonl"),
        ("out.json", "out.json: expected a name that ends in .jsonl, .csv, .tsv or .parquet, or the name of a folder."),
        ("-", "-: expected a name that ends in"),
    ],
)
def test_a_result_never_takes_the_place_of_what_is_there(
    out: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shards", rows(9))
    for name in ("in.jsonl", "pool.jsonl", "old.jsonl"):
        write(tmp_path / name, rows(9))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    source = "shards" if out.startswith("shards") else "in.jsonl"
    with pytest.raises(UserError) as raised:
        factory.filter(source, out, filters=[ROUGE_L], against=["pool.jsonl"])
    assert sentence in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.rglob("*.partial"))


def test_a_folder_that_is_no_result_is_not_replaced(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows(9))
    (tmp_path / "out").mkdir()
    assert factory.filter(source, tmp_path / "out", filters=[ROUGE_L]).read == 9, "an empty folder is no obstacle"
    assert factory.filter(source, tmp_path / "out", filters=[ROUGE_L], overwrite=True).read == 9
    (tmp_path / "out/manifest.json").write_text("{}")
    with pytest.raises(RunDirError, match=r"out: is no result of 'factory filter' and is not replaced"):
        factory.filter(source, tmp_path / "out", filters=[ROUGE_L], overwrite=True)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [{"text": "a", "b": "1"}])
    write(tmp_path / "b.csv", [{"text": "a", "c": "1"}])
    write(tmp_path / "c.jsonl", [{"text": "a"}])
    with pytest.raises(SourceError, match=r"b\.csv: other columns than in .*a\.csv \(b\)"):
        factory.filter([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out.csv", filters=[ROUGE_L])
    with pytest.raises(SourceError, match="files of different formats"):
        factory.filter([tmp_path / "a.csv", tmp_path / "c.jsonl"], tmp_path / "out.csv", filters=[ROUGE_L])
    for split in ("train", "test"):
        (tmp_path / "hub/data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table(rows(3)), tmp_path / f"hub/data/{split}-00000-of-00001.parquet")
    with pytest.raises(SourceError, match=r"hub: holds several splits \(test, train\)"):
        factory.filter(tmp_path / "hub", tmp_path / "out", filters=[ROUGE_L])


def test_a_pool_is_compared_with_and_not_written(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"".join(lines(rows(8))))
    pool = write(tmp_path / "pool.parquet", rows(4))
    result = filtered(source, against=[pool])
    assert (result.kept, result.rejected) == (3, {"rouge_l: too_similar": 5})
    assert rejected(result.rejected_path)[0]["evidence"] == rows(1)[0]["instruction"]
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(SourceError, match=r"other\.jsonl: no column 'instruction'; the rows have text\."):
        filtered(source, against=[tmp_path / "other.jsonl"], overwrite=True)
    (tmp_path / "some.jsonl").write_bytes(GOOD + b"[1]\n")
    result = filtered(source, against=[tmp_path / "some.jsonl"], overwrite=True)
    assert result.warnings == (f"{tmp_path}/some.jsonl: 1 of 2 rows have no text to compare with.",)
