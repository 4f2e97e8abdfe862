"""The transformers engine with the embedded model."""

import asyncio
from collections.abc import Iterator

import pytest

from factory.engines.protocol import Completion, Message, Request, Sampling
from factory.engines.transformers import TransformersEngine
from factory.errors import EngineDied, EngineError, RequestRefused

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> Iterator[TransformersEngine]:
    engine = TransformersEngine(model="embedded", dtype="float32", max_model_len=256, max_in_flight=8)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


def ask_all(engine: TransformersEngine, *requests: Request) -> list[Completion]:
    async def run() -> list[Completion]:
        return await asyncio.gather(*[engine.complete(request) for request in requests])

    return asyncio.run(run())


def chat(text: str, seed: int | None = None, **sampling: object) -> Request:
    options = {"max_tokens": 8, "temperature": 0.0} | sampling
    return Request(messages=(Message("user", text),), sampling=Sampling(**options), seed=seed)  # type: ignore[arg-type]


def test_it_says_what_it_is_and_can(engine: TransformersEngine) -> None:
    assert "SmolLM2-135M-Instruct (embedded), cpu float32, context 256" in engine.description
    assert engine.capabilities.seed_safe
    assert not engine.capabilities.structured
    assert (engine.capabilities.chat, engine.capabilities.context_length) == (True, 256)


def test_a_padded_batch_of_mixed_requests_answers_each_as_if_alone(engine: TransformersEngine) -> None:
    requests = [
        chat("Name a river."),
        chat("Write a long story about a boat on a river in the winter, and its captain.", max_tokens=5),
        chat("Name a city.", temperature=1.0, seed=3, top_p=0.9),
        Request(text="The capital of France is", sampling=Sampling(max_tokens=3, temperature=0)),
    ]
    together = ask_all(engine, *requests)
    assert together == [ask_all(engine, request)[0] for request in requests]
    assert [answer.completion_tokens for answer in together][1::2] == [5, 3]
    assert together[3].text.startswith(" Paris")


def test_it_ends_at_the_limit_at_a_stop_string_and_at_the_end_token(engine: TransformersEngine) -> None:
    cut, stopped, ended = ask_all(
        engine,
        chat("Count: one, two, three", max_tokens=4),
        Request(text="1, 2, 3, 4, 5,", sampling=Sampling(max_tokens=30, temperature=0, stop=(", 9",))),
        chat("What is the capital of France? Answer in one word.", max_tokens=30),
    )
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 4)
    assert (stopped.finish_reason, stopped.text) == ("stop", " 6, 7, 8")
    assert stopped.completion_tokens < 30
    assert (ended.finish_reason, ended.text) == ("stop", "The capital of France is Paris.")


def test_seeds_decide_and_only_they(engine: TransformersEngine) -> None:
    hot = {"temperature": 1.5, "max_tokens": 6}
    first, again, other = ask_all(engine, chat("Hi", 1, **hot), chat("Hi", 1, **hot), chat("Hi", 2, **hot))
    assert first == again
    assert first != other


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(engine: TransformersEngine) -> None:
    with pytest.raises(RequestRefused) as refused:
        ask_all(engine, Request(text="word " * 300))
    assert refused.value.reason == "prompt_too_long"
    assert refused.value.score is not None
    assert refused.value.score >= 300
    assert refused.value.threshold == 256


def test_a_death_ends_all_in_flight_and_a_start_heals(engine: TransformersEngine) -> None:
    before = ask_all(engine, chat("Name a river."))
    model = engine._thread._stepper._model  # type: ignore[union-attr, attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "generate", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no room")))

        async def run() -> list[BaseException | Completion]:
            return await asyncio.gather(*[engine.complete(chat(f"{i}")) for i in range(4)], return_exceptions=True)

        deaths = asyncio.run(run())
    assert all(isinstance(death, EngineDied) and "MemoryError: no room" in str(death) for death in deaths)
    asyncio.run(engine.start())
    assert ask_all(engine, chat("Name a river.")) == before


def test_closing_cuts_a_long_batch_short() -> None:
    engine = TransformersEngine(model="embedded", dtype="float32")

    async def run() -> None:
        await engine.start()
        task = asyncio.create_task(engine.complete(chat("Write a novel.", max_tokens=4000, temperature=1.5, seed=1)))
        await asyncio.sleep(1.0)
        await asyncio.wait_for(engine.close(), timeout=20)
        with pytest.raises(EngineDied, match="closed"):
            await task

    asyncio.run(run())


def test_a_folder_that_is_no_model_is_named(tmp_path: object) -> None:
    with pytest.raises(EngineError, match=r"no config\.json"):
        asyncio.run(TransformersEngine(model=str(tmp_path)).start())


def test_a_users_turn_is_gone_on_with_and_ends_where_the_user_ends(engine: TransformersEngine) -> None:
    sampling = Sampling(max_tokens=90, temperature=0.7, top_p=0.9)
    answers = ask_all(
        engine,
        *[Request(messages=(Message("user", ""),), sampling=sampling, user_turn=True, seed=seed) for seed in range(8)],
    )
    assert any(answer.finish_reason == "stop" for answer in answers)
    assert not [answer.text for answer in answers if "<|" in answer.text]


def test_log_probabilities_come_for_the_rows_of_a_batch_that_ask(engine: TransformersEngine) -> None:
    requests = [
        Request(text="The capital of France is", sampling=Sampling(max_tokens=2, temperature=0), logprobs=4),
        chat("Write a story about a boat."),
        Request(text="1, 2, 3, 4,", sampling=Sampling(max_tokens=1, temperature=3.0, top_k=1), seed=1, logprobs=30),
    ]
    paris, none, digits = ask_all(engine, *requests)
    assert engine.capabilities.logprobs == 49152
    assert (len(paris.logprobs), len(none.logprobs), len(digits.logprobs)) == (4, 0, 30)
    assert paris.logprobs[0].text == " Paris"
    assert [token.logprob for token in paris.logprobs] == sorted(
        (token.logprob for token in paris.logprobs), reverse=True
    )
    assert all(token.logprob < 0 for token in digits.logprobs)
