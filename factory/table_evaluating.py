"""`factory evaluate` for tables: synthetic rows of runs and files, measured against real rows.

    evaluate_tables(["runs/great", "copula.csv"], "train.csv", test="test.csv", target="income")
        ->  Evaluated(TableEvaluation(sets=(Line("great", …), …), …), Distributions(…))

A source is a run directory (its `data/`) or any file of rows; with `by`, each value of a column, or of the provenance, is a
set of its own: `by="step"` tells the generators of one run apart. What columns may hold is inferred from the real rows that
the generators were trained on. What is measured, and how, is told in `factory.evaluation.tables`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from factory.datasets_io.rows import fields_of, read_rows
from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError, SourceError, UserError
from factory.evaluation.tables.compare import SEEDS, TableEvaluation, compare
from factory.evaluation.tables.distributions import Distributions, distributions
from factory.evaluation.tables.page import GENERATOR, page
from factory.recipe.suggest import did_you_mean
from factory.recipe.taint import require_public
from factory.rundir import MANIFEST
from factory.tables.inferring import infer
from factory.tables.rules import Rules
from factory.tables.schema import Table
from factory.text_sets import MOST_SETS, require_sources, set_name, source_names

TABLE_OPTION: Final = "table"
FIGURES: Final = "figures against private rows tell of them; compare with rows that may be shown"
Row = dict[str, Any]
Say = Callable[[str], None]


class Evaluated(msgspec.Struct, frozen=True):
    """Figures, and what a page draws besides."""

    evaluation: TableEvaluation
    distributions: Distributions


def holds_tables(sources: Sequence[str | Path]) -> bool:
    """Whether a source is the directory of a run with a step that has an option `table`."""
    return any(_makes_tables(Path(each) / MANIFEST) for each in sources)


def evaluate_tables(
    sources: Sequence[str | Path],
    real: str | Path,
    *,
    test: str | Path | None,
    target: str | None = None,
    holdout: str | Path | None = None,
    by: str | None = None,
    missing: Sequence[str] = (),
    seeds: int = SEEDS,
    n_jobs: int = 1,
    say: Say = lambda _: None,
) -> Evaluated:
    """Measure synthetic rows.

    Args:
        sources: Run directories and files of rows.
        real: The real rows that the generators were trained on.
        test: Real rows that they were not trained on, to test models on.
        target: Column that models predict; without it no efficiency is measured.
        holdout: More real rows that they were not trained on; by default half of the test rows.
        by: Column, or entry of the provenance, whose values are compared.
        missing: Texts that stand for a missing value; an empty CSV cell always does.
        seeds: Of subsamples, folds and models.
        n_jobs: Cores.
        say: Told how far it is.

    Raises:
        UserError: If rows cannot be read, or are too few.
    """
    if test is None:
        raise UserError(
            "--test: expected a file of real rows that no generator was trained on; models are tested on it."
        )
    require_public([each for each in (real, test, holdout) if each is not None], "evaluate:", FIGURES)
    require_sources(sources)
    notes: list[str] = []
    inferred = infer(_rows(real), missing=missing, origin=str(real))
    train = inferred.table
    tested, held = _like(test, train), None if holdout is None else _like(holdout, train)
    sets = _sets(sources, train, by, notes)
    found = compare(sets, train, tested, held, Rules(train.schema), target, seeds=seeds, n_jobs=n_jobs, say=say)
    told = msgspec.structs.replace(found, notes=(*inferred.notes, *dict.fromkeys(notes), *found.notes))
    return Evaluated(told, distributions(sets, train))


def write_page(evaluated: Evaluated, path: str | Path, title: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        DiskError: If it cannot be written.
    """
    html = page(evaluated.evaluation, evaluated.distributions, title)
    write_whole(Path(path), html.encode("utf-8", "replace"))


def check_page(path: str | Path) -> None:
    """Make sure that writing a page there takes the place of nothing but an earlier page.

    Raises:
        RunDirError: If something else lies there, or there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise RunDirError(f"{path}: there is no folder {path.parent}.")
    if path.exists() and (not path.is_file() or GENERATOR.encode() not in path.read_bytes()[:1000]):
        raise RunDirError(f"{path}: exists and is no page of an evaluation; choose another file.")


def _makes_tables(path: Path) -> bool:
    """Whether the manifest there is of a run that makes rows of a table."""
    try:
        manifest = json.loads(path.read_bytes())
        steps = [options for step in manifest["recipe"]["steps"] for options in step.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # it is no run directory, or one that is reported when its rows are read
    return any(isinstance(options, dict) and options.get(TABLE_OPTION) for options in steps)


def _rows(path: str | Path) -> list[Row]:
    rows = [fields_of(row) for row in read_rows(Path(path))]
    if not rows:
        raise SourceError(f"{path}: has no rows.")
    return rows


def _like(path: str | Path, train: Table) -> list[Row]:
    """Real rows with the columns of the training rows."""
    rows = _rows(path)
    _require(rows[0], train.schema.names, path)
    return rows


def _sets(sources: Sequence[str | Path], train: Table, by: str | None, notes: list[str]) -> dict[str, list[Row]]:
    """Rows by the name of their set."""
    found: dict[str, list[Row]] = defaultdict(list)
    for name, path in source_names(sources).items():
        stored = list(read_rows(path))
        if not stored:
            raise SourceError(f"{path}: has no rows.")
        rows = [fields_of(row) for row in stored]
        if not set(rows[0]) & set(train.schema.names):
            _require(rows[0], train.schema.names, path)
        lacking = [column for column in train.schema.names if all(column not in row for row in rows)]
        if lacking:
            notes.append(f"{name}: has no column {', '.join(lacking)}; it counts as missing.")
        prefix = name if len(sources) > 1 else ""
        for kept, row in zip(stored, rows, strict=True):
            found[name if by is None else set_name(kept, row, by, path, prefix)].append(row)
    if len(found) > MOST_SETS:
        raise UserError(f"--by {by}: {len(found):,} different values; expected at most {MOST_SETS} to compare.")
    return dict(found)


def _require(row: Mapping[str, Any], names: Sequence[str], path: str | Path) -> None:
    for name in names:
        if name not in row:
            raise SourceError(f"{path}: no column '{name}'{did_you_mean(name, row)}; the rows have {', '.join(row)}.")
