"""Many requests at once, results in order.

`each(ctx, records, work)` runs `work(record)` for many records together and yields what they came to,
record by record, in the order in which the records came. At most a window of records is open, so
memory is bounded and a straggler delays only what is behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from factory.context.context import NOT_REACHED, Context
from factory.context.session import NotYetKnown, Session
from factory.context.stats import StepStats
from factory.errors import RequestRefused
from factory.records import Outcome, Record, Rejected, Unknown, Verdict, reject

ALL_KEPT = "the plan assumes that every record not made yet is kept; each that is not means another request"
ENDINGS = {"budget_spent": "budget", NOT_REACHED: NOT_REACHED}  # reason of a verdict: what ended the step
Work = Callable[[Record], Awaitable[list[Outcome]]]
_Item = tuple[Record, "asyncio.Task[list[Outcome]]"]


def each(
    ctx: Context,
    records: AsyncIterator[Record],
    work: Work,
    *,
    window: int,
    accept: int | None = None,
) -> AsyncGenerator[Outcome, None]:
    """Run `work` over records, concurrently, and yield the outcomes in input order.

    A refused request rejects its record with the reason. `accept` kept records end the step; what had
    been read beyond is rejected with reason `surplus`. A spent budget ends it one window after the
    first record that was refused for it: all that an uninterrupted run may have started is started
    again on replay, so that both keep the same records. So does the end of what a run that is judged
    again had reached.

    Args:
        ctx: The step's context.
        records: What to work on.
        work: Makes outcomes of one record; called concurrently.
        window: Most records open at once.
        accept: Kept records after which the step ends.
    """
    stream = _each(ctx, records, work, window, accept)
    ctx.streams.append(stream)
    return stream


async def _each(
    ctx: Context, records: AsyncIterator[Record], work: Work, window: int, accept: int | None
) -> AsyncGenerator[Outcome, None]:
    width = ctx.lookahead(window)
    feeder = _Feeder(records, work, width, ctx.stats)
    kept = position = 0
    ready: deque[Outcome] = deque()
    ctx.stats.target = accept
    try:
        async for record, task in feeder:
            position += 1
            outcomes = await settle(ctx, record, task)
            feeder.taken()
            ready.extend(outcomes)
            if accept is not None and any(isinstance(outcome, Unknown) for outcome in outcomes):
                ctx.assume(ALL_KEPT)
            while ready and (accept is None or kept < accept):
                kept += isinstance(ready[0], Record | Unknown)
                ctx.stats.counted = kept
                yield ready.popleft()
            if accept is not None and kept >= accept:
                ctx.enough()
                return
            if (last := _last(outcomes)) is not None:
                feeder.stop_at(position - 1 + width)
                ctx.end(ENDINGS[last.reason], last.evidence or "")
            feeder.done_one()
        if accept is not None and kept < accept and not ctx.planning and ctx.session.limit is None:
            ctx.end("short", f"{accept:,} records were asked for; the {position:,} that came in gave only {kept:,}.")
    finally:
        feeder.cancel()
        await undisturbed(_leave_all(ctx, feeder, ready, accept))


async def _leave_all(ctx: Context, feeder: _Feeder, ready: deque[Outcome], accept: int | None) -> None:
    """File what the stream has taken in but not yielded."""
    ready.extend(await feeder.close())
    for outcome in ready:
        ctx.leave(not_needed(ctx.session, ctx.step, outcome, accept) if isinstance(outcome, Record) else outcome)


async def undisturbed(ending: Coroutine[Any, Any, None]) -> None:
    """Run something to its end also where the task around it is cancelled meanwhile; the cancellation comes after it.

    A step that has enough is closing down by itself when its reader, which has enough too, cancels it: what it
    holds must be filed all the same.
    """
    task = asyncio.ensure_future(ending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def surplus(record: Record, accept: int | None = None) -> Rejected:
    """A record that was made before it was known that enough had been accepted."""
    threshold = None if accept is None else float(accept)
    return reject(record, "accept", "surplus", threshold=threshold, evidence="enough records were accepted before it")


def not_needed(session: Session, step: str, record: Record, accept: int | None = None) -> Rejected:
    """A record that reached a step which has ended: it has enough, or there is no more that it may do."""
    reason, sentence = session.ended.get(step, ("", ""))
    if reason == "budget":
        return reject(record, "request", "budget_spent", evidence=sentence)
    if reason == NOT_REACHED:
        return reject(record, "refilter", NOT_REACHED, evidence=sentence)
    if session.limit is not None:
        return reject(record, "accept", "beyond_preview", threshold=session.limit, evidence="the preview has its rows")
    return surplus(record, accept)


async def settle(ctx: Context, record: Record, task: Awaitable[list[Outcome]]) -> list[Outcome]:
    """Outcomes of one record's work; refusals and unknown answers become outcomes too."""
    try:
        return ctx.settled(record, await task)
    except RequestRefused as refused:
        return [refusal(record, refused)]
    except NotYetKnown:
        return ctx.settled(record, [Unknown(record.id)])


