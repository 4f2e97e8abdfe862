"""Load a recipe: read, override, validate, and check what can be checked without a model.

`load_recipe(Path("quickstart.yaml"), ["self_instruct.accept=100"])` gives a `Recipe`, or raises one
`RecipeError` that holds every problem with its line and column.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, OptionError, Problem, RecipeError, UserError
from factory.recipe import strict_yaml, taint
from factory.recipe.engine_check import check_engine, check_logprobs
from factory.recipe.override import Override, override
from factory.recipe.pieces import pieces
from factory.recipe.schema import Head, StepOptions
from factory.recipe.step import Place, Step
from factory.recipe.suggest import did_you_mean
from factory.recipe.validate import validate
from factory.resources import recipes, resource

WINDOW_PER_SLOT = 4


@dataclass(frozen=True)
class Recipe:
    """A valid recipe.

    Attributes:
        head: Everything but the steps.
        steps: The steps in order; the first ones are sources.
        base: Folder that relative paths start from.
        file: The recipe file as named by the user.
        text: The file, verbatim.
    """

    head: Head
    steps: tuple[Step, ...]
    base: Path
    file: str
    text: str

    @property
    def private_steps(self) -> list[Step]:
        """Steps that are differentially private, by their method; some may be told to be otherwise."""
        return [step for step in self.steps if step.reads_private]

    @property
    def stays_private(self) -> str:
        """Why the dataset may not be treated as public; empty if it may, as far as its sources go."""
        return taint.stays_private(self.steps)

    def require_sound(self) -> None:
        """Make sure once more that nothing private is read but with privacy: a ledger may be there since it was loaded.

        Raises:
            RecipeError: If something would be.
        """
        if found := taint.findings(self.steps, self.base):
            places = [strict_yaml.dotted((*step.place, *option)) for step, option, _ in found]
            told = zip(places, found, strict=True)
            raise RecipeError([Problem(self.file, 0, 0, place, each.message) for place, each in told])
        if any(step.asks for step in self.steps) and (of_engine := taint.of_engine(self.head.engine, self.base)):
            raise RecipeError([Problem(self.file, 0, 0, strict_yaml.dotted(place), told) for place, told in of_engine])

    def remarks(self) -> list[str]:
        """What is right but worth knowing: kept columns that get another name, rows that stay private."""
        found: list[str] = []
        for step in self.steps:
            hook = getattr(step.module, "remarks", None)
            found += hook(step.options, self.base) if hook else []
        found = list(dict.fromkeys(found))
        if self.stays_private and not any("NOT PRIVATE" in sentence for sentence in found):
            found.insert(0, f"NOT PRIVATE: {self.stays_private}; do not share the dataset")
        engine = self.head.engine
        local = engine.kind in ("auto", "vllm", "transformers") and not engine.urls
        if local and "/" in engine.model and not engine.model.startswith((".", "/", "~")) and engine.revision is None:
            found.append(
                f"engine.model: pin {engine.model} with 'revision:' so that its answers stay reusable when it is updated"
            )
        return found

    def resolved(self) -> dict[str, Any]:
        """The recipe with all defaults written out, as JSON-like data."""
        steps = [
            {step.piece.name: {**step.options.effective().model_dump(mode="json", by_alias=True), "name": step.name}}
            for step in self.steps
        ]
        return {**self.head.model_dump(mode="json"), "steps": steps}


@dataclass
class _Loading:
    """Problems found so far, and what is needed to place them."""

    file: str
    document: strict_yaml.Document
    problems: list[Problem] = field(default_factory=list)
    overridden: list[Override] = field(default_factory=list)

    def report(self, path: Place, message: str, about_key: bool = False) -> None:
        message = re.sub(r"\s*\n\s*", " ", message).removesuffix(".")
        for setting in self.overridden:
            made_by_it = path == setting.path[: len(path)] and not self.document.says(path)
            if made_by_it or path[: len(setting.path)] == setting.path:
                deeper = strict_yaml.dotted(path[len(setting.path) :])
                self._add(Problem(f"--set {setting.name}", 0, 0, deeper, message))
                return
        line, column = self.document.position(path, key=about_key)
        self._add(Problem(self.file, line, column, strict_yaml.dotted(path), message))

    def _add(self, problem: Problem) -> None:
        """Steps that share a table find the same in it."""
        if problem not in self.problems:
            self.problems.append(problem)

    def override(self, data: dict[str, Any], arguments: Sequence[str]) -> None:
        """Apply `--set` settings to the data."""
        applied, refused = override(data, arguments, list(Head.model_fields))
        self.problems += [Problem(f"--set {name}", 0, 0, "", message) for name, message in refused]
        self.overridden = sorted(applied, key=lambda setting: -len(setting.path))  # the most specific one first


def check(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Find every error of a recipe without loading a model, as `factory check` does.

    Raises:
        RecipeError: With every problem that was found.
        UserError: If the file cannot be read.
    """
    return load_recipe(path, overrides)


