"""One row's chain of evolutions: evolve, judge, answer; a failed epoch puts the parent back.

WizardLM (arXiv 2304.12244), section 3.2. The chain of a row depends on no other row, so that chains run side
by side without a barrier between epochs. An evolution is judged before it is answered: what is not kept is then
not answered either, which is what most tokens would go to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from factory.context import Answer, Context
from factory.context.answers import unusable
from factory.context.flow import refusal
from factory.context.session import NotYetKnown
from factory.engines.protocol import Constraint, Sampling
from factory.errors import RequestRefused
from factory.methods.evol_instruct import elimination, operations
from factory.methods.evol_instruct.options import Columns, Options
from factory.prompts import Prompt, shipped_prompt
from factory.records import Outcome, Record, Rejected, Unknown, digest, reject

RETRY_TEMPERATURE = 0.7


@dataclass
class Tally:
    """What came of each operation, for the user, and what planning could not see.

    Attributes:
        kept: Evolutions kept, by operation.
        failed: Evolutions turned away, by operation.
        words: Words that kept evolutions are longer than their parents, by operation.
        reasons: Rejections by `rule: reason`.
        added: Words that each evolution is longer than its parent, by record id, until it is counted.
        instances: Instances of rows beyond the first, which are left out.
        beyond: Requests, by stage, that may follow those that planning found unanswered.
    """

    kept: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    added: dict[str, int] = field(default_factory=dict)
    instances: int = 0
    beyond: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        """Count an outcome that the step hands on."""
        if isinstance(outcome, Record) and outcome.id in self.added:
            operation = str(outcome.fields["operation"])
            self.kept[operation] += 1
            self.words[operation] += self.added.pop(outcome.id)
        elif isinstance(outcome, Rejected) and outcome.record.fields.get("operation"):
            self.failed[str(outcome.record.fields["operation"])] += 1
            self.reasons[f"{outcome.verdict.rule}: {outcome.verdict.reason}"] += 1


@dataclass(frozen=True)
class _Attempt:
    """One evolution on its way."""

    root: Record
    parent: Record
    epoch: int
    operation: str
    name: str

    @property
    def task(self) -> str:
        return str(self.parent.fields["instruction"])


class Chains:
    """Makes the chain of any row."""

    def __init__(self, ctx: Context, options: Options) -> None:
        """Load the prompts."""
        self.tally = Tally()
        self._ctx = ctx
        self._options = options
        names = prompt_names(options)
        self._operations = {name: shipped_prompt(names[name]) for name in options.operations}
        self._answer = shipped_prompt(names["answer"])
        self._equal = shipped_prompt(names["equal"])
        self._evolve_sampling = options.evolve_sampling().resolved()
        self._judge_sampling = options.judge_sampling().resolved()
        self._answer_sampling = options.answer_sampling().resolved()

    async def make(self, record: Record) -> list[Outcome]:
        """The row itself, then what became of it in each epoch."""
        outcomes: list[Outcome] = []
        try:
            start = await self._start(record)
        except NotYetKnown:
            self._foresee(self._options.epochs)
            return [Unknown(record.id)] * (self._options.epochs + self._options.include_start)
        if isinstance(start, Rejected):
            return [start]
        if self._options.include_start:
            outcomes.append(start)
        parent = start
        for epoch in range(1, self._options.epochs + 1):
            try:
                child = await self._epoch(start, parent, epoch)
            except NotYetKnown:
                left = self._options.epochs - epoch
                self._foresee(left)
                return [*outcomes, *[Unknown(record.id)] * (left + 1)]
            outcomes.append(child)
            if isinstance(child, Record):
                parent = child
            elif child.verdict.reason == "budget_spent":
                break
        return outcomes

    def _foresee(self, epochs: int) -> None:
        self.tally.beyond.update(evolve=epochs, judge=epochs * self._judgements(), answer=epochs)

    def _judgements(self) -> int:
        """Most requests to the judge for one evolution."""
        return self._options.judge_attempts if self._options.elimination.equal else 0

    # --- the row that came in --------------------------------------------------------------------------

    async def _start(self, record: Record) -> Record | Rejected:
        """The row in the columns of the dataset, with an answer."""
        named = self._options.columns
        instruction, given, output, more = _first_instance(record.fields, named)
        self.tally.instances += more
        if not isinstance(instruction, str) or not instruction.strip():
            evidence = f"column '{named.instruction}': {instruction!r}"[:200]
            return reject(record, "source", "empty_instruction", evidence=evidence)
        task, given, output = instruction.strip(), _as_text(given), _as_text(output)
        if given:
            task = f"{task}\n\n{given}"
        answered = bool(output)
        fields = self._fields(record, task, output or None, 0, None, None)
        root = record.family
        start = Record(record.id, fields, msgspec.structs.replace(record.provenance, root=root))
        return start if answered else await self._answered_start(start)

    async def _answered_start(self, start: Record) -> Record | Rejected:
        if not self._options.answer_start:
            return reject(start, "source", "no_output", evidence="the row has no answer, and answer_start is false")
        try:
            answer = await self._complete(
                self._answer,
                {"instruction": start.fields["instruction"]},
                f"{start.id}/start",
                self._answer_sampling,
                stage="answer",
            )
        except RequestRefused as refused:
            return refusal(start, refused)
        fields = {**start.fields, "output": operations.without_thoughts(answer.text)}
        made = self._ctx.derive(answer, 0, fields, parents=(start.id,), root=start.provenance.root, label="start")
        self._ctx.remember(start)
        return self._judged_answer(made, answer) or made

    # --- one epoch -------------------------------------------------------------------------------------

    async def _epoch(self, start: Record, parent: Record, epoch: int) -> Record | Rejected:
        name = f"{self._ctx.session.seed}/{self._ctx.step}/{start.id}/{epoch}"
        operation = operations.draw(name, self._options.operations)
        attempt = _Attempt(start, parent, epoch, operation, name)
        try:
            child = await self._evolve(attempt)
        except RequestRefused as refused:
            child = refusal(self._unasked(attempt), refused)
        if isinstance(child, Record):
            self.tally.added[child.id] = len(str(child.fields["instruction"]).split()) - len(attempt.task.split())
        return child

    async def _evolve(self, attempt: _Attempt) -> Record | Rejected:
        """Evolve, eliminate what needs no answer, answer, eliminate the rest."""
        values, begun, rest = self._values(attempt)
        prompt = self._operations[attempt.operation]
        small = self._options.small_model and bool(begun)
        form = operations.small_form(attempt.operation, str(values.get("format"))) if small else None
        try:
            answer = await self._complete(
                prompt, values, attempt.name, self._evolve_sampling, stage="evolve", constraint=form
            )
        except NotYetKnown:
            self.tally.beyond.update(judge=self._judgements(), answer=1)
            raise
        task = operations.evolved(begun, answer.text)
        made = self._made(attempt, answer, f"{task}\n\n{rest}" if rest else task)
        fault = self._judged_task(attempt, made, answer)
        if fault is not None:
            return fault
        verdicts: list[Answer] = []
        if self._options.elimination.equal:
            try:
                fault = await self._judged_equal(attempt, made, verdicts)
            except NotYetKnown:
                self.tally.beyond.update(judge=self._judgements() - 1 - len(verdicts), answer=1)
                raise
            if fault is not None:
                return fault
        return await self._answered(attempt, made, answer, verdicts)

    def _values(self, attempt: _Attempt) -> tuple[dict[str, Any], str, str]:
        """Inputs of the prompt; the part of the evolved task that it begins; what is put behind the answer."""
        prompt, small = self._operations[attempt.operation], self._options.small_model
        values: dict[str, Any] = {"instruction": attempt.task}
        if "format" in prompt.header.inputs:
            values["format"] = operations.data_format(attempt.name, small=small)
        if "pick" not in prompt.header.inputs:
            return values, "", ""
        head, _, rest = attempt.task.partition("\n\n")
        values |= {
            "instruction": head,
            "opening": head.rstrip(" .?!:"),
            "pick": operations.pick(attempt.name, count=12),
        }
        begun = prompt.begun(values, chat=self._ctx.session.chat)
        return values, begun, "" if attempt.operation == "in_breadth" else rest

    def _fields(
        self, record: Record, task: str, output: str | None, epoch: int, operation: str | None, parent: str | None
    ) -> dict[str, Any]:
        kept = {name: record.fields.get(name) for name in self._options.keep_columns}
        return {
            **kept,
            "instruction": task,
            "output": output,
            "epoch": epoch,
            "operation": operation,
            "parent_id": parent,
        }

    def _made(self, attempt: _Attempt, answer: Answer, task: str, *later: Answer, output: str | None = None) -> Record:
        fields = self._fields(attempt.root, task, output, attempt.epoch, attempt.operation, attempt.parent.id)
        then = tuple(one.key for one in later)
        root = attempt.root.provenance.root
        return self._ctx.derive(answer, 0, fields, parents=(attempt.parent.id,), root=root, then=then)

    def _unasked(self, attempt: _Attempt) -> Record:
        """Stands for an evolution that could not be asked for."""
        fields = self._fields(attempt.root, "", None, attempt.epoch, attempt.operation, attempt.parent.id)
        parents, name = (attempt.parent.id,), digest("unasked", attempt.name)
        provenance = msgspec.structs.replace(attempt.root.provenance, parents=parents, requests=())
        provenance = msgspec.structs.replace(provenance, step=self._ctx.step, method=self._ctx.method)
        return Record(name, fields, provenance)

    # --- elimination -----------------------------------------------------------------------------------

    def _judged_task(self, attempt: _Attempt, made: Record, answer: Answer) -> Rejected | None:
        """What shows in the evolved task alone."""
        task = str(made.fields["instruction"])
        most = self._evolve_sampling.max_tokens
        fault = unusable(made, task, cut=answer.cut, most=most, keep_cut=False, rule="parse")
        if fault is not None:
            return fault
        if self._options.elimination.leak and (leaked := elimination.leaked_words(attempt.task, task)) is not None:
            return reject(made, "leak", "leaked_words", evidence=leaked)
        if self._options.elimination.equal and _same(task, attempt.task):
            return reject(made, "equal", "identical", evidence=attempt.task[:300])
        return None

    async def _judged_equal(self, attempt: _Attempt, made: Record, verdicts: list[Answer]) -> Rejected | None:
        """Rule 1, by the model; its answers are added to `verdicts`."""
        values = {"first": attempt.task, "second": made.fields["instruction"]}
        form = Constraint(choice=("Equal", "Not Equal")) if self._options.small_model else None
        for number in range(self._options.judge_attempts):
            sampling = self._judge_sampling
            if number and sampling.temperature < RETRY_TEMPERATURE:
                sampling = msgspec.structs.replace(sampling, temperature=RETRY_TEMPERATURE)
            answer = await self._complete(
                self._equal,
                values,
                f"{attempt.name}/{made.id}",
                sampling,
                stage="judge",
                number=number,
                constraint=form,
            )
            verdicts.append(answer)
            equal = elimination.read_verdict(answer.text)
            if equal is not None:
                break
        if equal is False:
            return None
        shown = _with(made, verdicts)
        reason = "no_verdict" if equal is None else "judged_equal"
        return reject(shown, "equal", reason, evidence=verdicts[-1].text[:300])

    async def _answered(
        self, attempt: _Attempt, made: Record, evolved: Answer, verdicts: list[Answer]
    ) -> Record | Rejected:
        task = str(made.fields["instruction"])
        values = {"instruction": task}
        answer = await self._complete(self._answer, values, made.id, self._answer_sampling, stage="answer")
        output = operations.without_thoughts(answer.text)
        row = self._made(attempt, evolved, task, *verdicts, answer, output=output)
        return self._judged_answer(row, answer) or row

    def _judged_answer(self, row: Record, answer: Answer) -> Rejected | None:
        """Rules 2 and 3, and what no dataset wants."""
        task, output, rules = str(row.fields["instruction"]), str(row.fields["output"]), self._options.elimination
        most, keep_cut = self._answer_sampling.max_tokens, self._options.keep_cut
        fault = unusable(row, output, cut=answer.cut, most=most, keep_cut=keep_cut)
        if fault is not None:
            return fault
        if rules.sorry and (word := elimination.says_sorry(task, output)) is not None:
            words = len(output.split())
            return reject(row, "sorry", "says_sorry", score=words, threshold=elimination.SORRY_WORDS, evidence=word)
        if rules.stop_words and elimination.only_stop_words(output):
            return reject(row, "stop_words", "only_stop_words", evidence=output[:300])
        return None

    async def _complete(
        self,
        prompt: Prompt,
        values: dict[str, Any],
        draw: str,
        sampling: Sampling,
        *,
        stage: str,
        number: int = 0,
        constraint: Constraint | None = None,
    ) -> Answer:
        return await self._ctx.complete(
            prompt, values, draw=draw, sampling=sampling, attempt=number, constraint=constraint, stage=stage
        )


def prompt_names(options: Options) -> dict[str, str]:
    """Prompt of each operation in use, of the answer and of the judge."""
    names = [*options.operations, "answer", "equal"]
    small = {*operations.PAPER, "answer", "equal"} if options.small_model else set()
    return {name: f"evol_instruct/{name}{'_small' if name in small else ''}" for name in names}


def _first_instance(fields: dict[str, Any], named: Columns) -> tuple[Any, Any, Any, int]:
    """Task, input and output of a row; of a seed task, those of its first instance, and how many more it has."""
    instances = fields.get("instances")
    if named.output in fields or not isinstance(instances, list):
        return fields.get(named.instruction), fields.get(named.input), fields.get(named.output), 0
    whole = [instance for instance in instances if isinstance(instance, dict)] or [{}]
    first = whole[0]
    return fields.get(named.instruction), first.get(named.input), first.get(named.output), len(whole) - 1


def _as_text(value: Any) -> str:
    """A value of a row as it stands in a task: numbers and lists as JSON, nothing as an empty text."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else msgspec.json.encode(value).decode()


def _same(one: str, other: str) -> bool:
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


def _with(record: Record, later: list[Answer]) -> Record:
    """The record, made by these requests too."""
    requests = (*record.provenance.requests, *(answer.key for answer in later))
    return Record(record.id, record.fields, msgspec.structs.replace(record.provenance, requests=requests))
