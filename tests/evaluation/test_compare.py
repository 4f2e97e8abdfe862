"""Sets side by side: known mixtures come out in the right order, small and odd ones are flagged."""

from __future__ import annotations

import msgspec
import pytest

from factory.errors import UserError
from factory.evaluation.compare import compare
from factory.evaluation.texts import Text

from .grammar import corrupted, texts

REAL = texts(300, 1, labelled=True, prefix="real")
TEST = texts(150, 2, labelled=True, prefix="test")


def test_mixtures_come_out_in_order_and_the_lines_are_there() -> None:
    sources = {f"{share:.0%}": corrupted(REAL, share, 1) for share in (0.0, 0.5, 1.0)}
    found = compare(sources, REAL, TEST, resamples=100)
    aucs = [line.believability.auc.value for line in found.sources]
    assert aucs == sorted(aucs)
    assert [line.utility.macro_f1.value > found.majority.macro_f1.value for line in found.sources] == [True] * 3
    assert found.real.utility.macro_f1.value > 0.8
    assert found.majority.macro_f1.value == pytest.approx(1 / 3)
    assert (found.test, found.notes) == (150, ())
    assert [(each.name, each.other) for each in found.leakage] == [
        *((name, "test") for name in (*sources, "real", "grounds")),
        *((name, "real") for name in sources),
    ]
    copied = {each.name: each.exact for each in found.leakage if each.other == "real"}
    assert copied == {"0%": 300, "50%": 150, "100%": 0}
    assert found == compare(sources, REAL, TEST, resamples=100)
    assert (
        found.sources[0]
        == compare({name: made[::-1] for name, made in sources.items()}, REAL, TEST, resamples=100).sources[0]
    )


def test_without_test_texts_a_part_is_held_out_that_served_as_no_ground() -> None:
    found = compare({"made": corrupted(REAL[:150], 0.2, 1)}, REAL, resamples=50)
    assert 20 <= found.test <= 80
    assert found.real.texts == 300 - found.test
    assert (
        f"{found.test} of 300 real texts were held out by hash, none of the 150 that served as grounds"
        in found.notes[0]
    )
    exact = {(each.name, each.other): each.exact for each in found.leakage}
    assert exact["grounds", "test"] == exact["made", "test"] == 0


def test_where_every_real_text_served_as_a_ground_nothing_is_tested_on_them() -> None:
    found = compare({"made": corrupted(REAL, 0.5, 1)}, REAL, resamples=20)
    assert found.test == 0
    assert found.majority is None
    assert "300 served as grounds, and too few are left to be held out; name test texts" in found.notes[0]


def test_planted_leakage_into_the_test_texts_is_reported() -> None:
    made = [*texts(120, 5, labelled=True), *(Text(f"l{n}", TEST[n].text, TEST[n].label) for n in range(9))]
    found = compare({"made": made}, [*REAL, Text("again", TEST[0].text.upper(), TEST[0].label)], TEST, resamples=20)
    exact = {(each.name, each.other): each.exact for each in found.leakage}
    assert (exact["made", "test"], exact["real", "test"]) == (9, 1)


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (
            [each for each in texts(120, 6, labelled=True) if each.label == "sad"],
            "made: utility: no text of the class 'happy'",
        ),
        (texts(120, 6), "made: utility is not measured: the texts have no labels."),
        (texts(12, 6, labelled=True), "made: n = 12: figures and intervals say little."),
        (
            [
                msgspec.structs.replace(each, ground=f"g{n // 10}")
                for n, each in enumerate(texts(200, 6, labelled=True))
            ],
            "made: n = 200 from 20 sources: figures and intervals say little.",
        ),
        (
            [each for n, each in enumerate(texts(120, 6, labelled=True)) if each.label == "sad" or n < 4],
            "made: the class 'happy' has 2 texts: macro-F1 says little.",
        ),
        ([*texts(120, 6, labelled=True), Text("z", "z", "angry")], "made: utility: the class 'angry' is not among"),
        (
            texts(4, 6, labelled=True),
            "made: 4 texts are too few beside sets of 10 and more; left out.",
        ),
        ([Text(f"{n}", "the same", "sad") for n in range(120)], "made: believability: expected at least 5"),
    ],
)
def test_what_cannot_be_measured_or_says_little_is_noted(made: list[Text], note: str) -> None:
    found = compare({"made": made, "fine": texts(200, 7, labelled=True)}, REAL, TEST, draws=2, resamples=20)
    assert any(each.startswith(note) for each in found.notes), found.notes
    assert (found.real.diversity.size < 100) == any(each.startswith("every set is measured at") for each in found.notes)
    assert found.sources[-1].believability is not None
    assert found.sources[-1].utility is not None


@pytest.mark.parametrize(
    ("real", "test", "note"),
    [
        ([each for each in REAL if each.label == "sad"], None, "all test texts are of the class 'sad'"),
        (REAL, [each for each in TEST if each.label == "sad"], "all test texts are of the class 'sad'"),
        ([*REAL, Text("bare", "No label")], TEST, "1 real or test texts have no label"),
        (REAL, texts(120, 9), "120 real or test texts have no label"),
    ],
)
def test_real_texts_that_nothing_can_be_tested_on_are_noted_once(
    real: list[Text], test: list[Text] | None, note: str
) -> None:
    found = compare({"made": texts(120, 8, labelled=True)}, real, test, resamples=20)
    assert [note in each for each in found.notes].count(True) == 1
    assert (found.majority, found.sources[0].utility, found.real.utility) == (None, None, None)
    assert found.sources[0].believability is not None


def test_a_set_is_not_called_as_the_real_texts_are() -> None:
    with pytest.raises(UserError, match="a set is called 'real'"):
        compare({"real": TEST}, REAL)


def test_a_set_without_texts_is_refused() -> None:
    with pytest.raises(UserError, match="made: expected at least 2 texts, found 1"):
        compare({"made": TEST[:1]}, REAL)


def test_a_set_too_small_for_halves_is_measured_alone_and_says_so() -> None:
    found = compare({"made": texts(4, 6, labelled=True)}, REAL, TEST, draws=2, resamples=20)
    note = "made: believability: expected at least 5 real and 5 synthetic texts in each half"
    assert any(each.startswith(note) for each in found.notes), found.notes
