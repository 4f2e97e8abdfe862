"""An evaluation as one HTML page that needs nothing else: no network, no scripts, drawings inside.

    page(evaluation, distributions(sets, train), "Adult, 2,000 rows")  ->  "<!doctype html>…"

Names of columns, sets and values are somebody else's words: all go through `html.escape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables.compare import REAL, Line, TableEvaluation
from factory.evaluation.tables.distributions import Distributions
from factory.evaluation.tables.efficiency import MODELS
from factory.evaluation.tables.metrics import METRICS, Metric
from factory.evaluation.tables.plots import Row, bars, dots, heat, marker, number, scale
from factory.evaluation.tables.style import COLOURS, SHEET

GENERATOR: Final = '<meta name="generator" content="factory evaluate">'
"""Stands near the beginning of every page."""
GROUPS: Final = {
    "efficiency": "Is a model trained on these rows good on real ones?",
    "detection": "Can a classifier tell them from real rows?",
    "shapes": "Are columns and pairs of columns alike?",
    "closeness": "Are they too close to the training rows?",
    "membership": "Do they give away who was trained on?",
    "validity": "Are the rows such as the table may hold?",
}
DIRECTIONS: Final = {
    "high": "higher is better",
    "low": "lower is better",
    "0.5": "0.5 is best",
    "1": "1 is best",
    "real": "best where real rows are",
    "context": "to be read beside another figure",
}
MODEL_NAMES: Final = ("linear model", "random forest", "gradient boosting")
FAULTS: Final = 8


def page(evaluation: TableEvaluation, distributions: Distributions | None, title: str) -> str:
    """The whole page.

    Args:
        evaluation: What was measured.
        distributions: Columns to draw; None leaves them out.
        title: Of the page.
    """
    parts = [
        _head(evaluation, title),
        *(_group(evaluation, name) for name in GROUPS),
        _columns(evaluation, distributions) if distributions is not None else "",
        _pairs(evaluation, distributions) if distributions is not None else "",
        _table(evaluation),
        _faults(evaluation),
        _notes(evaluation),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'{GENERATOR}<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{SHEET}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _head(evaluation: TableEvaluation, title: str) -> str:
    real = [f"{evaluation.train:,} training rows", f"{evaluation.test:,} test rows"]
    real += [f"{evaluation.holdout:,} held-out rows"] if evaluation.holdout else []
    facts = [f"{len(evaluation.sets)} synthetic {'set' if len(evaluation.sets) == 1 else 'sets'}, measured at"]
    facts[0] += f" {evaluation.size:,} rows each"
    facts += [f"real rows: {', '.join(real)}"]
    facts += [f"target: {evaluation.target} ({evaluation.kind})"] if evaluation.target else ["no target was named"]
    facts += [f"means over {evaluation.seeds} {'seed' if evaluation.seeds == 1 else 'seeds'}, with intervals of 95 %"]
    return (
        f'<h1>{escape(title)}</h1><p class="soft">{escape("; ".join(facts))}.</p>'
        "<p>Each dot is a mean, the line through it its interval. The shaded band is the interval of real rows in the place "
        "of synthetic ones: no generator can do better but by chance. A dashed line is the best value where there is one.</p>"
        f"{_legend(evaluation)}"
    )


def _legend(evaluation: TableEvaluation, *, real: bool = False) -> str:
    shown = (
        ['<span><svg viewBox="0 0 14 14"><rect class="bar" x="1" y="2" width="12" height="10"/></svg>real</span>']
        if real
        else []
    )
    shown += [
        f'<span><svg viewBox="0 0 14 14" class="c{at % len(COLOURS)}">{marker(at, 7, 7, 5)}</svg>{escape(line.name)}</span>'
        for at, line in enumerate(evaluation.sets)
    ]
    if not real:
        shown.append(
            '<span><svg viewBox="0 0 14 14"><g class="ref">' + marker(0, 7, 7, 5) + "</g></svg>references</span>"
        )
    return f'<div class="legend">{"".join(shown)}</div>'


def _group(evaluation: TableEvaluation, group: str) -> str:
    found = {key for line in evaluation.lines for key in line.figures}
    metrics = [metric for key, metric in METRICS.items() if metric.group == group and key in found]
    if not metrics:
        return ""
    if group == "efficiency":
        drawn = [_models(evaluation, measure) for measure in dict.fromkeys(each.key.split(".")[1] for each in metrics)]
        rarest = f" The rarest class is '{evaluation.rarest}'." if evaluation.rarest else ""
        more = f"From above in each row: {', '.join(MODEL_NAMES)}.{rarest}"
    else:
        drawn = [
            _figure(metric.title, metric, _rows(evaluation, metric.key), _real(evaluation, metric.key))
            for metric in metrics
        ]
        more = ""
    told = f'<p class="soft">{escape(more)}</p>' if more else ""
    return f'<h2>{escape(GROUPS[group])}</h2>{told}<div class="grid">{"".join(drawn)}</div>'


def _models(evaluation: TableEvaluation, measure: str) -> str:
    """One drawing for a measure of all models."""
    metric = METRICS[f"{MODELS[0]}.{measure}"]
    rows = [
        Row(
            line.name,
            at if at < len(evaluation.sets) else None,
            at if at < len(evaluation.sets) else 0,
            line.figures.get(f"{model}.{measure}"),
        )
        for at, line in enumerate(evaluation.lines)
        if any(f"{model}.{measure}" in line.figures for model in MODELS)
        for model in MODELS
    ]
    return _figure(metric.title.split(",")[0], metric, rows, None)


def _rows(evaluation: TableEvaluation, key: str) -> list[Row]:
    rows = [Row(line.name, at, at, line.figures.get(key)) for at, line in enumerate(evaluation.sets)]
    return rows + [Row(line.name, None, 0, line.figures[key]) for line in evaluation.references if key in line.figures]


def _real(evaluation: TableEvaluation, key: str) -> Figure | None:
    return next((line.figures.get(key) for line in evaluation.references if line.name == REAL), None)


def _figure(title: str, metric: Metric, rows: Sequence[Row], band: Figure | None) -> str:
    best = {"0.5": 0.5, "1": 1.0}.get(metric.best)
    drawn = dots(rows, best=best, band=band, bounds=(metric.least, metric.most))
    caption = f"{metric.reading} {DIRECTIONS[metric.best].capitalize()}."
    return f"<figure><h3>{escape(title)}</h3><figcaption>{escape(caption)}</figcaption>{drawn}</figure>"


def _columns(evaluation: TableEvaluation, distributions: Distributions) -> str:
    order = [line.name for line in evaluation.sets]
    drawn = "".join(
        f"<figure><h3>{escape(each.column)}</h3>{bars(each, order)}</figure>" for each in distributions.columns
    )
    return (
        "<h2>Columns</h2><p>Share of the rows for each value, or range of values: a bar and a number for the real training rows, "
        f'a marker for each set.</p>{_legend(evaluation, real=True)}<div class="grid">{drawn}</div>'
    )


def _pairs(evaluation: TableEvaluation, distributions: Distributions) -> str:
    drawn = []
    for line in evaluation.sets:
        if line.name in distributions.pairs:
            columns = [each.likeness[line.name] for each in distributions.columns]
            map_ = heat(distributions.names, distributions.pairs[line.name], columns)
            mean = sum(distributions.pairs[line.name]) / max(1, len(distributions.pairs[line.name]))
            told = f"pair trends of all rows: {number(mean)} in the mean"
            drawn.append(f"<figure><h3>{escape(line.name)}</h3><figcaption>{told}</figcaption>{map_}</figure>")
    return (
        "<h2>Pairs of columns</h2><p>How unlike the real table each pair is (1 - pair trend); columns are named on the left and "
        f'stand in the same order from left to right. On the diagonal: the column itself.</p>{scale()}<div class="grid">{"".join(drawn)}</div>'
    )


def _table(evaluation: TableEvaluation) -> str:
    lines = evaluation.lines
    heads = "".join(f"<th>{escape(line.name)}<small>{line.rows:,} rows</small></th>" for line in lines)
    body = []
    for group, question in GROUPS.items():
        keys = [
            key
            for key, metric in METRICS.items()
            if metric.group == group and any(key in line.figures for line in lines)
        ]
        if keys:
            body.append(f'<tr class="group"><th colspan="{len(lines) + 1}">{escape(question)}</th></tr>')
        for key in keys:
            metric = METRICS[key]
            again = group == "efficiency" and not key.startswith(MODELS[0])  # told at the first model
            reading = "" if again else f"{metric.reading} {DIRECTIONS[metric.best].capitalize()}."
            cells = "".join(_cell(line, key) for line in lines)
            body.append(f"<tr><td>{escape(metric.title)}<small>{escape(reading)}</small></td>{cells}</tr>")
    return (
        '<h2>All figures</h2><div class="wide"><table><thead><tr><th>figure</th>'
        f"{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(line: Line, key: str) -> str:
    figure = line.figures.get(key)
    if figure is None:
        return "<td>-</td>"
    ends = (
        ""
        if figure.low is None or figure.high is None
        else f"<small>{number(figure.low)} to {number(figure.high)}</small>"
    )
    return f"<td>{number(figure.value)}{ends}</td>"


def _faults(evaluation: TableEvaluation) -> str:
    parts = []
    for line in evaluation.sets:
        faults = list((line.validity.faults if line.validity is not None else {}).items())
        told = [f"{name}: {count:,} of {line.rows:,} rows" for name, count in faults[:FAULTS]]
        told += [f"{len(faults) - FAULTS} more kinds of faults"] if len(faults) > FAULTS else []
        told += [f"{name}: {share:.1%} break it" for name, share in line.violations.items() if share]
        if told:
            items = "".join(f"<li>{escape(each)}</li>" for each in told)
            parts.append(f"<h3>{escape(line.name)}</h3><ul>{items}</ul>")
    known = f"<p>Dependencies that hold in the training rows: {escape('; '.join(evaluation.dependencies))}.</p>"
    shown = "".join(parts) or "<p>None.</p>"
    return f"<h2>Faults and broken dependencies</h2>{known if evaluation.dependencies else ''}{shown}"


def _notes(evaluation: TableEvaluation) -> str:
    if not evaluation.notes:
        return ""
    return f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in evaluation.notes)}</ul>"
