"""From what a human wrote to a pydantic model, with every error in words and in its place.

`validate(Head, {"seeed": 1}, …)` reports `recipe.yaml:3:1: seeed: unknown key (did you mean 'seed'?)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from factory.recipe.suggest import did_you_mean

Path = tuple[str | int, ...]
Report = Callable[[Path, str, bool], None]
Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected text",
    "list_type": "expected a list",
    "dict_type": "expected a mapping (key: value)",
    "model_type": "expected a mapping (key: value)",
    "model_attributes_type": "expected a mapping (key: value)",
    "greater_than_equal": "expected at least {ge}",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected at most {le}",
    "less_than": "expected less than {lt}",
    "finite_number": "expected a finite number",
    "too_short": "expected a list of at least {min_length}",
    "string_too_short": "expected text of at least {min_length} characters",
    "string_too_long": "expected text of at most {max_length} characters",
    "string_pattern_mismatch": "expected letters, digits, '_', '-' and '.', beginning with a letter or digit",
}


def validate(model: type[Model], data: Any, at: Path, report: Report) -> Model | None:
    """Validate, reporting each problem as (path, sentence, whether it is about the key itself).

    Returns:
        The model, or None if anything was reported.
    """
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as error:
        for path, sentence, about_key in _problems(model, error.errors()):
            report((*at, *path), sentence, about_key)
        return None


def _problems(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[tuple[Path, str, bool]]:
    """One problem for each place; a union reports every member, of which the first is enough."""
    found: dict[Path, tuple[Path, str, bool]] = {}
    for error in errors:
        path = _path_in_data(model, error["loc"])
        unknown = error["type"] == "extra_forbidden"
        found.setdefault(path, (path, _sentence(model, path, error), unknown))
    return list(found.values())


def _path_in_data(model: type[BaseModel], loc: tuple[str | int, ...]) -> Path:
    """Drop what pydantic adds to a location for members of a union, such as `str` or `int`."""
    return tuple(
        part
        for part in loc
        if isinstance(part, int)
        or (
            not part.startswith(("dict[", "list[", "constrained-", "function-")) and part not in ("str", "int", "float")
        )
    )


def _sentence(model: type[BaseModel], path: Path, error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return f"unknown key{did_you_mean(str(path[-1]), known) or _list_of(known)}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        words = str(error.get("ctx", {}).get("expected", ""))
        hint = did_you_mean(str(error["input"]), words.replace("'", "").replace(" or ", ", ").split(", "))
        return f"expected one of {words}, found {_show(error['input'])}{hint}"
    expected = _EXPECTED.get(kind)
    if expected is not None:
        return f"{expected.format(**error.get('ctx', {}))}, found {_show(error['input'])}"
    message = error["msg"].removeprefix("Value error, ")
    found = "" if isinstance(error["input"], Mapping) else f", found {_show(error['input'])}"
    return f"{message[:1].lower()}{message[1:]}{found}"


def _show(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _list_of(known: Sequence[str]) -> str:
    return f"; known: {', '.join(known)}" if known else ""


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """Keys that the model at that place in the data may have."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        current = _inner_model(current, part) if current is not None else None
    if current is None:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _inner_model(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            return _model_in(field.annotation)
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)
