"""How long texts are, in characters and in words, column by column: kept rows beside rejected ones."""

from __future__ import annotations

from statistics import median

from factory.reporting.charts.histogram import histogram
from factory.reporting.gather.rows import Seen
from factory.reporting.gather.run import Run
from factory.reporting.markup import KEPT_AND_REJECTED, details, figure, grid, legend, paragraph, table, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Lengths"
ORDER = 60
MOST_COLUMNS = 6
NO_TEXTS = ("instruction_id", "parent_id", "ground_id", "source_id", "id")
FEWEST_WORDS = 1.2


def build(run: Run) -> Panel | LeftOut:
    """Histograms of words, and of characters on demand."""
    columns = _columns(run)
    if not columns:
        return LeftOut("No column of this run holds texts of more than a word.")
    words: list[str] = []
    chars: list[str] = []
    rows: list[tuple[object, ...]] = []
    for name in columns:
        kept, rejected = _of(run.kept, name), _of(run.rejected, name)
        for unit, at, figures in (("words", 1, words), ("characters", 0, chars)):
            sets = {"kept": [each[at] for each in kept], "rejected": [each[at] for each in rejected]}
            figures.append(figure(histogram(sets, f"{unit} of {name}"), _told(sets, unit), name))
            rows += [
                (name, unit, key, len(values), median(values), max(values)) for key, values in sets.items() if values
            ]
    heads = ("column", "unit", "rows", "texts", "median", "longest")
    html = [
        legend(KEPT_AND_REJECTED if run.rejected else KEPT_AND_REJECTED[:1]),
        grid(words),
        details("Characters", grid(chars)),
        details("The same as a table", table(heads, rows, "Lengths by column")),
        paragraph("Words are what white space parts.", kind="soft"),
        paragraph(run.sampled, kind="soft"),
    ]
    return Panel("".join(html))


def _columns(run: Run) -> list[str]:
    """Columns of the dataset that hold texts; ids and one-word values are none."""
    total: dict[str, list[int]] = {}
    for row in run.kept[:2000] or run.rejected[:2000]:
        for name, (_, words) in row.lengths.items():
            total.setdefault(name, []).append(words)
    told = [name for name, found in total.items() if name not in NO_TEXTS and sum(found) >= FEWEST_WORDS * len(found)]
    return told[:MOST_COLUMNS]


def _of(rows: list[Seen], name: str) -> list[tuple[int, int]]:
    return [row.lengths[name] for row in rows if name in row.lengths and row.lengths[name][0]]


def _told(sets: dict[str, list[int]], unit: str) -> str:
    parts = [
        f"{text(float(median(values)))} in {len(values):,} {name} {'text' if len(values) == 1 else 'texts'}"
        for name, values in sets.items()
        if values
    ]
    return f"Median {unit}: {', '.join(parts)}."
