"""Sets on public texts alone: better sets come out better, equal size is equal, and nothing private is asked."""

from __future__ import annotations

import random

import msgspec
import pytest

from factory.errors import UserError
from factory.evaluation.private import diagnose, identifiers, nearness
from factory.evaluation.public import compare_public, equal_size
from factory.evaluation.texts import Text

from .grammar import texts

TEST = texts(150, 2, labelled=True, prefix="test")
GOOD = texts(200, 5, labelled=True, prefix="good")


def mislabelled(made: list[Text], share: float) -> list[Text]:
    """That share of the texts with the label of another."""
    random_ = random.Random(3)
    labels = [each.label for each in made]
    chosen = random_.sample(range(len(made)), round(share * len(made)))
    shuffled = dict(zip(chosen, random_.sample([labels[place] for place in chosen], len(chosen)), strict=True))
    return [msgspec.structs.replace(each, label=shuffled.get(n, each.label)) for n, each in enumerate(made)]


def test_the_better_the_labels_the_better_the_classifier_and_both_sizes_are_told() -> None:
    sources = {f"{share:.0%}": mislabelled(GOOD, share) for share in (0.0, 0.6, 1.0)}
    found = compare_public(sources, TEST, resamples=100)
    whole = [line.whole.accuracy.value for line in found.sources]
    assert whole == sorted(whole, reverse=True)
    assert whole[0] > 0.9
    assert [line.equal.trained_on for line in found.sources] == [100] * 3
    assert [line.equal.draws for line in found.sources] == [5] * 3
    assert [(line.whole.trained_on, line.whole.draws) for line in found.sources] == [(200, 1)] * 3
    assert found.majority.accuracy.value == pytest.approx(0.5)
    assert (found.test.texts, found.test.equal, found.test.whole, found.notes) == (150, None, None, ())
    assert found.private is None
    assert found == compare_public(sources, TEST, resamples=100)


def test_sets_of_different_sizes_are_compared_at_equal_size_and_with_all_texts() -> None:
    found = compare_public({"small": GOOD[:60], "large": texts(400, 6, labelled=True)}, TEST, draws=2, resamples=20)
    small, large = found.sources
    assert small.equal.trained_on == large.equal.trained_on == 30
    assert (small.whole.trained_on, large.whole.trained_on) == (60, 400)
    assert small.diversity.size == large.diversity.size == found.test.diversity.size == 60
    assert small.drift.size == large.drift.size == found.test.drift.size == 60


def test_drift_and_leakage_are_those_from_the_public_texts() -> None:
    longer = [msgspec.structs.replace(each, text=f"{each.text} {each.text}") for each in GOOD]
    copied = [msgspec.structs.replace(each, id=f"c{n}") for n, each in enumerate(TEST[:7])]
    found = compare_public({"longer": longer, "fine": [*GOOD, *copied]}, TEST, draws=1, resamples=20)
    assert found.sources[0].drift.words_mean.low > 5
    assert abs(found.sources[1].drift.words_mean.value) < 1
    assert [(each.name, each.other, each.exact) for each in found.leakage] == [
        ("longer", "test", 0),
        ("fine", "test", 7),
    ]


@pytest.mark.parametrize(
    ("made", "test", "note"),
    [
        (texts(120, 6), TEST, "made: utility is not measured: the texts have no labels."),
        (GOOD, texts(120, 9), "utility is not measured: 120 real or test texts have no label."),
        ([each for each in GOOD if each.label == "sad"], TEST, "made: utility: no text of the class 'happy'"),
        ([*GOOD, Text("z", "z", "angry")], TEST, "made: utility: the class 'angry' is not among"),
        (GOOD[:12], TEST, "made: n = 12: figures and intervals say little."),
        (GOOD[:4], TEST, "made: 4 texts are too few beside sets of 10 and more; left out."),
    ],
)
def test_what_cannot_be_measured_is_noted(made: list[Text], test: list[Text], note: str) -> None:
    found = compare_public({"made": made, "fine": texts(200, 7, labelled=True)}, test, draws=1, resamples=20)
    assert any(each.startswith(note) for each in found.notes), found.notes
    assert len(found.notes) == len(set(found.notes))


