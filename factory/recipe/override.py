"""`--set step.option=value`: put into the recipe's data before it is validated, so that both pass one schema.

`--set self_instruct.accept=100` sets `steps[1].self_instruct.accept`, where the step of that name stands
second; `--set engine.model=embedded` sets a top-level key. Values are YAML: `3e-4`, `[a, b]`, `{rate: 0.1}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from factory.errors import RecipeError
from factory.recipe import strict_yaml
from factory.recipe.suggest import did_you_mean

EXAMPLE = "e.g. --set self_instruct.accept=100"


class Override(NamedTuple):
    """One setting: where it belongs in the recipe's data, and what the user called it."""

    path: strict_yaml.Path
    name: str


class _Refused(Exception):
    """A setting that cannot be applied; its text is the reason."""


def override(
    data: dict[str, Any], arguments: Sequence[str], head: Sequence[str]
) -> tuple[list[Override], list[tuple[str, str]]]:
    """Change the data of a recipe in place.

    Args:
        data: What the recipe says.
        arguments: `key.key=value` settings; of several for one key the last counts.
        head: Top-level keys that a recipe can have besides its steps.

    Returns:
        The settings that were applied, and (argument, what is wrong with it) for the others.
    """
    applied, problems = [], []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = name.strip() or argument
        try:
            if not equals or argument.startswith("="):
                raise _Refused(f"expected KEY=VALUE, {EXAMPLE}")
            path = _place(data, name.split("."), head)
            _put(data, path, strict_yaml.scalar(value))
            applied.append(Override(path, name))
        except _Refused as refused:
            problems.append((name, str(refused)))
        except RecipeError as error:
            problems += [(name, problem.message) for problem in error.problems]
    return applied, problems


def _place(data: dict[str, Any], keys: list[str], head: Sequence[str]) -> strict_yaml.Path:
    """The place in the data that `step.option` or `engine.option` means."""
    names = step_names(data.get("steps"))
    for index, (name, kind) in enumerate(names):
        if keys[0] == name:
            if len(keys) == 1:
                raise _Refused(f"'{name}' is a step: name one of its options, {EXAMPLE}")
            if isinstance(data["steps"][index], str):
                data["steps"][index] = {kind: {}}
            return ("steps", index, kind, *keys[1:])
    if keys[0] == "steps":
        raise _Refused(f"a step is set by its name, {EXAMPLE}")
    known = [*head, *(name for name, _ in names)]
    if keys[0] not in known:
        hint = did_you_mean(keys[0], known) or f"; known: {', '.join(known)}"
        raise _Refused(f"no step or top-level key '{keys[0]}'{hint}")
    return tuple(keys)


def _put(data: dict[str, Any], path: strict_yaml.Path, value: Any) -> None:
    target: Any = data
    for depth, key in enumerate(path):
        if isinstance(target, list) and isinstance(key, int):
            target = target[key]
        elif not isinstance(target, dict):
            raise _Refused(f"'{strict_yaml.dotted(path[:depth])}' holds no keys: set it as a whole")
        elif depth == len(path) - 1:
            target[key] = value
        else:
            target[key] = {} if target.get(key) is None else target[key]
            target = target[key]


def step_names(steps: Any) -> list[tuple[str, str]]:
    """Name and kind of each step that is written well enough to have them."""
    names = []
    for item in steps if isinstance(steps, list) else []:
        kind = item if isinstance(item, str) else str(next(iter(item))) if isinstance(item, dict) and item else ""
        options = item.get(kind) if isinstance(item, dict) else None
        name = options.get("name") if isinstance(options, dict) else None
        names.append((str(name or kind), kind))
    return names
