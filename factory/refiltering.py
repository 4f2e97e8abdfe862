"""`factory.refilter`: a finished run judged again with other thresholds, from its journal.

A run is a function of recipe, sources and completions. So the recipe of `DIR` is run again with the thresholds
changed, into a directory of its own, and answered by a copy of `DIR`'s journal; a model is asked for nothing.

    refilter("runs/tickets", "runs/strict", ["rouge_l.threshold=0.6"])  ->  2 rows leave, 89 stay

**What may change.** `factory.recipe.changes` says it before anything is run: options of filters, and what methods
only judge by (`JUDGES`). Self-Instruct's own threshold is not among them: what it accepts is shown in its later
prompts. A filter may still change what a later step asks, where that step's prompts show other rows than the one it
works on. So every request that the journal lacks is accounted for:

* `DIR` holds nothing that this step made of the row: the row is new to the step. It was let in by the change, and is
  filed as `refilter: not_generated`, or, where `DIR`'s run had ended before it came to this row, as
  `refilter: not_reached`, which ends the step as a spent budget does.
* `DIR` turned the row away in this very step because its request was refused: that verdict is kept.
* Anything else means that the request itself has changed, and is refused.

All of this is found out before the new directory is touched. With `generate` the new directory is then run as any
other, and what the journal lacks is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import __version__
from factory.comparison import Comparison, Filed, Held, Moved, compare, held, turned_away
from factory.context.context import NOT_REACHED
from factory.context.session import NotYetKnown
from factory.engines.protocol import Engine
from factory.errors import RecipeError, RunDirError, UserError
from factory.journal import WAL_SUFFIXES, Artifact, Journal, copy_journal
from factory.manifest import inputs
from factory.pipeline import Pipeline, run_to_end
from factory.planner import Count, journal_alone
from factory.progress import Progress
from factory.recipe import Recipe, fingerprint, load_recipe, model_identity
from factory.recipe.changes import Change, changes, judges
from factory.records import Record, Rejected, digest, reject
from factory.rundir import RunDir
from factory.runner import RunResult, execute

FINISHED = ("complete", "partial")
RULE, NOT_GENERATED = "refilter", "not_generated"
RECIPE = "recipe.yaml"
MARK = "refilter"  # in the journal of the new directory: which run it was made from, and with what
BEYOND = {  # verdicts on rows that a run has met and not gone into
    ("accept", "surplus"),
    ("accept", "beyond_preview"),
    ("request", "budget_spent"),
    (RULE, NOT_REACHED),
}


@dataclass(frozen=True)
class RefilterResult:
    """What came of judging a run again.

    Attributes:
        run: The new directory, as `factory.run` tells of it.
        source: The directory that was judged again; it is as it was.
        settings: The `--set` arguments.
        base: The argument of that name.
        changes: What they changed, e.g. `rouge_l.threshold: 0.7 -> 0.6`.
        rows: Rows that stay, enter and leave; None where the run was interrupted.
        lacking: Rows that were let in and lack later steps, by the step that they wait for; empty with `generate`.
        ended: Steps whose rows go on beyond what the old run had reached.
    """

    run: RunResult
    source: Path
    settings: tuple[str, ...]
    base: Path | None
    changes: list[str]
    rows: Comparison | None
    lacking: list[Moved] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def refilter(
    directory: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    generate: bool = False,
    base: str | Path | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> RefilterResult:
    """Judge a finished run again with other thresholds; the same call goes on where it was killed.

    Args:
        directory: Run directory; it is only read.
        out: Directory of the new run.
        overrides: `step.option=value` settings, on top of those that the run was made with.
        generate: Ask the model for what the journal lacks; the result is then that of a fresh run.
        base: Folder of the recipe file that the run was made from, where its relative paths begin; found by itself
            where that is the working directory or a folder above `directory`.
        engine: An engine of your own instead of the recipe's.
        progress: Whether to report progress on standard error.

    Raises:
        FactoryError: With the sentence to show to the user.
    """
    old, new = RunDir(Path(directory)), RunDir(Path(out))
    folder = None if base is None else Path(base)
    _check_places(old.path, new.path)
    with ExitStack() as writing, ExitStack() as reading:
        reading.enter_context(old.left_alone())
        source = _source(old, overrides, folder)
        counted, made = _count(old, source)
        writing.enter_context(new.locked())
        _claim(new, source)
        Progress(new.path.name, enabled=progress).say(_announced(source, counted, generate))
        _begin(new, old, source, made)
        reading.close()
        rest = None if generate else _Rest(source)
        run = execute(source.recipe, new, overrides=source.overrides, engine=engine, progress=progress, unmade=rest)
    return _result(run, source, rest, tuple(overrides), folder)


@dataclass(frozen=True)
class _Source:
    """The run that is judged again, and the recipe to judge it with."""

    manifest: dict[str, Any]
    held: Held
    recipe: Recipe
    overrides: list[str]
    changed: list[Change]

    @property
    def mark(self) -> str:
        """Names this run and this recipe; left in the journal of the new directory."""
        was = [self.manifest[key] for key in ("fingerprint", "files", "dataset")]
        return digest(MARK, was, self.manifest["recipe"]["accept"], fingerprint(self.recipe.resolved()))


def _check_places(old: Path, new: Path) -> None:
    one, other = old.resolve(), new.resolve()
    if one == other:
        raise RunDirError(f"{new}: is the run that is to be judged again; choose another --out: it stays as it is.")
    if other.is_relative_to(one) or one.is_relative_to(other):
        raise RunDirError(f"{new}: one of the two directories lies in the other ({old}); choose another --out.")


def _source(old: RunDir, settings: Sequence[str], base: Path | None) -> _Source:
    """Everything that is known of the run.

    Raises:
        UserError: If it cannot be judged again, or not with these settings.
    """
    manifest = _finished(old)
    was = _recipe_of(old, manifest, base)
    overrides = [*manifest["overrides"], *settings]
    recipe = load_recipe(old.path / RECIPE, overrides, base=was.base)
    changed = changes(was.resolved(), recipe.resolved())
    if refused := [change for change in changed if not change.judges]:
        raise UserError(_not_here(old.path, recipe, refused))
    model = model_identity(recipe.head.engine, recipe.base)
    if model != manifest["model"]:
        raise UserError(
            f"{old.path}: its answers are those of {manifest['model']}, and the recipe's model is here {model}; judge "
            "the run again where its model is, or run the recipe."
        )
    return _Source(manifest, held(old.path), recipe, overrides, changed)


def _finished(old: RunDir) -> dict[str, Any]:
    """The manifest of a run that has ended.

    What the journal of an unfinished run lacks could not be told from what a threshold lets in.
    """
    manifest = old.require_manifest()
    if manifest["status"] == "preview":
        raise RunDirError(f"{old.path}: holds a preview; run the recipe whole first: its answers are reused.")
    if manifest["status"] not in FINISHED:
        raise RunDirError(
            f"{old.path}: the run has not ended ({manifest['status']}), so that what its journal lacks cannot be told "
            "from what a threshold lets in. Run it to its end first: the same 'factory run' goes on."
        )
    if not old.journal.exists():
        raise RunDirError(
            f"{old.path}: has no {old.journal.name}, which holds the answers; nothing can be judged again."
        )
    if old.journal.with_name(old.journal.name + WAL_SUFFIXES[0]).exists():
        raise RunDirError(
            f"{old.path}: its last process was killed before it had closed the journal; run the same 'factory run' "
            "once more, which asks nothing."
        )
    return manifest


def _recipe_of(old: RunDir, manifest: dict[str, Any], base: Path | None) -> Recipe:
    """The recipe that was run, in the first folder from which everything is found as it was."""
    places = [base] if base is not None else [Path.cwd(), *old.path.resolve().parents]
    problems: list[tuple[int, str]] = []
    for place in dict.fromkeys(places):
        try:
            recipe = load_recipe(old.path / RECIPE, manifest["overrides"], base=place)
        except UserError as error:
            told = (
                f"{old.path}: not all that it was made from is found. Give the folder of its recipe file, where relative "
                f"paths begin, with --base FOLDER.\n{error}"
            )
            problems.append((len(error.problems) if isinstance(error, RecipeError) else 1, told))
            continue
        changed = _moved_on(recipe, manifest)
        if not changed:
            return recipe
        told = (
            f"{old.path}: since that run there are changes: {'; '.join(changed)}. Put back what it was made from, or run "
            "the recipe: what is unchanged is reused."
        )
        problems.append((0, told))
    raise UserError(min(problems)[1])  # of the folder from which most is found


def _moved_on(recipe: Recipe, manifest: dict[str, Any]) -> list[str]:
    """What is not as it was when the run was made."""
    resolved, found = recipe.resolved(), inputs(recipe)
    if len(resolved["steps"]) != len(manifest["recipe"]["steps"]):
        return [f"{RECIPE} has other steps"]
    lines = [str(change) for change in changes(manifest["recipe"], resolved)]
    for kind in ("files", "prompts"):
        before, now = manifest[kind], found[kind]
        lines += [f"{name} ({kind})" for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    return lines


def _not_here(path: Path, recipe: Recipe, refused: list[Change]) -> str:
    """Why these changes are not for refilter, and what is."""
    free = [
        f"{step.name}.{option}"
        for step in recipe.steps
        for option in type(step.options).model_fields
        if judges(step.piece, option)
    ]
    methods = any(change.step is not None and recipe.steps[change.step].piece.kind == "method" for change in refused)
    again = " (what a method accepts can come back in its later prompts, like the pool of self_instruct)"
    return (
        f"{'; '.join(map(str, refused))}: this has a part in which rows are read or what the model is asked"
        f"{again if methods else ''}, and refilter only judges. Here it may change "
        f"{', '.join(free) or 'nothing: the recipe has no filter'}. For the rest: factory run RECIPE --out {path} "
        f"{' '.join(f'--set {change.name}=…' for change in refused)} --accept-changes, which asks only what is new."
    )


class _Rest:
    """Accounts for every request that the journal lacks; see the head of this module."""

    def __init__(self, source: _Source) -> None:
        self._held = source.held
        self._places = {step.name: place for place, step in enumerate(source.recipe.steps)}
        self._changed = [change for change in source.changed if change.step is not None]
        self.lacking: Counter[str] = Counter()
        self.ended_in: dict[str, None] = {}

    @property
    def told(self) -> str:
        if not self.lacking:
            return ""
        return f"{_rows(self.lacking)}; they are in rejected/ as {RULE}: {NOT_GENERATED}."

    def rejected(self, step: str, record: Record) -> Rejected:
        filed = self._held.verdicts.get(record.id)
        if filed is not None and filed.step == step and filed.verdict.rule == "request":
            return Rejected(record, filed.verdict)
        if (step, record.id) in self._held.made:
            raise self._asks_otherwise(step, f" for the row {record.id}")
        if self._beyond(record, filed):
            return reject(record, RULE, NOT_REACHED, evidence=self._over(step))
        self.lacking[step] += 1
        was = self._held.verdict(record.id, {record.id: record.provenance.parents})
        before = "" if was is None else f"it was turned away in {was.step} by {was.rule} before; "
        return reject(record, RULE, NOT_GENERATED, evidence=f"{before}the journal has no answer of {step} for it")

    def ended(self, step: str) -> str:
        if any(change.step is not None and change.step <= self._places[step] for change in self._changed):
            raise self._asks_otherwise(step)
        return self._over(step)

    def _beyond(self, record: Record, filed: Filed | None) -> bool:
        """Whether the run had ended before it went into that row."""
        known = record.id in self._held.parents or record.family in self._held.parents
        return not known or (filed is not None and (filed.verdict.rule, filed.verdict.reason) in BEYOND)

    def _over(self, step: str) -> str:
        self.ended_in[step] = None
        return f"{step}: the run that was judged again had ended before this place, and so does its journal."

    def _asks_otherwise(self, step: str, where: str = "") -> UserError:
        lines = "; ".join(map(str, self._changed)) or "no change"
        return UserError(
            f"{self._held.path}: with {lines} the step '{step}' asks something else{where}: its prompts depend on other "
            "rows than the one they are for, or the journal is not that of this run. refilter asks nothing; run the "
            f"recipe: factory run RECIPE --out {self._held.path} --set … --accept-changes asks only what is new."
        )


def _rows(lacking: Counter[str]) -> str:
    """`12 rows that were let in lack later steps (entitle: 12)`."""
    by_step = ", ".join(f"{step}: {count:,}" for step, count in lacking.items())
    count = lacking.total()
    return f"{count:,} {'row that was' if count == 1 else 'rows that were'} let in lack later steps ({by_step})"


def _count(old: RunDir, source: _Source) -> tuple[_Rest, list[Artifact]]:
    """Play the whole recipe against the journal, and write nothing; also what had to be made for that."""
    rest = _Rest(source)
    journal = Journal(old.journal, read_only=True)
    try:
        session = journal_alone(source.recipe, journal, unmade=rest)
        run_to_end(Pipeline(source.recipe, session, Count()).run())
    except NotYetKnown as error:
        raise UserError(
            f"{old.path}: a step asks for several rows at once, and the journal lacks an answer to it; run the recipe."
        ) from error
    finally:
        journal.close()
    return rest, list(session.made.values())


def _announced(source: _Source, counted: _Rest, generate: bool) -> str:
    """What is said before anything is written."""
    then = "asking for them" if generate else f"nothing is asked: they are filed as {RULE}: {NOT_GENERATED}"
    parts = ["; ".join(map(str, source.changed)) or "nothing changes"]
    parts += [f"{_rows(counted.lacking)}; {then}"] if counted.lacking else []
    version = source.manifest["versions"].get("dataset-factory")
    parts += [f"note: the run was made by version {version}, this is {__version__}"] if version != __version__ else []
    return "\n".join(parts)


def _claim(new: RunDir, source: _Source) -> None:
    """Make sure that the new directory is free, or holds this very run.

    Raises:
        RunDirError: If it holds anything else than an earlier, perhaps unfinished, session of the same.
    """
    if new.journal.exists():
        journal = Journal(new.journal, read_only=True)
        try:
            found = journal.meta(MARK)
        finally:
            journal.close()
        if found != source.mark:
            raise RunDirError(f"{new.path}: holds another run; choose an empty or new --out.")
    elif new.manifest() is not None:
        raise RunDirError(f"{new.path}: holds a run without its journal; choose an empty or new --out.")
    new.claim(source.recipe, accept_changes=False)


def _begin(new: RunDir, old: RunDir, source: _Source, made: Sequence[Artifact]) -> None:
    """Make the new directory one that holds an unfinished run with the answers of the old one."""
    if not new.journal.exists():
        copy_journal(old.journal, new.journal, {MARK: source.mark}, made)
    if new.manifest() is None:
        resolved, none = source.recipe.resolved(), {"asked": 0, "reused": 0}
        begun = {"status": "running", "message": "", "rows": 0, "dataset": None, "steps": [], "requests": none}
        recipe = {"recipe": resolved, "fingerprint": fingerprint(resolved), "overrides": source.overrides}
        new.write_manifest({**source.manifest, **recipe, **begun})


def _result(
    run: RunResult, source: _Source, rest: _Rest | None, settings: tuple[str, ...], base: Path | None
) -> RefilterResult:
    before, changed = source.held, [str(change) for change in source.changed]
    after = None if run.status == "interrupted" else held(run.path)
    return RefilterResult(
        run=run,
        source=before.path,
        settings=settings,
        base=base,
        changes=changed,
        rows=None if after is None else compare(before, after),
        lacking=[] if after is None else turned_away(after, before, f"{RULE}: {NOT_GENERATED}"),
        ended=[] if rest is None else list(rest.ended_in),
    )
