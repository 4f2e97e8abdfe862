"""Whole runs of the methods that learn private texts: what comes out, what is paid, what is claimed, what is never told."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import factory
from factory.errors import OptionError, RecipeError, UserError
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.base import Base
from factory.recipe import load_recipe
from factory.recipe.private import PrivateSource

from .small import CLASSES, METHODS, ROWS, WORD, claim, ledger, recipe, rows_of, run, write

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
DELTA = 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_a_run_gives_what_is_asked_and_claims_what_was_done(tmp_path: Path, method: str) -> None:
    write(tmp_path)
    result = run(tmp_path, f"epsilon: 8, classes: {CLASSES}", method=method)
    rows = rows_of(result)
    assert result.status == "complete"
    assert [row["label"] for row in rows].count("billing") == 3
    assert len(rows) == 6
    (paid,) = ledger(tmp_path).runs()
    assert (paid.spent, paid.planned, paid.ended) == (4, 4, True)
    said = claim(result, method)
    spent = epsilon([Mechanism(noise_multiplier=paid.noise_multiplier, sample_rate=20 / 130, steps=4)], DELTA)
    assert said["epsilon"] == pytest.approx(spent, abs=1e-9)
    assert 7.5 < said["epsilon"] <= 8
    assert said["private"]
    assert (said["records"], said["records_policy"], said["steps"]) == (130, "rounded", 4)
    assert said["run"] == paid.id
    assert all(row["provenance"]["model"] == f"{method}@{paid.id}" for row in rows)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_learnt_or_paid_twice(tmp_path: Path, method: str) -> None:
    write(tmp_path)
    first = run(tmp_path, "noise_multiplier: 0.9", method=method)
    before = rows_of(first)
    again = run(tmp_path, "noise_multiplier: 0.9", method=method)
    assert rows_of(again) == before
    more = run(tmp_path, "noise_multiplier: 0.9, temperature: 0.9", method=method)
    assert rows_of(more) != before
    assert len(ledger(tmp_path).runs()) == 1
    assert ledger(tmp_path).runs()[0].spent == 4


def test_what_was_paid_elsewhere_is_paid_again_only_if_one_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    first = run(tmp_path, "noise_multiplier: 0.9")
    with pytest.raises(UserError, match=r"learnt with these settings before .* data.again"):
        run(tmp_path, "noise_multiplier: 0.9", out="other")
    assert len(ledger(tmp_path).runs()) == 1
    second = run(tmp_path, "noise_multiplier: 0.9", out="other", data="again: true")
    both = ledger(tmp_path).runs()
    assert [each.spent for each in both] == [4, 4]
    said = claim(second)
    assert said["ledger_runs"] == 2
    both_times = epsilon([Mechanism(noise_multiplier=0.9, sample_rate=20 / 130, steps=8)], DELTA)
    assert said["ledger_epsilon"] == pytest.approx(both_times)
    assert both_times > claim(first)["epsilon"] + 0.5
    assert "2 runs on these texts" in " ".join(second.manifest["steps"][0]["notes"])


def test_without_privacy_it_is_marked_everywhere(tmp_path: Path) -> None:
    write(tmp_path)
    result = run(tmp_path, "epsilon: inf")
    said = claim(result)
    assert not said["private"]
    assert said["epsilon"] is None
    assert said["max_grad_norm"] is None
    assert said["noise_multiplier"] == 0
    assert "NOT" in (result.path / "README.md").read_text()
    assert result.manifest["privacy"]["output_private"]
    assert ledger(tmp_path).epsilon(DELTA) == math.inf


def test_epsilon_zero_reads_nothing(tmp_path: Path) -> None:
    write(tmp_path, [{"wrong": "columns"}])
    result = run(tmp_path, f"epsilon: 0, classes: {CLASSES}")
    assert len(rows_of(result)) == 6
    assert not ledger(tmp_path).path.exists()
    assert "no private text was read" in " ".join(result.manifest["steps"][0]["notes"])
    assert result.manifest["privacy"] == {"output_private": False, "why": "", "claims": []}
    assert "NOT PRIVATE" not in (result.path / "README.md").read_text()


def test_counts_of_the_classes_are_noisy_and_paid(tmp_path: Path) -> None:
    write(tmp_path)
    result = run(tmp_path, f"epsilon: 8, classes: {CLASSES}, label_counts: {{epsilon: 2}}")
    (paid,) = ledger(tmp_path).runs()
    said = claim(result)
    assert paid.epsilon_counts == 2
    assert said["epsilon_counts"] == 2
    trained = epsilon([Mechanism(noise_multiplier=paid.noise_multiplier, sample_rate=20 / 130, steps=4)], DELTA)
    assert said["epsilon"] == pytest.approx(trained + 2)
    assert said["epsilon"] <= 8
    assert "noisy" in said["labels"]


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_for_the_noise_repeats_it_and_marks_the_result(tmp_path: Path, method: str) -> None:
    write(tmp_path)
    first = run(tmp_path, "noise_multiplier: 0.9, noise_seed: 1", out="a", method=method)
    second = run(tmp_path, "noise_multiplier: 0.9, noise_seed: 1", out="b", data="again: true", method=method)
    assert rows_of(first) == rows_of(second)
    said = claim(first, method)
    assert not said["private"]
    assert "seed" in said["why_not"]
    other = run(tmp_path, "noise_multiplier: 0.9, noise_seed: 2", out="c", method=method)
    assert rows_of(first) != rows_of(other)


def test_two_runs_of_the_same_differ_as_their_noise_does(tmp_path: Path) -> None:
    write(tmp_path)
    one = run(tmp_path, "noise_multiplier: 0.9", out="a")
    two = run(tmp_path, "noise_multiplier: 0.9", out="b", data="again: true")
    assert rows_of(one) != rows_of(two)
    prompts = [(each.path / "artifacts/dp_prompt_tuning/soft_prompt.safetensors").read_bytes() for each in (one, two)]
    assert prompts[0] != prompts[1]


def test_nothing_private_is_published(tmp_path: Path) -> None:
    """No text, no exact count, no hash of the file, no loss: in what a dataset consists of."""
    path = write(tmp_path)
    result = run(tmp_path, f"noise_multiplier: 0.9, classes: {CLASSES}")
    from factory.manifest import file_hash

    published = [result.path / "manifest.json", result.path / "README.md"]
    published += [*(result.path / "artifacts/dp_prompt_tuning").glob("*.json")]
    for file in published:
        text = file.read_text()
        assert WORD not in text, file
        # As a number: the three digits may well stand inside of a random id.
        assert not re.search(rf"(?<![0-9a-z.]){ROWS}(?![0-9a-z])", text), file
        assert file_hash(path) not in text, file
    for row in [*rows_of(result)]:
        assert set(row) == {"text", "label", "record_id", "provenance"}
    notes = " ".join(result.manifest["steps"][0]["notes"])
    assert not any(word in notes for word in ("loss", "norm", "clipped", "batch of"))
    lineage = [each.read_bytes() for each in (result.path / "lineage").glob("*.parquet")]
    assert all(WORD.encode() not in content for content in lineage)


def test_a_plan_pays_nothing(tmp_path: Path) -> None:
    from factory.planner import plan

    write(tmp_path)
    found = plan(recipe(tmp_path, "noise_multiplier: 0.9"), out=tmp_path / "out")
    assert not ledger(tmp_path).path.exists()
    assert found is not None


@pytest.mark.parametrize("where", ["drawing", "after"])
def test_killed_for_real_it_goes_on_and_pays_neither_less_nor_more(tmp_path: Path, where: str) -> None:
    """kill -9 inside of step 3 (it stays paid, and is lost) or after it: epsilon is that of a run that was not killed."""
    write(tmp_path)
    file = recipe(tmp_path, "noise_multiplier: 0.9")
    driver = [
        sys.executable,
        "-m",
        "tests.methods.private_text.kill_driver",
        str(file),
        str(tmp_path / "out"),
        "3",
        where,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(driver, env=environment, cwd=Path(__file__).parents[3], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    assert ledger(tmp_path).runs()[0].spent == 3
    result = run(tmp_path, "noise_multiplier: 0.9")
    (paid,) = ledger(tmp_path).runs()
    assert (paid.spent, paid.ended) == (4, True)
    said = claim(result)
    whole = epsilon([Mechanism(noise_multiplier=paid.noise_multiplier, sample_rate=20 / 130, steps=4)], DELTA)
    assert said["epsilon"] == pytest.approx(whole)
    assert len(rows_of(result)) == 6
    notes = " ".join(result.manifest["steps"][0]["notes"])
    assert ("1 of 4 steps were paid and lost" in notes) == (where == "drawing")


def test_a_run_that_lost_its_checkpoint_is_not_paid_out(tmp_path: Path) -> None:
    """Three of four steps are paid, and nothing of them is left: the last would be learnt from nothing."""
    import shutil

    write(tmp_path)
    file = recipe(tmp_path, "noise_multiplier: 0.9")
    driver = [
        sys.executable,
        "-m",
        "tests.methods.private_text.kill_driver",
        str(file),
        str(tmp_path / "out"),
        "3",
        "after",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(driver, env=environment, cwd=Path(__file__).parents[3], check=False, capture_output=True)
    shutil.rmtree(tmp_path / "out" / "artifacts")
    with pytest.raises(UserError, match="checkpoint is gone"):
        run(tmp_path, "noise_multiplier: 0.9")


@pytest.mark.parametrize("lost", ["removed", "an old copy", "moved with the texts"])
def test_a_run_that_the_ledger_lacks_claims_nothing(tmp_path: Path, lost: str) -> None:
    """Nobody can say then what was spent; least of all that it was nothing."""
    write(tmp_path)
    first = run(tmp_path, "noise_multiplier: 0.9")
    said, data, kept = claim(first), "", ledger(tmp_path).path
    content = kept.read_bytes()
    if lost == "an old copy":
        kept.write_bytes(b"".join(content.splitlines(keepends=True)[:3]))
    elif lost == "removed":
        kept.unlink()
    else:
        (tmp_path / "texts.jsonl").rename(tmp_path / "customers.jsonl")
        data = "path: customers.jsonl"
    with pytest.raises(UserError, match=r"ledger lacks .*the run .* restore the ledger"):
        run(tmp_path, "noise_multiplier: 0.9", data=data)
    assert claim(first) == said
    if not data:
        kept.write_bytes(content)
        assert claim(run(tmp_path, "noise_multiplier: 0.9")) == said


def test_public_texts_keep_their_claim_where_their_ledger_is_lost(tmp_path: Path) -> None:
    write(tmp_path)
    first = run(tmp_path, "noise_multiplier: 0.9", data="private: false")
    said = claim(first)
    for path in first.path.rglob("ledger.jsonl"):
        path.unlink()
    assert claim(run(tmp_path, "noise_multiplier: 0.9", data="private: false"))["epsilon"] == said["epsilon"]


def test_noise_that_can_be_repeated_bounds_nothing_in_the_ledger(tmp_path: Path) -> None:
    write(tmp_path)
    run(tmp_path, "noise_multiplier: 0.9, noise_seed: 1", out="test")
    said = claim(run(tmp_path, "noise_multiplier: 0.9", out="real"))
    assert said["epsilon"] < math.inf
    assert said["ledger_runs"] == 2
    assert said["ledger_epsilon"] is None


def test_counts_that_a_kill_took_are_not_paid_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.context import private_text

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    write(tmp_path)
    options = f"epsilon: 8, classes: {CLASSES}, label_counts: {{epsilon: 2}}"
    with monkeypatch.context() as patch:
        patch.setattr(private_text, "geometric", killed)
        with suppress(KeyboardInterrupt):
            run(tmp_path, options)
    assert [each.epsilon_counts for each in ledger(tmp_path).runs()] == [2]
    result = run(tmp_path, options)
    said = claim(result)
    assert said["epsilon_counts"] == 2
    assert said["epsilon"] <= 8
    assert said["labels"] == "equal shares"
    assert "lost to a kill" in " ".join(result.manifest["steps"][0]["notes"])


def test_runs_that_protect_less_bound_nothing_for_a_user(tmp_path: Path) -> None:
    """A user has four records here: epsilon of one record is not his."""
    write(tmp_path, [{"text": f"note {number}", "who": f"u{number % 60}"} for number in range(240)])
    run(tmp_path, "noise_multiplier: 0.9", out="records")
    said = claim(run(tmp_path, "noise_multiplier: 0.9", out="users", data="user: who"))
    assert said["ledger_runs"] == 2
    assert said["ledger_epsilon"] is None


@pytest.mark.parametrize("first", ["folder", "file"])
def test_a_file_and_its_folder_have_one_ledger(tmp_path: Path, first: str) -> None:
    import pyarrow as pa

    (tmp_path / "folder").mkdir()
    rows = [json.loads(line) for line in write(tmp_path).read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "folder" / "a.parquet")
    paths = {"folder": "folder", "file": "folder/a.parquet"}
    run(tmp_path, "noise_multiplier: 0.9", out="one", data=f"path: {paths.pop(first)}")
    (other,) = paths.values()
    with pytest.raises(RecipeError, match=r"data.ledger: .* would not be added up"):
        run(tmp_path, "noise_multiplier: 0.9", out="two", data=f"path: {other}")
    (kept,) = tmp_path.rglob("*.privacy.jsonl")
    with pytest.raises(RecipeError, match=r"data.ledger: .* would not be added up"):
        run(tmp_path, "noise_multiplier: 0.9", out="two", data=f"path: {other}, ledger: elsewhere.jsonl")
    data = f"path: {other}, ledger: {kept.relative_to(tmp_path)}, again: true"
    assert claim(run(tmp_path, "noise_multiplier: 0.9", out="two", data=data))["ledger_runs"] == 2


@pytest.mark.parametrize("missing", [None, math.nan])
def test_texts_without_a_user_count_as_one_users(tmp_path: Path, missing: float | None) -> None:
    import pyarrow as pa

    users = pa.array([missing] * 10 + [float(number % 5) for number in range(10)], from_pandas=False)
    pq.write_table(pa.table({"text": [f"note {number}" for number in range(20)], "who": users}), tmp_path / "a.parquet")
    assert len(PrivateSource(path="a.parquet", user="who").texts(tmp_path, ())) == 1 + 5
    names = [("", "note"), ("no user 0", "other"), ("", "third")]
    write(tmp_path, [{"text": text, "who": who} for who, text in names])
    assert len(PrivateSource(path="texts.jsonl", user="who").texts(tmp_path, ())) == 2


def test_one_text_of_each_user(tmp_path: Path) -> None:
    write(tmp_path, [{"text": f"note {number}", "who": f"u{number % 30}"} for number in range(120)])
    result = run(tmp_path, "noise_multiplier: 0.9", data="user: who, size: public")
    said = claim(result)
    assert said["records"] == 30
    assert "one user" in said["unit"]


BAD = {
    "both budgets": ("epsilon: 2, noise_multiplier: 1.0", "", "either epsilon or noise_multiplier"),
    "no budget": ("steps: 3", "", "epsilon: is required"),
    "shuffling": ("epsilon: 2, shuffle: true", "", "another mechanism"),
    "drop_last": ("epsilon: 2, drop_last: true", "", "no fixed size"),
    "checkpointing": ("epsilon: 2, gradient_checkpointing: true", "", "twice"),
    "base weights": ("epsilon: 2, full_finetuning: true", "", "soft prompt or adapters"),
    "early stop": ("epsilon: 2, early_stopping: true", "", "no noise protects"),
    "seed of noise": ("epsilon: 2, seed: 3", "", "noise_seed"),
    "batch": ("epsilon: 2, batch_size: 500", "", r"500 texts on average, and there are 130 \(rounded\)"),
    "column": ("epsilon: 2", "text: txt", "no column 'txt'"),
    "shares": (f"epsilon: 2, classes: {CLASSES}, shares: {{billing: 0.5, delivery: 0.1}}", "", "expected 1"),
    "counts": (f"epsilon: 2, classes: {CLASSES}, label_counts: {{epsilon: 3}}", "", "less than the whole"),
    "class": (
        "epsilon: 2, classes: {billing: about a bill}",
        "",
        "classes that 'classes' does not name: 1 value, first in row 2",
    ),
    "unreachable": ("epsilon: 0.000001, steps: 100000", "", "fewer steps|no noise reaches"),
    "delta": ("epsilon: 2, delta: 1.5", "", "less than 1"),
    "delta that means nothing": ("epsilon: 2, delta: 0.01", "", r"not below 1 / n for n = 130"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_what_cannot_be_is_one_clear_sentence(tmp_path: Path, case: str) -> None:
    options, data, sentence = BAD[case]
    write(tmp_path)
    with pytest.raises((RecipeError, UserError), match=sentence):
        run(tmp_path, options, data=data)
    assert not ledger(tmp_path).path.exists()


def test_a_mixture_of_experts_reads_texts_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Base, "has_experts", True)
    write(tmp_path)
    with pytest.raises(OptionError, match=r"mixture of experts.*set micro_batch: 1"):
        run(tmp_path, "noise_multiplier: 0.9, micro_batch: 4")
    assert not any(each.paid for each in ledger(tmp_path).runs())
    assert claim(run(tmp_path, "noise_multiplier: 0.9, micro_batch: 1"))["steps"] > 0


def test_too_few_and_empty_texts(tmp_path: Path) -> None:
    write(tmp_path, [{"text": ""}, {"text": "  "}, {"text": None}, {"text": "only one"}])
    with pytest.raises(RecipeError, match="too few texts"):
        run(tmp_path, "epsilon: 2")
    write(tmp_path, [{"text": f"t {number}" if number % 3 else ""} for number in range(60)])
    result = run(tmp_path, "noise_multiplier: 0.9", data="size: public")
    assert claim(result)["records"] == 40


def test_a_file_without_a_header_line_shows_none_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "messages.tsv"
    path.write_text("ham\tgo until crazy point, crazy..\nspam\twin a prize\n" * 30, encoding="utf-8")
    source = PrivateSource(path="messages.tsv")
    with pytest.raises(OptionError, match=r"no column 'text'.*data\.header") as found:
        source.texts(tmp_path, ())
    assert "crazy" not in str(found.value)
    assert len(source.model_copy(update={"header": ["label", "text"]}).texts(tmp_path, ())) == 60


def test_what_a_training_would_pay_is_told_before(tmp_path: Path) -> None:
    write(tmp_path)
    (told,) = [each for each in load_recipe(recipe(tmp_path, "epsilon: 2")).remarks() if "pays" in each]
    assert "at most epsilon 2 at delta 1e-05" in told
    assert "one record of 130 (rounded)" in told
    assert "earlier" not in told
    run(tmp_path, "noise_multiplier: 0.9")
    (told,) = [each for each in load_recipe(recipe(tmp_path, "epsilon: 2")).remarks() if "pays" in each]
    assert "1 earlier run is in the ledger" in told


def test_a_missing_class_is_told(tmp_path: Path) -> None:
    write(tmp_path, [{"text": f"t {number}", "label": "billing" if number else None} for number in range(60)])
    with pytest.raises(RecipeError, match="does not name: none, first in row 1"):
        run(tmp_path, f"epsilon: 2, classes: {CLASSES}")


def test_noise_that_drowns_the_texts_is_told_with_what_would_help(tmp_path: Path) -> None:
    write(tmp_path)
    loaded = load_recipe(recipe(tmp_path, "epsilon: 0.5"))
    (told,) = [each for each in loaded.remarks() if "drowns" in each]
    wanted = int(told.split("batch_size ")[1].split()[0].replace(",", ""))
    assert wanted > 20
    result = run(tmp_path, "noise_multiplier: 5.0")
    assert "drowns" in " ".join(result.manifest["steps"][0]["notes"])


def test_files_of_the_trained_thing_load_with_peft(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    write(tmp_path)
    result = run(tmp_path, "noise_multiplier: 0.9")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    model = PeftModel.from_pretrained(base, result.path / "artifacts/dp_prompt_tuning/peft")
    assert model.peft_config["default"].num_virtual_tokens == 3


def test_public_texts_are_looked_at_and_not_learnt(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "public.jsonl").write_text('{"text": "a public text", "label": "billing"}\n' * 3)
    result = run(tmp_path, f"noise_multiplier: 0.9, classes: {CLASSES}, validation: {{path: public.jsonl}}")
    assert "loss of 3 public texts" in " ".join(result.manifest["steps"][0]["notes"])
    with pytest.raises(RecipeError, match="private"):
        run(tmp_path, f"noise_multiplier: 0.9, classes: {CLASSES}, validation: {{path: texts.jsonl}}", out="b")


def test_canaries_take_part_by_coins_and_are_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.privacy.canaries import decoded

    write(tmp_path)
    result = run(tmp_path, f"noise_multiplier: 0.9, classes: {CLASSES}, canaries: 40")
    (path,) = (result.path / "artifacts/dp_prompt_tuning").rglob("canaries.json")
    canaries = decoded(path.read_bytes())
    assert len(canaries) == 40
    assert 5 < sum(each.included for each in canaries) < 35
    assert {each.label for each in canaries} == {"billing", "delivery"}
    published = (result.path / "manifest.json").read_text() + (result.path / "README.md").read_text()
    assert canaries[0].text not in published
    monkeypatch.chdir(tmp_path)  # where the recipe's model is found
    report = factory.audit(result.path, seed=1)
    assert not report.violation
    assert {each["kind"] for each in claim(result)["audits"]} == {"white-box", "canaries"}
