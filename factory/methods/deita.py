"""Score rows for complexity and quality from token probabilities, after DEITA, with a minimum if wanted.

With `deita: {scores: [complexity, quality]}` the row `{"instruction": "Write a C function that reverses a string in
place.", "output": "#include <string.h> …"}` keeps its columns and gets `"complexity": 2.553, "quality": 3.385`. A
prompt asks for a digit; its score is the expectation over the first token of the answer, sum p(i) * i / sum p(i) for i
from 1 to 6, which tells rows apart that a digit would not (Liu et al. 2023, arXiv 2312.15685, section 2). A row's
`input` counts as part of its instruction. `evol_score` adds the product of both scores as the column `deita`, which the
paper sorts by.

Deviations: any model scores, not only the paper's trained ones, whose own prompts can be given (`complexity_prompt`,
`quality_prompt`, with `engine.chat: false`). Only the digits among the `top` likeliest tokens are seen, so a score
exists only where these hold `least_mass` of the probability. Where they do not, because the model answers in words or
thinks before it answers, there is no score: never a middle one, and nothing is asked again. The paper's choice of
distant rows among the best is left to the filters.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from factory.context import Answer, Context, each
from factory.context.session import Expected
from factory.engines.protocol import Sampling, TokenLogprob
from factory.errors import OptionError
from factory.prompts import Prompt, named_prompt
from factory.recipe.columns import require
from factory.recipe.schema import Count, StepOptions, Strict
from factory.records import Outcome, Record, reject

COMBINED = "deita"
SCALE = range(1, 7)
# A blank before the digit, also as the vocabularies of SentencePiece and of byte-level BPE write it.
_DIGIT = re.compile(r"[ ▁Ġ]?([1-6])")
_FIRST = Sampling(max_tokens=1, temperature=0.0)
ScoreName = Literal["complexity", "quality"]
Limit = Annotated[float, Field(ge=1.0, le=6.0)]


class Minimum(Strict):
    """Least scores that are kept; a row without such a score is rejected too.

    Attributes:
        complexity: From 1 to 6.
        quality: From 1 to 6.
        deita: Their product, from 1 to 36.
    """

    complexity: Limit | None = None
    quality: Limit | None = None
    deita: Annotated[float, Field(ge=1.0, le=36.0)] | None = None

    def given(self) -> dict[str, float]:
        """Limits by column."""
        return {name: limit for name, limit in self.model_dump().items() if limit is not None}


class Options(StepOptions):
    """Options of `deita`.

    Attributes:
        scores: Which scores are asked for; each becomes a column of its name.
        complexity_prompt: Prompt file of your own that asks for the complexity.
        quality_prompt: Prompt file of your own that asks for the quality.
        small_model: Prompts with rated examples, for models of about a billion parameters or fewer.
        evol_score: Add the column `deita`, complexity times quality.
        minimum: Least score by column; rows below it, and rows without that score, are rejected.
        least_mass: Probability that the digits 1 to 6 must hold together for a score, in (0, 1].
        top: Likeliest tokens among which the digits are looked for.
        window: Rows open at once; four times `engine.max_in_flight` by default.
        accept: Rows to keep; the step ends there.
    """

    scores: Annotated[list[ScoreName], Field(min_length=1)] = Field(default=["complexity", "quality"])
    complexity_prompt: str | None = None
    quality_prompt: str | None = None
    small_model: bool = False
    evol_score: bool = False
    minimum: Minimum = Minimum()
    least_mass: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    top: Annotated[int, Field(ge=len(SCALE), le=10**6, strict=True)] = 20
    window: Count | None = None
    accept: Count | None = None

    @model_validator(mode="after")
    def _minimum_of_what_is_asked(self) -> Options:
        if len(set(self.scores)) < len(self.scores):
            raise ValueError("scores: name each score once")
        if self.evol_score and len(self.scores) < 2:
            raise ValueError("evol_score: the product needs both scores, complexity and quality")
        missing = [name for name in self.minimum.given() if name not in made(self)]
        if missing:
            where = "set evol_score: true" if missing[0] == COMBINED else f"put {missing[0]} among the scores"
            raise ValueError(f"minimum.{missing[0]}: no such score is asked for; {where}")
        return self


NEUTRAL = ("window",)
JUDGES = ("minimum",)


def made(options: Options) -> list[str]:
    """Columns that rows get."""
    return [*options.scores, *([COMBINED] if options.evol_score else [])]


def prompts(options: Options, base: Path) -> list[Prompt]:
    """One prompt for each score.

    Raises:
        OptionError: If one is missing, or no prompt file.
    """
    suffix = "_small" if options.small_model else ""
    own = {"complexity": options.complexity_prompt, "quality": options.quality_prompt}
    return [
        named_prompt(own[score] or f"prompts/deita/{score}{suffix}.jinja", base, f"{score}_prompt")
        for score in options.scores
    ]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Incoming columns and the scores.

    Raises:
        OptionError: If a prompt needs a column that the rows lack, or a new column exists already.
    """
    if incoming is None:
        return None
    for score, prompt in zip(options.scores, prompts(options, base), strict=True):
        for name in prompt.header.inputs:
            require("scores" if name == "output" else f"{score}_prompt", name, incoming)
    for name in made(options):
        if name in incoming:
            raise OptionError("scores", f"the rows have a column '{name}' already; rename it or leave that score out.")
    return {*incoming, *made(options)}


