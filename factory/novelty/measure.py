"""ROUGE-L as numbers: the F-measure, how long a common subsequence must be, and what a bitmap rules out.

    f_measure(7, 7, 13) -> 0.7000000000000001        exactly 0.7 on paper, above it in the reference's floats
    required(7, 13, 0.7) -> 7                         so a subsequence of 7 is above the threshold

Everything that decides is the float expression of the package rouge_score; everything that only saves work is an
integer bound that never cuts a pair which the expression would pass. The functions here are plain Python, and
`kernels` compiles the very same ones.
"""

from __future__ import annotations

import math
from typing import Final

SLACK: Final = 1e-9
"""Relative slack of bounds that are computed in floats; rounding of the expression itself is a million times less."""


def f_measure(lcs: int, left_tokens: int, right_tokens: int) -> float:
    """F-measure of a longest common subsequence, by the reference's own float expression; in [0, 1]."""
    if lcs == 0:
        return 0.0
    precision, recall = lcs / right_tokens, lcs / left_tokens
    return 2 * precision * recall / (precision + recall)


def required(left_tokens: int, right_tokens: int, threshold: float) -> int:
    """Least common subsequence whose F-measure is above the threshold; longer than either text if none is.

    The F-measure keeps its order in floating point: one token more raises it by a factor of at least 1 + 1/lcs,
    rounding moves it by 1e-15. So a few steps from the exact quotient find the place.
    """
    shorter = min(left_tokens, right_tokens)
    lcs = max(1, math.floor(threshold * (left_tokens + right_tokens) / 2) - 1)
    while lcs <= shorter and f_measure(lcs, left_tokens, right_tokens) <= threshold:
        lcs += 1
    return min(lcs, shorter + 1)


def widest_distance(tokens: int, least: int, most: int, threshold: float) -> int:
    """Greatest bitmap distance at which a text of `tokens` tokens can be above the threshold to one of least..most.

    Two texts that share an LCS of L tokens differ in m + n - 2 L of their labelled tokens, and a bitmap into which
    each labelled token toggles one bit differs in no more bits than that (a proof fits in a line: XOR of the two is
    the bitmap of their symmetric difference). -1 if no length in the range can be above it.
    """
    half = threshold / 2
    if most < tokens and most * (1 - half) < tokens * half * (1 - SLACK):
        return -1
    if least > tokens and tokens * (1 - half) < least * half * (1 - SLACK):
        return -1
    both = tokens + most
    return min(both - 2, math.floor(both * (1 - threshold) * (1 + SLACK) + SLACK))
