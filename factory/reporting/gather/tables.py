"""The real table that a run was made from, beside what the run made of it.

    compared(run)  ->  Compared(table="iris", distributions=Distributions(…), real=105, sets={"gaussian_copula": 150})

The recipe names the table. It is read only if it may be shown: not if an option, a ledger or another run says that it is
private, nor if the rows of the run are not private enough to be shared. Elsewhere than the run it may lie at another place, or be
another file by now; then it is left out, and the page says why.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from factory.errors import FactoryError
from factory.evaluation.tables.distributions import Distributions, distributions
from factory.manifest import file_hash
from factory.recipe.tables import SKLEARN, LoadedTable, TableSource
from factory.recipe.taint import require_public
from factory.reporting.gather.rows import place
from factory.reporting.gather.run import Run
from factory.tables.schema import Table

MOST_ROWS: Final = 10_000
MOST_SETS: Final = 6
TABLE: Final = "table"


class Compared(msgspec.Struct, frozen=True):
    """Real rows beside made ones.

    Attributes:
        table: What the real table is called.
        distributions: Columns and pairs of them.
        real: Real rows that were compared with.
        sets: Made rows by the step that made them.
        notes: What to know.
    """

    table: str
    distributions: Distributions
    real: int
    sets: dict[str, int]
    notes: tuple[str, ...]


def makes_tables(run: Run) -> bool:
    """Whether a step makes rows of a table."""
    return any(_table_options(run, step["step"]) for step in run.steps)


def compared(run: Run) -> Compared | str:
    """Columns of real and made rows, or why they cannot be compared."""
    makers = [step["step"] for step in run.steps if _table_options(run, step["step"]) and step.get("trained")]
    if not makers:
        return "No step of this run has learnt a table."
    if run.not_private or _reads_private(run):
        return "A step reads private rows; nothing private is read for a page."
    loaded = _loaded(run, _table_options(run, makers[0]) or {})
    if isinstance(loaded, str):
        return loaded
    table, notes = _drawn(loaded)
    sets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in run.kept:
        if row.made_by in makers[:MOST_SETS]:
            sets[row.made_by].append(row.fields)
    if not sets:
        return "No kept row was made by a step that has learnt a table."
    if run.sampled:
        notes.append(run.sampled)
    found = distributions(sets, table)
    if not any(len(column.shares) > 1 for column in found.columns):
        return "Too few made rows can be read as rows of the table to compare them."
    return Compared(loaded.name, found, table.rows, {name: len(rows) for name, rows in sets.items()}, tuple(notes))


def _table_options(run: Run, step: str) -> dict[str, Any] | None:
    given = run.options(step).get(TABLE)
    return given if isinstance(given, dict) and given.get("path") else None


def _reads_private(run: Run) -> bool:
    """Whether any option of the recipe, however deep, says that rows are private, as `PrivateSource` and `TableSource` do."""

    def said(value: Any) -> bool:
        if isinstance(value, dict):
            return value.get("private") is True or any(map(said, value.values()))
        return isinstance(value, list | tuple) and any(map(said, value))

    return said(run.manifest["recipe"])


def _loaded(run: Run, given: dict[str, Any]) -> LoadedTable | str:
    """The real table, or why it is not read."""
    try:
        source = TableSource.model_validate_json(msgspec.json.encode(given))
        path = source.find(run.path)
        if not given["path"].startswith(SKLEARN):
            require_public([path], "table.path")
            known = run.manifest["files"].get(path.name)
            if known is not None and file_hash(path) != known:
                return f"{path.name} is not the file that this run was made from: it has been changed since."
        return source.load(run.path)
    except ValidationError as error:
        return f"The options of the table are those of another version of the factory: {error.errors()[0]['msg']}."
    except FactoryError as error:
        return f"The real table is not compared with: {_nameless(str(error), Path(given['path']))}"


def _nameless(sentence: str, path: Path) -> str:
    """A sentence without the folder that a file lies in: a page may travel."""
    return sentence.replace(str(path), path.name) if path.name else sentence


def _drawn(loaded: LoadedTable) -> tuple[Table, list[str]]:
    """At most so many learned rows, chosen by the hash of their id."""
    if loaded.table.rows <= MOST_ROWS:
        return loaded.table, []
    ranked = sorted(range(loaded.table.rows), key=lambda at: place(loaded.ids[at]))[:MOST_ROWS]
    note = f"{MOST_ROWS:,} of {loaded.table.rows:,} real rows, chosen by a hash."
    return loaded.table.take(sorted(ranked)), [note]
