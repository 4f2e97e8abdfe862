"""`factory.evaluate`: synthetic texts of runs and files, measured against real ones.

    evaluate(["runs/simple", "runs/grounded"], "tweets.csv")  ->  Evaluation(sources=(Line("simple", …), …), …)

A source is a run directory (its `data/`) or any file of rows; with `by`, each value of a column is a set of its own. A
synthetic row is tied to the real text that it was made from by its column `ground_id` or, in a run directory, by its
provenance. No model is needed. What is measured, and how, is told in `factory.evaluation`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from factory.datasets_io.whole import write_whole
from factory.errors import RunDirError, UserError
from factory.evaluation.bootstrap import RESAMPLES
from factory.evaluation.compare import Evaluation, compare
from factory.evaluation.downstream import DRAWS
from factory.text_sets import Labelled, read_real, read_sets, real_columns, require_sources, settings_of, unprotected

__all__ = ["Evaluation", "evaluate", "write"]

MADE_BY: Final = "factory evaluate"


def evaluate(
    sources: Sequence[str | Path],
    real: Labelled,
    *,
    test: Labelled | None = None,
    text: str = "text",
    label: str | None = None,
    by: str | None = None,
    values: Mapping[str, str] | None = None,
    real_text: str | None = None,
    real_label: str | None = None,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Measure synthetic texts.

    Args:
        sources: Run directories and files of rows.
        real: A file of real texts, or a mapping as of `LabelledSource`, also as YAML: `{path: a.csv, text: tweet}`.
        test: Real texts to test classifiers on; columns are those of `real` where a mapping does not name others. By
            default a part of `real` is held out.
        text: Column of the text.
        label: Column of the class; `label` by default, where there is one.
        by: Column whose values are compared, or entry of the provenance: `step` tells the steps of a run apart.
        values: Class for values of the columns of classes; others are classes themselves.
        real_text: Column of the text in `real` and `test`, if it is another.
        real_label: Column of their class, if it is another.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.

    Raises:
        UserError: If texts cannot be read, are too few, or are private.
    """
    check_sources(sources, draws, resamples)
    settings = real_columns(real_text or text, real_label or label, values) | settings_of(real, "--real")
    notes = unprotected(sources)
    truth = read_real(settings, "--real", notes)
    tested = None if test is None else read_real(settings | settings_of(test, "--test"), "--test", notes)
    sets = read_sets(sources, text, label, by, values or {}, notes)
    found = compare(sets, truth, tested, draws=draws, resamples=resamples)
    return msgspec.structs.replace(found, notes=(*notes, *found.notes))


def check_sources(sources: Sequence[str | Path], draws: int, resamples: int) -> None:
    """Make sure that there is something to measure, and that none of it is private text.

    Raises:
        UserError: If there is not.
    """
    if not sources:
        raise UserError("evaluate: expected at least one run directory or file of rows.")
    if draws < 1 or resamples < 1:
        raise UserError("evaluate: expected at least one draw and one resample.")
    require_sources(sources)


def write(evaluation: msgspec.Struct, path: str | Path, *, private: bool = False) -> None:
    """Write everything as JSON, whole or not at all; the evaluation may also be one of tables.

    Args:
        evaluation: What was measured.
        path: File to write.
        private: Whether it tells of private texts; then the first entry says so.

    Raises:
        DiskError: If it cannot be written.
    """
    marked = {"private": True} if private else {}
    encoded = msgspec.json.encode({**marked, "made_by": MADE_BY, "evaluation": evaluation})
    write_whole(Path(path), msgspec.json.format(encoded, indent=2) + b"\n")


def check_out(path: str | Path) -> None:
    """Make sure that writing there takes the place of nothing but an earlier evaluation.

    Raises:
        RunDirError: If something else lies there, or there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise RunDirError(f"{path}: there is no folder {path.parent}.")
    if not path.exists():
        return
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("made_by") != MADE_BY:
        raise RunDirError(f"{path}: exists and is no evaluation; choose another file.")
