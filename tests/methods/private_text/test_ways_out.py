"""Ways that private texts or epsilon could get out by: rows of an earlier session, exports, filters, refusals, runs judged again."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

import factory
from factory.claims import not_private
from factory.errors import FactoryError, RecipeError, UserError
from factory.recipe import load_recipe
from factory.recipe.taint import known_private, require_public

from .small import CLASSES, ROWS, WORD, claim, ledger, recipe, rows_of, run, write

pytest.importorskip("torch")
pytest.importorskip("opacus")
QUALITY = "  - quality: {field: text, length: {max_chars: 500}}\n"


def reading(folder: Path, path: Path | str) -> Path:
    """A recipe that reads rows of a file."""
    (folder / "script.json").write_text('{"answers": ["a"]}')
    file = folder / "reading.yaml"
    file.write_text(f"name: n\nengine: {{kind: scripted, script: script.json}}\nsteps:\n  - rows: {{path: '{path}'}}\n")
    return file


def refused(folder: Path, path: Path | str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        load_recipe(reading(folder, path))
    with pytest.raises(UserError, match=sentence):
        require_public([folder / path], "IN")


@pytest.fixture
def unprotected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> factory.RunResult:
    """A run of private texts without noise."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return run(tmp_path, "epsilon: .inf")


def manifest_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "manifest.json").read_text()))


