import itertools
import operator
import random
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float
from factory.tables.domain import Domain, just, of_codes, union
from factory.tables.inferring import Correction, infer
from factory.tables.ordering import at_least, at_most, value_of
from factory.tables.relations import (
    Constraints,
    Determines,
    Order,
    RelationError,
    Sum,
    breaks,
    check,
    impossible,
    relations,
)
from factory.tables.rules import Rules
from factory.tables.schema import Schema, Table

NAMES = "abcd"
ZERO = code_of_float(0.0)


def one_column(name):
    """Columns of every kind that has numbers, with few codes."""
    numbers = st.lists(st.sampled_from([-1, 0, 0.5, 2, 3.5, 4]), min_size=1, max_size=4, unique=True)
    return st.one_of(
        st.builds(lambda low, n, null: Column(name=name, kind="integer", low=low, high=low + n, nullable=null), st.integers(-2, 3), st.integers(0, 4), st.booleans()),
        st.builds(lambda low, n, null: Column(name=name, kind="decimal", places=1, low=low, high=low + n, nullable=null), st.integers(-12, 35), st.integers(0, 5), st.booleans()),
        st.builds(lambda values, null: Column(name=name, kind="category", categories=tuple(values), nullable=null), numbers, st.booleans()),
    )  # fmt: skip


def floats(name):
    return st.builds(
        lambda low, n: Column(name=name, kind="float", low=code_of_float(low), high=code_of_float(low) + n),
        st.sampled_from([0.0, 2.0, 0.5, -1.0, 3.5]),
        st.integers(0, 2),
    )


def dates(name):
    day = st.builds(
        lambda low, n, null: Column(name=name, kind="date", low=low, high=low + n, nullable=null),
        st.integers(27, 33),
        st.integers(0, 4),
        st.booleans(),
    )
    hour = st.builds(
        lambda low, n: Column(name=name, kind="date", form="%Y-%m-%dT%H", low=low, high=low + n),
        st.integers(700, 760),
        st.integers(0, 4),
    )
    month = st.builds(
        lambda low, n: Column(name=name, kind="date", form="%Y-%m", low=low, high=low + n),
        st.integers(0, 2),
        st.integers(0, 2),
    )
    return st.one_of(day, hour, month)  # fmt: skip


@st.composite
def cases(draw, kind, least=2, most=4):
    """Columns, a restriction for some, and cells known of some; the column to narrow is not known."""
    columns = [draw(kind(name)) for name in NAMES[: draw(st.integers(least, most))]]
    domains, known = {}, {}
    for column in columns:
        cells = every(column.domain)
        kept = draw(st.one_of(st.just(cells), st.lists(st.sampled_from(cells), unique=True)))
        domains[column.name] = domain_of(kept)
    for column in columns[1:]:
        if draw(st.booleans()):
            known[column.name] = draw(st.sampled_from(every(column.domain)))
    asked = columns[0].name
    shuffled = draw(st.permutations(columns))
    return Schema(tuple(shuffled)), domains, known, asked


def every(domain):
    return [*domain.codes(), *domain.texts, *([None] if domain.null else [])]


def domain_of(cells):
    codes = of_codes(cell for cell in cells if isinstance(cell, int))
    return Domain(codes.intervals, None in cells, texts=tuple(cell for cell in cells if isinstance(cell, str)))


def possible(schema, domains, known, asked, keeps):
    """By trying everything."""
    names = schema.names
    options = [[known[name]] if name in known else every(domains[name]) for name in names]
    return {row[names.index(asked)] for row in itertools.product(*options) if keeps(dict(zip(names, row, strict=True)))}


def value(schema, name, cell):
    return None if cell is None else value_of(schema.named[name], cell)


def ascends(schema, columns, strict):
    def keeps(row):
        present = [(i, value(schema, name, row[name])) for i, name in enumerate(columns) if row[name] is not None]
        return all(x < y or (x == y and not any(strict[i:j])) for (i, x), (j, y) in itertools.pairwise(present))

    return keeps


