"""A relation for the tests of generators that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from factory.tables.domain import Cell, Domain


class AtMost:
    """`first <= second`, where both are there."""

    def __init__(self, first: str, second: str) -> None:
        self.columns = (first, second)

    @property
    def shown(self) -> str:
        return " <= ".join(self.columns)

    def narrow(self, column: str, known: Mapping[str, Cell], domains: Mapping[str, Domain]) -> Domain:
        first, second = self.columns
        far = 10**60
        other = known.get(second if column == first else first)
        if not isinstance(other, int):
            return Domain(((-far, far),), null=True)
        return Domain(((-far, other),) if column == first else ((other, far),), null=True)

    def broken(self, cells: Mapping[str, Cell]) -> bool:
        first, second = (cells.get(name) for name in self.columns)
        return isinstance(first, int) and isinstance(second, int) and first > second
