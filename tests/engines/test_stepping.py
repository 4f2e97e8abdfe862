"""The thread between a loop and a model, with a model of a few lines: deaths, restarts, aborts, closing."""

import asyncio
import threading
import time

import pytest

from factory.engines.prompting import RenderedPrompt
from factory.engines.protocol import Completion, Request, Sampling
from factory.engines.stepping import EngineThread
from factory.errors import EngineDied, EngineError, RequestRefused


class WordRenderer:
    """Words stand for tokens; six of them fit."""

    def render(self, request: Request) -> RenderedPrompt:
        ids = [len(word) for word in str(request.text).split()]
        if len(ids) > 6:
            raise RequestRefused("prompt_too_long", "too long", len(ids), 6)
        return RenderedPrompt(ids, request.sampling.max_tokens)


class CountingModel:
    """Each request takes `max_tokens` steps; `broken` makes the next step raise."""

    def __init__(self, step_s: float = 0.002) -> None:
        self.renderer = WordRenderer()
        self.step_s = step_s
        self.left: dict[int, int] = {}
        self.aborted: list[int] = []
        self.broken: BaseException | None = None
        self.closed = False
        self.threads: set[int] = set()
        self.largest_batch = 0

    @property
    def busy(self) -> bool:
        return bool(self.left)

    def add(self, number: int, prompt: RenderedPrompt, request: Request) -> None:
        self.threads.add(threading.get_ident())
        if request.text == "impossible":
            raise EngineError("no such thing")
        self.left[number] = prompt.max_tokens

    def abort(self, numbers: list[int]) -> None:
        for number in numbers:
            self.left.pop(number, None)
            self.aborted.append(number)

    def step(self) -> list[tuple[int, Completion]]:
        self.threads.add(threading.get_ident())
        time.sleep(self.step_s)
        if self.broken is not None:
            raise self.broken
        self.largest_batch = max(self.largest_batch, len(self.left))
        self.left = {number: left - 1 for number, left in self.left.items()}
        done = [number for number, left in self.left.items() if left <= 0]
        for number in done:
            del self.left[number]
        answer = Completion(text="ok", finish_reason="stop", prompt_tokens=1, completion_tokens=1)
        return [(number, answer) for number in done]

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        time.sleep(0.1)
        self.closed = True
        if self.broken is not None:
            raise RuntimeError("freeing a broken model fails too")


def ask(text: str = "a", steps: int = 3) -> Request:
    return Request(text=text, sampling=Sampling(max_tokens=steps))


def test_requests_share_steps_in_one_thread_that_is_not_the_loops() -> None:
    async def run() -> CountingModel:
        model = CountingModel()
        thread = EngineThread(lambda: model, "test")
        await thread.start()
        answers = await asyncio.gather(*[thread.answer(ask(steps=30)) for _ in range(40)])
        assert all(answer.text == "ok" for answer in answers)
        await thread.close()
        return model

    model = asyncio.run(run())
    assert model.largest_batch > 1
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads
    assert model.closed


def test_a_refused_request_never_reaches_the_model_and_an_impossible_one_harms_no_other() -> None:
    async def run() -> None:
        model = CountingModel()
        thread = EngineThread(lambda: model, "test")
        await thread.start()
        good = asyncio.create_task(thread.answer(ask(steps=50)))
        with pytest.raises(RequestRefused) as refused:
            await thread.answer(ask("one two three four five six seven"))
        assert (refused.value.score, refused.value.threshold) == (7, 6)
        assert len(model.left) <= 1
        with pytest.raises(EngineError, match="no such thing"):
            await thread.answer(ask("impossible"))
        assert (await good).text == "ok"
        await thread.close()

    asyncio.run(run())


