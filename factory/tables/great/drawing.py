"""Draws from next-token distributions that are restricted, for many rows at once and the same on every machine.

The number that decides a draw is a hash of the row's key and of how many draws the row has had, so that a row does not
depend on those that are drawn beside it, nor on the state of any generator. Softmax and inverse transform are in
doubles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from factory.draws import STEP, Words, mixed
from factory.records import digest

_BLOCK = 1 << 20  # logits that are turned into doubles at a time


def row_keys(seed: int, rows: int) -> Words:
    """A key for each row of a seed; more rows leave the keys of the first ones as they are."""
    start = np.uint64(int(digest("row of a table", str(seed))[:16], 16))
    return mixed(start + STEP * np.arange(1, rows + 1, dtype=np.uint64))


def draw(
    logits: npt.NDArray[np.float32],
    choices: Sequence[npt.NDArray[np.int64]],
    numbers: npt.NDArray[np.float64],
    temperature: float,
) -> list[int]:
    """Choose once for each row.

    Args:
        logits: [rows, vocabulary].
        choices: Columns of the logits to choose from, by row.
        numbers: A number in [0, 1) for each row.
        temperature: What logits are divided by.

    Returns:
        Which of its choices each row takes, counted from 0.
    """
    drawn: list[int] = []
    for first, last in _blocks([len(tokens) for tokens in choices]):
        drawn += _drawn(logits[first:last], choices[first:last], numbers[first:last], temperature)
    return drawn


def _drawn(
    logits: npt.NDArray[np.float32],
    choices: Sequence[npt.NDArray[np.int64]],
    numbers: npt.NDArray[np.float64],
    temperature: float,
) -> list[int]:
    counts = np.fromiter(map(len, choices), dtype=np.int64, count=len(choices))
    starts = np.cumsum(counts) - counts
    tokens, rows = np.concatenate(choices), np.repeat(np.arange(len(choices)), counts)
    scores = logits[rows, tokens].astype(np.float64) / temperature
    weights = np.exp(scores - np.maximum.reduceat(scores, starts)[rows])
    sums = np.cumsum(weights)
    before = sums[starts] - weights[starts]
    totals = np.add.reduceat(weights, starts)
    at = np.searchsorted(sums, before + numbers * totals, side="right")
    return [int(each) for each in np.clip(at, starts, starts + counts - 1) - starts]


def _blocks(counts: Iterable[int]) -> Iterable[tuple[int, int]]:
    first = at = size = 0
    for at, count in enumerate(counts):
        if size and size + count > _BLOCK:
            yield first, at
            first, size = at, 0
        size += count
    if size:
        yield first, at + 1
