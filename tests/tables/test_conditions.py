import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float
from factory.tables.conditions import ConditionError, conditions, shares
from factory.tables.domain import Domain
from factory.tables.inferring import infer
from factory.tables.ordering import value_of
from factory.tables.schema import Schema

SCHEMA = Schema(
    (
        Column(name="income", kind="category", categories=("<=50K", "= 5", ">50K", "1 .. 2")),
        Column(name="age", kind="integer", low=17, high=90),
        Column(name="city", kind="category", categories=("Berlin", "Paris", "Rome"), nullable=True),
        Column(name="price", kind="decimal", places=2, low=150, high=1999),
        Column(name="size", kind="float", low=code_of_float(0.5), high=code_of_float(9.0)),
        Column(name="grade", kind="category", categories=(0.5, 1, 2.5, 10)),
        Column(name="born", kind="date", form="%d.%m.%Y", low=0, high=20_000),
        Column(name="seen", kind="date", form="%Y-%m-%dT%H:%M", low=0, high=10**4),
        Column(name="paid", kind="boolean", categories=(False, True)),
        Column(name="mixed", kind="category", categories=(True, 1, "1", "true")),
        Column(name="note", kind="text", nullable=True),
        Column(name="id", kind="identifier"),
    )
)


def values(name, asked):
    column = SCHEMA.named[name]
    domain = conditions(SCHEMA, {name: asked})[name]
    return [*(column.value(code) for code in domain.codes()), *domain.texts, *([None] if domain.null else [])]


@pytest.mark.parametrize(
    ("name", "asked", "found"),
    [
        ("income", ">50K", [">50K"]),
        ("income", "= 5", ["= 5"]),
        ("income", "1 .. 2", ["1 .. 2"]),
        ("income", "= >50K", [">50K"]),
        ("income", "!= >50K", ["<=50K", "= 5", "1 .. 2"]),
        ("income", ["<=50K", ">50K"], ["<=50K", ">50K"]),
        ("city", "!= Berlin", ["Paris", "Rome"]),
        ("city", None, [None]),
        ("city", ["Rome", None], ["Rome", None]),
        ("age", 30, [30]),
        ("age", "30", [30]),
        ("age", "= 30", [30]),
        ("age", ">= 88", [88, 89, 90]),
        ("age", "> 88.5", [89, 90]),
        ("age", "<18", [17]),
        ("age", "<= 17.9", [17]),
        ("age", "10 .. 18", [17, 18]),
        ("age", "10..18", [17, 18]),
        ("age", ["< 18", "> 89", 40], [17, 40, 90]),
        ("price", "> 19.97", [19.98, 19.99]),
        ("price", "1.5 .. 1.515", [1.5, 1.51]),
        ("price", 1.5, [1.5]),
        ("size", 0.5, [0.5]),
        ("size", "<= 0.5", [0.5]),
        ("grade", 1.0, [1]),
        ("grade", "1", [1]),
        ("grade", "> 0.5", [1, 2.5, 10]),
        ("grade", "!= 10", [0.5, 1, 2.5]),
        ("grade", "1 .. 3", [1, 2.5]),
        ("born", "03.01.1970", ["03.01.1970"]),
        ("born", "1970-01-03", ["03.01.1970"]),
        ("born", "< 1970-01-03", ["01.01.1970", "02.01.1970"]),
        ("born", "1960-01-01 .. 02.01.1970", ["01.01.1970", "02.01.1970"]),
        ("seen", "<= 1970-01-01T00:01", ["1970-01-01T00:00", "1970-01-01T00:01"]),
        ("paid", True, [True]),
        ("paid", "true", [True]),
        ("paid", "!= true", [False]),
        ("mixed", 1, [1]),
        ("mixed", True, [True]),
        ("mixed", "1", ["1"]),
        ("note", "so", ["so"]),
        ("note", "> 3", ["> 3"]),
        ("note", ["a", None], ["a", None]),
    ],
)
def test_what_conditions_leave(name, asked, found):
    left = values(name, asked)
    assert left == found
    assert [type(each) for each in left] == [type(each) for each in found]


