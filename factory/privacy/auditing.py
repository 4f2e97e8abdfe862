"""An audit of what trains: canaries go through the real loop, and whoever sees its noisy gradients guesses which took part.

    setting = setting_of(claim)                        # Setting(noise_multiplier=2.5, sample_rate=1.0, steps=1, …)
    play(setting, SecureRandomness(), delta=1e-5)      # Finding(claimed=1.57, bound=Bound(lower=0.31, …), …)

The sampler, the clipping, the noise, the ledger and the accountant are those of `training.train`; only the gradients are the
auditor's: a canary has all of its length, far above the clipping norm, in one number of its own (as the Dirac canaries of
Nasr et al. 2023, arXiv 2302.07956), so that no canary disturbs another, and noise that is the same for all numbers is seen.
As many numbers are trained as there are canaries, whatever the real shape has: clipping and noise know of no shape. Votes
(`private_evolution`) are audited in the same way: a canary votes for a candidate that nobody else votes for.

What it sees is noise that is missing or much too small, and clipping that is missing. What it does not see is half of the
noise, or a batch clipped as a whole: a bound from one run is loose (arXiv 2305.08846, section 6). The tests of sensitivity and
of noise see these. Nor can it see much where much is claimed: it takes as many steps as cost `MOST_EPSILON`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from factory.privacy.accounting import Mechanism, epsilon, gaussian_epsilon, sum_rdp_epsilon
from factory.privacy.claim import Claim
from factory.privacy.ledger import Ledger, Run
from factory.privacy.objective import Example
from factory.privacy.one_run import BOTH_SIDES_FROM, CONFIDENCE, Bound, bound, guess_counts
from factory.privacy.randomness import Floats, Randomness

CANARIES, MOST_CANARIES, VOTERS = 1000, 8000, 500
WANTED_PARTS = 200
LENGTH = 100.0  # of a canary's gradient, in clipping norms
MOST_EPSILON = 2.0
MOST_STEPS = 300
MOST_DELTA = 1e-5
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


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found.

    Attributes:
        bound: The lower bound.
        claimed: Epsilon of what was audited, by the accountant, from what the ledger has as paid.
        delta: Of both.
        steps: Steps that were audited.
        unpaid: Steps whose result was seen and that the ledger does not have.
    """

    bound: Bound
    claimed: float
    delta: float
    steps: int
    unpaid: int

    @property
    def violation(self) -> bool:
        """Whether more is given away than is claimed."""
        return self.bound.lower > self.claimed or self.unpaid > 0

    @property
    def blind(self) -> bool:
        """Whether the claim is so large that the audit could not have found anything."""
        return self.bound.ceiling <= self.claimed


def setting_of(claim: Claim, steps: int | None = None) -> Setting:
    """What of a claim is audited: its mechanism for as many of its steps as cost `MOST_EPSILON`, at least one.

    Args:
        claim: With noise.
        steps: So many steps instead, or all if there are fewer.
    """
    if steps is None:
        steps = _steps_within(claim, min(claim.steps, MOST_STEPS))
    steps = max(1, min(claim.steps, steps))
    share = taking_part(claim.sample_rate, steps)
    wanted = CANARIES if share >= BOTH_SIDES_FROM else max(CANARIES, math.ceil(2 * WANTED_PARTS / max(share, 1e-9)))
    most = min(MOST_CANARIES, claim.dimensions or MOST_CANARIES) if claim.max_grad_norm is not None else VOTERS
    return Setting(
        noise_multiplier=claim.noise_multiplier,
        max_grad_norm=claim.max_grad_norm,
        sample_rate=claim.sample_rate,
        expected_batch=claim.expected_batch or 1.0,
        steps=steps,
        canaries=min(wanted, most),
    )


def taking_part(sample_rate: float, steps: int) -> float:
    """Chance to be sampled at least once."""
    return 1 - (1 - sample_rate) ** steps


def play(
    setting: Setting, randomness: Randomness, *, delta: float, confidence: float = CONFIDENCE, game: Game | None = None
) -> Finding:
    """Audit once.

    Args:
        setting: What.
        randomness: Where coins, samples and noise come from.
        delta: Of the claim; a larger one than `MOST_DELTA` gives way to that, at which the accountant is asked as well.
        confidence: That the lower bound holds.
        game: What runs; the real training loop, or the real votes, by default.
    """
    included = randomness.uniforms(setting.canaries) < 0.5
    game = game or (vote_on_canaries if setting.max_grad_norm is None else train_on_canaries)
    played = game(setting, included, randomness)
    at = min(delta, MOST_DELTA)
    ways = guess_counts(setting.canaries, setting.share)
    return Finding(
        bound=bound(played.scores, included, delta=at, guesses=ways, confidence=confidence),
        claimed=epsilon([played.paid], at),
        delta=at,
        steps=setting.steps,
        unpaid=max(0, played.released - played.paid.steps),
    )


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
    with _ledger(setting) as (ledger, run), _seen_by(tuning):
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
        return list(found.split([parameter.numel() for parameter in self.parameters.values()], dim=1))

    def mean_gradients(self, examples: Sequence[Example], divisor: float) -> None:
        """Nothing: an audit trains in no other way."""

    def losses(self, examples: Sequence[Example]) -> Any:
        """Nothing: canaries have no loss."""

    def see(self, optimizer: Any) -> None:
        """Take down a noisy gradient before the optimizer uses it."""
        inside = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if all(id(parameter) in inside for parameter in self.parameters.values()):
            released = [parameter.grad.detach().numpy() for parameter in self.parameters.values()]
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


def _steps_within(claim: Claim, most: int) -> int:
    """Most steps whose epsilon is at most `MOST_EPSILON`, by a bound that takes milliseconds; 0 for none."""
    delta = min(claim.delta, MOST_DELTA)

    def cost(steps: int) -> float:
        if claim.sample_rate == 1:
            return gaussian_epsilon(claim.noise_multiplier, delta, steps=steps)
        done = Mechanism(noise_multiplier=claim.noise_multiplier, sample_rate=claim.sample_rate, steps=steps)
        return sum_rdp_epsilon([done], delta)

    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= MOST_EPSILON else (low, middle)
    return low
