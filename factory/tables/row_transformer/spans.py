"""Codes of a column that are equally likely: what a token of a row transformer stands for is made of such spans.

    Span(token=7, low=1000, high=1900, step=100, weight=0.25).cut((1450, 1600), Measure())
    -> Span(token=7, low=1500, high=1600, step=100, weight=0.05)

Codes are Python ints of any size. Those of doubles are their bits, over which numbers are anything but even; there a draw
is even over the numbers, and rounded to the significant digits that the training values have.
"""

from __future__ import annotations

import math
from random import Random

import msgspec

from factory.tables.column import code_of_float, float_of
from factory.tables.domain import Interval

ALL_DIGITS = 17  # of a double, in decimal
TRIES = 16  # at a rounded number in a span, before one that is not rounded is taken


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Codes of one token that are equally likely.

    Attributes:
        token: Whose they are.
        low: The first.
        high: The last; a whole number of steps above `low`.
        step: Distance between neighbours.
        weight: Share of the token's cells; the weights of a token sum to 1.
    """

    token: int
    low: int
    high: int
    step: int
    weight: float

    @property
    def count(self) -> int:
        """Number of codes."""
        return (self.high - self.low) // self.step + 1

    def cut(self, interval: Interval, measure: Measure) -> Span | None:
        """What an interval leaves of it, with the share that remains; None if nothing."""
        low = self.low + max(0, -((self.low - interval[0]) // self.step)) * self.step
        high = self.low + ((min(self.high, interval[1]) - self.low) // self.step) * self.step
        if low > high:
            return None
        if (low, high) == (self.low, self.high):
            return self
        part = Span(self.token, low, high, self.step, 0.0)
        return msgspec.structs.replace(part, weight=self.weight * measure.share(part, self))


class Measure(msgspec.Struct, frozen=True, array_like=True):
    """How the codes of a column are spread over a span.

    Attributes:
        double: Whether codes are bits of doubles.
        digits: Significant decimal digits of the training values, for doubles.
    """

    double: bool = False
    digits: int = ALL_DIGITS

    def share(self, part: Span, whole: Span) -> float:
        """Share of a span's probability that lies in a part of it; more than 0."""
        counted = part.count / whole.count
        if not self.double:
            return counted
        width = float_of(whole.high) / 2 - float_of(whole.low) / 2
        if not 0 < width < math.inf:
            return counted
        return max(counted, (float_of(part.high) / 2 - float_of(part.low) / 2) / width)

    def draw(self, span: Span, random: Random) -> int:
        """A code of the span."""
        if span.low == span.high:
            return span.low
        low, high = (float_of(span.low), float_of(span.high)) if self.double else (0.0, 0.0)
        if not self.double or not (math.isfinite(low) and math.isfinite(high)):
            return span.low + span.step * random.randrange(span.count)
        for _ in range(TRIES):
            part = random.random()
            exact = (1 - part) * low + part * high
            rounded = code_of_float(float(f"{exact:.{self.digits}g}"))
            if span.low <= rounded <= span.high:
                return rounded
        return min(max(code_of_float(exact), span.low), span.high)
