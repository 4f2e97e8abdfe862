"""Identity: content, occurrence, request and place; never a position, a process or a machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import (
    ID_HEX_DIGITS,
    Provenance,
    Record,
    derive_seed,
    derived_id,
    digest,
    reject,
    source_id,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def test_ids_are_these_for_ever() -> None:
    """A change here gives every record another name and makes every journal worthless."""
    assert source_id({"text": "Why is the sky blue?", "n": 1}, 0) == "fc498b007b845e013f2f"
    assert derived_id("prompt", "0" * 20, 3) == "8de3a9df080af6477e30"
    assert derived_id("prompt", "0" * 20, 3, ("a",)) != derived_id("prompt", "0" * 20, 3, ("b",))
    assert derive_seed(42, "prompt", "0" * 20, 0) == 1119482336


@given(JSON)
def test_a_digest_is_twenty_hex_digits_and_depends_on_the_value_alone(value: object) -> None:
    assert len(digest(value)) == ID_HEX_DIGITS
    assert int(digest(value), 16) >= 0
    assert digest(value) == digest(value) != digest([value])


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=2, max_size=5))
def test_the_order_of_columns_plays_no_part(fields: dict[str, int]) -> None:
    backwards = dict(reversed(fields.items()))
    assert source_id(fields, 0) == source_id(backwards, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (digest("a", "b"), digest("ab")),
        (digest(1), digest("1")),
        (digest(None), digest("null")),
        (digest([]), digest({})),
        (source_id({"a": 1}, 0), source_id({"a": 1}, 1)),
        (source_id({"a": "x"}, 0), source_id({"a": "x "}, 0)),
        (source_id({"a": 1}, 0), source_id({"a": 1, "b": None}, 0)),
        (derived_id("s", "k", 0), derived_id("s", "k", 1)),
        (derived_id("s", "k", 0), derived_id("t", "k", 0)),
        (derived_id("s", "k", 0), source_id({"s": "k"}, 0)),
    ],
)
def test_different_things_have_different_names(one: str, other: str) -> None:
    assert one != other


def test_names_are_the_same_in_every_process() -> None:
    code = "from factory.records import digest; print(digest({'b': 1, 'a': ['ü', None, 0.5]}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert found == {digest({"b": 1, "a": ["ü", None, 0.5]}) + "\n"}


@given(st.lists(JSON, max_size=3))
def test_seeds_are_what_every_engine_takes(parts: list[object]) -> None:
    assert 0 <= derive_seed(*parts) < 2**31


def test_seeds_are_spread_over_their_range() -> None:
    seeds = {derive_seed(42, "step", str(number), 0) for number in range(5000)}
    assert len(seeds) > 4980
    assert 0.4 < sum(seed > 2**30 for seed in seeds) / 5000 < 0.6


def test_a_rejection_says_why() -> None:
    record = Record("0" * 20, {"text": "x"}, Provenance(step="s", method="m"))
    rejected = reject(record, "rouge_l", "too_similar", score=0.9, threshold=0.7, evidence="y")
    assert rejected.record is record
    verdict = rejected.verdict
    assert (verdict.keep, verdict.rule, verdict.reason) == (False, "rouge_l", "too_similar")
    assert (verdict.score, verdict.threshold, verdict.evidence) == (0.9, 0.7, "y")
    with pytest.raises(AttributeError):
        verdict.keep = True  # type: ignore[misc]
