"""Progress of a filter on standard error: one live line in a terminal, a plain line now and then elsewhere.

00:12  rows 245,760  kept 240,112  rejected 5,648  21,300 rows/s  48%  ETA 00:13
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from factory.progress import LIVE_EVERY_S, PLAIN_EVERY_S, Speed, clock


class Meter:
    """Shows how far a filter is; nothing if it is not enabled."""

    def __init__(self, total: int | None, *, enabled: bool) -> None:
        """Nothing is shown yet; `total` is in the units of `Chunk.position`."""
        self._total = total
        self._enabled = enabled
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._every = LIVE_EVERY_S if sys.stderr.isatty() else PLAIN_EVERY_S
        self._began = self._shown = time.monotonic()
        self._rows, self._share = Speed(), Speed()
        self._rows.now(self._began, 0)
        self._share.now(self._began, 0.0)

    def __enter__(self) -> Meter:
        if self._enabled and sys.stderr.isatty():
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Show one sentence."""
        if self._enabled:
            self._console.print(Text(sentence, style="dim"))

    def update(self, position: int, read: int, kept: int, doing: str = "") -> None:
        """Show the state, if it is time to."""
        now = time.monotonic()
        if not self._enabled or now - self._shown < self._every:
            return
        self._shown = now
        line = self._line(now, position, read, kept) + (f"  {doing}" if doing else "")
        if self._live is not None:
            self._live.update(Text(line), refresh=True)
        else:
            self._console.print(Text(line))

    def _line(self, now: float, position: int, read: int, kept: int) -> str:
        parts = [clock(now - self._began), f"rows {read:,}", f"kept {kept:,}", f"rejected {read - kept:,}"]
        parts.append(f"{self._rows.now(now, read):,.0f} rows/s")
        if self._total:
            share = min(1.0, position / self._total)
            speed = self._share.now(now, share)
            parts += [f"{share:.0%}", f"ETA {clock((1.0 - share) / speed) if speed > 0 else '-'}"]
        return "  ".join(parts)
