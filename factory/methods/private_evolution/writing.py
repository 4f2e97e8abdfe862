"""Asks a model for first texts and for variations of texts; it is shown nothing that is private.

`Writer.first({"billing": 8})` gives eight records of the class, `Writer.varied(texts, 1, 3)` three variations of each. All
requests of a call are in flight at once; their answers are judged in order, so that which of two equal texts stays follows
from the answers alone. A request whose answer cannot be used is made again, up to `attempts` times.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from factory.context import Answer, Context
from factory.context.answers import unusable
from factory.context.flow import refusal
from factory.context.session import NotYetKnown
from factory.engines.protocol import Constraint, Sampling
from factory.errors import RequestRefused
from factory.methods.private_evolution.options import Options
from factory.methods.private_evolution.parse import bare_text, blanked, first_line, normal
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Provenance, Record, Rejected, derive_seed, digest, reject

FIRST, LOOKAHEAD = "first", "lookahead"
QUOTE = '"'  # with which prompts of small models begin the text
_SENTENCES = r" [^\n\".?!]{8,}[.?!]( [A-Z][^\n\".?!]{6,}[.?!])?"  # how the answer of a small model goes on


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A text that is wanted.

    Attributes:
        label: Its class.
        kind: `first`, `rephrase` or `fill`.
        draw: Names the request.
        number: Its place among first texts of the class.
        parent: The text that it is a variation of.
        round: Votes that were taken before it.
    """

    label: str
    kind: str
    draw: str
    number: int = 0
    parent: Record | None = None
    round: int = 0


