"""The training loop: Poisson sample, gradients one by one, clip, sum, noise, step; paid before it is done.

    outcome = train(tuning, examples, Plan(noise_multiplier=0.6, sample_rate=0.04, …), Payment(ledger, run), folder=…)
    outcome.spent      ->  60        steps that were paid, what epsilon is computed from

Before a step draws anything, the ledger has it on the disk; after it, the checkpoint has what came of it. A kill between the
two costs that step: it stays paid and is not done again, as its noise may have been seen. So a resumed run never pays less
than one that was not killed, and never more than was planned.

Nothing of what happens inside is told: losses, norms, sizes of batches and shares of clipped gradients are functions of the
private texts. Only the number of the step is shown.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from factory.errors import UserError
from factory.privacy.ledger import Ledger
from factory.privacy.objective import Example, MicroBatch, micro_batches
from factory.privacy.optimizer import PrivateOptimizer, private_optimizer
from factory.privacy.randomness import Randomness, poisson_sample
from factory.privacy.tuning import Tuning

CHECKPOINT = "private.safetensors"
CHECKPOINT_EVERY_S = 20.0
SMALL_BYTES = 32 * 2**20
SAY_S = 1.0
Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a training.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the clipping norm; 0 for none.
        sample_rate: Probability that a text takes part in a step.
        expected_batch: Texts that a step reads on average, by the public size.
        steps: How many.
        max_grad_norm: Clipping norm; infinite for none.
        learning_rate: Of Adam, at first.
        schedule: Whether it stays or falls to 0 in a line.
        micro_batch: Texts that are computed at once; it changes nothing of what is released.
    """

    noise_multiplier: float
    sample_rate: float
    expected_batch: float
    steps: int
    max_grad_norm: float
    learning_rate: float
    schedule: Literal["constant", "linear"] = "linear"
    micro_batch: int = 8

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        return self.learning_rate * (1 - step / self.steps if self.schedule == "linear" else 1.0)


