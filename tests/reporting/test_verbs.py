"""The light method that finds verbs and nouns, measured on instructions labelled by hand."""

from __future__ import annotations

import doctest

from factory.reporting.gather import verbs
from factory.reporting.gather.verbs import picture, verb_and_noun

from .instructions import LABELLED


def test_as_many_verbs_and_nouns_are_those_of_a_person_as_the_page_says() -> None:
    assert len({text for text, _, _ in LABELLED}) == 100
    found = [(verb_and_noun(text), (verb, noun)) for text, verb, noun in LABELLED]
    of_verbs = sum(got[0] == wanted[0] for got, wanted in found)
    of_both = sum(got == wanted for got, wanted in found)
    wrong = [(text, got) for (text, _, _), (got, wanted) in zip(LABELLED, found, strict=True) if got != wanted]
    assert (of_verbs, of_both) == verbs.MEASURED, wrong


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(verbs).failed == 0


def test_other_languages_and_noise_are_read_as_nothing() -> None:
    for text in ("", "42", "写一首诗", "Nenne drei Flüsse.", "!!!", "<script>alert(1)</script>"):
        assert verb_and_noun(text) == ("", "")


def test_a_picture_counts_every_instruction_once() -> None:
    texts = ["Write a poem.", "Write a story.", "Write a poem now.", "Name a river.", "Hm."]
    found = picture(texts, nouns=1)
    assert found.branches == (("write", (("poem", 2), ("other", 1))), ("name", (("river", 1),)))
    assert (found.read, found.of, found.verbs) == (4, 5, 2)
