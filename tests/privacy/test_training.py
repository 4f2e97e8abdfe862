"""The training loop: what is paid, what a kill costs, what is told; with the faults that these tests are to find."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from factory.errors import UserError
from factory.privacy import training
from factory.privacy.accounting import Mechanism, epsilon
from factory.privacy.ledger import Ledger, Run
from factory.privacy.objective import Encoder, Example
from factory.privacy.randomness import SecureRandomness, SeededRandomness
from factory.privacy.training import CHECKPOINT, Checkpoint, Outcome, Payment, Plan, check_plan, drowning, train
from factory.privacy.tuning import PromptTuning

from .tiny import TEXTS, base

PLAN = Plan(
    noise_multiplier=0.8,
    sample_rate=0.3,
    expected_batch=3.6,
    steps=6,
    max_grad_norm=0.1,
    learning_rate=0.05,
    micro_batch=2,
)
DELTA = 1e-5


class Killed(Exception):
    """Stands for a kill: nothing after it runs."""


def _tuning() -> Any:
    return PromptTuning(base(), tokens=4, initial="hello world", scale=16.0)


def _examples(tuning: Any) -> list[Example]:
    encoder = Encoder(tuning._base, {"": "Say: "}, 16, 4)
    return [encoder.encode(text, "") for text in TEXTS * 2]


def _payment(folder: Path, plan: Plan = PLAN) -> Payment:
    ledger = Ledger(folder / "texts.csv.privacy.jsonl")
    run = Run(
        what=f"w{len(ledger.runs())}", method="m", at="now", noise_multiplier=plan.noise_multiplier, sample_rate=plan.sample_rate,
        planned=plan.steps,
    )  # fmt: skip
    return Payment(ledger, ledger.begin(run))


def _train(
    folder: Path,
    payment: Payment,
    plan: Plan = PLAN,
    *,
    tuning: Any = None,
    randomness: Any = None,
    after_step: Callable[[int], None] | None = None,
    said: list[str] | None = None,
) -> tuple[Any, Outcome]:
    tuning = tuning or _tuning()
    outcome = train(
        tuning,
        _examples(tuning),
        plan,
        payment,
        randomness=randomness or SecureRandomness(),
        folder=folder,
        say=(said if said is not None else []).append,
        after_step=after_step,
    )
    return tuning, outcome


def test_every_step_is_paid_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    payment, tuning = _payment(tmp_path), _tuning()
    model = tuning._base.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start = tuning.prompt.detach().clone()
    _, outcome = _train(tmp_path, payment, tuning=tuning)
    assert outcome == Outcome(spent=PLAN.steps, lost=0)
    assert payment.spent == PLAN.steps
    assert payment.ledger.runs()[0].ended
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not torch.equal(start, tuning.prompt)


def test_a_step_is_on_the_disk_before_anything_is_drawn(tmp_path: Path) -> None:
    payment = _payment(tmp_path)
    seen: list[int] = []

    class Watching(SecureRandomness):
        def uniforms(self, count: int) -> Any:
            seen.append(payment.spent)
            return super().uniforms(count)

    _train(tmp_path, payment, randomness=Watching())
    assert seen[0] == 1, "the first draw came before its step was paid"
    assert sorted(set(seen)) == list(range(1, PLAN.steps + 1))


@pytest.mark.parametrize("at", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("where", ["drawing", "after the step"])
def test_a_killed_run_goes_on_and_pays_neither_less_nor_more(tmp_path: Path, at: int, where: str) -> None:
    """Killed in a step that is paid: the step is lost and counts. Epsilon is that of the whole run, never smaller."""
    payment = _payment(tmp_path)

    class Dying(SecureRandomness):
        def normals(self, count: int) -> Any:
            if payment.spent == at and where == "drawing":
                raise Killed
            return super().normals(count)

    def after(step: int) -> None:
        if step == at and where != "drawing":
            raise Killed

    with pytest.raises(Killed):
        _train(tmp_path, payment, randomness=Dying(), after_step=after)
    said: list[str] = []
    _, outcome = _train(tmp_path, payment, said=said)
    lost = 1 if where == "drawing" else 0
    assert outcome == Outcome(spent=PLAN.steps, lost=lost)
    assert payment.spent == PLAN.steps
    whole = epsilon([Mechanism(noise_multiplier=0.8, sample_rate=0.3, steps=PLAN.steps)], DELTA)
    assert payment.ledger.epsilon(DELTA) >= whole
    if at - lost > 0:
        assert any("going on from the checkpoint" in sentence for sentence in said)


def _spent_after_a_kill(folder: Path) -> int:
    """Killed in the third step, which is paid; then to the end: steps that the ledger has."""
    payment = _payment(folder)

    class Dying(SecureRandomness):
        def normals(self, count: int) -> Any:
            if payment.spent == 3:
                raise Killed
            return super().normals(count)

    with pytest.raises(Killed):
        _train(folder, payment, randomness=Dying())
    _train(folder, payment)
    return payment.spent


def test_a_resume_that_forgets_steps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: going on from the checkpoint alone; the lost step is taken once more, and the ledger shows it."""
    (tmp_path / "sound").mkdir()
    (tmp_path / "forgetful").mkdir()
    assert _spent_after_a_kill(tmp_path / "sound") == PLAN.steps
    plain = training._Training.__init__

    def forgetful(self: Any, *given: Any) -> None:
        plain(self, *given)
        self.step -= self.lost

    monkeypatch.setattr(training._Training, "__init__", forgetful)
    assert _spent_after_a_kill(tmp_path / "forgetful") == PLAN.steps + 1


