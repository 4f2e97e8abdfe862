"""How many rows are such as the table may hold: complete, readable, in domain, in relation.

    validity(schema, rules, [{"age": "39"}, {"age": "old"}])
        ->  Validity(rows=2, complete=1.0, readable=0.5, in_domain=1.0, valid=0.5, faults={"age: unreadable": 1})

A row may be raw values as a file holds them, of which some cannot be read, or cells. Every fault is counted by column and
reason; relations by how the user would write them. An unknown category is out of domain, not unreadable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from factory.tables.column import CATEGORICAL, CellError
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema, Table

MISSING = "missing"
UNREADABLE = "unreadable"
OUTSIDE = "out of domain"
RELATION = "relation"
_KINDS = (MISSING, UNREADABLE, OUTSIDE, RELATION)
Rows = Table | Sequence[Mapping[str, object]]


class Validity(msgspec.Struct, frozen=True):
    """Shares of rows, each in [0, 1]; 1.0 where there are no rows.

    Attributes:
        rows: Number of rows.
        complete: Share that lacks no cell of a column that must be filled.
        readable: Share whose cells all have the form of their column.
        in_domain: Share whose cells are all in domain, as far as they are there and can be read.
        in_relation: Share that breaks no given relation, as far as the row can be read.
        valid: Share that is all of this.
        faults: Number of rows by `column: reason`, or by the relation that is broken; the most frequent first.
    """

    rows: int
    complete: float
    readable: float
    in_domain: float
    in_relation: float
    valid: float
    faults: dict[str, int]


def validity(schema: Schema, rules: Rules, rows: Rows) -> Validity:
    """Count what is wrong with rows."""
    return checked(schema, rules, rows)[0]


def checked(schema: Schema, rules: Rules, rows: Rows) -> tuple[Validity, Table]:
    """What is wrong with rows, and the table of those that can be read: domain and relations may still be broken."""
    faults: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    read: list[Cells] = []
    for cells, found in _each(schema, rules, rows):
        faults.update(f"{name}: {kind}" if name else kind for name, kind in found)
        kinds.update({kind if name else RELATION for name, kind in found})
        kinds["faulty"] += bool(found)
        if cells is not None:
            read.append(cells)
    count = rows.rows if isinstance(rows, Table) else len(rows)
    shares = {kind: 1 - kinds[kind] / count if count else 1.0 for kind in (*_KINDS, "faulty")}
    ordered = dict(sorted(faults.items(), key=lambda each: (-each[1], each[0])))
    table = {name: [cells[name] for cells in read] for name in schema.names}
    told = Validity(
        rows=count,
        complete=shares[MISSING],
        readable=shares[UNREADABLE],
        in_domain=shares[OUTSIDE],
        in_relation=shares[RELATION],
        valid=shares["faulty"],
        faults=ordered,
    )
    return told, Table(schema, table, len(read))


def _each(schema: Schema, rules: Rules, rows: Rows) -> list[tuple[Cells | None, list[tuple[str, str]]]]:
    if isinstance(rows, Table):
        return [_judged(rules, rows.row(number), []) for number in range(rows.rows)]
    return [_judged(rules, *_read(schema, row)) for row in rows]


def _read(schema: Schema, row: Mapping[str, object]) -> tuple[Cells, list[tuple[str, str]]]:
    """Cells that can be read, and what is wrong with the others."""
    cells: Cells = {}
    faults = []
    for column in schema.columns:
        try:
            cells[column.name] = column.cell(row.get(column.name))
        except CellError:
            faults.append((column.name, OUTSIDE if column.kind in CATEGORICAL else UNREADABLE))
    return cells, faults


def _judged(rules: Rules, cells: Cells, faults: list[tuple[str, str]]) -> tuple[Cells | None, list[tuple[str, str]]]:
    """The cells, if all could be read, and everything that is wrong."""
    whole = not faults
    for name, domain in rules.domains.items():
        if name in cells and not domain.holds(cells[name]):
            faults.append((name, MISSING if cells[name] is None else OUTSIDE))
    if whole:
        faults += [("", f"breaks {relation.shown}") for relation in rules.relations if relation.broken(cells)]
    return (cells if whole else None), faults
