"""What filters share that judge rows."""

from __future__ import annotations

from factory.context.sifting import Alone, Row, text_of
from factory.records import Verdict

NO = Verdict(keep=False, rule="r", reason="x")


def test_a_filter_of_single_rows_has_nothing_to_remember() -> None:
    def judged(row: Row) -> Verdict | None:
        return NO if row["n"] > 1 else None

    sift = Alone(judged)
    sift.restore([{"n": 5}], [False])
    assert sift.judge([{"n": 1}, {"n": 2}]) == [None, NO]


def test_what_is_no_text_is_read_as_python_writes_it_and_what_is_missing_as_nothing() -> None:
    row = {"a": "x ", "b": None, "c": 0, "d": ["y"]}
    assert [text_of(row, column) for column in "abcde"] == ["x ", "", "0", "['y']", ""]
