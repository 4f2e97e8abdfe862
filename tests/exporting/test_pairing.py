"""Preference pairs: which rows make one, which do not, and that every kept row is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import UserError
from factory.exporting import export
from factory.exporting.candidates import Candidate
from factory.exporting.pairing import best_and_worst

from ..methods.evol_instruct.test_chain import evol, mixed, read, tasks
from ..small_runs import Model, jsonl, prompt_file, recipe, run, text_of
from .directories import JUDGED, directory, lines, record, turned_away


def answer(name: str, question: str, text: str | None, score: Any = None, root: str | None = "r") -> Any:
    return record(name, {"instruction": question, "input": "", "output": text, "score": score}, root)


def pairs_of(path: Path, **options: Any) -> tuple[list[tuple[str, str, str]], dict[str, int]]:
    done = export(path, path / "out", format="preference", ids=True, **options)
    rows = lines(done.files[0])
    told = [(row["prompt"][-1]["content"], row["chosen_id"], row["rejected_id"]) for row in rows]
    return sorted(told), done.left_out


def test_best_and_worst_of_a_question_make_a_pair_and_all_kept_rows_are_accounted_for(tmp_path: Path) -> None:
    kept = [
        answer("a1", "Q1", "good", 5),
        answer("a2", "Q1", "fair", 3),
        answer("a3", "Q1", "bad", 1),
        answer("b1", "Q2", "alone", 4),
        answer("c1", "Q3", "same", 4),
        answer("c2", "Q3", "Same ", 2),
        answer("d1", "Q4", "one", 3),
        answer("d2", "Q4", "two", 3),
        answer("e1", "Q5", " ", 5),
        answer("f1", "Q6", "x", 5),
        answer("f2", "q6", "y", 1),
    ]
    found, left_out = pairs_of(directory(tmp_path, kept, steps=[JUDGED]))
    assert found == [("Q1", "a1", "a3")]
    assert left_out == {
        "empty output": 1,
        "neither best nor worst": 1,
        "no other answer": 5,
        "scores not far enough apart": 2,
    }
    assert 2 * len(found) + sum(left_out.values()) == len(kept)
    text = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (text["score"], text["rejected_rows_used"]) == ("score", 0)


def test_a_rejected_row_can_be_the_worse_one_but_never_the_better(tmp_path: Path) -> None:
    kept = [answer("a", "Q1", "fair", 3), answer("b", "Q2", "fine", 3), answer("c", "Q3", "well", 3)]
    fields = {"instruction": "Q1", "output": "poor", "score": 1}
    rejected = [
        turned_away("x", fields, "judge", "below_minimum", "r"),
        turned_away("y", {**fields, "instruction": "Q2", "score": 9}, "judge", "above_maximum", "r"),
        turned_away("z", {"instruction": "Q3", "output": "Sorry."}, "sorry", "says_sorry", "r"),
        turned_away("w", {"instruction": "Q3", "output": "Half of"}, "answer", "cut_off", "r"),
    ]
    path = directory(tmp_path, kept, rejected=rejected, steps=[JUDGED])
    found, left_out = pairs_of(path)
    assert found == [("Q1", "a", "x"), ("Q3", "c", "z")]
    assert left_out == {"scores not far enough apart": 1}
    assert json.loads((tmp_path / "out" / "export.json").read_text())["rejected_rows_used"] == 2


def test_rejected_rows_of_a_private_run_are_never_read(tmp_path: Path) -> None:
    rejected = [turned_away("z", {"instruction": "Q", "output": "Sorry, Mrs Smith."}, "sorry", "says_sorry", "r")]
    path = directory(
        tmp_path,
        [answer("a", "Q", "x")],
        rejected=rejected,
        privacy={"output_private": False, "why": "", "claims": []},
    )
    with pytest.raises(UserError, match=r"no rows make a preference pair \(1 no other answer"):
        export(path, tmp_path / "out", format="preference")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("margin", "expected"), [(0.0, 3), (0.1, 2), (1.0, 1), (4.0, 1)])
def test_the_margin_is_a_least_difference(tmp_path: Path, margin: float, expected: int) -> None:
    kept = [
        answer(f"{n}{m}", f"Q{n}", f"t{m}", s)
        for n, two in enumerate([(5, 1), (0.8, 0.7), (2.05, 2)])
        for m, s in enumerate(two)
    ]
    assert len(pairs_of(directory(tmp_path, kept, steps=[JUDGED]), margin=margin)[0]) == expected


def test_scores_may_be_texts_and_are_taken_from_the_column_that_is_named(tmp_path: Path) -> None:
    kept = [
        record(name, {"instruction": "Q", "output": name, "rating": rating, "score": score}, "r")
        for name, rating, score in (("a", "4.5", 1), ("b", "2", 5), ("c", "none", 9))
    ]
    path = directory(tmp_path, kept)
    assert pairs_of(path, score="rating")[0] == [("Q", "a", "b")]
    assert pairs_of(path, score="score")[0] == [("Q", "c", "a")]
    with pytest.raises(UserError, match="no judge has scored"):
        pairs_of(path)


def test_a_judge_of_tasks_is_no_judge_of_answers(tmp_path: Path) -> None:
    kept = [answer("a", "Q", "x", 5), answer("b", "Q", "y", 1)]
    shipped = {"judge": {"prompt": "prompts/judge/difficulty.jinja", "column": "score"}}
    with pytest.raises(UserError, match="no judge has scored the answers"):
        pairs_of(directory(tmp_path / "one", kept, steps=[shipped]))
    other = {"judge": {"prompt": "own.jinja", "column": "instruction"}}
    with pytest.raises(UserError, match=r"has several scores \(score, instruction\); name one with --score"):
        pairs_of(directory(tmp_path / "two", kept, steps=[JUDGED, other]))


def test_both_halves_of_a_pair_stay_in_one_split(tmp_path: Path) -> None:
    kept = [answer(f"{n}{m}", f"Q{n}", f"t{m}", m, root=f"root{n}{m}") for n in range(60) for m in range(2)]
    path = directory(tmp_path, kept, steps=[JUDGED])
    done = export(path, tmp_path / "out", format="preference", validation=0.3, test=0.3)
    assert sum(done.rows.values()) == 60
    assert min(done.rows.values()) > 5
    sides = [{row["prompt"][0]["content"] for row in lines(file)} for file in done.files]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_plain_pairs_are_three_texts(tmp_path: Path) -> None:
    kept = [answer("a", "Q", "x", 5), answer("b", "Q", "y", 1)]
    done = export(directory(tmp_path, kept, steps=[JUDGED]), tmp_path / "out", format="preference", templates="plain")
    assert lines(done.files[0]) == [{"prompt": "Q\n\n", "chosen": "x", "rejected": "y"}]


def test_evolutions_of_one_task_make_a_pair_where_elimination_decided(tmp_path: Path) -> None:
    def evolution(name: str, task: str, parent: str | None) -> dict[str, Any]:
        return {"instruction": task, "output": f"Done {name}.", "epoch": 1, "parent_id": parent}

    kept = [
        record("start", evolution("start", "Name a river.", None), "start"),
        record("judged", evolution("judged", "Name a river in two countries.", "start"), "start"),
        record("other", evolution("other", "Name a lake in Peru.", "gone"), "s2"),
    ]
    rejected = [
        turned_away("e1", evolution("e1", "Name any river.", "start"), "equal", "judged_equal", "start"),
        turned_away("e2", evolution("e2", "Half of a", "gone"), "parse", "cut_off", "s2"),
        turned_away("e3", evolution("e3", "Name a lake!", "gone"), "leak", "leaked_words", "s2"),
    ]
    lineage = [record("gone", evolution("gone", "Name a lake.", None), "s2")]
    path = directory(tmp_path, kept, rejected=rejected, lineage=lineage)
    found, left_out = pairs_of(path, pair="tasks")
    assert found == [("Name a lake.", "other", "e3"), ("Name a river.", "judged", "e1")]
    assert left_out == {"no other evolution of its parent": 1}
    rows = {row["chosen_id"]: row for row in lines(tmp_path / "out" / "train.jsonl")}
    assert rows["judged"]["chosen"] == [{"role": "assistant", "content": "Name a river in two countries."}]
    assert rows["judged"]["rejected"] == [{"role": "assistant", "content": "Name any river."}]


def test_an_answer_that_a_judge_liked_is_no_fault_elsewhere() -> None:
    """What was turned away says what the best one says, and a row without a score says neither yes nor no."""
    group = [
        Candidate("0", "g", "x", kept=True, fault=False, score=None),
        Candidate("1", "g", "y", kept=False, fault=True, score=None),
        Candidate("2", "g", "y", kept=True, fault=False, score=1),
    ]
    assert best_and_worst(group, 0.0) is None


@given(st.data())
def test_no_order_of_the_rows_changes_a_pair_and_no_pair_breaks_a_rule(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans(), st.sampled_from([None, 1, 2, 3]))))
    group = [
        Candidate(f"{number}", "g", text, kept, not kept and score is None, score)
        for number, (text, kept, score) in enumerate(drawn)
    ]
    margin = data.draw(st.sampled_from([0.0, 1.0, 2.0]))
    pair = best_and_worst(group, margin)
    assert pair == best_and_worst(data.draw(st.permutations(group)), margin)
    possible = any(
        one.kept and one.answer != other.answer and (other.fault or _apart(one, other, margin))
        for one in group
        for other in group
    )
    if pair is None:
        best = min((one for one in group if one.kept), key=lambda one: (-_score(one), one.id), default=None)
        assert best is None or not any(
            other.answer != best.answer and (other.fault or _apart(best, other, margin)) for other in group
        )
        return
    chosen, rejected = pair
    assert possible and chosen.kept and chosen.answer != rejected.answer
    assert rejected.fault or _apart(chosen, rejected, margin)
    assert all(_score(chosen) >= _score(one) for one in group if one.kept)


def _score(one: Candidate) -> float:
    return -1.0 if one.score is None else one.score


def _apart(one: Candidate, other: Candidate, margin: float) -> bool:
    if one.score is None or other.score is None:
        return False
    return one.score > other.score and one.score - other.score >= margin


def test_a_run_with_a_judge_of_answers_gives_pairs_that_why_can_tell(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [{"instruction": f"Name river {n}."} for n in range(8) for _ in range(3)])
    prompt_file(tmp_path / "answer.jinja", "instruction", "Do")
    (tmp_path / "rate.jinja").write_text(
        "---\ninputs: [instruction, output]\n---\n=== user ===\nRate: {{ instruction }} / {{ output }}\n"
    )
    recipe_file = recipe(
        tmp_path,
        [
            {"rows": {"path": "rows.jsonl"}},
            {"prompt": {"prompt": "answer.jinja", "output": "output"}},
            {"judge": {"prompt": "rate.jinja", "column": "rating", "scale": [1, 9], "minimum": 3}},
        ],
    )
    numbers = iter(range(1000))

    def reply(request: Any) -> str:
        asked = text_of(request)
        return str(1 + int(asked.split()[-1]) % 9) if asked.startswith("Rate") else f"It is {next(numbers)}"

    result = run(recipe_file, tmp_path / "run", Model(reply))
    done = export(tmp_path / "run", tmp_path / "out", format="preference", ids=True, margin=2)
    rows = lines(done.files[0])
    assert 3 <= len(rows) <= 8
    used = json.loads((tmp_path / "out" / "export.json").read_text())["rejected_rows_used"]
    assert used > 0
    assert 2 * len(rows) - used + sum(done.left_out.values()) == result.rows
    import factory

    for row in rows:
        chosen, rejected = (factory.why(tmp_path / "run", row[name])[0] for name in ("chosen_id", "rejected_id"))
        assert chosen.state == "kept"
        assert chosen.fields["rating"] - rejected.fields["rating"] >= 2
        assert chosen.fields["instruction"] == rejected.fields["instruction"] == row["prompt"][0]["content"]
        assert chosen.fields["output"] == row["chosen"][0]["content"]
        assert rejected.fields["output"] == row["rejected"][0]["content"]


def test_evolutions_of_a_real_chain_make_pairs_of_one_parent(tmp_path: Path) -> None:
    result = run(evol(tmp_path, tasks(40), epochs=4), tmp_path / "run", Model(mixed))
    done = export(tmp_path / "run", tmp_path / "out", format="preference", pair="tasks", ids=True, validation=0.3)
    rows = [row for path in done.files for row in lines(path)]
    assert len(rows) > 10 and all(done.rows.values())
    assert sum(done.left_out.values()) + len(rows) == result.rows, "no kept row is the worse half here"
    by_id = {row["record_id"]: row for row in read(tmp_path / "run", "data")}
    away = {row["record_id"]: row for row in read(tmp_path / "run", "rejected")}
    for row in rows:
        chosen, rejected = by_id[row["chosen_id"]], away[row["rejected_id"]]
        fields = json.loads(rejected["fields"])
        assert rejected["rule"] in ("equal", "leak") and rejected["reason"] != "no_verdict"
        assert chosen["parent_id"] == fields["parent_id"]
        assert row["prompt"] == [{"role": "user", "content": by_id[chosen["parent_id"]]["instruction"]}]
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (
            chosen["instruction"],
            fields["instruction"],
        )