@settings(max_examples=250, deadline=None)
@given(
    st.one_of(
        cases(one_column), cases(floats), cases(dates), cases(lambda name: st.one_of(one_column(name), floats(name)))
    ),
    st.data(),
)
def test_order_is_sound_and_complete(case, data):
    schema, domains, known, asked = case
    strict = data.draw(st.lists(st.booleans(), min_size=len(schema.names) - 1, max_size=len(schema.names) - 1))
    order = Order(schema, schema.names, strict)
    keeps = ascends(schema, schema.names, strict)
    assert set(every(order.narrow(asked, known, domains))) == possible(schema, domains, known, asked, keeps)
    for row in itertools.islice(itertools.product(*(every(domains[name]) for name in schema.names)), 50):
        cells = dict(zip(schema.names, row, strict=True))
        assert order.broken(cells) == (not keeps(cells))


@pytest.mark.parametrize("strict", [(True, False), (False, True)])
def test_a_chain_stays_strict_across_a_missing_cell(strict):
    schema = Schema(tuple(Column(name=name, kind="integer", high=9, nullable=True) for name in "abc"))
    order = Order(schema, "abc", strict)
    assert order.broken({"a": 5, "b": None, "c": 5})
    assert not order.broken({"a": 5, "b": None, "c": 6})
    domains = {column.name: column.domain for column in schema.columns}
    assert order.narrow("a", {"b": None, "c": 5}, domains).intervals == ((0, 4),)
    assert order.narrow("c", {"a": 5, "b": None}, domains).intervals == ((6, 9),)


def exact(column, cell):
    if column.kind == "category":
        return Fraction(str(column.categories[cell]))
    return Fraction(cell, 10**column.places)


@settings(max_examples=250, deadline=None)
@given(cases(one_column, least=1), st.sampled_from([0, 3, 4.5, -1.2, 7, None]))
def test_sum_is_sound_and_complete(case, number):
    schema, domains, known, asked = case
    if number is None and len(schema.names) < 2:
        number = 3
    parts = schema.names if number is not None else schema.names[:-1]
    total = schema.names[-1] if number is None else number

    def keeps(row):
        if None in row.values():
            return True
        held = {name: exact(schema.named[name], cell) for name, cell in row.items()}
        return sum(held[name] for name in parts) == (held[total] if isinstance(total, str) else Fraction(str(total)))

    found = Sum(schema, parts, total)
    assert set(every(found.narrow(asked, known, domains))) == possible(schema, domains, known, asked, keeps)
    for row in itertools.islice(itertools.product(*(every(domains[name]) for name in schema.names)), 50):
        cells = dict(zip(schema.names, row, strict=True))
        assert found.broken(cells) == (not keeps(cells))


@settings(max_examples=200, deadline=None)
@given(cases(one_column), st.data())
def test_determines_is_sound_and_complete(case, data):
    schema, domains, known, asked = case
    *by, what = schema.names
    keys = data.draw(
        st.lists(
            st.tuples(*(st.sampled_from(every(schema.named[name].domain)) for name in by)), unique=True, min_size=1
        )
    )
    cells = [data.draw(st.sampled_from(every(schema.named[what].domain))) for _ in keys]
    rows = [(*key, cell) for key, cell in zip(keys, cells, strict=True)]
    table = Table(schema, {name: [row[i] for row in rows] for i, name in enumerate(schema.names)}, len(rows))
    found = Determines(schema, by, what, table)

    def keeps(row):
        return tuple(row[name] for name in schema.names) in rows

    for _ in range(2):  # the second answer is a kept one
        assert set(every(found.narrow(asked, known, domains))) == possible(schema, domains, known, asked, keeps)
    assert not any(found.broken(table.row(i)) for i in range(len(rows)))


