"""What a run may spend, counted over the whole life of its directory.

A budget is spent when the journal's completions have used it up; from then on every request that the
journal cannot answer is refused with reason `budget_spent`. A run that ends so leaves a mark in the
journal: the same budget then stays spent, whatever was still in flight at the end, and the run replays
to the same dataset without asking anything. A larger budget goes on.
"""

from __future__ import annotations

import time

from factory.errors import RequestRefused
from factory.journal import Spent
from factory.recipe.schema import Budget
from factory.records import digest

LIMITS = ("requests", "tokens", "seconds", "gpu_hours", "money")


class Ledger:
    """Running totals against a budget; requests count when they are sent, tokens when they are answered.

    Attributes:
        refused: Whether a request has been refused because the budget is spent.

    Args:
        budget: The recipe's.
        spent: What the journal's completions have cost.
        seconds: What earlier sessions on this directory have taken.
        gpus: Devices that the engine holds.
        mark: `mark` of the budget that ended an earlier session, if one did.
    """

    def __init__(self, budget: Budget, spent: Spent, seconds: float, gpus: int, mark: str | None = None) -> None:
        """Begin from what earlier sessions on this directory have spent."""
        self.budget = budget
        self.gpus = gpus
        self._stopped = mark is not None and mark == self.mark
        self.refused = False
        self.requests = spent.requests
        self.prompt_tokens = spent.prompt_tokens
        self.completion_tokens = spent.completion_tokens
        self._limited = any(getattr(budget, name) is not None for name in LIMITS)
        self._earlier_seconds = seconds
        self._began: float | None = None

    def start_clock(self) -> None:
        """Time counts from the first request of a session that the journal could not answer."""
        if self._began is None:
            self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds with an engine at work, all sessions together."""
        return self._earlier_seconds + (time.monotonic() - self._began if self._began is not None else 0.0)

    @property
    def money(self) -> float:
        """Cost at the recipe's prices; 0 where it gives none."""
        prices = self.budget.prices
        if prices is None:
            return 0.0
        return (self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion) / 1_000_000

    @property
    def mark(self) -> str:
        """Names this budget; what it has been spent on plays no part."""
        return digest("budget", self.budget.model_dump(mode="json"), self.gpus)

    def reserve(self) -> None:
        """Count one request about to be sent.

        Raises:
            RequestRefused: With reason `budget_spent`, if there is nothing left.
        """
        if self._limited:
            name, used, limit = max(self._limits(), key=lambda one: one[1] / one[2])
            if self._stopped or used >= limit:
                self.refused = True
                raise RequestRefused("budget_spent", f"budget.{name} of {limit:g} is spent.", used, limit)
        self.requests += 1

    def refund(self) -> None:
        """Take back a request that was never answered."""
        self.requests -= 1

    def charge(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count the tokens of an answer."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def _limits(self) -> list[tuple[str, float, float]]:
        """Name, use and limit of everything that the budget limits."""
        budget = self.budget
        used = {
            "requests": self.requests,
            "tokens": self.prompt_tokens + self.completion_tokens,
            "seconds": self.seconds,
            "gpu_hours": self.seconds / 3600 * self.gpus,
            "money": self.money,
        }
        return [(name, used[name], limit) for name in used if (limit := getattr(budget, name)) is not None]

    def share(self) -> float | None:
        """Largest used share of any limit, in [0, 1]; None without a budget."""
        return min(1.0, max(used / limit for _, used, limit in self._limits())) if self._limited else None
