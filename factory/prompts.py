"""Prompt files: a YAML header, then the messages.

```
---
source: "Self-Instruct (arXiv 2212.10560), section 2.2"
fidelity: "same inputs and order as the paper; our wording"
inputs: [question]
version: 1
---
=== system ===
You answer in one sentence.
=== user ===
{{ question }}
```

A section is `system`, `user`, `assistant` (as the last one: the beginning of the answer) or `text`
(what a base model without a chat template continues; without it the other sections are joined by a
blank line). The template source is split into sections before anything is rendered, so that a value
can never open a section of its own, and values are inserted, never rendered again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml
from jinja2 import StrictUndefined, TemplateError, Undefined, meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

from factory.engines.protocol import Message
from factory.errors import OptionError, PromptError
from factory.resources import find, resource

LONGEST_SHOWN = 80
ROLES = ("system", "user", "assistant", "text")
_SECTION = re.compile(r"^=== (\w+) ===[ \t]*(?:\n|\Z)", re.MULTILINE)
_HEADER = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*\n", re.DOTALL | re.MULTILINE)


class Header(BaseModel):
    """What a prompt file says of itself."""

    model_config = ConfigDict(extra="forbid")

    source: str = "own"
    fidelity: str = ""
    inputs: list[str]
    version: int = 1
    parser: str = "text"


class Rendered(msgspec.Struct, frozen=True):
    """A prompt with its values in place: messages for a chat model, or text for a base model."""

    messages: tuple[Message, ...] = ()
    text: str | None = None


class _Section:
    """One message: its role and its template; a template without variables is rendered once."""

    def __init__(self, role: str, source: str) -> None:
        self.role = role
        self.source = source
        syntax = _environment(bare=True).parse(source)
        self.names = meta.find_undeclared_variables(syntax)
        self.references = [name or "another file" for name in meta.find_referenced_templates(syntax)]
        self._template = _environment().from_string(source)
        self._fixed: str | None = None

    def render(self, values: dict[str, Any]) -> str:
        if self._fixed is not None:
            return self._fixed
        template, environment = self._template, self._template.environment
        # What Template.render does, without merging its globals anew for every request: it takes twice as long.
        context = environment.context_class(
            environment, {**environment.globals, **values}, template.name, template.blocks
        )
        text = "".join(template.root_render_func(context))
        if not self.names:
            self._fixed = text
        return text


class Prompt:
    """A loaded prompt file.

    Attributes:
        id: Name in provenance: `method/name` for shipped prompts, the file name for others.
        hash: Hash of the file's bytes, 16 hex digits.
        header: The YAML header.
        path: Where it was read from.
    """

    def __init__(self, prompt_id: str, path: Path, source: str) -> None:
        """Parse the header, split the sections, check the variables."""
        self.id = prompt_id
        self.path = path
        self.hash = hashlib.blake2b(source.encode(), digest_size=8).hexdigest()
        match = _HEADER.match(source)
        if match is None:
            raise PromptError(f"{path}: no header: a prompt file begins with '---', YAML with 'inputs', and '---'.")
        self.header = _header(path, match.group(1))
        self._sections = _sections(path, source[match.end() :], source[: match.end()].count("\n"))
        self._check_variables()

    def opening(self, *, chat: bool) -> str:
        """The fixed last line of the prompt that the answer continues (`Class label:`), or an empty text.

        A chat prompt has one if it ends with an `assistant` section, a text prompt if it ends within a line.
        """
        section = self._chosen(chat)[-1]
        if section.role not in ("assistant", "text"):
            return ""
        last = section.source.split("\n")[-1]
        return "" if "{" in last else last

    def begun(self, values: dict[str, Any], *, chat: bool) -> str:
        """What a last `assistant` section has written of the answer already, or an empty text.

        Raises:
            PromptError: As `render` does.
        """
        section = self._chosen(chat)[-1]
        return self._render_sections([section], values)[0] if section.role == "assistant" else ""

    def _chosen(self, chat: bool) -> list[_Section]:
        wanted = [section for section in self._sections if (section.role == "text") != chat]
        return wanted or self._sections

    def _check_variables(self) -> None:
        """Declared inputs must equal the variables that Jinja finds."""
        used = {name for section in self._sections for name in section.names}
        declared = set(self.header.inputs)
        references = [name for section in self._sections for name in section.references]
        if references:
            raise PromptError(f"{self.path}: refers to {references[0]}; a prompt file stands alone, without includes.")
        if undeclared := used - declared - _environment().globals.keys():
            names = ", ".join(sorted(undeclared))
            raise PromptError(f"{self.path}: uses {names}, which the header's 'inputs' does not declare.")
        if declared - used:
            names = ", ".join(sorted(declared - used))
            raise PromptError(f"{self.path}: declares {names} in 'inputs' but never uses it.")

    def render(self, values: dict[str, Any], *, chat: bool) -> Rendered:
        """Insert values.

        Args:
            values: One value for each declared input; more are ignored.
            chat: Whether the model takes messages; else one text is made.

        Raises:
            PromptError: If a value is missing, or is not what the template makes of it.
        """
        chosen = self._chosen(chat)
        parts = [
            (section.role, text) for section, text in zip(chosen, self._render_sections(chosen, values), strict=True)
        ]
        if chat:
            return Rendered(messages=tuple(Message(role if role != "text" else "user", text) for role, text in parts))
        return Rendered(text="\n\n".join(text for _, text in parts))

    def _render_sections(self, sections: list[_Section], values: dict[str, Any]) -> list[str]:
        try:
            return [section.render(values) for section in sections]
        except Exception as error:  # a user's template may raise anything
            raise PromptError(f"{self.path}: cannot be rendered: {str(error) or type(error).__name__}.") from error


def _header(path: Path, text: str) -> Header:
    try:
        written = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise PromptError(f"{path}: the header is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(written, dict):
        raise PromptError(f"{path}: the header holds {written!r}; expected keys and values such as 'inputs: [text]'.")
    try:
        return Header.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise PromptError(f"{path}: header key '{key}': {first['msg']}.") from error


def _sections(path: Path, body: str, header_lines: int) -> list[_Section]:
    """The sections in order, each checked for syntax."""
    pieces = _SECTION.split(body)
    if pieces[0].strip() or len(pieces) == 1:
        raise PromptError(f"{path}: text before the first section; begin with '=== user ===' on a line of its own.")
    sections = []
    line = header_lines + 1 + pieces[0].count("\n")
    for role, text in zip(pieces[1::2], pieces[2::2], strict=True):
        if role not in ROLES:
            raise PromptError(f"{path}:{line}: section '{role}' is unknown; use one of {', '.join(ROLES)}.")
        try:
            sections.append(_Section(role, text.removesuffix("\n")))
        except TemplateError as error:
            offset = getattr(error, "lineno", None) or 1
            message = getattr(error, "message", None) or str(error)
            raise PromptError(f"{path}:{line + offset}: {message.rstrip('.')}.") from error
        line += text.count("\n") + 1
    return sections


def _insertable(value: Any) -> Any:
    """A value as it is inserted; what would show as an address in memory is none, and would differ in every run."""
    if isinstance(value, Iterator) or (callable(value) and not isinstance(value, Undefined)):
        kind = type(value).__name__
        raise TypeError(f"a {kind} is no text: did you forget '| list', '| join' or the parentheses of a call?")
    return value


@lru_cache(maxsize=2)
def _environment(*, bare: bool = False) -> SandboxedEnvironment:
    """Where templates are compiled; the bare one knows no functions, so that all names show as variables."""
    environment = SandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_insertable,
    )
    del environment.globals["lipsum"], environment.filters["random"]  # they draw from the global generator
    if bare:
        environment.globals.clear()
    return environment


def load_prompt(path: Path, prompt_id: str | None = None) -> Prompt:
    """Read a prompt file.

    Raises:
        PromptError: If the file is missing, malformed, or its variables differ from its header.
    """
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: cannot be read as text: {error}.") from error
    return _prompt(prompt_id or path.stem, path, source.replace("\r\n", "\n"))


@lru_cache(maxsize=64)
def _prompt(prompt_id: str, path: Path, source: str) -> Prompt:
    return Prompt(prompt_id, path, source)


def named_prompt(name: str, base: Path, option: str = "prompt") -> Prompt:
    """The prompt file that an option names: beside the recipe, in the working directory, or a shipped one.

    Raises:
        OptionError: If there is none, or it is no prompt file.
    """
    path = find(name, base)
    if path is None:
        shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
        raise OptionError(
            option, f"{shown}: no such prompt file (looked beside the recipe and in the working directory)."
        )
    shipped = path == resource(name) and name.startswith("prompts/")
    try:
        return load_prompt(path, name.removeprefix("prompts/").removesuffix(".jinja") if shipped else name)
    except PromptError as error:
        raise OptionError(option, str(error)) from error


def shipped_prompt(name: str) -> Prompt:
    """A prompt that ships with the factory, e.g. `self_instruct/instructions`.

    Raises:
        PromptError: If there is none of that name.
    """
    path = resource(f"prompts/{name}.jinja")
    if path is None:
        raise PromptError(f"prompts/{name}.jinja: not found; is the installation complete?")
    return load_prompt(path, name)