def load_recipe(
    path: str | Path, overrides: Sequence[str] = (), *, check_files: bool = True, base: Path | None = None
) -> Recipe:
    """Load and validate a recipe.

    Args:
        path: The recipe file, or the name of a shipped one.
        overrides: `step.option=value` settings, validated like the file itself.
        check_files: Whether to look at the files that options name, and at the model.
        base: Folder that relative paths start from; that of the file by default.

    Raises:
        RecipeError: With every problem that was found.
        UserError: If the file cannot be read.
    """
    file, path = str(path), _shipped(Path(path))
    text = _read(path)
    document, problems = strict_yaml.load(text, file)
    if problems and not document.complete:
        raise RecipeError(problems)
    loading = _Loading(file, document, problems)
    data = copy.deepcopy(document.data)
    loading.override(data, overrides)
    head = validate(Head, {key: value for key, value in data.items() if key != "steps"}, (), loading.report)
    steps = _steps(loading, data, head)
    base = path.resolve().parent if base is None else base.resolve()
    tainted = _check_taint(loading, steps, base)
    asks = any(step is None or step.asks for step in steps)
    for place, message in taint.of_engine(head.engine, base) if head is not None and asks else ():
        loading.report(place, message)
    if check_files:
        _check(loading, [None if step in tainted else step for step in steps], base)
        for place, message in check_engine(head.engine, base) if head is not None and asks else ():
            loading.report(place, message)
        if head is not None and (finding := check_logprobs(head.engine, _logprobs(steps))) is not None:
            loading.report(*finding)
    if loading.problems or head is None:
        raise RecipeError(loading.problems)
    return Recipe(head, tuple(step for step in steps if step is not None), base, file, text)


def _shipped(given: Path) -> Path:
    """The file itself, or the shipped recipe of that name."""
    if given.exists():
        return given
    if str(given) in recipes():
        return recipes()[str(given)]
    return resource(str(given)) or given if str(given).startswith("recipes/") else given


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = did_you_mean(str(path), recipes()) or "; 'factory init' writes one, 'factory ls' lists those that ship"
        raise UserError(f"{path}: no such recipe{hint}.") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; give the recipe file in it.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error


def _logprobs(steps: list[Step | None]) -> int:
    """Most log-probabilities that a request of these steps asks for."""
    hooks = [(getattr(step.module, "logprobs", None), step.options) for step in steps if step is not None]
    return max((int(hook(options)) for hook, options in hooks if hook is not None), default=0)


def _steps(loading: _Loading, data: dict[str, Any], head: Head | None) -> list[Step | None]:
    """The steps in order, None for one with problems of its own."""
    written = data.get("steps")
    if not isinstance(written, list) or not written:
        loading.report(("steps",), "expected a list of steps, each '- method: {options}'")
        return []
    steps = [_step(loading, index, item, head) for index, item in enumerate(written)]
    taken = set()
    for index, step in enumerate(steps):
        if step is None:
            continue
        if step.name in taken:
            loading.report(step.place, f"a step is called '{step.name}' already; tell them apart with 'name:'", True)
        taken.add(step.name)
        _check_order(loading, index, step)
    return steps


