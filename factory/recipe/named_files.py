"""What the options of a step name: rows of the user, with whether they are private, and files.

    {data: {path: tickets.csv, private: true}, prompt: ask.jinja}
        ->  sources: ("data",) private      files: ("data", "path") tickets.csv, ("prompt",) ask.jinja

Every text in the options that is the name of a file counts, whatever the option is called: a piece need not say which of
its options are files for a private one to be seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from factory.recipe.step import Place
from factory.resources import expanded, find

PRIVATE, PATH = "private", "path"
LONGEST_NAME = 4096  # PATH_MAX of Linux


class Named(NamedTuple):
    """A file or folder, and the option that names it; one that a piece reads on its own account has the place `()`."""

    place: Place
    path: Path


def private_sources(options: BaseModel) -> list[tuple[Place, BaseModel]]:
    """Groups of options that say `private: true`, the options of the step themselves included."""
    groups = [(place, found) for place, found in _leaves(options, ()) if isinstance(found, BaseModel)]
    return [(place, group) for place, group in groups if getattr(group, PRIVATE, False) is True]


def named_files(options: BaseModel, base: Path, *, folders: bool = False) -> list[Named]:
    """Files and folders that the options name.

    Args:
        options: The options.
        base: Folder that relative paths start from.
        folders: Whether a mere name counts for a folder of that name, too.
    """
    texts = [(place, found) for place, found in _leaves(options, ()) if isinstance(found, str)]
    named = [(place, _file(text, place, base, folders=folders)) for place, text in texts]
    return [Named(place, path) for place, path in named if path is not None]


def overlap(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or one lies in the other, whatever names links give to them.

    >>> overlap(Path("data/a.csv"), Path("data")), overlap(Path("a.csv"), Path("b.csv"))
    (True, False)
    """
    first, second = one.resolve(), other.resolve()
    if first.is_relative_to(second) or second.is_relative_to(first):
        return True
    return not _inside(first).isdisjoint(_around(second)) or not _inside(second).isdisjoint(_around(first))


def _inside(path: Path) -> set[tuple[int, int]]:
    """Files and folders that reading a path may read."""
    return _numbers((path, *(path.rglob("*") if path.is_dir() else ())))


def _around(path: Path) -> set[tuple[int, int]]:
    """A path and the folders that it lies in."""
    return _numbers((path, *path.parents))


def _numbers(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """What the file system calls them, the same for all names of a file."""
    found = set()
    for path in paths:
        with suppress(OSError):  # a link that leads nowhere, or a path that is not there
            status = path.stat()
            found.add((status.st_dev, status.st_ino))
    return found


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, BaseModel | str]]:
    """Groups of options and texts, with their places."""
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, BaseModel):
        yield place, value
        fields = type(value).model_fields.items()
        inside = [(field.alias or name, getattr(value, name)) for name, field in fields]
    elif isinstance(value, Mapping):
        inside = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = list(enumerate(value))
    elif isinstance(value, str | Path):
        yield place, str(value)
    for key, each in inside:
        yield from _leaves(each, (*place, key))


def _file(text: str, place: Place, base: Path, *, folders: bool) -> Path | None:
    """The file that a text names; a folder only where a path is meant, as a column may be called like one."""
    if not text or len(text) > LONGEST_NAME or "\0" in text:
        return None
    means_path = place[-1:] == (PATH,) or os.sep in text
    found = find(text, base)
    if found is None:
        return base / expanded(text) if means_path else None
    return found if means_path or folders or not found.is_dir() else None
