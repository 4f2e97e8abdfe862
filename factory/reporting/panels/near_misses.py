"""Kept rows that a slightly stricter threshold would have turned away: scores that are known of kept rows."""

from __future__ import annotations

from factory.reporting.gather.novelty import nearest
from factory.reporting.gather.rows import NEAR
from factory.reporting.gather.run import Run
from factory.reporting.markup import paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "Kept by a small margin"
ORDER = 50
JUDGE = "judge"


def build(run: Run) -> Panel | LeftOut:
    """A table for each threshold."""
    parts = [*_by_novelty(run), *_by_judge(run)]
    if not parts:
        return LeftOut("No step with a threshold has scores of the rows that it kept.")
    head = "These texts passed, and are the next to go if the threshold is made stricter. Rejected ones next to it stand above, with their reason."
    return Panel(paragraph(head) + "".join(parts))


def _by_novelty(run: Run) -> list[str]:
    return [
        table(
            ("ROUGE-L", "threshold", each.field, "nearest text kept before it"),
            [(near.score, each.threshold, near.text[:400], near.neighbour[:400]) for near in each.closest],
            f"{each.step}: texts closest below the threshold",
            sort=False,
        )
        for each in nearest(run)
        if each.closest
    ]


def _by_judge(run: Run) -> list[str]:
    """Rows whose score lies next to the minimum or maximum of a judge."""
    parts = []
    for step in run.steps:
        options = run.options(step["step"])
        for limit in ("minimum", "maximum"):
            value, column = options.get(limit), options.get("column")
            if step["method"] != JUDGE or value is None or column is None:
                continue
            told = [(float(row.fields[column]), row) for row in run.kept if _number(row.fields.get(column))]
            told.sort(key=lambda each: (abs(each[0] - value), each[1].id))
            rows = [
                (score, float(value), str(row.fields.get(run.text_column) or row.id)[:400])
                for score, row in told[:NEAR]
            ]
            if rows:
                parts.append(
                    table((column, limit, "row"), rows, f"{step['step']}: kept rows closest to the {limit}", sort=False)
                )
    return parts


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
