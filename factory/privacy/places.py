"""Where the ledger of a private file lies, and which ledger a path has to do with.

    ledger_of(Path("tickets.csv"))     ->  tickets.csv.privacy.jsonl, beside it
    ledger_near(Path("link.csv"))      ->  the same, where link.csv leads to tickets.csv
    led_to(Path("tickets.csv.privacy.jsonl"))  ->  /ledgers/tickets.jsonl, where that file says so

A file with a ledger was declared private once, and stays private until somebody removes the ledger by hand. Where a recipe
keeps the ledger in another place, a file with its path lies beside the texts instead, so that other recipes see it. Apart
from `factory.privacy.ledger`, so that looking for one loads no mathematics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SUFFIX = ".privacy.jsonl"
ELSEWHERE = "elsewhere"


def ledger_of(private: Path) -> Path:
    """Where the ledger of a private file or folder lies: beside it."""
    return private.with_name(private.name + SUFFIX)


def led_to(ledger: Path) -> Path:
    """The ledger that a file beside private texts tells of; itself where it is one, or there is none."""
    with suppress(OSError, ValueError), ledger.open(encoding="utf-8") as file:
        said = json.loads(file.readline())
        if isinstance(said, dict) and isinstance(said.get(ELSEWHERE), str):
            return Path(said[ELSEWHERE])
    return ledger


def leave_mark(beside: Path, ledger: Path) -> None:
    """Write beside private texts where their ledger is; what is there already stays.

    Raises:
        OSError: If it cannot be written.
    """
    with suppress(FileExistsError), beside.open("x", encoding="utf-8") as file:
        file.write(json.dumps({ELSEWHERE: str(ledger.resolve())}, ensure_ascii=False) + "\n")


def ledger_near(path: Path) -> Path | None:
    """The ledger of a file or folder, of a folder that it lies in, or of what lies in it; None where there is none."""
    return next(iter(ledgers_near(path)), None)


def ledgers_near(path: Path) -> list[Path]:
    """All ledgers that a file or folder has to do with."""
    found = [ledger for ledger in (*_above(path), *_below(path)) if ledger.is_file()]
    return list({ledger.resolve(): ledger for ledger in reversed(found)}.values())[::-1]


def _above(path: Path) -> Iterator[Path]:
    """Where the ledger of a path lies if it has one, or a folder around it has; also by the names that links lead to."""
    for name in dict.fromkeys((path, path.absolute(), path.resolve())):
        if name.name.endswith(SUFFIX):
            yield name
        for place in (name, *name.parents):
            if place.name:
                yield ledger_of(place)
    yield from _of_other_names(path)


def _of_other_names(path: Path) -> Iterator[Path]:
    """Ledgers in its folder of a file that is this one under another name, by a hard link."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_nlink > 1:
            for ledger in path.resolve().parent.glob(f"*{SUFFIX}"):
                owner = ledger.with_name(ledger.name.removesuffix(SUFFIX))
                if owner.exists() and owner.samefile(path):
                    yield ledger


def _below(folder: Path) -> Iterator[Path]:
    """Ledgers in a folder, and those of what its links lead to."""
    for inside in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if inside.name.endswith(SUFFIX):
            yield inside
        elif inside.is_symlink():
            yield from _above(inside.resolve())
            yield from inside.resolve().rglob(f"*{SUFFIX}")
