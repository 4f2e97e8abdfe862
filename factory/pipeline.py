"""Steps connected by bounded streams, all running at once.

Each step's generator runs in a task of its own and puts what it keeps into the next step's stream, so
the engine sees one continuous flow of requests from all steps. When a step has enough, the steps
before it are closed, and what they had made already is filed as `surplus`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

from factory.context import Context, Session, StepStats
from factory.context.flow import ALL_KEPT, not_needed, undisturbed
from factory.recipe import Recipe
from factory.records import Outcome, Record, Rejected, Unknown

T = TypeVar("T")
STREAM_RECORDS = 256
YIELD_EVERY = 512


class Sink(Protocol):
    """Where outcomes end up."""

    def keep(self, record: Record) -> None:
        """A record that passed every step."""

    def reject(self, step: str, rejected: Rejected) -> None:
        """A record that the step of that name turned away."""

    def pass_on(self, record: Record) -> None:
        """A record that one step hands to the next."""


class _Stream:
    """A bounded queue between two steps that its reader may abandon; counts what is read."""

    def __init__(self, reader: StepStats, *, ended: bool = False) -> None:
        self._queue: asyncio.Queue[Record | None] = asyncio.Queue(STREAM_RECORDS)
        self._reader = reader
        self._ended = ended
        self.abandoned = False

    async def put(self, record: Record) -> bool:
        """Hand a record on; False if nobody will read it."""
        if not self.abandoned:
            await self._queue.put(record)
        return not self.abandoned

    async def finish(self) -> None:
        """No more records will come."""
        if not self.abandoned:
            await self._queue.put(None)

    def abandon(self) -> list[Record]:
        """The reader has enough; returns what it did not read."""
        self.abandoned = True
        unread = []
        while not self._queue.empty():
            record = self._queue.get_nowait()
            if record is not None:
                unread.append(record)
        return unread

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Record:
        record = None if self._ended else await self._queue.get()
        if record is None:
            self._ended = True
            raise StopAsyncIteration
        self._reader.read += 1
        return record


class Pipeline:
    """One run of a recipe's steps."""

    def __init__(self, recipe: Recipe, session: Session, sink: Sink) -> None:
        """Connect the steps."""
        self._recipe = recipe
        self._session = session
        self._sink = sink
        counts = [session.stats[step.name] for step in recipe.steps]
        self._into = [_Stream(reader, ended=index == 0) for index, reader in enumerate(counts)]
        self._tasks: list[asyncio.Task[None]] = []
        self._closed: set[int] = set()
        self._ending = False
        self._wanted = _least(recipe.head.accept, session.limit)
        self.kept = 0

    async def run(self) -> None:
        """Run all steps to their end; the first error of any step ends all."""
        self._tasks = [asyncio.create_task(self._step(index)) for index in range(len(self._recipe.steps))]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
            for index, task in enumerate(self._tasks):
                if task.done() and not (task.cancelled() and index in self._closed):
                    task.result()
        finally:
            self._ending = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for step, rejected in self._session.left:
            self._reject(step, rejected)

    async def _step(self, index: int) -> None:
        step = self._recipe.steps[index]
        ctx = Context(self._session, step.name, step.piece.name, index)
        ctx.on_enough = partial(self._close_before, index)
        unfinished = True
        try:
            async with aclosing(step.module.run(self._into[index], ctx, step.options)) as outcomes:
                try:
                    await self._file_all(index, outcomes)
                except _Enough:
                    ctx.enough()
            self._session.stats[step.name].finished = True
            if index + 1 < len(self._into):
                await self._into[index + 1].finish()
            unfinished = False
        except asyncio.CancelledError as error:
            if self._ending or index in self._closed:
                unfinished = self._ending
                raise
            raise RuntimeError(
                f"step '{step.name}' was cancelled from inside; its answers are in the journal"
            ) from error
        finally:
            try:
                await undisturbed(ctx.close())
            finally:
                if not unfinished:
                    self._close_before(index)

    async def _file_all(self, index: int, outcomes: AsyncIterator[Outcome]) -> None:
        count = 0
        async for outcome in outcomes:
            await self._file(index, outcome)
            count += 1
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _file(self, index: int, outcome: Outcome) -> None:
        name = self._recipe.steps[index].name
        if isinstance(outcome, Unknown):
            self._foresee(index)
        elif isinstance(outcome, Rejected):
            self._reject(name, outcome)
        elif index + 1 < len(self._recipe.steps):
            await self._pass_on(index, outcome)
        else:
            self._keep(name, outcome)

    def _foresee(self, index: int) -> None:
        """While planning: a record that cannot be known yet, counted in this step and in all that follow."""
        enough = False
        for later in self._recipe.steps[index:]:
            stats = self._session.stats[later.name]
            stats.unknown += 1
            last = later is self._recipe.steps[-1]
            wanted = _least(getattr(later.options, "accept", None), self._wanted if last else None)
            if wanted is not None:
                self._session.exact = False
                stats.note(ALL_KEPT)
                enough = enough or stats.kept + stats.unknown >= wanted
        if enough:
            raise _Enough

    async def _pass_on(self, index: int, record: Record) -> None:
        name, reader = self._recipe.steps[index].name, self._recipe.steps[index + 1].name
        try:
            read = await self._into[index + 1].put(record)
        except asyncio.CancelledError:
            if index in self._closed and not self._ending:  # by its reader, which has enough
                self._reject(name, not_needed(self._session, reader, record))
            raise
        if not read:
            self._reject(name, not_needed(self._session, reader, record))
            raise _Enough
        self._session.stats[name].kept += 1
        self._sink.pass_on(record)

    def _keep(self, name: str, record: Record) -> None:
        if self._wanted is not None and self.kept >= self._wanted:
            self._reject(name, not_needed(self._session, name, record, self._wanted))
            raise _Enough
        self.kept += 1
        self._session.stats[name].kept += 1
        self._sink.keep(record)
        if self.kept == self._wanted:
            raise _Enough

    def _reject(self, name: str, rejected: Rejected) -> None:
        self._session.stats[name].rejected[f"{rejected.verdict.rule}: {rejected.verdict.reason}"] += 1
        self._sink.reject(name, rejected)

    def _close_before(self, index: int) -> None:
        """The step has ended: whatever comes before it has nothing left to do."""
        if index == 0 or index - 1 in self._closed:
            return
        name, reader = self._recipe.steps[index - 1].name, self._recipe.steps[index].name
        unread = self._into[index].abandon()
        for record in unread:
            self._session.stats[name].kept -= 1
            self._reject(name, not_needed(self._session, reader, record))
        self._closed.add(index - 1)
        self._tasks[index - 1].cancel()


class _Enough(Exception):
    """Raised inside a step's task when nobody needs more of it."""


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run in an event loop of its own; in a thread where this one has a loop already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def told() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    with ThreadPoolExecutor(1, "factory") as pool:
        ended = pool.submit(asyncio.run, told())
        try:
            return ended.result()
        except KeyboardInterrupt:
            loop, task = started.result()
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)
            return ended.result()