class Writer:
    """Makes texts.

    Attributes:
        rejected: Answers that could not be used, with the reason, until somebody takes them.
        spent: Why the budget allows no further request; None while it does.
    """

    def __init__(self, ctx: Context, options: Options) -> None:
        """Load the prompts."""
        self._ctx = ctx
        self._options = options
        self._prompts = {name: shipped_prompt(prompt) for name, prompt in prompt_names(options).items()}
        varying = options.varying_sampling().resolved()
        self._samplings: dict[str, Sampling] = {FIRST: options.writing_sampling().resolved()}
        self._samplings |= {kind: varying for kind in options.kinds}
        self._texts: dict[str, str] = {}
        self.rejected: deque[Outcome] = deque()
        self.spent: str | None = None

    async def first(self, quotas: Mapping[str, int]) -> list[Record]:
        """First texts, so many of each class."""
        slots = [
            Slot(label=label, kind=FIRST, draw=f"{label}/{number}", number=number)
            for label, quota in quotas.items()
            for number in range(quota)
        ]
        return await self._made(slots)

    async def varied(self, parents: Sequence[Record], number: int, count: int) -> list[Record]:
        """Variations of texts, so many of each, after that many votes."""
        return await self._made([self._variation(parent, number, each) for parent in parents for each in range(count)])

    async def looked_ahead(self, texts: Sequence[Record], number: int) -> dict[str, list[str]]:
        """For each text what it is compared by: variations of it, or itself where there are none."""
        count = self._options.lookahead
        slots = [self._variation(text, number, each, LOOKAHEAD) for text in texts for each in range(count)]
        found: dict[str, list[str]] = {text.id: [] for text in texts}
        for slot, answer in zip(slots, await self._answers(slots, 0, LOOKAHEAD), strict=True):
            record = None if answer is None else self._judged(slot, answer, seen={})
            if slot.parent is not None and isinstance(record, Record):
                found[slot.parent.id].append(str(record.fields["text"]))
                evidence = f"{slot.parent.id} is compared by it"
                self.rejected.append(reject(record, "private_evolution", "lookahead", evidence=evidence))
            elif isinstance(record, Rejected):
                self.rejected.append(record)
        return {text.id: found[text.id] or [str(text.fields["text"])] for text in texts}

    def _variation(self, parent: Record, number: int, each: int, what: str = "") -> Slot:
        draw = f"{parent.id}/{what}{number}/{each}"
        kinds = self._options.kinds
        (kind,) = self._generator("kind", draw).choices(list(kinds), list(kinds.values()))
        return Slot(label=parent.fields.get("label", ""), kind=kind, draw=draw, parent=parent, round=number)

    async def _made(self, slots: Sequence[Slot]) -> list[Record]:
        """A record for each slot, in order, as far as answers can be used."""
        found: dict[str, Record] = {}
        for attempt in range(self._options.attempts):
            still = [slot for slot in slots if slot.draw not in found]
            if not still or self.spent is not None:
                break
            for slot, answer in zip(still, await self._answers(still, attempt), strict=True):
                outcome = None if answer is None else self._judged(slot, answer, self._texts)
                if isinstance(outcome, Record):
                    found[slot.draw] = outcome
                elif outcome is not None:
                    self.rejected.append(outcome)
        return [found[slot.draw] for slot in slots if slot.draw in found]

    async def _answers(self, slots: Sequence[Slot], attempt: int, stage: str = "") -> list[Answer | Rejected | None]:
        """An answer for each slot, or why there is none; nothing where the budget is spent.

        Raises:
            NotYetKnown: Where nothing may be asked and one of them is not in the journal.
        """
        tasks = [asyncio.ensure_future(self._answer(slot, attempt, stage or slot.kind)) for slot in slots]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        if any(isinstance(answer, NotYetKnown) for answer in answers):
            raise NotYetKnown
        return [answer for answer in answers if not isinstance(answer, NotYetKnown)]

    async def _answer(self, slot: Slot, attempt: int, stage: str) -> Answer | Rejected | NotYetKnown | None:
        values = self._values(slot)
        try:
            return await self._ctx.complete(
                self._prompts[slot.kind],
                values,
                draw=slot.draw,
                sampling=self._samplings[slot.kind],
                attempt=attempt,
                constraint=Constraint(regex=_SENTENCES) if self._options.small_model else None,
                stage=stage,
            )
        except NotYetKnown as unknown:
            return unknown
        except RequestRefused as refused:
            if refused.reason == "budget_spent":
                self.spent = str(refused)
                return None
            return refusal(self._unasked(slot), refused)

    def _generator(self, what: str, draw: str) -> random.Random:
        return random.Random(derive_seed(self._ctx.session.seed, self._ctx.step, what, draw))

    def _values(self, slot: Slot) -> dict[str, Any]:
        """Inputs of the prompt."""
        options, text = self._options, "" if slot.parent is None else str(slot.parent.fields["text"])
        draw = self._generator("values", slot.draw)
        mean = options.words.first if slot.parent is None else len(text.split())
        subjects, words = options.subjects_of(slot.label), text.split()
        return {
            "task": options.task,
            "label": slot.label,
            "description": (options.classes or {}).get(slot.label, ""),
            "pick": draw.randrange(2**16),
            "words": max(options.words.fewest, round(draw.gauss(mean, options.words.drift))),
            "subject": subjects[slot.number % len(subjects)] if subjects else "",
            "text": text,
            "opening": " ".join(words[: max(1, min(2, len(words) // 4))]),
            "blanked": blanked(text, options.blanks, draw) if slot.kind == "fill" else "",
            "kept": " ".join(words[: max(1, round(len(words) * (1 - options.blanks)))]),
        }

    def _judged(self, slot: Slot, answer: Answer | Rejected, seen: dict[str, str]) -> Record | Rejected:
        """The text of an answer as a record, or why it cannot be used."""
        if isinstance(answer, Rejected):
            return answer
        text = self._text(slot, answer.text)
        parents = () if slot.parent is None else (slot.parent.id,)
        root = None if slot.parent is None else slot.parent.family
        record = self._ctx.derive(answer, 0, self._fields(slot, text), parents=parents, root=root, label=slot.draw)
        most = self._samplings[slot.kind].max_tokens
        fault = unusable(record, text, cut=answer.cut, most=most, keep_cut=False, rule="parse")
        if fault is not None:
            return fault
        if slot.parent is not None and normal(text) == normal(str(slot.parent.fields["text"])):
            return reject(record, "text", "unchanged", evidence=f"{slot.parent.id} has this text")
        if (earlier := seen.setdefault(f"{slot.label}/{normal(text)}", record.id)) != record.id:
            return reject(record, "text", "duplicate", evidence=f"{earlier} has this text")
        return record

    def _text(self, slot: Slot, answer: str) -> str:
        """A small model goes on with what its prompt has begun, a base model with a list."""
        chat = self._ctx.session.chat
        if not answer.strip():
            return ""
        if self._options.small_model:
            begun = self._prompts[slot.kind].begun(self._values(slot), chat=chat).split("\n")[-1]
            return bare_text(begun.removeprefix(QUOTE) + answer)
        return bare_text(answer) if chat else first_line(answer)

    def _fields(self, slot: Slot, text: str) -> dict[str, Any]:
        label = {"label": slot.label} if self._options.classes is not None else {}
        return {"text": text, **label, "variation": slot.kind, "round": slot.round}

    def _unasked(self, slot: Slot) -> Record:
        """Stands for a text that could not be asked for."""
        parents = () if slot.parent is None else (slot.parent.id,)
        provenance = Provenance(step=self._ctx.step, method=self._ctx.method, parents=parents)
        return Record(digest("unasked", self._ctx.step, slot.draw), self._fields(slot, ""), provenance)


def prompt_names(options: Options) -> dict[str, str]:
    """Prompt of the first texts, and of each kind of variation in use."""
    suffix = "_small" if options.small_model else ""
    return {name: f"private_evolution/{name}{suffix}" for name in (FIRST, *options.kinds)}


def prompts_of(options: Options) -> list[Prompt]:
    """The prompts themselves."""
    return [shipped_prompt(name) for name in prompt_names(options).values()]