def test_a_set_is_not_called_as_the_test_texts_are_and_is_not_empty() -> None:
    with pytest.raises(UserError, match="a set is called 'test'"):
        compare_public({"test": GOOD}, TEST)
    with pytest.raises(UserError, match="made: expected at least 2 texts, found 1"):
        compare_public({"made": GOOD[:1]}, TEST)
    with pytest.raises(UserError, match="test: expected at least 2 texts, found 0"):
        compare_public({"made": GOOD}, [])


PRIVATE = texts(300, 11, labelled=True, prefix="private")


def test_copies_are_found_and_the_public_texts_show_what_chance_does() -> None:
    copies = [
        Text(f"c{n}", each.text.upper() if n % 2 else each.text, each.label) for n, each in enumerate(PRIVATE[:30])
    ]
    nearly = [Text(f"n{n}", f"{each.text} indeed", each.label) for n, each in enumerate(PRIVATE[30:50])]
    found = diagnose(
        {"copied": [*copies, *nearly, *GOOD], "fine": GOOD}, TEST, PRIVATE, size=200, draws=1, resamples=50
    )
    copied, fine, chance = found.nearest
    assert [each.name for each in found.nearest] == ["copied", "fine", "test"]
    assert (copied.of, copied.exact, fine.exact, chance.exact) == (250, 30, 0, 0)
    assert copied.near == fine.near + 20
    assert copied.exact_share.value == pytest.approx(30 / 250)
    assert copied.exact_share.low > fine.exact_share.high
    assert copied.near_share.value == pytest.approx((50 + fine.near) / 250)
    assert fine.near_share.low <= chance.near_share.high
    assert copied.rare == 50 + fine.rare
    assert copied.examples[0].score == 1.0
    assert found.notes == ()


def test_private_texts_are_trained_on_at_the_sizes_of_the_synthetic_ones_and_whole() -> None:
    found = diagnose({"made": GOOD}, TEST, PRIVATE, size=200, draws=2, resamples=20)
    assert [each.trained_on for each in found.real] == [100, 200, 300]
    assert found.real[-1].accuracy.value > 0.9
    assert [each.trained_on for each in diagnose({"made": GOOD}, TEST, PRIVATE[:90], size=200, resamples=20).real] == [
        90
    ]


def test_test_texts_among_the_private_ones_are_noted() -> None:
    found = diagnose({"made": GOOD}, [*TEST, PRIVATE[0]], PRIVATE, size=200, draws=1, resamples=20)
    assert found.notes[0].startswith("1 of 151 public test texts are private texts too")


def test_private_texts_without_classes_are_looked_up_all_the_same() -> None:
    found = diagnose({"made": GOOD}, TEST, texts(50, 12), size=200, draws=1, resamples=20)
    assert found.real == ()
    assert found.notes == ("private texts: utility is not measured: 50 real or test texts have no label.",)
    assert len(found.nearest) == 2


def test_a_rare_string_is_one_of_a_single_private_text() -> None:
    private = [
        Text("a", "Order NT-48213, call 07700 900123"),
        Text("b", "call 07700 900456"),
        Text("c", "mail Al@example.org."),
    ]
    made = [
        Text("1", "it was nt-48213!"),
        Text("2", "call 07700 now"),
        Text("3", "write to al@EXAMPLE.org"),
        Text("4", "number 48214"),
        Text("5", "(900456)"),
    ]
    found = nearness("made", made, private, resamples=20)
    assert found.rare == 3
    assert identifiers("I paid 1,234 at 10:45 @ home") == set()


def test_the_equal_size_is_that_of_the_sets_that_are_measured() -> None:
    assert equal_size({"a": GOOD, "b": GOOD[:40], "tiny": GOOD[:3]}) == 40
