"""Relations between columns as recipes write them, and whether the table keeps them.

    relations(schema, table, ["start <= end", "a + b + c = 100", "education -> education-num", "unique(name, born)"])

gives the first three as relations of a row, for `Rules`, and the last as `unique`: a matter between rows, which whoever
gives out rows keeps by drawing again. What can be written:

    a <= b, a < b <= c, c >= a      order of numbers or of dates; a missing cell is passed over
    a + b = total, a + b + c = 100  fixed sums; they do not apply where a cell is missing
    a, b -> c                       c is decided by a and b, as learnt from the table; missing counts as a value
    unique(a, b)                    no two rows agree in both; rows in which one is missing never do

Names may hold spaces and signs: of the columns that fit, the longest is meant. Backticks around a name leave no doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from factory.tables.chains import Order, RelationError
from factory.tables.column import NO_IDENTIFIER
from factory.tables.dependencies import Determines
from factory.tables.domain import Cell
from factory.tables.nearest import did_you_mean
from factory.tables.rules import Relation, Rules
from factory.tables.schema import Schema, Table
from factory.tables.sums import Sum

__all__ = ["Broken", "Constraints", "Determines", "Order", "RelationError", "Sum", "breaks", "check", "impossible",
           "relations"]  # fmt: skip

FORMS = "'a <= b', 'a + b = total', 'a + b = 100', 'a -> b' or 'unique(a, b)'"
_SIGN = re.compile(r"<=|>=|->|==|[<>=+,()]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?![0-9A-Za-z_.])")
_UNIQUE = re.compile(r"\s*unique\s*\((.*)\)\s*", re.DOTALL)
_FLIPPED = {">": "<", ">=": "<="}

Token = tuple[str, str]  # what it is (column, number, sign), and the name or text


class Constraints(msgspec.Struct, frozen=True):
    """What rows must keep.

    Attributes:
        relations: Relations between the cells of one row.
        unique: Groups of columns in which no two rows agree.
    """

    relations: tuple[Relation, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()


class Broken(msgspec.Struct, frozen=True):
    """How a table breaks one constraint.

    Attributes:
        shown: The constraint.
        rows: Indices of the rows that break it, from 0; of rows that must be unique all but the first.
        example: Values of the first of them, in the columns of the constraint.
    """

    shown: str
    rows: tuple[int, ...]
    example: Mapping[str, object]


def relations(schema: Schema, table: Table, texts: Sequence[str]) -> Constraints:
    """Read relations.

    Args:
        schema: The columns.
        table: Training rows, from which `->` is learnt.
        texts: One relation each.

    Raises:
        RelationError: If a text cannot be read, names no known column, or does not suit its columns.
    """
    found: list[Relation] = []
    unique: list[tuple[str, ...]] = []
    for text in texts:
        group = _UNIQUE.fullmatch(text)
        if group:
            unique.append(_names(list(_tokens(group[1], text, schema)), text))
        else:
            found += _relation(list(_tokens(text, text, schema)), text, schema, table)
    return Constraints(tuple(found), tuple(unique))


def breaks(constraints: Constraints, table: Table) -> list[Broken]:
    """The constraints that some rows break, with these rows."""
    found = []
    for relation in constraints.relations:
        columns = [table.cells[name] for name in relation.columns]
        rows = [
            index
            for index, cells in enumerate(zip(*columns, strict=True))
            if relation.broken(dict(zip(relation.columns, cells, strict=True)))
        ]
        found.append((relation.shown, rows, relation.columns))
    for group in constraints.unique:
        found.append((f"unique({', '.join(group)})", _repeated(table, group), group))
    return [Broken(shown, tuple(rows), _values(table, rows[0], names)) for shown, rows, names in found if rows]


def check(constraints: Constraints, table: Table, origin: str) -> None:
    """Refuse a table whose rows break a constraint, as what is learnt from them would not fit.

    Raises:
        RelationError: With the number of such rows and the first of them, for each constraint.
    """
    found = breaks(constraints, table)
    if not found:
        return
    told = []
    for each in found:
        number = "1 row breaks" if len(each.rows) == 1 else f"{len(each.rows):,} rows break"
        example = ", ".join(f"{name} {value!r}" for name, value in each.example.items())
        told.append(f"{number} '{each.shown}', first row {each.rows[0] + 1:,} with {example}")
    raise RelationError(f"{origin}: {'; '.join(told)}. Correct or drop these rows, or drop the relation.")


def impossible(rules: Rules) -> list[str]:
    """Sentences on columns for which nothing is left, whatever the rest of a row is."""
    found = []
    for name, domain in rules.domains.items():
        by = [relation.shown for relation in rules.relations if name in relation.columns]
        if domain.empty:
            found.append(f"column '{name}': nothing that it may hold is allowed; widen its domain or the condition.")
        elif rules.narrow(name, {}).empty:
            kept = " and ".join(f"'{shown}'" for shown in by)
            found.append(f"column '{name}': no value lets {kept} be kept; widen the domains of the columns or drop it.")
    return found


def _repeated(table: Table, group: Sequence[str]) -> list[int]:
    seen: set[tuple[Cell, ...]] = set()
    rows = []
    for index, cells in enumerate(zip(*(table.cells[name] for name in group), strict=True)):
        if cells in seen:
            rows.append(index)
        elif None not in cells:
            seen.add(cells)
    return rows


def _values(table: Table, index: int, names: Sequence[str]) -> dict[str, object]:
    return {name: table.schema.named[name].value(table.cells[name][index]) for name in names}


def _tokens(part: str, text: str, schema: Schema) -> Iterator[Token]:
    at = 0
    names = sorted(schema.names, key=len, reverse=True)
    while at < len(part):
        if part[at].isspace():
            at += 1
            continue
        token, at = _token(part, at, names, text)
        yield token


def _token(part: str, at: int, names: Sequence[str], text: str) -> tuple[Token, int]:
    if part[at] == "`" and "`" in part[at + 1 :]:
        end = part.index("`", at + 1)
        return ("column", _column(part[at + 1 : end], names, text)), end + 1
    for name in names:
        end = at + len(name)
        if name and part.startswith(name, at) and not (_word(name[-1]) and end < len(part) and _word(part[end])):
            return ("column", name), end
    found = _NUMBER.match(part, at)
    if found:
        return ("number", found[0]), found.end()
    sign = _SIGN.match(part, at)
    if sign:
        return ("sign", sign[0]), sign.end()
    after = _SIGN.search(part, at)
    word = part[at : after.start() if after else len(part)].strip()
    return ("column", _column(word, names, text)), at + len(word)


def _word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _column(name: str, names: Sequence[str], text: str) -> str:
    if name not in names and not did_you_mean(name, names) and " " in name:
        raise _unread(text)
    if name not in names:
        raise RelationError(
            f"relation '{text}': no column '{name}'{did_you_mean(name, names)}; the table has {', '.join(sorted(names))}."
        )
    return name


def _names(tokens: Sequence[Token], text: str) -> tuple[str, ...]:
    """Column names with commas between."""
    names = [name for _, name in tokens[::2]]
    commas = all(token == ("sign", ",") for token in tokens[1::2])
    if len(tokens) % 2 == 0 or not commas or any(kind != "column" for kind, _ in tokens[::2]):
        raise _unread(text)
    if len(set(names)) < len(names):
        raise RelationError(f"relation '{text}' names a column twice; expected each column once.")
    return tuple(names)


def _relation(tokens: list[Token], text: str, schema: Schema, table: Table) -> list[Relation]:
    signs = [name for kind, name in tokens if kind == "sign"]
    _check_kinds(tokens, text, schema)
    if "->" in signs:
        return _determined(tokens, text, schema, table)
    operands, alternating = tokens[::2], len(tokens) % 2 == 1 and len(signs) == len(tokens) // 2 > 0
    if not alternating or any(kind == "sign" for kind, _ in operands):
        raise _unread(text)
    if set(signs) <= {"<", "<="} or set(signs) <= {">", ">="}:
        return [_order(operands, signs, text, schema)]
    if {*signs} <= {"+", "=", "=="} and sum(sign != "+" for sign in signs) == 1:
        return [_sum(operands, signs, text, schema)]
    raise _unread(text)


def _check_kinds(tokens: Sequence[Token], text: str, schema: Schema) -> None:
    for kind, name in tokens:
        if kind == "column" and schema.named[name].kind == "identifier":
            raise RelationError(
                f"relation '{text}': column '{name}' is an identifier, which is made up anew. {NO_IDENTIFIER}"
            )


def _order(operands: Sequence[Token], signs: Sequence[str], text: str, schema: Schema) -> Order:
    if any(kind == "number" for kind, _ in operands):
        raise RelationError(f"relation '{text}' compares with a number; bound the column by 'low' and 'high' instead.")
    names = [name for _, name in operands]
    if len(set(names)) < len(names):
        raise RelationError(f"relation '{text}' names a column twice; expected each column once.")
    if signs[0] in _FLIPPED:
        names, signs = names[::-1], [_FLIPPED[sign] for sign in reversed(signs)]
    return Order(schema, names, [sign == "<" for sign in signs])


def _sum(operands: Sequence[Token], signs: Sequence[str], text: str, schema: Schema) -> Sum:
    at = next(index for index, sign in enumerate(signs) if sign != "+") + 1
    left, right = list(operands[:at]), list(operands[at:])
    if len(left) == 1 and (len(right) > 1 or left[0][0] == "number"):
        left, right = right, left
    if len(right) != 1 or any(kind != "column" for kind, _ in left):
        raise _unread(text)
    kind, name = right[0]
    number = int(name) if name.lstrip("+-").isdigit() else name
    total = name if kind == "column" else number if isinstance(number, int) else float(name)
    return Sum(schema, [name for _, name in left], total)


def _determined(tokens: Sequence[Token], text: str, schema: Schema, table: Table) -> list[Relation]:
    at = tokens.index(("sign", "->"))
    by, decided = _names(tokens[:at], text), _names(tokens[at + 1 :], text)
    if set(by) & set(decided):
        raise RelationError(f"relation '{text}' names a column on both sides; expected each column once.")
    return [Determines(schema, by, what, table) for what in decided]


def _unread(text: str) -> RelationError:
    return RelationError(f"relation '{text}' cannot be read; expected {FORMS}, with names of columns.")
