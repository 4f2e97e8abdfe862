"""One thread that owns a model and steps it, between an asyncio loop and a library that blocks.

    loop:    answer() -> inbox ─┐                       ┌─> futures
    thread:                     └─> add, step, step, … ─┘   (one call into the loop for each step)

New requests are taken in between two steps, so no request waits for a batch to end and the model is
never idle while there is work. Whatever ends the thread ends every request in flight with `EngineDied`;
`start` then builds a new model in the same process, after the old one has been freed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import itertools
import queue
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Future as ThreadFuture
from typing import NamedTuple, Protocol

from factory.engines.model_source import first_line
from factory.engines.prompting import PromptRenderer, RenderedPrompt
from factory.engines.protocol import Completion, Request
from factory.errors import EngineDied, EngineError, FactoryError

REFILL_S = 0.005
REFILL_SHARE = 0.01
Outcome = Completion | FactoryError
Settled = list[tuple["asyncio.Future[Completion]", Outcome]]


class Stepper(Protocol):
    """A loaded model with its requests; after it was built, one thread alone calls it."""

    renderer: PromptRenderer

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""

    def add(self, number: int, prompt: RenderedPrompt, request: Request) -> None:
        """Take in one request.

        Raises:
            EngineError: If this request cannot be asked; the others go on.
        """

    def abort(self, numbers: list[int]) -> None:
        """Forget requests; numbers that are not known any more are ignored."""

    def step(self) -> list[tuple[int, Outcome]]:
        """Work a little, and give back what was finished."""

    def interrupt(self) -> None:
        """Called from another thread: let a long step end early."""

    def close(self) -> None:
        """Free the model."""


class _Job(NamedTuple):
    number: int
    prompt: RenderedPrompt
    request: Request


class _Abandoned(NamedTuple):
    number: int


class EngineThread:
    """Runs one stepper at a time in a thread of its own.

    Args:
        build: Loads the model; called in the thread.
        name: How messages call the engine, e.g. `vllm`.
        linger_s: Seconds to wait for company after a request ends an idle time.
    """

    def __init__(self, build: Callable[[], Stepper], name: str, linger_s: float = 0.0) -> None:
        """Nothing is loaded before `start`."""
        self._build = build
        self._name = name
        self._linger_s = linger_s
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[_Job | _Abandoned | None] = queue.SimpleQueue()
        self._waiting: dict[int, asyncio.Future[Completion]] = {}
        self._thread: threading.Thread | None = None
        self._stepper: Stepper | None = None
        self._death: str | None = None
        self._trace = ""  # of the error that ended the thread; as text, since frames would keep the model in memory

    async def start(self) -> Stepper:
        """Load the model and begin to step; gives back the running one if it is alive.

        Raises:
            EngineError: If it cannot be loaded.
        """
        if self._stepper is not None and self._death is None:
            return self._stepper
        await asyncio.to_thread(self._stop)
        self._inbox, self._death, self._trace = queue.SimpleQueue(), None, ""
        ready: ThreadFuture[Stepper] = ThreadFuture()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"factory-{self._name}", daemon=True)
        self._thread.start()
        # A daemon thread that is still inside native code when the interpreter ends can crash it.
        atexit.register(self._stop)
        self._stepper = await asyncio.shield(asyncio.wrap_future(ready))
        return self._stepper

    async def answer(self, request: Request) -> Completion:
        """Ask one request; if the caller is cancelled, the model forgets it.

        Raises:
            RequestRefused: If it does not fit the context.
            EngineDied: If the thread has ended, or ends before the answer is there.
            EngineError: If it cannot be asked at all.
        """
        if self._stepper is None:
            raise self._dead() if self._death else EngineError(f"engine {self._name}: not started; call start() first.")
        prompt = self._stepper.renderer.render(request)
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        with self._lock:
            if self._death is not None:
                raise self._dead()
            self._waiting[number] = future
            self._inbox.put(_Job(number, prompt, request))
        try:
            return await future
        except asyncio.CancelledError:
            self._inbox.put(_Abandoned(number))
            raise

    async def close(self) -> None:
        """End the thread and free the model; what is in flight is abandoned."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        thread, stepper = self._thread, self._stepper
        if thread is not None:
            self._inbox.put(None)
            if stepper is not None:
                stepper.interrupt()
            thread.join()
        self._thread = self._stepper = None
        atexit.unregister(self._stop)

    def _dead(self) -> EngineDied:
        return self._died(self._death or f"engine {self._name} was closed.")

    def _died(self, ending: str) -> EngineDied:
        """The error of a request, with where the thread broke as a note."""
        error = EngineDied(ending)
        if self._trace:
            error.add_note(self._trace)
        return error

    def _run(self, ready: ThreadFuture[Stepper]) -> None:
        """Body of the thread."""
        stepper: Stepper | None = None
        ending = f"engine {self._name} was closed."
        try:
            stepper = self._build()
            ready.set_result(stepper)
            self._serve(stepper)
        except BaseException as error:  # noqa: BLE001 whatever ends this thread must end its requests
            ending = self._fail(ready, error)
        finally:
            self._bury(ending)
            if stepper is not None:
                # A model that broke may break again while it is freed; the first error is the one to report.
                with contextlib.suppress(Exception):
                    stepper.close()
            stepper = self._stepper = None
            gc.collect()

    def _fail(self, ready: ThreadFuture[Stepper], error: BaseException) -> str:
        what = f"{type(error).__name__}: {first_line(error)}"
        self._trace = "".join(traceback.format_exception(error))
        if ready.done():
            return f"engine {self._name} stopped with {what}."
        known = error if isinstance(error, FactoryError) else EngineError(f"engine {self._name} cannot start: {what}.")
        if known is not error:
            known.add_note(self._trace)
        ready.set_exception(known)
        return str(known)

    def _serve(self, stepper: Stepper) -> None:
        while self._take_in(stepper):
            if stepper.busy:
                began = time.perf_counter()
                outcomes = stepper.step()
                if outcomes:
                    self._settle(outcomes)
                    # Let the loop send what takes the place of these, or their places stay empty for a step.
                    time.sleep(min(REFILL_S, REFILL_SHARE * (time.perf_counter() - began)))

    def _take_in(self, stepper: Stepper) -> bool:
        """Move what is in the inbox to the model; blocks while there is nothing to do. False ends the thread."""
        if not stepper.busy:
            if not self._accept(stepper, [self._inbox.get()]):
                return False
            if self._linger_s:
                time.sleep(self._linger_s)
        return self._accept(stepper, self._arrived())

    def _arrived(self) -> Iterable[_Job | _Abandoned | None]:
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._inbox.get_nowait()

    def _accept(self, stepper: Stepper, items: Iterable[_Job | _Abandoned | None]) -> bool:
        for item in items:
            if item is None:
                return False
            if isinstance(item, _Abandoned):
                self._forget(stepper, item.number)
                continue
            try:
                stepper.add(*item)
            except EngineError as error:
                self._settle([(item.number, error)])
        return True

    def _forget(self, stepper: Stepper, number: int) -> None:
        with self._lock:
            known = self._waiting.pop(number, None)
        if known is not None:
            stepper.abort([number])

    def _settle(self, outcomes: list[tuple[int, Outcome]]) -> None:
        """Hand outcomes to the loops that wait for them, with one call for each loop."""
        with self._lock:
            found = [(self._waiting.pop(number, None), outcome) for number, outcome in outcomes]
        groups: defaultdict[asyncio.AbstractEventLoop, Settled] = defaultdict(list)
        for future, outcome in found:
            if future is not None:
                groups[future.get_loop()].append((future, outcome))
        for loop, settled in groups.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, settled)

    def _bury(self, ending: str) -> None:
        """From here on every request, also those in flight, is answered with the reason of the end."""
        with self._lock:
            self._death = ending
            numbers = list(self._waiting)
        self._settle([(number, self._died(ending)) for number in numbers])


def _resolve(settled: Settled) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Completion):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
