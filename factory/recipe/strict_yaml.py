r"""A strict YAML 1.2 reader that knows where everything stands.

Example: `load("name: rivers\nrows: 012\nlr: 3e-4\n", "r.yaml")` gives a `Document` with the data
`{"name": "rivers", "rows": 12, "lr": 0.0003}`, whose `position(["rows"])` is `(2, 7)`, and no problems.

Scalars follow the core schema of YAML 1.2.2, section 10.3.2: `no` and `1_000` are text, `0o14` is 12,
dates are text. What a recipe has no use for is refused, and all of it is reported at once: duplicate
keys, anchors, aliases, merge keys, tags, keys that are not text, several documents, tabs as
indentation, numbers beyond what Python holds, and secrets.

Built on PyYAML's event stream, not on `compose()`, which forgets anchors and, after a syntax error,
everything that it had read before. PyYAML speaks YAML 1.1; the differences that a recipe can meet are
undone here: scalars, tabs between words, `?` inside flow text, U+2028 and its kin as ordinary letters,
and surrogate pairs of JSON escapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from factory.errors import Problem, RecipeError
from factory.recipe.yaml_events import LAYOUT, MAX_DEPTH, Events, Position, explain, place_of, spoken

Path = tuple[str | int, ...]

SECRET = re.compile(r"hf_[A-Za-z0-9]{20,}|(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}")
SECRET_MESSAGE = "recipes hold no secrets: put the key in an environment variable and name it in engine.api_key_env"

_WORDS: dict[str, bool | None] = {word: None for word in ("", "~", "null", "Null", "NULL")}
_WORDS |= {word: True for word in ("true", "True", "TRUE")} | {word: False for word in ("false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_INT = 4000  # Python reads no decimal number of more than 4300 digits.

# What PyYAML takes for a line break, a mark at the start of the file or an indicator, and YAML 1.2 for a letter.
_LETTERS = re.compile(r"[\x85\u2028\u2029\ufeff]|(?<=[^\s\[{,])\?|\?(?=\S)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Place(NamedTuple):
    key: Position
    value: Position


@dataclass(frozen=True)
class Document:
    """What a recipe says, and where it says it.

    Attributes:
        data: The top-level mapping; empty if there is none or the text breaks off in a syntax error.
        complete: False when part of the text could not become data, so that an option that seems to be
            missing may only be hidden; then it is better to show the problems than to check on.
    """

    data: Any
    complete: bool
    _places: dict[Path, _Place] = field(repr=False)

    def says(self, path: Sequence[str | int]) -> bool:
        """Whether there is something at `path`."""
        return tuple(path) in self._places

    def position(self, path: Sequence[str | int], *, key: bool = False) -> Position:
        """Line and column, counted from 1, of the value at `path`.

        Args:
            path: Keys and list positions from the top, e.g. `["steps", 0, "accept"]`.
            key: Point at the key instead; a list item and the document are their own key.

        Returns:
            The position of the key of the nearest existing ancestor if the path does not exist.
        """
        wanted = tuple(path)
        if wanted in self._places:
            return self._places[wanted].key if key else self._places[wanted].value
        while wanted not in self._places:
            wanted = wanted[:-1]
        return self._places[wanted].key


def load(text: str, file: str) -> tuple[Document, list[Problem]]:
    """Read a recipe.

    Args:
        text: The whole file; a byte order mark and CRLF do no harm.
        file: Name of the file for the problems.

    Returns:
        The document, and everything wrong with it in the order of the text; a secret appears in neither.
    """
    builder = _Builder(text.removeprefix("\ufeff"), file)
    data = builder.read()
    if not isinstance(data, dict) and (builder.complete or data is not None):
        found = "the file is empty" if data is None and builder.is_empty else f"found {_kind(data)}"
        builder.lose(builder.places[()].value, (), f"{found}: expected a mapping of options such as 'name: my_dataset'")
    document = Document(data if isinstance(data, dict) else {}, builder.complete, builder.places)
    return document, sorted(builder.problems, key=lambda problem: (problem.line, problem.column))


def scalar(text: str) -> Any:
    """Read the value part of `--set a.b=VALUE`: a scalar, `[a list]` or `{a: mapping}`; nothing at all is null.

    Raises:
        RecipeError: If it is not one such value; its problems name `--set` as file and have no line.
    """
    builder = _Builder(text, "--set")
    value = builder.read()
    start, end = builder.span
    if not builder.problems and builder.is_block:
        builder.lose((0, 0), (), "expected one value: write a list as [a, b], a mapping as {a: 1}, a text in quotes")
    elif not builder.problems and (text[:start] + text[end:]).strip():
        builder.lose((0, 0), (), "expected one value and nothing else: put text that holds '#' or '---' in quotes")
    if builder.problems:
        raise RecipeError([replace(problem, line=0, column=0) for problem in builder.problems])
    return value


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as people do.

    >>> dotted(["steps", 1, "self_instruct", "accept"])
    'steps[1].self_instruct.accept'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


class _Builder:
    """Turns events into data, positions and problems."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.problems: list[Problem] = []
        self.places: dict[Path, _Place] = {(): _Place((1, 1), (1, 1))}
        self.complete = True
        self.is_empty = True
        self.is_block = False
        self.span = (0, 0)
        self._events: Any = None
        self._end = 0
        self._depth = 0
        self._secret_spans: list[tuple[int, int]] = []
        self._swapped: dict[int, str] = {}

    def report(self, at: Position, path: Path, message: str) -> None:
        self.problems.append(Problem(self.file, *at, dotted(path), message))

    def lose(self, at: Position, path: Path, message: str) -> None:
        """Report something that the data cannot show."""
        self.complete = False
        self.report(at, path, message)

    def read(self) -> Any:
        """The data of the only document; None after an error that ends the reading."""
        data = None
        refused = Reader.NON_PRINTABLE.search(self.text)
        if refused:
            message = f"the character U+{ord(refused[0]):04X} cannot stand here: remove it, or write it as an escape"
            self.lose(_position_of(self.text, refused.start()), (), message)
        else:
            self._events = Events(self._swap_letters())
            data = self._read_events()
        self._report_other_secrets()
        return data

    def _read_events(self) -> Any:
        data = None
        try:
            data = self._read_document()
        except yaml.MarkedYAMLError as error:
            self.complete = False
            if not (self._events.tabs and LAYOUT.search(str(error.problem))):
                at, message = explain(error)
                for swapped, letter in self._swapped.items():
                    message = message.replace(f"\\U{swapped:08x}", letter)
                self.report(at, (), message)
        for at in sorted(set(self._events.tabs)):
            self.report(at, (), "a tab indents this line: indent with spaces")
        return data

    def _read_document(self) -> Any:
        self._events.get_event()
        if self._events.check_event(yaml.StreamEndEvent):
            return None
        self._events.get_event()
        root = self._events.peek_event()
        self.is_empty = isinstance(root, yaml.ScalarEvent) and not root.style and not root.value
        self.is_block = getattr(root, "style", None) in ("|", ">") or getattr(root, "flow_style", None) is False
        data = self._node((), None)
        self.span = (root.start_mark.index, self._end)
        self._events.get_event()
        if not self._events.check_event(yaml.StreamEndEvent):
            at = place_of(self._events.peek_event().start_mark)
            self.lose(at, (), "a second document begins here: keep one, without '---' between parts")
        return data

    def _take(self) -> Any:
        event = self._events.get_event()
        self._end = event.end_mark.index
        return event

    def _node(self, path: Path, key_at: Position | None) -> Any:
        event = self._take()
        at = place_of(event.start_mark)
        self.places[path] = _Place(key_at or at, at)
        self._refuse_marks(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.AliasEvent):
            return None
        if self._depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=event.start_mark)
        self._depth += 1
        data = self._sequence(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)
        self._depth -= 1
        return data

    def _sequence(self, path: Path) -> list[Any]:
        data: list[Any] = []
        while not self._events.check_event(yaml.SequenceEndEvent):
            data.append(self._node((*path, len(data)), None))
        self._take()
        return data

    def _mapping(self, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not self._events.check_event(yaml.MappingEndEvent):
            at = place_of(self._events.peek_event().start_mark)
            key = self._key(path)
            if key is None:
                self._skip(path)
            elif key in data:
                first = spoken(self.places[(*path, key)].key)
                self.report(at, (*path, key), f"the key {_quote(key)} already stands at {first}: keep one of the two")
                self._skip((*path, key))
            else:
                data[key] = self._node((*path, key), at)
        self._take()
        return data

    def _key(self, path: Path) -> str | None:
        """Read a key; None, with a problem, if a recipe cannot have it."""
        event = self._events.peek_event()
        at = place_of(event.start_mark)
        if not isinstance(event, yaml.ScalarEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                self.lose(at, path, "a list or a mapping cannot be a key: write text")
            self._skip(path)
            return None
        self._take()
        self._refuse_marks(event, path)
        if event.value == "<<" and not event.style:
            self.lose(at, path, "a recipe cannot merge with '<<': write the options out")
            return None
        found = self._scalar(event, path)
        if isinstance(found, str):
            return found
        what = (
            f"{_quote(event.value)}, which is {_kind(found)}: put it in quotes"
            if event.value
            else "nothing: name the key"
        )
        self.lose(at, path, f"expected a text as key, found {what}")
        return None

    def _skip(self, path: Path) -> None:
        """Read a node for its problems only; a refused node has no positions."""
        kept, self.places = self.places, {}
        try:
            self._node(path, None)
        finally:
            self.places = kept

    def _scalar(self, event: Any, path: Path) -> str | int | float | bool | None:
        text, at = self._restore(event.value), place_of(event.start_mark)
        if _SURROGATE.search(text):
            self.report(at, path, "half of a surrogate pair is no character: write both halves")
            text = _SURROGATE.sub("\ufffd", text)
        if SECRET.search(text):
            self.report(at, path, SECRET_MESSAGE)
            self._secret_spans.append((event.start_mark.index, event.end_mark.index))
            text = SECRET.sub("[secret]", text)
        if event.style:
            return text
        try:
            return _resolve(text)
        except OverflowError as error:
            self.lose(at, path, str(error))
            return None

    def _refuse_marks(self, event: Any, path: Path) -> None:
        at = place_of(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self.lose(at, path, "a recipe cannot have an alias ('*...'): write the part out, or use quotes")
        elif event.anchor is not None:
            self.report(at, path, "a recipe cannot have an anchor ('&...'): remove it, or use quotes")
        if getattr(event, "tag", None) is not None:
            self.lose(at, path, "a recipe cannot have a tag ('!...'): remove it, or use quotes")

    def _report_other_secrets(self) -> None:
        """A copy of the recipe goes into the run directory, so that a comment must not hold a secret either."""
        for match in SECRET.finditer(self.text):
            if not any(start <= match.start() < end for start, end in self._secret_spans):
                self.report(_position_of(self.text, match.start()), (), SECRET_MESSAGE)

    def _swap_letters(self) -> str:
        """Put letters that PyYAML leaves alone for those that it does not; one for one, so that places stay."""
        wanted, lower = sorted(set(_LETTERS.findall(self.text))), self.text.lower()
        unused = (code for code in range(0xF0000, 0x110000) if chr(code) not in lower and f"{code:08x}" not in lower)
        letter_of = {old: chr(code) for old, code in zip(wanted, unused, strict=False)}
        self._swapped = {ord(new): old for old, new in letter_of.items()}
        return _LETTERS.sub(lambda match: letter_of[match[0]], self.text)

    def _restore(self, text: str) -> str:
        return text.translate(self._swapped).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar in the core schema.

    Raises:
        OverflowError: If it is a number that Python cannot hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > _LONGEST_INT:
            raise OverflowError(f"a number of {len(text)} digits is too long: shorten it, or put it in quotes")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise OverflowError(f"the number {_quote(text)} is too large: write .inf if infinity is meant")
        return number
    return text


def _position_of(text: str, index: int) -> Position:
    lines = re.split(r"\r\n|\r|\n", text[:index])
    return len(lines), len(lines[-1]) + 1


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "a mapping")


def _quote(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
