"""Records that may be one half of a preference pair: kept rows, and rejected ones whose fault is known.

The answer "Rome." to "Name the capital of France.", kept with a judge's score of 2, is a candidate under that question;
so is "Sorry, I cannot." that elimination turned away. What was turned away for another reason (too similar, too many,
cut off) says nothing about an answer, unless a judge has scored it before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from factory.datasets_io.pairs import Pair, question
from factory.errors import UserError
from factory.exporting.families import plain
from factory.exporting.settings import Settings
from factory.exporting.source import Source, pair_columns, pair_of, read, roots_of, text_of
from factory.prompts import load_prompt
from factory.records import digest
from factory.resources import resource

PARENT = "parent_id"  # of an evolution
ANSWER_FAULTS = frozenset({("sorry", "says_sorry"), ("stop_words", "only_stop_words")})
TASK_FAULTS = frozenset({("equal", "judged_equal"), ("equal", "identical"), ("leak", "leaked_words")})
JUDGED_ANSWERS = "quality"  # of the scores of deita, the one that reads the answer


class Candidate(msgspec.Struct, frozen=True):
    """One record, without its texts.

    Attributes:
        id: Its record id.
        group: What candidates that may be paired have in common: the question, or the parent of an evolution.
        answer: Hash of the text that is compared; equal ones are never paired.
        kept: Whether it is a row of the dataset.
        fault: Whether it was turned away for what it says.
        score: What a judge gave it; None where none did.
    """

    id: str
    group: str
    answer: str
    kept: bool
    fault: bool
    score: float | None


class Texts(msgspec.Struct, frozen=True):
    """What is written of a record: its pair, and the root of its family."""

    id: str
    pair: Pair
    roots: tuple[str, ...]
    parent: str | None


def candidates(source: Source, settings: Settings, score: str | None) -> Iterator[Candidate | None]:
    """Every kept row, None for one that has no text; then the rejected records that count."""
    for kept, fault, row in _records(source, settings, score):
        texts = _texts(row, settings)
        said = texts.pair.instruction if settings.pair == "tasks" else texts.pair.output
        group = texts.parent if settings.pair == "tasks" else (question(texts.pair), texts.pair.system)
        number = _number(None if score is None else row.get(score))
        if not said.strip():
            if kept:
                yield None
        elif kept or fault or number is not None:
            yield Candidate(
                texts.id,
                digest("alone", texts.id) if group is None else digest(group),
                digest(plain(said)),
                kept,
                fault,
                number,
            )


def texts(source: Source, settings: Settings) -> Iterator[Texts]:
    """What the same records say, rejected ones first, so that few kept rows wait for their partner."""
    for row in _rejected(source, settings):
        yield _texts(row, settings)
    for row in _kept(source, settings, None):
        yield _texts(row, settings)


def parents(source: Source, settings: Settings, wanted: set[str]) -> dict[str, Pair]:
    """The tasks that evolutions were made from, by record id."""
    found: dict[str, Pair] = {}
    for row in _kept(source, settings, None):
        if row["record_id"] in wanted:
            found[row["record_id"]] = pair_of(row, settings)
    for folder in ("lineage", "rejected"):
        for row in read(source.path / folder, ["record_id", "fields"]):
            if row["record_id"] in wanted:
                found.setdefault(row["record_id"], pair_of(json.loads(row["fields"]), settings))
    return found


def score_column(source: Source, settings: Settings) -> str | None:
    """The column with a judge's scores: the one named, else that of the only judge that read what is compared.

    Raises:
        UserError: If it is not there, or there are several.
    """
    if settings.score is not None:
        source.require_column("--score", settings.score)
        return settings.score
    found = [name for name in _judged(source, settings) if name in source.columns]
    if len(found) > 1:
        raise UserError(f"{source.path}: has several scores ({', '.join(found)}); name one with --score.")
    return found[0] if found else None


def _judged(source: Source, settings: Settings) -> list[str]:
    found: list[str] = []
    for step in source.manifest["recipe"]["steps"]:
        for method, options in step.items():
            if method == "judge" and (settings.pair == "tasks" or _reads_answers(options["prompt"], settings)):
                found.append(options["column"])
            elif method == "deita" and settings.pair == "answers":
                found.append(JUDGED_ANSWERS)
    return list(dict.fromkeys(found))


def _reads_answers(rubric: str, settings: Settings) -> bool:
    """Whether a rubric looks at the answer; a shipped one tells, and a user's own is taken to do so."""
    path = resource(rubric) if rubric.startswith("prompts/") else None
    return path is None or settings.output in load_prompt(path).header.inputs


def _records(source: Source, settings: Settings, score: str | None) -> Iterator[tuple[bool, bool, dict[str, Any]]]:
    """Kept and rejected records, as (kept, at fault, fields and id)."""
    for row in _kept(source, settings, score):
        yield True, False, row
    faults = TASK_FAULTS if settings.pair == "tasks" else ANSWER_FAULTS
    for row in _rejected(source, settings):
        yield False, (row["rule"], row["reason"]) in faults, row


def _kept(source: Source, settings: Settings, score: str | None) -> Iterator[dict[str, Any]]:
    return source.rows([*pair_columns(settings), PARENT, *([] if score is None else [score])])


def _rejected(source: Source, settings: Settings) -> Iterator[dict[str, Any]]:
    """Rejected records; none of a private run, where they may be private rows that never reached a model."""
    if source.manifest.get("privacy") is not None:
        return
    for row in read(source.path / "rejected", ["record_id", "fields", "rule", "reason"]):
        verdict = {name: row[name] for name in ("record_id", "rule", "reason", "provenance")}
        yield {**json.loads(row["fields"]), **verdict}


def _texts(row: dict[str, Any], settings: Settings) -> Texts:
    parent = row.get(PARENT)
    return Texts(row["record_id"], pair_of(row, settings), roots_of(row), None if parent is None else text_of(parent))


def _number(value: Any) -> float | None:
    """A score; texts of numbers count, as a prompt of one's own may have written them."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
