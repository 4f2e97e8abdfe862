"""Stop rules on a share: how many of the last so many candidates were hits.

With `Share("acceptance_below", Rate(rate=0.02, over=1000))`, `fell(hit)` gives a sentence as soon as fewer than
20 of the last 1,000 candidates were hits, and None before.
"""

from __future__ import annotations

from collections import deque

from factory.recipe.schema import Rate


class Share:
    """Share of hits among the last so many candidates, watched against a rule; None watches nothing."""

    def __init__(self, name: str, rule: Rate | None) -> None:
        """Nothing has been counted."""
        self._name = name
        self._rule = rule
        self._recent: deque[bool] = deque()
        self._hits = 0

    def fell(self, hit: bool) -> str | None:
        """Count one candidate; a sentence if the share is now below the rule's."""
        if self._rule is None:
            return None
        self._recent.append(hit)
        self._hits += hit
        if len(self._recent) > self._rule.over:
            self._hits -= self._recent.popleft()
        share = self._hits / len(self._recent)
        if len(self._recent) < self._rule.over or share >= self._rule.rate:
            return None
        return (
            f"{self._name}: {share:.2%} of the last {self._rule.over:,} candidates, the recipe wants "
            f"{self._rule.rate:.2%}"
        )
