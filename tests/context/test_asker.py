"""Starting an engine when it is first needed, and again when it dies."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from factory.context.asker import CALM_REQUESTS, MAX_DEATHS, EngineAsker
from factory.engines.protocol import Capabilities, Completion, Request
from factory.errors import EngineDied, EngineError

AT_ONCE = 8
DONE = Completion(text="done", finish_reason="stop", prompt_tokens=1, completion_tokens=1)


class Mortal:
    """Kills everything in flight at chosen request counts, as a crashing server does."""

    def __init__(self, deaths: set[int], *, start_s: float = 0.0) -> None:
        self.deaths = deaths
        self.start_s = start_s
        self.asked: Counter[int] = Counter()
        self.starts = self.closed = self.count = 0
        self.alive = asyncio.Event()
        self.down: asyncio.Future[None] | None = None

    capabilities = Capabilities(seed_safe=True, structured=False)
    description = "mortal"

    async def start(self) -> None:
        await asyncio.sleep(self.start_s)
        self.starts += 1
        self.down = asyncio.get_running_loop().create_future()

    async def complete(self, request: Request) -> Completion:
        self.count += 1
        self.asked[request.seed or 0] += 1
        down = self.down
        assert down is not None
        if self.count in self.deaths and not down.done():
            down.set_result(None)
        await asyncio.wait([down], timeout=0.002)
        if down.done():
            raise EngineDied("out of memory.")
        return DONE

    async def close(self) -> None:
        self.closed += 1


def ask(asker: EngineAsker, count: int) -> list[Completion | BaseException]:
    """Ask so many requests, at most so many at once: how busy the machine is plays no part."""

    async def scenario() -> list[Completion | BaseException]:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Completion:
            async with places:
                return await asker.ask(Request(text="?", seed=number))

        found = await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)
        await asker.close()
        return found

    return asyncio.run(scenario())


def test_nothing_is_started_before_the_first_request_and_one_engine_serves_all() -> None:
    engine = Mortal(set(), start_s=0.01)
    asker = EngineAsker(lambda: engine, lambda sentence: None)
    assert asker.engine is None
    assert ask(asker, 40) == [DONE] * 40
    assert (engine.starts, engine.closed) == (1, 1)


def test_what_was_in_flight_at_a_death_is_asked_again_and_nothing_else() -> None:
    engine, said = Mortal({30}), []
    assert ask(EngineAsker(lambda: engine, said.append), 120) == [DONE] * 120
    assert engine.starts == 2
    assert 0 < sum(count - 1 for count in engine.asked.values()) < 20
    assert any("died (out of memory.)" in sentence for sentence in said)


def test_deaths_with_calm_between_them_are_survived() -> None:
    deaths = {60 + number * (CALM_REQUESTS + 120) for number in range(MAX_DEATHS + 2)}
    engine = Mortal(deaths)
    assert ask(EngineAsker(lambda: engine, lambda sentence: None), 1000) == [DONE] * 1000
    assert engine.starts == MAX_DEATHS + 3


def test_deaths_without_calm_end_the_run_for_all_that_wait() -> None:
    engine = Mortal(set(range(20, 10_000)))
    found = ask(EngineAsker(lambda: engine, lambda sentence: None), 100)
    errors = [error for error in found if isinstance(error, EngineError)]
    assert len(errors) == len(found) - found.count(DONE) > 50
    assert all("died 3 times in a row, last with: out of memory. What was answered" in str(error) for error in errors)
    assert engine.starts == engine.closed == MAX_DEATHS


def test_an_engine_that_does_not_start_is_tried_once_and_closed() -> None:
    class Broken(Mortal):
        async def start(self) -> None:
            await super().start()
            raise EngineError("no such model.")

    engine = Broken(set())
    found = ask(EngineAsker(lambda: engine, lambda sentence: None), 20)
    assert all(isinstance(error, EngineError) for error in found)
    assert (engine.starts, engine.closed) == (1, 1)


def test_a_run_cancelled_while_its_engine_starts_closes_it() -> None:
    engine = Mortal(set(), start_s=10)

    async def scenario() -> None:
        asker = EngineAsker(lambda: engine, lambda sentence: None)
        asking = asyncio.create_task(asker.ask(Request(text="?")))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(scenario())
    assert engine.closed == 1
