"""Requests for all classes in flight at once, answers applied in request order until every class has its rows.

The class with the fewest applied answers is next; so the order in which texts are judged, and with it which of two equal
texts stays, follows from the answers alone. A class that is complete, or given up, asks no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from rapidfuzz.distance import LCSseq

from factory.context import Answer, Context
from factory.context.flow import not_needed, surplus, undisturbed
from factory.context.session import NotYetKnown
from factory.context.shares import Share
from factory.engines.protocol import Constraint
from factory.errors import RequestRefused
from factory.methods.faithful_text.grounds import Grounds
from factory.methods.faithful_text.nodes import Taxonomy
from factory.methods.faithful_text.options import Options
from factory.methods.faithful_text.parse import Item, normal, parse_texts
from factory.methods.faithful_text.requests import Asking, Requests
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Provenance, Record, Rejected, Unknown, digest, reject

RATE_AFTER, FIRST_RATE = 8, 0.5  # rows a text asked for: as observed once there are 8 answers
WORST_RATE = 0.2  # for planning: the fewest rows a text asked for that are expected
_SENTENCE = r" [^\n.?! ][^\n.?!]{10,}[.?!]"
_SENTENCES = rf"{_SENTENCE}( [A-Z][^\n.?!]{{6,}}[.?!])?"
REWRITES = ("grounded", "taxonomy")  # in its second sentence a small model speaks of the rewrite
MOST_OPENING_WORDS = 3  # of the real text that a small model is made to begin its rewrite with


class _Class:
    """Where one class stands."""

    def __init__(self, label: str, wanted: int, stop: Share) -> None:
        self.label = label
        self.wanted = wanted
        self.stop = stop
        self.requests: Requests | None = None
        self.asked: deque[tuple[Asking, asyncio.Task[Answer]]] = deque()
        self.accepted = self.applied = 0
        self.closed = False  # asks no more, but may have answers to come
        self.over = False

    def may_be_needed(self, per_request: int, *, planning: bool) -> bool:
        """Whether what is on its way may fall short; while planning, whether it surely does."""
        rate = self.accepted / self.applied if self.applied >= RATE_AFTER else FIRST_RATE * per_request
        if planning:
            rate = per_request
        return not self.asked or self.accepted + rate * len(self.asked) < self.wanted


class Loop:
    """One run of the method over its real texts."""

    def __init__(self, ctx: Context, options: Options, grounds: Grounds) -> None:
        """Begin with no rows."""
        self._ctx = ctx
        self._options = options
        self._grounds = grounds
        suffix = "_small" if options.small_model else ""
        self._prompts: dict[str, Prompt] = {
            name: shipped_prompt(f"faithful_text/{name}{suffix}") for name in options.shares()
        }
        self._naming = shipped_prompt(f"faithful_text/nodes{suffix}")
        self._sampling = options.writing_sampling().resolved()
        self._window = options.window or 2 * ctx.max_in_flight
        self._classes = [_Class(label, options.wanted(label), Share("stop", options.stop)) for label in options.classes]
        self._texts: dict[str, Record] = {}
        self._ready: deque[Outcome] = deque()
        self._spent: str | None = None
        self._unknown = False
        self._sentences: list[str] = []
        ctx.stats.target = sum(state.wanted for state in self._classes)

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Rows and rejected texts, in the order in which they were judged."""
        try:
            for outcome in await self._prepare():
                yield outcome
            while (state := self._ask_ahead()) is not None:
                asking, task = state.asked.popleft()
                await asyncio.wait([task])
                self._take(state, asking, task)
                while self._ready:
                    yield self._ready.popleft()
            self._ctx.enough()
            self._conclude()
            for _ in range(sum(state.wanted - state.accepted for state in self._classes) if self._ctx.planning else 0):
                yield Unknown(self._ctx.step)
        finally:
            for task in self._unfinished():
                task.cancel()
            await undisturbed(self._file_surplus())

    async def _prepare(self) -> list[Outcome]:
        """Nodes of every class, and its requests."""
        found: list[Outcome] = []
        taxonomies = [Taxonomy(self._ctx, self._options, state.label, self._naming) for state in self._classes]
        if "taxonomy" in self._prompts:
            await asyncio.gather(*(taxonomy.find() for taxonomy in taxonomies))
        for state, taxonomy in zip(self._classes, taxonomies, strict=True):
            found += taxonomy.outcomes
            self._spent = self._spent or taxonomy.spent
            self._unknown |= taxonomy.unknown
            seed = f"{self._ctx.session.seed}/{self._ctx.step}"
            state.requests = Requests(self._options, seed, state.label, self._grounds, taxonomy.nodes)
            state.closed = taxonomy.unknown or not self._askable(state.requests)
            if "taxonomy" in self._prompts and not taxonomy.nodes and not (taxonomy.unknown or taxonomy.spent):
                self._without_nodes(state, state.requests)
        if self._spent is not None:
            self._close_all()
        return found

    def _askable(self, requests: Requests) -> bool:
        """Whether the real texts are there; while planning they may be rows that an earlier step has yet to make."""
        return bool(self._grounds.all) or set(requests.shares) == {"simple"}

    def _without_nodes(self, state: _Class, requests: Requests) -> None:
        """No answer named a way: the other strategies go on, and without any the class is given up."""
        rest = ", ".join(requests.shares)
        sentence = f"the model named no way to be '{state.label}' in {self._options.attempts:,} rounds of requests"
        if rest:
            self._ctx.note(f"{sentence}: its rows come from {rest} alone")
        else:
            self._give_up(state, sentence)

    def _ask_ahead(self) -> _Class | None:
        """Ask as far ahead as the window allows; the class whose next answer is to be applied, if there is one."""
        going = [state for state in self._classes if not state.over]
        ahead = max(1, self._ctx.lookahead(self._window) // max(1, len(going)))
        for state in going:
            per_request = self._options.asked()
            while not state.closed and len(state.asked) < ahead:
                if state.requests is None or not state.may_be_needed(per_request, planning=self._ctx.planning):
                    break
                asking = state.requests.next()
                state.asked.append((asking, asyncio.ensure_future(self._request(asking))))
        waiting = [state for state in going if state.asked]
        return min(waiting, key=lambda state: state.applied, default=None)

    def _values(self, asking: Asking) -> dict[str, Any]:
        grounds = [ground.text for ground in asking.grounds]
        words = grounds[0].split() if grounds else []
        return {
            "task": self._options.task,
            "label": asking.label,
            "description": self._options.classes[asking.label],
            "count": self._options.asked(),
            "ground": grounds[0] if grounds else "",
            "grounds": grounds,
            "node": "" if asking.node is None else asking.node.fields["node"],
            "opening": " ".join(words[: max(1, min(MOST_OPENING_WORDS, len(words) // 3))]),
            "pick": asking.number,
        }

    async def _request(self, asking: Asking) -> Answer:
        options = self._options
        form = _SENTENCE if asking.strategy in REWRITES else _SENTENCES
        return await self._ctx.complete(
            self._prompts[asking.strategy],
            self._values(asking),
            draw=asking.draw,
            sampling=self._sampling,
            constraint=Constraint(regex=form) if options.small_model else None,
            stage=asking.strategy,
        )

    def _take(self, state: _Class, asking: Asking, task: asyncio.Task[Answer]) -> None:
        """Apply one answer."""
        try:
            answer = task.result()
        except NotYetKnown:
            state.closed = self._unknown = True
            state.applied += 1
            return
        except RequestRefused as refused:
            if refused.reason == "budget_spent":
                self._spent = self._spent or str(refused)
                self._close_all()
                return
            self._ready.append(self._refused(state, asking, refused))
            before = state.accepted
        else:
            before = state.accepted
            for ordinal, item in enumerate(self._items(asking, answer)):
                self._ready.append(self._judge(state, asking, answer, ordinal, item))
        state.applied += 1
        sentence = state.stop.fell(state.accepted > before)
        if state.accepted == state.wanted:
            self._finish(state)
        elif sentence is not None and not self._ctx.planning:
            self._give_up(state, f"'{state.label}': {sentence}")

    def _items(self, asking: Asking, answer: Answer) -> list[Item]:
        """Texts of an answer; a small model goes on with what its prompt has begun."""
        options, chat, text = self._options, self._ctx.session.chat, answer.text
        opened = not chat and not options.small_model
        if options.small_model and text.strip():
            text = self._prompts[asking.strategy].begun(self._values(asking), chat=chat).split("\n")[-1] + text
        return parse_texts(text, asked=options.asked(), cut=answer.cut, opened=opened, names=options.classes)

    def _judge(self, state: _Class, asking: Asking, answer: Answer, ordinal: int, item: Item) -> Outcome:
        """Accept a text, or say why not."""
        row = self._row(asking, answer, ordinal, item)
        if item.problem is not None:
            return reject(row, "parse", item.problem, evidence=answer.text[:300] or "the model wrote nothing")
        if (copy := self._copied(row, asking, item.text)) is not None:
            return copy
        if (earlier := self._texts.get(normal(item.text))) is not None:
            return reject(row, "text", "duplicate", evidence=f"{earlier.id}: {earlier.fields['text']}")
        if state.accepted == state.wanted:
            return surplus(row, state.wanted)
        self._texts[normal(item.text)] = row
        for ground in asking.grounds:
            self._ctx.remember(ground.record)
        state.accepted += 1
        self._ctx.stats.counted += 1
        return row

    def _copied(self, row: Record, asking: Asking, text: str) -> Rejected | None:
        """The row as rejected, if its text is that of a real one."""
        most = self._options.copy_above
        if (real := self._grounds.same(text)) is not None:
            shown = any(ground.record.id == real.record.id for ground in asking.grounds)
            reason = "copy_of_ground" if shown else "copy_of_real_text"
            return reject(row, "text", reason, score=1.0, threshold=most, evidence=f"{real.record.id}: {real.text}")
        for ground in asking.grounds if most is not None else []:
            words = normal(text).split()
            score = LCSseq.similarity(words, normal(ground.text).split()) / len(words)
            if most is not None and score > most:
                evidence = f"{ground.record.id}: {ground.text}"
                return reject(row, "text", "copy_of_ground", score=score, threshold=most, evidence=evidence)
        return None

    def _row(self, asking: Asking, answer: Answer, ordinal: int, item: Item) -> Record:
        fields = {"text": item.text, **asking.fields(self._options)}
        return self._ctx.derive(answer, ordinal, fields, parents=asking.parents, root=asking.root, label=asking.draw)

    def _refused(self, state: _Class, asking: Asking, refused: RequestRefused) -> Rejected:
        provenance = Provenance(step=self._ctx.step, method=self._ctx.method, parents=asking.parents)
        record = Record(
            digest("refused", self._ctx.step, asking.draw), {"text": "", **asking.fields(self._options)}, provenance
        )
        return reject(
            record, "request", refused.reason, score=refused.score, threshold=refused.threshold, evidence=str(refused)
        )

    def _finish(self, state: _Class) -> None:
        """Ask no more for a class."""
        state.closed = state.over = True
        for _, task in state.asked:
            task.cancel()

    def _give_up(self, state: _Class, sentence: str) -> None:
        self._finish(state)
        self._sentences.append(f"{sentence}; {state.accepted:,} of {state.wanted:,} rows were accepted")

    def _close_all(self) -> None:
        for state in self._classes:
            state.closed = True

    def _conclude(self) -> None:
        """Say how it ended, if not all rows are there."""
        if self._unknown:
            self._forecast()
        elif self._spent is not None:
            self._ctx.end("budget", self._spent)
        elif self._sentences:
            self._ctx.end("stop_rule", f"{self._ctx.step}: {'; '.join(self._sentences)}.")
        elif self._ctx.planning and not self._grounds.all:
            self._forecast()

    def _forecast(self) -> None:
        """While planning: how many requests the rest takes, by strategy."""
        asked, low, high = self._options.asked(), dict[str, float](), dict[str, float]()
        for state in self._classes:
            left = state.wanted - state.accepted
            for name, share in self._options.shares().items():
                low[name] = low.get(name, 0.0) + share * left / asked
                high[name] = high.get(name, 0.0) + share * (left / asked / WORST_RATE + self._window)
        basis = f"every text asked for is accepted, or one of {1 / WORST_RATE:g}"
        for name in self._options.shares():
            missing = self._ctx.stats.stage(name).missing
            least, most = max(0, int(low[name]) - missing), max(0, round(high[name]) - missing)
            self._ctx.forecast(name, least, most, basis, max_tokens=self._sampling.max_tokens)
        if (missing := self._ctx.stats.stage("nodes").missing) if "taxonomy" in self._prompts else 0:
            rounds = self._options.attempts - 1
            self._ctx.forecast("nodes", 0, missing * rounds, "rounds that name too few ways are followed by another")

    def _unfinished(self) -> Sequence[asyncio.Task[Answer]]:
        return [task for state in self._classes for _, task in state.asked]

    async def _file_surplus(self) -> None:
        """File what had been made but is not needed, once what was in flight is cancelled."""
        await asyncio.gather(*self._unfinished(), return_exceptions=True)
        made: list[Outcome] = [*self._ready]
        for state in self._classes:
            for asking, task in state.asked:
                if not task.cancelled() and task.exception() is None:
                    answer = task.result()
                    made += [self._row(asking, answer, at, item) for at, item in enumerate(self._items(asking, answer))]
        for outcome in made if not self._ctx.planning else []:
            self._ctx.leave(self._not_needed(outcome) if isinstance(outcome, Record) else outcome)

    def _not_needed(self, row: Record) -> Rejected:
        return not_needed(self._ctx.session, self._ctx.step, row, self._options.wanted(row.fields["label"]))
