import json
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float, float_of
from factory.tables.domain import Domain, of_codes
from factory.tables.row_transformer.binning import bins_of
from factory.tables.row_transformer.bins import MISSING, Bins
from factory.tables.row_transformer.settings import Settings

BIG = 10**30
codes = st.one_of(st.integers(-30, 30), st.integers(-BIG, BIG), st.sampled_from([0, 5, 10, BIG]))
settings = st.builds(
    Settings,
    bins=st.integers(1, 6),
    rows_per_bin=st.integers(1, 6),
    rows_per_span=st.integers(1, 6),
    rows_per_copy=st.integers(1, 6),
)
doubles = st.floats(allow_nan=False, allow_infinity=False)


def integer(cells):
    known = [cell for cell in cells if cell is not None] or [0]
    return Column(name="x", kind="integer", low=min(known), high=max(known), nullable=True)


def every_draw(bins, domain, random):
    within = bins.within(domain)
    for token in np.flatnonzero(np.isfinite(within.log_masses)).tolist():
        yield token, within.draw(token, random)


@given(st.lists(st.one_of(codes, st.none()), max_size=60), settings, st.integers())
def test_a_draw_from_a_token_has_that_token_and_lies_in_the_column(cells, settings, seed):
    column = integer(cells)
    bins = bins_of(column, cells, settings)
    for cell in cells:
        assert 0 <= bins.token(cell) < bins.tokens
    for token, cell in every_draw(bins, column.domain, Random(seed)):
        assert bins.token(cell) == token
        assert column.domain.holds(cell)


@given(st.lists(codes, min_size=1, max_size=60), settings)
def test_every_training_cell_has_a_token_that_may_be_drawn_and_masses_sum_up(cells, settings):
    bins = bins_of(integer(cells), cells, settings)
    masses = np.exp(bins.within(Domain(((-BIG, BIG),), null=True)).log_masses)
    assert masses[MISSING] == 1
    for cell in cells:
        assert masses[bins.token(cell)] == pytest.approx(1)
    spans = bins.spans
    assert all(one.high < other.low for one, other in zip(spans, spans[1:], strict=False))


@given(
    st.lists(codes, max_size=60),
    settings,
    st.lists(codes, min_size=1, max_size=6),
    st.lists(st.tuples(codes, st.integers(0, 20)), max_size=4),
    st.booleans(),
    st.integers(),
)
def test_every_draw_lies_in_the_wanted_domain(cells, settings, points, ranges, null, seed):
    bins = bins_of(integer(cells), cells, settings)
    wanted = {code for low, width in ranges for code in range(low, low + width + 1)} | set(points)
    domain = Domain(of_codes(wanted).intervals, null)
    drawn = list(every_draw(bins, domain, Random(seed)))
    assert drawn
    assert all(domain.holds(cell) for _, cell in drawn)
    assert not bins.within(domain).empty


@given(st.lists(doubles, min_size=1, max_size=40), settings, doubles, doubles, st.integers())
def test_doubles_are_drawn_in_domain_too(numbers, settings, one, other, seed):
    cells = [code_of_float(number) for number in numbers]
    column = Column(name="x", kind="float", low=min(cells), high=max(cells))
    bins = bins_of(column, cells, settings)
    low, high = sorted((code_of_float(one), code_of_float(other)))
    for domain in (column.domain, Domain(((low, high),))):
        for token, cell in every_draw(bins, domain, Random(seed)):
            assert domain.holds(cell)
            assert np.isfinite(float_of(cell))
            assert bins.token(cell) == token


def test_doubles_are_spread_as_numbers_with_the_digits_of_the_table():
    cells = [code_of_float(number / 10) for number in range(-50, 51)]
    column = Column(name="x", kind="float", low=min(cells), high=max(cells))
    bins = bins_of(column, cells, Settings(bins=1))
    random = Random(1)
    drawn = [float_of(bins.within(column.domain).draw(1, random)) for _ in range(2_000)]
    assert all(float(f"{number:.2g}") == number for number in drawn)
    assert np.mean(np.abs(drawn)) == pytest.approx(2.5, abs=0.15)


def test_a_cut_bin_keeps_its_share_and_the_grid_is_kept():
    cells = list(range(0, 100_000, 100))
    bins = bins_of(integer(cells), cells, Settings(bins=4, rows_per_span=10))
    assert bins.tokens == 5
    within = bins.within(Domain(((50, 12_450),)))
    assert np.exp(within.log_masses) == pytest.approx([0, 124 / 250, 0, 0, 0])
    random = Random(1)
    drawn = {within.draw(1, random) for _ in range(3_000)}
    assert drawn <= set(range(100, 12_401, 100))
    assert len(drawn) > 110


def test_frequent_values_have_tokens_and_rare_ones_are_not_copied():
    cells = [0] * 500 + [40] * 300 + [7 * 10**9 + 12_345] + [1_000 + 37 * i for i in range(200)]
    bins = bins_of(integer(cells), cells, Settings(bins=8))
    assert bins.singles == (0, 40)
    random = Random(1)
    within = bins.within(integer(cells).domain)
    drawn = [within.draw(token, random) for token in range(1, bins.tokens) for _ in range(400)]
    assert drawn.count(0) == drawn.count(40) == 400
    assert drawn.count(7 * 10**9 + 12_345) == 0


def test_a_lone_value_of_a_bin_is_smeared_to_its_neighbours():
    cells = [0] * 50 + [517] + [1_000] * 50
    bins = bins_of(integer(cells), cells, Settings())
    within = bins.within(Domain(((0, 1_000),)))
    random = Random(2)
    drawn = [within.draw(3, random) for _ in range(500)]
    assert min(drawn) < 300
    assert max(drawn) > 700


def test_rare_categories_are_exact():
    column = Column(name="x", kind="category", categories=tuple(str(i) for i in range(10_000)), nullable=True)
    bins = bins_of(column, [0, None, 9_999], Settings())
    assert bins.tokens == 10_001
    within = bins.within(Domain(((9_999, 9_999),)))
    assert np.flatnonzero(np.isfinite(within.log_masses)).tolist() == [bins.token(9_999)]
    assert within.draw(bins.token(9_999), Random(1)) == 9_999
    with pytest.raises(ValueError, match="no category 10000"):
        bins.token(10_000)


def test_a_range_without_training_rows_is_drawn_evenly():
    cells = [0] * 50 + [1_000] * 50
    bins = bins_of(integer(cells), cells, Settings())
    random = Random(3)
    cells = {cell for _ in range(300) for _, cell in every_draw(bins, Domain(((5, 9), (20, 20))), random)}
    assert cells == {5, 6, 7, 8, 9, 20}


@given(st.lists(st.one_of(codes, st.none()), max_size=40), settings)
def test_bins_are_stored_exactly(cells, settings):
    bins = bins_of(integer(cells), cells, settings)
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(bins))), Bins) == bins
