"""`factory.run`: a recipe in, a dataset out; resumed by doing the same again.

The program runs from its start each time, and the journal answers what is known. The runner opens the
directory, lets the pipeline run, and writes what came of it; it knows nothing of methods or engines.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.card import card
from factory.claims import take_audits, write_claims
from factory.context import Session, Stats, Unmade
from factory.context.asker import EngineAsker, build_engine
from factory.context.budget import Ledger
from factory.context.refusals import Refusals
from factory.dataset import Collected
from factory.engines.protocol import Engine
from factory.errors import FactoryError
from factory.journal import Journal, disk_error
from factory.manifest import build_manifest, file_hash, inputs
from factory.pipeline import Pipeline, run_to_end
from factory.progress import Progress
from factory.recipe import Recipe, load_recipe, model_identity
from factory.recipe.tables import TableSource
from factory.recipe.taint import KEPT, kept_private
from factory.records import Record
from factory.rundir import RunDir

EXIT_DONE, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 4, 130
CLOCK_EVERY_S = 2.0


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        path: The run directory.
        status: `complete`, `preview`, `partial` (a budget or a stop rule ended it) or `interrupted`.
        message: Why it is not complete; empty when it is.
        rows: Kept rows in the dataset.
        exit_code: What the command line ends with.
        manifest: The manifest as written.
        first: The first few kept records.
    """

    path: Path
    status: str
    message: str
    rows: int
    exit_code: int
    manifest: dict[str, Any] = field(repr=False)
    first: list[Record] = field(repr=False)


