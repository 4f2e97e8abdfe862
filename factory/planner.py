"""`factory.plan`: what a run would ask, before it asks anything.

The recipe's steps run against the journal alone. Where it holds no answer, the request is counted and
what would follow from it is counted as dependent; a loop whose next prompt depends on the answer ends
there and gives a range, with what the range was estimated from.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from factory.context import Session, StageStats, Stats, Unmade
from factory.context.budget import Ledger
from factory.context.flow import ALL_KEPT
from factory.context.refusals import Refusals
from factory.context.session import Expected, Forecast
from factory.journal import Journal, Spent
from factory.pipeline import Pipeline, run_to_end
from factory.recipe import Recipe, Step, difference, load_recipe, model_identity
from factory.records import Record, Rejected
from factory.rundir import RunDir

CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class PlanLine:
    """One kind of request of one step.

    Attributes:
        step: Step of the recipe.
        stage: Kind of request within the step.
        reused: Requests that the journal answers.
        ask: Requests that would be sent, at least.
        ask_high: Requests that would be sent, at most; equal to `ask` where the plan is exact.
        dropped: Answers in the journal that this recipe no longer uses.
        prompt_tokens: Tokens of the prompts to be sent (of `ask_high` requests).
        completion_tokens: Tokens to be written (of `ask_high` requests).
        basis: What the figures were estimated from.
    """

    step: str
    stage: str
    reused: int
    ask: int
    ask_high: int
    dropped: int
    prompt_tokens: int
    completion_tokens: int
    basis: str


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        lines: One for each kind of request.
        exact: Whether the numbers of requests are exact.
        rows: Kept rows, as far as they follow from the journal.
        seconds: Expected wall-clock seconds at most; None where no speed was measured yet.
        gpu_hours: The same in GPU hours, if the recipe runs on one.
        speed: Measured completion tokens per second once the model is loaded; None where there is no pilot.
        notes: Further sentences for the user.
    """

    lines: list[PlanLine]
    exact: bool
    rows: int
    seconds: float | None
    gpu_hours: float | None
    speed: float | None
    notes: list[str] = field(default_factory=list)

    def total(self, what: str) -> int:
        """Sum of one attribute over all lines."""
        return sum(getattr(line, what) for line in self.lines)


class Count:
    """A sink that counts kept rows and files nothing."""

    def __init__(self) -> None:
        """None so far."""
        self.rows = 0

    def keep(self, record: Record) -> None:
        """Count it."""
        self.rows += 1

    def reject(self, step: str, rejected: Rejected) -> None:
        """Rejected records are counted by the statistics."""

    def pass_on(self, record: Record) -> None:
        """Nothing to file."""


