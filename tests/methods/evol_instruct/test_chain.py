"""Chains of evolutions over a scripted model: lineage, the parent put back, rules on their fields, counts that add up."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.engines.protocol import Completion, Request
from factory.errors import RecipeError
from factory.records import digest
from factory.terminal.stories import story_text

from ...small_runs import Model, committed, data, jsonl, recipe, run, step, text_of

EPOCHS = 3
Reply = Callable[[Request], "str | Completion"]


def tasks(count: int) -> list[dict[str, Any]]:
    return [
        {"instruction": f"Name {number} rivers.", "input": f"continent {number}" if number % 3 == 0 else "", "output": f"R{number}"}
        for number in range(1, count + 1)
    ]  # fmt: skip


def evol(folder: Path, rows: list[dict[str, Any]], *, head: dict[str, Any] | None = None, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", rows)
    method = {"epochs": EPOCHS, **options}
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"evol_instruct": method}], **(head or {}))


def stage_of(request: Request) -> str:
    text = text_of(request)
    if text.rstrip().endswith(("Rewritten task:", "Created task:")):
        return "evolve"
    return "judge" if text.rstrip().endswith("Verdict:") else "answer"


def given_task(request: Request) -> str:
    return text_of(request).rsplit("Given task:\n", 1)[1].rsplit("\n\n", 1)[0]


def good(request: Request) -> str:
    """A model that never fails."""
    name = digest("evol", request)[:8]
    stage = stage_of(request)
    if stage == "evolve":
        return f"{given_task(request)} Mention {name} and say in ten words why it matters so much."
    return "Not Equal" if stage == "judge" else f"The answer is {name}."


def mixed(request: Request) -> str | Completion:
    """A model that fails in every way now and then."""
    draw = random.Random(digest("mixed", request))
    stage, lucky = stage_of(request), draw.random() < 0.6
    if lucky:
        return good(request)
    if stage == "evolve":
        return draw.choice(
            ["", given_task(request), "Rewritten task: use the given prompt.", Completion(text="Name a", finish_reason="length", prompt_tokens=9, completion_tokens=2)]
        )  # fmt: skip
    if stage == "judge":
        return draw.choice(["Equal", "I cannot tell.", "**Equal**"])
    return draw.choice(["Sorry, I cannot.", "It is what it is.", "", "…"])


def read(out: Path, folder: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def by_chain(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything that came of each row, kept and rejected, by root and epoch."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read(out, "data"):
        found[row["provenance"]["root"]].append({**row, "kept": True})
    for row in read(out, "rejected"):
        fields = json.loads(row["fields"])
        found[row["provenance"]["root"]].append({**fields, **row, "kept": False})
    return {root: sorted(rows, key=lambda row: row["epoch"]) for root, rows in found.items()}


def test_every_row_gets_one_evolution_an_epoch_and_the_start_set_is_contained(tmp_path: Path) -> None:
    rows = tasks(12)
    result = run(evol(tmp_path, rows), tmp_path / "out", Model(good))
    kept = read(tmp_path / "out", "data")
    assert result.rows == len(kept) == 12 * (1 + EPOCHS)
    start = {row["instruction"]: row["output"] for row in kept if row["epoch"] == 0}
    joined = {f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"] for row in rows}
    assert set(start) == joined
    assert all(row["operation"] is None and row["parent_id"] is None for row in kept if row["epoch"] == 0)
    assert Counter(row["epoch"] for row in kept) == {0: 12, 1: 12, 2: 12, 3: 12}


def test_each_row_knows_its_parent_operation_and_epoch(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(8)), tmp_path / "out", Model(good))
    by_id = {row["record_id"]: row for row in read(tmp_path / "out", "data")}
    for row in by_id.values():
        if row["epoch"]:
            parent = by_id[row["parent_id"]]
            assert row["provenance"]["parents"] == [row["parent_id"]]
            assert parent["epoch"] == row["epoch"] - 1
            assert row["instruction"].startswith(parent["instruction"])
            assert row["operation"] in factory.load_recipe(tmp_path / "recipe.yaml").steps[1].options.operations  # type: ignore[attr-defined]
            assert row["provenance"]["prompt"] == f"evol_instruct/{row['operation']}"
            assert len(row["provenance"]["requests"]) == 3, "evolve, judge, answer"


def test_a_failed_evolution_puts_its_parent_back_and_is_kept_as_rejected(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(60)), tmp_path / "out", Model(mixed, most_s=0.002))
    chains = by_chain(tmp_path / "out")
    assert len(chains) == 60
    failures = 0
    for rows in chains.values():
        assert [row["epoch"] for row in rows] == list(range(EPOCHS + 1))
        parent = rows[0]
        assert parent["kept"]
        for row in rows[1:]:
            assert row["parent_id"] == parent["record_id"], "the next epoch begins from the last one that was kept"
            failures += not row["kept"]
            parent = row if row["kept"] else parent
    assert failures > 40


RULES = {
    ("parse", "empty_answer"): "evolve",
    ("parse", "cut_off"): "evolve",
    ("leak", "leaked_words"): "evolve",
    ("equal", "identical"): "evolve",
    ("equal", "judged_equal"): "judge",
    ("equal", "no_verdict"): "judge",
    ("sorry", "says_sorry"): "answer",
    ("stop_words", "only_stop_words"): "answer",
    ("answer", "empty_answer"): "answer",
}


def test_every_rule_fires_after_the_stage_that_it_is_about_and_nothing_later_is_paid_for(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(80)), tmp_path / "out", Model(mixed))
    seen = set()
    for row in read(tmp_path / "out", "rejected"):
        stages = {"evolve": 1, "judge": 2, "answer": 3}
        asked = len(row["provenance"]["requests"])
        rule = (row["rule"], row["reason"])
        seen.add(rule)
        most = stages[RULES[rule]] + (RULES[rule] != "evolve")  # the judge may have been asked twice
        assert stages[RULES[rule]] <= asked <= most, (rule, asked)
        assert row["evidence"]
    assert seen == set(RULES)


@pytest.mark.parametrize(
    ("rule", "stage", "told"),
    [
        ("equal", "judge", "Equal"),
        ("sorry", "answer", "Sorry, I cannot do that."),
        ("stop_words", "answer", "It is what it is."),
        ("leak", "evolve", "Name a lake, as the rewritten prompt says."),
    ],
)
def test_each_rule_can_be_switched_off_alone(rule: str, stage: str, told: str, tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        return (
            f"{told} {digest(request)[:6]}"
            if stage_of(request) == stage == "evolve"
            else told
            if stage_of(request) == stage
            else good(request)
        )

    on = run(evol(tmp_path / "on", tasks(6)), tmp_path / "on" / "out", Model(reply))
    rejected = step(on, "evol_instruct")["rejected"]
    assert on.rows == 6
    assert {name.split(":")[0] for name in rejected} == {rule}
    options = {"elimination": {rule: False}}
    off = run(evol(tmp_path / "off", tasks(6), **options), tmp_path / "off" / "out", Model(reply))
    assert (off.rows, step(off, "evol_instruct")["rejected"]) == (6 * (1 + EPOCHS), {})


@pytest.mark.parametrize(
    ("field", "rule"), [("instruction", "sorry"), ("instruction", "stop_words"), ("output", "leak")]
)
def test_a_rule_does_not_fire_on_the_other_field(field: str, rule: str, tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        stage = stage_of(request)
        if field == "instruction" and stage == "evolve":
            return "Why are you so sorry?" if rule == "sorry" else "What is it that you are to be?"
        if field == "output" and stage == "answer":
            return "The given prompt is a fine one."
        return good(request)

    result = run(evol(tmp_path, tasks(4), epochs=1), tmp_path / "out", Model(reply))
    assert (result.rows, step(result, "evol_instruct")["rejected"]) == (8, {})


def test_no_words_of_the_prompts_leak(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(80)), tmp_path / "out", Model(mixed))
    for row in read(tmp_path / "out", "data"):
        assert "given task" not in row["instruction"].casefold()
        assert "given prompt" not in row["instruction"].casefold()


def test_each_instruction_has_exactly_one_answer(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(60)), tmp_path / "out", Model(mixed))
    rows = read(tmp_path / "out", "data")
    assert all(isinstance(row["output"], str) and row["output"].strip() for row in rows)
    assert len({row["instruction"] for row in rows}) == len(rows)
    assert len({row["record_id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("accept", [1, 7, 40, 41])
@pytest.mark.parametrize("shuffle", [False, True])
def test_exactly_as_many_rows_as_asked_for(accept: int, shuffle: bool, tmp_path: Path) -> None:
    recipe_file = evol(tmp_path, tasks(30), accept=accept, shuffle=shuffle)
    result = run(recipe_file, tmp_path / "out", Model(mixed, most_s=0.003))
    assert (result.rows, result.status, len(read(tmp_path / "out", "data"))) == (accept, "complete", accept)
    found = step(result, "evol_instruct")
    assert len(read(tmp_path / "out", "rejected")) == sum(
        sum(other["rejected"].values()) for other in result.manifest["steps"]
    )
    assert found["kept"] == accept


def test_fewer_than_asked_for_is_said(tmp_path: Path) -> None:
    for options in ({"accept": 100}, {"sample": 100}):
        folder = tmp_path / next(iter(options))
        result = run(evol(folder, tasks(3), **options), folder / "out", Model(good))
        assert (result.status, result.exit_code, result.rows) == ("partial", 4, 12)
        assert "100" in result.message and "12" in result.message


def test_rows_are_mixed_by_the_seed_and_sampled_from_all_of_them(tmp_path: Path) -> None:
    orders = []
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        run(evol(tmp_path / name, tasks(20), head={"seed": seed}), tmp_path / name / "out", Model(good, most_s=0.002))
        orders.append([row["epoch"] for row in read(tmp_path / name / "out", "data")])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    result = run(evol(tmp_path / "sampled", tasks(20), sample=25), tmp_path / "sampled" / "out", Model(good))
    assert result.rows == 25
    assert step(result, "evol_instruct")["rejected"] == {"sample: not_drawn": 55}
    assert len({row["epoch"] for row in read(tmp_path / "sampled" / "out", "data")}) == 4


def test_rows_stream_on_where_nothing_is_mixed(tmp_path: Path) -> None:
    """The first rows reach the next step while later ones are still being evolved."""
    recipe_file = evol(tmp_path, tasks(40), shuffle=False, window=4)
    text = json.loads(recipe_file.read_text())
    (tmp_path / "rate.jinja").write_text("---\ninputs: [output]\n---\n=== user ===\nRATE {{ output }}\n")
    text["steps"].append({"prompt": {"prompt": "rate.jinja", "output": "rating"}})
    recipe_file.write_text(json.dumps(text))
    order: list[str] = []

    def reply(request: Request) -> str:
        rating = text_of(request).startswith("RATE")
        order.append("rate" if rating else "evol")
        return "7" if rating else good(request)

    assert run(recipe_file, tmp_path / "out", Model(reply, most_s=0.003)).rows == 160
    assert order.index("rate") < len(order) / 4


# --- chains without a barrier ------------------------------------------------------------------------------------


def test_chains_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One row that is slow in its first epoch keeps no other from its last one."""
    ended: list[tuple[str, int]] = []

    class Slow(Model):
        async def complete(self, request: Request) -> Completion:
            if "Name 1 rivers." in text_of(request):
                self._most_s = 0.2
            completion = await super().complete(request)
            self._most_s = 0.0
            ended.append(("slow" if "Name 1 rivers." in text_of(request) else "fast", len(ended)))
            return completion

    run(evol(tmp_path, tasks(10)), tmp_path / "out", Slow(good))
    assert [name for name, _ in ended].index("slow") > 5


