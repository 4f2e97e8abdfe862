"""`factory audit` as a user meets it: what is found, what is written where, one sentence for what cannot be audited."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import factory
from factory.auditing import ACCOUNTANT, CANARIES, WHITE_BOX, AuditReport, audit
from factory.claims import claims_of, not_private
from factory.errors import RunDirError, UserError
from factory.privacy import training
from factory.privacy.canaries import Canary, draw
from factory.privacy.canaries import encoded as as_file
from factory.privacy.claim import Audit, Claim, decoded
from factory.privacy.optimizer import private_optimizer
from factory.privacy.randomness import SeededRandomness
from factory.rundir import RunDir

from . import private_pieces
from .driver import Command, in_process
from .small_runs import Model

RECIPE = """\
name: demo
engine: {kind: scripted, script: script.json, model: m}
steps:
  - noisy: {data: {path: tickets.csv}}
"""
Change = Callable[[Claim], Claim]


def sound(claim: Claim) -> Claim:
    """What one step with this noise costs, at delta 1e-5."""
    return msgspec.structs.replace(
        claim, noise_multiplier=2.5, epsilon=1.5551, dimensions=2000, expected_batch=64.0, labels="equal shares"
    )


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs the small private step, with a claim of the test's."""
    private_pieces.register(monkeypatch)
    private_pieces.tickets(tmp_path / "tickets.csv")
    (tmp_path / "script.json").write_text('{"answers": ["a"]}')
    (tmp_path / "demo.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    claim = private_pieces.claim

    def make(change: Change = sound, *overrides: str) -> Path:
        monkeypatch.setattr(private_pieces, "claim", lambda *given: change(claim(*given)))
        return factory.run("demo.yaml", "run", overrides=overrides, engine=Model(), progress=False).path

    return make


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return in_process(tmp_path, monkeypatch, capsys)


def noise_off(optimizer: Any, **settings: Any) -> Any:
    return private_optimizer(optimizer, **(settings | {"noise_multiplier": 0.0}))


def claim_of(path: Path) -> Claim:
    return decoded((path / "artifacts/noisy/privacy.json").read_bytes())


def test_a_sound_claim_gets_a_lower_bound_everywhere_and_exit_code_0(
    made: Callable[..., Path], command: Command
) -> None:
    path = made()
    done = command("audit", path, "--seed", "1", "--json", "found.json")
    assert done.code == 0 and not done.err
    manifest = json.loads((path / "manifest.json").read_text())
    (found,) = claim_of(path).audits
    assert (found.kind, found.violation, found.steps, found.canaries) == (WHITE_BOX, False, 1, 1000)
    assert 0 < found.lower_bound < 1.5 and found.claimed == pytest.approx(1.555, abs=1e-3)
    assert claims_of(manifest)[0].audits == (found,)
    assert manifest["steps"][0]["privacy"]["audits"] == manifest["privacy"]["claims"][0]["audits"]
    assert f"white-box: epsilon of 1 step is at least {found.lower_bound:.2f}" in (path / "README.md").read_text()
    assert json.loads(Path("found.json").read_text())["violation"] is False
    text = " ".join(done.out.split())
    assert (
        "noisy claims (1.56, 1e-05)-differential privacy for adding or removing one record: 1 step, noise 2.5" in text
    )
    assert f"white-box, seed 1 {found.lower_bound:.2f} 1.56" in text
    assert "never shows that something is safe" in text and "does not see half of the noise" in text
    assert "VIOLATION" not in text


def test_a_fault_is_told_everywhere_and_ends_with_exit_code_5(
    made: Callable[..., Path], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made()
    monkeypatch.setattr(training, "private_optimizer", noise_off)
    done = command("audit", path, "--seed", "1")
    assert done.code == 5
    assert "VIOLATION: white-box: " in done.out and "Do not publish" in done.out
    assert claim_of(path).audits[0].violation
    assert "NOT PRIVATE" in (path / "README.md").read_text()
    assert "an audit found epsilon of 'noisy' to be at least" in not_private(RunDir(path).require_manifest())


def test_a_violation_stays_until_the_run_is_made_anew(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made()
    with monkeypatch.context() as patched:
        patched.setattr(training, "private_optimizer", noise_off)
        audit(path, seed=1)
    broken = claim_of(path).audits
    report = audit(path, seed=1)
    assert not report.violation
    assert claim_of(path).audits == broken
    audit(made(), seed=1)
    assert claim_of(path).audits == broken, "the journal gave the same run again"


def test_a_lower_bound_gives_way_to_a_later_one(made: Callable[..., Path]) -> None:
    path = made()
    bounds = {audit(path, seed=seed).steps[0].found[0].finding.bound.lower for seed in (1, 2)}
    assert len(claim_of(path).audits) == 1 and claim_of(path).audits[0].lower_bound in bounds


def test_several_audits_hold_together(made: Callable[..., Path]) -> None:
    path = made()
    report = audit(path, seed=5, repeats=3)
    found = report.steps[0].found
    assert [each.seed for each in found] == [5, 6, 7]
    assert {round(each.finding.bound.confidence, 6) for each in found} == {round(1 - 0.05 / 3, 6)}
    assert claim_of(path).audits[0].lower_bound == max(each.finding.bound.lower for each in found)


def test_the_same_seed_finds_the_same(made: Callable[..., Path]) -> None:
    path = made()
    assert audit(path, seed=3).steps[0].found == audit(path, seed=3).steps[0].found
    assert audit(path).steps[0].found[0].seed is None


def test_a_claim_below_what_was_done_is_a_violation(made: Callable[..., Path], command: Command) -> None:
    path = made(lambda claim: msgspec.structs.replace(sound(claim), epsilon=1.4))
    done = command("audit", path, "--seed", "1")
    assert done.code == 5
    assert "the claim says 1.4, and what it says was done costs 1.56" in " ".join(done.out.split())
    assert [each.kind for each in claim_of(path).audits] == [WHITE_BOX, ACCOUNTANT]
    assert not_private(RunDir(path).require_manifest())


def test_the_epsilon_of_counts_is_part_of_what_is_claimed(made: Callable[..., Path]) -> None:
    path = made(lambda claim: msgspec.structs.replace(sound(claim), epsilon=2.0551, epsilon_counts=0.5))
    assert not audit(path, seed=1).violation
    path = made(lambda claim: msgspec.structs.replace(sound(claim), epsilon_counts=0.5))
    assert audit(path, seed=1).violation


def test_where_the_audit_can_see_nothing_it_says_so(made: Callable[..., Path], command: Command) -> None:
    path = made(lambda claim: msgspec.structs.replace(sound(claim), noise_multiplier=0.4, epsilon=14.0))
    done = command("audit", path)
    assert done.code == 0
    assert "here it cannot see a fault" in " ".join(done.out.split())


def test_a_part_of_many_steps_is_audited_and_told(made: Callable[..., Path], command: Command) -> None:
    path = made(lambda claim: msgspec.structs.replace(sound(claim), steps=40, epsilon=14.0))
    text = " ".join(command("audit", path, "--seed", "1").out.split())
    assert "1 of 40 steps were audited" in text
    text = " ".join(command("audit", path, "--seed", "1", "--steps", "3").out.split())
    assert "3 of 40 steps were audited" in text


def test_an_infinite_epsilon_is_nothing_to_audit(made: Callable[..., Path], command: Command) -> None:
    path = made(lambda claim: claim, "noisy.epsilon=null")
    done = command("audit", path)
    assert done.code == 0
    assert "noisy claims no finite epsilon (epsilon is infinite, so there is no noise): nothing to audit." in " ".join(
        done.out.split()
    )
    assert claim_of(path).audits == ()


def test_a_run_that_claims_nothing_is_refused(made: Callable[..., Path], tmp_path: Path, command: Command) -> None:
    (tmp_path / "demo.yaml").write_text(RECIPE.replace("noisy: {data: {path: tickets.csv}}", "rows: {path: b.jsonl}"))
    (tmp_path / "b.jsonl").write_text('{"text": "a"}\n')
    path = factory.run("demo.yaml", "other", engine=Model(), progress=False).path
    done = command("audit", path)
    assert done.code == 2 and "no step of this run claims differential privacy" in done.err
    assert command("audit", "nowhere").code == 2


def test_damaged_and_changed_claims_are_refused(made: Callable[..., Path]) -> None:
    path = made()
    file = path / "artifacts/noisy/privacy.json"
    whole = file.read_text()
    file.write_text(whole.replace("1.5551", "0.5"))
    with pytest.raises(RunDirError, match="differs from the claim in the manifest"):
        audit(path)
    file.write_text(whole[:40])
    with pytest.raises(RunDirError, match="cannot be read"):
        audit(path)
    file.write_text(whole.replace('"format": 1', '"format": 2'))
    with pytest.raises(RunDirError, match="another version"):
        audit(path)


def test_a_run_in_use_is_left_alone(made: Callable[..., Path]) -> None:
    path = made()
    with RunDir(path).locked(), pytest.raises(RunDirError, match="another process"):
        audit(path)


def test_strange_numbers_are_refused(made: Callable[..., Path], command: Command) -> None:
    path = made()
    assert command("audit", path, "--steps", "0").code == 2
    with pytest.raises(UserError):
        audit(path, repeats=0)
    (path / "mine.json").write_text("{}")
    assert command("audit", path, "--json", path / "mine.json").code == 2


# --- canaries of the training -------------------------------------------------------------------------


def with_canaries(path: Path, count: int = 400) -> list[Canary]:
    drawn = draw(count, SeededRandomness(3))
    (path / "artifacts/noisy/canaries.json").write_bytes(as_file(drawn))
    return drawn


def scorer_of(drawn: Sequence[Canary], remembers: bool) -> Callable[..., list[float]]:
    """Losses of a model that remembers what it was trained on, or nothing."""
    inside = {canary.text for canary in drawn if canary.included}
    noise = SeededRandomness(4)

    def score(texts: Sequence[str], labels: Sequence[str]) -> list[float]:
        assert set(labels) == {""}
        known = [1.0 if remembers and text in inside else 5.0 for text in texts]
        return [loss + each / 2 for loss, each in zip(known, noise.normals(len(texts)), strict=True)]

    return score


def test_a_model_that_remembers_its_canaries_violates_the_claim(made: Callable[..., Path]) -> None:
    path = made()
    report = audit(path, seed=1, scorer=scorer_of(with_canaries(path), remembers=True))
    found = next(each for each in report.steps[0].found if each.kind == CANARIES)
    assert found.remembered is not None and found.remembered.mean > 7
    assert found.finding.violation and report.exit_code == 5
    assert [each.kind for each in claim_of(path).audits if each.violation] == [CANARIES]


def test_a_model_that_remembers_nothing_shows_the_exposure_of_chance(
    made: Callable[..., Path], command: Command
) -> None:
    path = made()
    report = audit(path, seed=1, scorer=scorer_of(with_canaries(path), remembers=False))
    found = next(each for each in report.steps[0].found if each.kind == CANARIES)
    assert found.remembered is not None and 1.1 < found.remembered.mean < 1.8
    assert found.finding.bound.lower < 0.5 and not report.violation


def test_who_took_part_is_told_nowhere(made: Callable[..., Path], tmp_path: Path) -> None:
    path = made()
    drawn = with_canaries(path)
    report = audit(path, seed=1, scorer=scorer_of(drawn, remembers=False))
    factory.auditing.write(report, tmp_path / "found.json")
    told = [tmp_path / "found.json", path / "README.md", path / "manifest.json", path / "artifacts/noisy/privacy.json"]
    for file in told:
        assert not any(canary.text in file.read_text() for canary in drawn)


def test_canaries_may_be_left_out_and_broken_files_are_refused(made: Callable[..., Path]) -> None:
    path = made()
    (path / "artifacts/noisy/canaries.json").write_text("[")
    with pytest.raises(RunDirError, match="the canaries cannot be read"):
        audit(path, seed=1)
    assert not audit(path, seed=1, canaries=False).violation
    (path / "artifacts/noisy/canaries.json").write_bytes(as_file([Canary("tulip", included=False)]))
    with pytest.raises(RunDirError, match="no canary took part"):
        audit(path, seed=1)


def test_the_function_is_public() -> None:
    assert factory.audit is audit and factory.AuditReport is AuditReport
    assert Audit(kind="white-box", lower_bound=0.1, confidence=0.95, violation=False).claimed is None
