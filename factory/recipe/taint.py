"""Private rows may be read by differentially private steps alone, through the options that those account for.

    steps:
      - rows: {path: tickets.csv, private: true}
    recipe.yaml:2:33: steps[0].rows.private: rows of a source are kept in lineage/, shown and pushed, …

Rows are private if an option says so (`private: true`), if another step of the recipe says so of the same file, if a
privacy ledger lies beside them (somebody said so once), or if they came out of a run that said so. A method may read them
where it declares `READS_PRIVATE` (see `factory.recipe.pieces`). What it gives out is public, unless it says why not (no
noise, a seed that anybody can repeat): then only steps that are differentially private themselves may follow, and the
dataset stays private. All of this is found when a recipe is loaded, without reading a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from factory.errors import FactoryError, UserError
from factory.privacy.places import ledger_near
from factory.recipe.named_files import PATH, PRIVATE, Named, named_files, overlap, private_sources
from factory.recipe.pieces import pieces
from factory.recipe.step import Place, Step
from factory.resources import expanded, find

HOOKS = ("private_files", "releases")
VALIDATION, TABLE = "validation", "table"
MANIFEST, EXPORT = "manifest.json", "export.json"
KEPT = "stays_private"  # in the manifest of a session that has not ended, of what an earlier one left; in an export's record
FOLDERS_UP = 5  # from runs/NAME/artifacts/STEP/peft/FILE to the folder of its run, and one more


class Finding(NamedTuple):
    """Something that a step may not do.

    Attributes:
        step: The step.
        option: Place of the option below the step; `()` for the step itself.
        message: Why not.
    """

    step: Step
    option: Place
    message: str


def findings(steps: Sequence[Step | None], base: Path) -> list[Finding]:
    """All that would let private rows out, at most one finding for each option.

    Args:
        steps: Steps of the recipe in order, None for one with problems of its own.
        base: Folder that relative paths start from.
    """
    there = [step for step in steps if step is not None]
    private = [(step, path) for step in there for path in _private_paths(step, base)]
    found = [
        *(finding for step in there for finding in (*_incomplete(step), *_declared(step, base))),
        *(finding for step in there for finding in _opened(step, base, private)),
        *_behind(there),
    ]
    return list({(finding.step.place, finding.option): finding for finding in reversed(found)}.values())[::-1]


def of_engine(engine: BaseModel, base: Path) -> list[tuple[Place, str]]:
    """Files that the engine reads, a model say, and that are private: what learnt private rows without noise writes them."""
    found = [
        (named.place, named.path.name, known_private(named.path)) for named in named_files(engine, base, folders=True)
    ]
    return [
        (("engine", *place), f"{name} {known}; what it writes may repeat private rows")
        for place, name, known in found
        if known
    ]


def stays_private(steps: Iterable[Step]) -> str:
    """Why the rows that come out of these steps stay private; empty if they do not."""
    return next((why for step in steps if (why := _held_back(step))), "")


def declares_private(step: Step) -> bool:
    """Whether a differentially private step reads rows that are said to be private."""
    return bool(step.reads_private and private_sources(step.options))


def require_public(paths: Iterable[str | Path], what: str, why: str = "") -> None:
    """Make sure that no privacy ledger lies beside any of these files, and that none came out of a run that stays private.

    Args:
        paths: Files and folders; those that do not exist are left to whoever reads them.
        what: What names them, e.g. `--real`.
        why: What would come of reading one, for the sentence.

    Raises:
        UserError: If one is private.
    """
    for path in paths:
        if said := known_private(Path(path)):
            raise UserError(f"{what} {path}: {said}; {why or _instead()}.")


# --- what is private ----------------------------------------------------------------------------------


def _private_paths(step: Step, base: Path) -> list[Path]:
    """Files that a step says are private, as far as they can be told; also where it may not read them."""
    sources = private_sources(step.options)
    paths = [path for _, source in sources if (path := _path_of(source, base)) is not None]
    if sources and step.reads_private:
        with suppress(FactoryError):  # the step's own check tells what is wrong with its file
            paths += step.private_files(base)
    return paths


def _path_of(source: BaseModel, base: Path) -> Path | None:
    """Where the rows of a source lie, also where there is no such file yet."""
    path = getattr(source, PATH, None)
    return (find(path, base) or base / expanded(path)) if isinstance(path, str) else None


def known_private(path: Path) -> str:
    """Why a file is private whatever a recipe says of it; empty if nothing is known against it."""
    if (ledger := ledger_near(path)) is not None:
        return f"was declared private before (its ledger is {ledger})"
    return _made_of_private(path)


def _made_of_private(path: Path) -> str:
    """Whether it, or what links in it lead to, came out of a run whose rows stay private, in words; empty if it did not."""
    links = [inside.resolve() for inside in path.rglob("*") if inside.is_symlink()] if path.is_dir() else []
    for name in dict.fromkeys((path.absolute(), path.resolve(), *links)):
        for place in (name, *name.parents)[: 1 + FOLDERS_UP]:
            if why := kept_private(_told(place / MANIFEST)):
                return f"belongs to a run whose rows stay private ({why})"
            if exported := _told(place / EXPORT).get(KEPT):
                return f"was exported from a run whose rows stay private ({exported})"
    return ""


def kept_private(manifest: Mapping[str, Any]) -> str:
    """Why what lies in a run directory stays private, by its manifest; empty if it does not.

    A manifest tells of the last session: while that one has not ended, rows and models of an earlier one may lie there.
    """
    privacy = manifest.get("privacy")
    if manifest.get(KEPT):
        return str(manifest[KEPT])
    if not isinstance(privacy, Mapping):
        return ""
    if privacy.get("output_private"):
        return str(privacy.get("why") or "it says so")
    refuted = next((claim for claim in privacy.get("claims") or () if _refuted(claim)), None)
    return "" if refuted is None else f"an audit found more than '{refuted['step']}' claims"


def _refuted(claim: Mapping[str, Any]) -> bool:
    return bool(claim.get("private_source")) and any(audit.get("violation") for audit in claim.get("audits") or ())


def _told(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _held_back(step: Step) -> str:
    """Why what a step makes of private rows stays private; empty if it may be treated as public, or reads none."""
    if not declares_private(step):
        return ""
    releases = getattr(step.module, "releases", None)
    why = releases(step.options) if releases else "it does not say whether its rows may be treated as public"
    return f"what '{step.name}' gives out stays private: {why}".removesuffix(".") if why else ""


# --- what may not read it -----------------------------------------------------------------------------


def _incomplete(step: Step) -> Iterator[Finding]:
    """A piece that reads private rows must say which, and what becomes of them."""
    if step.reads_private and (missing := [name for name in HOOKS if not hasattr(step.module, name)]):
        message = (
            f"'{step.piece.name}' declares READS_PRIVATE and lacks {' and '.join(missing)}; it may not read anything"
        )
        yield Finding(step, (), message)


def _declared(step: Step, base: Path) -> Iterator[Finding]:
    """Options that say `private: true` where the piece does not account for it, or of rows that others were made into."""
    for place, source in private_sources(step.options):
        if not _accounted(step, place):
            yield Finding(step, (*place, PRIVATE), _reason(step, place))
        elif (path := _path_of(source, base)) is not None and (made := _made_of_private(path)):
            yield Finding(
                step, (*place, PATH), f"{path.name} {made}; a claim would protect these, not those behind them"
            )


def _opened(step: Step, base: Path, private: Sequence[tuple[Step, Path]]) -> Iterator[Finding]:
    """Files that are private elsewhere, or were once, and that a step reads as if they were public."""
    for named in _read_by(step, base):
        by = next((other for other, path in private if overlap(named.path, path)), None)
        known = f"is private in the step '{by.name}'" if by else known_private(named.path)
        if known:
            yield Finding(step, named.place, f"{named.path.name} {known}, and {_reason(step, named.place)}")


def _behind(steps: Sequence[Step]) -> Iterator[Finding]:
    """Steps that would read rows that stay private."""
    held = ""
    for step in steps:
        if held and not step.reads_private:
            advice = "only differentially private steps, which pass those rows on, may follow"
            yield Finding(step, (), f"{held}; {advice}: end the recipe there, or let it release its rows")
        held = held or _held_back(step)


def _read_by(step: Step, base: Path) -> list[Named]:
    """Files that it reads as public ones: those that its options name, then those that it says it reads besides."""
    said = [place for place, _ in private_sources(step.options)]
    named = named_files(step.options, base)
    public = [each for each in named if not any(each.place[: len(place)] == place for place in said)]
    judged = public if step.reads_private else named  # what is said to be private is judged where it is said
    known = {each.path.resolve() for each in judged}
    try:
        own = step.files(base)
    except FactoryError:  # the step's own check tells what is wrong with its files
        own = []
    return [*public, *(Named((), path) for path in own if path.resolve() not in known)]


def _accounted(step: Step, place: Place) -> bool:
    return ".".join(map(str, place)) in step.reads_private


def _below_accounted(step: Step, place: Place) -> bool:
    return any(_accounted(step, place[:length]) for length in range(1, len(place)))


# --- why not ------------------------------------------------------------------------------------------


def _reason(step: Step, place: Place) -> str:
    """Why a step may not read private rows through that option."""
    name = step.piece.name
    if _below_accounted(step, place):
        return "what was private once stays private; take out 'private: false'"
    if step.reads_private:
        return _reason_of_private_method(name, place)
    if step.piece.kind == "filter":
        told = "keeping, dropping or measuring rows by private ones tells which those are"
        return f"'{name}' may not read it, as {told}; give public or synthetic rows"
    if TABLE in type(step.options).model_fields:
        return (
            "no method for tables has a differentially private form yet, so that what it gives out may hold parts of rows; "
            "take a table that may be shared"
        )
    if step.piece.kind == "source":
        reason = (
            "rows of a source are kept in lineage/, shown by 'factory show' and pushed, so that none may be private"
        )
    elif step.asks:
        reason = f"prompts of '{name}' would show private rows to the model, and its answers may repeat them"
    else:
        reason = f"'{name}' is not differentially private"
    return f"{reason}; {_instead()}"


def _reason_of_private_method(name: str, place: Place) -> str:
    if place[:1] == (VALIDATION,):
        return "choosing by the loss on private texts asks them a question that no accountant has counted; give public ones"
    return f"'{name}' accounts only for what {_options_of(name)} names; give public rows here"


def _instead() -> str:
    """What may read private rows."""
    able = [f"'{name}' in {_options_of(name)}" for name in pieces() if _options_of(name)]
    return (
        f"private rows may be read by {', '.join(able)}"
        if able
        else "no method that is installed may read private rows"
    )


def _options_of(name: str) -> str:
    """`'data'`; empty for a piece that may not read private rows, or does not load."""
    try:
        options = getattr(pieces()[name].module(), "READS_PRIVATE", ())
    except UserError:
        return ""
    return " or ".join(f"'{option}'" for option in options)