def test_what_was_answered_is_not_asked_again_across_epochs(tmp_path: Path) -> None:
    recipe_file, out = evol(tmp_path, tasks(20)), tmp_path / "out"
    run(recipe_file, out, limit=8)
    known = committed(out)
    engine = Model(mixed)
    run(recipe_file, out, engine)
    assert not known & set(engine.keys)
    whole, engine = data(out), Model(mixed)
    run(recipe_file, out, engine)
    assert (engine.asked, data(out)) == (0, whole)


def test_an_edited_row_asks_its_own_chain_only_and_the_plan_says_so(tmp_path: Path) -> None:
    rows = tasks(40)
    recipe_file, out = evol(tmp_path, rows), tmp_path / "out"
    run(recipe_file, out, Model(good))
    rows[7] = {"instruction": "Name a lake.", "input": "", "output": "Bodensee"}
    jsonl(tmp_path / "rows.jsonl", rows)
    plan = factory.plan(recipe_file, out)
    assert (plan.total("reused"), plan.total("ask"), plan.total("ask_high")) == (39 * EPOCHS * 3, 1, EPOCHS * 4)
    assert not plan.exact
    engine = Model(good)
    run(recipe_file, out, engine)
    assert engine.asked == EPOCHS * 3


def test_one_more_epoch_asks_only_for_that_epoch(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(evol(tmp_path, tasks(10), epochs=2), out, Model(good))
    engine = Model(good)
    run(evol(tmp_path, tasks(10), epochs=3), out, engine, accept_changes=True)
    assert engine.asked == 10 * 3


def test_a_plan_from_nothing_is_a_range_that_holds(tmp_path: Path) -> None:
    recipe_file = evol(tmp_path, tasks(20))
    plan = factory.plan(recipe_file, tmp_path / "out")
    engine = Model(mixed)
    run(recipe_file, tmp_path / "out", engine)
    assert plan.total("ask") <= engine.asked <= plan.total("ask_high")
    assert factory.plan(recipe_file, tmp_path / "out").total("ask_high") == 0


# --- what comes in -----------------------------------------------------------------------------------------------


def test_empty_instructions_and_missing_answers_have_one_outcome_each(tmp_path: Path) -> None:
    rows = [
        {"instruction": ""},
        {"instruction": None},
        {"instruction": "Name a river."},
        {"instruction": "写一首诗", "output": "诗"},
    ]
    result = run(evol(tmp_path, rows), tmp_path / "out", Model(good))
    assert step(result, "evol_instruct")["rejected"] == {"source: empty_instruction": 2}
    assert result.rows == 2 * (1 + EPOCHS)
    start = [row for row in read(tmp_path / "out", "data") if row["epoch"] == 0]
    assert {row["instruction"] for row in start} == {"Name a river.", "写一首诗"}
    assert all(row["output"] for row in start)
    (tmp_path / "other").mkdir()
    result = run(evol(tmp_path / "other", rows, answer_start=False), tmp_path / "other" / "out", Model(good))
    assert step(result, "evol_instruct")["rejected"] == {"source: empty_instruction": 2, "source: no_output": 1}


def test_an_instruction_longer_than_the_context_is_kept_as_it_came_and_its_evolutions_are_refused(
    tmp_path: Path,
) -> None:
    rows = [{"instruction": "word " * 500, "output": "short"}, {"instruction": "word " * 500}, *tasks(2)]
    result = run(evol(tmp_path, rows), tmp_path / "out", Model(good, context_length=400))
    assert step(result, "evol_instruct")["rejected"] == {"request: prompt_too_long": EPOCHS + 1}
    assert result.rows == 1 + 2 * (1 + EPOCHS)


def test_a_judge_that_never_answers_in_form_rejects_with_that_reason_and_a_note(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        return "As an AI I like both." if stage_of(request) == "judge" else good(request)

    result = run(evol(tmp_path, tasks(5)), tmp_path / "out", Model(reply))
    found = step(result, "evol_instruct")
    assert (result.rows, found["rejected"]) == (5, {"equal: no_verdict": 15})
    assert any("no evolution was kept; 15 of 15 failed by equal: no_verdict" in note for note in found["notes"])


def test_seed_tasks_and_instances_of_self_instruct_can_come_in(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "instruction": "Add.",
            "is_classification": False,
            "instances": [{"input": "2 and 3", "output": "5"}],
        }
    ]
    run(evol(tmp_path, rows, keep_columns=["id"]), tmp_path / "out", Model(good))
    kept = read(tmp_path / "out", "data")
    assert {row["id"] for row in kept} == {"a"}
    assert next(row for row in kept if row["epoch"] == 0)["instruction"] == "Add.\n\n2 and 3"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": {"instruction": "instrction"}}, "no column 'instrction' .did you mean 'instruction'"),
        ({"keep_columns": ["topic"]}, "no column 'topic'"),
        ({"keep_columns": ["output"]}, "output belongs to the dataset already"),
        ({"operations": {"depen": 1}}, "no operation is called 'depen' .did you mean 'deepen'"),
        ({"operations": {"deepen": 0}}, "at least one operation needs a weight"),
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"elimination": {"sory": True}}, "unknown key .did you mean 'sorry'"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(evol(tmp_path, tasks(2), **options))


