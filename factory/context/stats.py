"""Counts of a run, by step: what the progress panel, the manifest and the funnel are made of.

Example: after a run `stats["self_instruct"].rejected["rouge_l: too_similar"]` is 41.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StageStats:
    """Requests of one stage of a step.

    Attributes:
        asked: Requests sent to the engine and answered in this session.
        reused: Requests answered by the journal.
        missing: Requests that planning found unanswered.
        missing_chars: Characters in their prompts.
        missing_max_tokens: Sum of their `max_tokens`.
        prompt_tokens: Of asked and reused requests together.
        completion_tokens: Of asked and reused requests together.
        new_completion_tokens: Of asked requests only.
    """

    asked: int = 0
    reused: int = 0
    missing: int = 0
    missing_chars: int = 0
    missing_max_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    new_completion_tokens: int = 0


@dataclass
class StepStats:
    """One step's counts.

    Attributes:
        read: Records taken in.
        kept: Records handed on.
        unknown: While planning: records that cannot be known yet.
        in_flight: Requests with the engine.
        target: How many the step is to accept, if it says so.
        counted: How many of them it has accepted.
        made: How many of them it has made, those that wait for their turn included.
        expected: Records that a source will emit, as far as it knows.
        done: Records that `each` has worked on to their end.
        finished: Whether the step has ended.
        rejected: Records turned away, by `rule: reason`.
        stages: Requests by kind.
        notes: Sentences for the user.
        doing: What the step does now where that takes long and asks nothing.
        trained: The model that the step has trained itself and drawn rows from, in words; empty for all others.
        privacy: What the step claims of the privacy of its rows: a `factory.privacy.claim.Claim` as plain data; None for
            a step that is not differentially private, and before it has ended.
        unread: Whether a step that may read private rows has read none of them, so that it has nothing to claim.
    """

    read: int = 0
    kept: int = 0
    unknown: int = 0
    in_flight: int = 0
    target: int | None = None
    counted: int = 0
    made: int = 0
    expected: int | None = None
    done: int = 0
    finished: bool = False
    rejected: Counter[str] = field(default_factory=Counter)
    stages: dict[str, StageStats] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doing: str = ""
    trained: str = ""
    privacy: dict[str, Any] | None = None
    unread: bool = False

    def stage(self, name: str) -> StageStats:
        """The stage of that name, made when first asked for."""
        found = self.stages.get(name)
        if found is None:
            found = self.stages[name] = StageStats()
        return found

    def note(self, sentence: str) -> None:
        """Keep a sentence for the user, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def total(self, what: str) -> int:
        """Sum of one attribute over all stages."""
        return sum(getattr(stage, what) for stage in self.stages.values())


class Stats:
    """All steps in recipe order."""

    def __init__(self, steps: list[str]) -> None:
        """Begin at zero for each step."""
        self.steps = {name: StepStats() for name in steps}

    def __getitem__(self, step: str) -> StepStats:
        """Counts of one step."""
        return self.steps[step]

    def total(self, what: str) -> int:
        """Sum of one stage attribute over all steps."""
        return sum(step.total(what) for step in self.steps.values())
