"""What judges said of the rows: how their scores are spread, and the rows at both ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from factory.reporting.charts.histogram import histogram
from factory.reporting.charts.svg import short
from factory.reporting.gather.rows import Seen
from factory.reporting.gather.run import Run
from factory.reporting.markup import KEPT_AND_REJECTED, figure, grid, legend, paragraph, table, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Scores"
ORDER = 55
ENDS = 3
CHARS = 200
COMBINED = "deita"


class Score(NamedTuple):
    """A column of scores, the ends of its scale, and the least or greatest that is kept."""

    step: str
    column: str
    scale: tuple[float, float]
    limit: float | None


def build(run: Run) -> Panel | LeftOut:
    """A histogram of each column of scores, and the rows at its ends."""
    told = [(score, _of(run.kept, score.column), _of(run.rejected, score.column)) for score in _scores(run)]
    told = [each for each in told if each[1] or each[2]]
    if not told:
        return LeftOut("No step of this run gives rows a score.")
    figures = [_figure(score, kept, rejected) for score, kept, rejected in told]
    rejected = any(each[2] for each in told)
    html = [
        legend(KEPT_AND_REJECTED if rejected else KEPT_AND_REJECTED[:1]),
        grid(figures),
        *(_ends(run, score, kept) for score, kept, _ in told if len(kept) >= 2 * ENDS),
        paragraph(run.sampled, kind="soft"),
    ]
    return Panel("".join(html), {score.column: {"kept": len(kept)} for score, kept, _ in told})


def _scores(run: Run) -> Iterator[Score]:
    for step in run.steps:
        options = run.options(step["step"])
        if step["method"] == "judge":
            low, high = options.get("scale", (1, 10))
            limit = options.get("minimum") if options.get("minimum") is not None else options.get("maximum")
            yield Score(step["step"], str(options.get("column", "difficulty")), (low, high), limit)
        elif step["method"] == "deita":
            limits = options.get("minimum") or {}
            columns = [*options.get("scores", ()), *([COMBINED] if options.get("evol_score") else [])]
            for column in columns:
                yield Score(step["step"], column, (1, 36 if column == COMBINED else 6), limits.get(column))


def _of(rows: list[Seen], column: str) -> list[tuple[float, Seen]]:
    """Rows with their score."""
    return [(score, row) for row in rows if (score := _number(row.fields.get(column))) is not None]


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def _figure(score: Score, kept: list[tuple[float, Seen]], rejected: list[tuple[float, Seen]]) -> str:
    sets = {"kept": [value for value, _ in kept], "rejected": [value for value, _ in rejected]}
    medians = [
        f"{text(float(median(values)))} in {len(values):,} {name} {'row' if len(values) == 1 else 'rows'}"
        for name, values in sets.items()
        if values
    ]
    drawn = histogram(sets, score.column, bounds=score.scale, line=None if score.limit is None else float(score.limit))
    low, high = score.scale
    return figure(drawn, f"{score.step}, from {low:g} to {high:g}. Median {', '.join(medians)}.", score.column)


def _ends(run: Run, score: Score, kept: list[tuple[float, Seen]]) -> str:
    ordered = sorted(kept, key=lambda each: (each[0], each[1].id))
    rows = [(value, _said(run, row)) for value, row in (*reversed(ordered[-ENDS:]), *reversed(ordered[:ENDS]))]
    return table((score.column, "row"), rows, f"Highest and lowest {score.column} among kept rows", sort=False)


def _said(run: Run, row: Seen) -> str:
    """What is judged: the text of the row, with its answer where there is one."""
    texts = [row.fields.get(name) for name in (run.text_column, "output")]
    return " → ".join(dict.fromkeys(short(str(each), CHARS) for each in texts if each)) or row.id