@settings(max_examples=200)
@given(
    st.one_of(one_column("a"), floats("a")),
    st.one_of(st.integers(-3, 5), st.floats(-3, 5), st.floats(allow_nan=False, allow_infinity=False), st.integers()),
    st.booleans(),
)
def test_bounds_by_value(column, bound, strict):
    up, down = (operator.gt, operator.lt) if strict else (operator.ge, operator.le)
    codes = list(Domain(column.domain.intervals).codes())
    assert list(at_least(column, bound, strict=strict).codes()) == [c for c in codes if up(value_of(column, c), bound)]
    assert list(at_most(column, bound, strict=strict).codes()) == [c for c in codes if down(value_of(column, c), bound)]


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 9), st.sampled_from("xy")), unique=True)))
def test_unions(cells):
    found = union(domain_of(each) for each in cells)
    assert set(every(found)) == {cell for each in cells for cell in each}
    assert all(low > high + 1 for (_, high), (low, _) in itertools.pairwise(found.intervals))


ROWS = [
    {"start": "1", "end": "5", "a": "10", "b": "20", "total": "30", "education": "BA", "education-num": "13", "a b": "1", "a <= b": "2", "id": "k1", "note": "so"},
    {"start": "2", "end": "2", "a": "1", "b": "2", "total": "3", "education": "MA", "education-num": "14", "a b": "1", "a <= b": "3", "id": "k2", "note": "so"},
    {"start": "3", "end": "4", "a": "5", "b": "7", "total": "12", "education": "BA", "education-num": "13", "a b": "2", "a <= b": "5", "id": "k3", "note": "no"},
]  # fmt: skip
TABLE = infer(ROWS, origin="t.csv").table
SCHEMA = TABLE.schema


@pytest.mark.parametrize(
    ("text", "shown", "kind"),
    [
        ("start <= end", "start <= end", Order),
        ("end>=start", "start <= end", Order),
        ("start<end", "start < end", Order),
        ("a < b <= total", "a < b <= total", Order),
        ("total >= b > a", "a < b <= total", Order),
        ("a + b = total", "a + b = total", Sum),
        ("total == a+b", "a + b = total", Sum),
        ("a + b + total = 100", "a + b + total = 100", Sum),
        ("100.5 = a + b", "a + b = 100.5", Sum),
        ("a = 10", "a = 10", Sum),
        ("education -> education-num", "education -> education-num", Determines),
        ("education->education-num", "education -> education-num", Determines),
        ("education, start -> end", "education, start -> end", Determines),
        ("`a <= b` >= a b", "a b <= a <= b", Order),
        ("a b <= a <= b", "a b <= a <= b", Order),
        ("`a` <= `b`", "a <= b", Order),
    ],
)
def test_what_can_be_written(text, shown, kind):
    (found,) = relations(SCHEMA, TABLE, [text]).relations
    assert (found.shown, type(found)) == (shown, kind)


def test_the_longest_name_is_meant():
    (found,) = relations(SCHEMA, TABLE, ["a b <= a <= b"]).relations
    assert found.columns == ("a b", "a <= b")
    assert relations(SCHEMA, TABLE, ["unique(start, a b)", "unique ( id )"]).unique == (("start", "a b"), ("id",))
    assert len(relations(SCHEMA, TABLE, ["start -> a, b"]).relations) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strat <= end", "no column 'strat' (did you mean 'start'?)"),
        ("start <= `nd`", "no column 'nd' (did you mean 'end'?)"),
        ("start <= 5", "bound the column by 'low' and 'high'"),
        ("start", "cannot be read; expected 'a <= b'"),
        ("", "cannot be read"),
        ("start <=", "cannot be read"),
        ("start end", "cannot be read"),
        ("start plus a is total", "cannot be read"),
        ("start <= end >= a", "cannot be read"),
        ("a + b", "cannot be read"),
        ("a + 5 = b", "cannot be read"),
        ("a -> ", "cannot be read"),
        ("a -> b -> total", "cannot be read"),
        ("unique()", "cannot be read"),
        ("unique(a,)", "cannot be read"),
        ("unique(a, a)", "names a column twice"),
        ("a <= a", "names a column twice"),
        ("a + a = b", "names a column twice"),
        ("a -> a", "on both sides"),
        ("education <= start", "column 'education' is of kind category; an order needs"),
        ("education + a = b", "column 'education' is of kind category; a sum needs"),
        ("id -> a", "column 'id' is an identifier"),
        ("a b -> start", "does not hold in the table: row 1 has a b 1, start 1, but row 2 has a b 1, start 2"),
    ],
)
def test_what_cannot_be_written(text, message):
    with pytest.raises(RelationError) as raised:
        relations(SCHEMA, TABLE, [text])
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"relation '{text}'")


