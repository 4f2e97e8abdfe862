import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.datasets_io.rows import read_rows
from factory.tables.column import ORDERED
from factory.tables.inferring import Correction, InferenceError, describe, infer

ADULT = Path(__file__).parents[3] / "shared" / "data" / "tables" / "adult_train.csv"
NASTY = [
    "",
    " ",
    ",",
    '"',
    "a,b",
    'say "x"',
    "two\nlines",
    "tab\t",
    "😀",
    "?",
    "None",
    "NA",
    "null",
    " is ",
    "é",
    "a is b",
]


def column(values, name="c", origin="t.csv", **settings):
    inferred = infer([{name: value} for value in values], origin=origin, **settings)
    return inferred.schema.columns[0], inferred


def kinds(values, name="c", origin="t.csv", **settings):
    return column(values, name, origin, **settings)[0].kind


def came_back(values, found, exact=True):
    """Whether cells stand for the values, have texts of their own, and are read from both."""
    one, inferred = found
    cells = inferred.table.cells[one.name]
    assert len(cells) == len(values)
    for value, cell in zip(values, cells, strict=True):
        assert one.domain.holds(cell)
        assert one.cell(value) == cell
        if cell is not None:
            assert one.cell(one.value(cell)) == cell
            if exact and one.kind not in ("text", "identifier"):
                assert one.value(cell) == value
                assert isinstance(value, bool) == isinstance(one.value(cell), bool)
                assert isinstance(value, str) == isinstance(one.value(cell), str)
    full = set(cells) - {None}
    assert len({one.text(cell) for cell in full}) == len(full)


HUGE = st.integers(-(10**30), 10**30)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TYPED = st.one_of(
    st.lists(st.one_of(st.none(), HUGE), min_size=1),
    st.lists(st.one_of(st.none(), FLOATS), min_size=1),
    st.lists(st.one_of(st.none(), st.integers(-999, 999).map(lambda n: n / 10)), min_size=1),
    st.lists(st.one_of(st.integers(-(2**53), 2**53), FLOATS), min_size=1),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1),
    st.lists(st.sampled_from([None, *NASTY]), min_size=1),
    st.lists(st.text(), min_size=1),
    st.lists(st.sampled_from([1, "1", True, None, 1.0, "true", 0, False, 0.0, ""]), min_size=1),
    st.lists(st.dates().map(str), min_size=1),
    st.lists(st.just(None), min_size=1),
)


@given(TYPED)
@settings(max_examples=300)
def test_typed_values_come_back(values):
    came_back(values, column(values, origin="t.jsonl"))


WRITTEN = st.one_of(
    st.lists(HUGE.map(str), min_size=1),
    st.lists(FLOATS.map(repr), min_size=1),
    st.lists(st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,3})?(e[0-9])?", fullmatch=True), min_size=1),
    st.lists(st.sampled_from(NASTY), min_size=1),
    st.lists(st.text(), min_size=1),
    st.lists(st.sampled_from(["true", "false", ""]), min_size=1),
    st.lists(st.sampled_from(["true", "False", "1"]), min_size=1),
    st.lists(st.dates().map(lambda d: f"{d.day}/{d.month}/{d.year:04d}"), min_size=1),
)


