"""The taxonomy: ways in which a text can be of a class, named by the model before any text is written.

For the class `humblebrag` come nodes such as `{"node": "complains about a prize", "label": "humblebrag"}`. They are
asked for in rounds, each for as many as are missing; what names none, or one that is there already, is rejected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from factory.context import Answer, Context
from factory.context.session import NotYetKnown
from factory.engines.protocol import Constraint
from factory.errors import RequestRefused
from factory.methods.faithful_text.options import Options
from factory.methods.faithful_text.parse import clean_way, normal, parse_texts
from factory.prompts import Prompt
from factory.records import Outcome, Provenance, Record, digest, reject

_WAY = r" [a-z][^\n.,:;]{10,}\."
LONGEST_WAY = 240


class Taxonomy:
    """The nodes of one class."""

    def __init__(self, ctx: Context, options: Options, label: str, prompt: Prompt) -> None:
        """None yet."""
        self._ctx = ctx
        self._options = options
        self._label = label
        self._prompt = prompt
        self._seen: set[str] = set()
        self.nodes: list[Record] = []
        self.outcomes: list[Outcome] = []
        self.unknown = False  # whether an answer is missing while nothing may be asked
        self.spent: str | None = None  # what the budget said, if it ended the asking

    async def find(self) -> None:
        """Ask until there are enough nodes, or the rounds are over."""
        for turn in range(self._options.attempts):
            missing = self._options.nodes - len(self.nodes)
            if missing == 0 or self.unknown or self.spent:
                return
            each = self._options.named(missing)
            known = [str(node.fields["node"]) for node in self.nodes]
            requests = [self._ask(turn, number, each, known) for number in range(-(-missing // each))]
            for number, answer in enumerate(await asyncio.gather(*map(_settled, requests))):
                self._apply(answer, turn, number, each)

    async def _ask(self, turn: int, number: int, count: int, known: list[str]) -> Answer:
        return await self._ctx.complete(
            self._prompt,
            {**self._values(number), "count": count, "known": known},
            draw=f"{self._label}/nodes/{turn}/{number}",
            sampling=self._options.naming_sampling().resolved(),
            constraint=Constraint(regex=_WAY) if self._options.small_model else None,
            stage="nodes",
        )

    def _values(self, number: int) -> dict[str, str | int]:
        """What all requests of the class show, and what one varies by: `number`."""
        description = self._options.classes[self._label]
        return {"task": self._options.task, "label": self._label, "description": description, "pick": number}

    def _apply(self, answer: Answer | NotYetKnown | RequestRefused, turn: int, number: int, asked: int) -> None:
        if isinstance(answer, NotYetKnown):
            self.unknown = True
        elif isinstance(answer, RequestRefused):
            self._refused(answer, turn, number)
        else:
            chat = self._ctx.session.chat
            opened = not self._options.small_model and not chat
            begun = self._prompt.begun(self._values(number), chat=chat) if self._options.small_model else ""
            items = parse_texts(begun + answer.text, asked=asked, cut=answer.cut, opened=opened)
            for ordinal, item in enumerate(items):
                self._judge(answer, ordinal, clean_way(item.text), item.problem)

    def _judge(self, answer: Answer, ordinal: int, way: str, problem: str | None) -> None:
        fields = {"node": way, "label": self._label}
        node = self._ctx.derive(answer, ordinal, fields, parents=(), label="node")
        if problem is None and not way:
            problem = "empty_answer"
        if problem is not None:
            self.outcomes.append(reject(node, "nodes", problem, evidence=answer.text[:300]))
        elif len(way) > LONGEST_WAY:
            self.outcomes.append(reject(node, "nodes", "too_long", score=len(way), threshold=LONGEST_WAY))
        elif normal(way) in self._seen:
            self.outcomes.append(reject(node, "nodes", "duplicate", evidence=way))
        elif len(self.nodes) == self._options.nodes:
            self.outcomes.append(reject(node, "nodes", "surplus", threshold=self._options.nodes))
        else:
            self._seen.add(normal(way))
            self.nodes.append(node)
            self._ctx.remember(node)

    def _refused(self, refused: RequestRefused, turn: int, number: int) -> None:
        if refused.reason == "budget_spent":
            self.spent = str(refused)
            return
        provenance = Provenance(step=self._ctx.step, method=self._ctx.method)
        name = digest("refused", self._ctx.step, self._label, "nodes", turn, number)
        record = Record(name, {"node": "", "label": self._label}, provenance)
        self.outcomes.append(reject(record, "request", refused.reason, evidence=str(refused)))


async def _settled(request: Awaitable[Answer]) -> Answer | NotYetKnown | RequestRefused:
    """The answer, or why there is none."""
    try:
        return await request
    except (NotYetKnown, RequestRefused) as error:
        return error
