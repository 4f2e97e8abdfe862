"""Persona-driven tasks: several for each, each with its persona, and how alike they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.engines.protocol import Request
from factory.errors import RecipeError
from factory.methods.persona import read_task
from factory.records import digest

from ..small_runs import Model, jsonl, recipe, run, step, text_of


def persona(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", rows)
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"persona": options}])


ROWS = [{"persona": f"A gardener of park {number}."} for number in range(10)]


def answer(request: Request) -> str:
    name, text = digest("persona", request)[:8], text_of(request)
    return (
        f"Sure!\n**Task:** Plant {name} near {name[::-1]} beside bed {name[:4]}."
        if "Person:" in text
        else f"In bed {name}."
    )


def read(out: Path) -> list[dict[str, Any]]:
    return [row for path in (out / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()]


def test_each_persona_has_its_tasks_and_each_task_knows_its_persona(tmp_path: Path) -> None:
    result = run(persona(tmp_path, ROWS, tasks=3, kinds=["instruction", "math"]), tmp_path / "out", Model(answer))
    rows = read(tmp_path / "out")
    assert result.rows == len(rows) == 30
    assert set(Counter(row["persona_id"] for row in rows).values()) == {3}
    assert Counter(row["kind"] for row in rows) == {"instruction": 20, "math": 10}
    for row in rows:
        assert row["provenance"]["parents"] == [row["persona_id"]] == [row["provenance"]["root"]]
        assert row["instruction"].startswith("Plant "), "the leading marker is left out"
        assert row["output"].startswith("In bed")
    assert len({row["instruction"] for row in rows}) == 30


def test_how_alike_the_tasks_of_a_persona_are_is_reported(tmp_path: Path) -> None:
    def alike(request: Request) -> str:
        return "Task: Water the roses of the park." if "Person:" in text_of(request) else "Done."

    result = run(persona(tmp_path, ROWS, tasks=2), tmp_path / "out", Model(alike))
    (note,) = step(result, "persona")["notes"]
    assert note.startswith(
        "10 of 20 tasks (50.0%) have a ROUGE-L above 0.7 with an earlier task of their persona; most"
    )
    result = run(persona(tmp_path / "b", ROWS, tasks=2), tmp_path / "b" / "out", Model(answer))
    assert step(result, "persona")["notes"][0].startswith("0 of 20 tasks (0.0%)")


def test_bad_personas_and_empty_answers_have_one_outcome_each(tmp_path: Path) -> None:
    def silent(request: Request) -> str:
        return "" if "park 3" in text_of(request) else answer(request)

    rows = [*ROWS, {"persona": " "}, {"persona": None}]
    result = run(persona(tmp_path, rows), tmp_path / "out", Model(silent))
    assert step(result, "persona")["rejected"] == {"source: empty_persona": 2, "parse: empty_answer": 1}
    assert result.rows == 9


def test_tasks_alone_need_no_answers(tmp_path: Path) -> None:
    engine = Model(answer)
    run(persona(tmp_path, ROWS, answer=False), tmp_path / "out", engine)
    assert engine.asked == 10
    assert "output" not in read(tmp_path / "out")[0]


@pytest.mark.parametrize(
    ("answer", "task"),
    [
        ("Task: Name X.", "Name X."),
        ("Sure!\n**Task:** Name X.", "Name X."),
        ("## Task\nName X.", "Name X."),
        ("Riddle: What am I?", "What am I?"),
        ("Problem: Add 2 and 3.\n\nSolution: 5", "Add 2 and 3."),
        ("Task: Name X.\nTask: Name Y.", "Name X."),
        ("I run a bakery.\nProblem: the bread is flat. Why?", "I run a bakery.\nProblem: the bread is flat. Why?"),
        ("Name X.", "Name X."),
    ],
)
def test_the_task_is_what_stands_behind_the_marker(answer: str, task: str) -> None:
    assert read_task(answer) == task


@pytest.mark.parametrize(
    ("options", "said"),
    [({"column": "person"}, "no column 'person' .did you mean 'persona'"), ({"kinds": ["maths"]}, "did you mean 'math'"), ({"kinds": []}, "kinds")],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(persona(tmp_path, ROWS, **options))


def test_the_plan_is_a_range_that_holds(tmp_path: Path) -> None:
    recipe_file = persona(tmp_path, ROWS, tasks=3)
    plan, engine = factory.plan(recipe_file, tmp_path / "out"), Model(answer)
    assert (plan.total("ask"), plan.total("ask_high"), plan.exact) == (30, 60, False)
    run(recipe_file, tmp_path / "out", engine)
    assert engine.asked == 60
    assert factory.plan(recipe_file, tmp_path / "out").exact