def test_a_day_is_all_its_minutes():
    assert len(values("seen", "1970-01-02")) == 24 * 60
    assert values("seen", "1970-01-02 .. 1970-01-03")[-1] == "1970-01-03T23:59"
    assert values("seen", "> 1970-01-02")[0] == "1970-01-03T00:00"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"agee": 1}, "no column 'agee' (did you mean 'age'?); the table has income, age"),
        ({"id": "x"}, "column 'id' is an identifier"),
        ({"age": 200}, "column 'age': 200 lies outside; the column goes from 17 to 90"),
        ({"age": "> 90"}, "column 'age': '> 90' leaves nothing; the column goes from 17 to 90"),
        ({"age": 17.5}, "17.5 is no whole number"),
        ({"age": True}, "True is no whole number"),
        ({"age": "old"}, "'old' is no whole number"),
        ({"age": ">= old"}, "'old' in '>= old' is no number"),
        ({"age": "30 .. 20"}, "runs backwards"),
        ({"age": "=> 30"}, "'=> 30' is no comparison; did you mean '>= 30'?"),
        ({"age": None}, "column 'age' is never missing"),
        ({"age": []}, "an empty list allows nothing"),
        ({"income": ">60K"}, "no category '>60K' (did you mean '>50K'?); expected one of <=50K, = 5, >50K"),
        ({"city": "berln"}, "no category 'berln' (did you mean 'Berlin'?)"),
        ({"city": "!= Bonn"}, "no category 'Bonn'"),
        ({"grade": 3}, "no category 3; expected one of 0.5, 1, 2.5, 10"),
        ({"born": "1960-01-01"}, "'1960-01-01' lies outside; the column goes from 01.01.1970"),
        ({"born": "> soon"}, "'soon' in '> soon' is no date"),
        ({"age": [[1]]}, "column 'age'"),
        ({"age": {"a": 1}}, "column 'age'"),
        ({"city": [["Rome"]]}, "column 'city'"),
    ],
)
def test_conditions_that_cannot_be_met(where, message):
    with pytest.raises(ConditionError) as raised:
        conditions(SCHEMA, where)
    assert message in str(raised.value)


SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "!=": operator.ne, "=": operator.eq}


@given(
    st.sampled_from(["age", "price", "grade"]),
    st.sampled_from(sorted(SIGNS)),
    st.one_of(st.integers(0, 100), st.integers(0, 20_000).map(lambda n: n / 1000), st.sampled_from([0.5, 2.5, 10])),
)
def test_conditions_against_trying_everything(name, sign, number):
    column = SCHEMA.named[name]
    codes = list(column.domain.codes())
    expected = [code for code in codes if SIGNS[sign](value_of(column, code), number)]
    exists = any(value_of(column, code) == number for code in codes)
    try:
        found = list(conditions(SCHEMA, {name: f"{sign} {number}"})[name].codes())
    except ConditionError:
        assert not expected or (sign in ("=", "!=") and not exists)
    else:
        assert found == expected


@given(st.integers(17, 90), st.integers(17, 90))
def test_lists_are_unions(one, other):
    assert values("age", [one, other]) == sorted({one, other})


def test_shares_of_several_columns_are_products():
    found = shares(
        SCHEMA,
        {
            "income": {">50K": 0.25, "<=50K": 0.75},
            "age": {
                "< 30": 0.4,
                ">= 30": 0.6,
            },
        },
    )
    assert [share for _, share in found] == pytest.approx([0.1, 0.15, 0.3, 0.45])
    assert found[0][0] == {"income": Domain(((2, 2),)), "age": Domain(((17, 29),))}
    assert len(shares(SCHEMA, {"paid": {True: 1.0, False: 0}})) == 1
    assert len(shares(SCHEMA, {"age": {"17": 0.1, "18": 0.2, "19": 0.7}})) == 3
    assert shares(SCHEMA, {"city": {"Rome": 0.5, None: 0.5}})[1][0]["city"].null


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ({"income": {">50K": 0.5}}, "the shares sum to 0.5; expected 1"),
        ({"income": {}}, "the shares sum to 0; expected 1"),
        ({"income": {">50K": 1.5, "<=50K": -0.5}}, "the share of '>50K' is 1.5; expected 0 to 1"),
        ({"income": {">50K": "half"}}, "'half'; expected 0 to 1"),
        ({"age": {"< 30": 0.5, "> 20": 0.5}}, "'< 30' and '> 20' overlap"),
        ({"incom": {"a": 1}}, "did you mean 'income'"),
    ],
)
def test_shares_that_cannot_be_kept(balance, message):
    with pytest.raises(ConditionError) as raised:
        shares(SCHEMA, balance)
    assert message in str(raised.value)


def test_conditions_on_a_table_that_was_inferred():
    rows = [{"n": str(n)} for n in (0, 10, 25, 100) * 50]
    schema = infer(rows, origin="t.csv").schema
    assert schema.columns[0].kind == "category"
    assert conditions(schema, {"n": "> 10"})["n"].intervals == ((2, 3),)
