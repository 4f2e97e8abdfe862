"""Filters as a user names them, checked like the steps of a recipe.

`read_step("rouge_l: {threshold: 0.8}", "--filter")` gives a `Step`; an unknown name or option is an error with its place
and a did-you-mean, as in a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin

from factory.errors import Problem, RecipeError, UserError
from factory.recipe import strict_yaml
from factory.recipe.pieces import Piece, pieces
from factory.recipe.schema import StepOptions
from factory.recipe.suggest import did_you_mean
from factory.recipe.validate import validate

FIELD, TOKENIZER = "field", "tokenizer"
MOST_FILTERS = 250  # what came of a row is one byte
UNKNOWN_YET = "?"  # stands for the compared column until the rows have been looked at


@dataclass(frozen=True)
class Asked:
    """A filter as it was asked for.

    Attributes:
        origin: The flag, e.g. `--rouge-l`, that errors name.
        kind: Name of the filter.
        options: Its options as written.
    """

    origin: str
    kind: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A filter with validated options.

    Attributes:
        origin: The flag that it comes from.
        name: Tells two filters of a kind apart; the kind by default.
        kind: Name of the filter.
        module: The piece.
        options: Its options.
        names_field: Whether the user has said which column it compares.
    """

    origin: str
    name: str
    kind: str
    module: ModuleType
    options: StepOptions
    names_field: bool

    def has(self, option: str) -> bool:
        """Whether the filter has such an option."""
        return option in type(self.options).model_fields


def read_steps(
    wanted: Sequence[str | Mapping[str, Any] | Asked], *, field: str | None, tokenizer: str | None
) -> list[Step]:
    """Validate the filters of a command.

    Args:
        wanted: Each as YAML (`rouge_l: {threshold: 0.8}`), as a mapping of that form, or as a flag has given it.
        field: Column that all of them compare which name none themselves.
        tokenizer: Tokenizer of all of them that have one and name none themselves.

    Raises:
        RecipeError: With everything that is wrong.
        UserError: If there are none, or an option fits none of them.
    """
    if not wanted:
        raise UserError(
            "no filter is given: expected at least one such as --rouge-l 0.7 or --filter 'NAME: {option: value}'; "
            f"there are {', '.join(sifting())}."
        )
    if len(wanted) > MOST_FILTERS:
        raise UserError(f"{len(wanted)} filters are given; expected at most {MOST_FILTERS}.")
    problems: list[Problem] = []
    defaults = {name: value for name, value in ((FIELD, field), (TOKENIZER, tokenizer)) if value is not None}
    steps = [step for item in wanted if (step := _step(item, defaults, problems)) is not None]
    for index, step in enumerate(steps):
        if step.name in [other.name for other in steps[:index]]:
            sentence = f"a filter is called '{step.name}' already; tell them apart with 'name:' in --filter"
            problems.append(Problem(step.origin, 0, 0, step.kind, sentence))
    if problems:
        raise RecipeError(problems)
    for option in defaults:
        if not any(step.has(option) for step in steps):
            names = ", ".join(step.name for step in steps)
            raise UserError(f"--{option}: no filter that is given has such an option ({names}).")
    return steps


def sifting() -> list[str]:
    """Names of the filters that need nothing but the rows."""
    return [piece.name for piece in pieces().values() if _is_usable(piece)]


def _is_usable(piece: Piece) -> bool:
    if piece.kind != "filter" and piece.entry_point is None:
        return False
    try:
        return hasattr(piece.module(), "sift")
    except UserError:
        return False


def _step(item: str | Mapping[str, Any] | Asked, defaults: Mapping[str, Any], problems: list[Problem]) -> Step | None:
    """One filter; what is wrong with it is added to the problems."""
    document: strict_yaml.Document | None = None
    if isinstance(item, str):
        document, found = _read(item)
        if found:
            problems += found
            return None
        item = document.data if document is not None else {item.strip(): {}}
    asked = item if isinstance(item, Asked) else _asked(item, problems)
    if asked is None:
        return None

    def report(path: tuple[str | int, ...], message: str, about_key: bool = False) -> None:
        line, column = (0, 0) if document is None else document.position(path, key=about_key)
        problems.append(Problem(asked.origin, line, column, strict_yaml.dotted(path), message.removesuffix(".")))

    module = _module(asked.kind)
    if isinstance(module, str):
        report((asked.kind,), module, True)
        return None
    return _validated(asked, module, defaults, report)


def _read(text: str) -> tuple[strict_yaml.Document | None, list[Problem]]:
    """The YAML of one filter; a bare name is none."""
    if text.strip().replace("_", "").replace("-", "").isalnum():
        return None, []
    document, problems = strict_yaml.load(text, "--filter")
    return document, problems


def _asked(item: Mapping[str, Any], problems: list[Problem]) -> Asked | None:
    options = next(iter(item.values()), None) if len(item) == 1 else ""
    if options is None or isinstance(options, Mapping):
        return Asked("--filter", str(next(iter(item))), dict(options or {}))
    found = f", found the keys {', '.join(map(str, item))}" if len(item) > 1 else ""
    sentence = f"expected one filter with its options, e.g. 'rouge_l: {{threshold: 0.7}}'{found}"
    problems.append(Problem("--filter", 0, 0, "", sentence))
    return None


def _module(kind: str) -> ModuleType | str:
    """The piece of that name, or why it cannot be used."""
    piece = pieces().get(kind)
    if piece is None:
        return f"no filter is called '{kind}'{did_you_mean(kind, sifting()) or '; there are ' + ', '.join(sifting())}"
    try:
        module = piece.module()
    except UserError as error:
        return str(error)
    if not hasattr(module, "sift"):
        return f"needs more than rows: put it into a recipe; filters for files are {', '.join(sifting())}"
    return module


def _validated(asked: Asked, module: ModuleType, defaults: Mapping[str, Any], report: Any) -> Step | None:
    fields = module.Options.model_fields
    options = {name: value for name, value in defaults.items() if name in fields} | _fitted(asked.options, fields)
    names_field = FIELD in options
    if not names_field and FIELD in fields and fields[FIELD].is_required():
        options[FIELD] = UNKNOWN_YET
    validated = validate(module.Options, options, (asked.kind,), report)
    if validated is None:
        return None
    return Step(asked.origin, validated.name or asked.kind, asked.kind, module, validated, names_field)


def _fitted(options: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with a list of one file as that file where the filter takes only one."""
    fitted = dict(options)
    for name, value in options.items():
        takes_list = name in fields and _takes_list(fields[name].annotation)
        if isinstance(value, tuple):
            fitted[name] = value[0] if len(value) == 1 and not takes_list else list(value)
    return fitted


def _takes_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple) or any(_takes_list(part) for part in get_args(annotation))


def base() -> Path:
    """Folder that relative paths in options start from."""
    return Path.cwd()
