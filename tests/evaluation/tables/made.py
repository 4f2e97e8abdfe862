"""Small tables with a known truth, for the tests of their evaluation."""

import numpy as np

from factory.tables.column import Column
from factory.tables.schema import Schema, Table

SCHEMA = Schema(
    (
        Column(name="age", kind="integer", nullable=True, low=0, high=200),
        Column(name="group", kind="category", categories=("a", "b", "c", "d")),
        Column(name="number", kind="integer", low=0, high=3),
        Column(name="wage", kind="decimal", places=2, low=-(10**7), high=10**7),
        Column(name="rich", kind="boolean", categories=(False, True)),
    )
)


def made(rows: int, seed: int) -> Table:
    """Rows where `number` is decided by `group`, `wage` by `age` and `group`, and `rich` by `wage`."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, rows)
    group = random.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    wage = age * 100 + group * 3000 + random.normal(0, 800, rows).astype(int)
    rich = wage > 9000
    missing = random.random(rows) < 0.05
    cells = {
        "age": [None if gone else int(value) for gone, value in zip(missing, age, strict=True)],
        "group": group.tolist(),
        "number": (3 - group).tolist(),
        "wage": wage.tolist(),
        "rich": rich.astype(int).tolist(),
    }
    return Table(SCHEMA, cells, rows)


def shuffled(table: Table, seed: int) -> Table:
    random = np.random.default_rng(seed)
    return Table(
        table.schema, {name: [cells[at] for at in random.permutation(table.rows)] for name, cells in table.cells.items()},
        table.rows,
    )  # fmt: skip


def values(table: Table) -> list[dict]:
    return [table.schema.row(table.row(at)) for at in range(table.rows)]
