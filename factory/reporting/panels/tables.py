"""Tables: columns and pairs of columns of the real rows beside those of the made ones."""

from __future__ import annotations

from factory.evaluation.tables.distributions import REAL, Histogram
from factory.reporting.charts.shares import COLOURS, grouped, square
from factory.reporting.gather.run import Run
from factory.reporting.gather.tables import Compared, compared
from factory.reporting.markup import figure, grid, legend, paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "Real rows beside made ones"
ORDER = 100
MOST_COLUMNS = 24
MOST_PAIRED = 24


def build(run: Run) -> Panel | LeftOut:
    """Distributions and correlations, where the real table may be read and is still the same."""
    found = compared(run)
    if isinstance(found, str):
        return LeftOut(found)
    columns = found.distributions.columns
    figures = [figure(_column(each), _alike(each), each.column) for each in columns[:MOST_COLUMNS]]
    head = paragraph(
        f"{found.real:,} real rows of {found.table} that were learnt, beside "
        f"{', '.join(f'{count:,} of {name}' for name, count in found.sets.items())}. Bars are shares of rows, numbers those of the real ones."
    )
    html = [head, _legend(found), grid(figures), _more(len(columns)), "<h3>Pairs of columns</h3>", *_pairs(found)]
    html += [paragraph(note, kind="soft") for note in found.notes]
    return Panel("".join(html), {"likeness": {each.column: each.likeness for each in columns}})


def _column(each: Histogram) -> str:
    return grouped(each.labels, {REAL: each.shares[REAL], **each.shares}, title=f"Shares of {each.column}")


def _alike(each: Histogram) -> str:
    return "Likeness (1 is the same): " + ", ".join(f"{name} {value:.2f}" for name, value in each.likeness.items())


def _legend(found: Compared) -> str:
    return legend([("real", REAL), *((f"c{at % COLOURS}", name) for at, name in enumerate(found.sets))])


def _more(columns: int) -> str:
    left = columns - MOST_COLUMNS
    return paragraph(f"{left} more columns are not drawn.", kind="soft") if left > 0 else ""


def _pairs(found: Compared) -> list[str]:
    told, columns = found.distributions, found.distributions.columns
    rows = [
        (name, sum(values) / max(1, len(values)), sum(each.likeness[name] for each in columns) / len(columns))
        for name, values in told.pairs.items()
        if all(name in each.likeness for each in columns)
    ]
    parts = [
        table(("made by", "pairs alike, mean", "columns alike, mean"), rows, "Likeness to the real rows, 1 is the same")
    ]
    if len(told.names) <= MOST_PAIRED:
        parts.append(
            grid(
                figure(
                    square(told.names, values, [each.likeness[name] for each in columns], title=f"Pairs of {name}"),
                    "The stronger the colour, the less is the correlation like the real one; columns themselves on the diagonal.",
                    name,
                )
                for name, values in told.pairs.items()
            )
        )
    return parts
