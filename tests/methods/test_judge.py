"""Scores from a rubric: read or not there, never made up; means by epoch; thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory.engines.protocol import Request
from factory.errors import RecipeError
from factory.methods.judge import read_score

from ..small_runs import Model, data, jsonl, recipe, run, step, text_of


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("7", 7), (" 7.", 7), ("**7**", 7), ("Difficulty: 7", 7), ("7/10", 7), ("7 / 10", 7), ("7 out of 10", 7), ("Score: 8.5", 8.5),
        ("8,5", 8.5), ("I would rate this task 6 out of 10.", 6), ("On a scale of 1 to 10, this is a 4.", 4), ("Difficulty: 10", 10),
        ("Rating (1-10): 3", 3), ("The difficulty is 5. It takes 2 steps.", 5), ("<think>9? 4?</think>6", 6), ("`2`", 2), ("1", 1),
        ("10/10", 10), ("Score = 3", 3), ("Difficulty score: **9**/10", 9),
        ("", None), ("eleven", None), ("11", None), ("0", None), ("-3", None), ("3 or 4", None), ("between 3 and 5", None), ("7%", None),
        ("It takes 2 to 3 steps.", None), ("Difficulty: hard", None), ("1 to 10", None), ("100", None), ("7.5.2", None), ("v7", None), ("Difficulty: -7", None), ("Score: −7", None), ("Difficulty: 8-9", None), ("3-4", None),
        ("Score 8, or maybe 9", None), ("Difficulty /10: 4", 4), ("Difficulty: 3/5", None), ("Difficulty: 7/100", None),
        ("Difficulty: 7 out of 20", None), ("1,000", None), ("Difficulty is not 7", None), ("7 out of a possible 10", 7),
        ("Difficulty (out of 10): 4", 4), ("7⁄10", 7), ("Answering 2 questions is a 6", None),
    ],
)  # fmt: skip
def test_one_number_on_the_scale_is_a_score_and_nothing_else(text: str, score: float | None) -> None:
    assert read_score(text, 1, 10) == score


@given(st.text(max_size=200), st.integers(0, 3), st.integers(4, 100))
def test_no_answer_gives_a_score_off_the_scale(text: str, low: int, high: int) -> None:
    score = read_score(text, low, high)
    assert score is None or low <= score <= high


def rated(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", rows)
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"judge": options}])


ROWS = [{"instruction": f"Task {number}", "epoch": number % 3} for number in range(30)]


def by_epoch(request: Request) -> str:
    number = int(text_of(request).split("Task ")[1].split("\n")[0])
    return f"Difficulty: {2 + 3 * (number % 3)}"


def test_the_mean_of_each_epoch_is_reported(tmp_path: Path) -> None:
    result = run(rated(tmp_path, ROWS, mean_by="epoch"), tmp_path / "out", Model(by_epoch))
    assert result.rows == 30
    assert step(result, "judge")["notes"] == [
        "mean difficulty by epoch (rows): 0: 2.00 (10), 1: 5.00 (10), 2: 8.00 (10)"
    ]
    first = data(tmp_path / "out")
    again = run(rated(tmp_path, ROWS, mean_by="epoch"), tmp_path / "out", Model(by_epoch))
    assert (step(again, "judge")["notes"], data(tmp_path / "out")) == (step(result, "judge")["notes"], first)


def test_a_threshold_turns_rows_away_with_their_score(tmp_path: Path) -> None:
    result = run(rated(tmp_path, ROWS, minimum=5, maximum=7), tmp_path / "out", Model(by_epoch))
    assert result.rows == 10
    assert step(result, "judge")["rejected"] == {"judge: above_maximum": 10, "judge: below_minimum": 10}


def test_an_answer_without_a_number_is_asked_again_and_is_then_no_score(tmp_path: Path) -> None:
    engine = Model(lambda _: "It depends.")
    result = run(rated(tmp_path, ROWS[:5]), tmp_path / "out", engine)
    assert (result.rows, engine.asked) == (5, 10)
    assert step(result, "judge")["notes"] == ["5 rows have no difficulty: no answer of the judge could be read"]
    result = run(rated(tmp_path / "b", ROWS[:5], minimum=1), tmp_path / "b" / "out", Model(lambda _: "It depends."))
    assert (result.rows, step(result, "judge")["rejected"]) == (0, {"judge: no_score": 5})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "nowhere.jinja"}, "no such prompt file"),
        ({"prompt": "prompts/evol_instruct/equal.jinja"}, "no column 'first'"),
        ({"column": "epoch"}, "a column 'epoch' already"),
        ({"mean_by": "epochs"}, "no column 'epochs' .did you mean 'epoch'"),
        ({"scale": [5, 1]}, "the least score comes first"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(rated(tmp_path, ROWS[:2], **options))
