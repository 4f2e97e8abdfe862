"""Personas: tasks as certain people would pose them, several for each, and answers.

From `{"persona": "A beekeeper who keeps hives on the roofs of a large city."}` come rows like

    {"instruction": "How far do bees fly from a roof of six storeys?", "output": "…", "kind": "instruction",
     "persona": "A beekeeper …", "persona_id": "5f0c…"}

Paper: Ge et al. 2024, "Scaling Synthetic Data Creation with 1,000,000,000 Personas" (arXiv 2406.20094): a persona in
the prompt steers what a model writes; instructions, mathematics and logic are asked for with prompts of their own.
How alike the tasks of one persona are is reported: the share whose ROUGE-L with an earlier one is above 0.7.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import Field, field_validator

from factory.context import Context, each
from factory.context.answers import unusable
from factory.context.session import Expected, NotYetKnown
from factory.engines.protocol import Constraint
from factory.prompts import Prompt, shipped_prompt
from factory.recipe.columns import require
from factory.recipe.schema import Count, SamplingOptions, StepOptions
from factory.recipe.suggest import did_you_mean
from factory.records import Outcome, Record, Unknown, reject

NEUTRAL = ("window",)
KINDS = ("instruction", "math", "logic")
ALIKE = 0.7
_SENTENCE = r" [A-Z][^\n.?!]{12,200}[.?!]"
_MARKER = re.compile(
    r"(?im)^[\s#*>-]*(?:task|question|problem|puzzle|riddle|instruction)(?:\s+\d+)?[\s*]*(?::[\s*]*|$)"
)
_SOLUTION = re.compile(r"(?im)^[\s#*>-]*(?:solution|answer)[\s*]*:")
LONGEST_LEAD = 80


class Options(StepOptions):
    """Options of `persona`.

    Attributes:
        column: Column that describes the persona.
        tasks: Tasks for each persona.
        kinds: Kinds of task, taken in turn: `instruction`, `math`, `logic`.
        answer: Whether tasks are answered.
        small_model: For models of about a billion parameters or fewer: a prompt that begins the task, held to one
            sentence where the engine can.
        writing: Sampling of tasks.
        answers: Sampling of answers.
        keep_cut: Keep an answer that was cut at `max_tokens`.
        accept: Rows to keep; the step ends there.
        window: Personas open at once; four times `engine.max_in_flight` by default.
    """

    column: str = "persona"
    tasks: Count = 1
    kinds: list[str] = Field(default=["instruction"], min_length=1)
    answer: bool = True
    small_model: bool = False
    writing: SamplingOptions = SamplingOptions(max_tokens=512, temperature=1.0, top_p=0.95)
    answers: SamplingOptions = SamplingOptions(max_tokens=2048, temperature=0.7, top_p=0.95)
    keep_cut: bool = False
    accept: Count | None = None
    window: Count | None = None

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, given: list[str]) -> list[str]:
        for name in given:
            if name not in KINDS:
                hint = did_you_mean(name, KINDS) or f"; there are {', '.join(KINDS)}"
                raise ValueError(f"no kind is called '{name}'{hint}")
        return given


def prompts(options: Options, base: Path) -> list[Prompt]:
    """One prompt for each kind in use, and that of the answer."""
    names = [*dict.fromkeys(options.kinds), *(["answer"] if options.answer else [])]
    return [shipped_prompt(f"persona/{name}{'_small' if options.small_model else ''}") for name in names]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows.

    Raises:
        OptionError: If the rows have no column of personas.
    """
    require("column", options.column, incoming)
    return {"instruction", *(["output"] if options.answer else []), "kind", "persona", "persona_id"}


