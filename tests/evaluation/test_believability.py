"""Copies look real, corrupted texts the less so the more of them there are, and no text is judged by its own source."""

from __future__ import annotations

import json

import numpy as np
import pytest

from factory.classifiers.tfidf import TfidfClassifier
from factory.errors import UserError
from factory.evaluation.believability import _Ranking, believability
from factory.evaluation.bootstrap import percentile
from factory.evaluation.texts import Text, by_source, fold
from factory.resources import resource

from .grammar import corrupted, texts

REAL = texts(300, 1)


def measured(synthetic: list[Text], real: list[Text] = REAL, **options):
    return believability(*by_source(real, synthetic), resamples=200, **options)


@pytest.mark.parametrize("has_ground", [True, False])
def test_copies_of_real_texts_cannot_be_told_from_them(has_ground: bool) -> None:
    copies = [Text(f"copy{each.id}", each.text.upper(), ground=each.id if has_ground else None) for each in REAL]
    found = measured(copies)
    assert found.auc.value == pytest.approx(0.5, abs=1e-6)
    assert found.judged_real.value == found.real_judged_real.value


def test_other_texts_of_the_same_kind_are_near_the_line_of_the_real_ones() -> None:
    found = measured(texts(300, 2))
    assert found.auc.low <= 0.5 <= found.auc.high
    assert abs(found.judged_real.value - found.real_judged_real.value) < 0.12


def test_the_more_texts_are_corrupted_the_fewer_are_believed() -> None:
    found = [measured(corrupted(REAL, share, 3)) for share in (0.0, 0.25, 0.5, 1.0)]
    aucs = [each.auc.value for each in found]
    believed = [each.judged_real.value - each.real_judged_real.value for each in found]
    assert aucs == sorted(aucs)
    assert believed == sorted(believed, reverse=True)
    assert aucs[0] == pytest.approx(0.5, abs=1e-6)
    assert aucs[-1] > 0.85
    assert found[0].auc.high < found[2].auc.low
    assert found[2].auc.high < found[3].auc.low


def test_on_seed_tasks_the_order_is_right_too() -> None:
    path = resource("seeds/self_instruct.jsonl")
    assert path is not None
    tasks = [json.loads(line) for line in path.read_text().splitlines()]
    real = [Text(f"seed{n}", task["instruction"]) for n, task in enumerate(tasks)]
    found = [measured(corrupted(real, share, 9), real).auc.value for share in (0.0, 0.5, 1.0)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.5, abs=1e-6)
    assert found[-1] > 0.6


def test_no_text_is_measured_by_a_discriminator_that_saw_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic = by_source(REAL, [*corrupted(REAL, 1.0, 4), *corrupted(REAL[:50], 1.0, 5)])
    group = {each.text: each.group for each in (*real, *synthetic)}
    trained: dict[int, set[str]] = {}
    measured_: list[str] = []
    fit, probabilities = TfidfClassifier.fit, TfidfClassifier.probabilities

    def watched_fit(self, seen, labels):
        trained[id(self)] = {group[text] for text in seen}
        assert labels.count("real") == labels.count("synthetic")
        return fit(self, seen, labels)

    def watched(self, seen):
        assert not trained[id(self)] & {group[text] for text in seen}
        measured_.extend(seen)
        return probabilities(self, seen)

    monkeypatch.setattr(TfidfClassifier, "fit", watched_fit)
    monkeypatch.setattr(TfidfClassifier, "probabilities", watched)
    believability(real, synthetic, resamples=10)
    assert sorted(measured_) == sorted(each.text for each in (*real, *synthetic))


def test_a_text_goes_with_its_ground_and_a_repeated_wording_with_the_first() -> None:
    real = [Text("r1", "It rains."), Text("r2", "it  rains."), Text("r3", "Sun")]
    made = [
        Text("s1", "Rain!", ground="r2"),
        Text("s2", "SUN"),
        Text("s3", "x"),
        Text("s4", "X"),
        Text("s5", "y", ground="k"),
    ]
    grouped, synthetic = by_source(real, made)
    assert [each.group for each in grouped] == ["r1", "r1", "r3"]
    groups = [each.group for each in synthetic]
    assert groups[:2] == ["r1", "r3"]
    assert groups[2] == groups[3] != groups[4] == "k"
    assert {fold(f"{n}") for n in range(20)} == {0, 1}


@pytest.mark.parametrize(("made", "size"), [(200, 30), (80, None), (900, None)])
def test_as_many_real_as_synthetic_texts_are_trained_on(
    monkeypatch: pytest.MonkeyPatch, made: int, size: int | None
) -> None:
    counts = []
    fit = TfidfClassifier.fit
    monkeypatch.setattr(
        TfidfClassifier, "fit", lambda self, seen, sides: (counts.append(sides), fit(self, seen, sides))[1]
    )
    found = measured(texts(made, 6), size=size)
    assert [(sides.count("real"), sides.count("synthetic")) for sides in counts] == [(n, n) for n in found.trained_on]
    assert sum(found.trained_on) <= min(300, made) if size is None else found.trained_on == (size, size)


def test_the_interval_of_an_auc_covers_the_truth() -> None:
    """Scores of two normal distributions half a standard deviation apart: an AUC of 0.638 (Phi(0.5 / sqrt 2))."""
    random_ = np.random.default_rng(4)
    is_real = np.arange(160) < 60
    covered = []
    for data in range(150):
        ranking = _Ranking(random_.normal(0.5 * is_real), is_real, np.arange(160))
        figure = percentile(ranking.auc, [f"{data}-{n}" for n in range(160)], resamples=200)
        covered.append(figure.low <= 0.63816 <= figure.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(UserError, match="at least 5 real and 5 synthetic texts in each half"):
        measured(texts(6, 7))


def test_all_real_texts_that_a_text_was_made_from_and_all_of_its_wording_are_one_group() -> None:
    real = [Text(f"r{number}", f"real text {number}") for number in range(6)]
    made = [
        Text("s1", "one", ground="r1", others=("r1", "r3", "node")),
        Text("s2", "Two!", ground="stage one", others=("r4",)),
        Text("s3", "two", ground="r5"),
    ]
    grouped, synthetic = by_source(real, made)
    assert [each.group for each in grouped] == ["r0", "r1", "r2", "r1", "r4", "r4"]
    assert [each.group for each in synthetic] == ["r1", "r4", "r4"]
