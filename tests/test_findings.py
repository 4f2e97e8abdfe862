"""What people found who tried to break a run, each as small as it can be: none of it may come back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import factory
from factory.engines.protocol import Completion, Request
from factory.errors import EngineError, RecipeError, UserError
from factory.exporting import export
from factory.manifest import file_hash

from .small_runs import (
    Model,
    answer,
    committed,
    data,
    jsonl,
    one_step,
    prompt_file,
    recipe,
    run,
    self_instruct,
    step,
    text_of,
    tickets,
    two_steps,
)

SCHEMA = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}


def filtered(folder: Path, rows: int, *, prompt: dict[str, Any] | None = None, **head: Any) -> Path:
    """Rows, a summary of each, and a filter behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", tickets(rows))
    prompt_file(folder / "summary.jinja", "text", "Summarise")
    steps = [
        {"rows": {"path": "rows.jsonl"}},
        {"prompt": {"prompt": "summary.jinja", "output": "summary", **(prompt or {})}},
        {"rouge_l": {"field": "summary"}},
    ]
    return recipe(folder, steps, **head)


def rows_of(out: Path, folder: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


# --- steps that close down while others still run ---------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rows", [300, 1000])
@pytest.mark.parametrize("where", ["recipe", "step", "limit"])
def test_a_plan_ends_also_where_the_source_has_more_than_a_stream_holds(rows: int, where: str, tmp_path: Path) -> None:
    head = {"accept": 100} if where == "recipe" else {}
    recipe_file = filtered(tmp_path, rows, prompt={"accept": 100} if where == "step" else None, **head)
    plan = factory.plan(recipe_file, tmp_path / "out", limit=5 if where == "limit" else None)
    assert plan.total("ask") >= (5 if where == "limit" else 100)


@pytest.mark.parametrize("most_s", [0.0, 0.01])
def test_what_a_step_has_read_when_all_have_enough_is_filed(most_s: float, tmp_path: Path) -> None:
    recipe_file = filtered(tmp_path, 200, prompt={"accept": 10}, accept=10)
    result = run(recipe_file, tmp_path / "out", Model(most_s=most_s))
    assert result.rows == 10
    for found in result.manifest["steps"][1:]:
        assert found["read"] == found["kept"] + sum(found["rejected"].values()), found
    rejected = rows_of(tmp_path / "out", "rejected")
    assert len(rejected) == sum(sum(found["rejected"].values()) for found in result.manifest["steps"])


def test_self_instruct_files_its_surplus_also_where_its_reader_ends_first(tmp_path: Path) -> None:
    recipe_file = self_instruct(tmp_path, accept=20)
    text = json.loads(recipe_file.read_text())
    text["steps"].append({"rouge_l": {"field": "output"}})
    recipe_file.write_text(json.dumps({**text, "accept": 22}))
    result = run(recipe_file, tmp_path / "out", Model(most_s=0.004))
    assert sum(step(result, "self_instruct")["rejected"].values()) > 5


@pytest.mark.parametrize("rows", [60, 900])  # the source has ended, or waits for a place in the stream
@pytest.mark.parametrize("ending", ["error", "interrupt"])
def test_rows_that_were_not_finished_are_not_called_rejected(ending: str, rows: int, tmp_path: Path) -> None:
    def failing(request: Request) -> str:
        if "Ticket 30:" in text_of(request):
            raise EngineError("the engine is gone.") if ending == "error" else KeyboardInterrupt
        return answer(request)

    with pytest.raises((EngineError, KeyboardInterrupt)):
        run(two_steps(tmp_path, rows=rows), tmp_path / "out", Model(failing, most_s=0.002))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [found["rejected"] for found in manifest["steps"]] == [{}, {}, {}]


# --- budgets -----------------------------------------------------------------------------------------------------


def test_a_budget_that_was_spent_stays_spent_whatever_ended_the_run(tmp_path: Path) -> None:
    for requests in range(40, 75, 5):
        folder = tmp_path / str(requests)
        recipe_file = self_instruct(folder, accept=500, budget={"requests": requests})
        text = json.loads(recipe_file.read_text())
        text["steps"][1]["self_instruct"]["stop"] = {"acceptance_below": {"rate": 0.9, "over": 12}}
        recipe_file.write_text(json.dumps(text))
        first = run(recipe_file, folder / "out", Model(most_s=0.004))
        before, engine = data(folder / "out"), Model()
        again = run(recipe_file, folder / "out", engine)
        assert (again.rows, engine.asked, data(folder / "out")) == (first.rows, 0, before)


def test_a_budget_of_tokens_needs_an_engine_that_counts_them(tmp_path: Path) -> None:
    def uncounted(request: Request) -> Completion:
        return Completion(text="An answer.", finish_reason="stop", prompt_tokens=0, completion_tokens=0)

    with pytest.raises(
        EngineError, match="sends no token counts, so that budget.tokens and budget.money cannot be kept"
    ):
        run(one_step(tmp_path, tickets(5), budget={"tokens": 50}), tmp_path / "out", Model(uncounted))
    result = run(one_step(tmp_path, tickets(5)), tmp_path / "free", Model(uncounted))
    assert "the server sends no token counts: tokens are counted as 0" in step(result, "prompt")["notes"]


# --- answers, schemas, templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "object", "properties": {"price": {"type": "number", "multipleOf": 0.01}}}, '{"price": 1e400}'),
        ({"type": "object", "properties": {"price": {"type": "number"}}}, '{"price": 1e400}'),
        (
            {
                "type": "object",
                "properties": {"price": {"$ref": "#/$defs/node"}},
                "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
            },
            '{"price": ' + '{"next": ' * 600 + "{}" + "}" * 600 + "}",
        ),
    ],
)
def test_an_answer_that_a_schema_cannot_be_held_against_is_rejected(
    schema: dict[str, Any], told: str, tmp_path: Path
) -> None:
    result = run(one_step(tmp_path, tickets(3), step={"schema": schema}), tmp_path / "out", Model(lambda _: told))
    assert (result.rows, result.status) == (0, "complete")
    assert sum(step(result, "prompt")["rejected"].values()) == 3


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (SCHEMA | {"required": ["prise"]}, r"schema.required: 'prise' is none of the properties .did you mean 'price'"),
        (SCHEMA | {"$ref": "#"}, "its references lead in a circle"),
    ],
)
def test_a_schema_that_no_answer_can_have_is_refused(schema: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(one_step(tmp_path, tickets(2), step={"schema": schema}))


def test_an_output_column_beside_a_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="output: goes with a plain answer"):
        factory.load_recipe(one_step(tmp_path, tickets(2), step={"schema": SCHEMA, "output": "a"}))


