"""Lines over one axis, with a shaded band where something is uncertain.

lines([Line("kept", [(0, 0), (100, 40)])], "generated", "kept", title="Novelty")  ->  "<svg …>"
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from factory.reporting.charts.svg import HEIGHT, WIDTH, Axes, number, svg, ticks, words


class Line(msgspec.Struct, frozen=True):
    """A line.

    Attributes:
        kind: Class of its stroke: `kept`, `rejected`, `plain` or `forecast`.
        points: From left to right.
        low: Lower end of the band at each point; empty for a line without one.
        high: Upper end of it.
        name: What stands at its end; empty for nothing.
    """

    kind: str
    points: Sequence[tuple[float, float]]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    name: str = ""


def lines(
    drawn: Sequence[Line], x_name: str, y_name: str, *, title: str, description: str, y_top: float | None = None
) -> str:
    """A drawing of lines.

    Args:
        drawn: From the lowest to the uppermost layer.
        x_name: What the lower axis counts.
        y_name: What the left one counts.
        title: Of the drawing.
        description: What it shows, in a sentence.
        y_top: Upper end of the left axis; a round number above all values by default.
    """
    points = [point for line in drawn for point in line.points]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = max([*(y for _, y in points), *(y for line in drawn for y in line.high)], default=1.0) or 1.0
    axes = Axes((0.0, most_x), (0.0, y_top if y_top is not None else ticks(0, most_y, most=4)[-1]))
    parts = [axes.drawn(x_name, y_name)]
    for line in drawn:
        if line.high:
            upper = [axes.at(x, y) for (x, _), y in zip(line.points, line.high, strict=True)]
            lower = [axes.at(x, y) for (x, _), y in zip(line.points, line.low, strict=True)]
            parts.append(f'<polygon class="band {line.kind}" points="{_path([*upper, *reversed(lower)])}"/>')
        parts.append(f'<polyline class="line {line.kind}" points="{_path([axes.at(*each) for each in line.points])}"/>')
        if line.name and line.points:
            x, y = axes.at(*line.points[-1])
            parts.append(words(x - 4, y - 7, line.name, "strong", "end"))
    return svg(WIDTH, HEIGHT, title, description, "".join(parts))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def boxes(groups: Sequence[tuple[str, Sequence[float]]], x_name: str, y_name: str, *, title: str) -> str:
    """A box from quartile to quartile for each group, with its median, and a line from the 5th to the 95th percentile.

    Args:
        groups: Name and values, from left to right.
        x_name: What the groups are.
        y_name: What the values are.
        title: Of the drawing.
    """
    import numpy as np

    told = [(name, np.percentile(values, [5, 25, 50, 75, 95])) for name, values in groups if len(values)]
    top = max((float(found[4]) for _, found in told), default=1.0) or 1.0
    low = min(0.0, *(float(found[0]) for _, found in told)) if told else 0.0
    axes = Axes((0.0, float(len(told) or 1)), (low, ticks(low, top, most=4)[-1]))
    parts = [axes.drawn(x_name, y_name, x_ticks=())]
    for at, (name, found) in enumerate(told):
        middle, half = axes.across(at + 0.5), min(28.0, (axes.across(1) - axes.across(0)) * 0.3)
        five, first, median, third, most = (axes.up(float(each)) for each in found)
        parts += [
            f'<line class="whisker" x1="{middle:.1f}" x2="{middle:.1f}" y1="{five:.1f}" y2="{most:.1f}"/>',
            f'<rect class="box" x="{middle - half:.1f}" y="{third:.1f}" width="{2 * half:.1f}" '
            f'height="{max(1.0, first - third):.1f}"/>',
            f'<line class="median" x1="{middle - half:.1f}" x2="{middle + half:.1f}" y1="{median:.1f}" y2="{median:.1f}"/>',
            words(middle + half + 4, median + 4, number(round(float(found[2]), 1)), ""),
            words(middle, HEIGHT - 23, name, "dim", "middle"),
        ]
    told_of = "; ".join(f"{name}: median {found[2]:.3g}" for name, found in told)
    return svg(WIDTH, HEIGHT, title, told_of, "".join(parts))
