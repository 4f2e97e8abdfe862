"""The games of an audit: canaries that go through the real training loop, or the real votes, and what is seen of them.

    played = train_on_canaries(Setting(noise_multiplier=2.5, sample_rate=1.0, steps=1, canaries=1000, …), included, randomness)
    played.scores          # [1000]: what the noisy gradients, summed, have of each canary
    played.paid            # Mechanism(noise_multiplier=2.5, sample_rate=1.0, steps=1), by the ledger

A canary has all of its length, far above the clipping norm, in one number of its own (as the Dirac canaries of Nasr et al.
2023, arXiv 2302.07956), so that no canary disturbs another, and noise that is the same for all numbers is seen. As many
numbers are trained as there are canaries, whatever the real shape has: clipping and noise know of no shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from factory.privacy.accounting import Mechanism
from factory.privacy.ledger import Ledger, Run
from factory.privacy.objective import Example
from factory.privacy.randomness import Floats, Randomness

LENGTH = 100.0  # of a canary's gradient, in clipping norms
_ROWS = 256


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is audited.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        max_grad_norm: Clipping norm; None for votes, of which each record has one.
        sample_rate: Probability that a record takes part in a step.
        expected_batch: What the sum of a step is divided by.
        steps: How many.
        canaries: How many; also the numbers that are trained.
    """

    noise_multiplier: float
    max_grad_norm: float | None
    sample_rate: float
    expected_batch: float
    steps: int
    canaries: int

    @property
    def share(self) -> float:
        """Chance that a canary whose coin says so takes part at least once."""
        return taking_part(self.sample_rate, self.steps)


class Played(NamedTuple):
    """What came of it.

    Attributes:
        scores: Of each canary: the sum of its number over all noisy gradients.
        released: Noisy gradients that were seen.
        paid: What the ledger has of it.
    """

    scores: Floats
    released: int
    paid: Mechanism


Game = Callable[[Setting, npt.NDArray[np.bool_], Randomness], Played]


def taking_part(sample_rate: float, steps: int) -> float:
    """Chance to be sampled at least once."""
    return 1 - (1 - sample_rate) ** steps


def train_on_canaries(setting: Setting, included: npt.NDArray[np.bool_], randomness: Randomness) -> Played:
    """Put the canaries that take part through the real training loop."""
    from factory.privacy.training import Payment, Plan, train

    tuning = CanaryTuning(setting)
    examples = [Example([], [int(place)]) for place in np.flatnonzero(included)]
    plan = Plan(
        noise_multiplier=setting.noise_multiplier,
        sample_rate=setting.sample_rate,
        expected_batch=setting.expected_batch,
        steps=setting.steps,
        max_grad_norm=setting.max_grad_norm or 1.0,
        learning_rate=1e-3,
        micro_batch=_ROWS,
    )
    with _ledger(setting) as (ledger, run), _seen_by(tuning), _one_thread():
        train(tuning, examples, plan, Payment(ledger, run), randomness=randomness, folder=None, say=lambda _: None)
        paid = _paid(ledger, run)
    return Played(tuning.scores, tuning.releases, paid)


def vote_on_canaries(setting: Setting, included: npt.NDArray[np.bool_], randomness: Randomness) -> Played:
    """Let the canaries that take part vote, each for a candidate that is like it alone."""
    from factory.privacy.voting import noisy_votes

    candidates = np.eye(setting.canaries, dtype=np.float32)
    scores = np.zeros(setting.canaries)
    with _ledger(setting) as (ledger, run):
        for _ in range(setting.steps):
            scores += noisy_votes(
                candidates[included],
                [""] * int(included.sum()),
                candidates,
                [""] * len(candidates),
                nearest=1,
                noise=setting.noise_multiplier,
                randomness=randomness,
                pay=lambda: ledger.spend(run, steps=1),
            )
        paid = _paid(ledger, run)
    return Played(scores, setting.steps, paid)


class CanaryTuning:
    """Something that is trained, and whose gradients are canaries; half of its numbers in one parameter, half in another.

    An example names its canary by its only token.
    """

    about = "canaries"

    def __init__(self, setting: Setting) -> None:
        """All zeros."""
        import torch

        sizes = (setting.canaries // 2, setting.canaries - setting.canaries // 2)
        names = ("first", "second")
        self.parameters = {name: torch.nn.Parameter(torch.zeros(size)) for name, size in zip(names, sizes, strict=True)}
        self.scores: Floats = np.zeros(setting.canaries)
        self.releases = 0
        self._length = LENGTH * (setting.max_grad_norm or 1.0)

    def gradients(self, examples: Sequence[Example]) -> list[Any]:
        """A canary's gradient: its whole length in one number."""
        import torch

        found = torch.zeros((len(examples), len(self.scores)))
        found[torch.arange(len(examples)), torch.tensor([example.text[0] for example in examples])] = self._length
        half = len(self.scores) // 2
        return [found[:, :half], found[:, half:]]

    def mean_gradients(self, examples: Sequence[Example], divisor: float) -> None:
        """Nothing: an audit trains in no other way."""

    def losses(self, examples: Sequence[Example]) -> Any:
        """Nothing: canaries have no loss."""

    def see(self, optimizer: Any) -> None:
        """Take down a noisy gradient before the optimizer uses it."""
        inside = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if all(id(parameter) in inside for parameter in self.parameters.values()):
            released = [np.asarray(parameter.grad) for parameter in self.parameters.values()]
            self.scores += np.concatenate(released)
            self.releases += 1


@contextmanager
def _seen_by(tuning: CanaryTuning) -> Iterator[None]:
    """Let the auditor see each gradient that is handed to the optimizer inside."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: tuning.see(optimizer))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _one_thread() -> Iterator[None]:
    """So few numbers are computed at once that threads would wait for each other for longer than they work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _ledger(setting: Setting) -> Iterator[tuple[Ledger, str]]:
    """A ledger of the audit's own, with a run that has begun."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "audit.privacy.jsonl")
        run = Run(
            what="audit",
            method="audit",
            at="",
            noise_multiplier=setting.noise_multiplier,
            sample_rate=setting.sample_rate,
            planned=setting.steps,
        )
        yield ledger, ledger.begin(run)


def _paid(ledger: Ledger, run: str) -> Mechanism:
    return next(each.mechanism for each in ledger.runs() if each.id == run)
