"""Decontamination: rows that share a run of words with a benchmark, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import OptionError, SourceError
from factory.filters import decontaminate
from factory.filters.decontaminate import Options

from .sifting import holds_for_batches, kept, rows, sizes, verdicts

QUESTION = "A farmer has seventeen sheep and all but nine of them run away over the hill. How many are left?"
ROWS: list[dict[str, Any]] = [
    {"instruction": "Name three rivers."},
    {"instruction": "Solve: a FARMER has seventeen sheep, and all but nine of them run away over night."},
    {"instruction": "A farmer has seventeen sheep and all but eight of them run away over the hill."},
    {"instruction": None},
    {"instruction": "Who wrote Hamlet"},
    {"instruction": "Tell me: who wrote Hamlet?"},
]


@pytest.fixture
def quiz(tmp_path: Path) -> Path:
    (tmp_path / "quiz.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in ({"q": QUESTION, "a": "9"}, {"q": "Who wrote Hamlet?", "a": "yes"}))
    )
    return tmp_path


def test_thirteen_words_in_a_row_reject_and_are_shown_with_their_place(quiz: Path) -> None:
    found = verdicts(decontaminate, ROWS, quiz, against=["quiz.jsonl"])
    assert [verdict is None for verdict in found] == [True, False, True, True, False, True]
    verdict = found[1]
    assert verdict is not None
    assert (verdict.rule, verdict.reason, verdict.score, verdict.threshold) == ("decontaminate", "in_benchmark", 2, 1)
    assert verdict.evidence == "quiz.jsonl:1: a farmer has seventeen sheep and all but nine of them run away"
    assert found[4] is not None
    assert found[4].evidence == "quiz.jsonl:2: who wrote hamlet"


def test_fewer_words_or_more_matches_can_be_asked_for(quiz: Path) -> None:
    assert kept(decontaminate, ROWS, quiz, against=["quiz.jsonl"], ngram=8) == [0, 3, 5]
    assert kept(decontaminate, ROWS, quiz, against=["quiz.jsonl"], min_matches=3) == [0, 1, 2, 3, 5]
    assert kept(decontaminate, ROWS, quiz, against=["quiz.jsonl"], min_share=0.7) == [0, 1, 2, 3, 5]
    found = verdicts(decontaminate, ROWS, quiz, against=["quiz.jsonl"], min_share=0.5)[1]
    assert found is not None
    assert (found.score, found.threshold) == (0.5, 0.5)


def test_several_columns_and_several_benchmarks_of_every_format(quiz: Path) -> None:
    (quiz / "more.csv").write_text("id,text\n1,the quick brown fox jumps over the dog\n")
    (quiz / "lines.txt").write_text("first line here\n\nthe sun rises in the east every day\n")
    pq.write_table(pa.table({"choices": [["red green blue cyan pink", "no"]]}), quiz / "list.parquet")
    against = ["quiz.jsonl", "more.csv", "lines.txt", "list.parquet"]
    given_rows = [
        {"instruction": "ok", "output": "the quick brown fox jumps"},
        {"instruction": "the sun rises in the west, and the sun rises in the east"},
        {"instruction": "red green blue cyan pink white", "output": "ok"},
        {"instruction": "no"},
    ]
    found = verdicts(decontaminate, given_rows, quiz, against=against, field=["instruction", "output"], ngram=5)
    assert [verdict and verdict.evidence for verdict in found] == [
        "more.csv:2: the quick brown fox jumps",
        "lines.txt:3: the sun rises in the",
        "list.parquet: row 1: red green blue cyan pink",
        None,
    ]
    assert kept(decontaminate, given_rows, quiz, against=against, ngram=5) == [0, 3]
    assert kept(decontaminate, given_rows, quiz, against=against, ngram=5, shortest=1) == [0]


def test_only_the_named_columns_of_a_benchmark_count(quiz: Path) -> None:
    given_rows = [{"instruction": "Who wrote Hamlet?"}, {"instruction": "yes"}]
    options = {"against": ["quiz.jsonl"], "shortest": 1}
    assert kept(decontaminate, given_rows, quiz, **options) == []
    assert kept(decontaminate, given_rows, quiz, **options, against_field="q") == [1]
    assert kept(decontaminate, given_rows, quiz, **options, against_field=["a"]) == [0]
    (quiz / "lines.txt").write_text("yes\n")
    assert kept(decontaminate, given_rows, quiz, against=["lines.txt"], shortest=1, against_field="q") == [0]


def test_evidence_does_not_depend_on_where_the_folder_lies(quiz: Path) -> None:
    absolute = verdicts(decontaminate, ROWS, against=[str(quiz / "quiz.jsonl")])[1]
    assert absolute is not None
    assert absolute.evidence is not None
    assert absolute.evidence.startswith(f"{quiz}/quiz.jsonl:1: ")


@given(rows("instruction"), sizes, st.integers(0, 25), st.integers(1, 3))
def test_batches_and_a_resumed_run_change_no_verdict(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]], parts: list[int], at: int, ngram: int
) -> None:
    base = tmp_path_factory.getbasetemp()
    (base / "known.txt").write_text("list three rivers\nname three large rivers\npoem\n写\n")
    options = Options(against=["known.txt"], ngram=ngram, shortest=1)
    holds_for_batches(lambda: decontaminate.sift(options, base), given_rows, parts, at)


def test_files_decide_and_what_is_wrong_with_them_is_said_at_their_place(quiz: Path) -> None:
    options = Options(against=["quiz.jsonl"])
    assert decontaminate.files(options, quiz) == [quiz / "quiz.jsonl"]
    assert decontaminate.check(options, quiz) == []
    (quiz / "empty.txt").write_text("\n")
    (quiz / "bad.jsonl").write_text("{}\nno\n")
    (quiz / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    wrong = ["quiz.jsonl", "empty.txt", "bad.jsonl", "nowhere.csv", "latin.txt", "quiz.pdf"]
    (quiz / "quiz.pdf").write_text("x")
    problems = decontaminate.check(Options(against=wrong), quiz)
    assert all(isinstance(problem, OptionError) for problem in problems)
    assert [problem.option for problem in problems] == [f"against.{n}" for n in (1, 2, 3, 4, 5)]  # type: ignore[attr-defined]
    said = [str(problem) for problem in problems]
    for words, sentence in zip(
        ("has no texts", "bad.jsonl:2", "no such file", "UTF-8", "format not"), said, strict=True
    ):
        assert words in sentence
    with pytest.raises(SourceError, match="has no texts"):
        decontaminate.sift(Options(against=["empty.txt"]), quiz)


def test_columns_that_are_not_there_are_named(quiz: Path) -> None:
    problem = decontaminate.check(Options(against=["quiz.jsonl"], against_field="question"), quiz)[0]
    assert isinstance(problem, OptionError)
    assert problem.option == "against_field"
    assert "the rows have a, q" in str(problem)
    with pytest.raises(OptionError, match="did you mean 'text'"):
        decontaminate.columns(Options(against=["x"], field=["txt"]), Path(), {"text"})
