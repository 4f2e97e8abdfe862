"""Seed tasks: instructions with instances, the beginning of a growing pool.

`seeds: {path: seeds/self_instruct.jsonl}` reads one task a line,

    {"instruction": "Name the capital.", "is_classification": false,
     "instances": [{"input": "France", "output": "Paris"}]}

and makes one record of each; further keys (an id, a name) stay with it. Every broken task is reported
with its line, all at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from factory.context import Context
from factory.datasets_io.rows import scan_rows
from factory.errors import OptionError, SourceError, UserError
from factory.recipe.schema import MayBePrivate, StepOptions
from factory.records import Outcome, Provenance, Record, source_id
from factory.resources import find

MAX_REPORTED = 20


class Options(StepOptions, MayBePrivate):
    """Options of the `seeds` source.

    Attributes:
        path: File of seed tasks, relative to the recipe or the working directory.
        private: Whether nobody may see the tasks; then no source may read them, as its rows are shown and pushed.
    """

    path: str = "seeds/self_instruct.jsonl"
    private: bool = False


def check(options: Options, base: Path) -> list[UserError]:
    """Read and check every task."""
    try:
        read_tasks(_path(options, base))
    except SourceError as error:
        return [OptionError("path", line) for line in str(error).split("\n")]
    return []


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """What every seed task has."""
    return {"instruction", "is_classification", "instances"}


def files(options: Options, base: Path) -> list[Path]:
    """The seed file."""
    return [_path(options, base)]


def _path(options: Options, base: Path) -> Path:
    found = find(options.path, base)
    if found is None:
        raise SourceError(
            f"{options.path}: no such seeds file (looked beside the recipe, in the working directory, and among those that ship)."
        )
    return found


def read_tasks(path: Path) -> list[dict[str, Any]]:
    """All seed tasks of a file.

    Raises:
        SourceError: With one line for each broken task, or if there are none.
    """
    tasks, problems = [], []
    for place, row in scan_rows(path):
        if isinstance(row, SourceError):
            problems.append(str(row))
        elif (problem := _problem(row)) is not None:
            problems.append(f"{place}: {problem}.")
        else:
            tasks.append({**row, "is_classification": bool(row.get("is_classification", False))})
    if problems:
        more = [f"{path}: and {len(problems) - MAX_REPORTED} more."] if len(problems) > MAX_REPORTED else []
        raise SourceError("\n".join(problems[:MAX_REPORTED] + more))
    if not tasks:
        raise SourceError(
            f"{path}: has no seed tasks; expected one JSON object a line with 'instruction' and 'instances'."
        )
    return tasks


def _problem(row: dict[str, Any]) -> str | None:
    if not isinstance(row.get("instruction"), str) or not row["instruction"].strip():
        return "'instruction' is missing or empty"
    if not isinstance(row.get("is_classification", False), bool):
        return f"'is_classification' must be true or false, found {row['is_classification']!r}"
    instances = row.get("instances")
    if not isinstance(instances, list) or not instances:
        return '\'instances\' must be a list of at least one {"input": …, "output": …}'
    for instance in instances:
        whole = isinstance(instance, dict) and isinstance(instance.get("input", ""), str)
        if not whole or not isinstance(instance.get("output"), str) or not instance["output"].strip():
            return "an instance needs an 'output' text that is not empty, and an 'input' text that may be"
    return None


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield one record for each task, in file order; equal tasks are told apart by how many came before."""
    seen: dict[str, int] = {}
    provenance = Provenance(step=ctx.step, method="seeds")
    tasks = read_tasks(_path(options, ctx.base))
    ctx.stats.expected = len(tasks)
    for task in tasks:
        name = source_id(task, 0)
        occurrence = seen.get(name, 0)
        seen[name] = occurrence + 1
        yield Record(name if occurrence == 0 else source_id(task, occurrence), task, provenance)
