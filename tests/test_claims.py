"""Claims of privacy: in the manifest, on the card, in the terminal, on disk; and nothing private anywhere near them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

import factory
from factory.claims import claims_of, not_private, privacy
from factory.context import Stats
from factory.manifest import file_hash
from factory.privacy.claim import Audit, decoded, encoded
from factory.refiltering import refilter
from factory.runner import RunResult

from . import private_pieces
from .driver import Command, in_process
from .private_pieces import SECRETS
from .small_runs import Model

RECIPE = """\
name: demo
engine: {kind: scripted, script: script.json, model: m}
steps:
  - noisy: {data: {path: tickets.csv}}
  - exact: {field: text}
"""
PUBLISHED = (
    "manifest.json",
    "README.md",
    "recipe.yaml",
    "data/*",
    "rejected/*",
    "lineage/*",
    "artifacts/*/privacy.json",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private_pieces.register(monkeypatch)
    private_pieces.tickets(tmp_path / "tickets.csv")
    (tmp_path / "script.json").write_text('{"answers": ["a"]}')
    (tmp_path / "demo.yaml").write_text(RECIPE)
    (tmp_path / "alone.yaml").write_text(RECIPE.replace("  - exact: {field: text}\n", ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(folder, monkeypatch, capsys)


def ran(recipe: str, *overrides: str, out: str = "run") -> RunResult:
    return factory.run(recipe, out, overrides=overrides, engine=Model(), progress=False)


def card_of(result: RunResult) -> str:
    return (result.path / "README.md").read_text()


def test_a_claim_is_in_manifest_card_and_a_file_of_its_own(folder: Path) -> None:
    result = ran("demo.yaml")
    manifest = json.loads((result.path / "manifest.json").read_text())
    (claim,) = claims_of(manifest)
    assert manifest["privacy"] == {
        "output_private": False,
        "why": "",
        "claims": [json.loads(msgspec.json.encode(claim))],
    }
    assert [step.get("privacy") for step in manifest["steps"]] == [manifest["privacy"]["claims"][0], None]
    assert decoded((result.path / "artifacts/noisy/privacy.json").read_bytes()) == claim
    assert (claim.epsilon, claim.records, claim.records_policy) == (2.0, 130, "rounded")
    card = card_of(result)
    assert "NOT PRIVATE" not in card
    assert "- differential-privacy\n" in card
    section = card.split("## Privacy\n")[1].split("\n## ")[0]
    assert "`noisy`: this is (2, 1e-05)-differentially private for adding or removing one record.\n" in section
    for name, value in {
        "epsilon": "2.0000, of which at most 0.01 is the accountant's error",
        "delta": "1e-05",
        "accountant": "exact Gaussian",
        "noise multiplier": "1",
        "clipping norm": "0.5",
        "sample rate": "1",
        "steps": "1",
        "records": "130 (rounded down to two digits)",
        "unit of privacy": "one record",
        "sampler": "all",
        "randomness": "operating system",
        "labels": "none",
        "source": "declared private",
        "runs in the ledger of the data": "2, together epsilon 3.34",
        "audits": "none",
    }.items():
        assert f"\n| {name} | {value} |\n" in section
    for what in (
        "base model was trained on before",
        "that their ledger does not know of",
        "Several records of one person",
    ):
        assert what in section.split("What this does not cover:")[1]


def test_a_run_without_private_steps_says_nothing_of_privacy(folder: Path) -> None:
    (folder / "plain.yaml").write_text(
        RECIPE.replace("noisy: {data: {path: tickets.csv}}", "rows: {path: tickets.csv}")
    )
    result = ran("plain.yaml")
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert "privacy" not in manifest
    assert all("privacy" not in step for step in manifest["steps"])
    assert "rivacy" not in card_of(result)
    assert not_private(manifest) == ""


def test_nothing_that_is_published_tells_of_the_private_file(folder: Path) -> None:
    path = ran("demo.yaml").path
    digest, count = file_hash(folder / "tickets.csv"), len(SECRETS)
    exact = re.compile(rf"(?<![\w.-]){count}(?![\w-])")
    published = [file for pattern in PUBLISHED for file in path.glob(pattern)]
    assert len(published) >= 7
    for file in published:
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += json.dumps(pq.read_table(file).to_pylist()).encode()
        text = content.decode("utf-8", "replace")
        assert digest not in text, file
        assert not exact.search(text), file
        assert not any(secret in text for secret in SECRETS), file
        assert str(folder) not in text, file
    assert json.loads((path / "manifest.json").read_text())["files"] == {}


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["noisy.epsilon=null"], "epsilon is infinite, so there is no noise"),
        (["noisy.noise_seed=7"], "noise from a seed can be repeated"),
    ],
)
def test_rows_that_stay_private_are_marked_wherever_they_are_told_of(
    command: Command, folder: Path, overrides: list[str], why: str
) -> None:
    settings = [part for override in overrides for part in ("--set", override)]
    assert (
        f"note: NOT PRIVATE: what 'noisy' gives out stays private: {why}"
        in command("check", "alone.yaml", *settings).err
    )
    done = command("run", "alone.yaml", "--out", "run", *settings)
    assert done.code == 0
    marked = f"NOT PRIVATE: what 'noisy' gives out stays private: {why}. Do not share these rows."
    last = " ".join(done.out.split("\n\n")[-1].split())
    assert last.endswith(marked)
    assert f"privacy: noisy: this is NOT differentially private: {why}" in last
    assert marked in " ".join(command("show", "run").out.split())
    privacy = json.loads(Path("run/manifest.json").read_text())["privacy"]
    assert (privacy["output_private"], privacy["claims"][0]["private"]) == (True, False)
    card = Path("run/README.md").read_text()
    top = card.split("# demo\n\n")[1]
    assert top.startswith(f"**NOT PRIVATE:** {marked.removeprefix('NOT PRIVATE: ')}\n")
    assert "- differential-privacy" not in card
    assert "What this does not cover" not in card
    assert "| epsilon | infinite |" in card or overrides == ["noisy.noise_seed=7"]


def test_a_run_that_keeps_its_promise_says_so_and_is_not_marked(command: Command) -> None:
    done = command("run", "demo.yaml", "--out", "run")
    claim = "privacy: noisy: this is (2, 1e-05)-differentially private for adding or removing one record"
    assert " ".join(done.out.split()).endswith(claim)
    shown = command("show", "run").out
    assert claim in " ".join(shown.split())
    assert "NOT PRIVATE" not in done.out + shown
    assert "note:" not in command("check", "demo.yaml").err


def test_rows_that_stay_private_are_marked_when_they_are_exported(command: Command) -> None:
    command("run", "alone.yaml", "--out", "run", "--set", "noisy.epsilon=null")
    done = command("export", "run", "chat", "--instruction", "text", "--output", "text")
    assert done.code == 0
    assert done.err.startswith("NOT PRIVATE: what 'noisy' gives out stays private: epsilon is infinite")
    command("run", "alone.yaml", "--out", "sound")
    assert command("export", "sound", "other", "--instruction", "text", "--output", "text").err == ""


def test_public_rows_without_noise_are_marked_and_may_go_on(command: Command) -> None:
    done = command(
        "run", "demo.yaml", "--set", "noisy.epsilon=null", "--set", "noisy.data.private=false", "--out", "run"
    )
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert told.endswith("The rows that it read were declared public.")
    assert "NOT PRIVATE: 'noisy': epsilon is infinite" in told
    assert json.loads(Path("run/manifest.json").read_text())["privacy"]["output_private"] is False


def test_a_step_that_claims_nothing_releases_nothing(folder: Path) -> None:
    result = ran("demo.yaml", "noisy.claims=false")
    assert result.manifest["privacy"]["output_private"] is True
    assert "'noisy' has read private rows and claims no protection for them" in card_of(result).split("```python")[0]
    assert not (result.path / "artifacts/noisy/privacy.json").exists()


def test_a_step_that_is_told_to_read_nothing_need_not_claim_anything(folder: Path) -> None:
    result = ran("demo.yaml", "noisy.claims=false", "noisy.reads=false")
    assert result.manifest["privacy"] == {"output_private": False, "why": "", "claims": []}
    assert "## Privacy\n\nNo step has read private rows.\n" in card_of(result)


def test_a_claim_that_turns_out_not_to_be_private_holds_the_rows_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = private_pieces.claim
    monkeypatch.setattr(
        private_pieces,
        "claim",
        lambda *given: msgspec.structs.replace(made(*given), private=False, why_not="a step was not paid"),
    )
    privacy = ran("demo.yaml").manifest["privacy"]
    assert (privacy["output_private"], privacy["why"]) == (
        True,
        "what 'noisy' gives out stays private: a step was not paid",
    )


def audited(result: RunResult, *audits: Audit) -> Path:
    path = result.path / "artifacts/noisy/privacy.json"
    path.write_bytes(encoded(msgspec.structs.replace(decoded(path.read_bytes()), audits=audits)))
    return path


SOUND = Audit(kind="white-box", lower_bound=0.38, confidence=0.95, violation=False)
BROKEN = Audit(kind="white-box", lower_bound=3.75, confidence=0.95, violation=True)


def test_audits_stay_when_the_same_run_is_gone_through_again(folder: Path) -> None:
    path = audited(ran("demo.yaml"), SOUND)
    result = ran("demo.yaml")
    assert decoded(path.read_bytes()).audits == (SOUND,)
    card = card_of(result)
    assert "| audits | white-box: epsilon is at least 0.38 (confidence 95%) |" in card
    assert "an audit proves nothing safe" in card
    assert "NOT PRIVATE" not in card


def test_audits_of_another_run_are_not_taken_over(folder: Path) -> None:
    path = audited(ran("demo.yaml"), SOUND)
    path.write_bytes(encoded(msgspec.structs.replace(decoded(path.read_bytes()), run="another")))
    ran("demo.yaml")
    assert decoded(path.read_bytes()).audits == ()


def test_an_audit_that_contradicts_a_claim_is_told_at_the_top(folder: Path) -> None:
    audited(ran("demo.yaml"), SOUND, BROKEN)
    card = card_of(ran("demo.yaml"))
    assert "**NOT PRIVATE:** an audit found epsilon of 'noisy' to be at least 3.75" in card.split("```python")[0]
    assert "3.75 (confidence 95%), **which contradicts the claim**" in card


def test_a_claim_that_a_recipe_no_longer_makes_is_removed(folder: Path) -> None:
    path = ran("demo.yaml").path / "artifacts/noisy/privacy.json"
    assert path.exists()
    (folder / "demo.yaml").write_text(RECIPE.replace("noisy: {", "noisy: {name: other, "))
    factory.run("demo.yaml", "run", engine=Model(), progress=False, accept_changes=True)
    assert not path.exists()
    assert (folder / "run/artifacts/other/privacy.json").exists()


def test_a_run_that_is_judged_again_keeps_its_claim(folder: Path) -> None:
    first = ran("demo.yaml")
    again = refilter("run", "strict", [], progress=False)
    assert again.run.manifest["privacy"] == first.manifest["privacy"]
    assert (folder / "strict/artifacts/noisy/privacy.json").exists()


def test_no_way_to_load_a_recipe_leads_around_the_check(command: Command, folder: Path) -> None:
    command("run", "demo.yaml", "--out", "run")
    (folder / "bad.yaml").write_text(
        RECIPE.replace("{field: text}", "{field: text}\n  - decontaminate: {field: text, against: [tickets.csv]}")
    )
    against = "steps[2].decontaminate.against[0]: tickets.csv is private in the step 'noisy'"
    for line in (["check", "bad.yaml"], ["plan", "bad.yaml"], ["run", "bad.yaml", "--out", "bad"]):
        done = command(*line)
        assert (done.code, done.out) == (2, "")
        assert against in done.err
    assert not (folder / "bad").exists()
    done = command("refilter", "run", "--out", "new", "--set", "noisy.epsilon=null")
    assert done.code == 2
    assert "steps[1].exact: what 'noisy' gives out stays private" in done.err
    assert not (folder / "new").exists()


def test_an_unfinished_run_says_what_is_known_of_it(folder: Path) -> None:
    """Before its step has ended there is no claim, which is no fault yet."""
    recipe = factory.load_recipe("demo.yaml")
    stats = Stats(["noisy", "exact"])
    assert privacy(recipe, stats, finished=False) == {"output_private": False, "why": "", "claims": []}
    assert privacy(recipe, stats, finished=True)["output_private"] is True  # type: ignore[index]
    held = privacy(factory.load_recipe("alone.yaml", ["noisy.epsilon=null"]), stats, finished=False)
    assert held is not None
    assert held["output_private"] is True
