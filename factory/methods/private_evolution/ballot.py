"""The private side: who votes, what a vote costs, and what may be claimed afterwards.

`await Ballot(ctx, options).votes(1, {"5f0c…": ["My parcel is late."], …}, {"5f0c…": "delivery", …})` gives the noisy votes of
the first round, `[3.917, …]`, from the journal where it holds them. Otherwise the step is written into the ledger beside
the private texts, the noise is drawn, and the votes are on the disk before anybody sees them. So they are never drawn
again. Nothing else that depends on private texts is kept: no vector of theirs, and no vote without noise.

A round whose step was paid and whose votes a kill has lost stays paid. It is not drawn anew: a run never spends more
steps than its recipe has rounds, because its epsilon is what somebody has agreed to; the evolution ends a round earlier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from factory import __version__
from factory.context import Context
from factory.context.making import Make, Say
from factory.context.private_again import remember_texts, require_same_texts
from factory.context.session import NotYetKnown
from factory.errors import OptionError, UserError
from factory.methods.private_evolution.budget import Budget
from factory.methods.private_evolution.options import Options
from factory.novelty.encoder import Encoder
from factory.privacy.claim import MOST_EPSILON, Claim, no_bound
from factory.privacy.ledger import Ledger, Run, composed
from factory.privacy.randomness import Randomness, SecureRandomness, SeededRandomness, geometric
from factory.privacy.voting import Vectors, noisy_votes
from factory.recipe.private import PrivateText, content_of
from factory.records import derive_seed, digest

VERSION = 1
SAID_EVERY = 64
EQUAL = "equal shares, which say nothing of the private texts"


class Ballot:
    """Votes of the private texts of a step.

    Attributes:
        budget: What each vote costs, and the public size that this follows from.
    """

    def __init__(self, ctx: Context, options: Options) -> None:
        """Read the private texts; nothing is spent yet."""
        self._ctx = ctx
        self._options = options
        self._texts = private_texts(options, ctx.base)
        self._ledger = self._of_the_texts()
        self._taken = 0
        self._encoder = Encoder(options.embedder, max_tokens=options.embedder_tokens)
        self._vectors: Vectors | None = None
        self._known: dict[tuple[str, ...], Vectors] = {}
        self._run = ""
        self._labels = "none" if options.classes is None else EQUAL if options.shares is None else "given by the recipe"
        self.budget = Budget.of(options, len(self._texts))
        said = options.model_dump(mode="json", exclude={"data", "name"})
        seed, model = ctx.session.seed, ctx.session.model
        self._content = content_of(self._texts)
        self._settings = digest("private settings", VERSION, said, ctx.step, seed, model)
        self._what = digest("private evolution", VERSION, self._content, said, ctx.step, seed, model)
        self._key = digest("private run", self._what)
        if ctx.session.journal.artifact(self._key) is None:
            self._check_unpaid()

    # --- the ledger ------------------------------------------------------------------------------------

    def _of_the_texts(self) -> Ledger:
        """Beside private texts; in the run directory for public ones, which nobody has to account for."""
        if self._options.data.private:
            return self._options.data.ledger_in(self._ctx.base)
        return Ledger((self._ctx.folder or self._ctx.base) / "ledger.jsonl")

    async def _begin(self) -> None:
        """Find the run of this directory in the journal, or begin one in the ledger."""
        if not self._run:
            session = self._ctx.session
            if session.asker is not None and session.journal.artifact(self._key) is None:
                require_same_texts(self._ctx, self._options.data, self._settings, self._content)
            self._run = (await self._once(self._key, lambda say: self._begun(), "run")).decode()
            remember_texts(self._ctx, self._settings, self._content)
            if unmarked := self._ledger.mark():
                self._ctx.note(unmarked)

    def _begun(self) -> bytes:
        self._check_unpaid()
        if not self._options.data.private:
            self._ledger.path.parent.mkdir(parents=True, exist_ok=True)
        return self._ledger.begin(self._planned()).encode()

    def _planned(self) -> Run:
        repeatable = not self._randomness().secure  # noise that can be repeated is none
        return Run(
            what=self._what,
            method=self._ctx.method,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            noise_multiplier=0.0 if repeatable else self.budget.noise,
            sample_rate=1.0,
            planned=self._options.rounds,
            unit=self._options.data.unit,
            again=self._options.data.again,
            where=self._ctx.run_directory,
        )

    def _pay(self, *, steps: int = 0, epsilon_counts: float = 0.0) -> None:
        if not self._options.data.private and self._ledger.find(self._run) is None:
            self._ledger.path.parent.mkdir(parents=True, exist_ok=True)
            self._ledger.begin(self._planned(), name=self._run)
        self._ledger.spend(self._run, steps=steps, epsilon_counts=epsilon_counts)

    def _check_unpaid(self) -> None:
        """Whether the same was paid for in another run directory.

        Raises:
            OptionError: If it was, and the recipe does not say that it may be paid for again.
        """
        paid = [run for run in self._ledger.runs() if run.what == self._what and run.paid]
        if paid and not self._options.data.again:
            raise OptionError(
                "data.again",
                f"this evolution was begun before ({paid[0].told}), and {paid[0].spent:,} of {paid[0].planned:,} votes are paid; "
                "go on there, or set 'data.again: true' to pay for it once more.",
            )

    def _in_ledger(self) -> Run:
        run = self._ledger.find(self._run)
        if run is None and not self._options.data.private:  # public texts: what lies in the run directory may be lost
            return msgspec.structs.replace(self._planned(), id=self._run, spent=self._taken)
        if run is None or (run.spent < self._taken and self._options.data.private):
            raise UserError(
                f"{self._ledger.path}: the run {self._run}, whose votes this run directory holds, is not {'all ' if run else ''}in "
                "the privacy ledger, so that nobody can say what was spent; restore the ledger from a copy."
            )
        return run

    async def _once(self, key: str, make: Make, kind: str) -> bytes:
        """An artifact that is paid for: never made where a run is only planned or judged again."""
        session = self._ctx.session
        if session.asker is None and session.journal.artifact(key) is None:
            raise NotYetKnown
        return await self._ctx.artifact(key, make, kind=kind)

    def _randomness(self, *use: object) -> Randomness:
        seed = self._options.noise_seed
        return SecureRandomness() if seed is None else SeededRandomness(derive_seed("noise", seed, *use))

    # --- what is released ------------------------------------------------------------------------------

    async def shares(self) -> dict[str, float]:
        """Share of each class in the rows."""
        labels = self._options.labels or [""]
        equal = dict.fromkeys(labels, 1.0)
        if self._options.label_counts is None:
            return self._options.shares or equal
        await self._begin()
        cost, key = self._options.label_counts.epsilon, digest("label counts", self._run)
        held = self._ctx.session.journal.artifact(key) is not None
        if not held and self._in_ledger().epsilon_counts:
            self._ctx.note("the counts of the classes were paid for and lost to a kill: the classes get equal shares")
            return equal
        counts = await self._once(key, lambda say: self._counts(cost, say), "counts")
        self._labels = f"counts with geometric noise, epsilon {cost:g}"
        found = {label: float(max(0, count)) for label, count in zip(labels, msgspec.json.decode(counts), strict=True)}
        return found if any(found.values()) else equal

    def _counts(self, cost: float, say: Say) -> bytes:
        """Counts of the classes with noise; one record more or less changes one of them by 1."""
        clean = [sum(text.label == label for text in self._texts) for label in self._options.labels]
        say("drawing noise")
        self._pay(epsilon_counts=cost)
        noise = geometric(1, cost, len(clean), self._randomness("counts"))
        return msgspec.json.encode([count + int(more) for count, more in zip(clean, noise, strict=True)])

    async def votes(
        self, number: int, shown: Mapping[str, Sequence[str]], labels: Mapping[str, str]
    ) -> list[float] | None:
        """Noisy votes for texts, in their order; None if this round's step was paid and its votes were lost.

        Args:
            number: Number of the round, from 1.
            shown: What each text is compared by: itself, or several variations of it.
            labels: Class of each text.
        """
        await self._begin()
        named = [[name, labels[name], *texts] for name, texts in shown.items()]
        key = digest("votes", self._run, number, named)
        held = self._ctx.session.journal.artifact(key) is not None
        if not held and self._in_ledger().spent >= self._options.rounds:
            return None
        value = await self._once(key, lambda say: self._voted(number, shown, labels, say), "votes")
        self._taken = number
        found: list[float] = msgspec.json.decode(value, type=list[float])
        return found

    def _voted(self, number: int, shown: Mapping[str, Sequence[str]], labels: Mapping[str, str], say: Say) -> bytes:
        def pay() -> None:
            say("drawing noise")  # not if nobody waits for it any more
            self._pay(steps=1)

        if self._vectors is None:
            self._vectors = self._embedded(say)
        say("comparing texts")
        candidates = np.stack([self._vector(tuple(texts)) for texts in shown.values()])
        votes = noisy_votes(
            self._vectors,
            [text.label for text in self._texts],
            candidates,
            [labels[name] for name in shown],
            nearest=self._options.nearest,
            noise=self.budget.noise,
            randomness=self._randomness("votes", number),
            pay=pay,
        )
        return msgspec.json.encode(votes)

    def _embedded(self, say: Say) -> Vectors:
        """Vectors of the private texts, each made by itself, so that none depends on another: [texts, dimensions]."""
        found = []
        for number, text in enumerate(self._texts):
            if number % SAID_EVERY == 0:
                say("embedding the private texts")
            found.append(self._encoder([text.text])[0])
        return np.stack(found)

    def _vector(self, texts: tuple[str, ...]) -> Vectors:
        """Unit vector of what a text is compared by: [dimensions]."""
        if texts not in self._known:
            mean = np.mean(self._encoder(texts), axis=0, dtype=np.float64)
            self._known[texts] = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
        return self._known[texts]

    # --- what may be said ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write into the ledger that the run has come to its end."""
        if self._run and self._ctx.session.asker is not None:
            run = self._ledger.find(self._run)
            if run is not None and not run.ended:
                self._ledger.end(self._run)

    def claim(self) -> Claim | None:
        """What may be said of everything that was spent; None where nothing was."""
        if not self._run:
            return None
        run, budget, data = self._in_ledger(), self.budget, self._options.data
        runs = [each for each in self._ledger.runs() if each.paid]
        together = composed(runs, budget.delta, unit=data.unit)
        spent = composed([run], budget.delta)
        why_not = released_as(self._options) or (no_bound(spent) if spent > MOST_EPSILON else "")
        return Claim(
            step=self._ctx.step,
            method=self._ctx.method,
            run=self._run,
            private=not why_not,
            why_not=why_not,
            epsilon=None if why_not else spent,
            delta=budget.delta,
            accountant="exact Gaussian",
            accountant_error=0.0,
            mechanism="votes for the nearest synthetic texts, each round a histogram with Gaussian noise",
            noise_multiplier=budget.noise,
            max_grad_norm=1.0,
            sample_rate=1.0,
            steps=run.spent,
            records=budget.size,
            records_policy=budget.policy,
            unit=data.unit,
            sampler="all records vote in every round",
            randomness=SecureRandomness.name if self._options.noise_seed is None else self._seeded_name(),
            labels=self._labels,
            epsilon_counts=run.epsilon_counts,
            trained="",
            expected_batch=float(budget.size),
            private_source=data.private,
            ledger_runs=max(1, len(runs)),
            ledger_epsilon=together if math.isfinite(together) else None,
            version=__version__,
        )

    def _seeded_name(self) -> str:
        return SeededRandomness(self._options.noise_seed or 0).name


def private_texts(options: Options, base: Path) -> list[PrivateText]:
    """The private texts of the classes.

    Raises:
        OptionError: If they cannot be read, or there are none.
    """
    texts = options.data.texts(base, options.labels)
    if not texts:
        raise OptionError("data", f"{options.data.path}: has no text in the column '{options.data.text}'.")
    return texts


def released_as(options: Options) -> str:
    """Why what comes out is not differentially private; empty if it is."""
    if options.epsilon == math.inf:
        return "epsilon is infinite: the votes have no noise"
    if options.noise_seed is not None:
        return "test mode: the noise comes from a seed and can be repeated"
    if options.epsilon is not None and options.epsilon > MOST_EPSILON:
        return no_bound(options.epsilon)
    return ""
