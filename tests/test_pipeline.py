"""Steps connected by streams: order, windows, acceptance, and no record without an account."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory.context import Context, Session, Stats, each
from factory.context.asker import EngineAsker
from factory.context.budget import Ledger
from factory.context.refusals import Refusals
from factory.engines.protocol import Completion, Request, Sampling
from factory.engines.scripted import ScriptedEngine
from factory.errors import EngineError, SourceError
from factory.journal import Journal, Spent
from factory.pipeline import Pipeline, run_to_end
from factory.prompts import load_prompt
from factory.recipe.load import Recipe, Step
from factory.recipe.pieces import Piece
from factory.recipe.schema import Head, StepOptions
from factory.records import Outcome, Provenance, Record, Rejected, derived_id, reject

from .small_runs import Model, prompt_file

Run = Callable[[AsyncIterator[Record], Context, StepOptions], AsyncIterator[Outcome]]
SAMPLING = Sampling(max_tokens=8)


class Sink:
    """Remembers every outcome in order."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.rejected: list[tuple[str, Rejected]] = []
        self.passed: list[Record] = []

    def keep(self, record: Record) -> None:
        self.kept.append(record)

    def reject(self, step: str, rejected: Rejected) -> None:
        self.rejected.append((step, rejected))

    def pass_on(self, record: Record) -> None:
        self.passed.append(record)

    def reasons(self, step: str) -> Counter[str]:
        return Counter(found.verdict.reason for name, found in self.rejected if name == step)


class Bench:
    """Steps written as functions, run over a scripted engine."""

    def __init__(self, folder: Path, steps: dict[str, Run], model: ScriptedEngine, **head: Any) -> None:
        self.engine = model
        self.sink = Sink()
        self.journal = Journal(folder / "journal.sqlite")
        limit = head.pop("limit", None)
        self.head = Head(name="bench", **head)
        asker = EngineAsker(lambda: model, lambda sentence: None)
        self.session = Session(
            asker=asker,
            journal=self.journal,
            ledger=Ledger(self.head.budget, Spent(), 0.0, 1),
            stats=Stats(list(steps)),
            model="fake@main",
            chat=True,
            refusals=Refusals(self.journal, self.head.engine),
            seed=1,
            max_in_flight=self.head.engine.max_in_flight,
            base=folder,
            limit=limit,
        )
        made = tuple(_step(name, run) for name, run in steps.items())
        self.recipe = Recipe(self.head, made, folder, "bench.yaml", "")

    def run(self, *, timeout_s: float = 20.0, cancel_after_s: float | None = None) -> Sink:
        """Run the pipeline, and make sure that it leaves nothing behind."""
        asyncio.run(self._run(timeout_s, cancel_after_s))
        return self.sink

    async def _run(self, timeout_s: float, cancel_after_s: float | None) -> None:
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        running = asyncio.create_task(Pipeline(self.recipe, self.session, self.sink).run())
        if cancel_after_s is not None:
            loop.call_later(cancel_after_s, running.cancel)
        try:
            await asyncio.wait_for(running, timeout_s)
        finally:
            gc.collect()
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not {task for task in left if "Replay._watch" not in repr(task)}, "tasks are left behind"
            assert not complaints
            assert self.session.limiter.in_use == 0
            assert not self.session.flying

    def accounts(self) -> None:
        """Every record that a step read is kept or rejected, and every kept one is read by the next step."""
        names = [step.name for step in self.recipe.steps]
        stats = self.session.stats
        for before, name in zip(names, names[1:], strict=False):
            assert stats[name].read == stats[before].kept, (before, name)
            assert stats[name].read == stats[name].kept + sum(stats[name].rejected.values()), name
        assert stats[names[-1]].kept == len(self.sink.kept)
        assert sum(sum(stats[name].rejected.values()) for name in names) == len(self.sink.rejected)
        ids = [found.record.id for _, found in self.sink.rejected] + [record.id for record in self.sink.kept]
        assert len(ids) == len(set(ids)), "a record has two verdicts"


