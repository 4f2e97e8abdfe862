"""What `factory evaluate` prints of tables: small tables that fit 100 columns, one line a set and reference.

rows                 n  ROC AUC               detection AUC         closer to train       attack AUC
---------------  -----  --------------------  --------------------  --------------------  --------------------
great            2,000  0.881 [0.872, 0.890]  0.561 [0.543, 0.579]  0.534 [0.512, 0.556]  0.512 [0.494, 0.530]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables.compare import VALIDITY, Line, TableEvaluation
from factory.evaluation.tables.efficiency import MODELS
from factory.evaluation.tables.metrics import METRICS
from factory.terminal.layout import fill

WIDTH: Final = 100
NAME: Final = 22
FAULTS: Final = 3
INTERVALS: Final = "in brackets: intervals of 95 % over seeds and tested rows; 'real, same n': real rows in their place"
_MODELS: Final = {"linear": "linear", "forest": "forest", "boosting": "boosting"}
_TABLES: Final = (
    ("can a classifier tell them from real rows, are they too close to training rows? (0.5 is best)", (
        ("detection_auc", "detection AUC"), ("closer", "closer to train"), ("attack", "attack AUC"))),
    ("copies, and median distance to the closest training and held-out row", (
        ("copies", "copies"), ("dcr", "to training rows"), ("dcr_holdout", "to held-out rows"))),
    ("columns and pairs (say little: compare with shuffled columns), dependencies", (
        ("shape", "column shapes"), ("pair", "pair trends"), ("violations", "violations"))),
    ("rows such as the table may hold", (
        ("valid", "valid"), ("readable", "readable"), ("in_domain", "in domain"))),
)  # fmt: skip


def table_evaluation_text(result: TableEvaluation) -> str:
    """Every table that has something to show, then faults and notes."""
    parts = [
        *(_efficiency(result, measure) for measure in ("auc", "minority_recall", "r2")),
        *(_table(result, title, columns) for title, columns in _TABLES),
        _faults(result),
        fill(INTERVALS),
        "\n".join(fill(f"note: {note}") for note in result.notes),
    ]
    # What stands in a table must not steer a terminal.
    shown = "\n\n".join(part for part in parts if part)
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in shown)


def _efficiency(result: TableEvaluation, measure: str) -> str:
    title = METRICS[f"{MODELS[0]}.{measure}"].title.split(",")[0]
    rarest = f" of '{result.rarest}'" if measure == "minority_recall" else ""
    columns = [(f"{model}.{measure}", _MODELS[model]) for model in MODELS]
    told = (
        f"{title}{rarest} of models trained on the rows, tested on {result.test:,} real rows (target: {result.target})"
    )
    return _table(result, told, columns)


def _table(result: TableEvaluation, title: str, columns: Sequence[tuple[str, str]]) -> str:
    """A table of some figures; empty where no line has one of them."""
    lines = [line for line in result.lines if any(key in line.figures for key, _ in columns)]
    if not lines:
        return ""
    rows = [
        (_clipped(line.name), f"{_counted(line, columns):,}", *(figure(line.figures.get(key)) for key, _ in columns))
        for line in lines
    ]
    return f"{title[:WIDTH]}\n{_laid_out(('rows', 'n', *(heading for _, heading in columns)), rows)}"


def _counted(line: Line, columns: Sequence[tuple[str, str]]) -> int:
    """Rows that figures rest on: validity counts all that there are."""
    return line.judged if columns[0][0] in VALIDITY else line.used


def _laid_out(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in [headings, *rows]) for at in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    aligned = (
        [
            cell.rjust(width) if at == 1 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def figure(value: Figure | None) -> str:
    """A figure with its interval.

    >>> figure(Figure(0.5, 0.25, 0.75)), figure(Figure(12345.6)), figure(None)
    ('0.500 [0.250, 0.750]', '1.23e+04', '-')
    """
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return _number(value.value)
    return f"{_number(value.value)} [{_number(value.low)}, {_number(value.high)}]"


def _number(value: float) -> str:
    told = f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"
    return "0.000" if told == "-0.000" else told


def _faults(result: TableEvaluation) -> str:
    lines = []
    for line in result.sets:
        faults = list((line.validity.faults if line.validity is not None else {}).items())
        told = [f"{name} ({count:,})" for name, count in faults[:FAULTS]]
        told += [f"{len(faults) - FAULTS} more kinds"] if len(faults) > FAULTS else []
        if told:
            lines.append(fill(f"{_clipped(line.name)}: {'; '.join(told)}"))
    known = (
        [fill(f"dependencies of the training rows: {'; '.join(result.dependencies)}")] if result.dependencies else []
    )
    return "\n".join([*(["faults", *lines] if lines else []), *known])


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= NAME else f"{line[: NAME - 1]}…"
