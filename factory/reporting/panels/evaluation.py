"""Figures that `evaluate` steps have noted, as the run has them; nothing is measured for the page."""

from __future__ import annotations

from pathlib import Path

import msgspec

from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables.compare import TableEvaluation
from factory.evaluation.tables.metrics import METRICS
from factory.reporting.gather.run import Run
from factory.reporting.markup import details, paragraph, table, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Evaluation"
ORDER = 110
STEPS = ("evaluate", "evaluate_table")


def build(run: Run) -> Panel | LeftOut:
    """Notes of the steps, and the whole table of figures where one was written."""
    parts, noted = [], 0
    for step in run.steps:
        if step["method"] in STEPS and step["notes"]:
            noted += len(step["notes"])
            notes = "".join(f"<li>{text(note)}</li>" for note in step["notes"])
            parts.append(
                f"<h3>{text(step['step'])}</h3><ul>{notes}</ul>{_figures(run.path / 'artifacts' / step['step'])}"
            )
    if not parts:
        return LeftOut("No step has evaluated the rows; 'factory evaluate' does it at any time.")
    return Panel("".join(parts), {"notes": noted})


def _figures(folder: Path) -> str:
    """All figures of a table evaluation."""
    path = folder / "evaluation.json"
    if not path.is_file():
        return ""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=TableEvaluation)
    except msgspec.DecodeError as error:
        return paragraph(f"artifacts/{folder.name}/evaluation.json cannot be read ({error}).", kind="note")
    heads = ["figure", *(line.name for line in found.lines)]
    keys = [key for key in METRICS if any(key in line.figures for line in found.lines)]
    rows = [(METRICS[key].title, *(_shown(line.figures.get(key)) for line in found.lines)) for key in keys]
    told = table(heads, rows, "Figures with intervals of 95 %", sort=False)
    return details(f"All {len(keys)} figures of artifacts/{folder.name}/evaluation.json", told)


def _shown(value: Figure | None) -> str:
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
