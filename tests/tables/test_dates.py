from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.tables.dates import code_at, code_of_date, date_of, instant, known_form, step_us, write_date
from factory.tables.recognising import FORMS

LEAST, GREATEST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)


@given(st.sampled_from(FORMS), st.datetimes(LEAST, GREATEST))
def test_what_a_pattern_writes_it_reads(form, moment):
    if "%y" in form:
        moment = moment.replace(year=1969 + moment.year % 100, day=min(moment.day, 28))
    text = write_date(moment, form)
    code = code_of_date(text, form)
    assert date_of(code, form) == text
    assert code_at(instant(code, form), form) == code
    if step_us(form) and code < code_at(instant(code, form), form) + 1 and moment.year < 9999:
        assert code_of_date(date_of(code + 1, form), form) in (code + 1, (code + 1) % (86400 * 10**6))


@given(
    st.sampled_from([form for form in FORMS if "%Y" in form]),
    st.datetimes(LEAST, GREATEST),
    st.datetimes(LEAST, GREATEST),
)
def test_codes_order_as_dates_do(form, one, other):
    codes = [code_of_date(write_date(moment, form), form) for moment in (one, other)]
    if codes[0] < codes[1]:
        assert one < other


def test_every_form_is_known():
    assert [form for form in FORMS if not known_form(form)] == []
    assert len(set(FORMS)) == len(FORMS)


@pytest.mark.parametrize(
    ("text", "form"),
    [("2024-02-30", "%Y-%m-%d"), ("0000-01-01", "%Y-%m-%d"), ("10000-01-01", "%Y-%m-%d"), ("2024-1-1", "%Y-%m-%d"),
     ("01/2/2024", "%-d/%-m/%Y"), ("25:00", "%H:%M"), ("٢٠٢٤-01-01", "%Y-%m-%d"), ("2024-01-01\n", "%Y-%m-%d")],
)  # fmt: skip
def test_what_is_no_date_is_refused(text, form):
    with pytest.raises(ValueError):
        code_of_date(text, form)


def test_early_years_keep_their_zeros():
    assert date_of(code_of_date("0007-03-01", "%Y-%m-%d"), "%Y-%m-%d") == "0007-03-01"


def test_no_date_beyond_the_years():
    for code, form in ((10**12, "%Y-%m-%d"), (10**6, "%Y-%m"), (-(10**6), "%Y-%m")):
        with pytest.raises(ValueError):
            date_of(code, form)
