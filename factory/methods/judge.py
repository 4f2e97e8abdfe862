"""Ask a model for a number: a rubric file over the rows, the score as a new column, and a threshold if wanted.

With `judge: {prompt: prompts/judge/difficulty.jinja, column: difficulty}` the row `{"instruction": "Name a river."}`
becomes `{"instruction": "Name a river.", "difficulty": 2.0}`, and the step reports the mean, by the values of a
column if `mean_by` names one (the epochs of Evol-Instruct). The shipped rubrics are the difficulty of a task from
1 to 10 (WizardLM, arXiv 2304.12244, section 4.4) and the quality of a question from 1 to 5 (Magpie, arXiv 2406.08464,
section 3). An answer without one readable number in range gives no score, never a middle one; it is asked again up
to `attempts` times.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field, model_validator

from factory.context import Answer, Context, each
from factory.engines.protocol import Constraint
from factory.errors import OptionError
from factory.prompts import Prompt, named_prompt
from factory.recipe.columns import require
from factory.recipe.schema import Count, SamplingOptions, StepOptions
from factory.records import Outcome, Record, reject

RETRY_TEMPERATURE = 0.7
MOST_MEANS = 12
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_DIGITS = r"-?\d{1,4}(?:\.\d{1,3}|,\d{1,2}(?!\d))?"
_NUMBER = re.compile(rf"(?<![\w.,/-])({_DIGITS})(?![\w%/]|[.,]\d)")
_NAMED = re.compile(
    r"(?:score|rating|difficulty|quality|complexity|grade)[^\S\n]*(?:\([^)\n]*\))?[\W_]{0,6}?(?:is|of|as|would be)?[^\S\n]*[:=]?\s*"
    rf"({_DIGITS})(?![\w%/]|[.,]\d)",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    rf"{_DIGITS}\s*(?:-|–|—|to|or|and)(?:\s*(?:maybe|perhaps))?\s*{_DIGITS}(?!\d)|,\s*(?:or|maybe|perhaps)\b"
)
_DENIED = re.compile(r"\b(?:not|isn['’]t)\s+(?:a\s+|an\s+)?\d", re.IGNORECASE)


class Options(StepOptions):
    """Options of `judge`.

    Attributes:
        prompt: Rubric: a prompt file whose inputs are columns of the rows.
        column: Column that gets the score.
        scale: Least and greatest score.
        minimum: Least score that is kept; rows below it, and rows without a score, are rejected.
        maximum: Greatest score that is kept.
        mean_by: Column by whose values the mean score is reported.
        small_model: Hold the answer to a whole number on the scale, where the engine can.
        sampling: How the judge's tokens are drawn.
        attempts: Tries until an answer can be read.
        window: Rows open at once; four times `engine.max_in_flight` by default.
        accept: Rows to keep; the step ends there.
    """

    prompt: str = "prompts/judge/difficulty.jinja"
    column: str = "difficulty"
    scale: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)] = Field(default=[1, 10])
    minimum: float | None = None
    maximum: float | None = None
    mean_by: str | None = None
    small_model: bool = False
    sampling: SamplingOptions = SamplingOptions(max_tokens=64, temperature=0.0)
    attempts: Count = 2
    window: Count | None = None
    accept: Count | None = None

    @model_validator(mode="after")
    def _scale_goes_up(self) -> Options:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("scale: the least score comes first, e.g. [1, 10]")
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if any(not self.scale[0] <= limit <= self.scale[1] for limit in limits) or limits != sorted(limits):
            raise ValueError("minimum and maximum must lie on the scale, the minimum below the maximum")
        return self


NEUTRAL = ("window", "mean_by")
JUDGES = ("minimum", "maximum")


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The rubric.

    Raises:
        OptionError: If it is missing, or no prompt file.
    """
    return [named_prompt(options.prompt, base)]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Incoming columns and the score.

    Raises:
        OptionError: If the rubric needs a column that the rows lack, or the new column exists already.
    """
    if incoming is None:
        return None
    wanted = [("prompt", name) for name in prompts(options, base)[0].header.inputs]
    wanted += [("mean_by", options.mean_by)] if options.mean_by is not None else []
    for option, name in wanted:
        require(option, name, incoming)
    if options.column in incoming:
        raise OptionError("column", f"the rows have a column '{options.column}' already; give the score another name.")
    return {*incoming, options.column}


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Ask once for every row; report the mean at the end."""
    prompt = prompts(options, ctx.base)[0]
    means: dict[str, list[float]] = {}
    unscored = 0

    async def work(record: Record) -> list[Outcome]:
        return [await _judged(record, ctx, options, prompt)]

    window = options.window or 4 * ctx.max_in_flight
    async for outcome in each(ctx, records, work, window=window, accept=options.accept):
        record = outcome if isinstance(outcome, Record) else getattr(outcome, "record", None)
        if record is not None and options.column in record.fields:
            score = record.fields[options.column]
            group = "" if options.mean_by is None else str(record.fields.get(options.mean_by))
            unscored += score is None
            means.setdefault(group, []).extend([] if score is None else [score])
        yield outcome
    _report(ctx, options, means, unscored)


