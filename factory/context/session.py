"""What the steps of one run share, and what planning is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import msgspec

from factory.context.budget import Ledger
from factory.context.limiter import Limiter
from factory.context.refusals import Refusals
from factory.context.replay import Replay
from factory.context.stats import Stats
from factory.engines.protocol import Completion, Request
from factory.journal import Artifact, Journal
from factory.records import Record, Rejected


class NotYetKnown(Exception):
    """The answer is not in the journal, and nothing may be asked."""


class Asker(Protocol):
    """Whatever sends a request that the journal cannot answer."""

    async def ask(self, request: Request) -> Completion:
        """Send one request; raises as `Engine.complete` does."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a loop will ask beyond the point up to which planning is exact.

    Attributes:
        step: Step of the recipe.
        stage: Kind of request.
        low: Fewest requests to expect.
        high: Most requests to expect.
        basis: What the range was estimated from.
        prompt_chars: Characters of one such prompt; 0 where that is not known.
        max_tokens: Most tokens of one such answer; 0 where that is not known.
    """

    step: str
    stage: str
    low: int
    high: int
    basis: str
    prompt_chars: int = 0
    max_tokens: int = 0


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What planning counts, by a piece's hook `expects`, for a record that comes in but cannot be known yet.

    Attributes:
        requests: Fewest and most requests of each kind.
        rows: Most rows that it leads to.
    """

    requests: dict[str, tuple[int, int]]
    rows: int = 1


class Unmade(Protocol):
    """What is filed where a dataset is to be written, the journal lacks an answer, and nothing may be asked."""

    @property
    def told(self) -> str:
        """A sentence on the records that were filed so far; empty if none were."""

    def rejected(self, step: str, record: Record) -> Rejected:
        """The record that came into that step, as rejected; nothing else that was made of it there is filed."""

    def ended(self, step: str) -> str:
        """Why a step ends whose next requests depend on the answer."""


class Session:
    """What all steps of one run share.

    Attributes:
        asker: Sends requests; None while planning, and where nothing may be asked.
        unmade: What is filed instead where nothing may be asked; None while planning, and where one may ask.
        journal: Completions by key.
        ledger: The budget.
        stats: Counts by step.
        model: Model identity, part of every key.
        chat: Whether the model takes messages.
        seed: The recipe's seed.
        refusals: Requests that are known to be too long.
        base: Folder of the recipe, which its paths are relative to.
        files: Folder for files of the steps, in the run directory; None where there is none, as while planning.
        limit: Rows asked for in a preview, or None.
        touched: Keys that this session has used.
        ended: Steps that stopped short: reason and sentence.
        exact: Whether a plan rests on no assumption.
        left: Outcomes of steps that were closed before they could yield them.
        remembered: Records that no output holds but that lineage leads through.
        made: Artifacts by key that were made beside a journal which cannot be written.
    """

    def __init__(
        self,
        *,
        asker: Asker | None,
        journal: Journal,
        ledger: Ledger,
        stats: Stats,
        model: str,
        chat: bool,
        seed: int,
        refusals: Refusals,
        max_in_flight: int,
        base: Path,
        files: Path | None = None,
        limit: int | None = None,
        unmade: Unmade | None = None,
    ) -> None:
        """Share these among the steps."""
        self.asker = asker
        self.unmade = unmade
        self.journal = journal
        self.ledger = ledger
        self.stats = stats
        self.model = model
        self.chat = chat
        self.refusals = refusals
        self.seed = seed
        self.base = base
        self.files = files
        self.limit = limit
        self.max_in_flight = max_in_flight
        self.limiter = Limiter(max_in_flight)
        self.replay = Replay()
        self.touched: set[str] = set()
        self.remembered: dict[str, Record] = {}
        self.ended: dict[str, tuple[str, str]] = {}
        self.forecasts: list[Forecast] = []
        self.exact = True
        self.left: list[tuple[str, Rejected]] = []
        self.made: dict[str, Artifact] = {}
        self.flying: dict[str, asyncio.Future[Completion | None]] = {}
