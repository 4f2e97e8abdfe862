"""Whether tasks get harder from epoch to epoch: their lengths, and what a judge said of them."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from factory.reporting.charts.lines import boxes
from factory.reporting.gather.rows import Seen
from factory.reporting.gather.run import Run
from factory.reporting.markup import figure, grid, paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "Difficulty by epoch"
ORDER = 90
EPOCH, OPERATION = "epoch", "operation"
TEXTS = ("instruction", "output")


def build(run: Run) -> Panel | LeftOut:
    """A box for each epoch and measure, and the operations."""
    if not any(step["method"] == "evol_instruct" for step in run.steps):
        return LeftOut("No step of this run evolves tasks in epochs.")
    epochs: dict[int, list[Seen]] = defaultdict(list)
    for row in run.kept:
        if isinstance(row.fields.get(EPOCH), int):
            epochs[int(row.fields[EPOCH])].append(row)
    if not epochs:
        return LeftOut("No kept row tells its epoch.")
    ordered = sorted(epochs.items())
    figures = [
        _words(ordered, name) for name in TEXTS if any(name in row.lengths for _, rows in ordered for row in rows)
    ]
    figures += [_scores(ordered, column) for column in _judged(run)]
    failed = defaultdict(int, _count(run.rejected, EPOCH))
    told = sorted({*epochs, *(int(epoch) for epoch in failed if epoch.isdecimal())})
    heads = ("epoch", "kept", "rejected", "words of the task, mean", "words of the answer, mean")
    rows = [
        (str(epoch), len(epochs[epoch]), failed[str(epoch)], *(_mean(epochs[epoch], name) for name in TEXTS))
        for epoch in told
    ]
    kept, lost = _count(run.kept, OPERATION), _count(run.rejected, OPERATION)
    by_operation = [(name, kept.get(name, 0), lost.get(name, 0)) for name in sorted({*kept, *lost})]
    html = [
        grid(figures),
        table(heads, rows, "Rows by epoch; epoch 0 is the start set"),
        table(("operation", "kept", "rejected"), by_operation, "Evolutions by operation") if by_operation else "",
        paragraph("Boxes go from quartile to quartile, lines from the 5th to the 95th percentile.", kind="soft"),
        paragraph(
            "" if _judged(run) else "No judge step scored the rows, so that length stands in for difficulty.",
            kind="soft",
        ),
        paragraph(run.sampled, kind="soft"),
    ]
    return Panel("".join(html), {"epochs": {str(epoch): len(found) for epoch, found in ordered}})


def _judged(run: Run) -> list[str]:
    named = [str(run.options(step["step"]).get("column")) for step in run.steps if step["method"] == "judge"]
    return [name for name in named if any(isinstance(row.fields.get(name), int | float) for row in run.kept)]


def _words(epochs: list[tuple[int, list[Seen]]], name: str) -> str:
    groups = [(str(epoch), [row.lengths[name][1] for row in rows if name in row.lengths]) for epoch, rows in epochs]
    title = f"Words of {name} by epoch"
    return figure(boxes(groups, "epoch", "words", title=title), f"{title}, kept rows.", name)


def _scores(epochs: list[tuple[int, list[Seen]]], name: str) -> str:
    groups = [
        (str(epoch), [float(row.fields[name]) for row in rows if isinstance(row.fields.get(name), int | float)])
        for epoch, rows in epochs
    ]
    return figure(boxes(groups, "epoch", name, title=f"{name} by epoch"), f"{name}, as the judge gave it.", name)


def _mean(rows: list[Seen], name: str) -> float | None:
    told = [row.lengths[name][1] for row in rows if name in row.lengths]
    return round(fmean(told), 1) if told else None


def _count(rows: list[Seen], column: str) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.fields.get(column) is not None:
            found[str(row.fields[column])] += 1
    return dict(found)