@given(WRITTEN)
@settings(max_examples=300)
def test_cells_of_csv_come_back(values):
    found = column(values)
    came_back(values, found, exact=False)
    one, inferred = found
    for value, cell in zip(values, inferred.table.cells[one.name], strict=True):
        if one.kind in ("integer", "decimal", "float"):
            assert cell is None or one.value(cell) == pytest.approx(float(value), rel=1e-15, abs=0)
        elif one.kind == "date" or (one.kind == "category" and all(isinstance(c, str) for c in one.categories)):
            assert cell is None or one.value(cell) == value


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "30"], "integer"),
        (["01", "02", "02"], "category"),
        (["+1", "2", "2"], "category"),
        ([str(2**70), "5"], "integer"),
        (["1.5", "2"], "decimal"),
        (["0.10", "0.1", "2"], "decimal"),
        ([".5", "1."], "decimal"),
        (["1e5", "2"], "float"),
        (["123456789012.123456", "1"], "float"),
        (["true", "false"], "boolean"),
        (["TRUE", "FALSE"], "boolean"),
        (["true", "FALSE"], "category"),
        (["2024-01-31", "1999-12-01"], "date"),
        (["2024-01-31T10:00:00Z", "2024-01-31T11:00:00Z"], "date"),
        (["2024-01-31T10:00:00.123Z", "2024-01-31T11:00:00.000Z"], "date"),
        (["1/31/2024 9:05", "12/1/2024 10:00"], "date"),
        (["Jan 5, 2024", "Feb 12, 2024"], "date"),
        (["2024-01-31", "soon"], "category"),
        (["5"], "category"),
        (["", ""], "category"),
        ([f"word{i}" for i in range(30)], "identifier"),
        ([f"two words {i}" for i in range(30)], "text"),
        (["a long text that goes on for more than forty letters", "b" * 50], "text"),
        ([str(i) for i in range(10)], "identifier"),
        ([str(i) for i in range(1990, 2020)], "integer"),
        ([str(7 * i % 10) for i in range(10)], "integer"),
        (["0", "10", "25", "100"] * 50, "category"),
        (["0", "10", "25", "100"] * 49, "integer"),
        (["1", "2", "3", "4"] * 50, "integer"),
        (["0.5", "1", "2.5", "4"] * 50, "category"),
        ([f"{i}@x.org" for i in range(9_000)] * 2, "category"),
        ([f"{i}@x.org" for i in range(11_000)] * 2, "text"),
        (["1,000", "2,000", "2,000"], "category"),
    ],
)
def test_kinds_of_csv(values, kind):
    assert kinds(values) == kind


def test_identifiers_by_name():
    assert kinds(["17", "4"], "customer_id") == "identifier"
    assert kinds(["17", "17"], "customer_id") != "identifier"
    assert kinds(["x9", "x4"], "userId") == "identifier"
    one, inferred = column([9, 4], "id", "t.jsonl")
    assert [one.value(cell) for cell in inferred.table.cells["id"]] == [9, 4]
    one, inferred = column(["9", "4"], "id", "t.jsonl")
    assert [one.value(cell) for cell in inferred.table.cells["id"]] == ["9", "4"]


def test_text_of_json_lines_is_no_number():
    assert kinds(["1", "2", "2"], origin="t.jsonl") == "category"


def test_whole_floats_stay_floats():
    one, inferred = column([39.0, None, 4.0], origin="t.parquet")
    assert (one.kind, one.places, one.nullable) == ("decimal", 0, True)
    assert repr(one.value(inferred.table.cells["c"][0])) == "39.0"


def test_words_are_missing_only_among_numbers_and_dates():
    one, inferred = column(["1", "NA", "3"])
    assert (one.kind, one.nullable) == ("integer", True)
    assert inferred.notes == ("t.csv: column 'c': 'NA' counts as missing, as all other values are numbers or dates.",)
    assert one.cell("NA") is None
    assert column(["2024-01-01", "?", "2024-01-02"])[0].kind == "date"
    workclass, inferred = column(["Private", "?", "None", "Private"])
    assert set(workclass.categories) == {"Private", "?", "None"}
    assert (workclass.nullable, inferred.notes) == (False, ())
    assert column(["NA", "?"])[0].categories == ("?", "NA")


def test_words_that_the_user_names_are_missing():
    one, inferred = column(["a", "?", "a"], missing=["?"])
    assert (one.categories, one.nullable) == (("a",), True)
    assert column([1, -999, 3], origin="t.jsonl", missing=["-999"])[0].low == 1


def test_empty_cells():
    assert column(["", "a", "a"])[0].nullable
    assert column(["", "a", "a"], origin="t.jsonl")[0].categories == ("", "a")
    assert column([float("nan"), 1.5, 2.0], origin="t.parquet")[0].nullable


def test_rows_with_other_keys():
    inferred = infer([{"a": 1}, {"b": 2, "a": 5}, {}], origin="t.jsonl")
    assert inferred.schema.names == ["a", "b"]
    assert inferred.table.cells["b"] == [None, 0, None]