def expects(options: Options) -> Expected:
    """What planning counts for a persona that cannot be known yet."""
    kinds = Counter(options.kinds[number % len(options.kinds)] for number in range(options.tasks))
    requests = {kind: (count, count) for kind, count in kinds.items()}
    if options.answer:
        requests["answer"] = (0, options.tasks)
    return Expected(requests=requests, rows=options.tasks)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Write and answer the tasks of every persona."""
    making, alike = _Making(ctx, options), _Alike()
    window = options.window or 4 * ctx.max_in_flight
    try:
        async for outcome in each(ctx, records, making.work, window=window, accept=options.accept):
            if isinstance(outcome, Record):
                alike.see(outcome)
            yield outcome
    finally:
        if ctx.planning and options.answer and making.unanswered:
            ctx.forecast("answer", 0, making.unanswered, "an answer for every task that can be read")
    if alike.tasks and not ctx.planning:
        ctx.note(alike.sentence())


class _Making:
    """What is the same for all personas."""

    def __init__(self, ctx: Context, options: Options) -> None:
        self._ctx = ctx
        self._options = options
        suffix = "_small" if options.small_model else ""
        self._prompts = {name: shipped_prompt(f"persona/{name}{suffix}") for name in options.kinds}
        self._answer = shipped_prompt(f"persona/answer{suffix}")
        self.unanswered = 0  # while planning: tasks whose answers cannot be counted

    async def work(self, record: Record) -> list[Outcome]:
        persona = record.fields.get(self._options.column)
        if not isinstance(persona, str) or not persona.strip():
            return [reject(record, "source", "empty_persona", evidence=repr(persona)[:200])]
        outcomes: list[Outcome] = []
        for number in range(self._options.tasks):
            kind = self._options.kinds[number % len(self._options.kinds)]
            try:
                outcomes.append(await self._task(record, persona.strip(), kind, number))
            except NotYetKnown:
                outcomes.append(Unknown(record.id))
        return outcomes

    async def _task(self, record: Record, persona: str, kind: str, number: int) -> Outcome:
        options, root = self._options, record.family
        values = {"persona": persona, "number": number + 1}
        try:
            written = await self._ctx.complete(
                self._prompts[kind],
                values,
                draw=f"{record.id}/{number}",
                sampling=options.writing.resolved(),
                constraint=Constraint(regex=_SENTENCE) if options.small_model else None,
                stage=kind,
            )
        except NotYetKnown:
            self.unanswered += 1
            raise
        fields = {"kind": kind, "persona": persona, "persona_id": record.id}
        task = read_task(written.text)
        draft = self._ctx.derive(written, 0, {"instruction": task, **fields}, parents=(record.id,), root=root)
        most = options.writing.max_tokens
        fault = unusable(draft, task, cut=written.cut, most=most, keep_cut=False, rule="parse")
        if fault is not None:
            return fault
        if not options.answer:
            return draft
        answer = await self._ctx.complete(
            self._answer, {"instruction": task}, draw=draft.id, sampling=options.answers.resolved(), stage="answer"
        )
        row = self._ctx.derive(
            written,
            0,
            {"instruction": task, "output": answer.text.strip(), **fields},
            parents=(record.id,),
            root=root,
            then=(answer.key,),
        )
        most = options.answers.max_tokens
        return unusable(row, answer.text.strip(), cut=answer.cut, most=most, keep_cut=options.keep_cut) or row


def read_task(answer: str) -> str:
    r"""The task of an answer: what stands behind the leading marker that the prompt asks for, or all of it.

    A short line may stand before the marker; a solution or another task behind the first one is left out.

    >>> read_task("Sure!\n**Task:** Name a river.")
    'Name a river.'
    """
    text = answer.strip()
    found = _MARKER.search(text)
    before = "" if found is None else text[: found.start()].strip()
    if found is None or "\n" in before or len(before) > LONGEST_LEAD or before.endswith((".", "?")):
        return text
    rest = text[found.end() :]
    following = _MARKER.search(rest) or _SOLUTION.search(rest)
    return (rest if following is None or following.start() == 0 else rest[: following.start()]).strip()


class _Alike:
    """How alike the tasks of one persona are."""

    def __init__(self) -> None:
        self.tasks = 0
        self._alike: Counter[str] = Counter()
        self._pools: dict[str, list[str]] = {}

    def see(self, record: Record) -> None:
        """Compare a task with earlier ones of its persona."""
        from factory.novelty.rouge_l import RougeLPool

        self.tasks += 1
        name, task = str(record.fields["persona_id"]), str(record.fields["instruction"])
        earlier = self._pools.setdefault(name, [])
        pool = RougeLPool("auto")
        for text in earlier:
            pool.add(text)
        nearest = pool.nearest(task) if earlier else None
        self._alike[name] += nearest is not None and nearest.score > ALIKE
        earlier.append(task)

    def sentence(self) -> str:
        """For the user."""
        alike = self._alike.total()
        most, count = max(self._alike.items(), key=lambda item: (item[1], item[0]))
        worst = f"; most for persona {most}: {count:,} of {len(self._pools[most]):,}" if count else ""
        return (
            f"{alike:,} of {self.tasks:,} tasks ({alike / self.tasks:.1%}) have a ROUGE-L above {ALIKE} with an earlier "
            f"task of their persona{worst}"
        )
