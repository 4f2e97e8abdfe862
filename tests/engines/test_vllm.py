"""vLLM in this process with the embedded model, on whatever device there is."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from factory.engines.embedded import embedded_model_dir
from factory.engines.protocol import Completion, Constraint, Message, Request, Sampling
from factory.engines.vllm import VllmEngine
from factory.errors import EngineDied, EngineError, RequestRefused, UserError

numba = pytest.importorskip("numba")
llvm = pytest.importorskip("llvmlite.binding")

pytestmark = pytest.mark.engine
CONTEXT_LENGTH = 512


@pytest.fixture(scope="module")
def engine() -> Iterator[VllmEngine]:
    pytest.importorskip("vllm")
    engine = VllmEngine(model="embedded", dtype="float32", max_model_len=CONTEXT_LENGTH, max_in_flight=16)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


@pytest.fixture(scope="module")
def reference() -> tuple[Any, Any]:
    """The same model and its tokenizer in plain transformers."""
    transformers = pytest.importorskip("transformers")
    folder = embedded_model_dir()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def ask_all(engine: VllmEngine, *requests: Request) -> list[Completion]:
    async def run() -> list[Completion]:
        return await asyncio.gather(*[engine.complete(request) for request in requests])

    return asyncio.run(run())


def ask(text: str, constraint: Constraint | None = None, prefill: str | None = None, **sampling: Any) -> Request:
    messages = (Message("user", text),) if prefill is None else (Message("user", text), Message("assistant", prefill))
    options = {"max_tokens": 8, "temperature": 0.0} | sampling
    return Request(messages=messages, sampling=Sampling(**options), constraint=constraint)


def test_it_starts_although_numba_was_loaded_before(engine: VllmEngine) -> None:
    """The engine was started after this module's import of numba, as it is behind a novelty filter."""
    assert engine.capabilities.structured
    assert not hasattr(llvm.ffi.lib, "__dict__")
    assert numba.njit(lambda x: x + 1)(2) == 3


def test_it_says_what_it_is_and_can(engine: VllmEngine) -> None:
    assert "SmolLM2-135M-Instruct (embedded)" in engine.description
    assert engine.capabilities.structured
    assert engine.capabilities.chat
    assert engine.capabilities.context_length == CONTEXT_LENGTH
    assert engine.capabilities.seed_safe == ("cpu" not in engine.description)


def test_sixteen_at_once_are_all_answered_and_counted(engine: VllmEngine, reference: tuple[Any, Any]) -> None:
    words = [f"Name the river number {i}." for i in range(16)]
    answers = ask_all(engine, *[ask(text, max_tokens=3 + i, temperature=1.0) for i, text in enumerate(words)])
    for i, (text, answer) in enumerate(zip(words, answers, strict=True)):
        ids = reference[1].apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        assert answer.prompt_tokens == len(ids)
        assert 1 <= answer.completion_tokens <= 3 + i


def test_greedy_answers_are_those_of_transformers(engine: VllmEngine, reference: tuple[Any, Any]) -> None:
    model, tokenizer = reference
    for text in ("Once upon a time there was", "The capital of France is"):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        expected = tokenizer.decode(model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :])
        (answer,) = ask_all(engine, Request(text=text, sampling=Sampling(max_tokens=12, temperature=0)))
        assert answer.text == expected
        assert answer.prompt_tokens == ids.shape[1]


def test_it_ends_at_the_limit_at_a_stop_string_and_at_the_end_token(engine: VllmEngine) -> None:
    cut, stopped, ended = ask_all(
        engine,
        ask("Count: one, two, three", max_tokens=4),
        Request(text="1, 2, 3, 4, 5,", sampling=Sampling(max_tokens=30, temperature=0, stop=(", 9",))),
        ask("What is the capital of France? Answer in one word.", max_tokens=30),
    )
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 4)
    assert (stopped.finish_reason, stopped.text) == ("stop", " 6, 7, 8")
    assert (ended.finish_reason, ended.text) == ("stop", "The capital of France is Paris.")


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_submitted(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []
    stepper: Any = engine._thread._stepper
    add = stepper.add
    monkeypatch.setattr(stepper, "add", lambda number, *rest: (submitted.append(number), add(number, *rest)))
    one_too_many, fits = "word " * CONTEXT_LENGTH, "word " * (CONTEXT_LENGTH - 2)
    with pytest.raises(RequestRefused, match=f"{CONTEXT_LENGTH + 1} tokens.*{CONTEXT_LENGTH}") as refused:
        ask_all(engine, Request(text=one_too_many))
    assert (refused.value.reason, refused.value.score) == ("prompt_too_long", CONTEXT_LENGTH + 1)
    assert refused.value.threshold == CONTEXT_LENGTH
    assert submitted == []
    (answer,) = ask_all(engine, Request(text=fits, sampling=Sampling(max_tokens=50, temperature=0)))
    assert len(submitted) == 1
    assert answer.prompt_tokens == CONTEXT_LENGTH - 1
    assert (answer.completion_tokens, answer.finish_reason) == (1, "length")


def test_constraints_are_kept(engine: VllmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "old": {"type": "boolean"}},
        "required": ["city", "old"],
        "additionalProperties": False,
    }
    choice, pattern, greedy, *forms = ask_all(
        engine,
        ask("Is water wet?", Constraint(choice=("perhaps", "never")), temperature=1.0),
        ask("Say a number.", Constraint(regex=r"[0-9]{4}"), temperature=1.0),
        ask("Describe a city.", Constraint(json_schema=schema), max_tokens=60),
        *[ask("Describe a city.", Constraint(json_schema=schema), max_tokens=60, temperature=1.0) for _ in range(6)],
    )
    assert choice.text in ("perhaps", "never")
    assert greedy.finish_reason == "stop"
    for form in (greedy, *forms):  # drawn freely, white space between tokens may last until the answer is cut
        if form.finish_reason == "stop":
            jsonschema.validate(json.loads(form.text), schema)
    assert pattern.text.isdigit()
    assert len(pattern.text) == 4