def _step(loading: _Loading, index: int, item: Any, head: Head | None) -> Step | None:
    place: Place = ("steps", index)
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        several = isinstance(item, dict) and item
        keys = f", found the keys {', '.join(map(str, item))}: indent options below their method" if several else ""
        example = "expected one method with its options, e.g. '- self_instruct: {accept: 100}'"
        loading.report(place, example + (keys if isinstance(item, dict) else ""))
        return None
    kind = str(next(iter(item)))
    piece = pieces().get(kind)
    if piece is None:
        hint = did_you_mean(kind, pieces()) or "; 'factory ls' lists them"
        loading.report((*place, kind), f"no method, filter or source is called '{kind}'{hint}", True)
        return None
    try:
        module = piece.module()
    except UserError as error:
        loading.report((*place, kind), str(error), True)
        return None
    given, shares_table = _with_table(module.Options, item[kind], head)
    report = _of_table(loading, (*place, kind)) if shares_table else loading.report
    options = validate(module.Options, given, (*place, kind), report)
    if options is None:
        return None
    if head is not None and getattr(options, "window", 1) is None and "window" not in getattr(module, "NEUTRAL", ()):
        options = options.model_copy(update={"window": WINDOW_PER_SLOT * head.engine.max_in_flight})
    return Step(options.name or kind, piece, module, options, (*place, kind), shares_table)


def _with_table(model: type[StepOptions], given: Any, head: Head | None) -> tuple[Any, bool]:
    """The options as written, with the table of the recipe where the step takes one and names none."""
    takes = head is not None and head.table is not None and "table" in model.model_fields
    if not takes or not isinstance(given, dict | None) or "table" in (given or {}):
        return given, False
    return {**(given or {}), "table": head.table}, True  # type: ignore[union-attr]  # as `takes` has seen


def _of_table(loading: _Loading, place: Place) -> Callable[[Place, str, bool], None]:
    """Reports what is wrong with the recipe's table where it stands, once."""

    def report(path: Place, message: str, about_key: bool) -> None:
        inside = path[: len(place) + 1] == (*place, "table")
        loading.report(path[len(place) :] if inside else path, message, about_key)

    return report


def _check_order(loading: _Loading, index: int, step: Step) -> None:
    is_source = step.piece.kind == "source"
    if index == 0 and not is_source and getattr(step.module, "NEEDS_RECORDS", True):
        sentence = f"'{step.piece.name}' needs records: put a source such as 'rows' or 'seeds' first"
        loading.report(step.place, sentence, True)
    if index > 0 and is_source:
        loading.report(step.place, "a source can only be the first step", True)


def _check_taint(loading: _Loading, steps: list[Step | None], base: Path) -> list[Step]:
    """Report what would let private rows out; returns the steps that would, whose files are not looked at."""
    found = taint.findings(steps, base)
    for step, option, message in found:
        report = _of_table(loading, step.place) if step.shares_table else loading.report
        report((*step.place, *option), message, not option)
    return [step for step, _, _ in found]


def _check(loading: _Loading, steps: list[Step | None], base: Path) -> None:
    """What can be found without loading a model: prompts, files, columns."""
    columns: set[str] | None = None
    for step in steps:
        if step is None:
            columns = None
            continue
        errors, columns = _check_step(step, base, columns)
        for error in errors:
            below = error.option.split(".") if isinstance(error, OptionError) else []
            report = _of_table(loading, step.place) if step.shares_table else loading.report
            report((*step.place, *below), str(error), False)


def _check_step(step: Step, base: Path, incoming: set[str] | None) -> tuple[list[FactoryError], set[str] | None]:
    """What is wrong with a step's files and columns, and the columns that it gives if they are known."""
    try:
        step.prompts(base)
        check = getattr(step.module, "check", None)
        if check is not None and (errors := list(check(step.options, base))):
            return errors, None
        columns = getattr(step.module, "columns", None)
        return [], columns(step.options, base, incoming) if columns is not None else None
    except FactoryError as error:
        return [error], None
