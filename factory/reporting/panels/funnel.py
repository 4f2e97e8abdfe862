"""Where rows come from and where they go: the steps as a stream, with what each rejects."""

from __future__ import annotations

from factory.reporting.charts.sankey import Stage, sankey
from factory.reporting.gather.run import Run
from factory.reporting.markup import details, paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "Funnel"
ORDER = 20


def build(run: Run) -> Panel | LeftOut:
    """The stream, and the same numbers as a table."""
    if not run.steps:
        return LeftOut("The manifest tells of no step.")
    stages = [Stage(step["step"], step["read"], step["kept"], tuple(step["rejected"].items())) for step in run.steps]
    rows = [
        (step["step"], step["method"], _requests(step), stage.read, stage.kept, stage.turned_away)
        for step, stage in zip(run.steps, stages, strict=True)
    ]
    drawing = sankey(stages, run.manifest["rows"])
    html = [
        paragraph(
            "Each block is a step: as wide above as the records that it read, as wide below as those that it decided on. A step "
            "may make many records of one, or read some that only serve as examples."
        ),
        f'<div class="wide" tabindex="0" role="region" aria-label="Funnel">{drawing}</div>',
        details(
            "The same numbers as a table",
            table(("step", "method", "requests", "read", "kept", "rejected"), rows, "Records by step"),
        ),
    ]
    data = {
        "rows": run.manifest["rows"],
        "steps": [
            {"step": each.name, "read": each.read, "kept": each.kept, "rejected": dict(each.rejected)}
            for each in stages
        ],
    }
    return Panel("".join(html), data)


def _requests(step: dict[str, dict[str, dict[str, int]]]) -> int:
    return sum(stage["requests"] for stage in step["stages"].values())