def test_typed_dates_and_decimals():
    one, inferred = column([date(2024, 1, 31), date(1, 1, 1)], origin="t.parquet")
    assert [one.text(cell) for cell in inferred.table.cells["c"]] == ["2024-01-31", "0001-01-01"]
    zoned = [datetime(2024, 1, 31, 5, tzinfo=UTC), datetime(2024, 1, 31, 6, 7, 8, 9, tzinfo=UTC)]
    one, inferred = column(zoned, origin="t.parquet")
    assert one.kind == "date"
    assert one.text(inferred.table.cells["c"][0]) == "2024-01-31T05:00:00.000000+00:00"
    assert [one.cell(value) for value in zoned] == inferred.table.cells["c"]
    one, _ = column([Decimal("1.50"), Decimal("2")], origin="t.parquet")
    assert (one.kind, one.places) == ("decimal", 2)


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x"])
def test_nested_cells_are_refused(value):
    with pytest.raises(InferenceError, match=r"t.jsonl: row 2, column 'c' holds .*; expected text"):
        column([1, value], origin="t.jsonl")


@pytest.mark.parametrize(
    ("values", "origin"), [([1.0, float("inf")], "t.jsonl"), (["1", "-inf"], "t.csv"), (["1", "1e999"], "t.csv")]
)
def test_infinity_is_refused_in_its_row(values, origin):
    with pytest.raises(InferenceError, match=f"{origin}: row 2, column 'c': .* infinite"):
        column(values, origin=origin)


def test_a_number_beyond_doubles_is_refused_in_its_row():
    with pytest.raises(InferenceError, match=r"row 2, column 'c': 1000*… is no number that a double holds"):
        column([1.5, 10**400], origin="t.jsonl")


def test_infinity_as_a_word_is_a_word():
    assert column(["inf", "sup", "inf"])[0].categories == ("inf", "sup")


def test_no_rows():
    for rows in ([], [{}]):
        with pytest.raises(InferenceError, match="no rows with columns"):
            infer(rows, origin="t.csv")


def test_day_and_month_that_may_be_swapped_are_told():
    one, inferred = column(["01/02/2024", "03/04/2024"])
    assert one.form == "%m/%d/%Y"
    assert "%d/%m/%Y would fit as well" in inferred.notes[0]
    one, inferred = column(["01/02/2024", "13/04/2024"])
    assert (one.form, inferred.notes) == ("%d/%m/%Y", ())


def corrected(values, origin="t.csv", **fields):
    return column(values, origin=origin, corrections={"c": Correction(**fields)})[0]


def test_corrections():
    one = corrected(["17", "90"], low=0, high="120")
    assert (one.kind, one.low, one.high) == ("integer", 0, 120)
    assert corrected(["5", "5"], low=0).kind == "integer"
    assert corrected(["1", "2"], kind="category").categories == (1, 2)
    assert corrected(["01", "2"], kind="category").categories == ("01", "2")
    assert corrected(["b", "a"], categories=("c",)).categories == ("a", "b", "c")
    assert corrected(["1", "2"], categories=(9,)).categories == (1, 2, 9)
    assert corrected(["1", "2"], places=2).high == 200
    assert corrected(["1", "NA"], kind="float").nullable
    assert corrected(["true", "true"], kind="boolean").categories == (False, True)
    assert corrected(["01/02/2024"], form="%d/%m/%Y").form == "%d/%m/%Y"
    assert corrected(["a", "b"], kind="text").kind == "text"
    assert corrected(["a", "b"], nullable=True).domain.null
    assert (
        corrected(["2024-01-05", "2024-02-01"], high="2024-12-31").text(
            corrected(["2024-01-05", "2024-02-01"], high="2024-12-31").high
        )
        == "2024-12-31"
    )
    assert corrected(["", ""], kind="integer", low=3, high=5).domain.intervals == ((3, 5),)
    assert corrected(["", ""], kind="integer").domain.intervals == ()


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        (["1", "x"], {"kind": "integer"}, "t.csv: row 2, column 'c': 'x' is no whole number"),
        (["1", "2.5"], {"kind": "integer"}, "row 2, column 'c': '2.5' is no whole number"),
        (["1", "2.55"], {"places": 1}, "row 2, column 'c': '2.55' is no number with 1 decimal place;"),
        (["1", "200"], {"high": 120}, "row 2, column 'c': '200' is outside of 1 to 120"),
        (["1", "2"], {"low": 5, "high": 3}, "allowed from 5 to 3"),
        (["1", "2"], {"low": "x"}, "'low' is 'x', which is no whole number"),
        (["a", "a"], {"low": 1}, "'low' is for numbers and dates"),
        (["a", "b"], {"kind": "category", "places": 1}, "'places' is for kind decimal"),
        (["a", "b"], {"form": "%U"}, "'%U' is no pattern of dates"),
        (["2024-01-01", "01.01.2024"], {"kind": "date"}, "no pattern of dates that is known reads all values"),
        (["2024-01-01", "soon"], {"form": "%Y-%m-%d"}, "row 2, column 'c': 'soon' is no date like %Y-%m-%d"),
        (["1", ""], {"nullable": False}, "not to be nullable, and row 2 has no value"),
        (["1", "2"], {"kind": "boolean"}, "row 1, column 'c': '1' is no boolean"),
        (["1", "2"], {"places": 11}, "expected 0 to 10"),
        (["1", "2"], {"places": 2, "high": 10**15}, "15 digits"),
        (["", ""], {"kind": "integer", "low": 3}, "has no values; say both 'low' and 'high'"),
        (["1", "2"], {"kind": "number"}, "no kind 'number'"),
    ],
)
def test_corrections_that_do_not_fit(values, fields, message):
    with pytest.raises(InferenceError) as raised:
        corrected(values, **fields)
    assert message in str(raised.value)
    assert str(raised.value).startswith("t.csv: ")


