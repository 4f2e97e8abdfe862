"""What a step is handed: the only door to a model, and the ways to run many requests in order."""

from factory.context.context import Answer, Context
from factory.context.flow import each
from factory.context.session import Session, Unmade
from factory.context.stats import StageStats, Stats, StepStats

__all__ = ["Answer", "Context", "Session", "StageStats", "Stats", "StepStats", "Unmade", "each"]