def plan(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
) -> Plan:
    """Find out what `factory.run` with the same arguments would ask.

    Args:
        recipe: Recipe file, or one that is loaded already.
        out: Run directory whose journal counts; `runs/<recipe name>` by default. It need not exist.
        overrides: `step.option=value` settings.
        limit: As for `run`.

    Raises:
        FactoryError: With the sentence to show to the user.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe), overrides)
    directory = RunDir(Path(out) if out is not None else Path("runs") / loaded.head.name)
    with tempfile.TemporaryDirectory() as empty:
        there = directory.journal.exists()
        journal = Journal(directory.journal if there else Path(empty) / "journal.sqlite", read_only=there)
        try:
            return run_to_end(_plan(loaded, journal, directory, limit))
        finally:
            journal.close()


def journal_alone(
    recipe: Recipe, journal: Journal, *, limit: int | None = None, unmade: Unmade | None = None
) -> Session:
    """A session that asks nothing: it plans, or files with `unmade` what the journal cannot answer."""
    head = recipe.head
    return Session(
        asker=None,
        journal=journal,
        ledger=Ledger(head.budget, Spent(), 0.0, head.engine.tensor_parallel_size),
        stats=Stats([step.name for step in recipe.steps]),
        model=model_identity(head.engine, recipe.base),
        chat=head.engine.chat,
        refusals=Refusals(journal, head.engine),
        seed=head.seed,
        max_in_flight=head.engine.max_in_flight,
        base=recipe.base,
        limit=limit,
        unmade=unmade,
    )


async def _plan(recipe: Recipe, journal: Journal, directory: RunDir, limit: int | None) -> Plan:
    head, session = recipe.head, journal_alone(recipe, journal, limit=limit)
    sink = Count()
    await Pipeline(recipe, session, sink).run()
    lines = _lines(recipe, session, journal)
    spent = journal.spent
    speed = _speed(journal, spent)
    tokens = sum(line.completion_tokens for line in lines)
    seconds = tokens / speed if speed else None
    gpu_hours = seconds / 3600 * head.engine.tensor_parallel_size if seconds is not None else None
    exact = session.exact and all(line.ask == line.ask_high for line in lines)
    notes = _notes(recipe, session, directory, speed, tokens)
    notes += _budget_note(recipe, spent, sum(line.ask for line in lines))
    return Plan(lines, exact, sink.rows, seconds, gpu_hours, speed, notes)


def _lines(recipe: Recipe, session: Session, journal: Journal) -> list[PlanLine]:
    dropped = Counter(place for key, place in journal.keys().items() if key not in session.touched)
    lines: list[PlanLine] = []
    coming = counted = 0  # unknown records that the step before hands on: most there can be, and as the streams counted
    for step in recipe.steps:
        stats = session.stats[step.name]
        expected = _expected(step, coming)
        forecasts = [forecast for forecast in session.forecasts if forecast.step == step.name]
        lines += _step_lines(step, session, forecasts, expected, coming - counted, dropped)
        coming = stats.unknown - counted + coming * (expected.rows if expected is not None else 1)
        counted = stats.unknown
    return lines


def _expected(step: Step, coming: int) -> Expected | None:
    """What a piece that makes several requests or rows of a record says of one that cannot be known yet."""
    hook = getattr(step.module, "expects", None)
    if hook is None or not coming:
        return None
    expected: Expected = hook(step.options)
    requests = {stage: (low * coming, high * coming) for stage, (low, high) in expected.requests.items()}
    return Expected(requests=requests, rows=expected.rows)


def _step_lines(
    step: Step,
    session: Session,
    forecasts: list[Forecast],
    expected: Expected | None,
    more: int,
    dropped: Counter[tuple[str, str]],
) -> list[PlanLine]:
    """Lines of one step.

    Args:
        step: The step.
        session: Counts of the planning run.
        forecasts: What the step has said of itself.
        expected: What a record that cannot be known yet leads to, where the piece says so.
        more: Unknown records that come in beyond those that were counted.
        dropped: Answers in the journal that are not used, by step and stage.
    """
    stats = session.stats[step.name]
    known = {**stats.stages}
    named = [forecast.stage for forecast in forecasts] + list(expected.requests if expected is not None else ())
    stages = dict.fromkeys([*known, *named, *(stage for name, stage in dropped if name == step.name)])
    dependent = 0
    if not forecasts and expected is None and step.piece.kind == "method":
        dependent = more + stats.unknown - sum(stage.missing for stage in known.values())
        if not stages and dependent > 0:
            stages = {"requests": None}
    lines = []
    for stage in stages:
        counts = known.get(stage, StageStats())
        if dependent > 0 or expected is not None:
            session.exact = False
            stats.note(ALL_KEPT)
        beyond = next((forecast for forecast in forecasts if forecast.stage == stage), None)
        if beyond is None:
            beyond = _follows(step, stage, counts, max(0, dependent))
        if expected is not None and stage in expected.requests:
            low, high = expected.requests[stage]
            beyond = msgspec.structs.replace(beyond, low=beyond.low + low, high=beyond.high + high)
        lines.append(_line(beyond, counts, dropped[(step.name, stage)]))
        dependent = 0
    return lines


def _follows(step: Step, stage: str, counts: StageStats, dependent: int) -> Forecast:
    """Requests that follow from answers not made yet, and those for answers that will not have their form."""
    tries = getattr(step.options, "attempts", 1)
    more = (tries - 1) * (counts.missing + dependent)
    basis = f"an answer without its form is asked for up to {tries} times" if more else ""
    return Forecast(step=step.name, stage=stage, low=dependent, high=dependent + more, basis=basis)


def _line(beyond: Forecast, counts: StageStats, dropped: int) -> PlanLine:
    """What is known of a kind of request, and what is expected beyond."""
    ask, ask_high = counts.missing + beyond.low, counts.missing + beyond.high
    prompt = completion = 0.0
    bases = [beyond.basis] if beyond.basis else []
    bound = f"prompts at {CHARS_PER_TOKEN} characters a token, answers at max_tokens (an upper bound)"
    if ask_high and counts.reused:
        prompt, completion = counts.prompt_tokens / counts.reused, counts.completion_tokens / counts.reused
        bases.append(f"tokens: mean of {counts.reused:,} answers in the journal")
    elif ask_high and counts.missing:
        prompt = counts.missing_chars / counts.missing / CHARS_PER_TOKEN
        completion = counts.missing_max_tokens / counts.missing
        bases.append(f"tokens: {bound}")
    elif ask_high and beyond.max_tokens:
        prompt, completion = beyond.prompt_chars / CHARS_PER_TOKEN, float(beyond.max_tokens)
        bases.append(f"tokens: {bound}")
    elif ask_high:
        bases.append("tokens: not known before a first answer")
    return PlanLine(
        beyond.step,
        beyond.stage,
        counts.reused,
        ask,
        ask_high,
        dropped,
        round(prompt * ask_high),
        round(completion * ask_high),
        "; ".join(bases),
    )


def _speed(journal: Journal, spent: Spent) -> float | None:
    seconds = float(journal.meta("seconds") or 0.0) - float(journal.meta("loading") or 0.0)
    return spent.completion_tokens / seconds if seconds > 0 and spent.completion_tokens else None


def _notes(recipe: Recipe, session: Session, directory: RunDir, speed: float | None, tokens: int) -> list[str]:
    notes = []
    manifest = directory.manifest()
    if manifest is not None and (lines := difference(manifest["recipe"], recipe.resolved())):
        notes.append("the recipe differs from the one in that directory: " + "; ".join(lines))
    if speed is None and tokens:
        notes.append(
            "time: not known before a pilot; 'factory run RECIPE --limit 5' measures it, and its answers are reused"
        )
    for stats in session.stats.steps.values():
        notes += stats.notes
    return list(dict.fromkeys(notes))


def _budget_note(recipe: Recipe, spent: Spent, ask: int) -> list[str]:
    """What the budget leaves, where it is less than the plan."""
    limit = recipe.head.budget.requests
    if limit is None or spent.requests + ask <= limit:
        return []
    left = max(0, limit - spent.requests)
    return [f"budget.requests of {limit:,} ends the run before that: {left:,} of {ask:,} requests are left"]
