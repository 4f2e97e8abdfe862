"""`factory filter`: any filters on any file, kept rows here, rejected rows there, nothing dropped in silence.

>>> import factory
>>> done = factory.filter("in.jsonl", "out.jsonl", filters=["rouge_l: {threshold: 0.7}"])  # doctest: +SKIP
>>> done.read, done.kept, done.rejected  # doctest: +SKIP
(5000, 3654, {'rouge_l: too_similar': 1346})
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import field as with_default
from itertools import chain as chained
from pathlib import Path
from typing import Any, Literal

from factory import __version__
from factory.datasets_io.chunks import Broken, Chunk
from factory.datasets_io.inputs import STDIN, Input, find_input
from factory.errors import RunDirError, SourceError, UserError
from factory.filtering.card import card, manifest
from factory.filtering.chain import Chain
from factory.filtering.kept import build
from factory.filtering.meter import Meter
from factory.filtering.pool import add_pool
from factory.filtering.session import FIRST_ROWS, NothingUsable, Session, nothing_usable
from factory.filtering.steps import Asked, Step, base, read_steps
from factory.filtering.stopping import Stop, interruptible
from factory.filtering.target import MANIFEST, Target, find_target
from factory.filtering.workdir import State, WorkDir, differences, sync_file
from factory.manifest import file_hash
from factory.recipe.named_files import named_files, private_sources
from factory.recipe.pieces import pieces
from factory.recipe.taint import require_public

EXIT_DONE, EXIT_INTERRUPTED = 0, 130
TELLS = "what is kept and what is dropped by private rows tells which those are; filter against public ones"
COPIED = "its rows would be written as a dataset that nothing marks as private; filter rows that may be shown"
ASKED = "asked"  # filters as they were asked for: told apart before the columns are known


@dataclass(frozen=True)
class FilterResult:
    """What a filter has done.

    Attributes:
        status: `complete`, or `interrupted`: the same call goes on.
        read: Rows of the input.
        kept: Rows that every filter kept.
        rejected: All others by filter and reason, e.g. `{"rouge_l: too_similar": 3}`; broken rows are `input: …`.
        out: The file or folder of kept rows.
        rejected_path: The file or folder of rejected rows.
        seconds: Time that this session took.
        resumed: Rows that an earlier session had judged.
        warnings: What is worth a second look.
        compared: Column that each filter looked at, where it looks at one.
    """

    status: Literal["complete", "interrupted"]
    read: int
    kept: int
    rejected: dict[str, int]
    out: Path
    rejected_path: Path
    seconds: float
    resumed: int = 0
    warnings: tuple[str, ...] = ()
    compared: Mapping[str, str] = with_default(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 130 if it was interrupted."""
        return EXIT_DONE if self.status == "complete" else EXIT_INTERRUPTED

    @property
    def rows_per_s(self) -> float:
        """Rows judged a second in this session."""
        return (self.read - self.resumed) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class _Command:
    """What was asked for."""

    source: Input
    target: Target
    steps: tuple[Step, ...]
    pools: tuple[Path, ...]
    strict: bool
    overwrite: bool
    progress: bool


def filter(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    filters: str | Mapping[str, Any] | Asked | Sequence[str | Mapping[str, Any] | Asked],
    field: str | None = None,
    against: Sequence[str | Path] = (),
    tokenizer: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = False,
) -> FilterResult:
    """Pass rows through filters; ended at any moment, the same call goes on and gives the same bytes.

    Args:
        inputs: A file, a folder of files, several of them, or `-` for JSON Lines on standard input.
        out: A name that ends in .jsonl, .csv, .tsv or .parquet, or a folder.
        filters: In order, each as YAML (`"rouge_l: {threshold: 0.7}"`) or as a mapping of that form.
        field: Column that the filters compare.
        against: Files whose texts count as kept before the first row; they are not written.
        tokenizer: `auto`, `rouge` or `unicode`, for the filters that have tokens.
        strict: Stop at the first row that cannot be used, instead of rejecting it.
        overwrite: Replace what is at `out`, at the end.
        restart: Throw away what an earlier, unfinished call has written.
        progress: Show progress on standard error.

    Raises:
        UserError: If something is wrong with the arguments or the input.
        DiskError: If the result cannot be written.
    """
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    filters = [filters] if isinstance(filters, str | Mapping | Asked) else filters
    steps = read_steps(filters, field=field, tokenizer=tokenizer)
    target = find_target(out)
    source = find_input([str(name) for name in names])
    pools = tuple(Path(name) for name in against)
    command = _Command(source, target, tuple(steps), pools, strict, overwrite, progress)
    _require_public(command)
    began, work = time.monotonic(), WorkDir(target.partial)
    try:
        with interruptible() as stop, ExitStack() as held:
            with stop.held():
                held.enter_context(work.locked())
            if restart:
                work.clear()
            return _filtered(command, work, began, stop)
    except KeyboardInterrupt:
        return _interrupted(target, work.state(), began)