def test_a_budget_ends_chains_and_replays_to_the_same_bytes(tmp_path: Path) -> None:
    recipe_file, out = evol(tmp_path, tasks(30), head={"budget": {"requests": 70}}), tmp_path / "out"
    first = run(recipe_file, out, Model(good, most_s=0.003))
    assert (first.status, first.exit_code) == ("partial", 4)
    whole, engine = data(out), Model(good)
    again = run(recipe_file, out, engine)
    assert (again.rows, engine.asked, data(out)) == (first.rows, 0, whole)


# --- what people see ---------------------------------------------------------------------------------------------


def test_why_shows_the_lineage_of_a_row_two_epochs_deep(tmp_path: Path) -> None:
    run(evol(tmp_path, tasks(5)), tmp_path / "out", Model(good))
    row = next(row for row in read(tmp_path / "out", "data") if row["epoch"] == 2)
    stories = factory.why(tmp_path / "out", row["record_id"])
    assert [story.fields["epoch"] for story in stories if "epoch" in story.fields] == [2, 1, 0]
    text = story_text(stories, full=False)
    tree = text.split("lineage:\n")[1].split("\n\n")[0].splitlines()
    assert len(tree) == 3
    assert row["record_id"] in tree[-1]
    assert row["operation"] in tree[-1]
    assert tree[0].lstrip("└─ ").startswith("[")


