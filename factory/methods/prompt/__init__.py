"""Your own prompt over your own rows: new columns out, no code.

With the prompt file `summary.jinja` (inputs: [text]) and

    - rows: {path: tickets.csv}
    - prompt: {prompt: summary.jinja, output: summary}

the row `{"id": "17", "text": "My order never came …"}` becomes
`{"id": "17", "text": "My order never came …", "summary": "A customer reports a lost order."}`.
With `schema:` the answer must be a JSON object of that JSON Schema, and its properties become the
columns; engines that can are made to write it. An answer that is empty, cut at `max_tokens`, not JSON
or not of the schema is asked again if `attempts` allows it, then its row is rejected with the reason. `answers: 4` asks four
times with seeds of their own, and gives four rows: what a judge then tells apart makes preference pairs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field

from factory.context import Answer, Context, each
from factory.context.flow import refusal
from factory.context.session import NotYetKnown
from factory.engines.protocol import Constraint
from factory.errors import OptionError, RequestRefused, UserError
from factory.methods.prompt.schema import Misfit, load_schema, read_object
from factory.prompts import Prompt, named_prompt
from factory.recipe.schema import Count, SamplingOptions, StepOptions
from factory.recipe.suggest import did_you_mean
from factory.records import Outcome, Record, Rejected, Unknown, reject

NEUTRAL = ("window",)


class Options(StepOptions):
    """Options of the `prompt` method.

    Attributes:
        prompt: Prompt file; its declared inputs must be columns of the rows.
        output: Column that gets the answer, where there is no schema.
        json_schema: JSON Schema of the answer (an object), inline or a file; written `schema` in a recipe.
        sampling: How tokens are drawn.
        answers: Answers to each row; each makes a row of its own.
        attempts: Tries until an answer has its form.
        keep_cut: Keep an answer that was cut at `max_tokens`.
        window: Rows open at once; four times `engine.max_in_flight` by default.
        accept: Rows to keep; the step ends there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    prompt: str
    output: str = "response"
    json_schema: dict[str, Any] | str | None = Field(default=None, alias="schema")
    sampling: SamplingOptions = SamplingOptions()
    answers: Count = 1
    attempts: Count = 1
    keep_cut: bool = False
    window: Count | None = None
    accept: Count | None = None


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The prompt file of this step.

    Raises:
        OptionError: If it is missing, or no prompt file.
    """
    return [named_prompt(options.prompt, base)]


def check(options: Options, base: Path) -> list[UserError]:
    """Load the schema, and see whether several answers can differ."""
    if options.answers > 1 and options.sampling.temperature == 0:
        return [OptionError("answers", "at temperature 0 all of them are equal; raise sampling.temperature.")]
    if options.json_schema is not None and "output" in options.model_fields_set:
        return [OptionError("output", "goes with a plain answer: with 'schema' its properties become the columns.")]
    try:
        load_schema(options.json_schema, base)
    except UserError as error:
        return [error]
    return []


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Incoming columns and the new ones.

    Raises:
        OptionError: If the prompt needs a column that the rows lack, or a new column exists already.
    """
    if incoming is None:
        return None
    new = _outputs(options, load_schema(options.json_schema, base))
    missing = [name for name in prompts(options, base)[0].header.inputs if name not in incoming]
    if missing:
        hint = did_you_mean(missing[0], incoming) if len(missing) == 1 else ""
        needs, have = ", ".join(missing), ", ".join(sorted(incoming))
        raise OptionError("prompt", f"{options.prompt}: needs the column {needs}{hint}; the rows have {have}.")
    taken = sorted(incoming & set(new))
    if taken:
        option = "output" if options.json_schema is None else "schema"
        raise OptionError(option, f"the rows have a column {', '.join(taken)} already; give the new one another name.")
    return incoming | set(new)


def remarks(options: Options, base: Path) -> list[str]:
    """What will not do what its author may expect."""
    if options.attempts > 1 and options.sampling.temperature == 0:
        return [f"{options.name or 'prompt'}.attempts: at temperature 0 every attempt gives the same answer"]
    return []


def _outputs(options: Options, schema: dict[str, Any] | None) -> list[str]:
    return [options.output] if schema is None else list(schema["properties"])


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Ask for every row, and yield the rows with their new columns in order."""
    asking = _Asking(ctx, options, prompts(options, ctx.base)[0], load_schema(options.json_schema, ctx.base))
    window = options.window or max(1, 4 * ctx.max_in_flight // options.answers)
    async for outcome in each(ctx, records, asking.work, window=window, accept=options.accept):
        yield outcome


def _free(name: str, record: Record) -> str:
    """A name that no column of the row has."""
    while name in record.fields:
        name = f"model_{name}"
    return name


class _Asking(NamedTuple):
    """What is the same for all rows."""

    ctx: Context
    options: Options
    prompt: Prompt
    schema: dict[str, Any] | None

    async def work(self, record: Record) -> list[Outcome]:
        missing = [name for name in self.prompt.header.inputs if name not in record.fields]
        if missing:
            evidence = f"this row has no {', '.join(missing)}, which the prompt needs"
            return [reject(record, "prompt", "missing_column", evidence=evidence)]
        if self.options.answers == 1:
            return [await self._answer(record, record.id)]
        return await asyncio.gather(*(self._one_of(record, number) for number in range(self.options.answers)))

    async def _one_of(self, record: Record, number: int) -> Outcome:
        """One of several answers; one that is refused or not known yet leaves the others as they are."""
        try:
            return await self._answer(record, f"{record.id}/{number}" if number else record.id)
        except NotYetKnown:
            return Unknown(f"{record.id}/{number}")
        except RequestRefused as refused:
            return refusal(record, refused)

    async def _answer(self, record: Record, draw: str) -> Outcome:
        constraint = None if self.schema is None else Constraint(json_schema=self.schema)
        earlier: list[str] = []
        for attempt in range(self.options.attempts):
            answer = await self.ctx.complete(
                self.prompt,
                record.fields,
                draw=draw,
                attempt=attempt,
                sampling=self.options.sampling.resolved(),
                constraint=constraint,
                stage="requests",
            )
            outcome = self._judge(record, answer, tuple(earlier))
            earlier.append(answer.key)
            if isinstance(outcome, Record):
                break
        return outcome

    def _judge(self, record: Record, answer: Answer, earlier: tuple[str, ...]) -> Record | Rejected:
        """The record with its new columns; as rejected, with the answer as it came."""

        def made(values: dict[str, Any]) -> Record:
            root = record.family
            fields = {**record.fields, **values}
            return self.ctx.derive(answer, 0, fields, parents=(record.id,), root=root, also=earlier)

        try:
            return made(self._read(answer))
        except Misfit as misfit:
            raw = made({self.options.output if self.schema is None else _free("answer", record): answer.text})
            return reject(raw, "answer", misfit.reason, threshold=misfit.threshold, evidence=misfit.evidence)

    def _read(self, answer: Answer) -> dict[str, Any]:
        """The new columns of an answer.

        Raises:
            Misfit: If it is not what was asked for.
        """
        text = answer.text.strip()
        if not text:
            raise Misfit("empty_answer", "the model wrote nothing")
        if answer.cut and not self.options.keep_cut:
            raise Misfit("cut_off", "cut at max_tokens", self.options.sampling.max_tokens)
        return {self.options.output: text} if self.schema is None else read_object(text, self.schema)
