"""Shares: bars beside names, a two-level icicle, and a square of pairs.

bars([("great", 0.61)], title="Share judged real")  ->  "<svg …>"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations

from factory.reporting.charts.svg import WIDTH, number, short, svg, words

_NAMES = 150
_LONGEST = 34  # characters of a name
_ROW = 20
COLOURS = 6
_DARKEST = 0.3


def bars(rows: Sequence[tuple[str, float]], *, title: str, kind: str = "kept") -> str:
    """A bar for each name.

    Args:
        rows: Name and value, from above.
        title: Of the drawing.
        kind: Class of the bars.
    """
    most = max((value for _, value in rows), default=0.0) or 1.0
    left = max(_NAMES, 8 + 6.8 * min(_LONGEST, max((len(name) for name, _ in rows), default=0)))
    parts = []
    for at, (name, value) in enumerate(rows):
        y = _ROW * at
        parts.append(words(0, y + 14, short(name, _LONGEST)))
        width = (WIDTH - left - 62) * value / most
        parts.append(f'<rect class="{kind}" x="{left:.0f}" y="{y + 3}" width="{width:.1f}" height="13"/>')
        parts.append(words(left + width + 5, y + 14, number(value), "dim"))
    told = "; ".join(f"{name}: {number(value)}" for name, value in rows)
    return svg(WIDTH, _ROW * len(rows) + 4, title, told, "".join(parts))


def grouped(labels: Sequence[str], sets: Mapping[str, Sequence[float]], *, title: str) -> str:
    """Shares of values: a bar of the first set, a line of each other set at its end.

    Args:
        labels: What each row stands for.
        sets: Shares by set; the first is the one that others are compared with.
        title: Of the drawing.
    """
    most = max((value for each in sets.values() for value in each), default=0.0) or 1.0
    names = list(sets)
    left, room = _NAMES - 14, WIDTH - _NAMES - 34
    height = max(_ROW, 6 + 6 * len(names))
    parts = []
    for at, label in enumerate(labels):
        y = height * at
        parts.append(words(0, y + height / 2 + 4, short(label, 19)))
        for place, name in enumerate(names):
            value = sets[name][at]
            size = (height - 6) / len(names)
            kind = "real" if not place else f"fill c{(place - 1) % COLOURS}"
            parts.append(
                f'<rect class="{kind}" x="{left}" y="{y + 3 + size * place:.1f}" width="{room * value / most:.1f}" '
                f'height="{max(2.0, size - 1):.1f}"><title>{escape(name)}: {value:.1%}</title></rect>'
            )
        parts.append(words(WIDTH, y + height / 2 + 4, f"{sets[names[0]][at]:.0%}", "dim", "end"))
    told = "; ".join(
        f"{label}: {', '.join(f'{n} {sets[n][at]:.1%}' for n in names)}" for at, label in enumerate(labels)
    )
    return svg(WIDTH, height * len(labels) + 4, title, told, "".join(parts))


def icicle(branches: Sequence[tuple[str, Sequence[tuple[str, int]]]], *, title: str) -> str:
    """Two levels side by side: each name on the left as high as all of its leaves on the right.

    Args:
        branches: Name and its leaves with their counts, from above.
        title: Of the drawing.
    """
    total = sum(count for _, leaves in branches for _, count in leaves) or 1
    height = float(min(760, max(240, 17 * sum(len(leaves) for _, leaves in branches))))
    parts, y = [], 0.0
    for at, (name, leaves) in enumerate(branches):
        size = height * sum(count for _, count in leaves) / total
        whole = sum(count for _, count in leaves)
        parts.append(_block(0, 150, y, size, f"{name} {whole:,}", f"fill c{at % COLOURS}"))
        inner = y
        for leaf, count in leaves:
            part = height * count / total
            parts.append(_block(152, WIDTH - 152, inner, part, f"{leaf} {count:,}", f"fill soft c{at % COLOURS}"))
            inner += part
        y += size
    told = "; ".join(f"{name}: {', '.join(f'{leaf} {count:,}' for leaf, count in leaves)}" for name, leaves in branches)
    return svg(WIDTH, height, title, told, "".join(parts), "icicle")


def _block(x: float, width: float, y: float, height: float, told: str, kind: str) -> str:
    label = words(x + 8, y + height / 2 + 4, short(told, int(width / 7))) if height >= 12 else ""
    return (
        f'<rect class="{kind}" x="{x}" y="{y:.1f}" width="{width}" height="{max(0.5, height - 1):.1f}">'
        f"<title>{escape(told)}</title></rect>{label}"
    )


def square(names: Sequence[str], pairs: Sequence[float], columns: Sequence[float], *, title: str) -> str:
    """How unlike the real ones pairs of columns are, and columns themselves on the diagonal: the stronger the colour, the less alike.

    Args:
        names: Of the columns.
        pairs: Likeness in [0, 1], in the order of `itertools.combinations` of the names.
        columns: Likeness of each column.
        title: Of the drawing.
    """
    unlike = {pair: 1 - value for pair, value in zip(combinations(range(len(names)), 2), pairs, strict=True)}
    unlike |= {(at, at): 1 - value for at, value in enumerate(columns)}
    size = min(30.0, (WIDTH - _NAMES) / max(1, len(names)))
    parts = [
        words(_NAMES - 6, size * at + size / 2 + 4, short(name, 22), "dim", "end") for at, name in enumerate(names)
    ]
    for (left, below), value in unlike.items():
        what = names[left] if left == below else f"{names[left]} and {names[below]}"
        parts.append(
            f'<rect class="cell" x="{_NAMES + size * left:.1f}" y="{size * below:.1f}" width="{size - 1:.1f}" '
            f'height="{size - 1:.1f}" fill-opacity="{0.05 + 0.95 * min(1.0, max(0.0, value) / _DARKEST):.2f}">'
            f"<title>{escape(f'{what}: {value:.2f}')}</title></rect>"
        )
    worst = max(unlike.items(), key=lambda each: each[1])
    told = f"least alike: {names[worst[0][0]]} and {names[worst[0][1]]}, {worst[1]:.2f}" if unlike else "no columns"
    return svg(WIDTH, size * len(names) + 2, title, told, "".join(parts))