def test_the_words_that_operations_add_are_reported(tmp_path: Path) -> None:
    result = run(evol(tmp_path, tasks(30)), tmp_path / "out", Model(good))
    notes = step(result, "evol_instruct")["notes"]
    assert sum("evolutions kept, +12.0 words on average" in note for note in notes) == 6
    assert sum("(10 to 20 are asked for)" in note for note in notes) == 4


# --- found by somebody who looked for ways around it ------------------------------------------------------------


def chained(folder: Path, **options: Any) -> Path:
    """Evolutions, novelty, and a difficulty for each."""
    recipe_file = evol(folder, tasks(15), epochs=2, **options)
    text = json.loads(recipe_file.read_text())
    text["steps"] += [{"rouge_l": {"threshold": 0.7}}, {"judge": {"column": "difficulty", "mean_by": "epoch"}}]
    recipe_file.write_text(json.dumps(text))
    return recipe_file


def judged(request: Request) -> str:
    return "Difficulty: 4" if "Difficulty:" in text_of(request) else good(request)


@pytest.mark.parametrize("options", [{}, {"sample": 20}, {"shuffle": False}])
def test_a_plan_of_a_finished_chain_asks_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    recipe_file, out = chained(tmp_path, **options), tmp_path / "out"
    run(recipe_file, out, Model(judged))
    plan = factory.plan(recipe_file, out)
    assert (plan.total("ask"), plan.total("ask_high"), plan.exact) == (0, 0, True)


