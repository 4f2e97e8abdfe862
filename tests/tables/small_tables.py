"""Small tables for the tests of generators."""

from __future__ import annotations

import numpy as np

from factory.tables.column import Column, code_of_float
from factory.tables.schema import Schema, Table

HUGE = 10**30


def mixed(rows: int, seed: int = 0) -> Table:
    """Every kind that has codes, with missing cells, a constant, a column that is all missing, and huge numbers."""
    rng = np.random.default_rng(seed)
    size = rng.integers(0, 3, rows)
    number = rng.normal(size=rows)
    spread = [code_of_float(float(each)) for each in number]
    huge = [int(each * 10**6) * HUGE for each in rng.random(rows)]
    schema = Schema(
        (
            Column(name="id", kind="identifier"),
            Column(name="size", kind="category", categories=("S", "M", "L", "never seen")),
            Column(name="weight", kind="integer", low=-5, high=60, nullable=True),
            Column(name="price", kind="decimal", places=2, low=0, high=999_999),
            Column(name="number", kind="float", low=min(spread), high=max(spread)),
            Column(name="day", kind="date", low=18_000, high=19_000),
            Column(name="huge", kind="integer", low=0, high=HUGE * 10**6),
            Column(name="same", kind="integer", low=7, high=7),
            Column(name="gone", kind="integer", low=1, high=0, nullable=True),
        )
    )
    weights = [None if rng.random() < 0.2 else int(20 * each + rng.integers(0, 5)) for each in size]
    return Table(
        schema,
        {
            "id": [str(row) for row in range(rows)],
            "size": size.tolist(),
            "weight": weights,
            "price": (100 * np.round(np.exp(number + 3), 1)).astype(int).tolist(),
            "number": spread,
            "day": rng.integers(18_000, 19_000, rows).tolist(),
            "huge": huge,
            "same": [7] * rows,
            "gone": [None] * rows,
        },
        rows,
    )


def say(line: str) -> None:
    """Nobody listens."""