@pytest.mark.parametrize("ended", [True, False], ids=["", "which had not ended"])
def test_what_a_session_without_noise_left_stays_private_until_the_next_has_ended(
    unprotected: factory.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    out, rows = unprotected.path, unprotected.path / "data"
    if not ended:
        told = manifest_of(out)
        (out / "manifest.json").write_text(json.dumps(told | {"status": "interrupted", "dataset": None}))
    with monkeypatch.context() as patch:
        patch.setattr("factory.runner.Pipeline.run", broken)
        for _ in range(2):
            with pytest.raises(FactoryError, match="broken"):
                run(tmp_path, "epsilon: 8")
    said = manifest_of(out)
    assert (said["status"], said["privacy"]["output_private"]) == ("failed", False)
    assert "without noise" in not_private(said)
    refused(tmp_path, rows, "belongs to a run whose rows stay private .*without noise")
    assert "without noise" in known_private(next((out / "artifacts" / "dp_prompt_tuning").glob("*.safetensors")))
    assert "NOT PRIVATE" in factory.report(out).path.read_text()
    done = run(tmp_path, "epsilon: 8")
    assert not_private(done.manifest) == known_private(rows) == ""
    load_recipe(reading(tmp_path, rows))


async def broken(*_: Any) -> None:
    raise FactoryError("broken")


def test_what_a_step_learnt_that_is_gone_goes_too(unprotected: factory.RunResult, tmp_path: Path) -> None:
    learnt = unprotected.path / "artifacts" / "dp_prompt_tuning"
    assert list(learnt.glob("*.safetensors"))
    run(tmp_path, "epsilon: 8", method="dp_lora")
    assert not learnt.exists()
    assert (unprotected.path / "artifacts" / "dp_lora" / "privacy.json").exists()


def test_an_export_and_links_stay_what_the_run_is(unprotected: factory.RunResult, tmp_path: Path) -> None:
    factory.export(unprotected.path, tmp_path / "exported", format="text")
    assert "NOT PRIVATE" in (tmp_path / "exported" / "NOT_PRIVATE.txt").read_text()
    refused(tmp_path, "exported/train.jsonl", "was exported from a run whose rows stay private")
    with pytest.raises(UserError, match="was exported from a run"):
        factory.filter("exported/train.jsonl", "filtered.jsonl", filters="exact", field="text")
    (tmp_path / "links").mkdir()
    for shard in (unprotected.path / "data").glob("*.parquet"):
        (tmp_path / "links" / shard.name).symlink_to(shard)
    refused(tmp_path, "links", "belongs to a run whose rows stay private")


def test_an_export_of_public_texts_that_were_learnt_without_noise_may_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    done = run(tmp_path, "epsilon: .inf", data="private: false")
    factory.export(done.path, tmp_path / "exported", format="text")
    load_recipe(reading(tmp_path, "exported/train.jsonl"))


def test_a_claim_that_an_audit_refutes_protects_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    out = run(tmp_path, "epsilon: 8").path
    assert known_private(out / "data") == ""
    told = manifest_of(out)
    audit = {"kind": "white-box", "lower_bound": 9.0, "confidence": 0.95, "violation": True}
    told["privacy"]["claims"][0]["audits"] = [audit]
    (out / "manifest.json").write_text(json.dumps(told))
    assert "an audit found more than 'dp_prompt_tuning' claims" in known_private(out / "data")


@pytest.mark.parametrize("options", ["noise_multiplier: 0.05", "epsilon: 51", "noise_multiplier: 1.0e-200"])
def test_an_epsilon_that_bounds_nothing_is_no_claim(tmp_path: Path, options: str) -> None:
    write(tmp_path)
    remarks = " ".join(load_recipe(recipe(tmp_path, options)).remarks())
    assert "protects nobody" in remarks and "NOT PRIVATE" in remarks
    done = run(tmp_path, options)
    said = claim(done)
    assert not said["private"]
    assert "protects nobody" in said["why_not"] or said["epsilon"] is None
    assert done.manifest["privacy"]["output_private"]
    assert "NOT PRIVATE" in (done.path / "README.md").read_text()
    after = run(tmp_path, "epsilon: 8", out="after")
    assert claim(after)["private"]
    assert not claim(after)["ledger_epsilon"] or claim(after)["ledger_epsilon"] > 50


def test_private_texts_are_no_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    out = run(tmp_path, "epsilon: 8").path
    with pytest.raises(UserError, match=r"--decontaminate texts.jsonl: was declared private before .* would tell of"):
        factory.export(out, tmp_path / "exported", format="text", decontaminate=["texts.jsonl"])
    assert not (tmp_path / "exported").exists()
    (tmp_path / "tick").mkdir()
    (tmp_path / "texts.jsonl").rename(tmp_path / "tick" / "a.jsonl")
    (tmp_path / "tick.privacy.jsonl").write_text("")
    (tmp_path / "public.jsonl").write_text('{"text": "words"}\n')
    for against in (["tick"], ["./tick"], ["tick/a.jsonl"]):
        filters: Any = {"decontaminate": {"against": against, "field": "text"}}
        with pytest.raises(UserError, match="was declared private before"):
            factory.filter("public.jsonl", "o.jsonl", filters=filters)


def test_a_hard_link_has_the_ledger_of_its_other_name(tmp_path: Path) -> None:
    write(tmp_path)
    run(tmp_path, "epsilon: 8")
    os.link(tmp_path / "texts.jsonl", tmp_path / "same.jsonl")
    refused(tmp_path, "same.jsonl", "was declared private before")


def test_judging_again_learns_and_pays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    first = run(tmp_path, f"epsilon: 8, canaries: 4, classes: {CLASSES}, label_counts: {{epsilon: 2}}", more=QUALITY)
    before = ledger(tmp_path).path.read_bytes()
    again = factory.refilter(first.path, tmp_path / "again", ["quality.length.max_chars=400"], progress=False)
    assert rows_of(again.run) == rows_of(first)
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write(json.dumps({"text": f"one more {WORD}", "label": "billing"}) + "\n")
    for generate in (False, True):
        with pytest.raises(UserError, match=r"holds no training of these texts as they are now.* pays nothing"):
            factory.refilter(
                first.path, tmp_path / "b", ["quality.length.max_chars=400"], generate=generate, progress=False
            )
    assert not (tmp_path / "b").exists()
    assert ledger(tmp_path).path.read_bytes() == before


def test_texts_that_have_changed_are_not_paid_for_in_passing(tmp_path: Path) -> None:
    write(tmp_path)
    run(tmp_path, "epsilon: 8")
    before = (tmp_path / "texts.jsonl").read_bytes()
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write(json.dumps({"text": f"one more {WORD}", "label": "billing"}) + "\n")
    for _ in range(2):
        with pytest.raises(UserError, match=r"tuning: texts.jsonl is not what it was when .*data.again: true"):
            run(tmp_path, "epsilon: 8")
    (tmp_path / "texts.jsonl").write_bytes(before)
    assert len(run(tmp_path, "epsilon: 8").first) > 0
    assert [each.spent for each in ledger(tmp_path).runs()] == [4]
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write(json.dumps({"text": f"one more {WORD}", "label": "billing"}) + "\n")
    assert claim(run(tmp_path, "epsilon: 8", data="again: true"))["ledger_runs"] == 2


def test_what_the_journal_cannot_hold_is_found_before_it_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    monkeypatch.setattr("factory.privacy.tuned.artifact.MAX_ARTIFACT_BYTES", 1_001_000)
    with pytest.raises(UserError, match="take a lower rank"):
        run(tmp_path, "epsilon: 8", method="dp_lora")
    assert not any(each.spent for each in ledger(tmp_path).runs())


def test_counts_are_paid_when_the_model_has_learnt(tmp_path: Path) -> None:
    write(tmp_path)
    options = f"epsilon: 8, classes: {CLASSES}, label_counts: {{epsilon: 2}}"
    with pytest.raises(UserError, match="the model reads at most"):
        run(tmp_path, f"{options}, max_tokens: 4000")
    assert not any(each.paid for each in ledger(tmp_path).runs())
    said = claim(run(tmp_path, options))
    assert (said["epsilon_counts"], said["ledger_runs"]) == (2, 1)
    assert 7.5 < said["epsilon"] <= 8


def test_no_refusal_repeats_a_private_text(tmp_path: Path) -> None:
    write(tmp_path, [{"text": f"a {WORD} of old", "label": f"{WORD} by name"}] * 40)
    with pytest.raises(FactoryError) as caught:
        run(tmp_path, f"epsilon: 8, classes: {CLASSES}")
    assert WORD not in str(caught.value)
    assert "1 value, first in row 1" in str(caught.value)


@pytest.mark.parametrize("first", [f"ham\tsee you at six my {WORD}\n", f"{WORD} one\t{WORD} one\n"])
def test_no_refusal_repeats_a_row_that_was_taken_for_a_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "texts.tsv").write_text(first + "ham\tyes\n" * 40)
    with pytest.raises(FactoryError) as caught:
        factory.run(recipe(tmp_path, "epsilon: 8", data="path: texts.tsv"), tmp_path / "out", progress=False)
    assert WORD not in str(caught.value)


def test_texts_of_nobody_count_as_those_of_one_user(tmp_path: Path) -> None:
    made = [{"text": f"number {n} {WORD}", "user": f"u{n}" if n < 60 else ("" if n % 2 else None)} for n in range(90)]
    write(tmp_path, made)
    said = claim(run(tmp_path, "epsilon: 8", data="user: user, size: public"))
    assert said["records"] == 61
    assert math.isfinite(said["epsilon"])
    assert ROWS > 61
