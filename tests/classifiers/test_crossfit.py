"""Cross-fitting: no text is judged by what has seen its source, and what cannot be learned is said."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.classifiers.backends import Words
from factory.classifiers.crossfit import Bools, Example, Floats, Ints, assign, auc, cell_weights, cross_fit, form
from factory.errors import UserError

FOLDS = 5
WORDS = [f"w{number}" for number in range(60)]


def quiet(sentence: str) -> None:
    """Say nothing."""


def corpus(sources: int = 60, seed: int = 1) -> list[Example]:
    """A real text of each source and two that were made from it, most of which have a favourite word."""
    draw, examples = random.Random(seed), []
    for number in range(sources):
        label = ("sarcastic", "plain")[number % 2]
        for kind in (True, False, False):
            words = draw.choices(WORDS, k=8) + ([] if kind else [draw.choice(["oh", "oh", "oh", "w1"])])
            examples.append(Example(" ".join(words), label, f"s{number}", kind))
    return examples


class Watched:
    """A back end that looks at what it is given and learns nothing."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.judged: Counter[int] = Counter()

    def prepare(self, texts: Sequence[str], say: object) -> None:
        assert list(texts) == [example.text for example in self.examples]

    def scores(self, train: Ints, real: Bools, weights: Floats, test: Ints, say: object) -> Floats:
        learned, judged = ([self.examples[place] for place in places] for places in (train, test))
        assert not {one.text for one in learned} & {one.text for one in judged}
        assert not {one.source for one in learned if one.source} & {one.source for one in judged}
        assert real.tolist() == [one.real for one in learned]
        assert (weights == cell_weights([one.label for one in learned], real)).all()
        self.judged.update(test.tolist())
        return np.linspace(0, 1, len(test))


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(["", *(f"s{n}" for n in range(9))]), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.integers(2, 7),
)
def test_no_text_and_no_source_is_on_both_sides(drawn: list[tuple[str, str, bool]], folds: int) -> None:
    examples = [Example(text, "x", source, real) for text, source, real in drawn]
    assigned = assign(examples, folds)
    assert set(assigned.tolist()) <= set(range(folds))
    for one, fold in zip(examples, assigned, strict=True):
        for other, place in zip(examples, assigned, strict=True):
            if one.text == other.text or (one.source and one.source == other.source):
                assert fold == place


def test_each_text_is_judged_once_by_what_has_not_seen_its_source() -> None:
    examples = corpus()
    examples += [Example(examples[1].text.upper(), "plain", "s7", False), Example("all alone", "plain", "", False)]
    watched = Watched(examples)
    cross_fit(examples, FOLDS, watched, quiet)
    assert watched.judged == Counter(range(len(examples)))


def test_equal_texts_tie_their_sources_together_but_for_case_and_space() -> None:
    apart = [Example("one text", "x", "s1", True), Example("another", "x", "s2", True)]
    assert len(set(assign(apart, 1000))) == 2
    tied = [*apart, Example("Another  TEXT ", "x", "s1", False), Example("another text", "x", "s2", False)]
    assert len(set(assign(tied, 1000))) == 1


def test_the_fold_of_a_source_depends_on_nothing_else() -> None:
    examples = corpus()
    whole = dict(zip([one.source for one in examples], assign(examples, FOLDS).tolist(), strict=True))
    part = examples[30:90][::-1]
    assert {
        one.source: fold for one, fold in zip(part, assign(part, FOLDS).tolist(), strict=True)
    }.items() <= whole.items()
    assert len(Counter(whole.values())) == FOLDS


@pytest.mark.parametrize("number", [0, 7, 31])
def test_a_mark_planted_in_a_source_cannot_change_the_score_of_what_was_made_from_it(number: int) -> None:
    """The row has the mark; whether the real text and the other row of its source have it too, must not matter."""
    clean, source = corpus(), f"s{number}"
    row = next(place for place, one in enumerate(clean) if one.source == source and not one.real)
    clean[row] = clean[row]._replace(text=f"{clean[row].text} zebra{number}")
    planted = [
        one._replace(text=f"{one.text} zebra{number}") if one.source == source and place != row else one
        for place, one in enumerate(clean)
    ]
    assert sum("zebra" in one.text for one in planted) == 3
    before, after = (cross_fit(examples, FOLDS, Words(1), quiet) for examples in (clean, planted))
    assert before[row] == after[row]
    fold = assign(clean, FOLDS) == assign(clean, FOLDS)[row]
    same = fold & np.array([one.source != source for one in clean])
    assert same.any() and (before[same] == after[same]).all()
    assert (before[~fold] != after[~fold]).any(), "the mark does reach what judges the other folds"


