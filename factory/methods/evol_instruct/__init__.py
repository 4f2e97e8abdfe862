"""Evol-Instruct: tasks are rewritten into harder or rarer ones, epoch after epoch; weak ones are eliminated.

From `{"instruction": "Name three rivers.", "output": "The Nile, …"}` come itself and rows like

    {"instruction": "Name three rivers that cross a border and say which countries share them.", "output": "…",
     "epoch": 1, "operation": "add_constraint", "parent_id": "5f0c…"}

Paper: Xu et al. 2023, "WizardLM: Empowering Large Language Models to Follow Complex Instructions" (arXiv
2304.12244, ICLR 2024), section 3: six operations drawn uniformly, an answer for every evolved task, four rules of
elimination, the parent put back where an evolution fails, start set and all epochs merged and shuffled.
`operations` with the names of WizardCoder's five makes it "WizardCoder" (arXiv 2306.08568), section 3.1.

Deviations, and why: the judge of equality comes before the answer, which is then not paid for what is dropped; a
cut answer is no answer; a task that asks for an apology may get one. Each failed evolution is kept as rejected.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from factory.context import Context, each
from factory.context.flow import surplus
from factory.context.session import Expected
from factory.errors import OptionError
from factory.methods.evol_instruct.chain import Chains, Tally, prompt_names
from factory.methods.evol_instruct.operations import COUNTED, WORDS_WANTED
from factory.methods.evol_instruct.options import Options
from factory.prompts import Prompt, shipped_prompt
from factory.recipe.columns import require
from factory.records import Outcome, Record, digest, reject

__all__ = ["NEUTRAL", "Options", "columns", "expects", "prompts", "remarks", "run"]

NEUTRAL = ("window", "shuffle", "sample", "include_start")
COLUMNS = ("instruction", "output", "epoch", "operation", "parent_id")


def prompts(options: Options, base: Path) -> list[Prompt]:
    """The prompts of the chosen operations, of the answer and of the judge."""
    return [shipped_prompt(name) for name in prompt_names(options).values()]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows.

    Raises:
        OptionError: If the rows have no such columns.
    """
    taken = sorted(set(options.keep_columns) & set(COLUMNS))
    if taken:
        raise OptionError("keep_columns", f"{', '.join(taken)} belongs to the dataset already; leave it out.")
    given = [name for name in ("input", "output") if name in options.columns.model_fields_set]
    for option, name in [
        ("columns.instruction", options.columns.instruction),
        *((f"columns.{name}", getattr(options.columns, name)) for name in given),
        *(("keep_columns", name) for name in options.keep_columns),
    ]:
        require(option, name, incoming)
    return {*options.keep_columns, *COLUMNS}


def remarks(options: Options, base: Path) -> list[str]:
    """What will not do what its author may expect."""
    name = options.name or "evol_instruct"
    coded = [operation for operation in options.operations if operation.startswith("code_")]
    if options.small_model and coded:
        return [f"{name}.small_model: there are no prompts for small models for {', '.join(coded)}"]
    return []


def expects(options: Options) -> Expected:
    """What planning counts for a row that cannot be known yet."""
    epochs = options.epochs
    judged = epochs * options.judge_attempts if options.elimination.equal else 0
    requests = {"evolve": (epochs, epochs), "judge": (0, judged), "answer": (0, epochs)}
    return Expected(requests=requests, rows=epochs + options.include_start)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Evolve every row, and yield start set and evolutions, mixed at the end unless `shuffle` is off."""
    chains = Chains(ctx, options)
    sample = options.sample if ctx.session.limit is None else None  # a preview shows what there is
    mixed = options.shuffle or sample is not None
    limits = [options.accept, ctx.session.limit if mixed else None]
    accept = min((limit for limit in limits if limit is not None), default=None)
    stream = each(ctx, records, chains.make, window=options.window or 4 * ctx.max_in_flight, accept=accept)
    counted = _counted(stream, chains.tally)
    try:
        async with aclosing(_mixed(ctx, counted, sample) if mixed else counted) as outcomes:
            async for outcome in outcomes:
                yield outcome
    finally:
        _report(ctx, options, chains.tally)


async def _counted(outcomes: AsyncIterator[Outcome], tally: Tally) -> AsyncGenerator[Outcome, None]:
    async for outcome in outcomes:
        tally.count(outcome)
        yield outcome


async def _mixed(ctx: Context, outcomes: AsyncIterator[Outcome], sample: int | None) -> AsyncGenerator[Outcome, None]:
    """Rejected records at once; the rows, once all are there, in the order of a hash, as many as wanted."""
    rows: list[Record] = []
    try:
        async for outcome in outcomes:
            if isinstance(outcome, Record):
                rows.append(outcome)
            else:
                yield outcome
        rows.sort(key=lambda row: digest("shuffle", ctx.session.seed, ctx.step, row.id), reverse=True)
        made = len(rows)
        drawn = made if sample is None else sample
        if made < drawn and not ctx.planning:
            ctx.end("short", f"{drawn:,} rows were to be drawn; the {made:,} that were made are all there is.")
        left = len(rows) - drawn
        while rows:
            row = rows.pop()
            if len(rows) >= left:
                yield row
            else:
                evidence = f"{drawn:,} of {made:,} rows were drawn"
                yield reject(row, "sample", "not_drawn", threshold=float(drawn), evidence=evidence)
    finally:
        for row in rows:
            ctx.leave(surplus(row))


def _report(ctx: Context, options: Options, tally: Tally) -> None:
    """Tell what the operations came to; while planning, what may be asked beyond what is known."""
    if ctx.planning:
        for stage, most in tally.beyond.items():
            if most:
                basis = "an evolution is judged only if it can be read, and answered only if it is kept"
                ctx.forecast(stage, 0, most, basis)
        return
    for operation in sorted(tally.kept.keys() | tally.failed.keys()):
        kept, tried = tally.kept[operation], tally.kept[operation] + tally.failed[operation]
        sentence = f"{operation}: {kept:,} of {tried:,} evolutions kept"
        if kept:
            sentence += f", {tally.words[operation] / kept:+.1f} words on average"
        if kept and operation in COUNTED and not options.small_model:
            sentence += f" ({WORDS_WANTED[0]} to {WORDS_WANTED[1]} are asked for)"
        ctx.note(sentence)
    if tally.instances:
        ctx.note(f"{tally.instances:,} further instances of rows are left out: the first one of each is evolved")
    if tally.reasons and not tally.kept:
        reason, count = tally.reasons.most_common(1)[0]
        ctx.note(f"no evolution was kept; {count:,} of {tally.reasons.total():,} failed by {reason}")
