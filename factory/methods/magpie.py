"""Magpie: a chat model is shown an open user's turn, writes what a user would ask, and answers it.

From the opened template (`<|im_start|>user` and no more) come rows like

    {"instruction": "How do I keep basil alive on a north-facing windowsill?", "output": "…"}

Paper: Xu et al. 2024, "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing" (arXiv
2406.08464). Queries are drawn at temperatures 1, 1.1 or 1.2 with top-p 1, 0.995 or 0.99, answers greedily. The rules
here turn away what is no query at all; the paper's filters of quality, difficulty and distance to the nearest query
are the steps `judge` and `rouge_l` behind it (see `recipes/magpie.yaml`).

Deviation: temperature and top-p are drawn for each request by hash instead of one grid point a batch.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from factory.context import Answer, Context, each
from factory.context.answers import unusable
from factory.context.session import NotYetKnown
from factory.context.shares import Share
from factory.engines.protocol import Sampling
from factory.errors import OptionError, UserError
from factory.prompts import Prompt, named_prompt
from factory.recipe.schema import Count, Rate, SamplingOptions, StepOptions, Strict
from factory.records import Outcome, Provenance, Record, digest, reject

Temperature = Annotated[float, Field(gt=0.0, le=5.0)]
Mass = Annotated[float, Field(gt=0.0, le=1.0)]
NEEDS_RECORDS = False
NEUTRAL = ("window",)
_TEMPLATE_TOKEN = re.compile(r"<\|[\w ]{1,30}\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>|<bos>|<eos>")
_ASSISTANT = re.compile(
    r"\A\W{0,3}(?:assistant\b|as an ai\b|as a language model\b|i'?m (?:here|ready) to help|how (?:can|may) i (?:help|assist)|"
    r"sure[,!.]|certainly[,!.]|of course[,!.]|i'?d be happy to|hello! how can i)",
    re.IGNORECASE,
)


class Queries(Strict):
    """How queries are drawn: one of each list for a request.

    Attributes:
        temperatures: Temperatures.
        top_ps: Nucleus masses.
        max_tokens: Most tokens of a query; what is cut there is rejected.
    """

    temperatures: list[Temperature] = Field(default=[1.0, 1.1, 1.2], min_length=1)
    top_ps: list[Mass] = Field(default=[1.0, 0.995, 0.99], min_length=1)
    max_tokens: Count = 1024


class Rules(Strict):
    """What is no query; None or false switches a rule off.

    Attributes:
        min_words: Fewest words.
        max_words: Most words.
        template_tokens: Turn away queries that hold tokens of a chat template, as Llama 3.1 and Gemma write them.
        assistant_speech: Turn away queries in which the model speaks as the assistant.
    """

    min_words: int | None = 3
    max_words: int | None = 400
    template_tokens: bool = True
    assistant_speech: bool = True

    @model_validator(mode="after")
    def _some_length_is_right(self) -> Rules:
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise ValueError("min_words is above max_words")
        return self


class Options(StepOptions):
    """Options of `magpie`.

    Attributes:
        accept: Rows to make.
        prompt: What opens the user's turn: a prompt file whose last section is `user`, empty or with the beginning
            of a query; a `system` section before it steers the subject.
        answer_prompt: Prompt of the answer, with the input `instruction`.
        queries: How queries are drawn.
        answers: Sampling of answers; greedy in the paper.
        rules: What is no query.
        keep_cut: Keep an answer that was cut at `max_tokens`.
        stop: Give up when fewer than this share of the last so many requests gave a row.
        window: Queries open at once; twice `engine.max_in_flight` by default.
    """

    accept: Count = 100
    prompt: str = "prompts/magpie/query.jinja"
    answer_prompt: str = "prompts/magpie/answer.jinja"
    queries: Queries = Queries()
    answers: SamplingOptions = SamplingOptions(max_tokens=2048, temperature=0.0)
    rules: Rules = Rules()
    keep_cut: bool = False
    stop: Rate | None = Rate(rate=0.02, over=1000)
    window: Count | None = None


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The opening of the user's turn, and the prompt of the answer.

    Raises:
        OptionError: If one is missing, or no prompt file.
    """
    return [named_prompt(options.prompt, base), named_prompt(options.answer_prompt, base, "answer_prompt")]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows.

    Raises:
        OptionError: If the opening wants inputs, of which there are none, or the answer other ones than the query.
        UserError: If it is not the first step.
    """
    query, answer = prompts(options, base)
    if incoming is not None:
        raise UserError("magpie makes its rows from nothing: let it be the first step.")
    if query.header.inputs:
        needs = ", ".join(query.header.inputs)
        raise OptionError("prompt", f"{options.prompt}: needs {needs}, but a query is made from nothing.")
    if answer.header.inputs != ["instruction"]:
        needs = ", ".join(answer.header.inputs) or "nothing"
        raise OptionError("answer_prompt", f"{options.answer_prompt}: needs {needs}; expected the input 'instruction'.")
    return {"instruction", "output"}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Draw queries and answer them until there are enough."""
    making = _Making(ctx, options)
    share = Share("stop", options.stop)
    window = options.window or 2 * ctx.max_in_flight
    try:
        async for outcome in each(ctx, _numbers(ctx, options), making.work, window=window, accept=options.accept):
            yield outcome
            sentence = share.fell(isinstance(outcome, Record))
            if sentence is not None and not ctx.planning:
                made = f"{ctx.stats.counted:,} of {options.accept:,} rows were made"
                ctx.end("stop_rule", f"{ctx.step}: {sentence}; {made}.")
                break
    finally:
        if ctx.planning and making.unanswered:
            basis = "an answer for every query; what is no query means another one, and a window of them is asked ahead"
            ctx.forecast("query", 0, making.unanswered + window, basis)
            ctx.forecast("answer", making.unanswered, 2 * making.unanswered + window, basis)