def test_scores_repeat_themselves_and_tell_what_can_be_told() -> None:
    examples = corpus(120)
    real = np.array([one.real for one in examples])
    scores = cross_fit(examples, FOLDS, Words(1), quiet)
    assert (scores == cross_fit(examples, FOLDS, Words(1), quiet)).all()
    assert (np.round(scores, 6) == scores).all()
    assert auc(scores, real) > 0.8


def test_texts_that_cannot_be_told_apart_have_an_auc_of_about_a_half() -> None:
    draw = random.Random(4)
    examples = [
        Example(" ".join(draw.choices(WORDS, k=8)), "x", f"s{number // 2}", bool(number % 2)) for number in range(400)
    ]
    scores = cross_fit(examples, FOLDS, Words(1), quiet)
    assert 0.4 < auc(scores, np.array([one.real for one in examples])) < 0.6


def test_classes_and_kinds_weigh_the_same() -> None:
    labels = ["a"] * 30 + ["b"] * 6
    real = np.array([True] * 10 + [False] * 20 + [True] * 2 + [False] * 4)
    weights = cell_weights(labels, real)
    sums = {
        (label, kind): weights[[one == label and two == kind for one, two in zip(labels, real, strict=True)]].sum()
        for label in "ab"
        for kind in (True, False)
    }
    assert set(np.round(list(sums.values()), 9)) == {9.0}
    assert weights.mean() == pytest.approx(1)


def test_words_count_by_their_weights() -> None:
    examples = corpus()
    places = np.arange(len(examples))
    words, real = Words(1), np.array([one.real for one in examples])
    words.prepare([one.text for one in examples], quiet)
    even, heavy = (
        words.scores(places, real, np.where(real, weight, 1.0), places, quiet).mean() for weight in (2.0, 20.0)
    )
    assert even < heavy - 0.2


def test_a_class_of_two_real_texts_is_too_small_to_learn_from() -> None:
    rare = [Example(f"rare {number}", "rare", f"r{number}", number < 2) for number in range(30)]
    with pytest.raises(UserError, match=r"class 'rare' has 2 real and 28 synthetic texts; without fold \d of 5 1 real"):
        cross_fit([*corpus(), *rare], FOLDS, Words(1), quiet)


def test_texts_that_all_hang_together_are_an_error_that_says_what_to_do() -> None:
    tied = [*corpus(), *(Example("Sure!", "plain", f"s{number}", False) for number in range(60))]
    with pytest.raises(
        UserError, match="0 real and 0 synthetic ones are left .* put the filter 'exact' before this one"
    ):
        cross_fit(tied, FOLDS, Words(1), quiet)


def test_a_text_of_several_sources_lies_in_the_fold_of_all_of_them() -> None:
    examples = [Example(f"real text number {number}", "x", f"s{number}", True) for number in range(60)]
    made = [Example(f"made {n}", "x", f"s{n}", False, (f"s{n + 1}", f"s{n + 2}")) for n in range(0, 57, 3)]
    assigned = assign([*examples, *made], 5)
    for place, example in enumerate(made):
        sources = {int(name[1:]) for name in (example.source, *example.more)}
        assert {int(assigned[number]) for number in sources} == {int(assigned[len(examples) + place])}
    assert len(set(assigned.tolist())) > 1


def test_texts_that_differ_by_punctuation_or_form_alone_lie_in_one_fold() -> None:
    for one, other in (("It's cold", "it’s COLD!"), ("café", "cafe\u0301"), ("ABC one", "ＡＢＣ  one?")):
        assert form(one) == form(other)
        folds = {
            tuple(assign([Example(one, "x", f"a{n}", True), Example(other, "x", f"b{n}", True)], 7)) for n in range(9)
        }
        assert all(first == second for first, second in folds)
    assert form("It's cold") != form("It is cold")
