"""Labelled texts: ids as the source gives them, classes by the values of a column, one sentence for what is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.errors import SourceError
from factory.recipe.labelled import LabelledSource
from factory.sources import rows


def test_ids_are_those_of_the_source_and_equal_rows_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tweet,sarcastic\nI love rain,1\nIt rains,0\nI love rain,1\n,0\n")
    source = LabelledSource(path="a.csv", text="tweet", label="sarcastic", values={"1": "yes", "0": "no"})
    said: list[str] = []
    texts = source.read(tmp_path, said.append)
    assert said == ["a.csv: 1 row without text left out"]
    assert [(text.text, text.label) for text in texts] == [
        ("I love rain", "yes"),
        ("It rains", "no"),
        ("I love rain", "yes"),
    ]
    ctx = SimpleNamespace(step="rows", base=tmp_path, stats=SimpleNamespace(expected=None))

    async def collect() -> list[str]:
        return [record.id async for record in rows.run(None, ctx, rows.Options(path="a.csv"))]  # type: ignore[arg-type]

    assert asyncio.run(collect())[:3] == [text.id for text in texts]
    assert len({text.id for text in texts}) == 3


def test_a_file_without_header_and_with_quotation_marks_in_the_text(tmp_path: Path) -> None:
    (tmp_path / "sms.tsv").write_text('ham\t"Gran is here\nspam\tFree "prize" now\n')
    source = LabelledSource(path="sms.tsv", header=("label", "text"), quotes=False)
    assert [(text.label, text.text) for text in source.read(tmp_path)] == [
        ("ham", '"Gran is here'),
        ("spam", 'Free "prize" now'),
    ]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"path": "b.csv"}, "b.csv: no such file"),
        ({"path": "a.csv", "text": "txt"}, r"no column 'txt' \(did you mean 'text'\?\); the rows have text, label"),
        (
            {"path": "a.csv", "values": {"1": "x"}},
            r"values that 'values' does not name: '2' \(2\), '3' \(1\); it names '1'",
        ),
        ({"path": "e.csv"}, "has no text in the column 'text'"),
        ({"path": "j.jsonl", "header": ("text", "label")}, "leave out 'header'"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, source: dict, sentence: str) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,1\nb,2\nc,2\nd,3\n")
    (tmp_path / "e.csv").write_text("text,label\n,1\n")
    (tmp_path / "j.jsonl").write_text('{"text": "a", "label": 1}\n')
    with pytest.raises(SourceError, match=sentence):
        LabelledSource(**source).read(tmp_path)
