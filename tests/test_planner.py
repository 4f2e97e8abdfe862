"""What a plan predicts is what the run then asks, to the request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.planner import Plan

from .small_runs import Model, committed, jsonl, one_step, prompt_file, run, self_instruct, step, tickets, two_steps

STEPS = ("summarise", "entitle")


def ask(plan: Plan) -> dict[str, int]:
    return {name: sum(line.ask for line in plan.lines if line.step == name) for name in STEPS}


def edit_rows(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        found = tickets(400)
        made = change(found)
        jsonl(folder / "rows.jsonl", made if isinstance(made, list) else found)

    return edit


def swap(rows: list[dict[str, Any]]) -> None:
    rows[10], rows[300] = rows[300], rows[10]


def rewrite_two(rows: list[dict[str, Any]]) -> None:
    for row in rows[:2]:
        row["text"] = f"new {row['id']}"


EDITS: dict[str, tuple[Callable[[Path], Any], dict[str, int]]] = {
    "nothing": (lambda folder: None, {"summarise": 0, "entitle": 0}),
    "the last prompt": (lambda folder: prompt_file(folder / "title.jinja", "summary", "Give a title now to"), {"summarise": 0, "entitle": 400}),
    "the first prompt": (lambda folder: prompt_file(folder / "summary.jinja", "text", "Summarise now"), {"summarise": 400, "entitle": 400}),
    "one row": (edit_rows(lambda rows: rows[7].update(text="Ticket 7: it came, but broken.")), {"summarise": 1, "entitle": 1}),
    "a row moved": (edit_rows(lambda rows: rows.insert(2, rows.pop(200))), {"summarise": 0, "entitle": 0}),
    "two rows swapped": (edit_rows(swap), {"summarise": 0, "entitle": 0}),
    "all rows reversed": (edit_rows(lambda rows: rows.reverse()), {"summarise": 0, "entitle": 0}),
    "a row inserted": (edit_rows(lambda rows: rows.insert(5, {"id": -1, "text": "Ticket -1: new."})), {"summarise": 1, "entitle": 1}),
    "a row twice": (edit_rows(lambda rows: rows.insert(5, dict(rows[50]))), {"summarise": 1, "entitle": 1}),
    "a row gone": (edit_rows(lambda rows: rows.pop(5)), {"summarise": 0, "entitle": 0}),
    "ten rows more": (edit_rows(lambda rows: tickets(410)), {"summarise": 10, "entitle": 10}),
    "two rows and the last prompt": (
        lambda folder: (
            edit_rows(rewrite_two)(folder),
            prompt_file(folder / "title.jinja", "summary", "Give a title now to"),
        ),
        {"summarise": 2, "entitle": 400},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run(two_steps(folder), folder / "out")
    return folder


@pytest.mark.parametrize("edit", EDITS)
def test_a_plan_predicts_exactly_what_the_run_asks(edit: str, finished: Path, tmp_path: Path) -> None:
    change, expected = EDITS[edit]
    recipe_file, out = two_steps(tmp_path), tmp_path / "out"
    out.mkdir()
    for name in ("journal.sqlite", "manifest.json"):
        (out / name).write_bytes((finished / "out" / name).read_bytes())
    change(tmp_path)
    before = (out / "journal.sqlite").read_bytes()
    plan = factory.plan(recipe_file, out=out)
    assert (out / "journal.sqlite").read_bytes() == before
    assert ask(plan) == expected
    follows = any("every record not made yet is kept" in note for note in plan.notes)
    assert plan.exact == (not follows)
    assert follows == (expected["summarise"] > 0)
    engine = Model(most_s=0.001)
    result = run(recipe_file, out, engine)
    asked = {name: sum(stage["asked"] for stage in step(result, name)["stages"].values()) for name in STEPS}
    assert asked == expected
    assert engine.asked == plan.total("ask") == sum(expected.values())
    assert max(engine.keys.values(), default=1) == 1
    assert factory.plan(recipe_file, out=out).total("ask") == 0


def test_a_plan_without_a_run_counts_everything_and_writes_nothing(tmp_path: Path) -> None:
    plan = factory.plan(two_steps(tmp_path), out=tmp_path / "out")
    assert ask(plan) == {"summarise": 400, "entitle": 400}
    assert (plan.speed, plan.seconds, plan.rows) == (None, None, 0)
    assert plan.lines[0].completion_tokens == 400 * 512, "an upper bound where nothing is known"
    assert "upper bound" in plan.lines[0].basis
    assert any("--limit 5" in note for note in plan.notes)
    assert not (tmp_path / "out").exists()


def test_a_plan_in_the_middle_of_a_run_asks_what_is_missing(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=100), tmp_path / "out"
    run(recipe_file, out, limit=10)
    done = len(committed(out))
    plan = factory.plan(recipe_file, out=out)
    assert plan.total("ask") == 200 - done
    assert plan.total("reused") + plan.total("ask") == 200
    assert plan.speed is not None and plan.seconds is not None


def test_a_plan_follows_accept_and_limit(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=200, last={"accept": 30}), tmp_path / "out"
    run(recipe_file, out, Model(most_s=0.003))
    plan = factory.plan(recipe_file, out=out)
    assert (plan.total("ask"), plan.rows) == (0, 30)
    assert factory.plan(recipe_file, out=out, limit=3).rows == 3
    assert factory.plan(recipe_file, out=out).exact


@pytest.mark.parametrize("where", ["step", "recipe", "limit"])
def test_a_plan_of_a_run_that_will_end_early_does_not_count_all_rows(where: str, tmp_path: Path) -> None:
    accept = {"accept": 30} if where == "step" else None
    head: dict[str, Any] = {"accept": 30} if where == "recipe" else {}
    limit = 30 if where == "limit" else None
    recipe_file = two_steps(tmp_path, first={"window": 10}, last=accept, **head)
    plan = factory.plan(recipe_file, out=tmp_path / "out", limit=limit)
    assert (30 <= ask(plan)["summarise"] <= 40, ask(plan)["entitle"]) == (True, 30)
    assert not plan.exact
    assert any("assumes that every record not made yet is kept" in note for note in plan.notes)
    engine = Model(most_s=0.002)
    assert run(recipe_file, tmp_path / "out", engine, limit=limit).rows == 30
    assert engine.asked >= 60
    assert factory.plan(recipe_file, out=tmp_path / "out", limit=limit).total("ask") == 0


def test_answers_that_an_edit_leaves_unused_are_counted_as_dropped(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=50), tmp_path / "out"
    run(recipe_file, out)
    jsonl(tmp_path / "rows.jsonl", tickets(48))
    plan = factory.plan(recipe_file, out=out)
    assert {line.step: (line.reused, line.dropped) for line in plan.lines} == {"summarise": (48, 2), "entitle": (48, 2)}


def test_tokens_are_estimated_from_the_answers_that_are_there(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(20)), tmp_path / "out"
    run(recipe_file, out, Model(lambda request: "one two three"))
    one_step(tmp_path, tickets(30))
    line = factory.plan(recipe_file, out=out).lines[0]
    assert (line.reused, line.ask, line.completion_tokens) == (20, 10, 30)
    assert "mean of 20 answers" in line.basis


def test_a_plan_says_what_differs_from_the_recipe_of_the_directory(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(10)), tmp_path / "out"
    run(recipe_file, out)
    recipe_file = one_step(tmp_path, tickets(10), step={"sampling": {"temperature": 0.5}})
    plan = factory.plan(recipe_file, out=out)
    assert plan.total("ask") == 10
    assert any("temperature: 1.0 -> 0.5" in note for note in plan.notes)


def test_the_plan_of_a_finished_loop_asks_nothing_and_of_a_longer_one_gives_a_range(tmp_path: Path) -> None:
    recipe_file, out = self_instruct(tmp_path, accept=15), tmp_path / "out"
    run(recipe_file, out, Model(most_s=0.003))
    assert factory.plan(recipe_file, out=out).total("ask_high") == 0
    longer = self_instruct(tmp_path, accept=60)
    plan = factory.plan(longer, out=out)
    assert not plan.exact
    engine = Model()
    run(longer, out, engine)
    assert 0 < engine.asked <= plan.total("ask_high")


def test_a_plan_says_when_the_budget_will_not_do(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(one_step(tmp_path, tickets(10)), out)
    plan = factory.plan(one_step(tmp_path, tickets(60), budget={"requests": 30}), out=out)
    assert any(
        "budget.requests of 30 ends the run before that: 20 of 50 requests are left" in note for note in plan.notes
    )
    plan = factory.plan(one_step(tmp_path, tickets(60), budget={"requests": 60}), out=out)
    assert not any("budget" in note for note in plan.notes)


def test_a_plan_runs_beside_the_run_that_it_is_about(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=60), tmp_path / "out"
    plans = []

    def looking(request: object) -> str:
        if len(plans) < 5:
            plans.append(factory.plan(recipe_file, out=out).total("ask"))
        return "an answer"

    assert run(recipe_file, out, Model(looking)).rows == 60
    assert all(0 < planned <= 120 for planned in plans)
    assert json.loads((out / "manifest.json").read_text())["status"] == "complete"
