"""A pool of hashes finds the first equal text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factory.novelty.duplicates import DuplicatePool, normalized

FORMS = ["none", "whitespace+case"]


@given(st.lists(st.lists(st.text(st.sampled_from("aAß \n\ud800Ａ"), max_size=3), min_size=2, max_size=2), max_size=30))
def test_it_finds_what_a_search_through_all_texts_finds(texts: list[list[str]]) -> None:
    for how in FORMS:
        pool = DuplicatePool(how)  # type: ignore[arg-type]
        forms = [[normalized(part, how) for part in parts] for parts in texts]  # type: ignore[arg-type]
        for number, parts in enumerate(texts):
            first = forms.index(forms[number])
            assert pool.add(parts) == (None if first == number else first)
        assert len(pool) == len({tuple(form) for form in forms})


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalized(text, "whitespace+case")
    assert normalized(once, "whitespace+case") == once
    assert normalized(text, "none") == text


def test_a_text_that_is_not_compared_is_counted() -> None:
    pool = DuplicatePool()
    pool.skip()
    assert pool.add(["a"]) is None
    assert pool.add(["a"]) == 1
