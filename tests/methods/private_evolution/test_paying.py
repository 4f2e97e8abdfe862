"""Every vote is paid for before its noise is drawn, is on the disk before it is used, and is never drawn again."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.errors import FactoryError, RecipeError, UserError
from factory.methods.private_evolution import ballot, releases
from factory.methods.private_evolution.budget import Budget
from factory.methods.private_evolution.options import Options
from factory.privacy.accounting import gaussian_epsilon, gaussian_noise
from factory.recipe import load_recipe
from factory.runner import RunResult

from ...small_runs import Model, data, run, step
from .small import answer, evolving, ledger, private_rows, read, spends


def claim(result: RunResult) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in result.manifest["privacy"]["claims"])
    return found


def votes(out: Path) -> list[bytes]:
    """Votes that the journal holds."""
    with closing(sqlite3.connect(out / "journal.sqlite")) as journal:
        return sorted(value for (value,) in journal.execute("SELECT value FROM artifacts WHERE kind = 'votes'"))


# --- what it costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "noise"), [(1.0, 11.60), (2.0, 6.21), (4.0, 3.37)])
def test_the_noise_is_that_of_the_paper_for_openreview(epsilon: float, noise: float) -> None:
    delta = 1 / (8396 * math.log(8396))
    assert gaussian_noise(epsilon, delta=delta, steps=10) == pytest.approx(noise, abs=0.01)
    method = {"task": "reviews", "rows": 2000, "epsilon": epsilon, "delta": delta, "rounds": 10}
    budget = Budget.of(Options.model_validate({"data": {"path": "x", "size": "public"}, **method}), 8396)
    assert budget.noise == pytest.approx(noise, abs=0.01)
    assert gaussian_epsilon(budget.noise, delta, steps=10) <= epsilon
    assert gaussian_epsilon(budget.noise - 0.0002, delta, steps=10) > epsilon, "no more noise than it takes"


@pytest.mark.parametrize(("rounds", "counts"), [(1, None), (3, None), (3, 0.5)])
def test_the_claim_is_what_was_spent_and_at_most_what_was_asked_for(
    rounds: int, counts: float | None, tmp_path: Path
) -> None:
    labels = {} if counts is None else {"label_counts": {"epsilon": counts}}
    result = run(evolving(tmp_path, epsilon=2.0, rounds=rounds, **labels), tmp_path / "out", Model(answer))
    (known,), found = ledger(tmp_path).runs(), claim(result)
    assert (known.spent, known.planned, known.ended, known.epsilon_counts) == (rounds, rounds, True, counts or 0.0)
    assert found["private"] and found["steps"] == rounds and found["run"] == known.id
    expected = gaussian_epsilon(known.noise_multiplier, found["delta"], steps=rounds) + (counts or 0.0)
    assert found["epsilon"] == pytest.approx(expected) and 1.999 < found["epsilon"] <= 2.0
    assert found["noise_multiplier"] == known.noise_multiplier == votes_noise(tmp_path)
    assert (found["records"], found["records_policy"], found["epsilon_counts"]) == (300, "rounded", counts or 0.0)
    assert found["delta"] == 1e-5 and found["sample_rate"] == 1.0 and found["randomness"] == "operating system"
    assert ("geometric noise" in found["labels"]) == (counts is not None)
    assert len(spends(tmp_path)) == rounds + (counts is not None)


def votes_noise(folder: Path) -> float:
    options = load_recipe(folder / "recipe.yaml").steps[0].options
    assert isinstance(options, Options)
    return Budget.of(options, 300).noise


def test_noise_counts_shape_the_rows_and_are_paid_for_once(tmp_path: Path) -> None:
    rows = [row for row in private_rows(600) if row["label"] == "billing" or row["text"].endswith("1")]
    path = evolving(tmp_path, rows, label_counts={"epsilon": 3.0}, rows=12)
    run(path, tmp_path / "out", Model(answer))
    labels = [row["label"] for row in read(tmp_path / "out")]
    assert (labels.count("billing"), labels.count("delivery")) == (10, 2)
    before = spends(tmp_path)
    assert [line.get("epsilon_counts", 0.0) for line in before] == [3.0, 0.0, 0.0, 0.0]
    run(path, tmp_path / "out", Model(answer))
    assert spends(tmp_path) == before


def test_counts_of_the_classes_have_noise(tmp_path: Path) -> None:
    run(evolving(tmp_path, label_counts={"epsilon": 0.01}), tmp_path / "out", Model(answer))
    with closing(sqlite3.connect(tmp_path / "out" / "journal.sqlite")) as journal:
        ((value,),) = journal.execute("SELECT value FROM artifacts WHERE kind = 'counts'")
    assert json.loads(value) != [150, 150], "the chance that both have none is 1 in 40,000"
    assert [row["label"] for row in read(tmp_path / "out")]


# --- not private ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"epsilon": "inf"}, "epsilon is infinite: the votes have no noise"),
        ({"epsilon": 2.0, "noise_seed": 3}, "test mode: the noise comes from a seed and can be repeated"),
    ],
)
def test_what_is_not_private_says_so_everywhere(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    path = evolving(tmp_path, **options)
    recipe = load_recipe(path)
    assert releases(recipe.steps[0].options) == why  # type: ignore[arg-type]
    assert f"private_evolution: NOT PRIVATE: {why}" in recipe.remarks()
    result = run(path, tmp_path / "out", Model(answer))
    found = claim(result)
    assert (found["private"], found["epsilon"], found["why_not"]) == (False, None, why)
    (known,) = ledger(tmp_path).runs()
    assert (known.noise_multiplier, known.spent) == (0.0, 3), "noise that can be repeated counts as none"
    assert result.manifest["privacy"]["output_private"] is True


def test_the_same_seed_of_the_noise_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        run(evolving(tmp_path / name, noise_seed=seed), tmp_path / name / "out", Model(answer, most_s=0.002))
    assert data(tmp_path / "one" / "out") == data(tmp_path / "two" / "out")
    assert votes(tmp_path / "one" / "out") == votes(tmp_path / "two" / "out") != votes(tmp_path / "other" / "out")


def test_every_round_has_noise_of_its_own(tmp_path: Path) -> None:
    run(evolving(tmp_path, epsilon=None, noise_multiplier=1e6, noise_seed=1), tmp_path / "out", Model(answer))
    for one, other in itertools.combinations([json.loads(each) for each in votes(tmp_path / "out")], 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1e5, "300 votes cannot make that difference"


def test_epsilon_0_gives_first_texts_and_reads_no_private_one(tmp_path: Path) -> None:
    path = evolving(tmp_path, epsilon=0.0)
    assert load_recipe(path).remarks() == []
    (tmp_path / "private.jsonl").write_text("no row at all")
    result = run(path, tmp_path / "out", Model(answer))
    assert (result.status, result.rows) == ("complete", 8)
    assert {row["variation"] for row in read(tmp_path / "out")} == {"first"}
    assert not ledger(tmp_path).path.exists() and not result.manifest.get("privacy", {}).get("claims")
    assert any("no private text was read" in note for note in step(result, "private_evolution")["notes"])


@pytest.mark.parametrize("epsilon", [2.0, "inf"])
def test_public_texts_have_their_ledger_in_the_run_directory(epsilon: Any, tmp_path: Path) -> None:
    path, out = evolving(tmp_path, epsilon=epsilon, data={"private": False}), tmp_path / "out"
    result = run(path, out, Model(answer))
    assert not ledger(tmp_path).path.exists()
    assert claim(result)["private_source"] is False and claim(result)["steps"] == 3
    assert run(path, tmp_path / "other", Model(answer)).rows == 8, "nobody has to account for them"
    (out / "artifacts" / "private_evolution" / "ledger.jsonl").unlink(missing_ok=True)
    before = data(out)
    again = run(path, out, engine := Model(answer))
    assert (engine.asked, data(out), claim(again)["steps"]) == (0, before, 3)


# --- replay, other directories --------------------------------------------------------------------------------


def test_a_replay_asks_nothing_pays_nothing_and_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = evolving(tmp_path), tmp_path / "out"
    result = run(path, out, Model(answer))
    before, paid, known = data(out), ledger(tmp_path).path.read_bytes(), votes(out)
    monkeypatch.delattr(ballot, "noisy_votes")
    monkeypatch.delattr(ballot, "Encoder")
    monkeypatch.setattr(ballot, "Encoder", lambda *_, **__: None, raising=False)
    again = run(path, out, engine := Model(answer))
    assert (engine.asked, data(out), ledger(tmp_path).path.read_bytes(), votes(out)) == (0, before, paid, known)
    assert claim(again) == claim(result)


def test_what_was_paid_for_in_another_directory_is_not_paid_for_again_unless_the_recipe_says_so(tmp_path: Path) -> None:
    path = evolving(tmp_path)
    first = run(path, tmp_path / "one", Model(answer))
    engine = Model(answer)
    with pytest.raises(UserError, match=r"3 of 3 votes are paid; go on there, or set 'data.again: true'"):
        run(path, tmp_path / "two", engine)
    assert engine.asked == 0 and len(spends(tmp_path)) == 3
    path = evolving(tmp_path, data={"again": True})
    second = run(path, tmp_path / "three", Model(answer))
    assert data(tmp_path / "one") != data(tmp_path / "three"), "the noise is another one"
    assert (claim(first)["ledger_runs"], claim(second)["ledger_runs"]) == (1, 2)
    assert claim(second)["epsilon"] == claim(first)["epsilon"] == claim(first)["ledger_epsilon"]
    both = gaussian_epsilon(claim(second)["noise_multiplier"], 1e-5, steps=6)
    assert claim(second)["ledger_epsilon"] == pytest.approx(both) and both > 4.5


def test_other_private_texts_or_options_are_another_run(tmp_path: Path) -> None:
    run(evolving(tmp_path), tmp_path / "one", Model(answer))
    run(evolving(tmp_path, epsilon=3.0), tmp_path / "two", Model(answer))
    run(evolving(tmp_path, private_rows(280)), tmp_path / "three", Model(answer))
    found = ledger(tmp_path).runs()
    assert len({each.what for each in found}) == len({each.id for each in found}) == len(found) == 3


def test_a_directory_whose_run_the_ledger_lacks_is_refused(tmp_path: Path) -> None:
    path = evolving(tmp_path)
    run(path, tmp_path / "out", Model(answer))
    ledger(tmp_path).path.unlink()
    with pytest.raises(UserError, match="is not in the privacy ledger, so that nobody can say what was spent; restore"):
        run(path, tmp_path / "out", Model(answer))


def test_a_ledger_that_lacks_votes_of_the_directory_is_refused(tmp_path: Path) -> None:
    """An old copy that was put back: the claim would be of fewer votes than were taken."""
    path = evolving(tmp_path)
    run(path, tmp_path / "out", Model(answer))
    file = ledger(tmp_path).path
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(
        UserError, match="is not all in the privacy ledger, so that nobody can say what was spent; restore"
    ):
        run(path, tmp_path / "out", Model(answer))


def test_without_a_ledger_that_can_be_written_nothing_is_drawn(tmp_path: Path) -> None:
    path = evolving(tmp_path, data={"ledger": "no/such/folder/ledger.jsonl"})
    with pytest.raises(UserError, match="the privacy ledger cannot be written"):
        run(path, tmp_path / "out", Model(answer))
    with closing(sqlite3.connect(tmp_path / "out" / "journal.sqlite")) as journal:
        names = {name for (name,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "artifacts" not in names


def test_judging_again_never_spends(tmp_path: Path) -> None:
    path, out = evolving(tmp_path), tmp_path / "out"
    run(path, out, Model(answer))
    paid = ledger(tmp_path).path.read_bytes()
    factory.refilter(out, tmp_path / "same", overrides=[], progress=False)
    assert data(tmp_path / "same") == data(out)
    with closing(sqlite3.connect(out / "journal.sqlite", isolation_level=None)) as journal:
        journal.execute("DELETE FROM artifacts WHERE kind = 'votes'")
    factory.refilter(out, tmp_path / "lost", overrides=[], progress=False)
    assert (read(tmp_path / "lost"), ledger(tmp_path).path.read_bytes()) == ([], paid)


def test_judging_again_begins_no_run_where_the_journal_has_lost_all(tmp_path: Path) -> None:
    path, out = evolving(tmp_path, data={"again": True}), tmp_path / "out"
    run(path, out, Model(answer))
    paid = ledger(tmp_path).path.read_bytes()
    with closing(sqlite3.connect(out / "journal.sqlite", isolation_level=None)) as journal:
        journal.execute("DELETE FROM artifacts")
    factory.refilter(out, tmp_path / "lost", overrides=[], progress=False)
    assert (read(tmp_path / "lost"), ledger(tmp_path).path.read_bytes()) == ([], paid)


def test_votes_count_only_for_the_texts_that_they_were_cast_on(tmp_path: Path) -> None:
    path, out = evolving(tmp_path), tmp_path / "out"
    run(path, out, Model(answer))
    paid = ledger(tmp_path).path.read_bytes()
    with closing(sqlite3.connect(out / "journal.sqlite", isolation_level=None)) as journal:
        journal.execute("DELETE FROM completions")
    result = run(path, out, Model(lambda request: answer(request).replace("The", "That")))
    assert (result.exit_code, result.rows, ledger(tmp_path).path.read_bytes()) == (4, 0, paid)
    assert "cast on texts that are no longer written" in result.message


# --- kills ----------------------------------------------------------------------------------------------------

MOMENTS = ("before_paying", "after_paying", "after_drawing", "after_commit")


def killed(path: Path, out: Path, when: str, number: int) -> int:
    driver = Path(__file__).parent / "kill_driver.py"
    command = [sys.executable, str(driver), str(path), str(out), when, str(number)]
    return subprocess.run(command, timeout=60, check=False, capture_output=True).returncode


@pytest.mark.parametrize(("when", "number"), list(itertools.product(MOMENTS, [2])))
def test_a_kill_forgets_no_payment_and_no_vote_is_drawn_twice(when: str, number: int, tmp_path: Path) -> None:
    path, out = evolving(tmp_path), tmp_path / "out"
    assert killed(path, out, when, number) == -9
    lost = when in ("after_paying", "after_drawing")
    paid, known = len(spends(tmp_path)), votes(out)
    assert paid == number - (when == "before_paying")
    assert len(known) == paid - lost
    result = run(path, out, Model(answer))
    assert len(spends(tmp_path)) == 3, "never more than the recipe says, and what was paid stays paid"
    assert set(known) <= set(votes(out)) and len(votes(out)) == 3 - lost
    assert claim(result)["steps"] == 3 and claim(result)["epsilon"] == pytest.approx(4.0, abs=1e-3)
    notes = " ".join(step(result, "private_evolution")["notes"])
    assert ("the rows are those of 2 of 3 rounds" in notes) == lost
    assert (result.status, result.rows) == ("complete", 8)
    before = data(out)
    again = run(path, out, engine := Model(answer))
    assert (engine.asked, data(out), len(spends(tmp_path))) == (0, before, 3)
    assert again.rows == 8


def test_where_all_votes_were_lost_it_says_how_to_pay_for_more(tmp_path: Path) -> None:
    path, out = evolving(tmp_path, rounds=1), tmp_path / "out"
    assert killed(path, out, "after_drawing", 1) == -9
    result = run(path, out, Model(answer))
    assert (result.exit_code, result.rows, len(spends(tmp_path))) == (4, 0, 1)
    assert "run it in another directory with 'data.again: true'" in result.message
    assert claim(result)["epsilon"] == pytest.approx(4.0, abs=1e-3)
    more = run(evolving(tmp_path, rounds=1, data={"again": True}), tmp_path / "more", Model(answer))
    assert (more.rows, claim(more)["ledger_runs"]) == (8, 2)


# --- bad input ------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({"epsilon": 2.0, "noise_multiplier": 3.0}, "give either 'epsilon' or 'noise_multiplier'"),
    ({"epsilon": -1.0}, "expected at least 0"),
    ({"epsilon": 1e12}, "no noise can be found for it; take 'inf' for none"),
    ({"noise_multiplier": 0.0}, "expected more than 0"),
    ({"rows": 1}, "'rows' is 1, and there are 2 classes: each needs a row"),
    ({"rows": 0}, "expected at least 1"),
    ({"shares": {"billing": 1}}, "'shares' gives none for the class 'delivery'"),
    (
        {"shares": {"billing": 1, "delivry": 1}},
        "'shares' names the class 'delivry', which 'classes' does not (did you mean",
    ),
    ({"classes": None, "shares": {"billing": 1}}, "'shares' needs 'classes'"),
    ({"classes": None, "label_counts": {"epsilon": 1}}, "'label_counts' needs 'classes'"),
    ({"epsilon": 1.0, "label_counts": {"epsilon": 1}}, "'label_counts.epsilon' of 1 leaves nothing of 'epsilon'"),
    ({"shares": {"billing": 1, "delivery": 1}, "label_counts": {"epsilon": 1}}, "give one of them"),
    ({"delta": 0.01}, "0.01 is not below 1 / n for n = 300 private texts"),
    ({"data": {"path": "other.jsonl"}}, "other.jsonl: no such file or folder"),
    ({"data": {"text": "body"}}, "no column 'body'"),
    ({"classes": {"billing": "x"}}, "has classes that"),
    ({"embedder": "no/such/folder"}, "embedding: model 'no/such/folder' is no folder"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD, ids=lambda value: str(value)[:40])
def test_bad_options_are_found_before_anything_is_asked(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(evolving(tmp_path, **options))
    assert sentence in str(caught.value)


def test_neither_epsilon_nor_noise_is_an_error(tmp_path: Path) -> None:
    path = evolving(tmp_path)
    path.write_text(path.read_text().replace('"epsilon": 4.0', '"delta": 1e-6'))
    with pytest.raises(RecipeError, match="give either 'epsilon' or 'noise_multiplier'"):
        load_recipe(path)


@pytest.mark.parametrize("rows", [[], [{"text": " ", "label": "billing"}, {"text": None, "label": "delivery"}]])
def test_a_file_without_texts_is_an_error(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="has no text in the column 'text'"):
        load_recipe(evolving(tmp_path, rows))


def test_thin_votes_are_told_with_the_rows_that_would_do(tmp_path: Path) -> None:
    def remarks(count: int, **options: Any) -> str:
        return " ".join(load_recipe(evolving(tmp_path, private_rows(count), **options)).remarks())

    thin = remarks(600, rows=100)
    assert "600 private texts vote for 300 candidates: 2 votes for each on average" in thin
    assert "rows: 4 would leave 50 to each" in thin
    assert "at least 300 private texts are needed, or fewer variations" in remarks(200)
    assert remarks(600, rows=4) == ""
