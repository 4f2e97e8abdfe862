"""Texts that `factory evaluate` is given: sets of synthetic ones, and real ones that are public or private.

    read_sets(["runs/simple", "made.csv"], "text", None, None, {}, notes)
    -> {"simple": [Text(id="5f0c…", text="Oh great, …", label="sarcastic", ground="91ab…"), …], "made": […]}

A source is a run directory (its `data/`) or any file of rows. A file with a ledger of privacy beside it is read as a private one
or not at all: what is measured on it tells of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from factory.datasets_io.rows import read_rows
from factory.errors import Problem, RecipeError, SourceError, UserError
from factory.evaluation.texts import Text
from factory.privacy.places import ledger_near
from factory.recipe import strict_yaml
from factory.recipe.labelled import LabelledSource, LabelledText, label_value
from factory.recipe.private import PrivateSource
from factory.recipe.suggest import did_you_mean
from factory.recipe.taint import known_private, require_public
from factory.recipe.validate import validate
from factory.records import source_id

LABEL: Final = "label"
GROUND: Final = "ground_id"
MOST_SETS: Final = 50
UNNAMED: Final = "(none)"
INSTEAD: Final = (
    "what is measured on it tells of it: name public texts, or name it with --private, whose figures stay out of cards and "
    "reports"
)

_Source = TypeVar("_Source", bound=LabelledSource)
Labelled = str | Path | Mapping[str, Any] | LabelledSource


# --- real texts ---------------------------------------------------------------------------------------


def real_columns(text: str, label: str | None, values: Mapping[str, str] | None) -> dict[str, Any]:
    """Columns of real texts, where their own mapping does not name others."""
    known = {**(values or {}), **{name: name for name in (values or {}).values()}}
    return {name: value for name, value in {"text": text, "label": label, "values": known}.items() if value}


def read_real(settings: dict[str, Any], origin: str, notes: list[str]) -> list[Text]:
    """Real texts that are public; without classes where no column of classes is named and there is none called `label`."""
    source, path = _source(LabelledSource, settings, origin)
    if source.private:
        raise UserError(f"{origin} {path}: is declared private; {INSTEAD}.")
    require_public([path], origin, INSTEAD)
    _require_columns(source, path, settings, origin)
    return _texts(source, path, LABEL in settings, notes)


def _require_columns(source: LabelledSource, path: Path, settings: dict[str, Any], origin: str) -> None:
    """Real rows may have other columns than synthetic ones; then the option that names them is told.

    Raises:
        SourceError: If one is missing.
    """
    first = next(read_rows(path, source.header, quotes=source.quotes), None)
    wanted = {source.text: "--real-text", **({source.label: "--real-label"} if LABEL in settings else {})}
    for column, option in wanted.items():
        if first is not None and column not in first:
            raise SourceError(
                f"{origin} {path}: no column '{column}'{did_you_mean(column, first)}; the rows have {', '.join(first)}. Name "
                f"it with {option} where real rows have another one."
            )


def read_private(settings: dict[str, Any], origin: str, notes: list[str]) -> list[Text]:
    """Private texts, named as in the option `data` of a differentially private step."""
    source, path = _source(PrivateSource, settings, origin)
    return _texts(source, path, LABEL in settings, notes)


def _source(kind: type[_Source], settings: dict[str, Any], origin: str) -> tuple[_Source, Path]:
    """A source of texts, and where it lies.

    Raises:
        RecipeError: If a setting is wrong.
        SourceError: If there is no such file.
    """
    problems: list[Problem] = []

    def report(at: tuple[str | int, ...], message: str, _: bool) -> None:
        problems.append(Problem(origin, 0, 0, strict_yaml.dotted(at), message))

    source = validate(kind, settings, (), report)
    if source is None:
        raise RecipeError(problems)
    return source, source.find(Path.cwd())


def _texts(source: LabelledSource, path: Path, labelled: bool, notes: list[str]) -> list[Text]:
    """The texts of a source; with classes if they are asked for or if there is a column of them."""
    if not labelled and not _has_column(path, source):
        return [Text(each.id, each.text) for each in _unlabelled(path, source, notes)]
    read = source.read(Path.cwd(), lambda sentence: notes.append(f"{sentence}."))
    return [Text(each.id, each.text, each.label) for each in read]


def settings_of(given: Labelled, origin: str) -> dict[str, Any]:
    """What was said of a file of real texts."""
    if isinstance(given, LabelledSource):
        declared = {"private": True} if getattr(given, "private", False) else {}
        return {**given.model_dump(exclude_unset=True), **declared}
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


def read_sets(
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
            for column in (text, label):
                _require(row, column, path)
            written = str(row[text] or "")
            if not written.strip():
                empty += 1
                continue
            value = label_value(row.get(label or LABEL))
            named = _grounds(row)
            ground = named[0] if named and _is_source(row) else None
            each = Text(row_id, written, values.get(value, value), ground=ground, others=tuple(named))
            prefix = name if len(sources) > 1 else ""
            found[name if by is None else set_name(row, row, by, path, prefix)].append(each)
        if empty:
            notes.append(f"{name}: {empty:,} {'row' if empty == 1 else 'rows'} without text left out.")
        if by is None and name not in found:
            raise SourceError(f"{path}: has no text in the column '{text}'; expected at least two.")
    if len(found) > MOST_SETS:
        raise UserError(f"--by {by}: {len(found):,} different values; expected at most {MOST_SETS} to compare.")
    if not found:
        raise SourceError(f"{', '.join(map(str, sources))}: no text in the column '{text}'; expected at least two.")
    return dict(found)


def require_sources(sources: Sequence[str | Path]) -> None:
    """Make sure that no source of synthetic rows is a private file; a run whose rows stay private may be measured.

    Raises:
        UserError: If a ledger of privacy lies beside one.
    """
    for source in sources:
        if (ledger := ledger_near(Path(source))) is not None:
            raise UserError(
                f"{source}: was declared private before (its ledger is {ledger}); expected synthetic rows. Real private "
                "texts are named with --private."
            )


def unprotected(sources: Sequence[str | Path]) -> list[str]:
    """Why rows of sources, and so their figures, are as private as what they were learnt from: a sentence for each."""
    return [
        f"{name}: {why}: its figures tell of private texts too, so keep them to yourself."
        for name, path in source_names(sources).items()
        if (why := known_private(path))
    ]


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


def set_name(stored: dict[str, Any], row: dict[str, Any], by: str, path: Path, source: str) -> str:
    """Name of the set of a row: the value of a column, or of its provenance; with the source where there are several.

    Args:
        stored: The row with what a run stores beside it.
        row: Its columns.
        by: Column, or entry of the provenance.
        path: Where it lies.
        source: Name of the source, if there are several.
    """
    provenance = stored.get("provenance")
    known = {**(provenance if isinstance(provenance, dict) else {}), **stored, **row}
    if by not in known:
        raise SourceError(f"{path}: no column '{by}'{did_you_mean(by, known)}; the rows have {', '.join(row)}.")
    name = label_value(known[by]) or UNNAMED
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