def test_a_resumed_run_draws_new_noise(tmp_path: Path) -> None:
    """The same checkpoint twice, and the results differ: no generator is stored or seeded anew."""
    results = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        payment = _payment(folder)
        tuning, _ = _train(folder, payment, msgspec.structs.replace(PLAN, steps=1))
        results.append(tuning.prompt.detach().clone())
    assert not torch.equal(results[0], results[1])


def test_the_checkpoint_holds_the_moments_of_the_optimizer(tmp_path: Path) -> None:
    """With the same numbers, a run that was interrupted ends where one ends that was not."""
    ends = []
    for interrupted in (False, True):
        folder = tmp_path / str(interrupted)
        folder.mkdir()
        payment = _payment(folder)
        randomness = SeededRandomness(5)

        def stop(step: int, interrupted: bool = interrupted) -> None:
            if interrupted and step == 3:
                raise Killed

        try:
            tuning, _ = _train(folder, payment, randomness=randomness, after_step=stop)
        except Killed:
            tuning, _ = _train(folder, payment, randomness=randomness)
        ends.append(tuning.prompt.detach())
    assert torch.equal(ends[0], ends[1])


def test_another_runs_checkpoint_is_not_taken_up(tmp_path: Path) -> None:
    _train(tmp_path, _payment(tmp_path))
    other = _payment(tmp_path)
    _, outcome = _train(tmp_path, other)
    assert outcome == Outcome(spent=PLAN.steps, lost=0)
    assert [run.spent for run in other.ledger.runs()] == [PLAN.steps, PLAN.steps]


def test_an_empty_sample_is_a_noisy_paid_step(tmp_path: Path) -> None:
    """A language model cannot read a batch of no row, and a step without noise would say that the sample was empty."""
    payment, plan = _payment(tmp_path), msgspec.structs.replace(PLAN, sample_rate=1e-12, steps=2)
    tuning = _tuning()
    start = tuning.prompt.detach().clone()
    _train(tmp_path, payment, plan, tuning=tuning)
    assert payment.spent == 2
    assert not torch.equal(start, tuning.prompt)


def test_the_size_of_micro_batches_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for size in (1, 2, 12):
        folder = tmp_path / str(size)
        folder.mkdir()
        plan = msgspec.structs.replace(PLAN, micro_batch=size)
        tuning, _ = _train(folder, _payment(folder), plan, randomness=SeededRandomness(5))
        ends.append(tuning.prompt.detach())
    assert all(torch.allclose(ends[0], end, atol=1e-4) for end in ends)
    start = _tuning().prompt.detach()
    assert float((ends[0] - start).abs().max()) > 0.01


def test_nothing_of_the_texts_is_told(tmp_path: Path) -> None:
    """The same sentences whatever the texts are, but for the time left."""
    said: list[str] = []
    _train(tmp_path, _payment(tmp_path), said=said)
    assert said
    for sentence in said:
        words = sentence.partition(", about")[0]
        assert words.startswith("training: "), sentence
        numbers = {word for word in words.replace(",", "").split() if word.replace(".", "").isdigit()}
        assert numbers <= {str(number) for number in range(PLAN.steps + 1)}, sentence


