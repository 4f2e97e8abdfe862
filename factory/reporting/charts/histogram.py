"""Histograms of two sets of values over one axis: kept and rejected.

histogram({"kept": [0.1, 0.4], "rejected": [0.8]}, "ROUGE-L", bins=20, bounds=(0.0, 1.0), line=0.7)  ->  "<svg …>"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from factory.reporting.charts.svg import HEIGHT, WIDTH, Axes, number, svg, ticks, words


def histogram(
    sets: Mapping[str, Sequence[float]],
    name: str,
    *,
    bins: int = 24,
    bounds: tuple[float, float] | None = None,
    line: float | None = None,
    title: str = "",
    weights: Mapping[str, float] | None = None,
) -> str:
    """Counts by value; bars of the sets stand on top of each other.

    Args:
        sets: Values by the name of their set, which is the class of its bars: `kept` or `rejected`.
        name: What the values are.
        bins: Bars over the whole axis, or fewer where values are few whole numbers.
        bounds: Ends of the axis; by default 0, or the least value, to where one in a hundred values lies beyond.
        line: Value to draw a line at, e.g. a threshold.
        title: Of the drawing.
        weights: How many values each one of a set stands for; 1 by default.
    """
    arrays = {key: np.asarray(values, np.float64) for key, values in sets.items() if len(values)}
    joined = np.concatenate([*arrays.values()]) if arrays else np.zeros(1)
    low, high = bounds or _bounds(joined)
    edges = _edges(low, high, bins, joined)
    counts = {
        key: _counts(np.clip(values, low, high), edges, (weights or {}).get(key, 1.0)) for key, values in arrays.items()
    }
    total = sum(counts.values(), np.zeros(len(edges) - 1, np.int64))
    top = ticks(0, float(total.max() or 1), most=4)[-1]
    axes = Axes((low, float(edges[-1])), (0, top))
    floor = np.zeros(len(edges) - 1)
    parts = [axes.drawn(name, "rows")]
    for key, found in counts.items():
        parts += [_bar(axes, edges, at, floor[at], int(value), key) for at, value in enumerate(found) if value]
        floor = floor + found
    if line is not None:
        x = axes.across(line)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="12" y2="{HEIGHT - 38}"/>')
        parts.append(words(x - 4, 22, f"threshold {line:g}", "strong", "end"))
    beyond = int((joined > high).sum())
    told = "; ".join(
        f"{key}: {len(values):,} values, median {number(float(np.median(values)))}" for key, values in arrays.items()
    )
    if beyond and bounds is None:
        parts.append(words(WIDTH - 12, 10, f"{beyond:,} beyond, in the last bar", "dim", "end"))
    return svg(WIDTH, HEIGHT, title or f"Histogram of {name}", told, "".join(parts))


def _counts(
    values: np.typing.NDArray[np.float64], edges: np.typing.NDArray[np.float64], weight: float
) -> np.typing.NDArray[np.int64]:
    return np.asarray(np.round(np.histogram(values, edges)[0] * weight), np.int64)


def _bounds(values: np.typing.NDArray[np.float64]) -> tuple[float, float]:
    least = float(values.min())
    low = 0.0 if 0 <= least <= float(values.max()) / 2 else least
    high = float(np.quantile(values, 0.99))
    high = float(values.max()) if high <= low else high
    return low, ticks(low, high)[-1] if high > low else low + 1.0


def _edges(low: float, high: float, bins: int, values: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    """Edges of the bars; whole numbers are never parted, nor shared unevenly."""
    whole = bool(len(values)) and bool((values == np.round(values)).all()) and high - low > 2
    if not whole:
        return np.linspace(low, high, bins + 1)
    step = max(1, int(np.ceil((high - low) / bins)))
    return np.arange(low, high + step + 1, step, dtype=np.float64)


def _bar(axes: Axes, edges: np.typing.NDArray[np.float64], at: int, floor: float, value: int, key: str) -> str:
    left, right = axes.across(edges[at]), axes.across(edges[at + 1])
    bottom, top = axes.up(floor), axes.up(floor + value)
    return (
        f'<rect class="{key}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 1):.1f}" '
        f'height="{max(0.5, bottom - top):.1f}"><title>{number(float(edges[at]))} to '
        f"{number(float(edges[at + 1]))}: {value:,} {key}</title></rect>"
    )
