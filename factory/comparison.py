"""Two datasets of one recipe: which rows stay, which enter, which leave, and what had turned them away.

`compare(held(old), held(new))` says for instance that 91 rows stay, 6 enter that the old run had turned away in
`novelty` as `rouge_l: too_similar`, and 2 leave. A row made of several steps is told by the verdict on itself or on
the nearest record that it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from factory.datasets_io.parquet import read_shards
from factory.records import Verdict, digest

FOLDERS = ("data", "rejected", "lineage")
EXAMPLES = 3
NO_ROW = ("record_id", "provenance")


@dataclass(frozen=True)
class Filed:
    """A verdict, and the step that gave it."""

    step: str
    verdict: Verdict

    @property
    def rule(self) -> str:
        """`rule: reason`, as in the funnel."""
        return f"{self.verdict.rule}: {self.verdict.reason}"


@dataclass(frozen=True)
class Held:
    """What a run directory holds of its records.

    Attributes:
        path: The directory.
        kept: Ids of the dataset's rows, in its order, with a hash of what each says.
        parents: Parents of every record.
        verdicts: Of every rejected record, by id.
        made: Pairs (step, record) of which that step has made something with an answer of the model.
    """

    path: Path
    kept: dict[str, str] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    verdicts: dict[str, Filed] = field(default_factory=dict)
    made: set[tuple[str, str]] = field(default_factory=set)

    def verdict(self, record_id: str, parents: dict[str, tuple[str, ...]]) -> Filed | None:
        """The verdict on a record or, nearest first, on what it was made from."""
        todo, seen = [record_id], {record_id}
        for name in todo:
            if name in self.verdicts:
                return self.verdicts[name]
            fresh = [parent for parent in parents.get(name, ()) if parent not in seen]
            seen.update(fresh)
            todo += fresh
        return None


@dataclass(frozen=True)
class Example:
    """One row that enters or leaves, with the verdict that tells why."""

    id: str
    fields: dict[str, Any]
    filed: Filed | None


@dataclass(frozen=True)
class Moved:
    """Rows that enter, or leave, for one reason.

    Attributes:
        step: The step that had turned them away, or does now; empty where no verdict tells.
        rule: Its `rule: reason`.
        count: How many.
        examples: The first few.
    """

    step: str
    rule: str
    count: int
    examples: list[Example]


@dataclass(frozen=True)
class Comparison:
    """Two datasets side by side.

    Attributes:
        stay: Rows of both.
        changed: Rows of both whose other columns differ.
        entered: Rows of the new one alone, by what had kept them out of the old one.
        left: Rows of the old one alone, by what turned them away.
    """

    stay: int
    changed: int
    entered: list[Moved]
    left: list[Moved]


def held(path: Path) -> Held:
    """Read the records of a run directory.

    Raises:
        RunDirError: If a file is damaged.
    """
    found = Held(path)
    for folder in FOLDERS:
        for row in read_shards(path / folder):
            name, provenance = row["record_id"], row["provenance"]
            parents = tuple(provenance["parents"] or ())
            found.parents.setdefault(name, parents)
            if provenance["requests"]:
                found.made.update((provenance["step"], parent) for parent in parents)
            if folder == "data":
                found.kept[name] = digest(_fields(row, folder))
            elif folder == "rejected":
                found.verdicts.setdefault(name, _filed(row))
    return found


def _filed(row: dict[str, Any]) -> Filed:
    named = {name: row[name] for name in ("rule", "reason", "score", "threshold", "evidence")}
    return Filed(row["step"], Verdict(keep=False, **named))


def _fields(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """What a row says, without its id and provenance."""
    if folder == "data":
        return {name: value for name, value in row.items() if name not in NO_ROW}
    return dict(json.loads(row["fields"]))


def compare(before: Held, after: Held) -> Comparison:
    """What became of the rows of one dataset in another."""
    stay = [name for name in before.kept if name in after.kept]
    return Comparison(
        stay=len(stay),
        changed=sum(before.kept[name] != after.kept[name] for name in stay),
        entered=moved(after, (name for name in after.kept if name not in before.kept), before),
        left=moved(before, (name for name in before.kept if name not in after.kept), after),
    )


def moved(of: Held, names: Iterable[str], told_by: Held) -> list[Moved]:
    """Rows of a dataset by the verdict on them in another run, the most frequent first."""
    groups: dict[tuple[str, str], dict[str, Filed | None]] = {}
    for name in names:
        filed = told_by.verdict(name, of.parents)
        groups.setdefault(("", "") if filed is None else (filed.step, filed.rule), {})[name] = filed
    found = [
        Moved(step, rule, len(told), examples(of.path, "data", dict(islice(told.items(), EXAMPLES))))
        for (step, rule), told in groups.items()
    ]
    return sorted(found, key=lambda one: -one.count)


def turned_away(after: Held, before: Held, rule: str) -> list[Moved]:
    """Rows that were turned away by that `rule: reason`, by step; each with what the other run had said of it."""
    groups: dict[str, list[str]] = {}
    for name, filed in after.verdicts.items():
        if filed.rule == rule:
            groups.setdefault(filed.step, []).append(name)
    return [
        Moved(
            step,
            rule,
            len(names),
            examples(after.path, "rejected", {name: before.verdict(name, after.parents) for name in names[:EXAMPLES]}),
        )
        for step, names in groups.items()
    ]


def examples(path: Path, folder: str, wanted: dict[str, Filed | None]) -> list[Example]:
    """Some rows of a folder, each with the verdict that goes with it."""
    rows = {row["record_id"]: _fields(row, folder) for row in read_shards(path / folder, wanted.__contains__)}
    return [Example(name, rows[name], filed) for name, filed in wanted.items() if name in rows]