def refusal(record: Record, refused: RequestRefused) -> Rejected:
    """A record whose request cannot be answered."""
    return reject(
        record, "request", refused.reason, score=refused.score, threshold=refused.threshold, evidence=str(refused)
    )


def _last(outcomes: list[Outcome]) -> Verdict | None:
    """The verdict that says that a step will do no more, if there is one."""
    for outcome in outcomes:
        if isinstance(outcome, Rejected) and outcome.verdict.reason in ENDINGS:
            return outcome.verdict
    return None


class _Feeder:
    """Starts work on records as places in the window become free, and hands the tasks out in order."""

    def __init__(self, records: AsyncIterator[Record], work: Work, window: int, stats: StepStats) -> None:
        self._stats = stats
        self._records = records
        self._work = work
        self._places = asyncio.Semaphore(window)
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._out: _Item | None = None
        self._waiting: list[_Item] = []
        self._unstarted: Record | None = None
        self._started = 0
        self._stop_at: int | None = None
        self._task = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        try:
            await self._places.acquire()
            async for record in self._records:
                if self._over:
                    self._unstarted = record
                    break
                task = asyncio.ensure_future(self._work(record))
                task.add_done_callback(self._count)
                self._queue.put_nowait((record, task))
                self._started += 1
                await self._places.acquire()
                if self._over:
                    break
        finally:
            self._queue.put_nowait(None)

    def _count(self, _: asyncio.Task[list[Outcome]]) -> None:
        self._stats.done += 1

    @property
    def _over(self) -> bool:
        return self._stop_at is not None and self._started >= self._stop_at

    def stop_at(self, count: int) -> None:
        """Start nothing beyond that many records."""
        if self._stop_at is None or count < self._stop_at:
            self._stop_at = count

    def __aiter__(self) -> _Feeder:
        return self

    async def __anext__(self) -> _Item:
        if self._over and self._queue.empty() and not self._task.done():
            self._task.cancel()
        item = await self._queue.get()
        if item is None:
            if self._task.done() and not self._task.cancelled():
                self._task.result()
            raise StopAsyncIteration
        self._out = item
        return item

    def taken(self) -> None:
        """The outcomes of the record handed out last are known."""
        self._out = None

    def done_one(self) -> None:
        """One record's outcomes have been dealt with; the next may start."""
        self._places.release()

    def cancel(self) -> None:
        """Start nothing more and cancel what is still running."""
        self._task.cancel()
        self._waiting = [] if self._out is None else [self._out]
        while not self._queue.empty():
            item = self._queue.get_nowait()
            self._waiting += [] if item is None else [item]
        for _, task in self._waiting:
            task.cancel()

    async def close(self) -> list[Outcome]:
        """After `cancel`: what is known of every record not taken, else the record itself."""
        await asyncio.gather(self._task, *(task for _, task in self._waiting), return_exceptions=True)
        left = [outcome for record, task in self._waiting for outcome in _known(record, task)]
        return left if self._unstarted is None else [*left, self._unstarted]


def _known(record: Record, task: asyncio.Task[list[Outcome]]) -> list[Outcome]:
    """What finished work came to; the record itself where it was cancelled or failed."""
    if task.cancelled():
        return [record]
    error = task.exception()
    if error is None:
        return task.result()
    return [refusal(record, error) if isinstance(error, RequestRefused) else record]
