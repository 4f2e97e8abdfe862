"""Prompts that do not fit the model's context, remembered, so that a finished run need not start its engine again.

An engine finds out that a prompt is too long only once it is loaded. The journal keeps what it found,
under the context length that the recipe sets; with another one the engine is asked again, and so is a
server whose context length the recipe leaves open, because it may have been started anew with more.
"""

from __future__ import annotations

import msgspec

from factory.errors import RequestRefused
from factory.journal import Journal
from factory.recipe.schema import EngineOptions

TOO_LONG = "prompt_too_long"


class _Refusal(msgspec.Struct, frozen=True):
    message: str
    score: float | None
    threshold: float | None


class Refusals:
    """Refused requests by journal key."""

    def __init__(self, journal: Journal, engine: EngineOptions) -> None:
        """Read those that still hold for this engine."""
        served = engine.kind == "server" or bool(engine.urls)
        self._kept = engine.max_model_len is not None or not served
        self._prefix = f"{TOO_LONG}/{engine.max_model_len or 'own'}/"
        self._journal = journal
        self._known = journal.metas(self._prefix) if self._kept else {}

    def check(self, key: str) -> None:
        """Refuse a request that is known to be too long.

        Raises:
            RequestRefused: As the engine did.
        """
        found = self._known.get(self._prefix + key)
        if found is not None:
            refusal = msgspec.json.decode(found, type=_Refusal)
            raise RequestRefused(TOO_LONG, refusal.message, refusal.score, refusal.threshold)

    def remember(self, key: str, refused: RequestRefused) -> None:
        """Keep a refusal, if it is one that asking again would not change."""
        if self._kept and refused.reason == TOO_LONG:
            refusal = msgspec.json.encode(_Refusal(str(refused), refused.score, refused.threshold)).decode()
            self._journal.set_meta(self._prefix + key, refusal)