def test_a_correction_of_no_column():
    with pytest.raises(InferenceError, match="did you mean 'age'"):
        infer([{"age": "1"}], {"agee": Correction()}, origin="t.csv")


def test_lines():
    rows = [
        {"id": str(i), "age": str(i % 50 + i // 30), "w": "ab"[i % 2] if i % 4 else "", "p": f"{i % 90}.5"}
        for i in range(100)
    ]
    inferred = infer(rows, origin="t.csv")
    assert describe(inferred.schema, inferred.table) == [
        "id: identifier, made up anew",
        "age: integer 0 to 52",
        "w: category of 2 (b, a), 25.0 % missing",
        "p: decimal with 1 place, 0.5 to 89.5",
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "ü\n", ""]), st.one_of(st.none(), st.booleans(), HUGE, FLOATS, st.text())
        ),
        min_size=1,
    ).filter(any)
)
def test_any_table_is_read(rows):
    inferred = infer(rows, origin="t.jsonl")
    assert len(describe(inferred.schema, inferred.table)) == len(inferred.schema.columns)
    for one in inferred.schema.columns:
        assert all(one.domain.holds(cell) for cell in inferred.table.cells[one.name])


def test_wide_tables():
    draw = random.Random(1)
    rows = [{f"c{i}": str(draw.randint(0, 10**i)) for i in range(500)} for _ in range(30)]
    inferred = infer(rows, origin="t.csv")
    assert [inferred.schema.row(inferred.table.row(i)) for i in (0, 29)] == [
        {k: int(v) for k, v in rows[i].items()} for i in (0, 29)
    ]


@pytest.mark.skipif(not ADULT.exists(), reason="the Adult table is not here")
def test_adult():
    rows = list(read_rows(ADULT))
    inferred = infer(rows, origin="adult_train.csv")
    found = {one.name: one.kind for one in inferred.schema.columns}
    whole = {"age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"}
    assert {name for name, kind in found.items() if kind == "integer"} == whole
    assert {kind for name, kind in found.items() if name not in whole} == {"category"}
    assert not any(one.nullable for one in inferred.schema.columns)
    assert "age: integer 17 to 90" in describe(inferred.schema, inferred.table)
    for index in (0, 777, len(rows) - 1):
        back = inferred.schema.row(inferred.table.row(index))
        assert {name: str(value) for name, value in back.items()} == rows[index]
    assert all(one.kind in ("category", *ORDERED) for one in inferred.schema.columns)


