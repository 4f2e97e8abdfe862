"""What the journal knows goes first.

A run begins by playing back what its journal holds. A request that it cannot answer waits until all
that it can answer has been played: only then does the run know whether the request is needed at all.
So a finished run that is run again asks nothing, also where it had stopped in the middle of its rows.
"""

from __future__ import annotations

import asyncio

QUIET_TURNS = 32  # turns of the event loop; an answer is a few turns away from the requests that follow from it


class Replay:
    """Holds back requests until the playback has come to rest; after that it holds nothing."""

    def __init__(self) -> None:
        """The playback begins."""
        self._over = False
        self._played = 0
        self._watcher: asyncio.Task[None] | None = None

    def progress(self) -> None:
        """Something was played back, or followed from it."""
        self._played += 1

    async def at_rest(self) -> None:
        """Wait until nothing more follows from what the journal holds."""
        if self._over:
            return
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        await asyncio.shield(self._watcher)

    async def _watch(self) -> None:
        quiet, seen = 0, self._played
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet, seen = (quiet + 1, seen) if seen == self._played else (0, self._played)
        self._over = True
