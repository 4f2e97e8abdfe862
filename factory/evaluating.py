"""`factory.evaluate`: synthetic texts of runs and files, measured against real ones.

    evaluate(["runs/simple", "runs/grounded"], "tweets.csv")  ->  Evaluation(sources=(Line("simple", …), …), …)

A source is a run directory (its `data/`) or any file of rows; with `by`, each value of a column is a set of its own. A
synthetic row is tied to the real text that it was made from by its column `ground_id` or, in a run directory, by its
provenance. No model is needed. What is measured, and how, is told in `factory.evaluation`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from factory.datasets_io.rows import read_rows
from factory.datasets_io.whole import write_whole
from factory.errors import Problem, RecipeError, RunDirError, SourceError, UserError
from factory.evaluation.bootstrap import RESAMPLES
from factory.evaluation.compare import Evaluation, compare
from factory.evaluation.downstream import DRAWS
from factory.evaluation.texts import Text
from factory.recipe import strict_yaml
from factory.recipe.labelled import LabelledSource, LabelledText, label_value
from factory.recipe.suggest import did_you_mean
from factory.recipe.validate import validate
from factory.records import source_id

__all__ = ["Evaluation", "evaluate", "write"]

LABEL: Final = "label"
GROUND: Final = "ground_id"
MADE_BY: Final = "factory evaluate"
MOST_SETS: Final = 50
UNNAMED: Final = "(none)"

Labelled = str | Path | Mapping[str, Any] | LabelledSource


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
        by: Column whose values are compared.
        values: Class for values of the columns of classes; others are classes themselves.
        real_text: Column of the text in `real` and `test`, if it is another.
        real_label: Column of their class, if it is another.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.

    Raises:
        UserError: If texts cannot be read, or are too few.
    """
    if not sources:
        raise UserError("evaluate: expected at least one run directory or file of rows.")
    if draws < 1 or resamples < 1:
        raise UserError("evaluate: expected at least one draw and one resample.")
    known = {**(values or {}), **{name: name for name in (values or {}).values()}}
    columns = {"text": real_text or text, "label": real_label or label, "values": known}
    settings = {name: value for name, value in columns.items() if value} | _settings(real, "--real")
    notes: list[str] = []
    truth = _real(settings, "--real", notes)
    tested = None if test is None else _real(settings | _settings(test, "--test"), "--test", notes)
    sets = _sets(sources, text, label, by, values or {}, notes)
    found = compare(sets, truth, tested, draws=draws, resamples=resamples)
    return msgspec.structs.replace(found, notes=(*notes, *found.notes))


def write(evaluation: msgspec.Struct, path: str | Path) -> None:
    """Write everything as JSON, whole or not at all; the evaluation may also be one of tables.

    Raises:
        DiskError: If it cannot be written.
    """
    encoded = msgspec.json.encode({"made_by": MADE_BY, "evaluation": evaluation})
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


# --- real texts ---------------------------------------------------------------------------------------


def _real(settings: dict[str, Any], origin: str, notes: list[str]) -> list[Text]:
    """Real texts; without classes where no column of classes is named and there is none called `label`."""
    problems: list[Problem] = []

    def report(at: tuple[str | int, ...], message: str, _: bool) -> None:
        problems.append(Problem(origin, 0, 0, strict_yaml.dotted(at), message))

    source = validate(LabelledSource, settings, (), report)
    if source is None:
        raise RecipeError(problems)
    path = source.find(Path.cwd())
    if LABEL not in settings and not _has_column(path, source):
        return [Text(each.id, each.text) for each in _unlabelled(path, source, notes)]
    read = source.read(Path.cwd(), lambda sentence: notes.append(f"{sentence}."))
    return [Text(each.id, each.text, each.label) for each in read]


def _settings(given: Labelled, origin: str) -> dict[str, Any]:
    """What was said of a file of real texts."""
    if isinstance(given, LabelledSource):
        return given.model_dump(exclude_unset=True)
    if isinstance(given, Mapping):
        return dict(given)
    if not str(given).lstrip().startswith("{"):
        return {"path": str(given)}
    try:
        return dict(strict_yaml.scalar(str(given)))
    except RecipeError as error:
        raise RecipeError([Problem(origin, 0, 0, "", problem.message) for problem in error.problems]) from error


