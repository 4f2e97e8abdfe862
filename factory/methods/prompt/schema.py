r"""JSON Schemas of answers: loaded and checked with the recipe, held against every answer.

With the schema `{"type": "object", "properties": {"label": {"enum": ["spam", "ham"]}}}` the answer

    Here you are: ```json\n{"label": "spam"}\n```

reads as `{"label": "spam"}`, and `{"label": "maybe"}` is a `Misfit`.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from factory.datasets_io.rows import storable
from factory.errors import OptionError
from factory.recipe.suggest import did_you_mean
from factory.resources import find

LONGEST_EVIDENCE = 500
_OBJECT = re.compile(r'\{\s*["}]')


class Misfit(Exception):
    """An answer that does not have the form that was asked for: the reason, and what a reader needs to agree."""

    def __init__(self, reason: str, evidence: str, threshold: float | None = None) -> None:
        """Keep what a verdict will say."""
        super().__init__(evidence)
        self.reason = reason
        self.evidence = evidence
        self.threshold = threshold


def load_schema(schema: dict[str, Any] | str | None, base: Path) -> dict[str, Any] | None:
    """The schema of an option `schema`, which is one or names the file of one.

    Raises:
        OptionError: If it cannot be used.
    """
    loaded = _schema_file(schema, base) if isinstance(schema, str) else schema
    if loaded is None:
        return None
    if not isinstance(loaded, dict) or loaded.get("type") != "object" or not loaded.get("properties"):
        raise OptionError("schema", "expected 'type: object' and 'properties', which become the columns.")
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(loaded)
        list(Draft202012Validator(loaded).iter_errors({}))
    except RecursionError as error:
        raise OptionError("schema", "its references lead in a circle that never ends.") from error
    except SchemaError as error:
        place = ".".join(["schema", *map(str, error.absolute_path)])
        raise OptionError(place, f"not a valid JSON Schema: {error.message}.") from error
    _check_references(loaded)
    unknown = [name for name in loaded.get("required", []) if name not in loaded["properties"]]
    if unknown:
        hint = did_you_mean(unknown[0], loaded["properties"])
        raise OptionError("schema.required", f"'{unknown[0]}' is none of the properties{hint}.")
    return loaded


def read_object(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The first JSON object in a text, which chat models like to wrap in a fence or a sentence.

    Returns:
        One value for each property of the schema, None for those that the object leaves out.

    Raises:
        Misfit: If there is none, or it is not of the schema.
    """
    from jsonschema import Draft202012Validator

    value = _first_object(text)
    try:
        problem = next(Draft202012Validator(schema).iter_errors(value), None)
    except (RecursionError, ArithmeticError) as error:
        raise Misfit("schema_mismatch", f"the schema cannot be held against it ({type(error).__name__})") from error
    if problem is not None:
        raise Misfit("schema_mismatch", f"{problem.json_path}: {problem.message}"[:LONGEST_EVIDENCE])
    return {name: value.get(name) for name in schema["properties"]}


def _first_object(text: str) -> Any:
    opening = _OBJECT.search(text)
    if opening is None:
        raise Misfit("not_json", "no JSON object in the answer")
    try:
        decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
        value, _ = decoder.raw_decode(text, opening.start())
    except (ValueError, RecursionError) as error:
        raise Misfit("not_json", str(error)) from error
    return storable(value)


def _refuse(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        _refuse(digits)
    return number


def _schema_file(name: str, base: Path) -> Any:
    path = find(name, base)
    if path is None:
        raise OptionError(
            "schema", f"{name}: no such schema file (looked beside the recipe and in the working directory)."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise OptionError("schema", f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError("schema", f"{path}: cannot be read as text: {error}.") from error


def _check_references(schema: dict[str, Any]) -> None:
    """Every `$ref` must lead somewhere in the schema itself: nothing is fetched."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver: Any = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    todo: list[Any] = [schema]
    while todo:
        node = todo.pop()
        todo += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
        reference = node.get("$ref") if isinstance(node, dict) else None
        if isinstance(reference, str):
            try:
                resolver.lookup(reference)
            except Unresolvable as error:
                raise OptionError(
                    "schema", f"'$ref: {reference}' leads nowhere; expected one such as '#/$defs/x'."
                ) from error
