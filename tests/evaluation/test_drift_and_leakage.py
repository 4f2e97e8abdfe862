"""Lengths, vocabularies and overlaps of texts that were made to have them."""

from __future__ import annotations

import numpy as np
import pytest

from factory.evaluation.drift import drift, drift_of_real, jensen_shannon
from factory.evaluation.leakage import overlap
from factory.evaluation.texts import Text, by_source

from .grammar import texts

REAL = texts(400, 1)


def altered(count: int, seed: int, suffix: str) -> list[Text]:
    return [Text(each.id, each.text + suffix, group=each.group) for each in texts(count, seed)]


def test_added_words_are_counted() -> None:
    found = drift(REAL, altered(400, 2, " and so on"), size=200, resamples=200)
    assert found.words_mean.low <= 3 <= found.words_mean.high
    assert abs(found.words_median.value - 3) <= 1
    assert found.words_distance.value > 0.5
    line = drift_of_real(REAL, size=200, resamples=200)
    assert line.words_mean.low <= 0 <= line.words_mean.high
    assert line.words_distance.value < 0.15


def test_texts_of_the_same_kind_are_no_farther_than_real_ones_and_other_words_are_farther() -> None:
    line = drift_of_real(REAL, size=200, resamples=50).vocabulary
    same = drift(REAL, texts(400, 3), size=200, resamples=50).vocabulary
    other = drift(REAL, altered(400, 4, " lorem ipsum dolor sit amet"), size=200, resamples=50).vocabulary
    assert same.value == pytest.approx(line.value, abs=0.02)
    assert other.low > line.high


def test_copies_of_real_texts_are_compared_with_others_than_their_sources() -> None:
    real, copies = by_source(REAL, [Text(f"c{each.id}", each.text, ground=each.id) for each in REAL])
    line = drift_of_real(real, size=200, resamples=50).vocabulary
    assert drift(real, copies, size=200, resamples=50).vocabulary.value == pytest.approx(line.value, abs=0.02)


def test_divergence_by_hand() -> None:
    assert jensen_shannon(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(0.3112781)


def test_planted_overlaps_are_found_exactly() -> None:
    known = [Text(f"k{n}", f"alpha{n} beta{n} gamma{n} delta{n} epsilon{n} zeta{n}") for n in range(60)]
    planted = [Text(f"e{n}", f"  ALPHA{n} beta{n}  gamma{n} delta{n} epsilon{n} zeta{n}") for n in range(7)]
    near = [Text(f"n{n}", f"alpha{n} beta{n} gamma{n} delta{n} epsilon{n} other") for n in range(20, 32)]
    far = [Text(f"f{n}", f"alpha{n} beta{n} gamma{n} one two three") for n in range(40, 60)]
    found = overlap("made", [*far, *near, *planted], "test", known)
    assert (found.of, found.exact, found.near) == (39, 7, 12)
    assert found.examples[0].text == planted[0].text
    assert found.examples[0].other == known[0].text
    assert overlap("made", near, "test", known).examples[0].score == pytest.approx(10 / 12)
    assert overlap("made", [], "test", known).exact == overlap("made", near, "test", []).near == 0
