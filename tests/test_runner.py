"""What a run comes to: its dataset, its counts, its budgets, its refusals."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.engines.protocol import Completion, Request
from factory.errors import EngineError, JournalError, UserError
from factory.runner import RunResult

from .small_runs import Model, answer, committed, data, one_step, run, self_instruct, step, text_of, tickets, two_steps


def rows(out: Path, folder: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((out / folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def accounts(result: RunResult) -> None:
    """Every row that a step read is kept or rejected, with its reason, in the manifest and in the files."""
    rejected = Counter(row["step"] for row in rows(result.path, "rejected"))
    kept = None
    for found in result.manifest["steps"]:
        assert sum(found["rejected"].values()) == rejected[found["step"]]
        if kept is not None:
            assert found["read"] == kept
            assert found["read"] == found["kept"] + rejected[found["step"]]
        kept = found["kept"]
    assert kept == result.rows == len(rows(result.path))


def test_the_same_rows_come_out_whatever_the_timing_and_the_number_of_slots(tmp_path: Path) -> None:
    found = []
    for number, (slots, most_s) in enumerate([(1, 0.0), (4, 0.004), (64, 0.008)]):
        recipe_file = two_steps(tmp_path / str(number), rows=80, engine={"max_in_flight": slots})
        result = run(recipe_file, tmp_path / f"out-{number}", Model(most_s=most_s))
        accounts(result)
        found.append(data(result.path))
    assert found[0] == found[1] == found[2]
    assert [row["id"] for row in rows(tmp_path / "out-0")] == list(range(80))


def test_a_finished_run_that_is_run_again_writes_the_same_bytes_and_starts_no_engine(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=50), tmp_path / "out"
    run(recipe_file, out)
    first, engine = data(out), Model()
    again = run(recipe_file, out, engine)
    assert (again.status, engine.starts, engine.asked, data(out)) == ("complete", 0, 0, first)
    assert [found["stages"]["requests"]["reused"] for found in again.manifest["steps"][1:]] == [50, 50]
    assert again.manifest["journal"]["answers"] == 100


@pytest.mark.parametrize("where", ["step", "recipe", "limit"])
def test_a_run_that_ended_early_asks_nothing_when_run_again(where: str, tmp_path: Path) -> None:
    accept = {"accept": 20} if where == "step" else None
    head = {"accept": 20} if where == "recipe" else {}
    recipe_file, out = two_steps(tmp_path, rows=200, last=accept, **head), tmp_path / "out"
    limit = 20 if where == "limit" else None
    result = run(recipe_file, out, Model(most_s=0.004), limit=limit)
    assert (result.rows, result.exit_code) == (20, 0)
    accounts(result)
    first, engine = data(out), Model()
    assert run(recipe_file, out, engine, limit=limit).rows == 20
    assert (engine.starts, engine.asked, data(out)) == (0, 0, first)


def test_self_instruct_asks_nothing_when_run_again(tmp_path: Path) -> None:
    recipe_file, out = self_instruct(tmp_path, accept=12), tmp_path / "out"
    run(recipe_file, out, Model(most_s=0.004))
    first, engine = data(out), Model()
    assert run(recipe_file, out, engine).status == "complete"
    assert (engine.starts, engine.asked, data(out)) == (0, 0, first)


def test_a_preview_is_reused_by_the_run(tmp_path: Path) -> None:
    recipe_file, out = two_steps(tmp_path, rows=60), tmp_path / "out"
    preview = run(recipe_file, out, limit=5)
    assert (preview.status, preview.rows, preview.exit_code) == ("preview", 5, 0)
    accounts(preview)
    asked, engine = len(committed(out)), Model()
    assert asked <= 2 * (5 + 5)
    assert run(recipe_file, out, engine).rows == 60
    assert engine.asked == 120 - asked
    run(two_steps(tmp_path, rows=60), tmp_path / "whole")
    assert data(out) == data(tmp_path / "whole")


def test_more_rows_than_can_be_made_are_an_honest_partial_run(tmp_path: Path) -> None:
    for where in ({"accept": 30}, None):
        head = {} if where else {"accept": 30}
        result = run(one_step(tmp_path, tickets(10), step=where, **head), tmp_path / f"out-{bool(where)}")
        assert (result.status, result.exit_code, result.rows) == ("partial", 4, 10)
        assert "30" in result.message and "10" in result.message


# Budgets

BUDGETS: list[dict[str, Any]] = [
    {"requests": 90},
    {"tokens": 900},
    {"money": 0.004, "prices": {"prompt": 2.0, "completion": 6.0}},
    {"seconds": 0.4},
    {"gpu_hours": 0.4 / 3600},
    {"requests": 10_000, "tokens": 500},
]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: "-".join(budget))
def test_a_spent_budget_leaves_a_valid_dataset_that_replays_to_the_same_bytes(
    budget: dict[str, Any], tmp_path: Path
) -> None:
    recipe_file, out = two_steps(tmp_path, rows=150, budget=budget), tmp_path / "out"
    result = run(recipe_file, out, Model(most_s=0.1))
    spent = next(name for name in ("tokens", *budget) if name in budget)
    assert (result.status, result.exit_code) == ("partial", 4)
    assert f"budget.{spent} of" in result.message
    assert 0 < result.rows < 150
    accounts(result)
    reasons = {reason for found in result.manifest["steps"] for reason in found["rejected"]}
    assert reasons == {"request: budget_spent"}
    first, engine = data(out), Model()
    for _ in range(2):
        again = run(recipe_file, out, engine)
        assert (again.status, again.rows, engine.starts, data(out)) == ("partial", result.rows, 0, first)


def test_a_budget_stays_spent_when_requests_were_given_up_in_flight(tmp_path: Path) -> None:
    """The last step ends with its first refusal, while the step before it still waits for answers."""
    recipe_file, out = two_steps(tmp_path, rows=150, last={"window": 1}, budget={"requests": 90}), tmp_path / "out"
    result = run(recipe_file, out, Model(most_s=0.1))
    assert len(committed(out)) < 90, "some answers were given up"
    first, engine = data(out), Model()
    assert run(recipe_file, out, engine).rows == result.rows
    assert (engine.starts, data(out)) == (0, first)


def test_a_budget_of_requests_is_kept_to_the_last_one(tmp_path: Path) -> None:
    for requests in (1, 7, 64, 99):
        recipe_file = one_step(tmp_path, tickets(120), budget={"requests": requests})
        engine = Model(most_s=0.004)
        assert run(recipe_file, tmp_path / f"out-{requests}", engine).rows == requests == engine.asked


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = []
    for budget in ({"requests": 60}, {"requests": 150}, {}):
        engine = Model(most_s=0.002)
        result = run(two_steps(tmp_path, rows=100, budget=budget), out, engine)
        asked.append(engine.asked)
    assert (result.status, result.rows) == ("complete", 100)
    assert (sum(asked), asked[0], asked[1]) == (200, 60, 90)
    run(two_steps(tmp_path, rows=100), tmp_path / "whole")
    assert data(out) == data(tmp_path / "whole")


def test_a_budget_counts_what_earlier_sessions_spent(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(one_step(tmp_path, tickets(100), budget={"requests": 70}), out, limit=30)
    before = len(committed(out))
    engine = Model()
    result = run(one_step(tmp_path, tickets(100), budget={"requests": 70}), out, engine)
    assert (result.exit_code, engine.asked + before) == (4, 70)


def test_self_instruct_stops_at_its_budget_and_replays(tmp_path: Path) -> None:
    recipe_file, out = self_instruct(tmp_path, accept=100, budget={"requests": 60}), tmp_path / "out"
    result = run(recipe_file, out, Model(most_s=0.006))
    assert (result.status, result.exit_code) == ("partial", 4)
    first, engine = data(out), Model()
    assert run(recipe_file, out, engine).rows == result.rows > 0
    assert (engine.starts, data(out)) == (0, first)


# Refusals


def long_rows(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "text": "word " * (40 if number % 10 == 4 else 5)} for number in range(count)]


def test_a_prompt_that_is_too_long_rejects_its_row_with_measure_and_limit(tmp_path: Path) -> None:
    result = run(one_step(tmp_path, long_rows(50)), tmp_path / "out", Model(context_length=30))
    accounts(result)
    turned_away = rows(tmp_path / "out", "rejected")
    assert {(row["rule"], row["reason"], row["score"], row["threshold"]) for row in turned_away} == {
        ("request", "prompt_too_long", 41.0, 30.0)
    }
    assert [json.loads(row["fields"])["id"] for row in turned_away] == [4, 14, 24, 34, 44]
    assert all("41 tokens" in row["evidence"] for row in turned_away)
    assert (result.status, result.rows) == ("complete", 45)


def test_a_prompt_known_to_be_too_long_starts_no_engine_until_the_context_grows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(one_step(tmp_path, long_rows(50)), out, Model(context_length=30))
    first, engine = data(out), Model(context_length=30)
    assert factory.plan(tmp_path / "recipe.yaml", out=out).total("ask") == 0
    run(tmp_path / "recipe.yaml", out, engine)
    assert (engine.starts, data(out)) == (0, first)
    assert [row["score"] for row in rows(out, "rejected")] == [41.0] * 5
    larger = one_step(tmp_path, long_rows(50), engine={"max_model_len": 64})
    result = run(larger, out, Model(context_length=64))
    assert (result.rows, result.manifest["requests"]["asked"]) == (50, 5)


def test_a_refused_completion_rejects_its_row_and_is_not_asked_again(tmp_path: Path) -> None:
    def refusing(request: Request) -> str | Completion:
        if "Ticket 3:" in text_of(request):
            return Completion(
                text="", finish_reason="refused", prompt_tokens=9, completion_tokens=0, detail="content filter"
            )
        return answer(request)

    recipe_file, out, engine = one_step(tmp_path, tickets(10)), tmp_path / "out", Model(refusing)
    for _ in range(2):
        result = run(recipe_file, out, engine)
        accounts(result)
        assert step(result, "prompt")["rejected"] == {"request: refused": 1}
        assert "content filter" in rows(out, "rejected")[0]["evidence"]
    assert engine.asked == 10


def test_an_answer_that_no_file_can_hold_is_stored_with_replacements(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(one_step(tmp_path, tickets(3)), out, Model(lambda request: "broken \ud83d emoji, null \x00, ünï"))
    first = data(out)
    assert {row["summary"] for row in rows(out)} == {"broken ? emoji, null \x00, ünï"}
    run(one_step(tmp_path, tickets(3)), out, Model())
    assert data(out) == first


@pytest.mark.parametrize(
    "told",
    [
        '{"a": "half an emoji \\ud83d", "b": 1}',
        '{"a": "x", "b": 1180591620717411303424}',
        '{"a": "x", "b": ' + "[" * 3000 + "]" * 3000 + "}",
        '{"a": "x", "b": ' + "9" * 5000 + "}",
        '{"a": NaN, "b": 1e999}',
        "{" * 5000,
        "\x00",
    ],
    ids=["surrogate", "huge number", "deep", "endless number", "not a number", "open", "null character"],
)
def test_no_answer_of_a_model_breaks_the_run(told: str, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    recipe_file = one_step(tmp_path, tickets(3), step={"schema": schema})
    result = run(recipe_file, tmp_path / "out", Model(lambda request: told))
    accounts(result)
    assert result.rows + len(rows(tmp_path / "out", "rejected")) == 3


# Errors


def test_a_bug_ends_the_run_with_its_own_exception_and_keeps_the_answers(tmp_path: Path) -> None:
    def failing(request: Request) -> str:
        if "Ticket 60:" in text_of(request):
            raise ZeroDivisionError("a bug in an engine")
        return answer(request)

    recipe_file, out = one_step(tmp_path, tickets(100)), tmp_path / "out"
    with pytest.raises(ZeroDivisionError, match="a bug in an engine"):
        run(recipe_file, out, Model(failing, most_s=0.002))
    answered, engine = len(committed(out)), Model()
    assert answered > 20
    assert run(recipe_file, out, engine).rows == 100
    assert engine.asked == 100 - answered


def test_an_engine_that_does_not_start_says_so_once(tmp_path: Path) -> None:
    class Broken(Model):
        closed = 0

        async def start(self) -> None:
            raise EngineError("engine vllm: no such model.")

        async def close(self) -> None:
            self.closed += 1

    engine = Broken()
    with pytest.raises(EngineError, match="no such model") as raised:
        run(one_step(tmp_path, tickets(100)), tmp_path / "out", engine)
    assert (raised.value.exit_code, engine.closed) == (3, 1)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "failed"


def test_an_error_while_closing_the_engine_loses_no_answer(tmp_path: Path) -> None:
    class Stubborn(Model):
        async def close(self) -> None:
            raise EngineError("the engine does not close.")

    with pytest.raises(EngineError, match="does not close"):
        run(one_step(tmp_path, tickets(30)), tmp_path / "out", Stubborn())
    assert len(committed(tmp_path / "out")) == 30


def test_a_spool_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".spool").symlink_to("/proc/nothing")
    with pytest.raises(JournalError, match=r"\.spool/kept: cannot be written"):
        run(one_step(tmp_path, tickets(3)), out)
    (out / ".spool").unlink()
    assert run(one_step(tmp_path, tickets(3)), out).rows == 3


def test_a_dataset_that_cannot_be_written_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".new").symlink_to("/proc/nothing")
    with pytest.raises(JournalError, match=r"out: cannot be written .*What was answered is safe in the journal"):
        run(one_step(tmp_path, tickets(3)), out)
    assert json.loads((out / "manifest.json").read_text())["status"] == "failed"
    (out / ".new").unlink()
    engine = Model()
    assert (run(one_step(tmp_path, tickets(3)), out, engine).rows, engine.asked) == (3, 0)


def test_rows_that_break_in_the_middle_end_the_run_with_their_place(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(30)), tmp_path / "out"
    loaded = factory.load_recipe(recipe_file)
    with (tmp_path / "rows.jsonl").open("a") as more:
        more.write("{broken\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:31"):
        run(loaded, out)  # type: ignore[arg-type]


# Files


def test_a_finished_directory_holds_the_contract_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(two_steps(tmp_path, rows=20), out)
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "README.md", "data", "journal.sqlite", "lineage", "manifest.json", "recipe.yaml", "rejected",
    ]  # fmt: skip
    assert (out / "recipe.yaml").read_bytes() == (tmp_path / "recipe.yaml").read_bytes()
    assert json.loads((out / "manifest.json").read_text()) == json.loads(json.dumps(result.manifest))
    assert list(rows(out)[0]) == ["id", "text", "summary", "title", "record_id", "provenance"]


def test_every_kept_row_tells_its_whole_story(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(two_steps(tmp_path, rows=10), out)
    row = rows(out)[3]
    story = factory.why(out, row["record_id"])
    assert [found.provenance["step"] for found in story] == ["entitle", "summarise", "rows"]
    assert [len(found.exchanges) for found in story] == [1, 1, 0]
    assert story[0].exchanges[0][1].text == row["title"]


def test_the_manifest_hashes_the_files_as_they_were_when_the_run_began(tmp_path: Path) -> None:
    recipe_file, out = one_step(tmp_path, tickets(5)), tmp_path / "out"
    before = run(recipe_file, out).manifest["files"]

    def editing(request: Request) -> str:
        (tmp_path / "rows.jsonl").write_text('{"id": 0, "text": "edited while the run reads"}\n')
        return "answer"

    assert run(recipe_file, tmp_path / "other", Model(editing)).manifest["files"] == before


def test_a_run_works_inside_an_event_loop(tmp_path: Path) -> None:
    recipe_file = one_step(tmp_path, tickets(5))

    async def cell() -> tuple[int, int]:
        result = run(recipe_file, tmp_path / "out")
        return result.rows, factory.plan(recipe_file, out=tmp_path / "out").rows

    assert asyncio.run(cell()) == (5, 5)

    async def failing_cell() -> None:
        run(recipe_file, tmp_path / "failing", Model(lambda request: str(1 // 0)))

    with pytest.raises(ZeroDivisionError):
        asyncio.run(failing_cell())


def test_the_time_at_work_survives_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import runner
    from factory.journal import Journal

    monkeypatch.setattr(runner, "CLOCK_EVERY_S", 0.05)
    seen = []

    def looking(request: Request) -> str:
        journal = Journal(tmp_path / "out" / "journal.sqlite", read_only=True)
        seen.append(float(journal.meta("seconds") or 0.0))
        journal.close()
        return "answer"

    recipe_file = one_step(tmp_path, tickets(12), engine={"max_in_flight": 1})
    run(recipe_file, tmp_path / "out", Model(looking, latency_s=0.0, most_s=0.06))
    assert seen[-1] > 0.1, "what had passed was in the journal while the run was going on"


def test_random_recipes_account_for_every_row(tmp_path: Path) -> None:
    draw = random.Random(11)
    for number in range(12):
        slots = draw.choice([1, 3, 16])
        first = {"accept": draw.randrange(20, 90)} if draw.random() < 0.4 else {}
        last = {"window": draw.choice([1, 5, 40])} | ({"accept": draw.randrange(5, 40)} if draw.random() < 0.5 else {})
        head: dict[str, Any] = {"accept": draw.randrange(1, 60)} if draw.random() < 0.4 else {}
        budget = {"budget": {"requests": draw.randrange(30, 200)}} if draw.random() < 0.4 else {}
        recipe_file = two_steps(
            tmp_path / str(number), rows=100, first=first, last=last, engine={"max_in_flight": slots}, **head, **budget
        )
        out = tmp_path / f"out-{number}"
        result = run(recipe_file, out, Model(most_s=0.003, context_length=draw.choice([None, 9])))
        accounts(result)
        found, engine = data(out), Model(context_length=None)
        again = run(recipe_file, out, engine)
        assert (again.rows, data(out), engine.asked) == (result.rows, found, 0), (first, last, head, budget)
