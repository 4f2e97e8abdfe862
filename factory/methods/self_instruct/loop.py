"""The bootstrapping loop: many requests for instructions in flight, answers applied in request order.

Three things move along the line of requests. Requests are *asked* at most a window ahead of what has
been *applied*; applying an answer judges its instructions one after the other and adds the accepted
ones to the pool; their instances are then made, and when they are there the instruction is *emitted*.
Whether enough have been accepted, and whether to give up, is decided as instructions are emitted, in
order, and ends the loop at that place, however far the answers have got by then; what had been made
beyond it is rejected as `surplus`. A spent budget only ends the asking: what was answered is emitted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from factory.context import Answer, Context
from factory.context.flow import settle, surplus, undisturbed
from factory.context.session import NotYetKnown
from factory.context.shares import Share
from factory.engines.protocol import Constraint
from factory.errors import RequestRefused
from factory.methods.self_instruct.instances import InstanceMaker, judged
from factory.methods.self_instruct.options import Options, instruction_prompt
from factory.methods.self_instruct.parse import Instance, Item, parse_blocks, parse_instructions
from factory.methods.self_instruct.pool import TaskPool
from factory.methods.self_instruct.rules import judge_instruction
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Provenance, Record, Rejected, Unknown, digest, reject

BACKLOG_WINDOWS = 4
SPARE, SPARE_SHARE = 4, 50  # instructions on their way beyond `accept`, as some get no instance: 4, or 1 in 50
RATE_AFTER, FIRST_RATE = 8, 0.5  # instructions an answer: as observed once there are 8 answers
ONE_SENTENCE = r"[A-Z][^\n.?!]{8,160}[.?!]"


class _Draft:
    """One candidate instruction on its way: rejected already, or waiting for its instances."""

    def __init__(
        self,
        record: Record,
        outcomes: list[Outcome] | None,
        task: asyncio.Task[list[Outcome]] | None = None,
        novel: bool | None = None,
    ) -> None:
        self.record = record
        self.outcomes = outcomes
        self.task = task
        self.novel = novel

    @property
    def ready(self) -> bool:
        return self.task is None or self.task.done()

    def made(self) -> list[Outcome] | None:
        """What it came to, or None if that is not known."""
        if self.task is None or self.outcomes is not None:
            return self.outcomes
        known = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if known else None


class Loop:
    """One run of the method over its seeds."""

    def __init__(self, ctx: Context, options: Options, seeds: Sequence[Record]) -> None:
        """Begin with an empty pool of machine tasks."""
        self._ctx = ctx
        self._options = options
        self._window = options.window or 4 * ctx.max_in_flight
        self._pool = TaskPool(list(seeds), options.tokenizer, self._window)
        self._maker = InstanceMaker(ctx, options, seeds) if options.variant == "paper" else None
        self._prompt: Prompt = shipped_prompt(instruction_prompt(options))
        self._shown = options.shown()
        self._sampling = options.instruction_sampling().resolved()
        self._blacklist = options.blacklist()
        self._asked: deque[tuple[list[Record], asyncio.Task[Answer]]] = deque()
        self._drafts: deque[_Draft] = deque()
        self._ready: deque[Outcome] = deque()
        self._count = self._accepted = self._waiting = 0
        self._closed = self._ended = False
        self._spent: str | None = None
        limit = ctx.session.limit
        self._wanted = options.accept if limit is None else min(options.accept, limit)
        self._acceptance = Share("acceptance_below", options.stop.acceptance_below)
        self._novelty = Share("novelty_below", options.stop.novelty_below)
        ctx.stats.target = self._wanted

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Rows and rejected records, in request order."""
        try:
            while not self._ended:
                self._ask_ahead()
                if not self._drafts and (self._closed or not self._asked):
                    break
                await self._wait()
                if not self._closed and self._asked and self._asked[0][1].done():
                    await self._apply()
                while self._drafts and self._drafts[0].ready and not self._ended:
                    self._ready.extend(await self._emit(self._drafts.popleft()))
                while self._ready:
                    yield self._ready.popleft()
            self._ctx.enough()
            for _ in range(self._wanted - self._accepted if self._ctx.planning else 0):
                yield Unknown(self._ctx.step)
            if self._spent is not None and not self._ended:
                self._ctx.end("budget", self._spent)
        finally:
            for task in self._unfinished():
                task.cancel()
            await undisturbed(self._file_surplus())

    def _ask_ahead(self) -> None:
        """Ask as far ahead as the window allows."""
        ahead = self._ctx.lookahead(self._window)
        while not self._closed and len(self._asked) < ahead and self._may_be_needed():
            name = f"{self._ctx.session.seed}/{self._ctx.step}/{self._count}"
            shown = self._pool.demonstrations(self._count, name, self._shown.seed, self._shown.machine)
            self._asked.append((shown, asyncio.ensure_future(self._request(self._count, shown))))
            self._count += 1

    def _may_be_needed(self) -> bool:
        """Whether what is on its way may fall short of `accept`; decides how much is asked, never what."""
        made = self._accepted + self._waiting
        applied = self._pool.applied
        rate = made / applied if applied >= RATE_AFTER else FIRST_RATE
        enough = made + rate * len(self._asked) >= self._wanted + max(SPARE, self._wanted // SPARE_SHARE)
        return not enough and len(self._drafts) < BACKLOG_WINDOWS * self._window

    async def _request(self, number: int, shown: list[Record]) -> Answer:
        whole = self._options.variant == "one_call"
        demonstrations = [record.fields if whole else record.fields["instruction"] for record in shown]
        return await self._ctx.complete(
            self._prompt,
            {"demonstrations": demonstrations},
            draw=str(number),
            sampling=self._sampling,
            constraint=Constraint(regex=ONE_SENTENCE) if self._options.small_model and not whole else None,
            stage="instructions",
        )

    async def _wait(self) -> None:
        """Until the first request or the first draft in line has its answer."""
        heads: list[asyncio.Task[Answer] | asyncio.Task[list[Outcome]]] = []
        if not self._closed and self._asked:
            heads.append(self._asked[0][1])
        if self._drafts and self._drafts[0].task is not None:
            heads.append(self._drafts[0].task)
        if heads and not any(task.done() for task in heads):
            await asyncio.wait(heads, return_when=asyncio.FIRST_COMPLETED)

    async def _apply(self) -> None:
        """Judge the instructions of the next answer and add the accepted ones to the pool."""
        shown, task = self._asked.popleft()
        try:
            answer = await task
        except NotYetKnown:
            self._closed = True
            self._forecast()
            return
        except RequestRefused as refused:
            self._refused(shown, refused)
            return
        for ordinal, item in enumerate(self._items(answer)):
            self._drafts.append(self._judge(answer, ordinal, item, shown))
            self._waiting += self._drafts[-1].task is not None
        self._pool.answer_applied()

    def _items(self, answer: Answer) -> list[Item]:
        if self._options.variant == "one_call":
            items = parse_blocks(self._prompt.opening(chat=self._ctx.session.chat) + answer.text, cut=answer.cut)
        else:
            opened = self._options.small_model or not self._ctx.session.chat
            items = parse_instructions(answer.text, cut=answer.cut, opened=opened)
        return items or [Item("", "empty_answer")]

    def _refused(self, shown: list[Record], refused: RequestRefused) -> None:
        if refused.reason == "budget_spent":
            self._closed, self._spent = True, str(refused)
            return
        self._pool.answer_applied()
        provenance = Provenance(
            step=self._ctx.step, method="self_instruct", parents=tuple(record.id for record in shown)
        )
        record = Record(digest("refused", self._ctx.step, self._pool.applied), {"instruction": ""}, provenance)
        outcome = reject(
            record, "request", refused.reason, score=refused.score, threshold=refused.threshold, evidence=str(refused)
        )
        self._drafts.append(_Draft(record, [outcome]))

    def _judge(self, answer: Answer, ordinal: int, item: Item, shown: list[Record]) -> _Draft:
        """Decide on one candidate; accepted ones enter the pool at once."""
        record = self._candidate(answer, ordinal, item, shown)
        if item.problem is not None:
            return _Draft(record, [reject(record, "parse", item.problem, evidence=answer.text[:300])])
        verdict = judge_instruction(item.text, self._options.rules, self._blacklist)
        if verdict is not None:
            return _Draft(record, [Rejected(record, verdict)])
        nearest = self._pool.nearest(item.text)
        if nearest is not None and nearest[0].score > self._options.threshold:
            outcome = reject(
                record,
                "rouge_l",
                "too_similar",
                score=nearest[0].score,
                threshold=self._options.threshold,
                evidence=nearest[1],
            )
            return _Draft(record, [outcome], novel=False)
        if nearest is not None:
            fields = {**record.fields, "nearest": nearest[1], "rouge_l": nearest[0].score}
            record = Record(record.id, fields, record.provenance)
        self._pool.accept(record)
        self._ctx.remember(record)
        if self._maker is None:
            return _Draft(record, self._one_call_row(answer, ordinal, item, record), novel=True)
        task = asyncio.ensure_future(self._maker.make(record))
        task.add_done_callback(self._count_made)
        return _Draft(record, None, task, novel=True)

    def _count_made(self, task: asyncio.Task[list[Outcome]]) -> None:
        """For the progress: an instruction may be made long before those in line before it are."""
        if not task.cancelled() and task.exception() is None:
            self._ctx.stats.made += any(isinstance(outcome, Record) for outcome in task.result())

    def _one_call_row(self, answer: Answer, ordinal: int, item: Item, record: Record) -> list[Outcome]:
        fields = {
            "instruction": item.text,
            "input": item.input,
            "output": item.output,
            "is_classification": None,
            "instruction_id": record.id,
        }
        row = self._ctx.derive(answer, ordinal, fields, parents=(record.id,))
        return judged(record, [row], [Instance(item.input, item.output or "")], 1, answer)

    async def _emit(self, draft: _Draft) -> list[Outcome]:
        """Outcomes of the draft that is next in line, counted for `accept` and the stop rules."""
        outcomes = draft.outcomes or []
        if draft.task is not None:
            outcomes = await settle(self._ctx, draft.record, draft.task)
            self._waiting -= 1
        accepted = any(isinstance(outcome, Record | Unknown) for outcome in outcomes)
        self._accepted += accepted
        self._ctx.stats.counted = self._accepted
        if any(isinstance(outcome, Unknown) for outcome in outcomes):
            self._ctx.assume("the plan assumes that every instruction whose instances are not known yet gets one")
        self._watch(accepted, draft.novel)
        return outcomes

    def _watch(self, accepted: bool, novel: bool | None) -> None:
        """End the loop when there are enough, or when a stop rule says so."""
        sentences = [self._acceptance.fell(accepted)]
        if novel is not None:
            sentences.append(self._novelty.fell(novel))
        self._ended = self._accepted >= self._wanted
        for sentence in sentences:
            if sentence is not None and not self._ended:
                self._ended = True
                counts = f"{self._accepted:,} of {self._wanted:,} instructions were accepted"
                self._ctx.end("stop_rule", f"{self._ctx.step}: {sentence}; {counts}.")

    def _forecast(self) -> None:
        """While planning: how many requests the rest of the loop will take, from what the journal shows."""
        answered, left = self._pool.applied, max(0, self._wanted - self._accepted)
        if answered and self._accepted:
            rate = self._accepted / answered
            basis = f"{self._accepted:,} accepted from {answered:,} answers in the journal"
        else:
            rate = 0.2 if self._options.small_model else 3.0
            basis = f"no answers yet: {rate:g} accepted instructions an answer is an assumption"
        missing = self._ctx.stats.stage("instructions").missing
        low, high = round(left / rate / 1.5), round(left / rate * 2) + self._window
        self._expect("instructions", low - missing, high - missing, basis)
        if self._options.variant == "paper":
            basis = "one verdict and one request for instances an accepted instruction, and those beyond the stop"
            most = left + self._waiting + round(self._window * max(rate, 1.0))
            self._expect("classification", left, most, basis)
            share = "the paper found 78 % to be no classification tasks"
            self._expect("input_first", round(left * 0.5), most, f"{basis}; {share}")
            share = "the paper found 22 % to be classification tasks"
            self._expect("output_first", 0, round(most * 0.5), f"{basis}; {share}")

    def _expect(self, stage: str, low: int, high: int, basis: str) -> None:
        """File a range; answers in the journal that planning did not get to may yet serve, after an edit."""
        place, session = (self._ctx.step, stage), self._ctx.session
        left_over = sum(found == place and key not in session.touched for key, found in session.journal.keys().items())
        if left_over:
            basis += f"; up to {left_over:,} more answers in the journal may be reused"
        chars = most = 0
        if self._maker is not None and stage != "instructions":
            chars, most = self._maker.size(stage, self._pool.seeds[0].fields["instruction"])
        low = max(0, low - left_over)
        self._ctx.forecast(stage, low, max(0, high), basis, prompt_chars=chars, max_tokens=most)

    def _unfinished(self) -> list[asyncio.Task[Answer] | asyncio.Task[list[Outcome]]]:
        drafts = [draft.task for draft in self._drafts if draft.task is not None]
        return [*(task for _, task in self._asked), *drafts]

    async def _file_surplus(self) -> None:
        """File what had been made but is not needed, once what was in flight is cancelled."""
        await asyncio.gather(*self._unfinished(), return_exceptions=True)
        made = [*self._ready]
        for draft in self._drafts:
            made += draft.made() or [draft.record]
        for shown, task in self._asked:
            if not task.cancelled() and task.exception() is None:
                made += self._unjudged(task.result(), shown)
        for outcome in made if not self._ctx.planning else []:
            self._ctx.leave(surplus(outcome, self._wanted) if isinstance(outcome, Record) else outcome)

    def _unjudged(self, answer: Answer, shown: list[Record]) -> list[Record]:
        """Candidates of an answer that came too late to be judged."""
        return [self._candidate(answer, ordinal, item, shown) for ordinal, item in enumerate(self._items(answer))]

    def _candidate(self, answer: Answer, ordinal: int, item: Item, shown: list[Record]) -> Record:
        parents = tuple(record.id for record in shown)
        return self._ctx.derive(answer, ordinal, {"instruction": item.text}, parents=parents, label="instruction")
