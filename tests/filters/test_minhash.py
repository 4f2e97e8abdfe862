"""MinHash as a filter: against kept rows only, in order, whatever the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("datasketch")

from factory.errors import OptionError
from factory.filters import minhash
from factory.filters.minhash import Options

from .sifting import holds_for_batches, kept, rows, sizes, verdicts


def tasks(*texts: str | None) -> list[dict[str, Any]]:
    return [{"instruction": text} for text in texts]


def test_what_shares_most_of_its_words_is_rejected_with_what_it_shares_them_with() -> None:
    found = verdicts(minhash, tasks("List three large rivers", "Write a poem", "List three very large rivers"))
    assert found[:2] == [None, None]
    verdict = found[2]
    assert verdict is not None
    assert (verdict.rule, verdict.reason, verdict.threshold) == ("minhash", "too_similar", 0.7)
    assert verdict.score == 0.8
    assert verdict.evidence == "List three large rivers"


def test_exactly_the_threshold_is_kept() -> None:
    given_rows = tasks("a b c d e", "a b c d")
    assert kept(minhash, given_rows, threshold=0.8) == [0, 1]
    assert kept(minhash, given_rows, threshold=0.79) == [0]


def test_only_what_was_kept_counts_and_the_first_of_equal_ones_is_shown() -> None:
    given_rows = tasks("a b c d e", "a b c d e f", "b c d e f g", "a b c d e f g")
    found = verdicts(minhash, given_rows, threshold=0.7)
    assert [verdict is None for verdict in found] == [True, False, True, False]
    assert found[3] is not None
    assert found[3].evidence == "b c d e f g"
    tie = verdicts(minhash, tasks("a b c d e", "x b c d y", "b c d"), threshold=0.5)[2]
    assert tie is not None
    assert tie.evidence == "a b c d e"


def test_what_was_rejected_before_a_resumed_run_does_not_count_either() -> None:
    given_rows = tasks("a b c d e", "a b c d e f", "b c d e f g", "a b c d e f g")
    for at in range(len(given_rows) + 1):
        holds_for_batches(lambda: minhash.sift(Options(), Path()), given_rows, [], at)


def test_rows_without_text_stay_and_texts_without_words_are_compared_as_they_are() -> None:
    assert kept(minhash, tasks(None, "", " ", "!?", "…", "!?", None)) == [0, 1, 2, 3, 4, 6]


@given(
    rows("instruction"),
    sizes,
    st.integers(0, 25),
    st.builds(
        Options,
        threshold=st.sampled_from([0.3, 0.7]),
        ngram=st.integers(1, 2),
        permutations=st.just(16),
        verify=st.booleans(),
    ),
)
def test_batches_and_a_resumed_run_change_no_verdict(
    given_rows: list[dict[str, Any]], parts: list[int], at: int, options: Options
) -> None:
    holds_for_batches(lambda: minhash.sift(options, Path()), given_rows, parts, at)


def test_a_column_that_is_not_there_and_a_package_that_is_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="did you mean 'text'"):
        minhash.columns(Options(field="txt"), Path(), {"text"})
    assert minhash.check(Options(), Path()) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert "pip install 'dataset-factory[minhash]'" in str(minhash.check(Options(), Path())[0])
