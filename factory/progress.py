"""Progress on standard error: a live table in a terminal, plain lines elsewhere.

self_instruct  asked 212  reused 40  kept 18/24  rejected 131  in flight 32 | 287 tok/s  00:41  ETA 00:14
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from factory.context import Session, StepStats

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 10.0
SPEED_OVER_S = 30.0


class Progress:
    """Reports on a session until it is stopped."""

    def __init__(self, name: str, *, enabled: bool) -> None:
        """Nothing is shown before `start`."""
        self._name = name
        self._enabled = enabled
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._began = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque()

    def say(self, sentence: str) -> None:
        """Show one sentence above the table."""
        if self._enabled:
            self._console.print(Text(sentence, style="dim"))

    def start(self, session: Session) -> None:
        """Begin to report."""
        self._session = session
        self._began = time.monotonic()
        if not self._enabled:
            return
        if sys.stderr.isatty():
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        self._task = asyncio.create_task(self._tick())

    def stop(self) -> None:
        """Show the last state and end."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._show()
        if self._live is not None:
            self._live.stop()
            self._live = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(LIVE_EVERY_S if self._live is not None else PLAIN_EVERY_S)
            self._show()

    def _show(self) -> None:
        if self._session is None:
            return
        speed, elapsed = self._speed(), time.monotonic() - self._began
        if self._live is not None:
            self._live.update(self._table(self._session, speed, elapsed), refresh=True)
            return
        for name, stats in self._session.stats.steps.items():
            target = f"/{stats.target:,}" if stats.target else ""
            kept = stats.counted if stats.target else stats.kept
            line = (
                f"{name}  asked {stats.total('asked'):,}  reused {stats.total('reused'):,}  kept {kept:,}{target}  "
                f"rejected {sum(stats.rejected.values()):,}  in flight {stats.in_flight}"
            )
            self._console.print(Text(f"{line} | {speed:,.0f} tok/s  {clock(elapsed)}  ETA {self._eta(stats, elapsed)}"))

    def _table(self, session: Session, speed: float, elapsed: float) -> Table:
        table = Table(title=f"{self._name}   {speed:,.0f} tok/s   {clock(elapsed)}", title_justify="left", box=None)
        for heading in ("step", "asked", "reused", "kept", "rejected", "in flight", "ETA"):
            table.add_column(heading, justify="left" if heading == "step" else "right")
        for name, stats in session.stats.steps.items():
            kept = f"{stats.counted:,}/{stats.target:,}" if stats.target else f"{stats.kept:,}"
            table.add_row(
                name,
                f"{stats.total('asked'):,}",
                f"{stats.total('reused'):,}",
                kept,
                f"{sum(stats.rejected.values()):,}",
                str(stats.in_flight),
                self._eta(stats, elapsed),
            )
        return table

    def _speed(self) -> float:
        """Tokens written per second over the last half minute."""
        if self._session is None:
            return 0.0
        now, tokens = time.monotonic(), self._session.stats.total("new_completion_tokens")
        self._samples.append((now, tokens))
        while len(self._samples) > 2 and now - self._samples[0][0] > SPEED_OVER_S:
            self._samples.popleft()
        first, before = self._samples[0]
        return (tokens - before) / (now - first) if now > first else 0.0

    def _eta(self, stats: StepStats, elapsed: float) -> str:
        if not stats.target or not stats.counted or self._session is None:
            share = self._session.ledger.share() if self._session is not None else None
            return f"{share:.0%} of budget" if share else "-"
        return clock(elapsed * max(0, stats.target - stats.counted) / stats.counted)


def clock(seconds: float) -> str:
    """Seconds as `mm:ss` or `h:mm:ss`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"
