"""`ctx.complete(prompt, values, …)`: the only door from a step to a model.

    answer = await ctx.complete(prompt, {"question": "Why is the sky blue?"}, draw=record.id, sampling=sampling)
    answer.text    -> "Sunlight is scattered …"
    answer.key     -> "8c1f…", the journal key that the record's provenance carries

The key hashes what decides the answer: the model, the rendered messages, the sampling, the form asked
for and the derived seed; never the kind of engine or a URL. A key that the journal holds costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import msgspec

from factory.context.making import Make, made
from factory.context.session import Asker, Forecast, NotYetKnown, Session
from factory.context.stats import StepStats
from factory.datasets_io.rows import storable
from factory.engines.protocol import Completion, Constraint, Request, Sampling, TokenLogprob
from factory.errors import EngineError, PromptError, RequestRefused
from factory.journal import Artifact
from factory.prompts import Prompt
from factory.records import Outcome, Provenance, Record, Rejected, Unknown, derive_seed, derived_id, digest

NOT_REACHED = "not_reached"


class Answer(msgspec.Struct, frozen=True):
    """A completion, and what a record's provenance needs to know of it."""

    text: str
    cut: bool
    key: str
    seed: int
    prompt: str
    prompt_hash: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Context:
    """One step's view of the run."""

    def __init__(self, session: Session, step: str, method: str, position: int) -> None:
        """Bind the session to the step of that name at that place in the recipe."""
        self.session = session
        self.step = step
        self.method = method
        self.position = position
        self.streams: list[AsyncGenerator[Outcome, None]] = []
        self.on_enough: Callable[[], None] | None = None

    def enough(self) -> None:
        """Say that no further records are needed: whoever makes them may end, before this step has closed down."""
        if self.on_enough is not None:
            self.on_enough()

    async def close(self) -> None:
        """End the streams that the step has opened and, being closed itself, left open."""
        for stream in self.streams:
            await stream.aclose()

    @property
    def stats(self) -> StepStats:
        """This step's counts."""
        return self.session.stats[self.step]

    @property
    def base(self) -> Path:
        """Folder of the recipe."""
        return self.session.base

    @property
    def folder(self) -> Path | None:
        """Folder of the step's own in the run directory: checkpoints, adapters, pages; None while planning.

        What lies there may be lost, also by `factory refilter`, which copies the journal alone: a step makes it again.
        """
        return None if self.session.files is None else self.session.files / self.step

    @property
    def run_directory(self) -> str:
        """The run directory, for people to read; empty while planning."""
        return "" if self.session.files is None else str(self.session.files.resolve().parent)

    @property
    def max_in_flight(self) -> int:
        """Requests that the engine is given at once."""
        return self.session.max_in_flight

    @property
    def planning(self) -> bool:
        """Whether nothing may be asked and the run only finds out what would be."""
        return self.session.asker is None and self.session.unmade is None

    def lookahead(self, window: int) -> int:
        """How many requests to have open at once: the window, or less in a preview."""
        limit = self.session.limit
        return window if limit is None else max(1, min(window, limit))

    def note(self, sentence: str) -> None:
        """Tell the user something about this step, once; it is shown and kept in the manifest."""
        self.stats.note(sentence)

    def end(self, reason: str, sentence: str) -> None:
        """Say that the step stopped before it had done all that was asked of it, and why.

        Args:
            reason: `budget`, `stop_rule`, `short` or `not_reached`; any of them ends the run with exit code 4.
            sentence: For the user.
        """
        self.session.ended.setdefault(self.step, (reason, sentence))

    def assume(self, sentence: str) -> None:
        """While planning: say what the plan takes for granted; it is then not exact."""
        self.session.exact = False
        self.note(sentence)

    def forecast(
        self, stage: str, low: int, high: int, basis: str, *, prompt_chars: int = 0, max_tokens: int = 0
    ) -> None:
        """While planning: say what this step will ask beyond what can be known now; see `Forecast`.

        Where nothing may be asked, the step ends there.
        """
        if self.session.unmade is not None:
            self.end(NOT_REACHED, self.session.unmade.ended(self.step))
            return
        forecast = Forecast(
            step=self.step,
            stage=stage,
            low=low,
            high=high,
            basis=basis,
            prompt_chars=prompt_chars,
            max_tokens=max_tokens,
        )
        self.session.forecasts.append(forecast)

    def settled(self, record: Record, outcomes: list[Outcome]) -> list[Outcome]:
        """What came of a record; where nothing may be asked and some of it cannot be known, the record as rejected."""
        unmade = self.session.unmade
        if unmade is None or not any(isinstance(outcome, Unknown) for outcome in outcomes):
            return outcomes
        return [unmade.rejected(self.step, record)]

    def leave(self, outcome: Outcome) -> None:
        """File an outcome that the step can no longer yield because it is being closed."""
        if isinstance(outcome, Rejected):
            self.session.left.append((self.step, outcome))

    def remember(self, record: Record) -> None:
        """Keep a record that later records descend from but that the step does not emit."""
        self.session.remembered[record.id] = record

    async def complete(
        self,
        prompt: Prompt,
        values: dict[str, Any],
        *,
        draw: str,
        sampling: Sampling,
        attempt: int = 0,
        constraint: Constraint | None = None,
        stage: str = "",
        priority: int = 0,
        user_turn: bool = False,
        logprobs: int = 0,
    ) -> Answer:
        """Answer a prompt from the journal or the model.

        Args:
            prompt: The prompt file.
            values: Its inputs.
            draw: What the seed is derived from besides the recipe's seed, step and attempt: the record's id,
                or the name of the request in a loop.
            sampling: How tokens are drawn.
            attempt: Counts repeated tries for the same draw.
            constraint: Form of the answer.
            stage: Name under which the request is counted; the prompt's last name by default.
            priority: Lower goes first when requests wait for the engine.
            user_turn: Let the model go on as the user, instead of answering; see `Request`.
            logprobs: How many likeliest first tokens the answer brings; a step that asks for some says so by the hook
                `logprobs`.

        Raises:
            RequestRefused: If this request cannot be answered, with the reason to reject its record by.
        """
        stage = stage or prompt.id.rsplit("/", 1)[-1]
        seed = derive_seed(self.session.seed, self.step, draw, attempt)
        try:
            rendered = prompt.render(values, chat=self.session.chat)
        except PromptError as error:
            raise RequestRefused("prompt_not_rendered", str(error)) from error
        request = Request(
            messages=rendered.messages,
            text=rendered.text,
            sampling=sampling,
            seed=seed,
            constraint=constraint,
            user_turn=user_turn and rendered.text is None,
            logprobs=logprobs,
        )
        key = request_key(self.session.model, request)
        completion = await self._answer(key, stage, request, priority)
        if completion.finish_reason == "refused":
            raise RequestRefused("refused", f"the server refused the request: {completion.detail}")
        cut = completion.finish_reason == "length"
        return Answer(completion.text, cut, key, seed, prompt.id, prompt.hash, completion.logprobs)

    async def artifact(self, key: str, make: Make, *, kind: str) -> bytes:
        """The second door: whatever is costly and no completion is made once, and found again on replay.

        It is in the journal, whole and with a checksum, before this returns; a kill before that means that it is made
        again. So `factory refilter`, which copies the journal, makes nothing that the old run has made.

        Args:
            key: Hash of everything that decides it: data, options, seed, and versions of what computes it.
            make: Makes it, in a thread of its own, of at most `journal.MAX_ARTIFACT_BYTES`. It is handed `say`, which
                tells the user how far it is and ends it where nobody waits any more.
            kind: What it is, e.g. `scores`.

        Raises:
            NotYetKnown: While planning, if it would have to be made.
            JournalError: If it cannot be stored, or what is stored is damaged.
        """
        session = self.session
        known = session.journal.artifact(key)
        if known is not None:
            session.replay.progress()
            return known
        if key in session.made:
            return session.made[key].value
        if self.planning:
            raise NotYetKnown
        await session.replay.at_rest()
        artifact = Artifact(key, self.step, kind, await made(make, self._doing))
        if session.journal.read_only:
            session.made[key] = artifact
        else:
            session.journal.put_artifact(artifact)
        return artifact.value

    def _doing(self, sentence: str) -> None:
        self.stats.doing = sentence

    async def _answer(self, key: str, stage: str, request: Request, priority: int) -> Completion:
        session, counts = self.session, self.stats.stage(stage)
        session.touched.add(key)
        known = session.journal.get(key)
        if known is None:
            session.refusals.check(key)
            await session.replay.at_rest()
            known = await self._flying(key) or session.journal.get(key)
        if known is not None:
            counts.reused += 1
            session.replay.progress()
        elif session.asker is None:
            counts.missing += 1
            counts.missing_chars += len(request.text or "") + sum(len(message.content) for message in request.messages)
            counts.missing_max_tokens += request.sampling.max_tokens
            raise NotYetKnown
        else:
            known = await self._ask(session.asker, key, stage, request, priority)
            counts.asked += 1
            counts.new_completion_tokens += known.completion_tokens
        counts.prompt_tokens += known.prompt_tokens
        counts.completion_tokens += known.completion_tokens
        return known

    async def _flying(self, key: str) -> Completion | None:
        """The answer to the same request that somebody else is waiting for; None if there is none, or they give up."""
        known = None
        while known is None and key in self.session.flying:
            known = await asyncio.shield(self.session.flying[key])
        return known

    async def _ask(self, asker: Asker, key: str, stage: str, request: Request, priority: int) -> Completion:
        session = self.session
        session.ledger.reserve()
        flying: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
        session.flying[key] = flying
        try:
            await session.limiter.acquire(priority - self.position)
            session.ledger.start_clock()
            self.stats.in_flight += 1
            try:
                completion = _storable(await asker.ask(request))
            finally:
                self.stats.in_flight -= 1
                session.limiter.release()
            if not completion.prompt_tokens or (completion.text and not completion.completion_tokens):
                self._without_usage()
            session.journal.put(key, self.step, stage, request, completion)
        except BaseException as error:
            if isinstance(error, RequestRefused):
                session.refusals.remember(key, error)
            session.ledger.refund()
            _fail(flying, error)
            raise
        finally:
            del session.flying[key]
        session.ledger.charge(completion.prompt_tokens, completion.completion_tokens)
        flying.set_result(completion)
        return completion

    def _without_usage(self) -> None:
        """The engine has answered without token counts: say so, and end a run that lives by them.

        Raises:
            EngineError: If the budget limits tokens or money.
        """
        budget = self.session.ledger.budget
        if budget.tokens is not None or budget.money is not None:
            raise EngineError(
                "the server sends no token counts, so that budget.tokens and budget.money cannot be kept; limit "
                "budget.requests or budget.seconds instead."
            )
        self.note("the server sends no token counts: tokens are counted as 0")

    def derive(
        self,
        answer: Answer,
        ordinal: int,
        fields: dict[str, Any],
        *,
        parents: tuple[str, ...],
        root: str | None = None,
        also: tuple[str, ...] = (),
        then: tuple[str, ...] = (),
        label: str = "",
    ) -> Record:
        """A record read from an answer.

        Args:
            answer: The answer it was read from.
            ordinal: Its position in the answer, from 0.
            fields: What it holds; what no file can hold (lone surrogates, huge numbers) is replaced.
            parents: Ids of the records it was made from.
            root: Id of the one source record it descends from, if there is exactly one.
            also: Keys of earlier requests that took part.
            then: Keys of later requests that took part: judged it, or added to it.
            label: Tells kinds of records of one step apart in the id.
        """
        provenance = Provenance(
            step=self.step,
            method=self.method,
            parents=parents,
            root=root,
            prompt=answer.prompt,
            prompt_hash=answer.prompt_hash,
            model=self.session.model,
            seed=answer.seed,
            requests=(*also, answer.key, *then),
        )
        name = derived_id(f"{self.step}/{label}" if label else self.step, answer.key, ordinal, parents)
        return Record(name, storable(fields), provenance)


def _storable(completion: Completion) -> Completion:
    """The completion, with lone surrogates, which no file can hold, replaced."""
    if completion.text.isascii():
        return completion
    return msgspec.structs.replace(completion, text=completion.text.encode("utf-8", "replace").decode("utf-8"))


def _fail(flying: asyncio.Future[Completion | None], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        flying.set_result(None)  # whoever else waits for this answer has to ask for it
    else:
        flying.set_exception(error)
        flying.exception()  # mark as retrieved: usually nobody else is waiting


def request_key(model: str, request: Request) -> str:
    """Journal key of a request to a model: 20 hex digits."""
    return digest("request", model, request)