def test_a_rejected_row_keeps_its_own_column_of_that_name(tmp_path: Path) -> None:
    rows = [{"text": "q", "answer": "ORIGINAL"}]
    run(one_step(tmp_path, rows, step={"schema": SCHEMA}), tmp_path / "out", Model(lambda _: "not json"))
    (rejected,) = rows_of(tmp_path / "out", "rejected")
    assert json.loads(rejected["fields"]) == {"text": "q", "answer": "ORIGINAL", "model_answer": "not json"}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("text | wordwrap(60)", "cannot be rendered"),
        ("text | truncate(-5)", "cannot be rendered"),
        ("text | map('upper')", "a generator is no text: did you forget '| list'"),
        ("text.strip", "is no text"),
        ("cycler()", "cannot be rendered"),
    ],
)
def test_a_row_that_a_template_cannot_show_is_rejected_with_the_reason(
    expression: str, said: str, tmp_path: Path
) -> None:
    recipe_file = one_step(tmp_path, [{"text": "fine"}, {"text": None}])
    body = f"---\ninputs: [text]\n---\n=== user ===\nSummarise: {{{{ text }}}} {{{{ {expression} }}}}\n"
    (tmp_path / "summary.jinja").write_text(body)
    run(recipe_file, tmp_path / "out", Model())
    rejected = rows_of(tmp_path / "out", "rejected")
    assert rejected
    assert {row["reason"] for row in rejected} == {"prompt_not_rendered"}
    assert any(said in row["evidence"] for row in rejected)


# --- identity ----------------------------------------------------------------------------------------------------