def run(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    accept_changes: bool = False,
    engine: Engine | None = None,
    progress: bool = True,
) -> RunResult:
    """Run a recipe, or go on where an earlier run into the same directory ended.

    Args:
        recipe: Recipe file, or one that is loaded already.
        out: Run directory; `runs/<recipe name>` by default.
        overrides: `step.option=value` settings.
        limit: Preview: end after so many rows.
        accept_changes: Go on in a directory that holds a run of another version of the recipe.
        engine: An engine of your own instead of the recipe's.
        progress: Whether to report progress on standard error.

    Raises:
        FactoryError: With the sentence to show to the user.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(Path(recipe), overrides)
    directory = RunDir(Path(out) if out is not None else Path("runs") / loaded.head.name)
    with directory.locked():
        directory.claim(loaded, accept_changes=accept_changes)
        if limit is not None:
            directory.keep_from_preview(limit)
        return execute(loaded, directory, overrides=overrides, limit=limit, engine=engine, progress=progress)


def execute(
    recipe: Recipe,
    directory: RunDir,
    *,
    overrides: Sequence[str] = (),
    limit: int | None = None,
    engine: Engine | None = None,
    progress: bool = True,
    unmade: Unmade | None = None,
) -> RunResult:
    """Run in a directory that is locked and claimed; arguments as for `run`.

    Args:
        recipe: What to run.
        directory: Where.
        overrides: Settings that the recipe was loaded with, for the manifest.
        limit: Preview.
        engine: Instead of the recipe's.
        progress: Whether to report.
        unmade: Ask nothing, and file with it what the journal cannot answer.
    """
    recipe.require_sound()
    return run_to_end(_Run(recipe, directory, list(overrides), limit, engine, progress, unmade).execute())


class _Run:
    """One session on one directory."""

    def __init__(
        self,
        recipe: Recipe,
        directory: RunDir,
        overrides: list[str],
        limit: int | None,
        engine: Engine | None,
        progress: bool,
        unmade: Unmade | None,
    ) -> None:
        self.recipe = recipe
        self.unmade = unmade
        self.directory = directory
        self.overrides = overrides
        self.limit = limit
        names = [step.name for step in recipe.steps]
        self.inputs = inputs(recipe)
        self.held = directory.dataset()
        self.kept = kept_private(directory.manifest() or {})  # what lies there, until this session has ended
        self.last_engine = (directory.manifest() or {}).get("engine")  # which made what the journal holds
        self.progress = Progress(recipe.head.name, enabled=progress)
        self.asker = EngineAsker(self._builder(engine), self.progress.say)
        self.journal = Journal(directory.journal)
        try:
            self.loaded_before = float(self.journal.meta("loading") or 0.0)
            self.session = self._session(names)
            self.collected = Collected(directory.spool, names, of_tables=_learns_tables(recipe))
        except BaseException:
            self.journal.close()
            raise

    def _builder(self, engine: Engine | None) -> Callable[[], Engine]:
        if engine is not None:
            return lambda: engine
        return lambda: build_engine(self.recipe.head.engine, self.recipe.base, self.progress.say)

    def _session(self, names: list[str]) -> Session:
        head = self.recipe.head
        budget = head.budget
        seconds = float(self.journal.meta("seconds") or 0.0)
        return Session(
            asker=None if self.unmade is not None else self.asker,
            unmade=self.unmade,
            journal=self.journal,
            ledger=Ledger(
                budget, self.journal.spent, seconds, head.engine.tensor_parallel_size, self.journal.meta("budget")
            ),
            stats=Stats(names),
            model=model_identity(head.engine, self.recipe.base),
            chat=head.engine.chat,
            refusals=Refusals(self.journal, head.engine),
            seed=head.seed,
            max_in_flight=head.engine.max_in_flight,
            base=self.recipe.base,
            files=self.directory.artifacts,
            limit=self.limit,
        )

    async def execute(self) -> RunResult:
        """Run the steps, then write what they gave."""
        main = asyncio.current_task()
        try:
            self.directory.write_recipe(self.recipe.text)
            self._write_manifest("running", "")
            self.progress.start(self.session)
            with _Signals(main, self.progress.say) as signals:
                await self._steps()
                signals.end_at_once()
                return self._finish()
        except asyncio.CancelledError:
            return self._interrupted(main)
        except FactoryError as error:
            self._fail(error)
            raise
        finally:
            await self._shut_down()

    async def _steps(self) -> None:
        clock = asyncio.create_task(self._keep_time())
        try:
            await Pipeline(self.recipe, self.session, self.collected).run()
        finally:
            clock.cancel()
        self.journal.flush()

    async def _keep_time(self) -> None:
        """A killed process keeps the time that it has taken from its budget."""
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            self._write_time()

    def _write_time(self) -> None:
        with suppress(FactoryError):  # of the journal: whoever puts a completion into it is told
            self.journal.set_meta("seconds", f"{self.session.ledger.seconds:.3f}")
            self.journal.set_meta("loading", f"{self.loaded_before + self.asker.loading_s:.3f}")

    async def _shut_down(self) -> None:
        self.progress.stop()
        try:
            await self.asker.close()
        finally:
            self._write_time()
            self.journal.close()
            self.collected.close()

    def _interrupted(self, main: asyncio.Task[Any] | None) -> RunResult:
        if main is not None:
            main.uncancel()
        self.journal.flush()
        message = "interrupted; run the same command again to go on from here"
        manifest = self._write_manifest("interrupted", message)
        return RunResult(self.directory.path, "interrupted", message, 0, EXIT_INTERRUPTED, manifest, [])

    def _fail(self, error: FactoryError) -> None:
        with suppress(FactoryError):  # a second error here would hide the first
            self.journal.flush()
            self._write_manifest("failed", str(error))

    def _finish(self) -> RunResult:
        ended = [sentence for _, sentence in self.session.ended.values()]
        ended += [self.unmade.told] if self.unmade is not None and self.unmade.told else []
        status = "partial" if ended else "preview" if self.limit is not None else "complete"
        message = " ".join(ended)
        wanted = self.recipe.head.accept
        if status == "complete" and wanted is not None and self.collected.rows < wanted:
            status = "partial"
            message = (
                f"{wanted:,} rows were asked for; the steps gave {self.collected.rows:,}. 'factory show' tells why."
            )
        if self.session.ledger.refused:
            self.journal.set_meta("budget", self.session.ledger.mark)
        self.progress.say(f"writing {self.collected.rows:,} {'row' if self.collected.rows == 1 else 'rows'}")
        take_audits(self.session.stats, self.directory.artifacts)
        try:
            staging = self.directory.staging
            self.collected.write(staging, self.session, self.recipe.head.output.rows_per_shard)
            held = {"status": status, "rows": self.collected.rows, "digest": file_hash(staging / "data")}
            manifest = self._manifest(status, message, held)
            text = card(manifest, staging / "data", self.directory.recipe_text())
            (staging / "README.md").write_text(text, encoding="utf-8")
            self.directory.install()
        except OSError as error:
            raise disk_error(self.directory.path, error) from error
        write_claims(self.session.stats, self.directory.artifacts)
        self.directory.write_manifest(manifest)
        code = EXIT_STOPPED if status == "partial" else EXIT_DONE
        return RunResult(
            self.directory.path, status, message, self.collected.rows, code, manifest, self.collected.first
        )

    def _manifest(self, status: str, message: str, dataset: dict[str, Any] | None) -> dict[str, Any]:
        engine = self.asker.engine
        return build_manifest(
            self.recipe,
            self.inputs,
            self.session,
            status=status,
            message=message,
            engine=engine.description if engine is not None else self.last_engine,
            rows=self.collected.rows,
            dataset=dataset,
            overrides=self.overrides,
        )

    def _write_manifest(self, status: str, message: str) -> dict[str, Any]:
        manifest = self._manifest(status, message, self.held) | ({KEPT: self.kept} if self.kept else {})
        self.directory.write_manifest(manifest)
        return manifest


class _Signals:
    """Ctrl-C and SIGTERM cancel the run once, cleanly; a second one ends the process at once."""

    def __init__(self, main: asyncio.Task[Any] | None, say: Callable[[str], None]) -> None:
        self._main = main
        self._say = say
        self._caught: list[signal.Signals] = []
        self._before = signal.getsignal(signal.SIGTERM)
        self._here = threading.current_thread() is threading.main_thread() and main is not None

    def __enter__(self) -> _Signals:
        if self._here:
            self._caught = [signal.SIGINT, signal.SIGTERM]
            for number in self._caught:
                asyncio.get_running_loop().add_signal_handler(number, self._stop)
        return self

    def _stop(self) -> None:
        self._say("stopping; what was answered is in the journal. A second signal ends the process at once")
        if self._main is not None:
            self._main.cancel()
        self._let_go()

    def end_at_once(self) -> None:
        """From now on the first signal ends the run where it stands, as an exception."""
        self._let_go()
        if self._here:
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def _let_go(self) -> None:
        while self._caught:
            asyncio.get_running_loop().remove_signal_handler(self._caught.pop())

    def __exit__(self, *_: object) -> None:
        self._let_go()
        if self._here and self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def _learns_tables(recipe: Recipe) -> bool:
    """Whether a step takes a table, so that rows of the dataset are rows of tables."""
    return any(isinstance(getattr(step.options, "table", None), TableSource) for step in recipe.steps)
