"""How many requests may be with the engine at once, and which waits less.

`await limiter.acquire(priority)`: a lower priority value goes first, equal ones in order of asking.
Later stages of a method ask with a lower value, so that what was begun is finished first.
"""

from __future__ import annotations

import asyncio
import heapq


class Limiter:
    """A semaphore whose waiters are ordered."""

    def __init__(self, slots: int) -> None:
        """Begin with that many free slots."""
        self._free = slots
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0
        self.in_use = 0

    async def acquire(self, priority: int = 0) -> None:
        """Wait for a slot, which `release` gives back."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn(priority)
        self.in_use += 1

    def release(self) -> None:
        """Give a slot back to whoever waits with the lowest priority value."""
        self.in_use -= 1
        self._hand_on()

    async def _turn(self, priority: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (priority, self._count, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._hand_on()
            raise

    def _hand_on(self) -> None:
        while self._waiting:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1
