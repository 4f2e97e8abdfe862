"""What differs between two resolved versions of one recipe, and whether the second only judges otherwise.

`changes(old, new)` of `rouge_l: {threshold: 0.7}` and `rouge_l: {threshold: 0.6}` gives one
`Change("rouge_l.threshold", 0.7, 0.6, step=2, judges=True)`. A change judges if it is one of

* an option of a filter, except its name, which is part of ids and seeds;
* an option of a method that is among the method's `JUDGES`;
* something that touches no row: the recipe's name, description, output and budget, and how the engine is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from factory.recipe.identity import NEUTRAL_ENGINE
from factory.recipe.pieces import Piece, pieces

FREE_HEAD = {"name", "description", "output", "budget"}
_ABSENT = object()


class Change(NamedTuple):
    """One option that differs.

    Attributes:
        name: As `--set` names it, e.g. `rouge_l.threshold`.
        old: Value before.
        new: Value after.
        step: Position of the step, from 0; None for what stands above the steps.
        judges: Whether it leaves every request and every answer's reading as they are.
    """

    name: str
    old: Any
    new: Any
    step: int | None
    judges: bool

    def __str__(self) -> str:
        """`rouge_l.threshold: 0.7 -> 0.6`."""
        return f"{self.name}: {_shown(self.old)} -> {_shown(self.new)}"


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Everything in which two resolved recipes with the same steps differ, in the order of the recipe."""
    found = []
    for path, before, after in _differences({**old, "steps": None}, {**new, "steps": None}):
        free = path[0] in FREE_HEAD or (path[0] == "engine" and path[1] in NEUTRAL_ENGINE)
        found.append(Change(".".join(path), before, after, None, free))
    for index, (one, other) in enumerate(zip(old["steps"], new["steps"], strict=True)):
        kind, options = next(iter(one.items()))
        piece = pieces()[kind]
        for path, before, after in _differences(options, other[kind]):
            found.append(Change(".".join([options["name"], *path]), before, after, index, judges(piece, path[0])))
    return found


def judges(piece: Piece, option: str) -> bool:
    """Whether an option of that piece only decides which rows are kept."""
    if piece.kind == "filter":
        return option != "name"
    return option in getattr(piece.module(), "JUDGES", ())


def _differences(old: Any, new: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), *path, str(key))
    elif old != new:
        yield path, old, new


def _shown(value: Any) -> str:
    text = "nothing" if value is _ABSENT or value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
