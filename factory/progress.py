"""Progress on standard error: a live table in a terminal, plain lines elsewhere.

00:40  self_instruct  asked 104  reused 0  kept 18/24  rejected 31  in flight 32  287 tok/s  ETA 00:14
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
ETA_OVER_S = 180.0


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
        self._speeds: dict[str, Speed] = {}
        self._shares: dict[str, Speed] = {}
        self._shown: dict[str, str] = {}

    def say(self, sentence: str) -> None:
        """Show one sentence above the table."""
        if self._enabled:
            self._console.print(Text(sentence, style="dim"), soft_wrap=not self._console.is_terminal)

    def start(self, session: Session) -> None:
        """Begin to report."""
        self._session = session
        self._began = time.monotonic()
        self._speeds = {name: Speed() for name in session.stats.steps}
        self._shares = {name: Speed(ETA_OVER_S) for name in session.stats.steps}
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
        now = time.monotonic()
        rows = [self._row(name, stats, now) for name, stats in self._session.stats.steps.items()]
        passed = clock(now - self._began)
        if self._live is not None:
            self._live.update(self._table(rows, passed), refresh=True)
            return
        for name, asked, reused, kept, rejected, in_flight, speed, eta in rows:
            asks = asked != "0" or reused != "0" or in_flight != "0"
            doing = self._session.stats[name].doing
            line = f"{name}  asked {asked}  reused {reused}" if asks or not doing else name
            line += f"  kept {kept}  rejected {rejected}" + (f"  in flight {in_flight}" if asks or not doing else "")
            line += f"  {doing}" if doing else ""
            line += f"  {speed} tok/s  ETA {eta}" if asked != "0" or in_flight != "0" else ""
            if self._shown.get(name) != line or in_flight != "0":
                self._console.print(Text(f"{passed}  {line}"))
            self._shown[name] = line

    def _row(self, name: str, stats: StepStats, now: float) -> tuple[str, ...]:
        """Cells of one step, from its name to its ETA."""
        tokens = stats.total("new_completion_tokens")
        return (
            f"{name}: {stats.doing}" if stats.doing and self._live is not None else name,
            f"{stats.total('asked'):,}",
            f"{stats.total('reused'):,}",
            f"{stats.counted:,}/{stats.target:,}" if stats.target else f"{stats.kept:,}",
            f"{sum(stats.rejected.values()):,}",
            f"{stats.in_flight:,}",
            self._speed(name, now, tokens),
            self._eta(name, now),
        )

    def _speed(self, name: str, now: float, tokens: int) -> str:
        """Tokens written a second, from the first request on."""
        speed = self._speeds[name].now(now, tokens)
        return f"{speed:,.0f}" if speed else "-"

    def _table(self, rows: list[tuple[str, ...]], passed: str) -> Table:
        table = Table(title=f"{self._name}   {passed}", title_justify="left", box=None)
        for heading in ("step", "asked", "reused", "kept", "rejected", "in flight", "tok/s", "ETA"):
            table.add_column(heading, justify="left" if heading == "step" else "right")
        for row in rows:
            table.add_row(*row)
        return table

    def _eta(self, name: str, now: float) -> str:
        """Time until the step has done its work, at its speed of the last minutes; else the used budget."""
        if self._session is None:
            return "-"
        share = shares(self._session.stats.steps)[name]
        if share is not None and share >= 1.0:
            return "done"
        speed = self._shares[name].now(now, share) if share else 0.0
        if share is not None and speed > 0:
            return clock((1.0 - share) / speed)
        used = self._session.ledger.share()
        return f"{used:.0%} of budget" if used else "-"


class Speed:
    """How fast a number has grown over the last seconds.

    Args:
        over_s: Seconds looked back upon.
    """

    def __init__(self, over_s: float = SPEED_OVER_S) -> None:
        """Nothing is known yet."""
        self._over_s = over_s
        self._samples: deque[tuple[float, float]] = deque()

    def now(self, at: float, value: float) -> float:
        """Growth per second, with this value at this time."""
        self._samples.append((at, value))
        while len(self._samples) > 2 and at - self._samples[0][0] > self._over_s:
            self._samples.popleft()
        began, before = self._samples[0]
        return (value - before) / (at - began) if at > began else 0.0


def shares(steps: dict[str, StepStats]) -> dict[str, float | None]:
    """Share of its work that each step has done, in [0, 1]; None where that is not known yet."""
    found: dict[str, float | None] = {}
    coming: float | None = None
    for name, stats in steps.items():
        share = _share(stats, coming)
        found[name] = share
        if stats.finished:
            coming = float(stats.kept)
        elif stats.target:
            coming = float(stats.target)
        else:
            coming = stats.expected if stats.expected is not None else _scaled(stats, coming)
    return found


def _share(stats: StepStats, coming: float | None) -> float | None:
    if stats.finished:
        return 1.0
    if stats.target:
        return max(stats.counted, min(stats.made, stats.target - 1)) / stats.target
    if stats.expected is not None:
        return min(1.0, stats.kept / max(1, stats.expected))
    return min(1.0, _dealt_with(stats) / coming) if coming else None


def _dealt_with(stats: StepStats) -> int:
    return stats.done if stats.stages else stats.read


def _scaled(stats: StepStats, coming: float | None) -> float | None:
    """Records that a step will hand on, if it goes on as it began."""
    done = _dealt_with(stats)
    return coming * stats.kept / done if coming is not None and done else None


def clock(seconds: float) -> str:
    """Seconds as `mm:ss` or `h:mm:ss`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"
