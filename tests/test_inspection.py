"""`show` and `why` on run directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.engines.scripted import ScriptedEngine
from factory.errors import FactoryError
from factory.inspection import show, why
from factory.runner import RunResult, run

from .driver import workplace, write_rows

RECIPE_WITH_FILTER = """\
name: demo
engine: {kind: scripted, script: script.json, model: m}
steps:
  - rows: {path: rows.jsonl}
  - prompt: {prompt: prompt.jinja, output: summary}
  - rouge_l: {field: summary}
"""


@pytest.fixture
def done(tmp_path: Path) -> RunResult:
    """Five rows: two good ones, one that repeats the first, one that is empty, one that repeats it."""
    folder = workplace(tmp_path)
    (folder / "demo.yaml").write_text(RECIPE_WITH_FILTER)
    write_rows(folder / "rows.jsonl", [{"text": text} for text in ("one", "two", "three", "four", "five")])
    answers = {
        "one": "A dog barks loudly.",
        "two": "The sun is far away.",
        "three": "A dog barks loudly.",
        "five": "A dog barks.",
    }
    engine = ScriptedEngine(lambda request: answers.get(request.messages[0].content.split()[-1], ""))
    return run(folder / "demo.yaml", folder / "out", engine=engine, progress=False)


def test_show_gives_samples_and_one_rejected_row_for_each_reason(done: RunResult) -> None:
    shown = show(done.path, samples=1)
    assert shown.manifest["rows"] == 2
    assert [row["text"] for row in shown.kept] == ["one"]
    assert len(shown.rejected) == 1
    shown = show(done.path, samples=9)
    assert len(shown.kept) == 2
    assert {(row["rule"], row["reason"]) for row in shown.rejected} == {
        ("answer", "empty_answer"),
        ("rouge_l", "too_similar"),
    }
    assert show(done.path, samples=0).kept == show(done.path, samples=0).rejected == []


def test_why_tells_a_kept_record_back_to_its_row(done: RunResult) -> None:
    record, row = why(done.path, done.first[0].id)
    assert (record.state, record.verdict) == ("kept", None)
    assert record.fields == {"text": "one", "summary": "A dog barks loudly."}
    ((request, completion),) = record.exchanges
    assert request.messages[0].content == "Summarise: one"
    assert completion.text == "A dog barks loudly."
    assert (row.state, row.fields, row.exchanges) == ("source row", {"text": "one"}, [])
    assert record.provenance["parents"] == [row.id]


def test_why_tells_a_rejected_record_its_verdict_and_neighbour(done: RunResult) -> None:
    rejected = {row["reason"]: row["record_id"] for row in show(done.path, samples=9).rejected}
    record, *_ = why(done.path, rejected["too_similar"])
    assert record.state == "rejected"
    assert record.verdict is not None
    assert (record.step, record.verdict.score, record.verdict.threshold) == ("rouge_l", 1.0, 0.7)
    assert record.verdict.evidence == "A dog barks loudly."
    record, *_ = why(done.path, rejected["empty_answer"])
    assert record.step == "prompt"
    assert record.exchanges[0][1].text == ""


def test_a_beginning_of_an_id_will_do_if_it_is_the_only_one(done: RunResult) -> None:
    record_id = done.first[0].id
    assert why(done.path, record_id[:5])[0].id == record_id
    for given, message in ((record_id[:3], "is too short for a record id"), ("g" * 8, "no record 'gggggggg'")):
        with pytest.raises(FactoryError, match=message):
            why(done.path, given)


def test_the_story_is_told_without_a_journal_too(done: RunResult) -> None:
    for path in done.path.glob("journal.sqlite*"):
        path.unlink()
    record, row = why(done.path, done.first[0].id)
    assert record.fields["summary"] == "A dog barks loudly."
    assert record.exchanges == []
    assert row.state == "source row"


def test_a_run_without_a_dataset_yet_can_be_shown(tmp_path: Path) -> None:
    folder = workplace(tmp_path)

    def broken(request: object) -> str:
        raise FactoryError("the model is gone.")

    with pytest.raises(FactoryError):
        run(folder / "demo.yaml", folder / "out", engine=ScriptedEngine(broken), progress=False)
    shown = show(folder / "out")
    assert shown.manifest["status"] == "failed"
    assert (shown.kept, shown.rejected) == ([], [])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_manifest_that_is_none_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    for look in (lambda: show(tmp_path), lambda: why(tmp_path, "abcd")):
        with pytest.raises(FactoryError, match=r"manifest\.json"):
            look()
