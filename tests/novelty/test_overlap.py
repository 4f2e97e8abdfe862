"""N-gram overlap: equal to a search through all runs of tokens, also where hashes collide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.novelty import overlap
from factory.novelty.overlap import NGramIndex, Overlap
from factory.novelty.tokenizers import tokenize

some_texts = st.lists(st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join), max_size=8)


def searched(known: list[tuple[str, str]], text: str, n: int, shortest: int) -> Overlap:
    """The same, run by run."""
    tokens = tokenize(text, "unicode")
    listed = [(place, tokenize(other, "unicode")) for place, other in known]
    listed = [(place, other) for place, other in listed if len(other) >= max(1, shortest)]
    if len(tokens) < n:
        places = [place for place, other in listed if tokens and other == tokens]
        return Overlap(1, 1, places[0], " ".join(tokens)) if places else Overlap(0, min(1, len(tokens)))
    runs = [tokens[start : start + n] for start in range(len(tokens) - n + 1)]
    first: dict[str, str] = {}
    for place, other in listed:
        for start in range(len(other) - n + 1):
            first.setdefault(" ".join(other[start : start + n]), place)
    hits = [" ".join(run) for run in runs if " ".join(run) in first]
    return Overlap(len(hits), len(runs), first[hits[0]], hits[0]) if hits else Overlap(0, len(runs))


@given(some_texts, some_texts, st.integers(1, 6), st.integers(1, 4), st.sampled_from([None, 1, 5, 40]))
def test_it_finds_what_a_search_through_all_runs_finds(
    known: list[str], texts: list[str], n: int, shortest: int, hashes: int | None
) -> None:
    placed = [(f"known:{number}", text) for number, text in enumerate(known)]
    with pytest.MonkeyPatch.context() as patch:
        if hashes is not None:  # so few that most runs share theirs with others
            true = overlap._hashes
            patch.setattr(overlap, "_hashes", lambda ids, ngram: true(ids, ngram) % np.uint64(hashes))
        index = NGramIndex(placed, n, shortest=shortest)
        found = index.overlaps(texts)
        assert found == [searched(placed, text, n, shortest) for text in texts]
        assert found == [index.overlaps([text])[0] for text in texts]


def test_hashes_of_real_runs_do_not_collide() -> None:
    ids = np.random.default_rng(0).integers(1, 50, 200_000).astype(np.uint32)
    for n in (3, 8, 13):
        windows = np.lib.stride_tricks.sliding_window_view(ids, n)
        assert len(np.unique(overlap._hashes(ids, n))) == len(np.unique(windows, axis=0))


def test_case_and_punctuation_do_not_count_and_characters_do_in_scripts_without_spaces() -> None:
    index = NGramIndex([("a", "What's the CAPITAL of Peru?"), ("b", "写一首关于春天的诗")], 4)
    assert index.overlaps(["the capital, of: PERU"])[0] == Overlap(1, 1, "a", "the capital of peru")
    assert index.overlaps(["请写一首关于秋天的诗"])[0] == Overlap(2, 7, "b", "写 一 首 关")


def test_no_run_goes_from_one_text_into_the_next() -> None:
    index = NGramIndex([("a", "x a b"), ("b", "c d y")], 3)
    assert [found.matches for found in index.overlaps(["a b c d", "b c d", "x a", "b c d y"])] == [0, 0, 0, 1]
    assert [found.matches for found in NGramIndex([("a", "a b c d")], 3).overlaps(["a b", "c d"])] == [0, 0]


def test_nothing_known_matches_nothing() -> None:
    assert NGramIndex([]).overlaps(["a b c", "", "!?"]) == [Overlap(0, 1), Overlap(0, 0), Overlap(0, 0)]
    assert NGramIndex([("a", "!!"), ("b", "")]).overlaps([""]) == [Overlap(0, 0)]
    assert len(NGramIndex([("a", "a b c d a b c"), ("b", "x")], 3)) == 5