@pytest.mark.parametrize("error", [RuntimeError("CPU Generator does not use offset"), SystemExit("worker gone")])
def test_a_death_ends_all_in_flight_and_a_start_makes_a_new_model(error: BaseException) -> None:
    models: list[CountingModel] = []

    def build() -> CountingModel:
        assert all(model.closed for model in models), "the old model is freed before the new one is built"
        models.append(CountingModel())
        return models[-1]

    async def run() -> None:
        thread = EngineThread(build, "test")
        await thread.start()
        tasks = [asyncio.create_task(thread.answer(ask(steps=10**6))) for _ in range(5)]
        await asyncio.sleep(0.05)
        models[0].broken = error
        deaths = await asyncio.gather(*tasks, return_exceptions=True)
        expected = f"{type(error).__name__}: {error}"
        assert all(isinstance(death, EngineDied) and expected in str(death) for death in deaths)
        assert all("in step" in death.__notes__[0] and death.__cause__ is None for death in deaths), "where it broke"
        with pytest.raises(EngineDied, match=type(error).__name__) as later:
            await thread.answer(ask())
        assert "in step" in later.value.__notes__[0]
        await thread.start()
        assert (await thread.answer(ask())).text == "ok"
        await thread.close()

    asyncio.run(run())
    assert len(models) == 2


def test_a_model_that_does_not_load_is_an_engine_error_and_a_second_start_may_succeed() -> None:
    failures = [ValueError("weights are missing\nsecond line")]

    def build() -> CountingModel:
        if failures:
            raise failures.pop()
        return CountingModel()

    async def run() -> None:
        thread = EngineThread(build, "test")
        with pytest.raises(EngineError, match="not started"):
            await thread.answer(ask())
        with pytest.raises(EngineError) as caught:
            await thread.start()
        assert str(caught.value) == "engine test cannot start: ValueError: weights are missing."
        assert "in build" in caught.value.__notes__[0]
        await thread.start()
        assert (await thread.answer(ask())).text == "ok"
        await thread.close()

    asyncio.run(run())


def test_a_cancelled_request_is_forgotten_by_the_model() -> None:
    async def run() -> None:
        model = CountingModel()
        thread = EngineThread(lambda: model, "test")
        await thread.start()
        task = asyncio.create_task(thread.answer(ask(steps=10**6)))
        await asyncio.sleep(0.05)
        assert model.busy
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert not model.busy
        assert len(model.aborted) == 1
        assert (await thread.answer(ask())).text == "ok"
        await thread.close()

    asyncio.run(run())


def test_a_request_cancelled_as_it_is_answered_troubles_nobody() -> None:
    async def run() -> list[object]:
        troubles: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        thread = EngineThread(CountingModel, "test")
        await thread.start()
        task = asyncio.create_task(thread.answer(ask(steps=1)))
        await asyncio.sleep(0)
        time.sleep(0.1)  # the answer is on its way to the loop, which is held here
        task.cancel()
        await asyncio.sleep(0.05)
        assert task.cancelled()
        await thread.close()
        return troubles

    assert asyncio.run(run()) == []


def test_closing_ends_the_thread_and_what_is_in_flight() -> None:
    async def run() -> None:
        model = CountingModel()
        thread = EngineThread(lambda: model, "test")
        await thread.start()
        task = asyncio.create_task(thread.answer(ask(steps=10**6)))
        await asyncio.sleep(0.02)
        await thread.close()
        with pytest.raises(EngineDied, match="closed"):
            await task
        with pytest.raises(EngineDied, match="closed"):
            await thread.answer(ask())
        await thread.close()

    before = threading.active_count()
    asyncio.run(run())
    assert threading.active_count() == before


def test_one_model_serves_one_loop_after_another_and_survives_a_loop_that_is_gone() -> None:
    model = CountingModel()
    thread = EngineThread(lambda: model, "test")
    asyncio.run(thread.start())  # type: ignore[arg-type]

    async def leave() -> None:
        asyncio.get_running_loop().create_task(thread.answer(ask(steps=20)))
        await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert asyncio.run(thread.answer(ask())).text == "ok"
    asyncio.run(thread.close())


def test_a_step_costs_the_loop_one_call_however_many_requests_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        thread = EngineThread(lambda: CountingModel(step_s=0.05), "test")
        await thread.start()
        loop, calls = asyncio.get_running_loop(), []
        threadsafe = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a, **k: (calls.append(a), threadsafe(*a, **k))[1])
        await asyncio.gather(*[thread.answer(ask(steps=3)) for _ in range(50)])
        await thread.close()
        return len([call for call in calls if getattr(call[0], "__name__", "") == "_resolve"])

    assert asyncio.run(run()) <= 3
