"""Log-probabilities of the first token: asked for, given, kept in the journal, and nowhere where nobody asks."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.context.asker import EngineAsker
from factory.context.context import request_key
from factory.engines.drawing import BatchDraw, RowDraw
from factory.engines.protocol import (
    Capabilities,
    Completion,
    Constraint,
    Message,
    Request,
    Sampling,
    TokenLogprob,
    likeliest,
)
from factory.engines.scripted import ScriptedEngine, from_script
from factory.engines.server import ServerEngine
from factory.errors import EngineError
from factory.journal import Journal
from factory.recipe.engine_check import check_logprobs
from factory.recipe.schema import EngineOptions

from .faulty_server import FaultyServer, Reply, answer, as_json

CHAT = Request(
    messages=(Message("system", "Be brief."), Message("user", "Name a river.")),
    sampling=Sampling(max_tokens=8, temperature=0.7, stop=("\n",)),
    seed=7,
)
TEXT = Request(text="The river", constraint=Constraint(choice=("a", "b")), user_turn=True)
RATE = Request(messages=(Message("user", "Rate it."),), sampling=Sampling(max_tokens=1), logprobs=3)
TOKENS = (TokenLogprob("4", -0.1), TokenLogprob(" 4", -2.5), TokenLogprob("é", -4.0))


def test_keys_of_requests_that_ask_for_none_are_those_that_journals_hold_already() -> None:
    # Recorded before requests could ask for log-probabilities.
    assert request_key("fake@main", CHAT) == "a2e6fe8751d1dc9645b3"
    assert request_key("fake@main", TEXT) == "5f8963f3c15ad141fa4b"
    asking = {request_key("fake@main", msgspec.structs.replace(CHAT, logprobs=count)) for count in (0, 1, 20)}
    assert len(asking) == 3


def test_a_completion_of_an_older_journal_is_read() -> None:
    old = b'\x85\xa4text\xa9The Nile.\xadfinish_reason\xa4stop\xadprompt_tokens"\xb1completion_tokens\x04\xa6detail\xa0'
    expected = Completion(text="The Nile.", finish_reason="stop", prompt_tokens=34, completion_tokens=4)
    assert msgspec.msgpack.decode(old, type=Completion) == expected


def test_the_journal_gives_them_back(tmp_path: Path) -> None:
    completion = Completion(text="4", finish_reason="length", prompt_tokens=9, completion_tokens=1, logprobs=TOKENS)
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        journal.put("0" * 20, "step", "stage", RATE, completion)
    with closing(Journal(tmp_path / "journal.sqlite", read_only=True)) as journal:
        assert journal.request("0" * 20) == (RATE, completion)


def test_the_likeliest_come_first_and_equal_ones_in_one_order() -> None:
    assert likeliest([("b", -1.0), ("c", -0.1), ("a", -1.0)], 2) == (TokenLogprob("c", -0.1), TokenLogprob("a", -1.0))


# Engines.


def test_a_batch_gives_them_of_the_model_as_it_is_and_for_rows_that_ask() -> None:
    torch = pytest.importorskip("torch")
    logits = [2.0, 1.0, 0.0, -1.0]
    sampling = Sampling(temperature=0.1, top_k=1, repetition_penalty=3.0)
    batch = BatchDraw([RowDraw([0], sampling, 1, 3), RowDraw([0], sampling, 1)], prompt_width=1)
    batch(torch.tensor([[0], [0]]), torch.tensor([logits, logits]))
    batch(torch.tensor([[0, 1], [0, 1]]), torch.tensor([logits[::-1], logits]))  # the second token plays no part
    total = math.log(sum(math.exp(logit) for logit in logits))
    assert [token for token, _ in batch.first[0]] == [0, 1, 2]
    assert [value for _, value in batch.first[0]] == pytest.approx([logit - total for logit in logits[:3]])
    assert batch.first[1] == []


def ask(engine: ScriptedEngine | ServerEngine, request: Request) -> Completion:
    async def scenario() -> Completion:
        await engine.start()
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    return asyncio.run(scenario())


def test_a_script_gives_its_own_and_else_is_certain_of_its_first_word(tmp_path: Path) -> None:
    script = {
        "rules": [{"contains": "Rate", "answers": [{"text": "4", "logprobs": {"é": -4.0, "4": -0.1, " 4": -2.5}}]}],
        "answers": ["The Nile."],
    }
    (tmp_path / "script.json").write_text(json.dumps(script))
    engine = from_script(tmp_path / "script.json")
    assert ask(engine, RATE).logprobs == TOKENS
    assert ask(engine, msgspec.structs.replace(RATE, logprobs=1)).logprobs == TOKENS[:1]
    assert ask(engine, CHAT).logprobs == ()
    assert ask(engine, msgspec.structs.replace(CHAT, logprobs=5)).logprobs == (TokenLogprob("The", 0.0),)


def with_logprobs(logprobs: Any, content: str = "4") -> Reply:
    choice = {"message": {"content": content}, "finish_reason": "length", "logprobs": logprobs}
    return as_json({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})


def from_server(reply: Reply, request: Request = RATE) -> tuple[Completion, dict[str, Any]]:
    async def scenario() -> tuple[Completion, dict[str, Any]]:
        async with FaultyServer(reply) as server:
            engine = ServerEngine(urls=[server.url], model="m", backoff_s=0.001, max_retries=1)
            await engine.start()
            try:
                return await engine.complete(request), server.posts[0].body
            finally:
                await engine.close()

    return asyncio.run(scenario())


def test_a_server_is_asked_for_them_in_chat_and_in_text() -> None:
    top = [{"token": token.text, "logprob": token.logprob, "bytes": None} for token in reversed(TOKENS)]
    completion, sent = from_server(with_logprobs({"content": [{"token": "4", "logprob": -0.1, "top_logprobs": top}]}))
    assert completion.logprobs == TOKENS
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 3)
    old_form = {"tokens": ["4"], "top_logprobs": [{token.text: token.logprob for token in TOKENS}]}
    completion, sent = from_server(with_logprobs(old_form), Request(text="Rate it:", logprobs=3))
    assert completion.logprobs == TOKENS
    assert sent["logprobs"] == 3
    assert "top_logprobs" not in sent


@pytest.mark.parametrize("nothing", [None, {}, {"content": []}, {"top_logprobs": [None]}, [1, 2], "none"])
def test_a_server_that_sends_none_ends_the_run_with_a_sentence(nothing: Any) -> None:
    with pytest.raises(EngineError, match="sends no log-probabilities"):
        from_server(with_logprobs(nothing))


def test_a_server_that_sends_some_to_who_does_not_ask_is_not_listened_to() -> None:
    completion, sent = from_server(with_logprobs([1, 2]), CHAT)
    assert completion.logprobs == ()
    assert not {"logprobs", "top_logprobs"} & set(sent)


def test_an_answer_without_text_may_have_some_and_a_refusal_need_not() -> None:
    assert from_server(with_logprobs({"content": []}, content=""))[0].logprobs == ()
    silent = {
        "content": [{"token": "", "top_logprobs": [{"token": "", "logprob": 1e-7}, {"token": "4", "logprob": -9}]}]
    }
    completion, _ = from_server(with_logprobs(silent, content=""))
    assert completion.logprobs == (TokenLogprob("", 0.0), TokenLogprob("4", -9.0))
    assert from_server(answer("No.", "content_filter"))[0].finish_reason == "refused"


# Who cannot give them.


def test_an_engine_that_gives_fewer_is_not_asked() -> None:
    engine = ScriptedEngine(lambda _: "4", logprobs=2)
    asker = EngineAsker(lambda: engine, lambda _: None)
    with pytest.raises(EngineError, match=r"log-probabilities of 3 tokens, but this engine gives at most 2 \(scripted"):
        asyncio.run(asker.ask(RATE))
    assert engine.asked == 0
    assert Capabilities(seed_safe=True, structured=True).logprobs == 0


@pytest.mark.parametrize(
    ("options", "wanted", "said"),
    [
        ({"kind": "vllm"}, 20, None),
        ({"kind": "vllm"}, 21, "gives at most 20: set vllm_options: {max_logprobs: 21}"),
        ({"kind": "vllm", "vllm_options": {"max_logprobs": 50}}, 21, None),
        ({"kind": "vllm", "vllm_options": {"max_logprobs": -1}}, 21, None),
        ({"kind": "transformers"}, 1000, None),
        ({"urls": ["http://h/v1"]}, 20, None),
        ({"urls": ["http://h/v1"], "server_logprobs": 0}, 1, "gives none: set it to what the server gives"),
        ({"urls": ["http://h/v1"], "server_logprobs": 0}, 0, None),
    ],
)
def test_a_recipe_whose_engine_cannot_is_refused(options: dict[str, Any], wanted: int, said: str | None) -> None:
    finding = check_logprobs(EngineOptions(**options), wanted)
    assert finding is None if said is None else finding is not None and said in finding[1]