def _require_public(command: _Command) -> None:
    """Make sure that nothing private is read.

    Raises:
        UserError: If something is.
    """
    require_public([name for name in command.source.names if name != STDIN], "IN", COPIED)
    require_public(command.pools, "--against", TELLS)
    for step in command.steps:
        if private_sources(step.options):
            raise UserError(f"{step.origin}: {step.kind}: 'private: true': {TELLS}.")
        read = getattr(pieces()[step.kind].module(), "files", None)  # a mere name may be a folder to it
        files = [named.path for named in named_files(step.options, base())]
        require_public([*files, *(read(step.options, base()) if read else ())], step.origin, TELLS)


def _filtered(command: _Command, work: WorkDir, began: float, stop: Stop) -> FilterResult:
    target, before = command.target, work.state()
    moving = before is not None and before.phase == "moving"
    target.check(command.source, command.pools, overwrite=command.overwrite, moving=moving)
    try:
        if before is not None and moving:
            return _moved(command, work, before, began, stop)
        return _judged(command, work, before, began, stop)
    except NothingUsable:
        work.clear()
        raise


def _interrupted(target: Target, state: State | None, began: float) -> FilterResult:
    rows, rejected = (state.rows, state.rejected) if state is not None else (0, {})
    kept = rows - sum(rejected.values())
    seconds = time.monotonic() - began
    return FilterResult("interrupted", rows, kept, rejected, target.out, target.rejected, seconds)


def _moved(command: _Command, work: WorkDir, state: State, began: float, stop: Stop) -> FilterResult:
    """Finish a result of which only the renames were left."""
    _check_same(state, {**state.settings, **_settings(command)}, work)
    stop.wait()
    command.target.move()
    work.remove()
    return _result(command.target, state, began, state.rows, ())


def _judged(command: _Command, work: WorkDir, before: State | None, began: float, stop: Stop) -> FilterResult:
    first, chunks = _beginning(command.source)
    chain = Chain(command.steps, _columns(first, command.source))
    settings = {**_settings(command), "filters": chain.settings()}
    if before is not None:
        _check_same(before, settings, work)
    with Meter(command.source.total, enabled=command.progress) as meter:
        warnings = add_pool(chain, command.pools)
        session = Session(command.target, work, command.source, chain, settings)
        if session.resumed:
            meter.say(f"going on after row {session.resumed:,}")
        try:
            session.run(chunks, meter, stop, strict=command.strict)
            session.check()
            return _finished(command, work, session, began, stop, [*warnings, *chain.warnings()])
        finally:
            session.close()


def _finished(
    command: _Command, work: WorkDir, session: Session, began: float, stop: Stop, warnings: Sequence[str]
) -> FilterResult:
    """Build the result and move it into place."""
    target, counts = command.target, (session.kept, session.rejected.total())
    said = manifest(session.settings, session.rows, session.kept, session.rejected)
    build(target, session.way, counts, {MANIFEST: said, "README.md": card(target, session)})
    for part in target.parts:
        sync_file(target.staged(part))
    stop.wait()
    session.commit("moving")
    state = work.state()
    target.move()
    work.remove()
    if state is None:
        raise RunDirError(f"{work.path}: its state was removed meanwhile; look at {target.out} before you use it.")
    if not session.kept:
        warnings = [*warnings, "no row is left."]
    return _result(target, state, began, session.resumed, warnings, session.chain.compared)


def _result(
    target: Target,
    state: State,
    began: float,
    resumed: int,
    warnings: Sequence[str],
    compared: Mapping[str, str] | None = None,
) -> FilterResult:
    kept = state.rows - sum(state.rejected.values())
    seconds = time.monotonic() - began
    places = target.out, target.rejected
    return FilterResult(
        "complete", state.rows, kept, state.rejected, *places, seconds, resumed, tuple(warnings), compared or {}
    )


def _settings(command: _Command) -> dict[str, Any]:
    """What decides the result, apart from the filters."""
    return {
        "version": __version__,
        "inputs": [str(file) for file in command.source.files],
        "against": {str(pool): file_hash(pool) for pool in command.pools},
        ASKED: [{step.name: step.options.model_dump(mode="json", by_alias=True)} for step in command.steps],
    }


def _check_same(state: State, settings: dict[str, Any], work: WorkDir) -> None:
    lines = differences(state.settings, settings)
    if lines := [line for line in lines if not line.startswith(ASKED)] or lines:
        changed = "\n".join(f"  {line}" for line in lines)
        raise RunDirError(
            f"{work.path}: holds an unfinished result of another command. It differs in:\n{changed}\n"
            "Give the same command to go on with it, or begin anew with --restart."
        )


def _beginning(source: Input) -> tuple[list[Chunk], Iterator[Chunk]]:
    """The first chunks, and all of them."""
    chunks, first = source.chunks(), list[Chunk]()
    for chunk in chunks:
        first.append(chunk)
        if sum(map(len, first)) >= FIRST_ROWS:
            break
    return first, chained(first, chunks)


def _columns(first: Sequence[Chunk], source: Input) -> list[str]:
    """Columns of the first rows.

    Raises:
        SourceError: If there are none.
    """
    names = list(dict.fromkeys(name for chunk in first for name in chunk.columns()))
    if names:
        return names
    if not first:
        raise SourceError(f"{', '.join(source.names)}: has no rows; expected at least one.")
    row = first[0].rows(None)[0]
    broken = row if isinstance(row, Broken) else Broken("", "a row without columns")
    raise nothing_usable(first[0].place(0), broken, sum(map(len, first)))