def test_rows_that_lead_to_one_request_are_still_two_records(tmp_path: Path) -> None:
    """A prompt without variables, and two rows whose seeds of 31 bits are the same."""
    recipe_file = one_step(tmp_path, [{"text": f"row {number}"} for number in (6515, 32988)])
    (tmp_path / "summary.jinja").write_text("---\ninputs: [text]\n---\n=== user ===\nSummarise{{ text[:0] }}: it\n")
    monkey = pytest.MonkeyPatch()
    monkey.setattr("factory.context.context.derive_seed", lambda *_: 7)
    try:
        result = run(recipe_file, tmp_path / "out", Model())
    finally:
        monkey.undo()
    assert len(committed(tmp_path / "out")) == 1
    assert len({row["record_id"] for row in rows_of(tmp_path / "out", "data")}) == result.rows == 2


def test_instances_of_one_instruction_stay_one_family_behind_a_prompt(tmp_path: Path) -> None:
    recipe_file = self_instruct(tmp_path, accept=60)
    text = json.loads(recipe_file.read_text())
    prompt_file(tmp_path / "rate.jinja", "output", "Summarise")
    text["steps"].append({"prompt": {"prompt": "rate.jinja", "output": "rating"}})
    recipe_file.write_text(json.dumps(text))

    def several(request: Request) -> str:
        told = answer(request)
        return "\n".join(f"Example {n}\n{told} {n}" for n in (1, 2, 3)) if told.startswith("Input: ") else told

    run(recipe_file, tmp_path / "out", Model(several))
    export(tmp_path / "out", tmp_path / "exported", format="alpaca", validation=0.3)
    sides = {
        name: {json.loads(line)["instruction"] for line in (tmp_path / "exported" / f"{name}.jsonl").open()}
        for name in ("train", "validation")
    }
    assert sides["train"] and sides["validation"]
    assert not sides["train"] & sides["validation"]


def test_questions_that_differ_in_case_and_spacing_are_one_family(tmp_path: Path) -> None:
    texts = [f"What is {number} times {number}?" for number in range(40)]
    rows = [{"text": text} for text in texts] + [{"text": f"{text.upper()} "} for text in texts]
    run(one_step(tmp_path, rows), tmp_path / "out")
    export(
        tmp_path / "out", tmp_path / "exported", format="alpaca", validation=0.3, instruction="text", output="summary"
    )
    train, validation = (
        {
            json.loads(line)["instruction"].strip().casefold()
            for line in (tmp_path / "exported" / f"{name}.jsonl").open()
        }
        for name in ("train", "validation")
    )
    assert train and validation and not train & validation


# --- files -------------------------------------------------------------------------------------------------------


def test_times_of_nanoseconds_and_other_values_of_parquet_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["one", "two"],
            "when": pa.array([1, 2], pa.timestamp("ns")),
            "inside": pa.array([[1], [2]], pa.list_(pa.timestamp("ns"))),
        }
    )
    recipe_file = one_step(tmp_path, tickets(1))
    pq.write_table(table, tmp_path / "rows.parquet")
    recipe_file.write_text(recipe_file.read_text().replace("rows.jsonl", "rows.parquet"))
    assert run(recipe_file, tmp_path / "out").rows == 2
    assert rows_of(tmp_path / "out", "data")[0]["when"] == "1970-01-01 00:00:00.000000001"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table([["a"], ["b"]], names=["text", "text"]), "expected distinct column names"),
        (pa.table({"text": ["a"], "day": pa.array([10**8], pa.date32())}), "a value near row 1 cannot be read"),
        (pa.table({"text": pa.array([b"\xff"]).view(pa.string())}), "a value near row 1 cannot be read"),
    ],
)
def test_parquet_that_no_record_can_hold_is_one_sentence(table: pa.Table, said: str, tmp_path: Path) -> None:
    recipe_file = one_step(tmp_path, tickets(1))
    pq.write_table(table, tmp_path / "rows.parquet")
    recipe_file.write_text(recipe_file.read_text().replace("rows.jsonl", "rows.parquet"))
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(recipe_file)


