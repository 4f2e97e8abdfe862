"""How a run ends: stop rules, budgets, refusals, and what becomes of what had been made by then."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from factory.engines.protocol import Completion, Request
from factory.engines.scripted import ScriptedEngine
from factory.errors import RecipeError, UserError
from factory.journal import Journal

from . import fake_model, reference, runs

WINDOW = 6


def dull(request: Request) -> str | Completion:
    """The fake model, running out of ideas: from its 12th answer on it repeats one seed task."""
    number = runs.numbers().get(request.seed or 0, 0)
    if fake_model.stage_of(request) == "instructions" and number >= 12:
        return "9. Why do we have leap years?\n10. Name a river."
    return fake_model.answer(request)


def nothing(request: Request) -> str:
    return ""


# --- stop rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["acceptance_below", "novelty_below"])
def test_a_stop_rule_ends_the_run_with_exit_code_4_and_a_valid_dataset(tmp_path: Path, rule: str) -> None:
    recipe = runs.write_recipe(tmp_path, accept=500, window=WINDOW, stop={rule: {"rate": 0.3, "over": 10}})
    run = runs.run(recipe, tmp_path / "out", runs.bounded(dull, 300))
    assert (run.result.exit_code, run.result.status) == (4, "partial")
    assert rule in run.result.message and "10 candidates" in run.result.message
    assert 5 < len(run.data) == run.result.rows
    assert "of 500 instructions were accepted" in run.result.message


class OneStageSlow(ScriptedEngine):
    """The requests of some stages take their time, all others are answered at once."""

    def __init__(self, *slow: str) -> None:
        super().__init__(fake_model.answer)
        self._slow = slow

    async def complete(self, request: Request) -> Completion:
        if fake_model.stage_of(request) in self._slow:
            await asyncio.sleep(0.02)
        return await super().complete(request)


def test_a_stop_rule_ends_at_the_same_place_whichever_answers_come_first(tmp_path: Path) -> None:
    """Decided in the order of requests: answers that were quicker than the decision change nothing."""
    found = set()
    for name, slow in (("a", ["instructions"]), ("b", ["classification", "input_first"]), ("c", [])):
        folder = tmp_path / name
        folder.mkdir()
        rule = {"acceptance_below": {"rate": 0.55, "over": 8}}
        recipe = runs.write_recipe(folder, accept=500, window=12, stop=rule)
        run = runs.run(recipe, folder / "out", OneStageSlow(*slow))
        found.add((run.result.message, *runs.data_bytes(folder / "out")))
    assert len(found) == 1


def test_empty_answers_do_not_go_on_for_ever(tmp_path: Path) -> None:
    recipe = runs.write_recipe(
        tmp_path, accept=10, window=WINDOW, stop={"acceptance_below": {"rate": 0.01, "over": 40}}
    )
    run = runs.run(recipe, tmp_path / "out", runs.bounded(nothing, 100))
    assert run.result.exit_code == 4
    assert run.data == []
    assert run.reasons() == {"empty_answer": 40, "surplus": len(run.rejected) - 40}


def test_the_default_stop_rule_ends_a_run_that_accepts_nothing() -> None:
    from factory.methods.self_instruct.options import Options

    rule = Options().stop.acceptance_below
    assert rule is not None and rule.over <= 10_000


def test_refused_requests_are_filed_and_do_not_go_on_for_ever(tmp_path: Path) -> None:
    recipe = runs.write_recipe(
        tmp_path, accept=10, window=WINDOW, stop={"acceptance_below": {"rate": 0.01, "over": 20}}
    )
    run = runs.run(recipe, tmp_path / "out", ScriptedEngine(fake_model.answer, context_length=50))
    assert run.result.exit_code == 4
    assert [row["reason"] for row in run.rejected][:20] == ["prompt_too_long"] * 20
    assert all(row["score"] > row["threshold"] == 50 for row in run.rejected[:20])


# --- budgets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("salt", [None, "one", "two"])
def test_a_spent_budget_ends_with_exit_code_4_and_a_rerun_gives_the_same_bytes(
    tmp_path: Path, salt: str | None
) -> None:
    recipe = runs.write_recipe(tmp_path, accept=500, window=WINDOW, head={"budget": {"requests": 70}})
    engine = fake_model.SlowEngine(fake_model.answer, salt) if salt else runs.bounded(most=70)
    run = runs.run(recipe, tmp_path / "out", engine)
    assert (run.result.exit_code, run.result.status) == (4, "partial")
    assert "budget.requests of 70 is spent" in run.result.message
    assert engine.asked == 70
    assert 10 < len(run.data) == run.result.rows

    first = runs.data_bytes(tmp_path / "out")
    again = runs.run(recipe, tmp_path / "out", runs.bounded(most=0))
    assert runs.data_bytes(tmp_path / "out") == first
    assert again.result.exit_code == 4
    assert again.result.message == run.result.message
    if salt is None:  # without latency the same requests are refused every time
        assert [row for row in again.rejected if row["reason"] == "budget_spent"]
        assert again.reasons() == run.reasons()
    assert again.reasons().keys() - {"budget_spent"} == run.reasons().keys() - {"budget_spent"}


def test_a_larger_budget_goes_on_and_comes_to_what_one_run_would_have(tmp_path: Path) -> None:
    accept, options = 25, {"window": WINDOW}
    whole = tmp_path / "whole"
    whole.mkdir()
    runs.run(runs.write_recipe(whole, accept=accept, **options), whole / "out")
    for requests in (30, 60, None):
        head = {"budget": {"requests": requests}} if requests else {}
        run = runs.run(runs.write_recipe(tmp_path, accept=accept, head=head, **options), tmp_path / "out")
        assert run.result.exit_code == (4 if requests else 0)
    assert runs.data_bytes(tmp_path / "out") == runs.data_bytes(whole / "out")


BUDGET = 20


class LateInstances(ScriptedEngine):
    """Instances are answered only when all else has used up the budget."""

    async def complete(self, request: Request) -> Completion:
        answer = await super().complete(request)
        for _ in range(200):
            if fake_model.stage_of(request) != "input_first" or self.asked == BUDGET:
                break
            await asyncio.sleep(0.01)
        if fake_model.stage_of(request) == "input_first":
            await asyncio.sleep(0.1)
        return answer


def test_a_run_that_reaches_its_number_is_complete_though_the_budget_ran_out_meanwhile(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        number = runs.numbers().get(request.seed or 0, 0)
        stage = fake_model.stage_of(request)
        if stage == "instructions" and number == 0:
            return "\n".join(f"{place}. {runs.fresh(place)}" for place in range(5))
        return {"instructions": "", "classification": "No"}.get(stage, "Output: It is done.")

    recipe = runs.write_recipe(tmp_path, accept=3, window=WINDOW, head={"budget": {"requests": BUDGET}})
    engine = LateInstances(answer)
    run = runs.run(recipe, tmp_path / "out", engine)
    assert engine.asked == BUDGET
    assert (run.result.status, run.result.exit_code, len(run.data)) == ("complete", 0, 3)


# --- what had been made beyond the end ------------------------------------------------------------------------


def filed_by_request(run: runs.Run) -> Counter[str]:
    """How many records of the run were read from the answer to each request."""
    records = {row["record_id"]: row["provenance"] for row in [*run.data, *run.rejected, *run.lineage.values()]}
    return Counter(provenance["requests"][-1] for provenance in records.values() if provenance["requests"])


@pytest.mark.parametrize("stop", [{}, {"acceptance_below": {"rate": 0.55, "over": 12}}])
def test_every_candidate_that_was_paid_for_is_filed(tmp_path: Path, stop: dict[str, Any]) -> None:
    recipe = runs.write_recipe(tmp_path, accept=15, window=WINDOW, stop=stop)
    run = runs.run(recipe, tmp_path / "out", fake_model.SlowEngine(fake_model.answer, "x"))
    journal = Journal(tmp_path / "out" / "journal.sqlite", read_only=True)
    candidates = Counter[str]()
    for key, (_, stage) in journal.keys().items():
        pair = journal.request(key)
        assert pair is not None
        text, cut = pair[1].text, pair[1].finish_reason == "length"
        if stage == "instructions":
            candidates[key] = len(reference.instructions(text, cut, False) or [("", None)])
        elif stage == "input_first":
            candidates[key] = len(reference.input_first(text, cut))
    journal.close()
    assert candidates.total() > 50
    assert candidates <= filed_by_request(run)
    assert run.reasons()["surplus"] > 0


def test_accepted_instructions_without_a_row_are_filed_as_surplus_or_without_instance(tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, accept=15, window=WINDOW)
    run = runs.run(recipe, tmp_path / "out", fake_model.SlowEngine(fake_model.answer, "x"))
    accepted = {name for name, row in run.lineage.items() if row["provenance"]["step"] == runs.STEP}
    rows = {row["instruction_id"] for row in run.data}
    told = {row["record_id"] for row in run.rejected} | {row["fields"].get("instruction_id") for row in run.rejected}
    assert accepted - rows
    assert accepted - rows <= told


def test_rows_left_over_when_the_recipe_has_enough_are_filed_as_surplus(tmp_path: Path) -> None:
    pairs = "\n".join(f"Example {number}\nInput: case {number}\nOutput: result {number}" for number in (1, 2, 3))

    def answer(request: Request) -> str:
        stage = fake_model.stage_of(request)
        if stage == "instructions":
            return f"9. {runs.fresh(runs.numbers()[request.seed or 0])}"
        return "No" if stage == "classification" else pairs

    recipe = runs.write_recipe(tmp_path, accept=10, window=2, head={"accept": 7})
    run = runs.run(recipe, tmp_path / "out", runs.bounded(answer))
    last = run.data[-1]["instruction"]
    assert len(run.data) == 7
    rest = [row["fields"]["input"] for row in run.rejected if row["fields"]["instruction"] == last]
    assert rest == ["case 2", "case 3"]
    assert {row["reason"] for row in run.rejected} == {"surplus"}


def test_a_preview_ends_after_so_many_instructions(tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, accept=500, window=WINDOW)
    run = runs.run(recipe, tmp_path / "out", runs.bounded(most=60), limit=3)
    assert (run.result.status, run.result.exit_code) == ("preview", 0)
    assert 1 <= len({row["instruction_id"] for row in run.data}) <= 3


# --- deaths and wrong recipes ---------------------------------------------------------------------------------


def test_an_engine_that_dies_twice_changes_nothing(tmp_path: Path) -> None:
    for name, deaths in (("alive", ()), ("dying", (5, 30))):
        folder = tmp_path / name
        folder.mkdir()
        engine = ScriptedEngine(fake_model.answer, die_after=deaths)
        runs.run(runs.write_recipe(folder, accept=20, window=WINDOW), folder / "out", engine)
        assert engine.starts == 1 + len(deaths)
    assert runs.data_bytes(tmp_path / "alive" / "out") == runs.data_bytes(tmp_path / "dying" / "out")


def test_small_models_need_two_seed_tasks_of_each_kind(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(
        '{"instruction": "Name a long river.", "instances": [{"input": "", "output": "The Nile."}]}\n', encoding="utf-8"
    )
    recipe = runs.write_recipe(tmp_path, seeds=str(seeds), accept=1, small_model=True)
    with pytest.raises(UserError, match="2 classification tasks and 2 others; the seed tasks have 0 and 1"):
        runs.run(recipe, tmp_path / "out")


def test_the_one_call_variant_refuses_demonstrations_without_instances(tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, variant="one_call", demonstrations={"seed": 2, "machine": 1})
    with pytest.raises(RecipeError, match="seed tasks only"):
        runs.run(recipe, tmp_path / "out")
