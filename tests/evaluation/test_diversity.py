"""Repetition in known shares is measured exactly, at equal size whatever the sets hold."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from factory.evaluation.diversity import diversity, rouge_l_of_all
from factory.evaluation.texts import Text, drawn, words

from .grammar import texts


def made(wordings: list[str]) -> list[Text]:
    return [Text(f"{n}", wording, group=f"{n}") for n, wording in enumerate(wordings)]


@pytest.mark.parametrize("repeats", [0, 40, 100, 199])
def test_the_share_of_repeated_texts_is_exact(repeats: int) -> None:
    own = [each.text for each in texts(200, 1)]
    found = diversity(made(own[: 200 - repeats] + [own[0].upper()] * repeats), size=200)
    assert found.repeated.value == pytest.approx(repeats / 200)
    assert found.repeated.low <= repeats / 200 <= found.repeated.high


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_the_share_of_a_template_opening_is_exact(share: float) -> None:
    own = [f"Word{n} other{n}: {each.text}" for n, each in enumerate(texts(200, 2))]
    opened = [f"Oh, great! {text}" if n < share * 200 else text for n, text in enumerate(own)]
    found = diversity(made(opened), size=200)
    assert found.opening == "oh great"
    assert found.top_opening.value == pytest.approx(share)
    assert found.top_opening.low <= share <= found.top_opening.high


def test_more_repetition_is_less_diversity_in_every_figure() -> None:
    own = [each.text for each in texts(200, 3)]
    found = [diversity(made([own[n % count] for n in range(200)]), size=200) for count in (200, 100, 20, 1)]
    for name, falls in (("distinct_1", True), ("distinct_2", True), ("repeated", False), ("nearest", False)):
        values = [getattr(each, name).value for each in found]
        assert values == sorted(values, reverse=falls), name
    assert found[-1].nearest.value == 1.0
    assert found[-1].opening_entropy.value == 0.0
    assert diversity(made([f"a{n} b{n}" for n in range(50)]), size=50).opening_entropy.value == pytest.approx(1.0)


def test_sets_of_different_sizes_are_measured_at_the_same() -> None:
    many, few = texts(600, 4), texts(150, 5)
    alike = [diversity(each, size=150).distinct_2 for each in (many, few)]
    assert abs(alike[0].value - alike[1].value) < 0.05
    assert diversity(many, size=600).distinct_2.value < alike[0].value - 0.1
    found = diversity(many, size=150)
    assert (found.size, found.draws, diversity(few, size=150).draws) == (150, 3, 1)


def test_what_is_drawn_does_not_depend_on_the_order_of_the_file() -> None:
    own = texts(100, 6)
    assert drawn(own, 10, 1) == drawn(own[::-1], 10, 1) != drawn(own, 10, 2)
    assert diversity(own, size=40) == diversity(own[::-1], size=40)


def test_the_scores_are_those_of_rouge_score() -> None:
    own = [each.text for each in texts(12, 7)] + ["", "🥺"]
    scorer = RougeScorer(["rougeL"])
    scores = rouge_l_of_all([words(text) for text in own])
    for row, one in enumerate(own):
        for column, other in enumerate(own):
            assert scores[row, column] == pytest.approx(scorer.score(one, other)["rougeL"].fmeasure, abs=1e-6)
