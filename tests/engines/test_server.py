"""The server engine against a real HTTP server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from factory.engines import server as server_module
from factory.engines.openai_wire import retry_after_s, server_message
from factory.engines.protocol import Completion, Constraint, Message, Request, Sampling
from factory.engines.server import ServerEngine
from factory.errors import EngineDied, EngineError, FactoryError, RequestRefused, UserError

from .faulty_server import HANG, FaultyServer, Reply, Usage, answer, as_json, error, models, unused_url

KEY = "sk-very/secret\\key-0123456789"
ASK = Request(messages=(Message("user", "Name a river."),), sampling=Sampling(max_tokens=8))
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def engine_for(*urls: str, **options: Any) -> ServerEngine:
    quick = {"model": "m", "backoff_s": 0.001, "timeout_s": 5.0, "max_retries": 3}
    return ServerEngine(urls=urls, **(quick | options))


async def started(*servers: FaultyServer, **options: Any) -> ServerEngine:
    engine = engine_for(*(server.url for server in servers), **options)
    await engine.start()
    return engine


def ask(*replies: Reply, request: Request = ASK, **options: Any) -> tuple[Completion | FactoryError, FaultyServer]:
    """Start against a server with these replies, ask once; what came of it, and the server."""

    async def scenario() -> tuple[Completion | FactoryError, FaultyServer]:
        async with FaultyServer(*replies) as server:
            engine = await started(server, **options)
            try:
                return await engine.complete(request), server
            except FactoryError as failure:
                return failure, server
            finally:
                await engine.close()

    return asyncio.run(scenario())


def start_error(listing: Reply, **options: Any) -> str:
    async def scenario() -> str:
        async with FaultyServer(listing=listing) as server:
            with pytest.raises(EngineError) as caught:
                await started(server, **options)
            return str(caught.value)

    return asyncio.run(scenario())


def in_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))  # type: ignore[arg-type]


# What goes over the wire.


def test_chat_is_posted_and_its_answer_and_usage_come_back() -> None:
    completion, server = ask(answer("The Nile.", usage=(34, 4)))
    assert completion == Completion(text="The Nile.", finish_reason="stop", prompt_tokens=34, completion_tokens=4)
    assert server.posts[0].path == "/v1/chat/completions"
    assert server.posts[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Name a river."}],
        "max_tokens": 8,
        "temperature": 1.0,
        "top_p": 1.0,
    }


def test_plain_text_is_posted_to_completions() -> None:
    reply = as_json(
        {
            "choices": [{"text": " Nile", "finish_reason": "length"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 1},
        }
    )
    completion, server = ask(reply, request=Request(text="The river"))
    assert completion == Completion(text=" Nile", finish_reason="length", prompt_tokens=5, completion_tokens=1)
    assert server.posts[0].path == "/v1/completions"
    assert server.posts[0].body["prompt"] == "The river"
    assert "messages" not in server.posts[0].body


def test_only_sampling_that_differs_from_the_defaults_is_sent() -> None:
    sampling = Sampling(max_tokens=9, temperature=0.0, top_k=20, stop=("\n\n",))
    _, server = ask(request=Request(messages=ASK.messages, sampling=sampling, seed=5))
    sent = {name: value for name, value in server.posts[0].body.items() if name not in ("model", "messages")}
    assert sent == {"max_tokens": 9, "temperature": 0.0, "top_p": 1.0, "top_k": 20, "stop": ["\n\n"], "seed": 5}


def test_seed_stays_here_when_the_server_takes_none() -> None:
    _, server = ask(request=Request(messages=ASK.messages, seed=5), seeds=False)
    assert "seed" not in server.posts[0].body
    assert not engine_for("http://h/v1", seeds=False).capabilities.seed_safe


@pytest.mark.parametrize(
    ("structured", "constraint", "sent"),
    [
        (
            "openai",
            Constraint(json_schema=SCHEMA),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ("openai", Constraint(regex="a+"), {}),
        ("openai", Constraint(choice=("a", "b")), {}),
        ("vllm", Constraint(json_schema=SCHEMA), {"structured_outputs": {"json": SCHEMA}}),
        ("vllm", Constraint(regex="a+"), {"structured_outputs": {"regex": "a+"}}),
        ("vllm", Constraint(choice=("a", "b")), {"structured_outputs": {"choice": ["a", "b"]}}),
        ("none", Constraint(json_schema=SCHEMA), {}),
    ],
)
def test_constraint_is_sent_in_the_form_that_the_server_knows(
    structured: str, constraint: Constraint, sent: dict[str, Any]
) -> None:
    _, server = ask(request=Request(messages=ASK.messages, constraint=constraint), structured=structured)
    fields = ("response_format", "structured_outputs")
    assert {name: value for name, value in server.posts[0].body.items() if name in fields} == sent
    assert engine_for("http://h/v1", structured=structured).capabilities.structured is (structured != "none")


def test_key_is_sent_as_a_bearer_token_and_without_a_key_nothing_is() -> None:
    _, server = ask(api_key=f" {KEY}\n")
    assert {request.headers["authorization"] for request in server.seen} == {f"Bearer {KEY}"}
    _, server = ask(api_key="")
    assert all("authorization" not in request.headers for request in server.seen)


def test_half_of_a_surrogate_pair_in_a_prompt_can_be_asked() -> None:
    completion, server = ask(request=Request(messages=(Message("user", "\ud83d"),)))
    assert isinstance(completion, Completion)
    assert server.posts[0].body["messages"][0]["content"] == "\ud83d"


# Reading answers.


def test_long_answer_on_one_line_comes_through_whole() -> None:
    text = "ü\u2028x" * 33_334
    completion, _ = ask(answer(text))
    assert isinstance(completion, Completion)
    assert completion.text == text


@pytest.mark.parametrize("content", ["", None])
def test_empty_answer_is_an_empty_text(content: str | None) -> None:
    completion, server = ask(answer(content))
    assert completion == Completion(text="", finish_reason="stop", prompt_tokens=7, completion_tokens=3)
    assert len(server.posts) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [("stop", "stop"), ("eos", "stop"), (None, "stop"), ("length", "length"), ("content_filter", "refused")],
)
def test_finish_reason_is_translated(said: str | None, meant: str) -> None:
    completion, _ = ask(answer("x", said))
    assert isinstance(completion, Completion)
    assert completion.finish_reason == meant


def test_refusal_in_an_answer_is_a_refusal() -> None:
    reply = as_json({"choices": [{"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"}]})
    completion, _ = ask(reply)
    assert isinstance(completion, Completion)
    assert (completion.finish_reason, completion.detail) == ("refused", "I will not.")


@pytest.mark.parametrize(("usage", "missing"), [((7, 3), False), ((7, None), True), ((None, 3), True), (None, True)])
def test_missing_usage_counts_as_zero_and_is_reported(usage: Usage | None, missing: bool) -> None:
    async def scenario() -> None:
        async with FaultyServer(answer("x", usage=usage)) as server:
            engine = await started(server)
            assert not engine.usage_missing
            completion = await engine.complete(ASK)
            await engine.close()
        assert (completion.prompt_tokens, completion.completion_tokens) == tuple(
            count or 0 for count in usage or (0, 0)
        )
        assert engine.usage_missing is missing

    in_loop(scenario)


# What may pass is asked again.

BROKEN = {
    "500": error(500, "out of memory"),
    "429": error(429, "slow down"),
    "408": error(408, "too slow"),
    "409": error(409, "conflict"),
    "cut in mid-body": dataclasses.replace(answer("never seen"), cut=True),
    "not JSON": Reply(body=b'{"choices": [{"mess'),
    "not text": Reply(body=b"\x89PNG\xff\xfe\x00"),
    "not UTF-8": Reply(body=b'{"choices": [{"message": {"content": "\xff"}}]}'),
    "nothing": Reply(),
    "no choices": as_json({"error": {"message": "upstream failed"}}),
    "empty choices": as_json({"choices": []}),
    "choice without message": as_json({"choices": [{"finish_reason": "stop"}]}),
    "content not a string": as_json({"choices": [{"message": {"content": 5}}]}),
    "nested too deep": Reply(body=b"[" * 100_000),
    "aborted": answer("half an ans", "abort"),
    "bad gzip": Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_passing_fault_is_asked_again(fault: Reply) -> None:
    completion, server = ask(fault, fault, answer("Nile"))
    assert isinstance(completion, Completion), completion
    assert completion.text == "Nile"
    assert len(server.posts) == 3


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_lasting_fault_ends_after_the_retries_with_one_sentence(fault: Reply) -> None:
    failure, server = ask(fault)
    assert type(failure) is EngineError
    assert len(server.posts) == 4
    message = str(failure)
    assert message.startswith(server.url)
    assert "4 attempts" in message and "run the same command" in message and "\n" not in message


def test_without_retries_a_fault_is_final() -> None:
    failure, server = ask(BROKEN["500"], answer("Nile"), max_retries=0)
    assert "500 (out of memory); given up after 1 attempt:" in str(failure)
    assert len(server.posts) == 1


def test_hanging_server_is_given_up_after_its_time_and_its_retries() -> None:
    begun = time.monotonic()
    failure, server = ask(HANG, timeout_s=0.1, max_retries=2)
    assert type(failure) is EngineError
    assert "did not answer within 0.1 s" in str(failure)
    assert len(server.posts) == 3
    assert 0.3 <= time.monotonic() - begun < 2


def test_time_limit_holds_for_a_server_that_keeps_sending() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.02)
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        engine = engine_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", timeout_s=0.2)
        with pytest.raises(EngineError, match="did not answer within 0.2 s"):
            await engine.start()
        server.close()

    in_loop(scenario)


def test_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_REPLY_BYTES", 2**20)
    failure, server = ask(answer("x" * 2**20), max_retries=1)
    assert "sent more than 1 MiB" in str(failure)
    assert len(server.posts) == 2


def test_retry_after_is_waited_for() -> None:
    begun = time.monotonic()
    completion, _ = ask(error(429, "slow down", retry_after="0.4"), answer("Nile"))
    assert isinstance(completion, Completion)
    assert 0.4 <= time.monotonic() - begun < 2


def test_retry_after_holds_back_other_requests_too() -> None:
    async def scenario() -> None:
        async with FaultyServer(error(429, "slow down", retry_after="0.5"), answer("Nile")) as server:
            engine = await started(server)
            begun = time.monotonic()
            first = asyncio.create_task(engine.complete(ASK))
            await asyncio.sleep(0.1)
            assert len(server.posts) == 1
            await engine.complete(ASK)
            assert time.monotonic() - begun >= 0.5
            await first
            await engine.close()

    in_loop(scenario)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("2", 2, 2),
        ("0.5", 0.5, 0.5),
        ("99999", 60, 60),
        ("-3", 0, 0),
        ("nan", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        (timedelta(seconds=30), 1, 30),
        (timedelta(days=2), 60, 60),
        ("Mon, 01 Jan 2001 00:00:00 -0000", 0, 0),
    ],
)
def test_retry_after_takes_seconds_and_dates_up_to_a_minute(value: str | timedelta, least: float, most: float) -> None:
    if isinstance(value, timedelta):  # counted from the test's own time, which may come minutes after the collection
        value = format_datetime(datetime.now(UTC) + value, usegmt=True)
    assert least <= retry_after_s({"retry-after": value}) <= most


def test_there_is_a_pause_between_the_rounds() -> None:
    begun = time.monotonic()
    ask(error(500, "down"), backoff_s=0.2, max_retries=2)
    assert 0.3 <= time.monotonic() - begun < 2


def test_pauses_double_stay_bounded_and_are_the_same_in_every_run() -> None:
    one, two = engine_for("http://h/v1", backoff_s=0.5), engine_for("http://h/v1", backoff_s=0.5)
    pauses = [one._pause_s("body", retry) for retry in range(1, 40)]
    assert pauses == [two._pause_s("body", retry) for retry in range(1, 40)]
    for retry, pause in enumerate(pauses):
        full = min(60.0, 0.5 * 2**retry)
        assert full / 2 <= pause <= full
    assert one._pause_s("body", 1) != one._pause_s("other body", 1)


# What will not pass is not.


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_key_ends_the_run_at_once(status: int) -> None:
    failure, server = ask(error(status, "bad key"), api_key=KEY)
    assert type(failure) is EngineError
    assert f"answered {status} (bad key)" in str(failure) and "`api_key_env`" in str(failure)
    assert len(server.posts) == 1
    assert "refuses the API key" in start_error(error(status, "bad key"), api_key=KEY)
    assert "wants an API key" in start_error(error(status, "bad key"))


def test_unknown_path_or_model_ends_the_run_at_once() -> None:
    failure, server = ask(error(404, "The model `m` does not exist."))
    assert type(failure) is EngineError
    assert "404 (The model `m` does not exist)" in str(failure) and "/v1" in str(failure)
    assert len(server.posts) == 1


def test_redirect_is_not_followed() -> None:
    async def scenario() -> None:
        async with FaultyServer() as elsewhere:
            away = Reply(307, headers={"Location": f"{elsewhere.url}/chat/completions"})
            async with FaultyServer(away) as server:
                engine = await started(server, api_key=KEY)
                with pytest.raises(EngineError, match=f"redirects .here to {elsewhere.url}"):
                    await engine.complete(ASK)
                await engine.close()
            assert elsewhere.seen == []

    in_loop(scenario)


def test_status_without_a_rule_ends_the_run_at_once() -> None:
    failure, server = ask(error(402, "no credit left"))
    assert type(failure) is EngineError
    assert "402 (no credit left)" in str(failure)
    assert len(server.posts) == 1


TOO_LONG = [
    "This model's maximum context length is 64 tokens. However, your prompt contains 90 input tokens, which exceeds.",
    "The input (90 tokens) is longer than the model's context length (64 tokens).",
    "request (90 tokens) exceeds the available context size (64 tokens), try increasing it",
    "The decoder prompt (length 90) is longer than the maximum model length of 64.",
    "`inputs` tokens + `max_new_tokens` must be <= 64. Given: 90 `inputs` tokens",
    "prompt is too long: 90 tokens > 64 maximum",
    "Prompt too long",
]


@pytest.mark.parametrize("message", TOO_LONG)
def test_prompt_too_long_refuses_the_request(message: str) -> None:
    failure, server = ask(error(400, message))
    assert isinstance(failure, RequestRefused)
    assert failure.reason == "prompt_too_long"
    assert message.rstrip(".") in str(failure)
    assert len(server.posts) == 1


def test_prompt_too_long_carries_its_numbers_and_is_known_by_its_code() -> None:
    failure, _ = ask(error(400, TOO_LONG[0]))
    assert isinstance(failure, RequestRefused)
    assert (failure.score, failure.threshold) == (90, 64)
    coded = as_json({"error": {"message": "please shorten", "code": "context_length_exceeded"}}, 400)
    failure, _ = ask(coded, context_length=128)
    assert isinstance(failure, RequestRefused)
    assert (failure.score, failure.threshold) == (None, 128)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_other_bad_request_is_a_refused_completion(status: int) -> None:
    completion, server = ask(error(status, "unsafe\n  prompt\x1b\x00 " + "x" * 900))
    assert isinstance(completion, Completion)
    assert (completion.text, completion.finish_reason) == ("", "refused")
    assert completion.detail.startswith("unsafe prompt xxx") and len(completion.detail) == 300
    assert len(server.posts) == 1


def test_refusal_without_words_still_says_why() -> None:
    completion, _ = ask(Reply(400))
    assert isinstance(completion, Completion)
    assert completion.detail == "status 400 without a message"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "a"}}', "a"),
        (b'{"error": "b"}', "b"),
        (b'{"object": "error", "message": "c"}', "c"),
        (b'{"detail": "d"}', "d"),
        (b'{"detail": [{"loc": ["x"]}]}', '[{"loc": ["x"]}]'),
        (b"<h1>e</h1>", "<h1>e</h1>"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_message_of_an_error_is_found_in_every_common_form(body: bytes, message: str) -> None:
    assert server_message(body) == message


# Starting.


def test_start_learns_the_context_length_unless_told() -> None:
    async def scenario() -> None:
        listings = models("m", max_model_len=4096), models("m", max_model_len=2048)
        async with FaultyServer(listing=listings[0]) as one, FaultyServer(listing=listings[1]) as two:
            engine = await started(one, two)
            assert engine.capabilities.context_length == 2048
            await engine.close()
            engine = await started(one, context_length=100)
            assert engine.capabilities.context_length == 100
            await engine.close()

    in_loop(scenario)


@pytest.mark.parametrize(
    "listing",
    [
        error(404, "no such path"),
        models("m:latest"),
        models("models/m"),
        models(),
        as_json([{"id": "m"}]),
    ],
    ids=["none", "Ollama", "Gemini", "empty", "bare list"],
)
def test_start_is_content_with_every_common_listing(listing: Reply) -> None:
    async def scenario() -> None:
        async with FaultyServer(listing=listing) as server:
            engine = await started(server)
            assert (await engine.complete(ASK)).text == "ok"
            await engine.close()

    in_loop(scenario)


def test_start_suggests_the_model_that_was_meant() -> None:
    listing = models("org/Tiny-1B-Instruct", "org/Other-7B")
    assert "(did you mean 'org/Tiny-1B-Instruct'?)" in start_error(listing, model="org/tiny-1b-instuct")
    assert "`model`" in start_error(listing, model="zzz")


def test_start_says_what_is_wrong_with_each_server() -> None:
    async def scenario() -> None:
        dead = unused_url()
        async with FaultyServer(listing=error(503, "Loading model")) as loading:
            with pytest.raises(EngineError) as caught:
                await engine_for(dead, loading.url).start()
        message = str(caught.value)
        assert f"{dead} cannot be connected to" in message
        assert f"{loading.url} answered GET /models with 503 (Loading model)" in message
        assert "`urls`" in message

    in_loop(scenario)


def test_start_takes_a_web_page_for_a_wrong_url() -> None:
    assert "is /v1 missing?" in start_error(Reply(body=b"<!doctype html><title>a chat</title>"))


def test_start_gives_up_on_a_server_that_hangs() -> None:
    assert "did not answer within 0.1 s" in start_error(HANG, timeout_s=0.1)


def test_proxy_of_the_environment_is_not_used_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hush@127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", unused_url())
    completion, _ = ask()
    assert isinstance(completion, Completion)
    with pytest.raises(EngineError, match="ALL_PROXY") as caught:
        asyncio.run(engine_for("https://host.invalid/v1").start())
    assert "hush" not in str(caught.value)


def test_engine_can_be_started_again_after_it_was_closed() -> None:
    async def scenario() -> None:
        async with FaultyServer() as server:
            engine = await started(server)
            await engine.close()
            with pytest.raises(EngineDied, match="closed"):
                await engine.complete(ASK)
            await engine.start()
            assert (await engine.complete(ASK)).text == "ok"
            await engine.close()

    in_loop(scenario)


def test_closing_ends_what_is_in_flight() -> None:
    async def scenario() -> None:
        async with FaultyServer(HANG) as server:
            engine = await started(server)
            asked = asyncio.create_task(engine.complete(ASK))
            while not server.posts:
                await asyncio.sleep(0.005)
            await engine.close()
            with pytest.raises(EngineDied):
                await asked

    in_loop(scenario)


@pytest.mark.parametrize("url", ["", "host:8000", "ftp://host/v1", "http://", "http://host:port/v1"])
def test_what_is_not_a_url_is_an_error_of_the_user(url: str) -> None:
    with pytest.raises(UserError, match="http://host:8000/v1"):
        engine_for(url)


def test_no_url_is_an_error_of_the_user() -> None:
    with pytest.raises(UserError, match="`urls` is empty"):
        engine_for()


# Many servers.


def test_requests_go_to_the_server_with_the_fewest_in_flight() -> None:
    async def scenario() -> None:
        slow = dataclasses.replace(answer("slow"), delay_s=0.3)
        quick = dataclasses.replace(answer("quick"), delay_s=0.02)
        async with FaultyServer(slow) as one, FaultyServer(quick) as two:
            engine = await started(one, two)
            slots = asyncio.Semaphore(8)

            async def one_of_many() -> str:
                async with slots:
                    return (await engine.complete(ASK)).text

            texts = await asyncio.gather(*(one_of_many() for _ in range(60)))
            await engine.close()
        assert texts.count("quick") > 3 * texts.count("slow") > 0
        assert one.most_in_flight == 4

    in_loop(scenario)


def test_dead_server_costs_no_request() -> None:
    async def scenario() -> None:
        async with FaultyServer() as alive:
            engine = engine_for(unused_url(), alive.url, backoff_s=0.05)
            await engine.start()
            texts = [completion.text for completion in await asyncio.gather(*(engine.complete(ASK) for _ in range(40)))]
            await engine.close()
        assert texts == ["ok"] * 40
        assert len(alive.posts) == 40

    in_loop(scenario)


def test_failing_server_is_left_alone_and_taken_back_when_it_recovers() -> None:
    async def scenario() -> None:
        async with FaultyServer(error(500, "down"), answer("back")) as shaky, FaultyServer(answer("ok")) as steady:
            engine = await started(shaky, steady, backoff_s=0.2)
            texts = [(await engine.complete(ASK)).text for _ in range(5)]
            assert texts == ["ok"] * 5
            assert len(shaky.posts) == 1
            await asyncio.sleep(0.25)
            texts = [(await engine.complete(ASK)).text for _ in range(20)]
            assert texts.count("back") >= 10 and texts.count("ok") >= 5
            shaky.replies = steady.replies = [dataclasses.replace(answer("slow"), delay_s=0.1)]
            await asyncio.gather(*(engine.complete(ASK) for _ in range(10)))
            assert (shaky.most_in_flight, steady.most_in_flight) == (5, 5)
            await engine.close()

    in_loop(scenario)


def test_server_that_asked_for_a_pause_is_left_alone_although_it_answered_another_request() -> None:
    async def scenario() -> None:
        slow = dataclasses.replace(answer("slow"), delay_s=0.1)
        async with FaultyServer(error(429, "slow down", retry_after="5"), slow) as limited, FaultyServer() as free:
            engine = await started(limited, free)
            await asyncio.gather(*(engine.complete(ASK) for _ in range(4)))
            assert len(limited.posts) == 2
            begun = time.monotonic()
            assert {(await engine.complete(ASK)).text for _ in range(6)} == {"ok"}
            assert time.monotonic() - begun < 3
            await engine.close()

    in_loop(scenario)


def test_burst_of_failures_counts_as_one() -> None:
    async def scenario() -> None:
        down = dataclasses.replace(error(500, "down"), crowd=4)
        async with FaultyServer(*[down] * 4, answer("back")) as shaky, FaultyServer() as steady:
            engine = await started(shaky, steady, backoff_s=0.1)
            await asyncio.gather(*(engine.complete(ASK) for _ in range(8)))
            assert len(shaky.posts) == 4
            await asyncio.sleep(0.15)
            assert "back" in {(await engine.complete(ASK)).text for _ in range(12)}
            await engine.close()

    in_loop(scenario)


def test_resting_server_is_asked_when_all_others_fail() -> None:
    async def scenario() -> None:
        down, ok = error(500, "down"), answer("ok")
        async with FaultyServer(down, down, answer("back")) as one, FaultyServer(ok, ok, down) as two:
            engine = await started(one, two, backoff_s=0.2, max_retries=0)
            assert (await engine.complete(ASK)).text == "ok"
            await asyncio.sleep(0.25)
            assert (await engine.complete(ASK)).text == "ok"
            assert (await engine.complete(ASK)).text == "back"
            await engine.close()

    in_loop(scenario)


def test_server_that_does_not_recover_gets_one_request_at_a_time() -> None:
    async def scenario() -> None:
        async with FaultyServer(HANG) as hanging, FaultyServer() as steady:
            engine = await started(hanging, steady, timeout_s=0.3)
            await asyncio.gather(*(engine.complete(ASK) for _ in range(8)))
            hanging.most_in_flight = 0
            await asyncio.gather(*(engine.complete(ASK) for _ in range(20)))
            assert hanging.most_in_flight == 1
            await engine.close()

    in_loop(scenario)


def test_when_all_servers_fail_each_gets_every_round() -> None:
    async def scenario() -> None:
        async with FaultyServer(error(500, "down")) as one, FaultyServer(error(502, "down")) as two:
            engine = await started(one, two, max_retries=2)
            with pytest.raises(EngineError, match="6 attempts"):
                await engine.complete(ASK)
            assert (len(one.posts), len(two.posts)) == (3, 3)
            await engine.close()

    in_loop(scenario)


def test_three_hundred_requests_are_in_flight_together_and_connections_are_kept() -> None:
    async def scenario() -> None:
        async with FaultyServer(dataclasses.replace(answer("ok"), crowd=300)) as server:
            engine = await started(server)
            await asyncio.gather(*(engine.complete(ASK) for _ in range(300)))
            assert server.most_in_flight == 300
            await asyncio.gather(*(engine.complete(ASK) for _ in range(20)))
            assert server.connections <= 301
            await engine.close()

    in_loop(scenario)


def test_equal_urls_are_one_server() -> None:
    assert engine_for("http://h/v1", "http://h/v1/").description == "server: m at http://h/v1"
    assert engine_for("http://h/v1", "http://g/v1").description == "server: m at http://h/v1 and 1 more"


# The key stays secret.


ECHO = f"you sent 'Bearer {KEY}' " * 40


@pytest.mark.parametrize("status", [200, 307, 400, 401, 402, 404, 429, 500])
@pytest.mark.parametrize("form", ["message", "nested", "raw", "location"])
def test_key_is_never_shown_even_if_the_server_echoes_it(status: int, form: str) -> None:
    replies = {
        "message": error(status, ECHO),
        "nested": as_json({"detail": [{"input": ECHO}]}, status),
        "raw": Reply(status, ECHO.encode()),
        "location": Reply(status, ECHO.encode(), {"Location": f"http://x/?key={KEY}"}),
    }
    reply = replies[form]
    outcome, _ = ask(reply, api_key=KEY, max_retries=0)
    shown = [str(outcome), repr(outcome), getattr(outcome, "detail", "")]
    assert any("[api key]" in text for text in shown)
    for text in shown:
        assert KEY not in text and json.dumps(KEY)[1:-1] not in text


@pytest.mark.parametrize(
    "listing",
    [error(401, ECHO), error(500, ECHO), models(KEY), Reply(302, headers={"Location": f"http://x/{KEY}"})],
)
def test_key_is_not_shown_when_starting_fails(listing: Reply) -> None:
    message = start_error(listing, api_key=KEY)
    assert KEY not in message and "[api key]" in message


def test_key_is_not_in_the_description_of_the_engine() -> None:
    engine = engine_for("http://h/v1", api_key=KEY)
    assert KEY not in repr(engine) + str(engine) + engine.description + repr(engine.capabilities)


@pytest.mark.parametrize(
    "url", ["http://me:hush@host/v1", "me:hush@host", "https://host:x@/v1?key=hush", "http://h#hush"]
)
def test_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UserError) as caught:
        engine_for(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-ключ", "sk-one\nsk-two"])
def test_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UserError) as caught:
        engine_for("http://h/v1", api_key=key)
    assert "sk-" not in str(caught.value) and "`api_key_env`" in str(caught.value)
