"""The funnel: a stream that runs down through the steps, with what each turns away leaving to the right.

    sankey([Stage("rows", 0, 400, ()), Stage("rouge_l", 400, 359, (("rouge_l: too_similar", 41),))], 359)  ->  "<svg …>"

Widths are in proportion to rows, over the whole drawing. A step may hand on more records than it reads, or fewer: its block
begins as wide as what it read and ends as wide as what it decided on.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

from factory.reporting.charts.svg import short, svg, words

WIDTH = 720
REASONS = 7
_LEFT, _STREAM, _LABELS = 190, 200, 455
_BLOCK, _ROW, _GAP = 22, 21, 42
_LONGEST_NAME, _LONGEST_REASON = 26, 34


class Stage(msgspec.Struct, frozen=True):
    """A step of the funnel.

    Attributes:
        name: Of the step.
        read: Records that it took in.
        kept: Records that it handed on.
        rejected: Reason and number, the most frequent first.
    """

    name: str
    read: int
    kept: int
    rejected: Sequence[tuple[str, int]]

    @property
    def turned_away(self) -> int:
        """All that it rejected."""
        return sum(count for _, count in self.rejected)


def sankey(stages: Sequence[Stage], rows: int) -> str:
    """Draw the funnel.

    Args:
        stages: Steps, from first to last.
        rows: Rows of the dataset.
    """
    most = max([1, rows, *(max(each.read, each.kept + each.turned_away) for each in stages)])
    parts, y = [], 8.0
    for at, stage in enumerate(stages):
        following = stages[at + 1].read if at + 1 < len(stages) else rows
        drawn, y = _stage(stage, following, y, _STREAM / most)
        parts.append(drawn)
    width = _width(rows, _STREAM / most)
    parts.append(f'<rect class="kept" x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{_BLOCK}"/>')
    parts.append(words(_LEFT - 12, y + 10, "dataset", "strong", "end"))
    parts.append(words(_LEFT - 12, y + 25, f"{rows:,} {'row' if rows == 1 else 'rows'}", "dim", "end"))
    told = "; ".join(
        f"{each.name}: {each.read:,} read, {each.kept:,} kept, {each.turned_away:,} rejected" for each in stages
    )
    return svg(WIDTH, y + _BLOCK + 14, "Funnel of the run", f"{told}; dataset: {rows:,} rows", "".join(parts), "sankey")


def _stage(stage: Stage, following: int, y: float, scale: float) -> tuple[str, float]:
    """A step with what leaves it, and where the next one begins."""
    reasons = _shown(stage.rejected)
    read, kept = _width(stage.read, scale), _width(stage.kept, scale)
    away = [_width(count, scale) for _, count in reasons]
    out = kept + sum(away)
    bottom = y + _BLOCK
    height = max(_GAP, _ROW * len(reasons) + 14)
    after = bottom + height
    parts = [
        f'<polygon class="node" points="{_LEFT},{y:.1f} {_LEFT + (read or out):.1f},{y:.1f} {_LEFT + out:.1f},{bottom:.1f} '
        f'{_LEFT},{bottom:.1f}"><title>{escape(stage.name)}: {stage.read:,} read</title></polygon>',
        words(_LEFT - 12, y + 10, short(stage.name, _LONGEST_NAME), "strong", "end"),
        words(_LEFT - 12, y + 25, _numbers(stage), "dim", "end"),
    ]
    if stage.kept:
        parts.append(_down(kept, _width(following, scale), bottom, after, f"{stage.kept:,} kept by {stage.name}"))
    x = _LEFT + out  # from right to left, so that no stream crosses another one
    for at, ((reason, count), width) in enumerate(zip(reasons, away, strict=True)):
        x -= width
        label = bottom + 6 + _ROW * at + _ROW / 2
        parts.append(_aside(x, width, bottom, label, f"{reason}: {count:,} rejected by {stage.name}"))
        parts.append(words(_LABELS + 10, label + 4, f"{count:,}", "strong"))
        parts.append(words(_LABELS + 16 + 7.4 * len(f"{count:,}"), label + 4, short(reason, _LONGEST_REASON)))
    return "".join(parts), after


def _numbers(stage: Stage) -> str:
    told = [f"{stage.read:,} read"] if stage.read else []
    told.append(f"{stage.kept:,} kept")
    return ", ".join(told)


def _shown(reasons: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    if len(reasons) <= REASONS:
        return list(reasons)
    rest = reasons[REASONS - 1 :]
    return [*reasons[: REASONS - 1], (f"{len(rest)} more reasons", sum(count for _, count in rest))]


def _width(count: int, scale: float) -> float:
    """Width of a stream; what is there at all is seen."""
    return max(1.2, count * scale) if count else 0.0


def _down(above: float, below: float, top: float, bottom: float, title: str) -> str:
    middle = (top + bottom) / 2
    return (
        f'<path class="stream kept" d="M{_LEFT},{top:.1f} H{_LEFT + above:.1f} C{_LEFT + above:.1f},{middle:.1f} '
        f'{_LEFT + below:.1f},{middle:.1f} {_LEFT + below:.1f},{bottom:.1f} H{_LEFT} Z"><title>{escape(title)}</title></path>'
    )


def _aside(x: float, width: float, top: float, label: float, title: str) -> str:
    """A stream that turns to the right; it gets no wider there than its row is high."""
    half = min(width, _ROW - 5) / 2
    turn = (x + _LABELS) / 2
    return (
        f'<path class="stream rejected" d="M{x:.1f},{top:.1f} H{x + width:.1f} C{x + width + 14:.1f},{label - half:.1f} '
        f"{turn:.1f},{label - half:.1f} {_LABELS},{label - half:.1f} V{label + half:.1f} C{turn:.1f},{label + half:.1f} "
        f'{x + 2:.1f},{label + half:.1f} {x:.1f},{top:.1f} Z"><title>{escape(title)}</title></path>'
    )