def _has_column(path: Path, source: LabelledSource) -> bool:
    first = next(read_rows(path, source.header, quotes=source.quotes), {})
    return source.label in first


def _unlabelled(path: Path, source: LabelledSource, notes: list[str]) -> Iterator[LabelledText]:
    """Texts of a file without a column of classes, with the same ids."""
    empty = 0
    for name, row in _named(read_rows(path, source.header, quotes=source.quotes)):
        _require(row, source.text, path)
        found = str(row[source.text] or "")
        if found.strip():
            yield LabelledText(name, found, "")
        empty += not found.strip()
    if empty:
        notes.append(f"{path.name}: {empty:,} {'row' if empty == 1 else 'rows'} without text left out.")


# --- synthetic texts ----------------------------------------------------------------------------------


def _sets(
    sources: Sequence[str | Path],
    text: str,
    label: str | None,
    by: str | None,
    values: Mapping[str, str],
    notes: list[str],
) -> dict[str, list[Text]]:
    """Texts by the name of their set."""
    found: dict[str, list[Text]] = defaultdict(list)
    for name, path in source_names(sources).items():
        empty = 0
        for row_id, row in _named(read_rows(path)):
            for column in (text, label, by):
                _require(row, column, path)
            written = str(row[text] or "")
            if not written.strip():
                empty += 1
                continue
            value = label_value(row.get(label or LABEL))
            named = _grounds(row)
            ground = named[0] if named and _is_source(row) else None
            each = Text(row_id, written, values.get(value, value), ground=ground, others=tuple(named))
            found[name if by is None else _value(row[by], name if len(sources) > 1 else "")].append(each)
        if empty:
            notes.append(f"{name}: {empty:,} {'row' if empty == 1 else 'rows'} without text left out.")
        if by is None and name not in found:
            raise SourceError(f"{path}: has no text in the column '{text}'; expected at least two.")
    if len(found) > MOST_SETS:
        raise UserError(f"--by {by}: {len(found):,} different values; expected at most {MOST_SETS} to compare.")
    if not found:
        raise SourceError(f"{', '.join(map(str, sources))}: no text in the column '{text}'; expected at least two.")
    return dict(found)


def source_names(sources: Sequence[str | Path]) -> dict[str, Path]:
    """A name for each source: that of its file or folder, or its path where two share one."""
    paths = list(dict.fromkeys(Path(each) for each in sources))
    stems = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    shared = {name for name, count in Counter(stems).items() if count > 1}
    return {str(path) if stem in shared else stem: path for stem, path in zip(stems, paths, strict=True)}


def _named(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their ids: as a run has given them, else those that the source `rows` would give."""
    seen: Counter[str] = Counter()
    for row in rows:
        if isinstance(row.get("record_id"), str) and isinstance(row.get("provenance"), dict):
            yield row["record_id"], row
            continue
        name = source_id(row, 0)
        yield (source_id(row, seen[name]) if seen[name] else name), row
        seen[name] += 1


def _require(row: dict[str, Any], column: str | None, path: Path) -> None:
    if column is not None and column not in row:
        raise SourceError(f"{path}: no column '{column}'{did_you_mean(column, row)}; the rows have {', '.join(row)}.")


def _value(value: Any, source: str) -> str:
    """Name of a set from the value of a column, and from the source where there are several."""
    name = label_value(value) or UNNAMED
    return f"{source}: {name}" if source else name


def _grounds(row: dict[str, Any]) -> list[str]:
    """Ids of the texts that a row may have been made from, the one that it names first."""
    named = [str(row[GROUND])] if row.get(GROUND) else []
    provenance = row.get("provenance")
    if not isinstance(provenance, dict):
        return named
    parents = [str(parent) for parent in provenance.get("parents") or []]
    named += [provenance["root"]] if provenance.get("root") else parents if len(parents) == 1 else []
    return [*named, *parents]


def _is_source(row: dict[str, Any]) -> bool:
    """Whether a row names one text that it was made from; of several parents none may be a text."""
    provenance = row.get("provenance")
    if row.get(GROUND):
        return True
    return isinstance(provenance, dict) and bool(provenance.get("root") or len(provenance.get("parents") or []) == 1)
