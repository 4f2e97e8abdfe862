"""`factory evaluate --test` without `--real`: what private runs are worth on public texts, and what stays private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import factory as package
from factory.datasets_io.rows import read_rows
from factory.privacy.claim import Audit, Claim
from factory.privacy.ledger import ledger_of

from .driver import Command, in_process, write_rows
from .evaluation.grammar import texts

QUICK = ("--draws", "1", "--resamples", "20")
HEADING = "diagnostics, private: not for the card"
RECIPE = """\
name: {name}
engine: {{kind: scripted, script: s.json, model: m}}
steps:
  - rows: {{path: {path}}}
"""


def claim(step: str, epsilon: float | None, **changed: Any) -> Claim:
    """A claim as a differentially private step makes it."""
    why_not = "" if epsilon is not None else "trained without noise (epsilon: inf)"
    settings = {"private": epsilon is not None, "why_not": why_not, "epsilon": epsilon, "step": step, **changed}
    return Claim(
        method="dp_lora",
        run="0f0f",
        delta=1e-5,
        accountant="prv",
        mechanism="DP-SGD",
        noise_multiplier=1.0,
        max_grad_norm=0.1,
        sample_rate=0.01,
        steps=60,
        records=6_000,
        records_policy="rounded",
        unit="one record",
        sampler="Poisson",
        randomness="operating system",
        labels="given",
        **settings,
    )


def claims(folder: Path, *stated: Claim) -> None:
    """Write claims into the manifest of a run, as the run of a differentially private step does."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    why = next((each.why_not for each in stated if not each.private), "")
    told = {"output_private": bool(why), "why": why, "claims": [msgspec.to_builtins(each) for each in stated]}
    path.write_text(json.dumps({**manifest, "privacy": told}))


