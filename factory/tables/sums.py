"""Fixed sums: `Sum(schema, ("rent", "food"), "spent")` keeps `rent + food = spent`, `Sum(schema, parts, 100)` a total.

Numbers are added exactly, as multiples of the finest decimal place of all columns. The relation does not apply to rows
in which a part or the total is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from factory.tables.chains import RelationError
from factory.tables.column import Column
from factory.tables.domain import Cell, Domain, Interval, of_codes, union
from factory.tables.numbers import scaled
from factory.tables.schema import Schema

MOST_GAPS = 4096  # intervals of a set of sums; of a set with more, only the ends are kept


class Sum:
    """Columns that add up to a column or a number."""

    def __init__(self, schema: Schema, parts: Sequence[str], total: str | int | float) -> None:
        """Keep the sum.

        Args:
            schema: Where the columns are.
            parts: Columns to add, each once.
            total: Name of the column that holds the sum, or the number that it always is.

        Raises:
            RelationError: If a column holds no whole or decimal numbers, or is named twice.
        """
        self.parts, self.total = tuple(parts), total
        self.columns = (*self.parts, total) if isinstance(total, str) else self.parts
        self._members = {name: schema.named[name] for name in self.columns}
        if len(self._members) < len(self.columns):
            raise RelationError(f"relation '{self.shown}' names a column twice; expected each column once.")
        number = format(Decimal(repr(total)), "f") if not isinstance(total, str) else "0"
        self._places = max(
            len(number.removesuffix(".0").partition(".")[2]),
            *(self._places_of(each) for each in self._members.values()),
        )
        self._fixed = scaled(number, self._places)
        self._signs = {name: 1 for name in self.parts} | ({total: -1} if isinstance(total, str) else {})
        self._values = {name: self._units(member) for name, member in self._members.items() if member.categories}
        self._steps = {name: 10 ** (self._places - member.places) for name, member in self._members.items()}

    @property
    def shown(self) -> str:
        """As the user would write it."""
        return f"{' + '.join(self.parts)} = {self.total}"

    def narrow(self, column: str, known: Mapping[str, Cell], domains: Mapping[str, Domain]) -> Domain:
        """What a column may be so that the sum can be kept.

        Exact, unless the sums of the unknown columns fall into more than 4,096 separate ranges; then some cells are
        allowed that leave nothing for a later one.
        """
        own = domains[column]
        others = [name for name in self.columns if name != column]
        if any(domains[name].empty for name in others if name not in known):
            return Domain()
        if any(known[name] is None if name in known else domains[name].null for name in others):
            return own
        rest = self._fixed - sum(self._signs[name] * self._unit(name, known[name]) for name in others if name in known)
        sums = self._sums([name for name in others if name not in known], domains)
        sign = self._signs[column]
        wanted = [(rest - high, rest - low) for low, high in reversed(sums)]
        if sign < 0:
            wanted = [(-high, -low) for low, high in reversed(wanted)]
        return Domain((Domain(own.intervals) & self._codes(column, wanted)).intervals, own.null)

    def broken(self, cells: Mapping[str, Cell]) -> bool:
        """Whether a row breaks the sum."""
        if any(cells.get(name) is None for name in self.columns):
            return False
        return sum(self._signs[name] * self._unit(name, cells[name]) for name in self.columns) != self._fixed

    def _unit(self, name: str, cell: Cell) -> int:
        """The value of a cell in units of the finest place."""
        if not isinstance(cell, int):
            raise ValueError(f"column '{name}' has no number")
        return self._values[name][cell] if name in self._values else cell * self._steps[name]

    def _places_of(self, member: Column) -> int:
        if member.kind in ("integer", "decimal"):
            return member.places
        numbers = [each for each in member.categories if isinstance(each, int | float) and not isinstance(each, bool)]
        if member.kind != "category" or len(numbers) < max(1, len(member.categories)):
            raise RelationError(
                f"relation '{self.shown}': column '{member.name}' is of kind {member.kind}; a sum needs whole numbers or "
                f"decimals: correct its kind, with 'places' for a column of floats."
            )
        return max(len(format(Decimal(repr(each)), "f").removesuffix(".0").partition(".")[2]) for each in numbers)

    def _units(self, member: Column) -> list[int]:
        return [scaled(repr(each), self._places) for each in member.categories]

    def _sums(self, names: Sequence[str], domains: Mapping[str, Domain]) -> list[Interval]:
        """All sums of some columns, totals counted negative, as disjoint ranges in order; steps of 1 first."""
        sums: list[Interval] = [(0, 0)]
        for name in sorted(names, key=lambda name: (name in self._values, self._steps[name])):
            sums = _added(sums, self._runs(name, domains[name]))
        return sums

    def _runs(self, name: str, domain: Domain) -> list[tuple[int, int, int]]:
        """Signed values of a domain, as (least, greatest, step)."""
        sign = self._signs[name]
        if name in self._values:
            points = [sign * self._values[name][code] for code in domain.codes()]
            return [(point, point, 1) for point in points]
        step = self._steps[name]
        ends = [(sign * low * step, sign * high * step) for low, high in domain.intervals]
        return [(min(pair), max(pair), step) for pair in ends]

    def _codes(self, name: str, wanted: Sequence[Interval]) -> Domain:
        """The codes of a column whose values lie in some ranges."""
        if name in self._values:
            allowed = Domain(tuple(wanted))
            return of_codes(code for code, value in enumerate(self._values[name]) if allowed.holds(value))
        step = self._steps[name]
        codes = [(-(-low // step), high // step) for low, high in wanted]
        return union(Domain((pair,)) for pair in codes if pair[0] <= pair[1])


def _added(sums: Sequence[Interval], runs: Sequence[tuple[int, int, int]]) -> list[Interval]:
    """All sums of a number of the one and a number of the other."""
    if not sums or not runs:
        return []
    found: list[Interval] = []
    for low, high in sums:
        for first, last, step in runs:
            if high - low + 1 >= step or first == last:
                found.append((low + first, high + last))
            elif (last - first) // step + len(found) <= MOST_GAPS:
                found += [(low + at, high + at) for at in range(first, last + 1, step)]
            else:
                return [(sums[0][0] + min(run[0] for run in runs), sums[-1][1] + max(run[1] for run in runs))]
    merged = union(Domain((pair,)) for pair in found).intervals
    return list(merged) if len(merged) <= MOST_GAPS else [(merged[0][0], merged[-1][1])]
