"""A small table in which y follows from x, and settings that learn it in seconds."""

import random

from factory.tables.column import Column
from factory.tables.great.settings import Scratch, Settings
from factory.tables.schema import Schema, Table, table_of

LETTERS = tuple("abcdef")
COLOURS = ("red", "green", "blue", "black", "white", "pink")
SCHEMA = Schema(
    (
        Column(name="id", kind="identifier"),
        Column(name="x", kind="category", categories=LETTERS),
        Column(name="y", kind="category", categories=COLOURS),
        Column(name="n", kind="integer", low=0, high=9, nullable=True),
    )
)
TINY = Scratch(vocabulary=320, hidden=64, layers=2, heads=2, context=64)
QUICK = Settings(scratch=TINY, rows=16, epochs=2, learning_rate=5e-3)


def small_table(rows: int = 200, seed: int = 1) -> Table:
    draw = random.Random(seed)
    values = []
    for number in range(rows):
        at = draw.randrange(len(LETTERS))
        values.append({"id": str(number), "x": LETTERS[at], "y": COLOURS[at], "n": draw.choice([None, *range(10)])})
    return table_of(SCHEMA, values)