@pytest.mark.parametrize("options", [{"accept": 10}, {"accept": 35}, {}])
def test_a_plan_of_a_chain_is_a_range_that_holds(options: dict[str, Any], tmp_path: Path) -> None:
    recipe_file = chained(tmp_path, **options)
    plan = factory.plan(recipe_file, tmp_path / "out")
    assert {line.stage for line in plan.lines} >= {"evolve", "judge", "answer"}
    assert not plan.exact
    engine = Model(judged)
    run(recipe_file, tmp_path / "out", engine)
    assert plan.total("ask") <= engine.asked <= plan.total("ask_high")


def test_steps_behind_a_loop_are_planned_too(tmp_path: Path) -> None:
    lines = {(line.step, line.stage): line for line in factory.plan("self_then_evol", tmp_path / "out").lines}
    evolve, judge = lines[("evol_instruct", "evolve")], lines[("judge", "requests")]
    assert (evolve.ask, evolve.ask_high) == (32, 32), "sixteen instructions and two epochs"
    assert judge.ask == 48, "and each of them three rows"


def test_values_that_are_no_text_are_not_lost(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Double it.", "input": 7, "output": 14},
        {"instruction": "Sum.", "input": [1, 2], "output": {"sum": 3}},
    ]
    run(evol(tmp_path, rows, epochs=1), tmp_path / "out", Model(good))
    start = {row["instruction"]: row["output"] for row in read(tmp_path / "out", "data") if row["epoch"] == 0}
    assert start == {"Double it.\n\n7": "14", "Sum.\n\n[1,2]": '{"sum":3}'}


