"""Scores from token probabilities: the exact expectation, or no score at all."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory.engines.protocol import Completion, Request, TokenLogprob
from factory.errors import EngineError, RecipeError, RequestRefused
from factory.methods.deita import expectation
from factory.prompts import load_prompt
from factory.resources import resource

from ..small_runs import Model, committed, data, jsonl, recipe, run, step, text_of

ROWS = [{"instruction": f"Task {number}.", "input": "", "output": f"Answer {number}."} for number in range(12)]
Shares = dict[str, float]


def tokens(shares: Shares) -> tuple[TokenLogprob, ...]:
    return tuple(TokenLogprob(text, math.log(share)) for text, share in shares.items())


def answering(shares: Shares, text: str = "4") -> Completion:
    return Completion(text=text, finish_reason="length", prompt_tokens=9, completion_tokens=1, logprobs=tokens(shares))


def is_quality(request: Request) -> bool:
    return "Answer to rate" in text_of(request)


def scored(folder: Path, rows: list[dict[str, Any]] | None = None, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    jsonl(folder / "rows.jsonl", ROWS if rows is None else rows)
    return recipe(folder, [{"rows": {"path": "rows.jsonl"}}, {"deita": options}])


def table(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((out / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


# The score.


def test_a_score_is_the_expectation_over_the_digits() -> None:
    found = expectation(tokens({"1": 0.1, "2": 0.2, "3": 0.3, "4": 0.2, "5": 0.1, "6": 0.1}), 0.5)
    assert found.score == pytest.approx(0.1 + 0.4 + 0.9 + 0.8 + 0.5 + 0.6)
    assert found.mass == pytest.approx(1.0)


def test_other_tokens_and_digits_off_the_scale_play_no_part() -> None:
    assert expectation(tokens({"5": 0.4, "2": 0.2, "7": 0.1, "0": 0.1, "The": 0.1}), 0.5).score == pytest.approx(4.0)


def test_a_digit_with_a_blank_before_it_is_the_same_digit() -> None:
    found = expectation(tokens({"4": 0.3, " 4": 0.2, "▁4": 0.05, "Ġ4": 0.05, " 1": 0.2}), 0.5)
    assert found.digits == pytest.approx({1: 0.2, 4: 0.6})
    assert found.score == pytest.approx((4 * 0.6 + 0.2) / 0.8)


@pytest.mark.parametrize("token", ["44", "4.", "4/6", "  4", "\n4", "4 ", "four", "-4", "４", "④", "₄", "٤", ""])
def test_what_only_looks_like_a_digit_is_none(token: str) -> None:
    assert expectation(tokens({token: 0.9}), 0.5) == (None, 0.0, {})


@pytest.mark.parametrize(("share", "score"), [(0.4, None), (0.6, 6.0)])
def test_digits_that_hold_too_little_give_no_score(share: float, score: float | None) -> None:
    found = expectation(tokens({"6": share, "The": 1 - share}), 0.5)
    assert found.score == score
    assert found.mass == pytest.approx(share)
    assert expectation([], 0.01).score is None


@given(st.dictionaries(st.sampled_from(["1", "2", " 3", "4", "5", " 6", "6", "x"]), st.floats(1e-9, 0.125), max_size=8))
def test_a_score_lies_between_the_digits_that_were_found(shares: Shares) -> None:
    found = expectation(tokens(shares), 0.05)
    if found.score is None:
        assert found.mass < 0.05
    else:
        assert min(found.digits) - 1e-9 <= found.score <= max(found.digits) + 1e-9


# The step.


def both(request: Request) -> Completion:
    return answering({"5": 0.5, "6": 0.5} if is_quality(request) else {"1": 0.25, "2": 0.75})


def test_rows_get_both_scores_and_their_product(tmp_path: Path) -> None:
    engine = Model(both)
    result = run(scored(tmp_path, evol_score=True), tmp_path / "out", engine)
    assert (result.rows, engine.asked) == (12, 24)
    for row in table(tmp_path / "out"):
        assert (row["complexity"], row["quality"]) == pytest.approx((1.75, 5.5))
        assert row["deita"] == pytest.approx(1.75 * 5.5)
    notes = ["mean complexity: 1.75 (12 rows)", "mean quality: 5.50 (12 rows)", "mean deita: 9.62 (12 rows)"]
    assert step(result, "deita")["notes"] == notes


def test_one_token_is_asked_for_with_its_log_probabilities(tmp_path: Path) -> None:
    seen: list[Request] = []
    engine = Model(lambda request: seen.append(request) or both(request))  # type: ignore[func-returns-value]
    run(scored(tmp_path, scores=["complexity"], top=7), tmp_path / "out", engine)
    assert {(request.logprobs, request.sampling.max_tokens, request.sampling.temperature) for request in seen} == {
        (7, 1, 0.0)
    }
    assert list(table(tmp_path / "out")[0]).count("quality") == 0


def test_a_rows_input_is_part_of_its_instruction(tmp_path: Path) -> None:
    seen: list[str] = []
    engine = Model(lambda request: seen.append(text_of(request)) or both(request))  # type: ignore[func-returns-value]
    rows = [{"instruction": "Add up.", "input": "2 and 3", "output": "5"}]
    run(scored(tmp_path, rows), tmp_path / "out", engine)
    assert all("Add up.\n\n2 and 3\n" in text for text in seen)
    assert table(tmp_path / "out")[0]["instruction"] == "Add up."


def wordy(request: Request) -> Completion:
    """Answers in words for every third task, and never where the quality is asked for."""
    number = int(text_of(request).split("Task ")[-1].split(".")[0])
    words = number % 3 == 0 and not is_quality(request)
    return answering({"The": 0.7, "4": 0.3}) if words else both(request)


def test_no_score_is_null_counted_and_not_asked_again(tmp_path: Path) -> None:
    engine = Model(wordy)
    result = run(scored(tmp_path, evol_score=True), tmp_path / "out", engine)
    assert (result.rows, engine.asked) == (12, 24)
    rows = table(tmp_path / "out")
    assert [row["complexity"] is None for row in rows] == [row["deita"] is None for row in rows]
    assert sum(row["complexity"] is None for row in rows) == 4
    assert all(row["quality"] == pytest.approx(5.5) for row in rows)
    assert (
        "4 rows have no complexity: the digits 1 to 6 hold less than 0.5 of the probability of the answer's first token"
        in step(result, "deita")["notes"]
    )
    again = Model(wordy)
    assert run(scored(tmp_path, evol_score=True), tmp_path / "out", again).rows == 12
    assert again.asked == 0


def test_a_lower_limit_is_met_from_the_journal(tmp_path: Path) -> None:
    run(scored(tmp_path), tmp_path / "out", Model(wordy))
    engine = Model(wordy)
    run(scored(tmp_path, least_mass=0.2), tmp_path / "out", engine, accept_changes=True)
    assert engine.asked == 0
    assert sorted({round(row["complexity"], 3) for row in table(tmp_path / "out")}) == [1.75, 4.0]


def test_a_minimum_turns_rows_away_with_what_was_found(tmp_path: Path) -> None:
    result = run(scored(tmp_path, minimum={"complexity": 2.5}), tmp_path / "out", Model(wordy))
    assert result.rows == 0
    assert step(result, "deita")["rejected"] == {"deita: below_minimum": 8, "deita: no_score": 4}
    rejected = [
        row for file in (tmp_path / "out" / "rejected").glob("*.parquet") for row in pq.read_table(file).to_pylist()
    ]
    found = {row["reason"]: (row["score"], row["threshold"], row["evidence"]) for row in rejected}
    assert found["below_minimum"] == (1.75, 2.5, "complexity 1: 0.250, 2: 0.750; together 1.000")
    assert found["no_score"] == (None, 0.5, "complexity 4: 0.300; together 0.300")


def test_the_product_has_a_minimum_too_and_accept_ends_the_step(tmp_path: Path) -> None:
    options = {"evol_score": True, "minimum": {"deita": 9.0}, "accept": 5}
    result = run(scored(tmp_path, **options), tmp_path / "out", Model(wordy))
    assert result.rows == 5
    assert step(result, "deita")["rejected"] == {"deita: no_score": 4, "accept: surplus": 3}
    assert result.exit_code == 0


class OneRefused(Model):
    """Refuses to rate the quality at once, and takes its time for the complexity."""

    async def complete(self, request: Request) -> Completion:
        if is_quality(request):
            raise RequestRefused("prompt_too_long", "too long.", 9, 8)
        await asyncio.sleep(0.1)
        return await super().complete(request)


def test_a_refused_request_rejects_the_row_and_the_other_answer_is_kept(tmp_path: Path) -> None:
    result = run(scored(tmp_path, ROWS[:1]), tmp_path / "out", OneRefused(both))
    assert step(result, "deita")["rejected"] == {"request: prompt_too_long": 1}
    assert len(committed(tmp_path / "out")) == 1


def test_a_plan_counts_every_request(tmp_path: Path) -> None:
    plan = factory.plan(scored(tmp_path), out=tmp_path / "out")
    assert plan.total("ask") == 24


def test_a_minimum_may_change_in_a_finished_run(tmp_path: Path) -> None:
    run(scored(tmp_path), tmp_path / "out", Model(wordy))
    factory.refilter(tmp_path / "out", tmp_path / "strict", overrides=["deita.minimum.complexity=1.5"])
    assert len(table(tmp_path / "strict")) == 8


def test_replay_gives_the_same_bytes(tmp_path: Path) -> None:
    results = [
        run(scored(tmp_path), tmp_path / name, Model(wordy, most_s=most)) for name, most in (("a", 0.0), ("b", 0.01))
    ]
    assert [result.rows for result in results] == [12, 12]
    assert data(tmp_path / "a") == data(tmp_path / "b")


# What cannot be.


def test_an_engine_without_log_probabilities_ends_the_run(tmp_path: Path) -> None:
    engine = Model(both, logprobs=0)
    with pytest.raises(EngineError, match="log-probabilities of 20 tokens, but this engine gives none"):
        run(scored(tmp_path), tmp_path / "out", engine)
    assert engine.asked == 0


@pytest.mark.parametrize(
    ("options", "engine", "said"),
    [
        ({"scores": ["complexity", "complexity"]}, {}, "name each score once"),
        ({"scores": []}, {}, "a list of at least 1"),
        ({"scores": ["quality"], "minimum": {"complexity": 2}}, {}, "put complexity among the scores"),
        ({"minimum": {"deita": 4}}, {}, "set evol_score: true"),
        ({"scores": ["quality"], "evol_score": True}, {}, "the product needs both scores"),
        ({"minimum": {"quality": 0.5}}, {}, "expected at least 1"),
        ({"minimum": {"qualty": 2}}, {}, "did you mean 'quality'"),
        ({"quality_prompt": "nowhere.jinja"}, {}, "no such prompt file"),
        (
            {"top": 50},
            {"kind": "vllm", "model": "embedded"},
            "engine.vllm_options: a step needs the log-prob.* at most 20",
        ),
        ({}, {"kind": "server", "urls": ["http://h/v1"], "server_logprobs": 5}, "engine.server_logprobs: .* at most 5"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], engine: dict[str, Any], said: str, tmp_path: Path
) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS)
    path = recipe(tmp_path, [{"rows": {"path": "rows.jsonl"}}, {"deita": options}], engine=engine)
    with pytest.raises(RecipeError, match=said):
        factory.load_recipe(path)


def test_columns_are_checked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no column 'output'"):
        factory.load_recipe(scored(tmp_path, [{"instruction": "Name a river."}]))
    factory.load_recipe(scored(tmp_path, [{"instruction": "Name a river."}], scores=["complexity"]))
    with pytest.raises(RecipeError, match="a column 'quality' already"):
        factory.load_recipe(scored(tmp_path, [{**ROWS[0], "quality": 3}]))


def test_the_prompts_are_rendered_as_written() -> None:
    folder = resource("prompts/deita")
    assert folder is not None
    values = {"instruction": "Name a river.", "output": "The Nile."}
    for path in folder.glob("*.jinja"):
        chat, text = (load_prompt(path).render(values, chat=chat) for chat in (True, False))
        assert chat.messages[-1].role == "user"
        assert "Name a river." in chat.messages[-1].content
        assert ("The Nile." in chat.messages[-1].content) == path.name.startswith("quality")
        assert text.text is not None
        assert text.text.endswith(":\n"), "a digit on a line of its own is one token in every vocabulary"