def test_a_table_that_breaks_a_relation_is_refused():
    constraints = relations(SCHEMA, TABLE, ["start < end", "a + b = total", "unique(note)", "unique(start)"])
    assert [(each.shown, each.rows) for each in breaks(constraints, TABLE)] == [
        ("start < end", (1,)),
        ("unique(note)", (1,)),
    ]
    with pytest.raises(RelationError) as raised:
        check(constraints, TABLE, "t.csv")
    assert str(raised.value) == (
        "t.csv: 1 row breaks 'start < end', first row 2 with start 2, end 2; 1 row breaks 'unique(note)', first row 2 with "
        "note 'so'. Correct or drop these rows, or drop the relation."
    )
    check(Constraints(), TABLE, "t.csv")


def test_missing_cells_are_never_the_same():
    table = infer([{"a": "", "b": "1"}, {"a": "", "b": "1"}, {"a": "2", "b": "1"}], origin="t.csv").table
    assert breaks(Constraints(unique=(("a", "b"),)), table) == []


def test_what_is_impossible_is_told():
    schema = Schema((Column(name="a", kind="integer", low=5, high=9), Column(name="b", kind="integer", low=0, high=4)))
    table = Table(schema, {"a": [], "b": []}, 0)
    order = relations(schema, table, ["a <= b"]).relations
    told = impossible(Rules(schema, order))
    assert told[0] == "column 'a': no value lets 'a <= b' be kept; widen the domains of the columns or drop it."
    assert len(told) == 2
    assert "widen its domain or the condition" in impossible(Rules(schema, (), {"a": just(3)}))[0]
    assert impossible(Rules(schema, relations(schema, table, ["b < a"]).relations)) == []


def test_rules_take_wishes_of_a_row_into_account():
    schema = Schema((Column(name="a", kind="integer", high=9), Column(name="b", kind="integer", high=9)))
    rules = Rules(schema, [Order(schema, ("a", "b"))], {"b": Domain(((0, 7),))})
    assert rules.narrow("a", {}).intervals == ((0, 7),)
    assert rules.narrow("a", {}, {"b": Domain(((2, 3),))}).intervals == ((0, 3),)
    assert rules.narrow("b", {"a": 2}, {"b": Domain(((1, 9),))}).intervals == ((2, 7),)
    assert rules.broken({"a": 5, "b": 4}) == "a <= b"
    assert rules.broken({"a": 5, "b": 8}) == "domain of b"
    assert rules.broken({"a": 5, "b": 6}) is None


def test_rows_drawn_under_relations_rarely_end_dead():
    rows = [{"p": f"{i % 40}", "q": f"{(i * 7) % 30}", "r": f"{(i * 3) % 50}.5"} for i in range(300)]
    rows = [{**row, "t": f"{float(row['p']) + float(row['q']) + float(row['r'])}"} for row in rows]
    table = infer(rows, {"t": Correction(low=0, high=200)}, origin="t.csv").table
    rules = Rules(table.schema, relations(table.schema, table, ["p + q + r = t"]).relations)
    draw = random.Random(1)
    begun = time.perf_counter()
    for _ in range(300):
        cells = {}
        for name in draw.sample(table.schema.names, 4):
            domain = rules.narrow(name, cells)
            low, high = draw.choice(domain.intervals)
            cells[name] = draw.randint(low, high)
        assert rules.broken(cells) is None
    assert time.perf_counter() - begun < 5


def test_sums_of_very_many_gaps_allow_too_much_but_never_too_little():
    columns = [
        Column(name=name, kind="category", categories=tuple(range(0, 3**9, 3 + i))) for i, name in enumerate("abc")
    ]
    found = Sum(Schema(tuple(columns)), "abc", 3**9)
    domains = {column.name: column.domain for column in columns}
    assert found.narrow("c", {}, domains).size > 0
