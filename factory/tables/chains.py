"""Order between columns: `Order(schema, ("start", "end"))` keeps `start <= end` in every row.

Values are compared, not codes: numbers of any kind with one another, dates with dates. A missing cell is passed over, so
that `a <= b <= c` without b still keeps `a <= c`, and a chain of two does not apply where one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from factory.errors import UserError
from factory.tables.column import Column
from factory.tables.domain import Cell, Domain
from factory.tables.ordering import Number, at_least, at_most, greatest, least, scale_of
from factory.tables.schema import Schema


class RelationError(UserError):
    """A relation that cannot be read, that its columns cannot have, or that the table itself breaks."""


class Order:
    """A chain of columns whose values ascend."""

    def __init__(self, schema: Schema, columns: Sequence[str], strict: bool | Sequence[bool] = False) -> None:
        """Keep the chain.

        Args:
            schema: Where the columns are.
            columns: Two or more names, the least value first.
            strict: Whether neighbours must differ; one for all, or one for each pair of neighbours.

        Raises:
            RelationError: If columns cannot be compared.
        """
        self.columns = tuple(columns)
        pairs = len(columns) - 1
        self.strict: tuple[bool, ...] = (strict,) * pairs if isinstance(strict, bool) else tuple(strict)
        self._members = [schema.named[name] for name in columns]
        scales = [scale_of(member) for member in self._members]
        for member, scale in zip(self._members, scales, strict=True):
            if scale is None or scale != scales[0]:
                raise RelationError(
                    f"relation '{self.shown}': column '{member.name}' is of kind {member.kind}; an order needs columns "
                    f"that are all numbers, or all dates."
                )

    @property
    def shown(self) -> str:
        """As the user would write it."""
        signs = [" < " if strict else " <= " for strict in self.strict]
        return self.columns[0] + "".join(sign + name for sign, name in zip(signs, self.columns[1:], strict=True))

    def narrow(self, column: str, known: Mapping[str, Cell], domains: Mapping[str, Domain]) -> Domain:
        """What a column may be so that the chain can be kept; exact for every domain."""
        at, own = self.columns.index(column), domains[column]
        member = self._members[at]
        spared = own.null and self._up(len(self.columns), known, domains, without=at) is not None
        low, high = self._up(at, known, domains), self._down(at, known, domains)
        if low is None or high is None:
            return Domain(null=spared)
        allowed = Domain(own.intervals)
        if low[0] is not None:
            allowed = allowed & at_least(member, low[0], strict=low[1])
        if high[0] is not None:
            allowed = allowed & at_most(member, high[0], strict=high[1])
        return Domain(allowed.intervals, spared)

    def broken(self, cells: Mapping[str, Cell]) -> bool:
        """Whether a row breaks the chain."""
        full = {name: cells.get(name) for name in self.columns}
        return self._up(len(self.columns), full, {}) is None

    def _up(
        self, end: int, known: Mapping[str, Cell], domains: Mapping[str, Domain], without: int = -1
    ) -> tuple[Number | None, bool] | None:
        """The least value up to member `end`, and whether it must be passed; None where the members cannot ascend.

        Of each unknown member the least value is taken that still ascends, which leaves most to the next. A member
        that may be missing is passed over, which leaves more.
        """
        bound: Number | None = None
        strict = False
        for index in range(end):
            member = self._members[index]
            options = None if index == without else _options(member, known, domains)
            if options is not None:
                if bound is not None:
                    options = options & at_least(member, bound, strict=strict)
                bound, strict = least(member, options), False
                if bound is None:
                    return None
            strict = strict or (index < len(self.strict) and self.strict[index])
        return bound, strict

    def _down(
        self, end: int, known: Mapping[str, Cell], domains: Mapping[str, Domain]
    ) -> tuple[Number | None, bool] | None:
        """The greatest value down to member `end`, as `_up`."""
        bound: Number | None = None
        strict = False
        for index in range(len(self.columns) - 1, end, -1):
            member = self._members[index]
            options = _options(member, known, domains)
            if options is not None:
                if bound is not None:
                    options = options & at_most(member, bound, strict=strict)
                bound, strict = greatest(member, options), False
                if bound is None:
                    return None
            strict = strict or self.strict[index - 1]
        return bound, strict


def _options(member: Column, known: Mapping[str, Cell], domains: Mapping[str, Domain]) -> Domain | None:
    """Codes that a member may have; None where it is missing or may be."""
    if member.name in known:
        cell = known[member.name]
        return Domain(((cell, cell),)) if isinstance(cell, int) else None
    domain = domains[member.name]
    return None if domain.null else Domain(domain.intervals)