class Payment(NamedTuple):
    """Who pays for the steps: a run in a ledger."""

    ledger: Ledger
    run: str

    @property
    def spent(self) -> int:
        """Steps that were paid so far."""
        found = self.ledger.find(self.run)
        return found.spent if found is not None else 0


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        spent: Steps that were paid, over all sessions.
        lost: Of these, steps whose result a kill took.
    """

    spent: int
    lost: int


def train(
    tuning: Tuning,
    examples: Sequence[Example],
    plan: Plan,
    payment: Payment,
    *,
    randomness: Randomness,
    folder: Path | None,
    say: Say,
    after_step: Callable[[int], None] | None = None,
) -> Outcome:
    """Train to the end; goes on from the checkpoint in the folder, if it is of the same run.

    Args:
        tuning: What is trained; holds the result.
        examples: All texts.
        plan: How.
        payment: Who pays; its run has begun.
        randomness: Where samples and noise come from.
        folder: For checkpoints; None keeps none.
        say: Told how far it is.
        after_step: Called with the number of steps paid; for looks at public texts.

    Raises:
        UserError: If the ledger cannot be written: then nothing more is done.
    """
    training = _Training(tuning, plan, payment, randomness, folder, say)
    while training.step < plan.steps:
        training.take(examples)
        if after_step is not None:
            after_step(training.step)
    training.finish()
    return Outcome(training.step, training.lost)


class _Training:
    """One session."""

    def __init__(
        self, tuning: Tuning, plan: Plan, payment: Payment, randomness: Randomness, folder: Path | None, say: Say
    ) -> None:
        self._tuning, self._plan, self._payment, self._randomness, self._say = tuning, plan, payment, randomness, say
        self._optimizer = _optimizer(tuning, plan, randomness)
        self._checkpoint = None if folder is None else Checkpoint(folder / CHECKPOINT, payment.run)
        self._began, self._said, self._saved = time.monotonic(), 0.0, time.monotonic()
        self._step_ended = self._began
        done, self.lost = 0, 0
        if self._checkpoint is not None:
            done, self.lost = self._checkpoint.load(tuning, self._optimizer)
        self.step = max(done, payment.spent)
        self.lost += self.step - done
        self._first = self.step
        if not self.step:
            self._save(at_once=True)  # what is there before any step was paid was never lost
        if done:
            say(f"training: going on from the checkpoint after step {done:,} of {plan.steps:,}")

    def take(self, examples: Sequence[Example]) -> None:
        """One step; on the disk as paid before anything is drawn."""
        self._payment.ledger.spend(self._payment.run, steps=1)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate(self.step)
        drawn = poisson_sample(len(examples), self._plan.sample_rate, self._randomness)
        for batch in micro_batches([examples[place] for place in drawn], self._plan.micro_batch):
            self._optimizer.accumulate(_own(self._tuning.gradients(batch.examples), batch), records=batch.records)
            self._tell()
        self._optimizer.release()
        self.step += 1
        self._step_ended = time.monotonic()
        self._tell()
        self._save()

    def finish(self) -> None:
        """Write the last checkpoint and what the ledger is to know."""
        self._save(at_once=True)
        self._payment.ledger.end(self._payment.run)
        self._say(f"training: {self.step:,} of {self._plan.steps:,} steps done")

    def _save(self, *, at_once: bool = False) -> None:
        if self._checkpoint is None:
            return
        small = sum(parameter.numel() for parameter in self._tuning.parameters.values()) * 12 <= SMALL_BYTES
        if at_once or small or time.monotonic() - self._saved >= CHECKPOINT_EVERY_S:
            self._checkpoint.save(self._tuning, self._optimizer, self.step, self.lost)
            self._saved = time.monotonic()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._said < SAY_S:
            return
        self._said = now
        done = self.step - self._first
        each = (self._step_ended - self._began) / done if done else math.nan
        left = (self._plan.steps - self.step) * each - (now - self._step_ended)
        estimate = f", about {_duration(max(0.0, left))} left" if done else ""
        self._say(f"training: step {min(self.step + 1, self._plan.steps):,} of {self._plan.steps:,}{estimate}")


class Checkpoint:
    """What a killed training goes on from: parameters, moments of the optimizer, steps; no state of a generator.

    Args:
        path: The file, written whole or not at all.
        run: The run that it belongs to; that of another is not taken up.
    """

    def __init__(self, path: Path, run: str) -> None:
        """Nothing is read yet."""
        self._path, self._run = path, run

    def save(self, tuning: Tuning, optimizer: PrivateOptimizer, step: int, lost: int) -> None:
        """Write it, and wait for the disk."""
        from safetensors.torch import save

        tensors = {f"parameter.{name}": _plain(each) for name, each in tuning.parameters.items()}
        for number, values in optimizer.original_optimizer.state_dict()["state"].items():
            tensors |= {f"moment.{number}.{key}": _plain(value) for key, value in values.items()}
        content = save(tensors, metadata={"run": self._run, "step": str(step), "lost": str(lost)})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        work = self._path.with_name(f".{self._path.name}.new")
        with work.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        work.replace(self._path)

    def load(self, tuning: Tuning, optimizer: PrivateOptimizer) -> tuple[int, int]:
        """Take up what it holds; the steps done and those lost before, 0 where there is none of this run."""
        import torch
        from safetensors import safe_open

        if not self._path.exists():
            return 0, 0
        with safe_open(self._path, framework="pt") as file:
            about = file.metadata()
            if about["run"] != self._run:
                return 0, 0
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
        with torch.no_grad():
            for name, parameter in tuning.parameters.items():
                parameter.copy_(found[f"parameter.{name}"])
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in found.items():
            kind, _, rest = name.partition(".")
            if kind == "moment":
                number, _, key = rest.partition(".")
                moments.setdefault(int(number), {})[key] = tensor
        inner = optimizer.original_optimizer
        inner.load_state_dict({**inner.state_dict(), "state": moments})
        return int(about["step"]), int(about["lost"])

    def remove(self) -> None:
        """Remove it, once what was trained is in the journal."""
        self._path.unlink(missing_ok=True)


def check_plan(plan: Plan, records: int) -> None:
    """Refuse what cannot be sound.

    Raises:
        UserError: If a step would read more texts than there are, or noise has nothing that bounds it.
    """
    if plan.expected_batch > records:
        raise UserError(
            f"batch_size: a step would read {plan.expected_batch:,.0f} texts on average, and there are {records:,}; "
            "lower batch_size, to a tenth of the texts or less for a useful epsilon."
        )
    if plan.noise_multiplier and math.isinf(plan.max_grad_norm):
        raise UserError("max_grad_norm: noise needs a clipping norm, which bounds what a text contributes.")


def drowning(plan: Plan, dimensions: int) -> float:
    """Length of the noise in a step over the most that the texts of an expected batch can add up to."""
    return plan.noise_multiplier * math.sqrt(dimensions) / plan.expected_batch


def _own(gradients: list[Any], batch: MicroBatch) -> list[Any]:
    """The gradients of the records that count, without those of copies.

    Raises:
        ValueError: If there is not one for each row: a layer that reads all tokens in one list, as some mixtures of experts
            have, gives one for each token, of which the first would be taken for those of records.
    """
    rows = len(batch.examples)
    if any(len(each) != rows for each in gradients):
        raise ValueError(
            f"expected a gradient for each of {rows} rows, found {sorted({len(each) for each in gradients})}"
        )
    return [each[: batch.records] for each in gradients]


def _optimizer(tuning: Tuning, plan: Plan, randomness: Randomness) -> PrivateOptimizer:
    import torch

    return private_optimizer(
        torch.optim.Adam(tuning.parameters.values(), lr=plan.learning_rate),
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.max_grad_norm,
        expected_batch=plan.expected_batch,
        randomness=randomness,
    )


def _plain(tensor: Any) -> Any:
    return tensor.detach().cpu().contiguous()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
