"""The loop of the methods that learn private texts: pay, train once, write batch by batch, claim what was done.

`write_private(records, ctx, options, maker)` passes on what comes in, trains (or finds what was trained in the journal),
writes until there are as many texts as were asked for, and says what they cost. The private texts never become records. What
is told of them is their number as far as it may be known, and what came out of the noise.

The run has a random id in the ledger; ids of what is published derive from it. Keys of the journal derive from the texts too,
so that other texts are never taken for learnt; the journal is not part of a dataset.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from factory.context.context import Context
from factory.context.making import Make
from factory.context.private_again import remember_texts, require_same_texts
from factory.context.private_claim import Learnt, claim_of, paid_of, tell
from factory.context.private_maker import Head, Maker, Say, Training, Writer, heads_of
from factory.context.private_options import (
    PrivateTextOptions,
    delta_of,
    training_epsilon,
)
from factory.context.session import NotYetKnown
from factory.datasets_io.whole import write_whole
from factory.engines.protocol import Sampling
from factory.errors import OptionError, UserError
from factory.privacy.accounting import noise_for
from factory.privacy.canaries import FILE as CANARIES_FILE
from factory.privacy.canaries import decoded as decoded_canaries
from factory.privacy.canaries import draw
from factory.privacy.canaries import encoded as encoded_canaries
from factory.privacy.claim import Claim
from factory.privacy.ledger import Ledger, Run
from factory.privacy.randomness import Randomness, SecureRandomness, SeededRandomness, geometric
from factory.privacy.tuned.drawing import Drawn
from factory.prompts import Prompt
from factory.recipe.private import PrivateText, content_of
from factory.records import Outcome, Provenance, Record, Unknown, derive_seed, derived_id, digest, reject

FORMAT = 1
MOST_TRIES = 20
RULE = "private_text"
UNTRAINED = "untrained"
LOST_TOO_MUCH = 0.5


async def write_private(
    records: AsyncIterator[Record], ctx: Context, options: PrivateTextOptions, maker: Maker, head: Prompt
) -> AsyncIterator[Outcome]:
    """Yield what comes in, then as many texts as are asked for.

    Raises:
        UserError: If the texts cannot be learnt, or were paid for already.
    """
    async for record in records:
        yield record
    writing = _Writing(ctx, options, maker, heads_of(options, head))
    try:
        async for outcome in writing.texts():
            yield outcome
    except NotYetKnown:
        left = writing.wanted - writing.given
        ctx.note("training and writing ask no language model through the engine; a plan knows no time for it")
        ctx.forecast("texts", left, left, "texts to write, after the training where the journal holds none")
        for number in range(left):
            yield Unknown(f"{ctx.step}/{number}")
    finally:
        writing.close()


class _Writing:
    """One training, and the texts that are written with it."""

    def __init__(self, ctx: Context, options: PrivateTextOptions, maker: Maker, heads: dict[str, Head]) -> None:
        self._ctx, self._options, self._maker, self._heads = ctx, options, maker, heads
        self._writer: Writer | None = None
        self._turned_away: Counter[str] = Counter()
        self.wanted = options.rows if ctx.session.limit is None else min(options.rows, ctx.session.limit)
        self.given = 0

    async def texts(self) -> AsyncIterator[Outcome]:
        """Train, then write until every text is there."""
        ctx = self._ctx
        ctx.stats.target = self.wanted
        trained = await self._trained()
        if ctx.folder is not None:
            self._maker.save(trained.model, ctx.folder)
        labels = _labels(self.wanted, await self._shares(trained), ctx.session.seed)
        todo: deque[tuple[int, int]] = deque((number, 0) for number in range(self.wanted))
        ready: dict[int, Record] = {}
        batches = 0
        while todo:
            batch = [todo.popleft() for _ in range(min(ctx.lookahead(self._options.batch_rows), len(todo)))]
            key, seed, drawn = await self._draw([labels[number] for number, _ in batch], batches, trained)
            batches += 1
            for ordinal, ((number, tries), found) in enumerate(zip(batch, drawn, strict=True)):
                record = self._record(found.text, labels[number], key, ordinal, seed, trained.run)
                reason = self._problem(found)
                if not reason:
                    ready[number] = record
                    continue
                yield reject(
                    record, RULE, reason, score=float(found.token_count), threshold=float(self._options.max_tokens)
                )
                self._turned_away[reason] += 1
                if tries + 1 >= MOST_TRIES:
                    self._give_up(reason)
                    return
                todo.append((number, tries + 1))
            while self.given in ready:
                self.given += 1
                ctx.stats.counted += 1
                if self.given == self.wanted:
                    self._report()
                yield ready.pop(self.given - 1)

    def close(self) -> None:
        """Free the model."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _problem(self, found: Drawn) -> str:
        if not found.text.strip():
            return "empty"
        return "" if found.finished or self._options.keep_cut else "cut"

    def _give_up(self, reason: str) -> None:
        hint = "raise max_tokens, set keep_cut: true, or train longer" if reason == "cut" else "train longer"
        self._ctx.end(
            "short",
            f"a text was written {MOST_TRIES} times and was {reason} each time: {self.given:,} are there; {hint}",
        )

    def _report(self) -> None:
        if self._turned_away:
            why = ", ".join(f"{count:,} {reason}" for reason, count in self._turned_away.most_common())
            self._ctx.note(f"{self.wanted:,} texts kept of {self.wanted + self._turned_away.total():,} written: {why}")

    # --- training -------------------------------------------------------------------------------------

    async def _once(self, key: str, make: Make, kind: str) -> bytes:
        """An artifact that is paid for: never made where a run is judged again, whose texts may be others by now."""
        session = self._ctx.session
        if session.asker is None and not self._ctx.planning and session.journal.artifact(key) is None:
            raise UserError(
                f"{self._ctx.step}: the journal holds no training of these texts as they are now: they, or the ledger, have "
                "changed since. Judging a run again learns nothing and pays nothing; 'factory run' does."
            )
        return await self._ctx.artifact(key, make, kind=kind)

    async def _trained(self) -> _Trained:
        """What was trained, from the journal or made now, and the claim that goes with it."""
        ctx, options = self._ctx, self._options
        if not options.trains:
            return await self._untrained()
        texts = options.data.texts(ctx.base, options.labels)
        known, policy = options.data.records(len(texts))
        if options.batch_size > known:
            raise OptionError("batch_size", f"is above the {known:,} texts ({policy}); lower it.")
        delta = delta_of(options, known)
        rate = min(1.0, options.batch_size / known)
        noise = await self._noise(delta, rate)
        public = {"noise": noise, "rate": rate, "steps": options.steps, "batch": options.batch_size, "test": self._test}
        content = content_of(texts)
        settings = digest(
            "private settings", self._maker.learns, public, self._heads, options.canaries, ctx.session.seed
        )
        key = digest(
            "private text", FORMAT, self._maker.learns, public, self._heads, content, options.canaries, ctx.session.seed
        )
        run = Run(
            what=key, method=ctx.method, at=_now(), noise_multiplier=noise, sample_rate=rate, planned=options.steps,
            unit=options.data.unit, again=options.data.again, where=ctx.run_directory,
        )  # fmt: skip
        ledger = self._ledger()
        if ctx.session.asker is not None and ctx.session.journal.artifact(digest("private run", key)) is None:
            require_same_texts(ctx, options.data, settings, content)
        name = (await self._once(digest("private run", key), lambda _: self._begin(ledger, run), kind="run")).decode()
        remember_texts(ctx, settings, content)
        if unmarked := ledger.mark():
            ctx.note(unmarked)
        canaries = await self._canaries(name, key)

        def fit(say: Say) -> bytes:
            _require_not_lost(ledger, name, options.steps, self._folder(name))
            training = Training(
                texts=[*texts, *canaries], heads=self._heads, noise_multiplier=noise, sample_rate=rate,
                expected_batch=float(options.batch_size), ledger=ledger, run=name, randomness=self._randomness(name),
                folder=self._folder(name), steps=options.steps, seed=ctx.session.seed,
            )  # fmt: skip
            return self._maker.fit(training, say)

        model = await self._once(key, fit, kind="private model")
        self._forget_checkpoints(name)
        counts = await self._counts(texts, ledger, paid_of(options, ledger, name, run, steps=0), key)
        about = self._maker.about(model)
        learnt = Learnt(
            name=name, run=run, delta=delta, records=known, records_policy=policy, about=about,
            randomness=self._randomness(name).name, counted=counts is not None,
        )  # fmt: skip
        claim = claim_of(ctx, options, ledger, learnt)
        tell(ctx, claim, about, noise)
        return _Trained(model, name, counts, claim)

    async def _untrained(self) -> _Trained:
        """The model as it is; the private texts are not read."""
        key = digest("private text", FORMAT, UNTRAINED, self._maker.learns, self._heads, self._ctx.session.seed)

        def fit(say: Say) -> bytes:
            training = Training(
                texts=(), heads=self._heads, noise_multiplier=0.0, sample_rate=1.0, expected_batch=1.0,
                ledger=Ledger(Path(UNTRAINED)), run=UNTRAINED, randomness=SecureRandomness(), folder=None, steps=0,
                seed=self._ctx.session.seed,
            )  # fmt: skip
            return self._maker.fit(training, say)

        model = await self._ctx.artifact(key, fit, kind="private model")
        self._ctx.stats.unread = True
        self._ctx.stats.trained = f"`{self._ctx.method}`, not trained: no private text was read"
        self._ctx.note("epsilon is 0: no private text was read; these are the texts that the model writes as it is")
        return _Trained(model, f"{UNTRAINED}-{key[:12]}", None, None)

    async def _noise(self, delta: float, rate: float) -> float:
        """The noise multiplier, computed once."""
        options = self._options
        if not options.noisy:
            return 0.0
        if options.noise_multiplier is not None:
            return options.noise_multiplier
        target = training_epsilon(options)

        def make(say: Say) -> bytes:
            say(f"looking for the least noise with epsilon {target:g}")
            try:
                return repr(noise_for(target, delta=delta, sample_rate=rate, steps=options.steps)).encode()
            except ValueError as error:
                raise OptionError("epsilon", str(error)) from error

        key = digest("noise", FORMAT, target, delta, rate, options.steps)
        return float(await self._ctx.artifact(key, make, kind="noise"))

    def _ledger(self) -> Ledger:
        """Beside private texts; in the run directory for public ones, which nobody has to account for."""
        if self._options.data.private:
            return self._options.data.ledger_in(self._ctx.base)
        folder = self._ctx.folder
        return Ledger((folder if folder is not None else self._ctx.base) / "ledger.jsonl")

    def _begin(self, ledger: Ledger, run: Run) -> bytes:
        """Write the run into the ledger; refused where the same was paid for elsewhere."""
        paid = [each for each in ledger.runs() if each.what == run.what and each.paid]
        if paid and not self._options.data.again:
            raise UserError(
                f"{self._ctx.step}: these texts were learnt with these settings before ({paid[-1].told}); go on there. To "
                "learn them once more, and to pay once more, set data.again to true."
            )
        ledger.path.parent.mkdir(parents=True, exist_ok=True)
        if self._test is not None:  # noise that can be repeated is none
            return ledger.begin(msgspec.structs.replace(run, noise_multiplier=0.0), name=f"test-{run.what}").encode()
        return ledger.begin(run).encode()

    def _folder(self, run: str) -> Path | None:
        return None if self._ctx.folder is None else self._ctx.folder / run

    def _forget_checkpoints(self, run: str) -> None:
        """Remove what a killed training would have gone on from."""
        folder = self._folder(run)
        if folder is not None and folder.is_dir():
            for file in folder.glob("*.safetensors"):
                file.unlink()
            with suppress(OSError):  # it holds canaries
                folder.rmdir()

    async def _canaries(self, run: str, key: str) -> list[PrivateText]:
        """The canaries that take part; all of them lie in the run directory, as the auditor's secret."""
        if not self._options.canaries:
            return []
        labels = self._options.labels

        def make(_: Say) -> bytes:
            return encoded_canaries(draw(self._options.canaries, self._randomness(run, "canaries"), labels))

        content = await self._once(digest("canaries", key), make, kind="canaries")
        folder = self._folder(run)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / CANARIES_FILE, content)
        return [PrivateText(each.text, each.label) for each in decoded_canaries(content) if each.included]

    @property
    def _test(self) -> int | None:
        return self._options.noise_seed

    def _randomness(self, run: str, what: str = "training") -> Randomness:
        if self._test is None:
            return SecureRandomness()
        return SeededRandomness(derive_seed("noise", self._test, what))

    # --- classes --------------------------------------------------------------------------------------

    async def _counts(self, texts: Sequence[PrivateText], ledger: Ledger, run: Run, key: str) -> dict[str, int] | None:
        """Noisy counts of the classes; paid, made and kept before they are used; None where a kill took them after that."""
        wanted, key = self._options.label_counts, digest("counts", key)
        if wanted is None:
            return None
        if run.epsilon_counts and self._ctx.session.journal.artifact(key) is None:
            self._ctx.note("the counts of the classes were paid for and lost to a kill: the classes get equal shares")
            return None

        def make(_: Say) -> bytes:
            ledger.spend(run.id, epsilon_counts=wanted.epsilon)
            noise = geometric(1, wanted.epsilon, len(self._options.labels), self._randomness(run.id, "counts"))
            clean = Counter(text.label for text in texts)
            noisy = {
                label: max(0, clean[label] + int(more)) for label, more in zip(self._options.labels, noise, strict=True)
            }
            return json.dumps(noisy).encode()

        found: dict[str, int] = json.loads(await self._once(key, make, kind="counts"))
        return found

    async def _shares(self, trained: _Trained) -> dict[str, float]:
        """Shares of the classes among the texts that are written."""
        options = self._options
        if not options.classes:
            return {"": 1.0}
        if trained.counts is not None and any(trained.counts.values()):
            total = sum(trained.counts.values())
            return {label: count / total for label, count in trained.counts.items()}
        return options.shares or dict.fromkeys(options.labels, 1 / len(options.classes))

    # --- writing --------------------------------------------------------------------------------------

    async def _draw(self, labels: Sequence[str], number: int, trained: _Trained) -> tuple[str, int, list[Drawn]]:
        """Public key of a batch, its seed, and its texts."""
        ctx, options = self._ctx, self._options
        seed = derive_seed(ctx.session.seed, ctx.step, "texts", number)
        sampling = Sampling(max_tokens=options.max_tokens, temperature=options.temperature, top_p=options.top_p)
        key = digest("private text batch", FORMAT, trained.run, msgspec.to_builtins(sampling), list(labels), seed)

        def make(say: Say) -> bytes:
            writer = self._loaded(trained, say)
            say(f"writing texts: {self.given:,} of {self.wanted:,}")
            seeds = [derive_seed(seed, ordinal) for ordinal in range(len(labels))]
            return json.dumps(writer.draw(labels, seeds, sampling), ensure_ascii=False).encode("utf-8", "surrogatepass")

        content = (await ctx.artifact(key, make, kind="texts")).decode("utf-8", "surrogatepass")
        return key, seed, [Drawn(*each) for each in json.loads(content)]

    def _loaded(self, trained: _Trained, say: Say) -> Writer:
        if self._writer is None:
            say("loading the model")
            self._writer = self._maker.writer(trained.model, self.wanted)
        return self._writer

    def _record(self, text: str, label: str, key: str, ordinal: int, seed: int, run: str) -> Record:
        provenance = Provenance(
            step=self._ctx.step, method=self._ctx.method, model=f"{self._ctx.method}@{run}", seed=seed, requests=(key,)
        )
        fields = {"text": text.strip(), **({"label": label} if label else {})}
        return Record(derived_id(self._ctx.step, key, ordinal), fields, provenance)


