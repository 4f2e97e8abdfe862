"""`ctx.complete`: keys, seeds, shared requests, what is counted, and what waits for the playback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factory.context import Answer, Context, Session, Stats
from factory.context.asker import EngineAsker
from factory.context.budget import Ledger
from factory.context.context import request_key
from factory.context.refusals import Refusals
from factory.context.session import NotYetKnown
from factory.engines.protocol import Completion, Constraint, Message, Request, Sampling
from factory.engines.scripted import ScriptedEngine
from factory.errors import RequestRefused
from factory.journal import Journal, Spent
from factory.prompts import Prompt, load_prompt
from factory.recipe.schema import Budget, EngineOptions

from ..small_runs import Model, prompt_file

SAMPLING = Sampling(max_tokens=8)
ROW = {"text": "a ticket"}


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    return load_prompt(prompt_file(tmp_path / "p.jinja", "text", "Summarise"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(tmp_path / "journal.sqlite")
    yield found
    found.close()


def session(journal: Journal, engine: ScriptedEngine | None, **changes: Any) -> Session:
    options: dict[str, Any] = {
        "asker": None if engine is None else EngineAsker(lambda: engine, lambda sentence: None),
        "journal": journal,
        "ledger": Ledger(Budget(), Spent(), 0.0, 1),
        "stats": Stats(["one", "two"]),
        "model": "fake@main",
        "chat": True,
        "seed": 42,
        "refusals": Refusals(journal, EngineOptions()),
        "max_in_flight": 4,
        "base": Path(),
    }
    return Session(**{**options, **changes})


def context(found: Session, step: str = "one", position: int = 1) -> Context:
    return Context(found, step, "prompt", position)


def test_the_same_request_is_answered_by_the_journal_and_another_is_asked(journal: Journal, prompt: Prompt) -> None:
    engine = Model()
    ctx = context(session(journal, engine))

    async def scenario() -> list[Answer]:
        common: dict[str, Any] = {"draw": "row", "sampling": SAMPLING}
        return [
            await ctx.complete(prompt, ROW, **common),
            await ctx.complete(prompt, ROW, **common),
            await ctx.complete(prompt, ROW, **common | {"draw": "another row"}),
            await ctx.complete(prompt, ROW, **common, attempt=1),
            await ctx.complete(prompt, ROW, **common | {"sampling": Sampling(max_tokens=9)}),
            await ctx.complete(prompt, ROW, **common, constraint=Constraint(choice=("Yes", "No"))),
            await ctx.complete(prompt, {"text": "another"}, **common),
            await ctx.complete(prompt, {**ROW, "unused": 1}, **common),
        ]

    answers = asyncio.run(scenario())
    assert [answer.key for answer in answers].count(answers[0].key) == 3
    assert len({answer.key for answer in answers}) == 6 == engine.asked
    stage = ctx.stats.stage("p")
    assert (stage.asked, stage.reused) == (6, 2)


def test_what_does_not_decide_the_answer_is_not_in_the_key(journal: Journal, prompt: Prompt) -> None:
    async def key(found: Session, **options: Any) -> str:
        answer = await context(found).complete(prompt, ROW, draw="row", sampling=SAMPLING, **options)
        return answer.key

    plain = asyncio.run(key(session(journal, Model())))
    assert plain == asyncio.run(key(session(journal, Model(), max_in_flight=64), stage="other", priority=5))
    changes: list[dict[str, Any]] = [{"model": "other@main"}, {"seed": 43}, {"chat": False}]
    keys = [asyncio.run(key(session(journal, Model(), **change))) for change in changes]
    assert len({plain, *keys}) == 4


def test_the_key_is_stable_across_versions_and_processes() -> None:
    request = Request(messages=(Message("user", "Why?"),), sampling=SAMPLING, seed=7)
    assert request_key("fake@main", request) == "3f8536aacb71b33b73a5"


def together(*work: Callable[[], Awaitable[Answer]]) -> list[Answer | BaseException]:
    async def scenario() -> list[Answer | BaseException]:
        return await asyncio.gather(*(one() for one in work), return_exceptions=True)

    return asyncio.run(scenario())


def test_the_same_request_at_the_same_time_is_sent_once(journal: Journal, prompt: Prompt) -> None:
    engine = Model(most_s=0.01)
    ctx = context(session(journal, engine))
    found = together(*[lambda: ctx.complete(prompt, ROW, draw="row", sampling=SAMPLING)] * 5)
    assert len({answer.text for answer in found if isinstance(answer, Answer)}) == 1
    assert (engine.asked, ctx.stats.stage("p").reused) == (1, 4)


def test_whoever_shares_a_request_whose_asker_is_cancelled_asks_for_it(journal: Journal, prompt: Prompt) -> None:
    engine = Model(latency_s=0.02)
    ctx = context(session(journal, engine))

    async def scenario() -> Answer:
        tasks = [asyncio.create_task(ctx.complete(prompt, ROW, draw="row", sampling=SAMPLING)) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        assert (await tasks[1]).key == (await tasks[2]).key
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        return tasks[1].result()

    assert asyncio.run(scenario()).text
    assert engine.asked == 2
    assert ctx.session.limiter.in_use == 0


def test_whoever_shares_a_refused_request_is_refused(journal: Journal, prompt: Prompt) -> None:
    engine = Model(context_length=2, most_s=0.005)
    ctx = context(session(journal, engine))
    found = together(*[lambda: ctx.complete(prompt, ROW, draw="row", sampling=SAMPLING)] * 3)
    assert all(isinstance(error, RequestRefused) and error.reason == "prompt_too_long" for error in found)
    assert sum(engine.keys.values()) == 1


def test_later_steps_and_lower_priorities_go_first(journal: Journal, prompt: Prompt) -> None:
    order: list[str] = []

    def noting(request: Request) -> str:
        order.append(request.messages[0].content.split()[-1])
        return "answer"

    shared = session(journal, Model(noting, latency_s=0.001), max_in_flight=1)
    first, second = context(shared, "one", 1), context(shared, "two", 2)

    def asking(ctx: Context, name: str, priority: int = 0) -> Callable[[], Awaitable[Answer]]:
        return lambda: ctx.complete(prompt, {"text": name}, draw=name, sampling=SAMPLING, priority=priority)

    together(asking(first, "a"), asking(first, "b"), asking(first, "urgent", -5), asking(second, "later"))
    assert order == ["a", "urgent", "later", "b"]


def test_a_plan_asks_nothing_and_counts_what_is_missing(journal: Journal, prompt: Prompt) -> None:
    asked = context(session(journal, Model()))
    asyncio.run(asked.complete(prompt, ROW, draw="row", sampling=SAMPLING))
    ctx = context(session(journal, None))
    assert ctx.planning
    found = together(
        lambda: ctx.complete(prompt, ROW, draw="row", sampling=SAMPLING),
        lambda: ctx.complete(prompt, ROW, draw="other", sampling=SAMPLING),
    )
    assert isinstance(found[0], Answer) and isinstance(found[1], NotYetKnown)
    stage = ctx.stats.stage("p")
    assert (stage.reused, stage.missing, stage.missing_chars, stage.missing_max_tokens) == (1, 1, 19, 8)


def test_a_refused_or_failed_request_is_not_charged(journal: Journal, prompt: Prompt) -> None:
    ledger = Ledger(Budget(requests=2), Spent(), 0.0, 1)
    ctx = context(session(journal, Model(context_length=4), ledger=ledger))
    for _ in range(3):
        with pytest.raises(RequestRefused):
            asyncio.run(ctx.complete(prompt, {"text": "one two three four"}, draw="long", sampling=SAMPLING))
    assert ledger.requests == 0
    assert asyncio.run(ctx.complete(prompt, {"text": "one"}, draw="short", sampling=SAMPLING)).text
    assert (ledger.requests, ledger.prompt_tokens) == (1, 2)


def test_a_refusal_is_remembered_under_the_context_length_of_the_recipe(journal: Journal, prompt: Prompt) -> None:
    def key_is_known(**engine: Any) -> bool:
        journal.flush()
        try:
            Refusals(journal, EngineOptions(**engine)).check("k")
        except RequestRefused as refused:
            assert (refused.reason, refused.score, refused.threshold) == ("prompt_too_long", 50.0, 40.0)
            return True
        return False

    refused = RequestRefused("prompt_too_long", "50 tokens, 40 fit.", 50.0, 40.0)
    Refusals(journal, EngineOptions(max_model_len=40)).remember("k", refused)
    assert key_is_known(max_model_len=40)
    assert not key_is_known()
    assert not key_is_known(max_model_len=80)
    Refusals(journal, EngineOptions()).remember("k", RequestRefused("refused", "filtered."))
    assert not key_is_known()
    Refusals(journal, EngineOptions()).remember("k", refused)
    assert key_is_known()
    assert not key_is_known(kind="server", urls=["http://127.0.0.1:1/v1"]), "a server may have been restarted with more"


def test_a_derived_record_is_named_by_its_step_its_request_and_its_place(journal: Journal) -> None:
    ctx, other = context(session(journal, None)), context(session(journal, None), "two")
    answer = Answer("text", False, "key", 7, "p", "hash")
    made = ctx.derive(answer, 0, ROW, parents=("a",), root="r", also=("before",))
    assert made.provenance.requests == ("before", "key")
    assert msgspec.structs.asdict(made.provenance) | {"requests": ()} == {
        "step": "one", "method": "prompt", "parents": ("a",), "root": "r", "prompt": "p", "prompt_hash": "hash",
        "model": "fake@main", "seed": 7, "requests": (),
    }  # fmt: skip
    again = ctx.derive(answer, 0, {"text": "other fields"}, parents=("a",))
    assert again.id == made.id
    ids = {made.id, ctx.derive(answer, 1, ROW, parents=()).id, other.derive(answer, 0, ROW, parents=()).id}
    ids.add(ctx.derive(answer, 0, ROW, parents=(), label="kind").id)
    assert len(ids) == 4


def test_what_no_file_can_hold_is_replaced_before_a_record_is_made_of_it(journal: Journal) -> None:
    ctx = context(session(journal, None))
    answer = Answer("text", False, "key", 7, "p", "hash")
    fields = {"text": "cut \ud83d", "list": ["\ud83d", 2**70], "fine": {"ü": [1, 2.5, None]}}
    made = ctx.derive(answer, 0, fields, parents=())
    assert made.fields == {"text": "cut ?", "list": ["?", str(2**70)], "fine": {"ü": [1, 2.5, None]}}


def test_requests_that_the_journal_lacks_wait_until_it_has_been_played_back(journal: Journal, prompt: Prompt) -> None:
    known = 200

    async def one_after_the_other(ctx: Context) -> list[str]:
        return [(await ctx.complete(prompt, ROW, draw=str(number), sampling=SAMPLING)).key for number in range(known)]

    asyncio.run(one_after_the_other(context(session(journal, Model()))))
    engine = Model()
    ctx = context(session(journal, engine))

    async def scenario() -> None:
        missing = asyncio.create_task(ctx.complete(prompt, ROW, draw="missing", sampling=SAMPLING))
        await asyncio.sleep(0)
        await one_after_the_other(ctx)
        assert engine.asked == 0, "all that is known comes first"
        missing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await missing
        await ctx.complete(prompt, ROW, draw="needed", sampling=SAMPLING)

    asyncio.run(scenario())
    assert engine.asked == 1


def test_an_answer_is_stored_under_the_step_that_asked(journal: Journal, prompt: Prompt) -> None:
    ctx = context(
        session(
            journal,
            Model(lambda request: Completion(text="cut", finish_reason="length", prompt_tokens=1, completion_tokens=8)),
        )
    )
    answer = asyncio.run(ctx.complete(prompt, ROW, draw="row", sampling=SAMPLING, stage="titles"))
    assert answer.cut
    assert journal.keys() == {answer.key: ("one", "titles")}
    stored = journal.request(answer.key)
    assert stored is not None
    assert stored[0] == Request(messages=(Message("user", "Summarise: a ticket"),), sampling=SAMPLING, seed=answer.seed)
