"""Ctrl-C and SIGTERM: what has been judged until then is kept.

While a chunk is being judged and written the first signal waits for its end; a second one ends the process at once.
One that comes while the result is moved into place comes too late: there is nothing left to go on with.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether a signal has come, and whether it has to wait."""

    def __init__(self) -> None:
        """No signal yet."""
        self._waits = False
        self._asked = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until the end of this block.

        Raises:
            KeyboardInterrupt: At the end, if one came.
        """
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        if self._asked:
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Let the first signal wait from now on, without an end."""
        self._waits = True

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """A signal has come."""
        if self._waits and not self._asked:
            self._asked = True
            return
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Let both signals interrupt, where this is the main thread and they are not ignored."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop.signalled)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