def _step(name: str, run: Run) -> Step:
    module = ModuleType(name)
    module.run = run  # type: ignore[attr-defined]
    return Step(name, Piece(name, "method", name), module, StepOptions(), ())


def numbers(count: int, log: list[int] | None = None) -> Run:
    async def run(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        for number in range(count):
            if log is not None:
                log.append(number)
            yield Record(f"{number:020x}", {"text": f"row {number}"}, Provenance(step="source", method="numbers"))

    return run


def asking(
    folder: Path, *, window: int = 8, accept: int | None = None, keep: Callable[[str], bool] | None = None
) -> Run:
    """A step that asks about each record, by way of `each`, and passes it on under a new name."""
    prompt = load_prompt(prompt_file(folder / "ask.jinja", "text", "Summarise"))

    async def run(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        async def work(record: Record) -> list[Outcome]:
            answer = await ctx.complete(prompt, record.fields, draw=record.id, sampling=SAMPLING)
            made = ctx.derive(answer, 0, record.fields, parents=(record.id,))
            return [made if keep is None or keep(record.fields["text"]) else reject(made, "test", "unwanted")]

        async for outcome in each(ctx, records, work, window=window, accept=accept):
            yield outcome

    return run


def test_each_keeps_the_order_whatever_comes_back_first(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, {"rows": numbers(200), "ask": asking(tmp_path), "again": asking(tmp_path)}, Model(most_s=0.004)
    )
    sink = bench.run()
    assert [record.fields["text"] for record in sink.kept] == [f"row {number}" for number in range(200)]
    bench.accounts()


@pytest.mark.parametrize(("window", "slots"), [(1, 4), (5, 4), (12, 4), (30, 64)])
def test_no_more_records_are_open_than_the_window_and_no_more_requests_than_slots(
    window: int, slots: int, tmp_path: Path
) -> None:
    open_now: list[int] = []

    def counting(request: object) -> str:
        open_now.append(bench.session.stats["ask"].read - len(bench.sink.kept))
        return "answer"

    engine = Model(counting, most_s=0.003)
    bench = Bench(
        tmp_path,
        {"rows": numbers(150), "ask": asking(tmp_path, window=window)},
        engine,
        engine={"max_in_flight": slots},
    )
    bench.run()
    assert engine.most_in_flight == min(window, slots)
    assert max(open_now) <= window


def test_accept_is_exact_and_everything_beyond_is_filed(tmp_path: Path) -> None:
    engine = Model(most_s=0.003)
    steps = {
        "rows": numbers(400),
        "ask": asking(tmp_path, window=20, accept=50, keep=lambda text: not text.endswith("3")),
    }
    bench = Bench(tmp_path, steps, engine)
    sink = bench.run()
    kept = [f"row {number}" for number in range(400) if number % 10 != 3][:50]
    assert [record.fields["text"] for record in sink.kept] == kept
    assert sink.reasons("ask")["surplus"] >= 1
    assert engine.asked < 50 + 10 + 20, "no more was asked than the window allows"
    bench.accounts()


class LateTenth(Model):
    """Answers about the tenth row after two of those behind it, and about the twentieth never in time."""

    async def complete(self, request: Request) -> Completion:
        late = {"row 9": 0.1, "row 19": 2.0}
        await asyncio.sleep(next((wait for text, wait in late.items() if text in str(request.messages)), 0.0))
        return await super().complete(request)


def test_the_surplus_says_what_was_made_and_what_was_not(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        {"rows": numbers(90), "ask": asking(tmp_path, window=30, accept=10)},
        LateTenth(most_s=0.004),
        engine={"max_in_flight": 4},
    )
    sink = bench.run()
    surplus = [found for name, found in sink.rejected if name == "ask"]
    assert all((found.verdict.rule, found.verdict.threshold) == ("accept", 10.0) for found in surplus)
    answered = [found.record for found in surplus if found.record.provenance.requests]
    assert answered and len(answered) < len(surplus)
    assert all(bench.journal.get(record.provenance.requests[0]) is not None for record in answered)


@pytest.mark.parametrize("wanted", [1, 30, 199, 200, 500])
def test_a_recipe_accepts_exactly_and_accounts_for_the_rest(wanted: int, tmp_path: Path) -> None:
    steps = {"rows": numbers(200), "ask": asking(tmp_path), "again": asking(tmp_path)}
    bench = Bench(tmp_path, steps, Model(most_s=0.002), accept=wanted)
    sink = bench.run()
    assert [record.fields["text"] for record in sink.kept] == [f"row {number}" for number in range(min(wanted, 200))]
    bench.accounts()


def test_a_step_that_has_enough_closes_those_before_it(tmp_path: Path) -> None:
    log: list[int] = []
    closed = []
    inner = numbers(100_000, log)

    async def watched(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        try:
            async for outcome in inner(records, ctx, options):
                yield outcome
        finally:
            closed.append("rows")

    steps = {"rows": watched, "ask": asking(tmp_path), "again": asking(tmp_path, accept=5)}
    bench = Bench(tmp_path, steps, Model(most_s=0.002))
    sink = bench.run()
    assert (len(sink.kept), closed) == (5, ["rows"])
    assert len(log) < 2000
    bench.accounts()


def test_a_step_that_is_closed_cleans_up_before_the_run_ends(tmp_path: Path) -> None:
    cleaned = []

    async def slow_to_close(
        records: AsyncIterator[Record], ctx: Context, options: StepOptions
    ) -> AsyncIterator[Outcome]:
        try:
            async for record in records:
                yield record
        finally:
            await asyncio.sleep(0.02)
            cleaned.append(True)

    bench = Bench(tmp_path, {"rows": numbers(500), "slow": slow_to_close, "ask": asking(tmp_path, accept=3)}, Model())
    bench.run()
    assert cleaned == [True]
    bench.accounts()


def test_a_rerun_of_a_run_that_had_enough_asks_nothing(tmp_path: Path) -> None:
    kept = []
    asked = []
    for latency in (0.004, 0.0, 0.002):
        steps = {
            "rows": numbers(300),
            "ask": asking(tmp_path, window=40),
            "again": asking(tmp_path, window=30, accept=25),
        }
        bench = Bench(tmp_path, steps, Model(most_s=latency))
        kept.append((bench.run()).kept)
        bench.journal.close()
        asked.append(bench.engine.asked)
    assert kept[0] == kept[1] == kept[2]
    assert asked[1:] == [0, 0]


async def failing(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
    async for record in records:
        if record.fields["text"] == "row 40":
            raise ZeroDivisionError("a bug in a step")
        yield record


async def waiting_for_ever(
    records: AsyncIterator[Record], ctx: Context, options: StepOptions
) -> AsyncIterator[Outcome]:
    async for record in records:
        await asyncio.Event().wait()
        yield record


@pytest.mark.parametrize("place", ["source", "middle", "last", "work"])
def test_a_bug_in_a_step_ends_the_run_with_its_traceback_and_keeps_the_answers(place: str, tmp_path: Path) -> None:
    async def failing_source(
        records: AsyncIterator[Record], ctx: Context, options: StepOptions
    ) -> AsyncIterator[Outcome]:
        async for outcome in numbers(600)(records, ctx, options):
            yield outcome
        raise ZeroDivisionError("a bug in a source")

    def careless(text: str) -> bool:
        return 1 / (int(text.split()[1]) - 40) != 0

    steps: dict[str, Run] = {"rows": failing_source if place == "source" else numbers(300)}
    steps["ask"] = asking(tmp_path, keep=careless if place == "work" else None)
    steps["middle"] = failing if place == "middle" else asking(tmp_path)
    steps["last"] = failing if place == "last" else asking(tmp_path)
    bench = Bench(tmp_path, steps, Model(most_s=0.002))
    with pytest.raises(ZeroDivisionError) as raised:
        bench.run()
    assert raised.traceback[-1].name in ("failing", "failing_source", "careless")
    bench.journal.flush()
    assert len(bench.journal.keys()) >= 1


def test_an_error_ends_steps_that_would_wait_for_ever(tmp_path: Path) -> None:
    async def broken(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        yield Record("0" * 20, {"text": "row"}, Provenance(step="rows", method="rows"))
        await asyncio.sleep(0.01)
        raise SourceError("rows.jsonl:7: not JSON.")

    bench = Bench(tmp_path, {"rows": broken, "wait": waiting_for_ever, "ask": asking(tmp_path)}, Model())
    with pytest.raises(SourceError, match="rows.jsonl:7"):
        bench.run(timeout_s=5)


def test_a_step_that_is_cancelled_from_inside_is_an_error_and_not_an_early_end(tmp_path: Path) -> None:
    async def cancelling(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        yield Record("0" * 20, {"text": "row"}, Provenance(step="rows", method="rows"))
        lost = asyncio.ensure_future(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(lost.cancel)
        await lost

    bench = Bench(tmp_path, {"rows": cancelling, "ask": asking(tmp_path)}, Model())
    with pytest.raises(RuntimeError, match="step 'rows' was cancelled from inside"):
        bench.run(timeout_s=5)


def test_an_engine_error_is_raised_once_for_all_that_waits(tmp_path: Path) -> None:
    def broken(request: object) -> str:
        raise EngineError("the key is wrong.")

    bench = Bench(tmp_path, {"rows": numbers(100), "ask": asking(tmp_path)}, Model(broken))
    with pytest.raises(EngineError, match="the key is wrong"):
        bench.run()


def test_a_cancelled_run_leaves_nothing_behind(tmp_path: Path) -> None:
    for after_s in (0.0, 0.003, 0.01, 0.02, 0.05):
        bench = Bench(
            tmp_path, {"rows": numbers(500), "ask": asking(tmp_path), "again": asking(tmp_path)}, Model(most_s=0.005)
        )
        with pytest.raises(asyncio.CancelledError):
            bench.run(cancel_after_s=after_s)
        bench.journal.close()


def test_outcomes_flow_through_many_kinds_of_steps_without_loss(tmp_path: Path) -> None:
    async def doubling(records: AsyncIterator[Record], ctx: Context, options: StepOptions) -> AsyncIterator[Outcome]:
        async for record in records:
            yield Record(derived_id("twin", record.id, 0), record.fields, record.provenance)

    steps = {
        "rows": numbers(1000),
        "ask": asking(tmp_path, keep=lambda text: "7" not in text),
        "double": doubling,
        "again": asking(tmp_path, accept=300),
    }
    bench = Bench(tmp_path, steps, Model())
    sink = bench.run()
    assert len(sink.kept) == 300
    bench.accounts()
    assert len(sink.passed) >= 600


def test_a_run_works_where_an_event_loop_is_running_already(tmp_path: Path) -> None:
    async def value() -> int:
        return 7

    async def fail() -> int:
        raise ZeroDivisionError

    async def cell() -> int:
        with pytest.raises(ZeroDivisionError):
            run_to_end(fail())
        return run_to_end(value())

    assert run_to_end(value()) == asyncio.run(cell()) == 7


def test_the_interrupt_of_a_notebook_cancels_the_run_in_its_thread() -> None:
    cancelled = []

    async def long() -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            return "interrupted"
        return "done"

    async def cell() -> str:
        previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            return run_to_end(long())
        finally:
            signal.signal(signal.SIGALRM, previous)

    assert asyncio.run(cell()) == "interrupted"
    assert cancelled == [True]
