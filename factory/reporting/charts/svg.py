"""What all drawings share: the frame with title and description, axes with round ticks, texts.

Axes(x=(0, 100), y=(0, 1)).drawn("rows", "share")  ->  lines, ticks and their texts as SVG
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 420
HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 38


def svg(width: float, height: float, title: str, description: str, inner: str, kind: str = "") -> str:
    """A drawing.

    Args:
        width: In units of about one pixel.
        height: In the same.
        title: What it is.
        description: What it shows, in a sentence.
        inner: Its content, as SVG.
        kind: Class for the style sheet.
    """
    told = escape(f"{title}. {description}", quote=True)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" class="{kind}" role="img" aria-label="{told}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{inner}</svg>"
    )


def words(x: float, y: float, told: str, kind: str = "", anchor: str = "start") -> str:
    """A text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(told)}</text>'


def short(told: str, most: int) -> str:
    """A text on one line, cut to so many characters.

    >>> short("a long name", 7)
    'a long…'
    """
    line = " ".join(told.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def number(value: float) -> str:
    """A number at an axis.

    >>> number(0.25), number(1500), number(500_000), number(2_000_000)
    ('0.25', '1,500', '500k', '2M')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.4g}k"
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`.

    >>> ticks(0, 93), ticks(0.0, 1.0)
    ([0, 20, 40, 60, 80, 100], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    """
    gap = (high - low) or 1.0
    unit = 10 ** math.floor(math.log10(gap / most))
    step = next(unit * each for each in (1, 2, 5, 10) if gap / (unit * each) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(each * step, 10) for each in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Axes:
    """Two axes and what maps values onto them.

    Attributes:
        x: Least and greatest value.
        y: Least and greatest value.
        width: Of the drawing.
        height: Of the drawing.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = WIDTH
    height: float = HEIGHT

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a value lies in the drawing."""
        return self.across(x), self.up(y)

    def across(self, x: float) -> float:
        """Place of a value on the lower axis."""
        return _LEFT + (self.width - _LEFT - _RIGHT) * _part(x, self.x)

    def up(self, y: float) -> float:
        """Place of a value on the left axis."""
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * _part(y, self.y)

    def drawn(
        self,
        x_name: str,
        y_name: str,
        x_ticks: Sequence[float] | None = None,
        told: Callable[[float], str] = number,
    ) -> str:
        """Lines, ticks and names.

        Args:
            x_name: What the lower axis counts.
            y_name: What the left one counts.
            x_ticks: Ticks of the lower axis; round numbers by default.
            told: How the lower axis tells a value.
        """
        parts = []
        for tick in ticks(*self.y, most=4):
            if self.y[0] <= tick <= self.y[1] * 1.0001:
                y = self.up(tick)
                parts.append(f'<line class="axis" x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
                parts.append(words(_LEFT - 6, y + 4, number(tick), "dim", "end"))
        for tick in x_ticks if x_ticks is not None else ticks(*self.x, most=5):
            if self.x[0] <= tick <= self.x[1] * 1.0001:
                parts.append(words(self.across(tick), self.height - _BOTTOM + 15, told(tick), "dim", "middle"))
        parts.append(words((self.width + _LEFT) / 2, self.height - 4, x_name, "dim", "middle"))
        middle = (self.height - _BOTTOM + _TOP) / 2
        turned = f'transform="rotate(-90 10 {middle:.1f})"'
        parts.append(f'<text class="dim" x="10" y="{middle:.1f}" text-anchor="middle" {turned}>{escape(y_name)}</text>')
        return "".join(parts)


def _part(value: float, bounds: tuple[float, float]) -> float:
    gap = bounds[1] - bounds[0]
    return min(1.0, max(0.0, (value - bounds[0]) / gap)) if gap else 0.0