def test_the_time_left_does_not_grow_within_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of many texts says its number again and again while it lasts."""
    clock = iter(range(10**6))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(training, "SAY_S", 0.0)
    said: list[str] = []
    _train(tmp_path, _payment(tmp_path), said=said)
    left: dict[str, list[float]] = {}
    for sentence in said:
        if found := re.search(r"step (\d+) of 6, about (\d+) s left", sentence):
            left.setdefault(found[1], []).append(float(found[2]))
    assert any(len(each) > 2 for each in left.values())
    for each in left.values():
        assert each[1:] == sorted(each[1:], reverse=True), left


def test_without_noise_it_learns_and_stays_without_clipping(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(
        PLAN, noise_multiplier=0.0, max_grad_norm=math.inf, sample_rate=1.0, expected_batch=12.0, steps=12
    )
    tuning = _tuning()
    before = float(tuning.losses(_examples(tuning)).mean())
    _train(tmp_path, _payment(tmp_path, plan), plan, tuning=tuning)
    assert float(tuning.losses(_examples(tuning)).mean()) < before - 0.05


def test_one_broken_gradient_changes_no_more_than_any_other(tmp_path: Path) -> None:
    """NaN in one text: the others' contributions stay as they are, and it has none."""

    def moved(broken: bool) -> Any:
        tuning = _tuning()
        plain = tuning.gradients

        def gradients(examples: list[Example]) -> list[Any]:
            (found,) = plain(examples)
            marked = [number for number, example in enumerate(examples) if example.text == first]
            found[marked] = math.nan if broken else 0.0
            return [found]

        first = _examples(tuning)[0].text
        tuning.gradients = gradients
        folder = tmp_path / str(broken)
        folder.mkdir()
        plan = msgspec.structs.replace(PLAN, sample_rate=1.0, expected_batch=12.0)
        _train(folder, _payment(folder, plan), plan, tuning=tuning, randomness=SeededRandomness(2))
        return tuning.prompt.detach()

    found = moved(True)
    assert torch.isfinite(found).all()
    assert torch.equal(found, moved(False))


def test_when_the_ledger_cannot_be_written_nothing_is_drawn(tmp_path: Path) -> None:
    payment = _payment(tmp_path)
    payment.ledger.path.unlink()
    payment.ledger.path.mkdir()

    class Never(SecureRandomness):
        def uniforms(self, count: int) -> Any:
            raise AssertionError("drawn without being paid")

    with pytest.raises(UserError, match="ledger cannot be"):
        _train(tmp_path, payment, randomness=Never())


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    payment = _payment(tmp_path)
    _train(tmp_path, payment)
    assert (tmp_path / CHECKPOINT).exists()
    assert not list(tmp_path.glob(".*new"))
    Checkpoint(tmp_path / CHECKPOINT, payment.run).remove()
    assert not (tmp_path / CHECKPOINT).exists()


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="there are 3"):
        check_plan(PLAN, 3)
    with pytest.raises(UserError, match="clipping norm"):
        check_plan(msgspec.structs.replace(PLAN, max_grad_norm=math.inf), 100)
    check_plan(PLAN, 12)
    assert drowning(PLAN, 128) == pytest.approx(0.8 * math.sqrt(128) / 3.6)


def test_the_rate_falls_in_a_line() -> None:
    rates = [PLAN.rate(step) for step in range(PLAN.steps)]
    assert rates[0] == PLAN.learning_rate
    assert np.allclose(np.diff(rates), -PLAN.learning_rate / PLAN.steps)
    assert msgspec.structs.replace(PLAN, schedule="constant").rate(5) == PLAN.learning_rate


def test_gradients_of_tokens_are_not_taken_for_those_of_records(tmp_path: Path) -> None:
    """As layers give them that read all tokens in one list: the first of them would be cut out as if they were records'."""
    tuning = _tuning()
    plain = tuning.gradients
    tuning.gradients = lambda examples: [each.repeat_interleave(16, dim=0) for each in plain(examples)]
    with pytest.raises(ValueError, match="a gradient for each of 2 rows"):
        _train(tmp_path, _payment(tmp_path), tuning=tuning)


def test_a_kill_before_the_first_step_ended_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    """Steps that a kill took are lost; what was there before any of them is not."""
    tuning = _tuning()
    payment = _payment(tmp_path)

    class Dies:
        """Stands for a kill in the middle of the first step."""

        name = "dies"

        def __getattr__(self, _: str) -> Any:
            raise Killed

    with pytest.raises(Killed):
        _train(tmp_path, payment, tuning=tuning, randomness=Dies())
    assert payment.spent == 1
    assert (tmp_path / CHECKPOINT).exists()
    assert _train(tmp_path, payment)[1].lost == 1
