"""The `prompt` method against odd answers, on the scripted engine and on a real HTTP server that misbehaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factory.datasets_io.parquet import read_shards
from factory.engines.protocol import Completion, Request
from factory.engines.scripted import ScriptedEngine
from factory.errors import RecipeError
from factory.inspection import why
from factory.methods.prompt.schema import Misfit, read_object
from factory.planner import plan
from factory.recipe import load_recipe
from factory.runner import RunResult, run

from ..driver import Command, asked, in_process, workplace, write_rows
from ..engines.faulty_server import FaultyServer, Reply, answer, as_json, error, models, unused_url

SCHEMA = "{type: object, required: [label], properties: {label: {enum: [spam, ham]}, why: {type: string}}}"


def make(folder: Path, *, options: str = "output: summary", rows: list[dict[str, object]] | None = None) -> Path:
    workplace(folder)
    if rows is not None:
        write_rows(folder / "rows.jsonl", rows)
    recipe = folder / "demo.yaml"
    recipe.write_text(recipe.read_text().replace("output: summary", options))
    return recipe


def answered(folder: Path, reply: str | Completion, **made: Any) -> RunResult:
    """The result of a run on one row in which every answer is `reply`."""
    recipe = make(folder, rows=[{"text": "a"}], **made)
    return run(recipe, folder / "out", engine=ScriptedEngine(lambda request: reply), progress=False)


def rejected(folder: Path) -> list[dict[str, Any]]:
    return list(read_shards(folder / "out" / "rejected"))


def cut(text: str) -> Completion:
    return Completion(text=text, finish_reason="length", prompt_tokens=3, completion_tokens=9)


def test_an_answer_becomes_a_column_without_the_blanks_around_it(tmp_path: Path) -> None:
    (record,) = answered(tmp_path, "\n  A lost order.\n").first
    assert record.fields == {"text": "a", "summary": "A lost order."}
    assert record.provenance.root == record.provenance.parents[0]


@pytest.mark.parametrize(
    ("reply", "reason", "threshold"),
    [("", "empty_answer", None), (" \n\t", "empty_answer", None), (cut("A lost"), "cut_off", 512.0)],
)
def test_an_answer_that_is_not_one_rejects_its_row(
    tmp_path: Path, reply: str | Completion, reason: str, threshold: float | None
) -> None:
    assert answered(tmp_path, reply).rows == 0
    (row,) = rejected(tmp_path)
    assert (row["rule"], row["reason"], row["threshold"]) == ("answer", reason, threshold)
    assert json.loads(row["fields"])["text"] == "a"


def test_a_cut_answer_is_kept_on_request(tmp_path: Path) -> None:
    (record,) = answered(tmp_path, cut("A lost"), options="output: summary, keep_cut: true").first
    assert record.fields["summary"] == "A lost"


def test_a_very_long_line_is_one_answer(tmp_path: Path) -> None:
    result = answered(tmp_path, "word " * 20_000)
    (row,) = read_shards(result.path / "data")
    assert len(row["summary"]) == 99_999


@pytest.mark.parametrize(
    "reply",
    [
        '{"label": "spam", "why": "it sells"}',
        'Here you are:\n```json\n{"label": "spam", "why": "it sells"}\n```\nAnything else?',
        'In {braces}: {"label": "spam", "why": "it sells"} {"label": "ham"}',
        '{ \n "why": "it sells", "label": "spam"}',
    ],
)
def test_the_first_json_object_of_an_answer_becomes_the_columns(tmp_path: Path, reply: str) -> None:
    (record,) = answered(tmp_path, reply, options=f"schema: {SCHEMA}").first
    assert record.fields == {"text": "a", "label": "spam", "why": "it sells"}


def test_a_property_that_is_left_out_is_null(tmp_path: Path) -> None:
    (record,) = answered(tmp_path, '{"label": "ham"}', options=f"schema: {SCHEMA}").first
    assert record.fields == {"text": "a", "label": "ham", "why": None}


@pytest.mark.parametrize(
    ("reply", "reason", "evidence"),
    [
        ("spam", "not_json", "no JSON object"),
        ('["spam"]', "not_json", "no JSON object"),
        ('{"label": "spam"', "not_json", "Expecting ',' delimiter"),
        ('{"label": "spam", oops {"label": "ham"}', "not_json", "Expecting property name"),
        ('{"label": NaN}', "not_json", "JSON has no NaN"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "not_json", "recursion"),
        (f'{{"label": {"9" * 5000}}}', "not_json", "digits"),
        ('{"label": "eggs"}', "schema_mismatch", "$.label: 'eggs' is not one of"),
        ("{}", "schema_mismatch", "$: 'label' is a required property"),
        ('{"label": "ham", "why": 3}', "schema_mismatch", "$.why: 3 is not of type 'string'"),
    ],
)
def test_an_answer_without_the_form_is_rejected_with_what_is_wrong(
    tmp_path: Path, reply: str, reason: str, evidence: str
) -> None:
    assert answered(tmp_path, reply, options=f"schema: {SCHEMA}").rows == 0
    (row,) = rejected(tmp_path)
    assert row["reason"] == reason
    assert evidence in row["evidence"]
    assert json.loads(row["fields"])["answer"] == reply


def test_what_no_file_can_hold_is_replaced() -> None:
    schema = {"type": "object", "properties": {"n": {}, "s": {}}}
    assert read_object('{"n": [123456789012345678901], "s": "\\ud83d"}', schema) == {
        "n": ["123456789012345678901"],
        "s": "?",
    }
    with pytest.raises(Misfit):
        read_object("{", schema)


def test_a_bad_answer_is_asked_again_and_the_story_tells_all_attempts(tmp_path: Path) -> None:
    replies = iter(["", "no json", '{"label": "spam"}'])
    recipe = make(tmp_path, rows=[{"text": "a"}], options=f"schema: {SCHEMA}, attempts: 5")
    engine = ScriptedEngine(lambda request: next(replies))
    result = run(recipe, tmp_path / "out", engine=engine, progress=False)
    assert (result.rows, engine.asked) == (1, 3)
    (story, _) = why(tmp_path / "out", result.first[0].id)
    assert [completion.text for _, completion in story.exchanges] == ["", "no json", '{"label": "spam"}']
    assert len({request.seed for request, _ in story.exchanges}) == 3


def test_a_row_is_rejected_when_its_attempts_are_used_up(tmp_path: Path) -> None:
    recipe = make(tmp_path, rows=[{"text": "a"}], options="output: summary, attempts: 3")
    engine = ScriptedEngine(lambda request: "")
    assert run(recipe, tmp_path / "out", engine=engine, progress=False).rows == 0
    assert engine.asked == 3
    (row,) = rejected(tmp_path)
    assert len(row["provenance"]["requests"]) == 3


def test_several_answers_make_a_row_each_in_order_and_of_one_family(tmp_path: Path) -> None:
    recipe = make(
        tmp_path, rows=[{"text": "a"}, {"text": "b"}, {"text": "c"}], options="output: summary, answers: 3, window: 2"
    )
    engine = _Shuffling(lambda request: "" if (request.seed or 0) % 7 == 3 else f"answer {request.seed}")
    result = run(recipe, tmp_path / "out", engine=engine, progress=False)
    rows = list(read_shards(result.path / "data"))
    turned_away = len(rejected(tmp_path))
    assert engine.asked == 9 and len(rows) + turned_away == 9
    assert [row["text"] for row in rows] == sorted(row["text"] for row in rows)
    assert len({row["summary"] for row in rows}) == len({row["record_id"] for row in rows}) == len(rows) > 3
    assert len({row["provenance"]["root"] for row in rows}) == 3
    again = run(recipe, tmp_path / "out", engine=ScriptedEngine(lambda request: "x"), progress=False)
    assert again.manifest["fingerprint"] == result.manifest["fingerprint"]
    recipe.write_text(f"{recipe.read_text()}  - prompt: {{name: again, prompt: prompt.jinja, output: other}}\n")
    assert [line.ask for line in plan(recipe, tmp_path / "other").lines] == [9, 9], "each answer is one for later steps"


def test_one_of_several_answers_that_is_refused_leaves_the_others(tmp_path: Path) -> None:
    class Refusing(ScriptedEngine):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(0)
            if self.asked == 1:
                self.asked += 1
                return Completion(text="", finish_reason="refused", prompt_tokens=0, completion_tokens=0)
            return await super().complete(request)

    recipe = make(tmp_path, rows=[{"text": "a"}], options="output: summary, answers: 3")
    result = run(recipe, tmp_path / "out", engine=Refusing(lambda request: "fine"), progress=False)
    assert (result.rows, len(rejected(tmp_path))) == (2, 1)


def test_several_answers_cannot_differ_at_temperature_zero(tmp_path: Path) -> None:
    recipe = make(tmp_path, options="output: summary, answers: 2, sampling: {temperature: 0}")
    with pytest.raises(RecipeError, match="prompt.answers: at temperature 0 all of them are equal"):
        load_recipe(recipe)


def test_rows_come_out_in_their_order_whatever_is_answered_first(tmp_path: Path) -> None:
    rows = [{"text": f"number {index}"} for index in range(40)]
    recipe = make(tmp_path, rows=rows, options="output: summary, window: 7")
    result = run(recipe, tmp_path / "out", engine=_Shuffling(lambda request: "ok"), progress=False)
    assert [row["text"] for row in read_shards(result.path / "data")] == [row["text"] for row in rows]


class _Shuffling(ScriptedEngine):
    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep((request.seed or 0) % 7 / 1000)
        return await super().complete(request)


def test_the_window_changes_nothing_but_the_speed(tmp_path: Path) -> None:
    recipe = make(tmp_path)
    one = run(recipe, tmp_path / "out", overrides=["prompt.window=1"], progress=False)
    asked_before = asked(tmp_path)
    other = run(recipe, tmp_path / "out", overrides=["prompt.window=50", "engine.max_in_flight=3"], progress=False)
    assert one.manifest["fingerprint"] == other.manifest["fingerprint"]
    assert asked(tmp_path) == asked_before == 6


def test_a_remark_says_that_attempts_are_in_vain_at_temperature_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, options="output: summary, attempts: 2, sampling: {temperature: 0}")
    done = in_process(tmp_path, monkeypatch, capsys)("check", "demo.yaml")
    assert done.err == "note: prompt.attempts: at temperature 0 every attempt gives the same answer\n"


# --- a server that misbehaves, from the command line ------------------------------------------------

ROWS = 6


@contextmanager
def serving(*replies: Reply, listing: Reply | None = None) -> Iterator[FaultyServer]:
    """A faulty server on a thread of its own, so that `factory run` can own the main one."""
    server = FaultyServer(*replies, listing=listing)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(workplace(tmp_path), monkeypatch, capsys)


def at(url: str, **options: object) -> list[str]:
    settings = {"kind": "server", "urls": f"[{url}]", "model": "m", "max_in_flight": 1, **options}
    return [part for key, value in settings.items() for part in ("--set", f"engine.{key}={value}")]


def finishes(factory: Command) -> None:
    """The same command on a healthy server ends well, and asks only what was not answered before."""
    with serving(answer("fine")) as healthy:
        done = factory("run", "demo.yaml", *at(healthy.url))
        assert done.code == 0, done.err
        assert f"{ROWS} rows in runs/demo/data" in done.out
        assert len(healthy.posts) <= ROWS


HANG = Reply(hang=True)


@pytest.mark.parametrize(
    ("replies", "options", "said"),
    [
        ([error(500, "out of memory")], {"max_retries": 1}, "answered 500 (out of memory); given up after 2 attempts"),
        ([error(401, "who are you")], {}, "answered 401 (who are you): it wants an API key; name the environment"),
        ([HANG], {"timeout_s": 0.2, "max_retries": 0}, "did not answer within 0.2 s (option `timeout_s`); given up"),
        ([Reply(body=b"half an answer", cut=True)], {"max_retries": 0}, "broke off before its answer was complete"),
        ([Reply(body=b"<html>")], {"max_retries": 0}, "sent something other than a completion (<html>)"),
        ([error(404, "no such path")], {}, "answered 404 (no such path): check that it serves the model 'm'"),
    ],
)
def test_a_server_that_fails_for_good_ends_the_run_with_one_sentence_and_the_rerun_completes(
    factory: Command, replies: list[Reply], options: dict[str, object], said: str
) -> None:
    with serving(answer("first"), answer("second"), *replies) as server:
        done = factory("run", "demo.yaml", "--quiet", *at(server.url, **options))
    assert done.code == 3
    assert done.out == ""
    assert done.err.startswith(f"error: {server.url} ")
    assert said in done.err
    assert done.err.count("\n") == 1
    with serving(answer("fine")) as healthy:
        done = factory("run", "demo.yaml", *at(healthy.url))
        assert done.code == 0
        assert len(healthy.posts) == ROWS - 2


def test_a_server_that_cannot_be_reached(factory: Command) -> None:
    done = factory("run", "demo.yaml", "--quiet", *at(unused_url(), max_retries=0))
    assert done.code == 3
    assert "cannot be connected to" in done.err
    assert "start it or correct the engine's `urls`" in done.err
    assert done.err.count("\n") == 1
    finishes(factory)


def test_a_server_that_serves_another_model(factory: Command) -> None:
    with serving(listing=models("m-large", "n")) as server:
        done = factory("run", "demo.yaml", "--quiet", *at(server.url))
    assert done.code == 3
    assert "does not serve the model 'm', but m-large, n" in done.err
    finishes(factory)


def test_a_server_that_has_too_much_to_do_is_asked_again(factory: Command) -> None:
    with serving(error(429, "slow down", Retry_After="0.1"), error(503, "busy"), answer("ok")) as server:
        done = factory("run", "demo.yaml", *at(server.url))
    assert done.code == 0
    assert len(server.posts) == ROWS + 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(None), "answer: empty_answer"),
        (answer("half", finish_reason="length"), "answer: cut_off"),
        (error(400, "this model's maximum context length is 4 tokens, you have 9 input tokens"), "prompt_too_long"),
        (error(400, "no"), "request: refused"),
        (as_json({"choices": [{"message": {"content": None, "refusal": "never"}}]}), "request: refused"),
    ],
)
def test_an_odd_answer_of_a_server_rejects_only_its_row(factory: Command, reply: Reply, reason: str) -> None:
    with serving(reply, answer("ok")) as server:
        done = factory("run", "demo.yaml", *at(server.url))
    assert done.code == 0, done.err
    assert f"{ROWS - 1} rows in" in done.out
    assert reason in done.out


def test_half_a_letter_from_a_server_does_not_end_the_run(factory: Command, tmp_path: Path) -> None:
    body = b'{"choices": [{"message": {"content": "a \\ud83d b \\ud83d\\ude00"}, "finish_reason": "stop"}]}'
    with serving(Reply(body=body)) as server:
        done = factory("run", "demo.yaml", *at(server.url))
    assert done.code == 0
    assert len(server.posts) == ROWS
    assert {row["summary"] for row in read_shards(tmp_path / "runs/demo/data")} == {"a ? b \U0001f600"}


def test_a_key_from_the_environment_is_sent_and_never_kept(
    factory: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret-0123456789abcdef")
    with serving(answer("ok")) as server:
        done = factory("run", "demo.yaml", *at(server.url, api_key_env="MY_KEY"))
    assert done.code == 0
    assert {request.headers["authorization"] for request in server.posts} == {"Bearer sk-very-secret-0123456789abcdef"}
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or b"very-secret" not in path.read_bytes()


def test_a_key_that_the_environment_lacks(factory: Command) -> None:
    done = factory("run", "demo.yaml", "--quiet", *at("http://127.0.0.1:1/v1", api_key_env="NO_SUCH_KEY"))
    assert done.code == 2
    assert done.err == "error: engine.api_key_env: the environment variable NO_SUCH_KEY is not set.\n"
