"""Sentences that steps have left for whoever made the run."""

from __future__ import annotations

from factory.reporting.gather.run import Run
from factory.reporting.markup import text
from factory.reporting.panels import LeftOut, Panel
from factory.reporting.panels.evaluation import STEPS

TITLE = "Notes of the steps"
ORDER = 125


def build(run: Run) -> Panel | LeftOut:
    """Notes by step; those of evaluations stand there."""
    told = [(step["step"], step["notes"]) for step in run.steps if step["notes"] and step["method"] not in STEPS]
    if not told:
        return LeftOut("No step has left a note.")
    parts = [
        f"<h3>{text(name)}</h3><ul>{''.join(f'<li>{text(note)}</li>' for note in notes)}</ul>" for name, notes in told
    ]
    return Panel("".join(parts))