PEOPLE = [
    f"{'ABCDEFGHIJKLMNO'[n]}nne{'xyz'[n % 3] * (n % 5)} {['Smith', 'Brown', 'Lind'][n % 3]}{n % 4}" for n in range(15)
]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("customer_id", [*(f"C-{n}" for n in range(100, 300)), "C-100"]),
        ("user_id", [str(7 * n + 1000) for n in range(200)] + ["1000"]),
        ("userId", ["a b", "c d", "e f"]),
        ("id_number", [*map(str, range(40, 70)), "40", "", "41"]),
        ("row_id", [f"é{n}" for n in range(50)]),
        ("c", [f"é{n}" for n in range(50)]),
        ("c", [*(f"C-{n}" for n in range(100, 300)), "C-100"]),
        ("email", [f"{name.replace(' ', '.')}@x.org" for name in PEOPLE]),
        ("contact", [f"{name.replace(' ', '.')}@x.org" for name in PEOPLE]),
        ("Phone Number", [f"555 {100 + n} {2000 + n}" for n in range(15)]),
        ("phone", [str(5_550_000 + 1313 * n) for n in range(15)]),
        ("contact", [f"+1 555 {100 + n} {2000 + n}" for n in range(15)]),
        ("ssn", [f"{100 + n}-{10 + n}-{1000 + 37 * n}" for n in range(15)]),
        ("c", [f"{100 + n}-{10 + n}-{1000 + 37 * n}" for n in range(15)]),
    ],
)
def test_identifiers_that_tell_most_rows_apart(name, values):
    one, inferred = column(values, name)
    assert one.kind == "identifier"
    filled = [value for value in values if value]
    different = len(set(filled))
    told = (
        f"t.csv: column '{name}' is taken for an identifier, though only {different} of its {len(filled)} values are "
    )
    assert [note.startswith(told) for note in inferred.notes] == [True] * (different < len(filled))


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("store_id", [str(n % 12) for n in range(200)], "integer"),
        ("store_id", [f"S{n % 12}" for n in range(200)], "category"),
        ("c", [str(random.Random(n).randrange(10**6)) for n in range(2000)], "integer"),
        ("weight", [f"{n * 1.37:.2f}" for n in range(300)], "decimal"),
        ("price", [f"{n * 7 % 90}.99" for n in range(12)], "decimal"),
        ("price", [f"{n},{100 + n}.00" for n in range(1, 40)], "category"),
        ("when", [f"2024-01-{n:02d}T10:00:00+02:00" for n in range(1, 29)], "category"),
        ("when", [f"2024-01-{n:02d} 10:00" for n in range(1, 29)], "date"),
        ("note", [f"called on day {n}, then left" for n in range(30)], "text"),
        ("calls by phone", [str(n * 3) for n in range(30)], "integer"),
        ("phone", ["yes", "no"], "category"),
        ("paid", [str(n * 3) for n in range(30)], "integer"),
    ],
)
def test_ordinary_features_are_no_identifiers(name, values, kind):
    assert kinds(values, name) == kind


def test_text_that_is_learnt_though_it_tells_rows_apart_is_told():
    one, inferred = column([*PEOPLE], "name")
    assert one.kind == "category"
    assert inferred.notes == (
        "t.csv: column 'name' has a different value in nearly every row, and rows that are given out hold them word for "
        "word; to make new ones up instead, set columns: {name: {kind: identifier}}, or leave the column out with 'only'.",
    )
    note = column([f"called on day {n}, then left" for n in range(30)])[1].notes[0]
    assert "rows that are given out may hold some of them word for word" in note
    for values in (["a", "b", "c"], [f"w{n % 9}" for n in range(10)], [*map(str, range(30, 9, -1))]):
        assert column(values)[1].notes == ()
    assert column(PEOPLE, "name", corrections={"name": Correction(kind="category")})[1].notes == ()
    assert column(PEOPLE, "name", corrections={"name": Correction(kind="identifier")})[0].kind == "identifier"


def test_amounts_with_signs_are_told_of() -> None:
    found = infer([{"net": f"${at}.{at:02}", "k": at % 2} for at in range(10, 40)], origin="o.csv")
    assert found.schema.named["net"].kind != "identifier"
    assert any("'net' holds texts such as '$10.10', not numbers" in note for note in found.notes)