def rows(count: int, seed: int) -> list[dict[str, object]]:
    return [{"text": each.text, "label": each.label} for each in texts(count, seed, labelled=True)]


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A private file with its ledger, a public test, and three runs: eps8, inf and zero."""
    write_rows(tmp_path / "tickets.jsonl", rows(200, 1))
    ledger_of(tmp_path / "tickets.jsonl").write_text("")
    write_rows(tmp_path / "test.jsonl", rows(120, 2))
    (tmp_path / "s.json").write_text('{"answers": ["x"]}')
    command = in_process(tmp_path, monkeypatch, capsys)
    for number, name in enumerate(("eps8", "inf", "zero")):
        copied = rows(200, 1)[:5] if name == "inf" else []
        write_rows(tmp_path / f"{name}_made.jsonl", [*copied, *rows(120, 10 + number)])
        (tmp_path / f"{name}.yaml").write_text(RECIPE.format(name=name, path=f"{name}_made.jsonl"))
        assert command("run", f"{name}.yaml", "--quiet").code == 0
    claims(tmp_path / "runs" / "eps8", claim("rows", 7.99))
    claims(tmp_path / "runs" / "inf", claim("rows", None))
    return command


RUNS = ("runs/eps8", "runs/inf", "runs/zero")


def test_runs_are_named_with_their_epsilon_beside_the_majority(factory: Command) -> None:
    done = factory("evaluate", *RUNS, "--test", "test.jsonl", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    equal, whole = (part.splitlines() for part in done.out.split("\n\n")[:2])
    assert "tested on 120 public texts" in " ".join(equal)
    for table, sizes in ((equal, ["60", "60", "60"]), (whole, ["120", "125", "120"])):
        found = [line.split() for line in table[-4:]]
        assert [line[:3] for line in found[:3]] == [
            ["eps8", "7.99", sizes[0]],
            ["inf", "infinite", sizes[1]],
            ["zero", "-", sizes[2]],
        ]
        assert [line.count("[") for line in table[-4:]] == [2, 2, 2, 2]
        assert found[3][:3] == ["most", "frequent", "class"]
    flat = " ".join(done.out.split())
    assert (
        "privacy: eps8, step rows: this is (7.99, 1e-05)-differentially private for adding or removing one record."
        in flat
    )
    assert "privacy: inf, step rows: this is NOT differentially private: trained without noise" in flat
    assert (
        "note: inf: belongs to a run whose rows stay private (trained without noise (epsilon: inf)): its figures tell"
        in flat
    )
    assert HEADING not in done.out


def test_private_texts_come_last_and_change_nothing_before(factory: Command, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    without = factory("evaluate", *RUNS, "--test", "test.jsonl", *QUICK)
    done = factory("evaluate", *RUNS, "--test", "test.jsonl", "--private", "tickets.jsonl", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    public, _, private = done.out.partition(HEADING)
    assert public.strip() == without.out.strip()
    flat = " ".join(private.split())
    for part in (
        "private texts 60 ",
        "private texts 120 ",
        "private texts 200 ",
        " inf 125 5 0.04 ",
        "public test texts (chance) 120 0 ",
    ):
        assert part in flat
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_says_that_it_is_private_and_lies_in_no_run_and_no_dataset(factory: Command, tmp_path: Path) -> None:
    asked = ("evaluate", "runs/eps8", "--test", "test.jsonl", "--private", "tickets.jsonl", *QUICK)
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "data" / "train-00000.parquet").write_bytes(b"")
    (tmp_path / "runs" / "zero" / "more" / "figures").mkdir(parents=True)
    for place in ("runs/eps8/e.json", "runs/zero/more/figures/e.json", "set/e.json", "set/data/e.json"):
        done = factory(*asked, "--out", place)
        assert done.code == 2
        assert "the figures are private and would lie in" in done.err
        assert not (tmp_path / place).exists()
    done = factory("evaluate", "eps8_made.jsonl", *asked[2:], "--out", "e.json")
    assert "a folder with a dataset in it" in done.err
    assert factory(*asked, "--out", "e.json").code == 0
    lines = (tmp_path / "e.json").read_text().splitlines()
    assert lines[1] == '  "private": true,'
    saved = json.loads("\n".join(lines))
    assert [each["trained_on"] for each in saved["evaluation"]["private"]["real"]] == [60, 120, 200]
    assert saved["evaluation"]["sources"][0]["claims"][0]["epsilon"] == 7.99
    assert factory(*asked, "--out", "e.json").code == 0


def test_figures_of_an_unprotected_run_are_private_too_and_others_are_not(factory: Command, tmp_path: Path) -> None:
    assert factory("evaluate", *RUNS, "--test", "test.jsonl", "--out", "e.json", *QUICK).code == 0
    assert json.loads((tmp_path / "e.json").read_text())["private"] is True
    assert factory("evaluate", *RUNS, "--test", "test.jsonl", "--out", "runs/eps8/e.json", *QUICK).code == 2
    public = ("evaluate", "runs/eps8", "runs/zero", "--test", "test.jsonl", "--out", "runs/eps8/e.json", *QUICK)
    assert factory(*public).code == 0
    saved = json.loads((tmp_path / "runs/eps8/e.json").read_text())
    assert "private" not in saved
    assert saved["evaluation"]["private"] is None


def test_figures_of_an_unprotected_run_are_private_beside_real_texts_too(factory: Command, tmp_path: Path) -> None:
    asked = ("evaluate", "runs/inf", "--real", "test.jsonl", *QUICK)
    assert factory(*asked, "--out", "runs/eps8/e.json").code == 2
    done = factory(*asked, "--out", "e.json")
    assert "note: inf: belongs to a run whose rows stay private" in done.out
    assert json.loads((tmp_path / "e.json").read_text())["private"] is True


def test_the_public_figures_are_the_same_whatever_the_private_texts_are(factory: Command, tmp_path: Path) -> None:
    """No public figure may be a function of the private file."""
    found = []
    for seed in (1, 77):
        write_rows(tmp_path / "tickets.jsonl", rows(200, seed))
        found.append(
            package.evaluate_public(["runs/eps8"], "test.jsonl", private="tickets.jsonl", draws=1, resamples=20)
        )
    assert found[0].private != found[1].private
    one, other = (msgspec.structs.replace(each, private=None) for each in found)
    assert one == other


def test_how_many_private_rows_cannot_be_read_is_told_in_the_diagnostics_alone(
    factory: Command, tmp_path: Path
) -> None:
    write_rows(tmp_path / "tickets.jsonl", [*rows(50, 1), {"text": " ", "label": "sad"}])
    done = factory("evaluate", "runs/eps8", "--test", "test.jsonl", "--private", "tickets.jsonl", *QUICK)
    public, _, private = done.out.partition(HEADING)
    assert "1 row without text left out" in private
    assert "1 row without text left out" not in public


def test_steps_of_a_run_are_sets_of_their_own_with_their_own_claims(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(
        RECIPE.format(name="two", path="eps8_made.jsonl") + "  - prompt: {prompt: p.jinja, output: answer}\n"
    )
    (tmp_path / "p.jinja").write_text("---\ninputs: [text]\n---\n=== user ===\n{{ text }}\n")
    (tmp_path / "s.json").write_text(json.dumps({"answers": ["Answer {hash} of {hash}."]}))
    assert factory("run", "two.yaml", "--quiet").code == 0
    claims(tmp_path / "runs" / "two", claim("prompt", 2.0), claim("other", 8.0))
    result = package.evaluate_public(["runs/two"], "test.jsonl", by="step", draws=1, resamples=20)
    assert [(line.name, [each.epsilon for each in line.claims]) for line in result.sources] == [("prompt", [2.0])]
    result = package.evaluate_public(["runs/two", "runs/eps8"], "test.jsonl", by="step", draws=1, resamples=20)
    assert {line.name: [each.epsilon for each in line.claims] for line in result.sources} == {
        "two: prompt": [2.0],
        "eps8: rows": [7.99],
    }
    done = factory("evaluate", "runs/two", "--test", "test.jsonl", *QUICK)
    assert " 2 + 8 " in done.out


def test_a_seed_that_all_know_is_no_privacy_in_the_table_either(factory: Command, tmp_path: Path) -> None:
    claims(tmp_path / "runs" / "eps8", claim("rows", 7.99, private=False, why_not="the noise has a seed"))
    done = factory("evaluate", "runs/eps8", "--test", "test.jsonl", *QUICK)
    assert "7.99" not in done.out
    assert "rows stay private (the noise has a seed)" in " ".join(done.out.split())


def test_a_claim_that_an_audit_contradicts_is_none(factory: Command, tmp_path: Path) -> None:
    audit = Audit(kind="white-box", lower_bound=9.5, confidence=0.95, violation=True)
    claims(tmp_path / "runs" / "eps8", claim("rows", 7.99, audits=(audit,)))
    done = factory("evaluate", "runs/eps8", "--test", "test.jsonl", *QUICK)
    assert done.out.splitlines()[3].split()[:2] == ["eps8", "none"]
    assert "but an audit found epsilon to be at least 9.50" in " ".join(done.out.split())


MAPPING = "{path: tickets.jsonl, private: true}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*RUNS,), "expected --real FILE, or --test FILE alone"),
        ((*RUNS, "--test", "tickets.jsonl"), "tickets.jsonl.privacy.jsonl"),
        ((*RUNS, "--real", "tickets.jsonl"), "--private"),
        ((*RUNS, "--real", "test.jsonl", "--test", "tickets.jsonl"), "--private"),
        ((*RUNS, "--test", MAPPING), "--private"),
        ((*RUNS, "--test", "{path: test.jsonl, private: true}"), "--private"),
        (("tickets.jsonl", "--test", "test.jsonl"), "tickets.jsonl"),
        ((*RUNS, "--real", "test.jsonl", "--private", "tickets.jsonl"), "--private: only for --test without --real"),
        ((*RUNS, "--test", "test.jsonl", "--private", "test.jsonl"), "--private: expected another file than --test"),
        ((*RUNS, "--test", "test.jsonl", "--private", "gone.csv"), "gone.csv: no such file or folder"),
        ((*RUNS, "--test", "test.jsonl", "--private", "{path: tickets.jsonl, txt: a}"), "--private: txt: unknown key"),
        ((*RUNS, "--test", "test.jsonl", "--private", "tickets.jsonl", "--table"), "--private: only for texts"),
        ((*RUNS, "--table", "--test", "test.jsonl"), "--real: expected a file with the real rows"),
        ((*RUNS, "--table", "--real", "tickets.jsonl", "--test", "test.jsonl"), "tickets.jsonl"),
        ((*RUNS, "--test", "test.jsonl", "--by", "stp"), "no column 'stp' (did you mean 'step'?)"),
    ],
)
def test_what_is_wrong_is_one_sentence(factory: Command, arguments: tuple[str, ...], sentence: str) -> None:
    done = factory("evaluate", *arguments, *(() if "--table" in arguments else QUICK))
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1


def test_a_link_to_a_private_file_is_private(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "open.jsonl").symlink_to(tmp_path / "tickets.jsonl")
    done = factory("evaluate", "runs/eps8", "--test", "open.jsonl", *QUICK)
    assert done.code == 2
    assert "--private" in done.err


def test_a_claim_that_cannot_be_read_is_an_error(factory: Command, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "eps8" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["privacy"]["claims"][0]["epsilon"] = "eight"
    path.write_text(json.dumps(manifest))
    done = factory("evaluate", "runs/eps8", "--test", "test.jsonl", *QUICK)
    assert done.code == 2
    assert "manifest.json: its claim of privacy cannot be read" in done.err


STEP = """\
name: e
engine: {kind: scripted, script: s.json, model: m}
steps:
  - rows: {path: eps8_made.jsonl}
  - evaluate: {test: {path: test.jsonl}, draws: 1, resamples: 20}
