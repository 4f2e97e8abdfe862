import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.tables.column import CellError, Column, number_of
from factory.tables.numbers import code_of_float, float_of, scaled, unscaled
from factory.tables.schema import Schema, SchemaError, table_of

SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


@given(st.integers(), st.integers(0, 30))
def test_decimals_are_exact_at_any_size(code, places):
    assert scaled(unscaled(code, places), places) == code


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_codes_of_doubles_order_as_they_do(one, other):
    assert (code_of_float(one) < code_of_float(other)) == (one < other)
    assert float_of(code_of_float(one)) == one


@pytest.mark.parametrize("text", ["", ".", "e5", "1_0", "0x1", "--1", "1e", "nan", "inf", "1 2", "٣", "9" * 5000])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError):
        scaled(text, 0)
    assert number_of(text) is None


@given(st.lists(SCALARS, unique_by=lambda value: (type(value), value)))
def test_categories_keep_their_types(values):
    column = Column(name="c", kind="category", categories=tuple(values))
    cells = [column.cell(value) for value in values]
    assert cells == list(range(len(values)))
    assert [(type(v), v) for v in map(column.value, cells)] == [(type(v), v) for v in values]
    assert len({column.text(cell) for cell in cells}) == len(values)
    again = Schema.from_json(Schema((column,)).to_json()).columns[0]
    assert [(type(v), v) for v in again.categories] == [(type(v), v) for v in values]


def test_a_schema_of_huge_codes_comes_back():
    schema = Schema((Column(name="n", kind="integer", low=-(10**40), high=10**40, missing=("", "NA")),))
    assert Schema.from_json(schema.to_json()) == schema
    for text in ("", "[]", '{"columns": [{"name": "a"}]}'):
        with pytest.raises(SchemaError):
            Schema.from_json(text)


def test_categories_of_numbers_are_read_from_text():
    column = Column(name="c", kind="category", categories=(0.1, 1.0, 25.0))
    assert [column.cell(value) for value in ("0.10", "1", 1, 25.0)] == [0, 1, 1, 2]
    with pytest.raises(CellError, match="no category '2'; expected one of 0.1, 1.0, 25.0"):
        column.cell("2")
    with pytest.raises(CellError):
        column.cell(True)
    with pytest.raises(CellError):
        column.cell([1])


def test_truth_values_are_read_from_text():
    column = Column(name="b", kind="boolean", categories=(False, True))
    assert [column.cell(value) for value in ("true", "False", "TRUE", True)] == [1, 0, 1, 1]
    with pytest.raises(CellError):
        column.cell(1)


def test_numbers_refuse_what_they_are_not():
    integer, decimal = Column(name="i", kind="integer"), Column(name="d", kind="decimal", places=1)
    real = Column(name="f", kind="float")
    assert integer.cell(3.0) == 3
    assert integer.cell(str(10**40)) == 10**40
    assert decimal.value(decimal.cell("2")) == 2.0
    for column, value in [(integer, 2.5), (integer, True), (decimal, 0.25), (real, "nan"), (real, "1e999"), (real, [1]),
                          (integer, math.inf), (integer, "x"), (integer, [])]:  # fmt: skip
        with pytest.raises(CellError, match=f"column '{column.name}'"):
            column.cell(value)


def test_many_categories_are_quick():
    column = Column(name="c", kind="category", categories=tuple(f"name {i}" for i in range(10_000)))
    begun = time.perf_counter()
    for _ in range(10):
        for code in range(10_000):
            assert column.cell(column.text(code)) == code
    assert time.perf_counter() - begun < 5  # a search in the list takes minutes


def test_the_row_of_a_wrong_cell_is_named():
    schema = Schema((Column(name="age", kind="integer"),))
    with pytest.raises(CellError, match=r"row 2: column 'age': 'x' is no whole number\."):
        table_of(schema, [{"age": "1"}, {"age": "x"}])


def test_categories_of_several_types_are_read_from_text():
    one = Column(name="c", kind="category", categories=(0, 1, 1.5, True, "1", "x"))
    assert [one.cell(text) for text in ("0", "1", "1.5", "true", "x")] == [0, 4, 2, 3, 5]
    assert [one.cell(value) for value in one.categories] == [0, 1, 2, 3, 4, 5]
    for text in ("1.0", "False", '"x"'):
        with pytest.raises(CellError):
            one.cell(text)
