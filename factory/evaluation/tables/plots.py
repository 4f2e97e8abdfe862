"""Drawings of an evaluation as inline SVG: dots with intervals, shares of values, likeness of pairs.

    dots([Row("great", 0, 0, Figure(0.88, 0.87, 0.89))], best=0.5, band=None)  ->  "<svg viewBox=…>…</svg>"

Colours come from the classes of `style`; every text goes through `html.escape`. Widths are in units of about one pixel
where a drawing has the width of a column of the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import combinations, pairwise
from typing import Final

import msgspec

from factory.evaluation.bootstrap import Figure
from factory.evaluation.tables.distributions import REAL, Histogram
from factory.evaluation.tables.style import COLOURS, MARKERS

WIDTH: Final = 360
NAMES: Final = 122
VALUES: Final = 42
ROW: Final = 17
GROUPED: Final = 14
SHORT: Final = 17
DARKEST: Final = 0.3


class Row(msgspec.Struct, frozen=True):
    """A row of dots.

    Attributes:
        name: What stands on the left.
        colour: Number of its colour; None for a reference.
        marker: Number of its form.
        figure: Value with interval; None where there is none.
    """

    name: str
    colour: int | None
    marker: int
    figure: Figure | None


def dots(
    rows: Sequence[Row], *, best: float | None = None, band: Figure | None = None, bounds: tuple[float, float]
) -> str:
    """A dot with its interval for each row, over one axis.

    Args:
        rows: From above; rows of the same name follow each other, the name stands once.
        best: Value to draw a line at.
        band: Interval that is shaded over the whole height.
        bounds: Least and greatest value that can be.
    """
    told = [row.figure for row in rows if row.figure is not None]
    places = _places(rows)
    ticks = _ticks(told, [best] if best is not None else [], bounds)
    left, right = NAMES, WIDTH - VALUES
    height = places[-1] + ROW / 2 + 2

    def x(value: float) -> float:
        part = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return left + (right - left) * min(1.0, max(0.0, part))

    drawn = []
    if band is not None and band.low is not None and band.high is not None:
        width = max(1.0, x(band.high) - x(band.low))
        drawn.append(f'<rect class="band" x="{x(band.low):.1f}" y="0" width="{width:.1f}" height="{height:g}"/>')
    for tick in ticks:
        drawn.append(f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height:g}"/>')
        drawn.append(
            f'<text class="dim" x="{x(tick):.1f}" y="{height + 13:g}" text-anchor="middle">{_tick(tick)}</text>'
        )
    if best is not None:
        drawn.append(f'<line class="best" x1="{x(best):.1f}" x2="{x(best):.1f}" y1="0" y2="{height:g}"/>')
    for at, row in enumerate(rows):
        first = not at or rows[at - 1].name != row.name
        drawn.append(_dot(row, x, places[at], named=first))
    return f'<svg viewBox="0 0 {WIDTH} {height + 18:g}" role="img">{"".join(drawn)}</svg>'


def _places(rows: Sequence[Row]) -> list[float]:
    """Height of the middle of each row; rows of one name stand closer together."""
    grouped = any(row.name == before.name for before, row in pairwise(rows))
    places, y = [], ROW / 2 + 2
    for at, row in enumerate(rows):
        if at:
            y += ROW if not grouped else GROUPED if row.name == rows[at - 1].name else ROW + 4
        places.append(y)
    return places


def _dot(row: Row, x: Callable[[float], float], y: float, *, named: bool) -> str:
    tone = "ref" if row.colour is None else f"c{row.colour % len(COLOURS)}"
    name = (
        f'<text class="{"dim" if row.colour is None else ""}" x="0" y="{y + 4:.1f}">{short(row.name)}</text>'
        if named
        else ""
    )
    if row.figure is None:
        return f'{name}<text class="dim" x="{WIDTH}" y="{y + 4:.1f}" text-anchor="end">-</text>'
    figure = row.figure
    parts = [f"<title>{escape(f'{row.name}: {shown(figure)}')}</title>"]
    if figure.low is not None and figure.high is not None:
        parts.append(
            f'<line class="whisker" x1="{x(figure.low):.1f}" x2="{x(figure.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    parts.append(marker(row.marker, x(figure.value), y))
    value = f'<text x="{WIDTH}" y="{y + 4:.1f}" text-anchor="end">{number(figure.value)}</text>'
    return f'{name}<g class="{tone}">{"".join(parts)}</g>{value}'


def marker(form: int, x: float, y: float, size: float = 4.0) -> str:
    """A marker around a point.

    Args:
        form: Number of its form.
        x: Middle, from the left.
        y: Middle, from above.
        size: Half of its width.
    """
    kind = MARKERS[form % len(MARKERS)]
    if kind == "circle":
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{size * 0.95:.1f}"/>'
    corners = {
        "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
        "diamond": ((0, -1.15), (1.15, 0), (0, 1.15), (-1.15, 0)),
        "triangle": ((0, -1.1), (1.05, 0.8), (-1.05, 0.8)),
        "wedge": ((0, 1.1), (1.05, -0.8), (-1.05, -0.8)),
        "bar": ((-0.35, -1.2), (0.35, -1.2), (0.35, 1.2), (-0.35, 1.2)),
        "cross": (
            *((-0.3, -1.1), (0.3, -1.1), (0.3, -0.3), (1.1, -0.3), (1.1, 0.3), (0.3, 0.3)),
            *((0.3, 1.1), (-0.3, 1.1), (-0.3, 0.3), (-1.1, 0.3), (-1.1, -0.3), (-0.3, -0.3)),
        ),
    }[kind]
    points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark" points="{points}"/>'


def bars(histogram: Histogram, order: Sequence[str]) -> str:
    """Shares of values: a grey bar for the real rows, a marker for each set.

    Args:
        histogram: The column.
        order: Sets in the order of their colours.
    """
    step = 18
    most = max(max(shares, default=0.0) for shares in histogram.shares.values()) or 1.0
    left, width = NAMES + 4, WIDTH - NAMES - 40
    drawn = []
    for at, label in enumerate(histogram.labels):
        y = step * at + step / 2
        share = histogram.shares[REAL][at]
        drawn.append(f'<text x="0" y="{y + 4:.1f}"><title>{escape(label)}</title>{short(label)}</text>')
        drawn.append(
            f'<rect class="bar" x="{left}" y="{y - 6:.1f}" width="{width * share / most:.1f}" height="12">'
            f"<title>real: {share:.1%}</title></rect>"
        )
        for place, name in enumerate(order):
            if name in histogram.shares:
                told = histogram.shares[name][at]
                spot = marker(place, left + width * told / most, y, 3.2)
                drawn.append(
                    f'<g class="c{place % len(COLOURS)}"><title>{escape(f"{name}: {told:.1%}")}</title>{spot}</g>'
                )
        drawn.append(f'<text class="dim" x="{WIDTH}" y="{y + 4:.1f}" text-anchor="end">{_percent(share)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {step * len(histogram.labels) + 2}" role="img">{"".join(drawn)}</svg>'


def heat(names: Sequence[str], pairs: Sequence[float], columns: Sequence[float]) -> str:
    """How unlike the real ones pairs of columns are; columns themselves on the diagonal.

    Args:
        names: Of the columns.
        pairs: Likeness in [0, 1] in the order of `itertools.combinations` of the names.
        columns: Likeness of each column.
    """
    unlike = {pair: 1 - value for pair, value in zip(combinations(range(len(names)), 2), pairs, strict=True)}
    unlike |= {(at, at): 1 - value for at, value in enumerate(columns)}
    size = min(24.0, (WIDTH - NAMES) / max(1, len(names)))
    font = min(11.0, size + 1)
    drawn = []
    for (left, below), value in unlike.items():
        x, y = NAMES + size * left, size * below
        what = names[left] if left == below else f"{names[left]} and {names[below]}"
        drawn.append(
            f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{size - 1:.1f}" height="{size - 1:.1f}" '
            f'fill-opacity="{0.04 + 0.96 * min(1.0, value / DARKEST):.2f}">'
            f"<title>{escape(f'{what}: {value:.2f}')}</title></rect>"
        )
    for at, name in enumerate(names):
        y = size * at + size / 2 + font / 3
        drawn.append(
            f'<text x="{NAMES - 5}" y="{y:.1f}" style="font-size:{font:.1f}px" text-anchor="end">{short(name)}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {size * len(names):.0f}" role="img">{"".join(drawn)}</svg>'


def scale() -> str:
    """The scale of the shades of `heat`."""
    steps = 6
    drawn = []
    for at in range(steps + 1):
        value = DARKEST * at / steps
        drawn.append(
            f'<rect class="cell" x="{at * 36}" y="0" width="35" height="12" fill-opacity="{0.04 + 0.96 * at / steps:.2f}"/>'
            f'<text class="dim" x="{at * 36 + 17}" y="25" text-anchor="middle">{value:.2f}{"+" if at == steps else ""}</text>'
        )
    return f'<svg viewBox="0 0 254 30" style="max-width:254px" role="img">{"".join(drawn)}</svg>'


def short(text: str) -> str:
    """A name, cut to what fits on the left, escaped; the whole is in the tooltip.

    >>> short("a <very> long name of a column")
    'a &lt;very&gt; long n…'
    """
    line = " ".join(text.split())
    return escape(line if len(line) <= SHORT else f"{line[: SHORT - 1]}…")


def number(value: float) -> str:
    """A value for people: three places up to 10, then fewer.

    >>> number(0.88149), number(-0.0001), number(1234.56), number(2.5e9)
    ('0.881', '0.000', '1,235', '2.5e+09')
    """
    if abs(value) >= 10**6:
        return f"{value:.3g}"
    places = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    told = f"{value:,.{places}f}"
    return told.removeprefix("-") if not float(told.replace(",", "")) else told


def shown(figure: Figure) -> str:
    """A figure with its interval, in one line."""
    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} [{number(figure.low)}, {number(figure.high)}]"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 or not share else f"{share:.1%}"


def _tick(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 10**6 else f"{value:.2g}"


def _ticks(figures: Sequence[Figure], further: Sequence[float], bounds: tuple[float, float]) -> list[float]:
    """Round numbers around all that is drawn, at least two."""
    values = [*further]
    for figure in figures:
        values += [each for each in (figure.value, figure.low, figure.high) if each is not None and math.isfinite(each)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    gap = max(high - low, 0.05 if max(abs(low), abs(high)) <= 10 else abs(high) * 0.05)
    unit = 10 ** math.floor(math.log10(gap / 3))
    step = next(unit * each for each in (1, 2, 5, 10) if gap / (unit * each) <= 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = [each * step for each in range(first, last + 1)]
    kept = [tick for tick in ticks if bounds[0] - 1e-9 <= tick <= bounds[1] + 1e-9]
    return kept if len(kept) > 1 else ticks