async def _judged(record: Record, ctx: Context, options: Options, prompt: Prompt) -> Outcome:
    sampling, low, high = options.sampling.resolved(), options.scale[0], options.scale[1]
    form = Constraint(choice=tuple(str(number) for number in range(low, high + 1))) if options.small_model else None
    earlier: list[str] = []
    answer: Answer | None = None
    score: float | None = None
    for attempt in range(options.attempts):
        if attempt and sampling.temperature < RETRY_TEMPERATURE:
            sampling = msgspec.structs.replace(sampling, temperature=RETRY_TEMPERATURE)
        earlier += [answer.key] if answer is not None else []
        answer = await ctx.complete(
            prompt,
            record.fields,
            draw=record.id,
            attempt=attempt,
            sampling=sampling,
            constraint=form,
            stage=options.column,
        )
        score = read_score(answer.text, low, high)
        if score is not None:
            break
    if answer is None:
        raise ValueError(options.attempts)
    fields = {**record.fields, options.column: score}
    row = ctx.derive(answer, 0, fields, parents=(record.id,), root=record.family, also=tuple(earlier))
    return _kept(row, options, score, answer)


def _kept(row: Record, options: Options, score: float | None, answer: Answer) -> Outcome:
    limited = options.minimum is not None or options.maximum is not None
    if score is None:
        return reject(row, "judge", "no_score", evidence=answer.text[:300]) if limited else row
    if options.minimum is not None and score < options.minimum:
        return reject(row, "judge", "below_minimum", score=score, threshold=options.minimum, evidence=answer.text[:300])
    if options.maximum is not None and score > options.maximum:
        return reject(row, "judge", "above_maximum", score=score, threshold=options.maximum, evidence=answer.text[:300])
    return row


def read_score(text: str, low: int, high: int) -> float | None:
    """The number that an answer gives; None where it gives none, several, or one off the scale.

    >>> [read_score(text, 1, 10) for text in ("Score: 7/10", "I would rate this 8.5 out of 10.", "4", "12", "3 or 4")]
    [7.0, 8.5, 4.0, None, None]
    """
    plain = (
        re.sub(r"[*`_#]", "", unicodedata.normalize("NFKC", _THOUGHT.sub(" ", text)))
        .replace("−", "-")
        .replace("⁄", "/")
    )
    plain = re.sub(rf"(?<!\d){low}\s*(?:-|–|to|through|and)\s*{high}(?!\d)", " ", plain)
    plain = re.sub(rf"\s*(?:/|out of|on a scale of)\s*(?:a possible\s*)?{high}(?!\d|\.\d)", " ", plain)
    if re.search(r"\d\s*(?:/|out of)\s*\d", plain) or _SEVERAL.search(plain) or _DENIED.search(plain):
        return None
    numbers = [_value(found) for found in _NAMED.findall(plain)] or [_value(found) for found in _NUMBER.findall(plain)]
    distinct = set(numbers)
    if len(distinct) != 1:
        return None
    score = distinct.pop()
    return score if low <= score <= high else None


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def _report(ctx: Context, options: Options, means: dict[str, list[float]], unscored: int) -> None:
    """The mean score, as a sentence for the user."""
    if ctx.planning:
        return
    scored = {group: scores for group, scores in means.items() if scores}
    if options.mean_by is None and scored:
        scores = scored[""]
        ctx.note(f"mean {options.column}: {sum(scores) / len(scores):.2f} ({len(scores):,} rows)")
    elif scored:
        shown = sorted(scored, key=_natural)[:MOST_MEANS]
        parts = [f"{group}: {sum(scored[group]) / len(scored[group]):.2f} ({len(scored[group]):,})" for group in shown]
        more = f", and {len(scored) - MOST_MEANS} more" if len(scored) > MOST_MEANS else ""
        ctx.note(f"mean {options.column} by {options.mean_by} (rows): {', '.join(parts)}{more}")
    if unscored:
        ctx.note(f"{unscored:,} rows have no {options.column}: no answer of the judge could be read")


def _natural(group: str) -> tuple[float, str]:
    return (float(group), "") if re.fullmatch(r"-?\d+(\.\d+)?", group) else (float("inf"), group)
