"""Sample records with all that they were made from, and what was said to the model and what it answered.

    families(run)  ->  [Family(head=Member(seen, state="kept", exchanges=(…)), members={…}), …]

Ancestors are looked up generation by generation; nothing is held but what is shown.
"""

from __future__ import annotations

from typing import Final

import msgspec

from factory.engines.protocol import Completion, Request
from factory.journal import Journal
from factory.reporting.gather.rows import CLIP, Seen, place, rows_of
from factory.reporting.gather.run import Run

KEPT: Final = 3
REJECTED: Final = 2
GENERATIONS: Final = 8
MOST_PARENTS: Final = 8
MOST_MEMBERS: Final = 24
FOLDERS: Final = ("data", "rejected", "lineage")
STATES: Final = {"data": "kept", "rejected": "rejected", "lineage": "on the way"}


class Exchange(msgspec.Struct, frozen=True):
    """What was asked and what came back; long texts are cut in the middle."""

    prompt: str
    answer: str


class Member(msgspec.Struct, frozen=True):
    """A record of a family.

    Attributes:
        row: What it says.
        state: `kept`, `rejected`, `on the way`, or `source row`.
        exchanges: Requests that made it, as far as they are shown.
    """

    row: Seen
    state: str
    exchanges: tuple[Exchange, ...]


class Family(msgspec.Struct, frozen=True):
    """A record and its ancestors by id; those beyond the limits are not there."""

    head: str
    members: dict[str, Member]


def families(run: Run) -> list[Family]:
    """Families of some kept and some rejected rows: those with the longest way behind them, then by the hash of their id."""
    made = {row.id: row.parents for row in (*run.kept, *run.rejected, *run.passed)}
    heads = [*_chosen(run.kept, made, KEPT), *_chosen(run.rejected, made, REJECTED)]
    found = [_members(run, head) for head in heads]
    journal = run.journal()
    try:
        return [
            Family(head.id, {name: _told(row, folder, journal) for name, (folder, row) in members.items()})
            for head, members in zip(heads, found, strict=True)
        ]
    finally:
        if journal is not None:
            journal.close()


def _chosen(rows: list[Seen], made: dict[str, tuple[str, ...]], count: int) -> list[Seen]:
    """Rows with parents or requests behind them; of equal depth, the ones whose hash comes first."""
    told = [row for row in rows if row.parents or row.requests]
    return sorted(told, key=lambda row: (-_depth(row.id, made), place(row.id)))[:count]


def _depth(name: str, made: dict[str, tuple[str, ...]]) -> int:
    """Generations behind a record along its first parents, as far as they are known."""
    depth = 0
    while depth < GENERATIONS and (parents := made.get(name)):
        name, depth = parents[0], depth + 1
    return depth


def _members(run: Run, head: Seen) -> dict[str, tuple[str, Seen]]:
    folder = "rejected" if head.step else "data"
    found: dict[str, tuple[str, Seen]] = {head.id: (folder, head)}
    wanted = set(head.parents[:MOST_PARENTS])
    for _ in range(GENERATIONS):
        wanted = set(sorted(wanted - found.keys())[: max(0, MOST_MEMBERS - len(found))])
        if not wanted:
            break
        new: dict[str, tuple[str, Seen]] = {}
        for place_, rows in ((name, rows_of(run.path / name, wanted - new.keys())) for name in FOLDERS):
            new |= {name: (place_, row) for name, row in rows.items()}
            wanted = wanted - new.keys()
        found |= new
        wanted = {parent for _, row in new.values() for parent in row.parents[:MOST_PARENTS]}
    return found


def _told(row: Seen, folder: str, journal: Journal | None) -> Member:
    state = STATES[folder] if row.requests or folder != "lineage" else "source row"
    keys = row.requests if journal is not None else ()
    exchanges = [found for key in keys if journal is not None and (found := journal.request(key)) is not None]
    return Member(row, state, tuple(_exchange(request, answer) for request, answer in exchanges))


def _exchange(request: Request, answer: Completion) -> Exchange:
    said = request.text or "\n\n".join(f"[{message.role}]\n{message.content}" for message in request.messages)
    return Exchange(_middle_cut(said), _middle_cut(answer.text))


def _middle_cut(text: str, most: int = 2 * CLIP) -> str:
    """A text without its middle where it is long: prompts say what they want at both ends."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[… {len(text) - most:,} characters …]\n{text[-most // 2 :]}"
