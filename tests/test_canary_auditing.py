"""Canaries and the mechanism of whole runs of the methods that learn private texts, audited with the model that they trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.auditing import CANARIES, WHITE_BOX, audit
from factory.canary_auditing import losses_under
from factory.errors import UserError
from factory.privacy.base import load_base
from factory.privacy.canaries import draw, encoded
from factory.privacy.claim import decoded
from factory.privacy.objective import Encoder
from factory.privacy.randomness import SeededRandomness
from factory.privacy.scoring import losses
from factory.privacy.tuned.artifact import Artifact
from factory.privacy.tuned.folders import read
from factory.privacy.tuned.model import tuned

from .methods.private_text.small import CLASSES, METHODS, run, write
from .privacy.tiny import llama, saved, tokenizer

TEXTS = ["tulip anchor fox ledge", "x", "parcel number 7 zanzibar"]
LABELS = ["billing", "delivery", "delivery"]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_audited_with_what_it_has_trained(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    result = run(tmp_path, f"noise_multiplier: 2.5, classes: {CLASSES}", method=method)
    folder = result.path / "artifacts" / method
    drawn = draw(40, SeededRandomness(1), ["billing", "delivery"])
    (folder / "canaries.json").write_bytes(encoded(drawn))
    report = audit(result.path, seed=1)
    (step,) = report.steps
    assert not report.violation and step.recomputed == pytest.approx(step.claim.epsilon, abs=1e-9)
    assert [each.kind for each in step.found] == [WHITE_BOX, CANARIES]
    mechanism, memory = step.found
    assert mechanism.finding.steps == 4 and mechanism.finding.bound.canaries == step.claim.dimensions
    assert memory.remembered is not None and memory.remembered.taken_part == sum(each.included for each in drawn)
    assert memory.finding.bound.lower < 1
    assert {each.kind for each in decoded((folder / "privacy.json").read_bytes()).audits} == {WHITE_BOX, CANARIES}
    _losses_are_those_of_the_artifact(folder, tmp_path / "model")


def _losses_are_those_of_the_artifact(folder: Path, model: Path) -> None:
    artifact, found = read(folder), losses_under(folder, "model", None)(TEXTS, LABELS)
    encoder = Encoder(load_base(str(model), dtype="float32"), {}, 10)
    encoder.heads = {label: list(ids) for label, ids in artifact.about.heads.items()}
    examples = [encoder.encode(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]

    def under(trained: Artifact | None) -> list[float]:
        return [each.nats for each in losses(tuned(load_base(str(model), dtype="float32"), trained), examples)]

    assert found == pytest.approx(under(artifact), rel=1e-5)
    assert found != pytest.approx(under(None), rel=1e-5)


def test_another_model_another_class_and_no_artifact_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    folder = run(tmp_path, f"noise_multiplier: 0.5, classes: {CLASSES}").path / "artifacts/dp_prompt_tuning"
    with pytest.raises(UserError, match="knows no class 'spam'"):
        losses_under(folder, "model", None)(["x"], ["spam"])
    saved(tmp_path / "other")
    words = tokenizer(start=True)
    llama(len(words)).save_pretrained(tmp_path / "other")
    words.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="for another model"):
        losses_under(folder, "other", None)
    with pytest.raises(UserError, match="holds no soft prompt and no adapter"):
        losses_under(tmp_path, "model", None)
