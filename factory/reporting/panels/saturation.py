"""Whether more requests still give new rows: kept against made, and what twice as many would give."""

from __future__ import annotations

from collections.abc import Sequence

from factory.reporting.charts.lines import Line, lines
from factory.reporting.gather.curve import Curve, Forecast, check, curve, forecast, why_no_forecast
from factory.reporting.gather.run import Run
from factory.reporting.markup import figure, grid, paragraph
from factory.reporting.panels import LeftOut, Panel

TITLE = "Novelty curve"
ORDER = 80
POINTS = 200
WINDOWS = 25


def build(run: Run) -> Panel | LeftOut:
    """Two lines over all that was made, and a forecast where there is enough."""
    if run.no_journal:
        return LeftOut(f"The order in which records were made is not known: {run.no_journal}.")
    found = curve(run)
    if found is None:
        return LeftOut(
            "No record of this run was read from an answer of a model, so that there is no order in which they came."
        )
    if sum(found.kept) == len(found.kept):
        return LeftOut(f"None of the {len(found.kept):,} {found.unit} that were made was turned away.")
    seen = None if why_no_forecast(found.kept) else forecast(found.kept)
    figures = [_cumulated(found, seen), _acceptance(found)]
    several = sum(bool(step["stages"]) for step in run.steps) > 1
    note = (
        "In the order in which answers reached the journal. What was made after the run had enough is left out. "
        f"Counted are {found.unit}."
        + (" What an early step turns away stands before what later steps go on with." if several else "")
    )
    parts = [grid(figures), *_sentences(found, seen), paragraph(note, run.sampled, kind="soft")]
    return Panel("".join(parts), {"made": len(found.kept), "kept": sum(found.kept)})


def _cumulated(found: Curve, seen: Forecast | None) -> str:
    kept, scale = found.kept, found.made
    points, total = [(0.0, 0.0)], 0
    every = max(1, len(kept) // POINTS)
    for at, value in enumerate(kept, 1):
        total += value
        if at % every == 0 or at == len(kept):
            points.append((at * scale, total * scale))
    drawn = [Line("kept", points)]
    told = f"{total * scale:,.0f} of {len(kept) * scale:,.0f} {found.unit} kept"
    if seen is not None:
        path = [(made * scale, expected * scale) for made, expected, _, _ in seen.path]
        low, high = [each[2] * scale for each in seen.path], [each[3] * scale for each in seen.path]
        drawn = [Line("forecast", path, low, high, "forecast"), *drawn]
    drawing = lines(drawn, f"{found.unit} made", "kept", title="Kept against made", description=told)
    return figure(drawing, f"{told}.", "Kept in all")


def _acceptance(found: Curve) -> str:
    kept = found.kept
    size = max(5, len(kept) // WINDOWS)
    points = [
        ((first + size / 2) * found.made, sum(kept[first : first + size]) / size)
        for first in range(0, len(kept) - size + 1, size)
    ]
    told = f"Share kept of each {size * found.made:,.0f} {found.unit}"
    drawing = lines(
        [Line("kept", points)], f"{found.unit} made", "share kept", title=told, description=_ends(points), y_top=1.0
    )
    return figure(drawing, f"{told}.", "Acceptance over the run")


def _ends(points: Sequence[tuple[float, float]]) -> str:
    return f"from {points[0][1]:.2f} to {points[-1][1]:.2f}" if points else "too few to tell"


def _sentences(found: Curve, seen: Forecast | None) -> list[str]:
    if seen is None:
        return [paragraph(why_no_forecast(found.kept))]
    scale = found.made
    now = sum(found.kept) * scale
    more = (seen.expected - sum(found.kept)) * scale
    told = [
        f"Forecast: with twice as many {found.unit} made, {seen.expected * scale:,.0f} would be kept [{seen.low * scale:,.0f}, "
        f"{seen.high * scale:,.0f}], that is {more:,.0f} more than now; at an unchanged rate it would be {2 * now:,.0f}."
    ]
    tried = check(found.kept)
    if tried is None:
        told.append("Nothing tells how good this is: the first 80 % of the run are too few to forecast the rest from.")
    else:
        told.append(
            f"How good is that? From its first 80 % the run forecasts {tried.expected * scale:,.0f} [{tried.low * scale:,.0f}, "
            f"{tried.high * scale:,.0f}] kept of the last {tried.of * scale:,.0f}; {tried.came * scale:,.0f} were kept, which is "
            f"{'inside' if tried.held else 'outside'} the interval of 95 %."
        )
    return [paragraph(*told)]
