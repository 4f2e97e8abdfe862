"""Turn away rows that share a run of 13 words with a benchmark.

With `against: [quiz.jsonl]`, a row is rejected that has 13 words in a row in common with any text there; `{"evidence":
"quiz.jsonl:7: which river flows through vienna …"}` shows them and where they are. Words are compared without case and
punctuation, scripts without spaces by characters.

Method: the n-gram overlap of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C). Deviations, and why: a row goes as
a whole, where GPT-3 cut out the passage, because half an instruction is none; n is 13 throughout, where GPT-3 took fewer
for benchmarks of short texts: `ngram: 8` is what it used at the least; n-grams that are common in the data are not let
pass, because a verdict depends on no other row: `min_matches` and `min_share` leave boilerplate alone.

A text of fewer than n words is compared as a whole: a row is rejected if the same words are a whole text of the benchmark,
of at least `shortest` words. A row without text is kept. Rows are judged each by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from factory.context import Context
from factory.context.sifting import Row, Sift, sifted, text_of
from factory.datasets_io.rows import scan_rows
from factory.errors import OptionError, SourceError, UserError
from factory.novelty.overlap import NGramIndex, Overlap
from factory.recipe.columns import Column, Columns, listed, require
from factory.recipe.schema import Count, Fraction, StepOptions
from factory.records import Outcome, Record, Verdict
from factory.resources import find

CHECKED_ROWS = 1000
TEXT = ".txt"


class Options(StepOptions):
    """Options of the `decontaminate` filter.

    Attributes:
        against: Files of the benchmarks: JSONL, JSON, CSV, TSV, Parquet, or .txt with a text a line.
        against_field: Column or columns of theirs that count; all texts in a row by default, those in lists too.
        field: Column that is judged, or a list of columns.
        ngram: Words in a row that must be equal.
        min_matches: N-grams that a row must share to be rejected; a row that has fewer must share all it has.
        min_share: Share of a row's n-grams that must be among them, in [0, 1].
        shortest: Texts of a benchmark with fewer words are left out: "yes" or "B" say nothing.
    """

    against: Annotated[list[Column], Field(min_length=1)]
    against_field: Columns | None = None
    field: Columns = "instruction"
    ngram: Annotated[int, Field(ge=1, le=1000, strict=True)] = 13
    min_matches: Count = 1
    min_share: Fraction = 0.0
    shortest: Count = 3


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the files are there and, in their first thousand rows, can be read and have texts in the columns."""
    problems: list[UserError] = []
    for number, given in enumerate(options.against):
        try:
            _require_texts(given, base, options)
        except SourceError as error:
            problems.append(OptionError(f"against.{number}", str(error)))
        except OptionError as error:
            problems.append(error)
    return problems


def files(options: Options, base: Path) -> list[Path]:
    """The benchmarks, whose content decides what is rejected."""
    return [_path(given, base) for given in options.against]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If a judged column is not among them.
    """
    for name in listed(options.field):
        require("field", name, incoming)
    return incoming


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin; reads the benchmarks.

    Raises:
        SourceError: If a benchmark cannot be read or has no texts.
    """
    return _Decontaminate(options, base)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Judge each record by itself."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


class _Decontaminate:
    """The n-grams of the benchmarks."""

    remembers = False

    def __init__(self, options: Options, base: Path) -> None:
        self._options = options
        self._columns = listed(options.field)
        for given in options.against:
            _require_texts(given, base, options)
        texts = (found for given in options.against for found in _texts(given, base, options.against_field))
        self._index = NGramIndex(texts, options.ngram, shortest=options.shortest)

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        overlaps = self._index.overlaps([text_of(row, name) for row in rows for name in self._columns])
        width = len(self._columns)
        return [self._verdict(overlaps[start : start + width]) for start in range(0, len(overlaps), width)]

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        """Nothing to take in: no row depends on another."""

    def _verdict(self, overlaps: list[Overlap]) -> Verdict | None:
        options = self._options
        matches, ngrams = sum(each.matches for each in overlaps), sum(each.ngrams for each in overlaps)
        if not matches or matches < min(options.min_matches, ngrams) or matches < options.min_share * ngrams:
            return None
        first = next(each for each in overlaps if each.matches)
        by_share = options.min_share > 0
        return Verdict(
            keep=False,
            rule="decontaminate",
            reason="in_benchmark",
            score=matches / ngrams if by_share else float(matches),
            threshold=options.min_share if by_share else float(options.min_matches),
            evidence=f"{first.place}: {first.words}",
        )


# --- the benchmarks ----------------------------------------------------------------------------------------------------


def _path(given: str, base: Path) -> Path:
    found = find(given, base)
    if found is None:
        raise SourceError(f"{given}: no such file or folder (looked beside the recipe and in the working directory).")
    return found


def _require_texts(given: str, base: Path, options: Options) -> None:
    """Raise what is wrong with the first rows of a benchmark."""
    if any(True for _ in islice(_texts(given, base, options.against_field), CHECKED_ROWS)):
        return
    path = _path(given, base)
    if options.against_field is not None and path.suffix.lower() != TEXT:
        known = {name for _, row in islice(_rows(given, path), CHECKED_ROWS) for name in row}
        for name in listed(options.against_field):
            require("against_field", name, known)
    raise SourceError(f"{given}: has no texts to compare with; expected at least one.")


def _texts(given: str, base: Path, names: Columns | None) -> Iterator[tuple[str, str]]:
    """Every text of a benchmark with its place, as "quiz.jsonl:7"."""
    path = _path(given, base)
    if path.suffix.lower() == TEXT:
        yield from _lines(given, path)
        return
    for place, row in _rows(given, path):
        for name in row if names is None else listed(names):
            yield from ((place, text) for text in _strings(row.get(name)))


def _rows(given: str, path: Path) -> Iterator[tuple[str, Row]]:
    for place, row in scan_rows(path):
        if isinstance(row, SourceError):
            raise row
        # As the recipe names it: what is rejected must not depend on where the folder lies.
        yield place.replace(str(path), given, 1), row


def _lines(given: str, path: Path) -> Iterator[tuple[str, str]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{given}:{number}", line
    except UnicodeDecodeError as error:
        raise SourceError(f"{given}: not UTF-8 text (below line {number}); save the file as UTF-8.") from error
    except OSError as error:
        raise SourceError(f"{given}: cannot be read: {error.strerror}.") from error


def _strings(value: Any) -> Iterator[str]:
    """The texts in a value, those in lists and mappings too."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