async def _numbers(ctx: Context, options: Options) -> AsyncIterator[Record]:
    """One record for each request; while planning, as many as there must be at least."""
    number = 0
    while not ctx.planning or number < options.accept:
        name = digest("magpie", ctx.session.seed, ctx.step, number)
        yield Record(name, {"instruction": ""}, Provenance(step=ctx.step, method=ctx.method))
        number += 1


class _Making:
    """What is the same for all queries."""

    def __init__(self, ctx: Context, options: Options) -> None:
        self._ctx = ctx
        self._options = options
        self._query, self._answer = prompts(options, ctx.base)
        self._sampling = options.answers.resolved()
        self.unanswered = 0  # while planning: queries whose answers cannot be counted

    async def work(self, record: Record) -> list[Outcome]:
        ctx, options = self._ctx, self._options
        try:
            query = await ctx.complete(
                self._query, {}, draw=record.id, sampling=self._drawn(record.id), stage="query", user_turn=True
            )
        except NotYetKnown:
            self.unanswered += 1
            raise
        text = query.text.strip()
        draft = ctx.derive(query, 0, {"instruction": text}, parents=())
        fault = _fault(draft, text, query, options)
        if fault is not None:
            return [fault]
        answer = await ctx.complete(
            self._answer, {"instruction": text}, draw=draft.id, sampling=self._sampling, stage="answer"
        )
        row = ctx.derive(query, 0, {"instruction": text, "output": answer.text.strip()}, parents=(), then=(answer.key,))
        most = options.answers.max_tokens
        return [unusable(row, answer.text.strip(), cut=answer.cut, most=most, keep_cut=options.keep_cut) or row]

    def _drawn(self, name: str) -> Sampling:
        queries = self._options.queries
        place = int(digest("sampling", name)[:13], 16)
        first, second = place % len(queries.temperatures), place // 1009 % len(queries.top_ps)
        temperature, top_p = queries.temperatures[first], queries.top_ps[second]
        return Sampling(max_tokens=queries.max_tokens, temperature=temperature, top_p=top_p)


def _fault(draft: Record, text: str, query: Answer, options: Options) -> Outcome | None:
    """Why a text is no query; None if it is one."""
    rules, words = options.rules, len(text.split())
    if not text:
        return reject(draft, "query", "empty_query", evidence="the model ended the user's turn at once")
    if query.cut:
        return reject(draft, "query", "cut_off", threshold=options.queries.max_tokens, evidence=text[-300:])
    if rules.template_tokens and (found := _TEMPLATE_TOKEN.search(text)) is not None:
        return reject(draft, "query", "template_token", evidence=found.group())
    if rules.min_words is not None and words < rules.min_words:
        return reject(draft, "query", "too_short", score=words, threshold=rules.min_words)
    if rules.max_words is not None and words > rules.max_words:
        return reject(draft, "query", "too_long", score=words, threshold=rules.max_words)
    if rules.assistant_speech and (found := _ASSISTANT.search(text)) is not None:
        return reject(draft, "query", "assistant_speech", evidence=found.group())
    return None