class _Trained(NamedTuple):
    """What texts are written with."""

    model: bytes
    run: str
    counts: dict[str, int] | None
    claim: Claim | None


def _require_not_lost(ledger: Ledger, run: str, steps: int, folder: Path | None) -> None:
    """A run whose checkpoints are gone would pay the rest of its steps for next to nothing."""
    found = ledger.find(run)
    spent = 0 if found is None else found.spent
    if spent > LOST_TOO_MUCH * steps and (folder is None or not any(folder.glob("*.safetensors"))):
        raise UserError(
            f"{spent:,} of {steps:,} steps of the run {run} are paid, and its checkpoint is gone; what they gave is lost. "
            "To begin anew, and to pay once more, use another run directory and set data.again to true."
        )


def _labels(count: int, shares: Mapping[str, float], seed: int) -> list[str]:
    """A class for each text: exact shares, in an order that mixes them."""
    exact = {label: share * count for label, share in shares.items()}
    counts = {label: int(value) for label, value in exact.items()}
    rest = sorted(exact, key=lambda label: (counts[label] - exact[label], label))
    left: int = count - sum(counts.values())
    for label in rest[:left]:
        counts[label] += 1
    slots = [(digest("slot", seed, label, number), label) for label, most in counts.items() for number in range(most)]
    return [label for _, label in sorted(slots)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