def test_a_constraint_that_cannot_be_enforced_fails_alone(engine: VllmEngine) -> None:
    async def run() -> list[Any]:
        requests = [ask("Hi", Constraint(regex="(unclosed")), ask("Hi", max_tokens=3)]
        return await asyncio.gather(*[engine.complete(request) for request in requests], return_exceptions=True)

    broken, good = asyncio.run(run())
    assert isinstance(broken, EngineError)
    assert not isinstance(broken, EngineDied)
    assert "refuses a request" in str(broken)
    assert isinstance(good, Completion)


def test_a_prefill_is_continued(engine: VllmEngine) -> None:
    prefilled, plain = ask_all(
        engine,
        ask("What is the capital of France?", prefill="The capital of France is"),
        ask("What is the capital of France?"),
    )
    assert prefilled.text.startswith(" Paris")
    assert prefilled.prompt_tokens == plain.prompt_tokens + 5


def test_a_cancelled_request_is_aborted(engine: VllmEngine) -> None:
    stepper: Any = engine._thread._stepper

    async def run() -> None:
        long = ask("Write a novel.", max_tokens=CONTEXT_LENGTH, temperature=2.0, frequency_penalty=2.0)
        task = asyncio.create_task(engine.complete(long))
        deadline = time.monotonic() + 20
        while not stepper.busy and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.complete(ask("Hi", max_tokens=2))
        assert not stepper.busy

    asyncio.run(run())


def test_a_death_ends_all_in_flight_and_a_start_heals_in_this_process(engine: VllmEngine) -> None:
    question = ask("Name a river.", max_tokens=12)
    before = ask_all(engine, question)
    stepper: Any = engine._thread._stepper
    step = stepper._engine.step
    calls: list[int] = []

    def break_third_step() -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CPU Generator does not use offset")
        return step()

    stepper._engine.step = break_third_step

    async def run() -> list[Any]:
        requests = [ask(f"Count to {i}.", max_tokens=40) for i in range(8)]
        return await asyncio.gather(*[engine.complete(request) for request in requests], return_exceptions=True)

    deaths = asyncio.run(run())
    expected = "engine vllm stopped with RuntimeError: CPU Generator does not use offset."
    assert [str(death) for death in deaths if isinstance(death, EngineDied)] == [expected] * 8
    with pytest.raises(EngineDied, match="does not use offset"):
        ask_all(engine, question)
    asyncio.run(engine.start())
    assert engine._thread._stepper is not stepper
    assert stepper._engine is None, "the old engine is freed"
    assert ask_all(engine, question) == before


def test_an_option_that_vllm_lacks_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"vllm_options\.max_num_seq: .*did you mean 'max_num_seqs'"):
        asyncio.run(VllmEngine(model="embedded", options={"max_num_seq": 3}).start())


def test_a_model_that_is_nowhere_is_an_engine_error_with_a_way_out() -> None:
    with pytest.raises(EngineError, match="no such folder"):
        asyncio.run(VllmEngine(model="./models/typo").start())
    code = (
        "from factory.engines.model_source import locate_model\n"
        "from factory.errors import EngineError\n"
        "try: locate_model('nobody/no-such-model', 'v1')\n"
        "except EngineError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'nobody/no-such-model' at revision 'v1'" in done.stdout
    assert "model: embedded" in done.stdout


def test_a_users_turn_is_gone_on_with_and_ends_where_the_user_ends(engine: VllmEngine) -> None:
    sampling = Sampling(max_tokens=200, temperature=1.0, top_p=0.9)
    answers = ask_all(
        engine, *[Request(messages=(Message("user", ""),), sampling=sampling, user_turn=True) for _ in range(12)]
    )
    ended = [answer.text for answer in answers if answer.finish_reason == "stop"]
    assert len(ended) >= 2
    assert len(set(ended)) >= 2
    assert not [text for text in ended if "<|" in text or "assistant\n" in text]


def test_log_probabilities_of_the_first_token_are_those_of_transformers(
    engine: VllmEngine, reference: tuple[Any, Any]
) -> None:
    model, tokenizer = reference
    assert engine.capabilities.logprobs == 20
    texts = ["The capital of France is", "Once upon a", "How hard is it to add 2 and 3, from 1 to 6? Score:\n"]
    # A hot and truncated draw, so that the drawn token is not always among the likeliest; neither changes them.
    sampling = Sampling(max_tokens=2, temperature=2.0, top_k=2, repetition_penalty=1.5)
    answers = ask_all(engine, *[Request(text=text, sampling=sampling, logprobs=20) for text in texts])
    single = ask_all(engine, *[Request(text=text, sampling=Sampling(max_tokens=1), logprobs=1) for text in texts])
    for text, answer, alone in zip(texts, answers, single, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        expected = model(ids).logits[0, -1].log_softmax(-1).topk(20)
        assert [token.logprob for token in answer.logprobs] == pytest.approx(expected.values.tolist(), abs=0.05)
        assert answer.logprobs[0].text == tokenizer.decode(expected.indices[:1])
        assert {token.text for token in answer.logprobs[:10]} <= {
            tokenizer.decode([token]) for token in expected.indices
        }
        assert [token.text for token in alone.logprobs] == [answer.logprobs[0].text]
    assert ask_all(engine, ask("Name a river."))[0].logprobs == ()