"""


def test_the_step_measures_on_public_texts_alone(factory: Command, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(STEP)
    assert factory("run", "e.yaml", "--quiet").code == 0
    assert len(list(read_rows(tmp_path / "runs" / "e"))) == 120
    steps = json.loads((tmp_path / "runs/e/manifest.json").read_text())["steps"]
    notes = next(step["notes"] for step in steps if step["step"] == "evaluate")
    assert notes[0].startswith("records (120 texts): accuracy 0.")
    assert "trained on 120; longer than test texts by" in notes[0]
    assert notes[1].startswith("most frequent class of 120 test texts: accuracy 0.50")
    card = (tmp_path / "runs/e/README.md").read_text()
    assert "## Evaluation\n\n- records (120 texts): accuracy 0." in card


def test_a_card_without_an_evaluation_has_no_such_part(factory: Command, tmp_path: Path) -> None:
    assert "## Evaluation" not in (tmp_path / "runs/zero/README.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("test: {path: test.jsonl}, ", "", "expected real texts to compare with, or 'test' alone"),
        ("path: test.jsonl", "path: tset.jsonl", "tset.jsonl: no such file or folder"),
        ("path: test.jsonl", "path: tickets.jsonl", "tickets.jsonl was declared private before"),
        ("path: test.jsonl", "path: test.jsonl, private: true", "measuring rows by private ones tells which those are"),
    ],
)
def test_the_step_is_checked(factory: Command, tmp_path: Path, old: str, new: str, sentence: str) -> None:
    (tmp_path / "e.yaml").write_text(STEP.replace(old, new))
    done = factory("check", "e.yaml")
    assert done.code == 2
    assert "steps[1].evaluate" in done.err
    assert sentence in done.err
