"""Something that takes long, made in a thread, so that the run goes on showing where it is and can be interrupted.

    await made(lambda say: train(texts, say), show)

`say("fold 2 of 5")` shows a sentence; where the run has been cancelled meanwhile, it ends the work instead.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Say = Callable[[str], None]
Make = Callable[[Say], bytes]


class Abandoned(Exception):
    """Nobody waits any more for what is being made."""


async def made(make: Make, show: Say) -> bytes:
    """What `make` returns; it raises what `make` raises."""
    abandoned = threading.Event()

    def say(sentence: str) -> None:
        if abandoned.is_set():
            raise Abandoned
        show(sentence)

    worker = ThreadPoolExecutor(1, "making")
    try:
        return await asyncio.get_running_loop().run_in_executor(worker, make, say)
    finally:
        abandoned.set()
        show("")
        worker.shutdown(wait=False)