def test_a_rerun_that_does_not_end_leaves_the_finished_dataset_described(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(20)), tmp_path / "out"
    run(recipe_file, out)
    whole = data(out)
    prompt_file(tmp_path / "summary.jinja", "text", "Summarise anew")

    def failing(request: Request) -> str:
        raise EngineError("the engine is gone.")

    with pytest.raises(EngineError):
        run(recipe_file, out, Model(failing))
    manifest = json.loads((out / "manifest.json").read_text())
    held = manifest["dataset"]
    assert (manifest["status"], held["status"], held["rows"]) == ("failed", "complete", 20)
    assert held["digest"] == file_hash(out / "data")
    with pytest.raises(UserError, match="the last run did not end"):
        export(out, tmp_path / "exported", instruction="text", output="summary")
    with pytest.raises(UserError, match="a finished dataset of 20 rows"):
        run(recipe_file, out, limit=3)
    assert data(out) == whole


def test_datasets_never_serves_the_rows_of_an_earlier_run(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out, cache = tmp_path / "out", str(tmp_path / "cache")

    def loaded() -> list[str]:
        return datasets.load_dataset(str(out), split="train", cache_dir=cache)["summary"][:]  # type: ignore[no-any-return]

    run(one_step(tmp_path, tickets(12)), out)
    first = loaded()
    prompt_file(tmp_path / "summary.jinja", "text", "Summarise in other words")
    run(one_step(tmp_path, [*tickets(11), {"text": "another"}]), out)
    assert loaded() == [row["summary"] for row in rows_of(out, "data")] != first


def test_damaged_data_is_one_sentence_and_made_anew_by_a_run(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(20)), tmp_path / "out"
    record_id = run(recipe_file, out).first[0].id
    whole = data(out)
    (path,) = (out / "data").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:500])
    for attempt in (
        lambda: factory.show(out),
        lambda: factory.why(out, record_id),
        lambda: export(out, tmp_path / "exported", instruction="text", output="summary"),
    ):
        with pytest.raises(UserError, match=r"\.parquet: is damaged"):
            attempt()
    run(recipe_file, out)
    assert data(out) == whole


@pytest.mark.parametrize("changed", [{"format": 2}, {"steps": None}])
def test_a_manifest_of_another_version_is_one_sentence(changed: dict[str, Any], tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(2)), tmp_path / "out"
    run(recipe_file, out)
    found = {**json.loads((out / "manifest.json").read_text()), **changed}
    (out / "manifest.json").write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    for attempt in (lambda: factory.show(out), lambda: run(recipe_file, out), lambda: factory.plan(recipe_file, out)):
        with pytest.raises(UserError, match=r"manifest\.json: (written by another version|not the manifest of a run)"):
            attempt()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([5], r"steps\[0\]: expected one method with its options"),
        ([{"rows": {"path": "rows.jsonl", "first": 10**23}}], "expected at most"),
        ([{"rows": {"path": "rows.jsonl"}}, {"prompt": {"prompt": "summary.jinja", "sampling": {"max_tokens": 10**20}}}], "at most"),
    ],
)  # fmt: skip
def test_values_that_nothing_can_hold_are_refused(steps: list[Any], said: str, tmp_path: Path) -> None:
    one_step(tmp_path, tickets(1))
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(recipe(tmp_path, steps))


# --- plans -------------------------------------------------------------------------------------------------------


def test_a_plan_with_several_attempts_is_a_range_that_holds(tmp_path: Path) -> None:
    recipe_file = one_step(tmp_path, tickets(50), step={"schema": SCHEMA, "attempts": 3})
    plan = factory.plan(recipe_file, tmp_path / "out")
    assert (plan.total("ask"), plan.total("ask_high"), plan.exact) == (50, 150, False)

    def often_wrong(request: Request) -> str:
        return "no" if random.Random(repr(request)).random() < 0.6 else '{"price": 2}'

    engine = Model(often_wrong)
    run(recipe_file, tmp_path / "out", engine)
    assert 50 < engine.asked <= 150


def test_reading_commands_leave_no_files_behind(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(5)), tmp_path / "out"
    record_id = run(recipe_file, out).first[0].id
    before = sorted(path.name for path in out.iterdir())
    factory.plan(recipe_file, out)
    factory.why(out, record_id)
    factory.show(out)
    assert sorted(path.name for path in out.iterdir()) == before
