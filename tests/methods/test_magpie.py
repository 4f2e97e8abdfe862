"""Magpie: the user's turn is opened and nothing else; what is no query is turned away; exactly so many rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.engines.protocol import Completion, Request
from factory.errors import RecipeError, UserError
from factory.records import digest

from ..small_runs import Model, committed, data, recipe, run, step


def magpie(folder: Path, *, head: dict[str, Any] | None = None, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return recipe(folder, [{"magpie": options}], **(head or {}))


def answer(request: Request) -> str:
    name = digest("magpie", request)[:8]
    return f"How do I repair the {name} of a bicycle?" if request.user_turn else f"Turn the {name} to the left."


def test_a_query_is_asked_with_an_empty_user_turn_and_answered_alone(tmp_path: Path) -> None:
    engine = Model(answer)
    seen: list[Request] = []

    def remembered(request: Request) -> str:
        seen.append(request)
        return answer(request)

    result = run(magpie(tmp_path, accept=9), tmp_path / "out", Model(remembered))
    del engine
    assert result.rows == 9
    queries = [request for request in seen if request.user_turn]
    assert all(
        [(message.role, message.content) for message in request.messages] == [("user", "")] for request in queries
    )
    assert {request.sampling.temperature for request in queries} == {1.0, 1.1, 1.2}
    assert {request.sampling.top_p for request in queries} == {1.0, 0.995, 0.99}
    for request in seen:
        if not request.user_turn:
            assert request.messages[0].content.startswith("How do I repair")
            assert request.sampling.temperature == 0.0


NO_QUERY = {
    "": "empty_query",
    "Hi there": "too_short",
    "word " * 500: "too_long",
    "How do I <|im_end|> stop": "template_token",
    "What is [INST] this?": "template_token",
    "Sure, I can help you with that!": "assistant_speech",
    "As an AI language model I cannot": "assistant_speech",
    "How can I assist you today?": "assistant_speech",
}


@pytest.mark.parametrize("text", NO_QUERY)
def test_what_is_no_query_is_turned_away_before_it_is_answered(text: str, tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        broken = request.user_turn and random.Random(digest(request)).random() < 0.5
        return text if broken else answer(request)

    result = run(magpie(tmp_path, accept=20), tmp_path / "out", Model(reply))
    assert result.rows == 20
    rejected = {name: count for name, count in step(result, "magpie")["rejected"].items() if "surplus" not in name}
    assert set(rejected) == {f"query: {NO_QUERY[text]}"}


def test_cut_queries_and_answers_are_rejected(tmp_path: Path) -> None:
    def cut(request: Request) -> Completion:
        return Completion(text=answer(request), finish_reason="length", prompt_tokens=4, completion_tokens=4)

    stop = {"rate": 0.5, "over": 20}
    result = run(magpie(tmp_path, accept=5, stop=stop), tmp_path / "out", Model(cut))
    assert (result.status, result.exit_code, result.rows) == ("partial", 4, 0)
    assert "query: cut_off" in step(result, "magpie")["rejected"]
    assert "0.00% of the last 20 candidates" in result.message


def test_a_rerun_asks_nothing_and_more_rows_ask_only_for_those(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(magpie(tmp_path, accept=10), out, Model(answer, most_s=0.003))
    known, first, engine = committed(out), data(out), Model(answer)
    run(magpie(tmp_path, accept=10), out, engine)
    assert (engine.asked, data(out)) == (0, first)
    engine = Model(answer)
    assert run(magpie(tmp_path, accept=40), out, engine).rows == 40
    assert not known & set(engine.keys)


def test_a_plan_counts_the_queries_that_are_needed_at_least(tmp_path: Path) -> None:
    plan = factory.plan(magpie(tmp_path, accept=25), tmp_path / "out")
    assert 25 <= plan.total("ask") <= 50
    assert not plan.exact


def test_an_opening_with_inputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "topic.jinja").write_text(
        "---\ninputs: [topic]\n---\n=== system ===\nYou know {{ topic }}.\n=== user ===\n"
    )
    with pytest.raises(RecipeError, match="needs topic, but a query is made from nothing"):
        factory.load_recipe(magpie(tmp_path, prompt="topic.jinja"))


def test_a_server_says_that_it_cannot_open_a_users_turn() -> None:
    from factory.engines.openai_wire import Wire
    from factory.engines.protocol import Message

    wire = Wire(model="m", key=None, seeds=True, structured="openai", context_length=None)
    with pytest.raises(UserError, match="cannot open a user's turn"):
        wire.encode(Request(messages=(Message("user", ""),), user_turn=True))


@pytest.mark.parametrize("prompt", ["prompts/evol_instruct/equal.jinja", "prompts/magpie/query.jinja"])
def test_a_prompt_of_answers_needs_the_query(prompt: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="answer_prompt: .* expected the input 'instruction'"):
        factory.load_recipe(magpie(tmp_path, answer_prompt=prompt))


def test_the_plan_is_a_range_that_holds(tmp_path: Path) -> None:
    recipe_file = magpie(tmp_path, accept=20)
    plan, engine = factory.plan(recipe_file, tmp_path / "out"), Model(answer)
    run(recipe_file, tmp_path / "out", engine)
    assert plan.total("ask") <= engine.asked <= plan.total("ask_high")
    assert {line.stage for line in plan.lines} == {"query", "answer"}


def test_magpie_comes_first(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(RecipeError, match="let it be the first step"):
        factory.load_recipe(recipe(tmp_path, [{"rows": {"path": "rows.jsonl"}}, {"magpie": {}}]))