def test_columns_that_are_named_must_be_there(tmp_path: Path) -> None:
    for name in ("input", "output"):
        with pytest.raises(RecipeError, match=rf"columns.{name}: no column '{name}s'"):
            factory.load_recipe(evol(tmp_path, tasks(2), columns={name: f"{name}s"}))


def test_a_sample_larger_than_accept_is_refused_and_a_preview_draws_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="30 rows cannot be drawn from the 20 of accept"):
        factory.load_recipe(evol(tmp_path, tasks(2), sample=30, accept=20))
    result = run(evol(tmp_path, tasks(20), sample=20), tmp_path / "out", Model(good), limit=5)
    assert (result.status, result.exit_code, result.rows) == ("preview", 0, 5)


def test_further_instances_are_mentioned_and_broken_ones_passed_over(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Double.", "instances": [None, {"input": "2", "output": "4"}, {"input": "3", "output": "6"}]}
    ]
    result = run(evol(tmp_path, rows, epochs=1), tmp_path / "out", Model(good))
    start = next(row for row in read(tmp_path / "out", "data") if row["epoch"] == 0)
    assert (start["instruction"], start["output"]) == ("Double.\n\n2", "4")
    assert any(
        note.startswith("1 further instances of rows are left out") for note in step(result, "evol_instruct")["notes"]
    )


def test_notes_count_what_the_dataset_holds(tmp_path: Path) -> None:
    result = run(evol(tmp_path, tasks(30), accept=8, shuffle=False), tmp_path / "out", Model(good))
    kept = [row for row in read(tmp_path / "out", "data") if row["epoch"]]
    notes = [note for note in step(result, "evol_instruct")["notes"] if "evolutions kept" in note]
    assert sum(int(note.split(": ")[1].split(" of ")[0]) for note in notes) == len(kept)


def test_a_plan_counts_the_rows_that_are_open_when_there_are_enough(tmp_path: Path) -> None:
    recipe_file = evol(tmp_path, tasks(60), accept=10, elimination={"equal": False})
    plan, engine = factory.plan(recipe_file, tmp_path / "out"), Model(good)
    assert run(recipe_file, tmp_path / "out", engine).rows == 10
    needed = 3 * EPOCHS * 2  # three chains of a start row and three evolutions, two requests each
    assert needed < engine.asked <= plan.total("ask_high")