def logprobs(options: Options) -> int:
    """Log-probabilities that the engine must be able to give."""
    return options.top


def expects(options: Options) -> Expected:
    """What planning counts for a row that cannot be known yet."""
    return Expected(requests={score: (1, 1) for score in options.scores})


class Scored(NamedTuple):
    """What an answer says of a row.

    Attributes:
        score: Expectation over the digits, in [1, 6]; None if they hold too little.
        mass: Probability of the digits together, in [0, 1].
        digits: Probability of each digit that was found.
    """

    score: float | None
    mass: float
    digits: dict[int, float]

    def __str__(self) -> str:
        """`1: 0.250, 2: 0.500; together 0.750`."""
        shown = ", ".join(f"{digit}: {share:.3f}" for digit, share in self.digits.items())
        return f"{shown}; together {self.mass:.3f}" if shown else "none of the digits 1 to 6"


def expectation(tokens: Iterable[TokenLogprob], least_mass: float) -> Scored:
    """The score that the likeliest first tokens give.

    >>> expectation([TokenLogprob("2", math.log(0.5)), TokenLogprob(" 2", math.log(0.25))], 0.5).score
    2.0
    >>> expectation([TokenLogprob("The", math.log(0.7)), TokenLogprob("5", math.log(0.3))], 0.5).score is None
    True
    """
    found: dict[int, float] = {}
    for token in tokens:
        if match := _DIGIT.fullmatch(token.text):
            digit = int(match.group(1))
            found[digit] = found.get(digit, 0.0) + math.exp(token.logprob)
    digits = dict(sorted(found.items()))
    mass = math.fsum(digits.values())
    if mass < least_mass:
        return Scored(None, mass, digits)
    return Scored(math.fsum(digit * share for digit, share in digits.items()) / mass, mass, digits)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Ask once for every score of every row; report the means at the end."""
    asked = dict(zip(options.scores, prompts(options, ctx.base), strict=True))
    found: dict[str, list[float]] = {name: [] for name in made(options)}
    unscored = dict.fromkeys(made(options), 0)

    async def work(record: Record) -> list[Outcome]:
        return [await _judged(record, ctx, options, asked)]

    window = options.window or 4 * ctx.max_in_flight
    async for outcome in each(ctx, records, work, window=window, accept=options.accept):
        record = outcome if isinstance(outcome, Record) else getattr(outcome, "record", None)
        for name in made(options):
            if record is not None and name in record.fields:
                score = record.fields[name]
                unscored[name] += score is None
                found[name] += [] if score is None else [score]
        yield outcome
    _report(ctx, options, found, unscored)


async def _judged(record: Record, ctx: Context, options: Options, asked: dict[ScoreName, Prompt]) -> Outcome:
    requests = [_asked(record, ctx, options, score, prompt) for score, prompt in asked.items()]
    # All to their end, also where one fails: what was asked is paid for, and belongs into the journal.
    answers = await asyncio.gather(*requests, return_exceptions=True)
    read: dict[str, Scored] = {}
    keys: list[str] = []
    for score, answer in zip(asked, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        read[score] = expectation(answer.logprobs, options.least_mass)
        keys.append(answer.key)
        last = answer
    scores: dict[str, float | None] = {name: found.score for name, found in read.items()}
    if options.evol_score:
        scores[COMBINED] = _product(scores["complexity"], scores["quality"])
    fields = {**record.fields, **scores}
    row = ctx.derive(last, 0, fields, parents=(record.id,), root=record.family, also=tuple(keys[:-1]))
    return _kept(row, options, scores, read)


async def _asked(record: Record, ctx: Context, options: Options, score: str, prompt: Prompt) -> Answer:
    values = record.fields if "input" in prompt.header.inputs else _with_input(record.fields)
    return await ctx.complete(prompt, values, draw=record.id, sampling=_FIRST, stage=score, logprobs=options.top)


def _with_input(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with the input as part of the instruction."""
    task, given = fields.get("instruction"), fields.get("input")
    if isinstance(task, str) and isinstance(given, str) and given.strip():
        return {**fields, "instruction": f"{task}\n\n{given}"}
    return fields


def _product(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other


def _kept(row: Record, options: Options, scores: dict[str, float | None], read: dict[str, Scored]) -> Outcome:
    limits = options.minimum.given()
    for name, limit in limits.items():
        score = scores[name]
        because = {name: read[name]} if name in read else read
        evidence = "; ".join(f"{of} {found}" for of, found in because.items())
        if score is None:
            return reject(row, "deita", "no_score", threshold=options.least_mass, evidence=evidence)
        if score < limit:
            return reject(row, "deita", "below_minimum", score=score, threshold=limit, evidence=evidence)
    return row


def _report(ctx: Context, options: Options, found: dict[str, list[float]], unscored: dict[str, int]) -> None:
    """Means, and how many rows have no score, as sentences for the user."""
    if ctx.planning:
        return
    for name, scores in found.items():
        if scores:
            ctx.note(f"mean {name}: {math.fsum(scores) / len(scores):.2f} ({len(scores):,} rows)")
        if unscored[name] and name != COMBINED:
            have = "row has" if unscored[name] == 1 else "rows have"
            ctx.note(
                f"{unscored[name]:,} {have} no {name}: the digits 1 to 6 hold less than {options.least_mass:g} of "
                "the probability of the answer's first token"
            )
