"""Relations between cells of a row, kept while it is drawn: what is known narrows what may follow.

With `start <= end` and a start of 17, `narrow("end", {"start": 17})` allows 17 and more, and before the start is known
only ends that leave room for one. A generator asks before it draws a cell; what it draws is then in domain and in relation.
Where the cells drawn first leave nothing for a later one, the domain is empty and the row is given up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from factory.tables.domain import Cell, Domain
from factory.tables.schema import Schema

Known = Mapping[str, Cell]
Domains = Mapping[str, Domain]


class Relation(Protocol):
    """A relation between cells of one row."""

    @property
    def shown(self) -> str:
        """As the user would write it, e.g. `start <= end`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it relates."""

    def narrow(self, column: str, known: Known, domains: Domains) -> Domain:
        """What one of its columns may be, given cells that are known and the domains of those that are not.

        What it gives is exact: a cell is allowed if and only if the unknown ones can be filled from their domains so
        that the row keeps the relation. Where a relation says less (`Sum` over very many gaps), it allows too much.
        """

    def broken(self, cells: Known) -> bool:
        """Whether a whole row breaks it."""


class Rules:
    """All relations over a schema, and the domain of each column."""

    def __init__(
        self, schema: Schema, relations: Sequence[Relation] = (), restricted: Mapping[str, Domain] | None = None
    ) -> None:
        """Keep these relations; `restricted` cuts down the domains of some columns for every row."""
        self.schema = schema
        self.relations = tuple(relations)
        restricted = restricted or {}
        self.domains: dict[str, Domain] = {
            column.name: column.domain & restricted[column.name] if column.name in restricted else column.domain
            for column in schema.columns
        }
        self._of: dict[str, list[Relation]] = {}
        for relation in self.relations:
            for name in relation.columns:
                self._of.setdefault(name, []).append(relation)

    @property
    def linked(self) -> frozenset[str]:
        """Columns whose domain depends on other cells of the row; for all others `narrow` gives `domains`."""
        return frozenset(self._of)

    def narrow(self, column: str, known: Known, wanted: Domains | None = None) -> Domain:
        """What a cell may be.

        Args:
            column: Its column.
            known: Cells of the row that are drawn already.
            wanted: Further restrictions of this row, by column.

        Returns:
            The cells that each relation by itself leaves possible. Two relations that share columns may together leave
            less; then a later domain comes out empty and the row is given up.
        """
        relations = self._of.get(column, ())
        domains = self.domains
        if wanted:
            names = {column}.union(*(relation.columns for relation in relations))
            domains = {name: self._cut(name, wanted) for name in names}
        domain = domains[column]
        for relation in relations:
            domain = domain & relation.narrow(column, known, domains)
        return domain

    def _cut(self, name: str, wanted: Domains) -> Domain:
        domain = self.domains[name]
        return domain & wanted[name] if name in wanted else domain

    def within(self, wanted: Domains | None) -> Domains:
        """The domains of a row with further restrictions."""
        if not wanted:
            return self.domains
        return {**self.domains, **{name: self.domains[name] & domain for name, domain in wanted.items()}}

    def broken(self, cells: Known) -> str | None:
        """What a whole row breaks: a relation or a domain, as the user would write it; None if nothing."""
        for name, domain in self.domains.items():
            if name in cells and not domain.holds(cells[name]):
                return f"domain of {name}"
        return self.unrelated(cells)

    def unrelated(self, cells: Known) -> str | None:
        """The relation that cells break, whether they are in their domains or not; only those with all cells there."""
        whole = (relation for relation in self.relations if cells.keys() >= set(relation.columns))
        return next((relation.shown for relation in whole if relation.broken(cells)), None)
