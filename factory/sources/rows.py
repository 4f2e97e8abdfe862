"""Rows of the user, as they are: JSONL, JSON, CSV, TSV, Parquet, a folder of Parquet, a saved HF dataset.

`rows: {path: tickets.csv}` makes one record of every row, with the row's columns as its fields. Equal
rows are told apart by how many came before them; a row's place in the file plays no part, so that rows
may be added, removed or moved without touching what was made of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from factory.context import Context
from factory.datasets_io.rows import RESERVED, about, column_name, read_rows, scan_rows
from factory.errors import OptionError, SourceError, UserError
from factory.recipe.schema import Count, MayBePrivate, StepOptions
from factory.records import Outcome, Provenance, Record, source_id
from factory.resources import find

MAX_REPORTED = 20
SURVEYED_BYTES = 32 * 2**20
SURVEYED_ROWS = 1000


class Options(StepOptions, MayBePrivate):
    """Options of the `rows` source.

    Attributes:
        path: File or folder, relative to the recipe or the working directory.
        first: Read only so many rows.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV; `false` where they are part of the text.
        private: Whether nobody may see the rows; then no source may read them, as its rows are shown and pushed.
    """

    path: str
    first: Count | None = None
    header: tuple[str, ...] | None = None
    quotes: bool = True
    private: bool = False


class _Survey(NamedTuple):
    """What the rows of a file look like: their columns, how many there are, and the broken ones."""

    columns: tuple[str, ...]
    rows: int
    problems: tuple[str, ...]


def check(options: Options, base: Path) -> list[UserError]:
    """Read the rows, of a large file or a folder the first thousand, and report every broken one."""
    try:
        survey = _survey(options, base)
    except SourceError as error:
        return [OptionError("path", str(error))]
    if not survey.rows and not survey.problems:
        return [OptionError("path", str(_empty(options)))]
    return [OptionError("path", problem) for problem in survey.problems]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """Columns of the rows."""
    return set(_survey(options, base).columns)


def remarks(options: Options, base: Path) -> list[str]:
    """Columns that the dataset keeps under another name."""
    taken = columns(options, base, None) or set()
    return [f"column '{name}' is kept as '{column_name(name)}'" for name in RESERVED if name in taken]


def _survey(options: Options, base: Path) -> _Survey:
    path = _path(options, base)
    try:
        stamp = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}.") from error
    return _surveyed(path, options.first, options.header, options.quotes, stamp.st_size, stamp.st_mtime_ns)


@lru_cache(maxsize=8)
def _surveyed(
    path: Path, first: int | None, header: tuple[str, ...] | None, quotes: bool, size: int, changed: int
) -> _Survey:
    large = path.is_dir() or path.suffix.lower() == ".parquet" or size > SURVEYED_BYTES
    limit = SURVEYED_ROWS if large and first is None else first
    names: dict[str, None] = {}
    problems = []
    count = 0
    for _, row in islice(scan_rows(path, header, quotes=quotes), limit):
        if isinstance(row, SourceError):
            problems.append(str(row))
        else:
            count += 1
            names.update(dict.fromkeys(row))
        if len(problems) == MAX_REPORTED:
            break
    return _Survey(tuple(names), count, tuple(problems))


def files(options: Options, base: Path) -> list[Path]:
    """Files whose content decides what this step emits."""
    return [_path(options, base)]


def _path(options: Options, base: Path) -> Path:
    found = find(options.path, base)
    if found is None:
        raise SourceError(
            f"{options.path}: no such file or folder (looked beside the recipe and in the working directory)."
        )
    return found


def _empty(options: Options) -> SourceError:
    return SourceError(f"{options.path}: has no rows; expected at least one.")


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Yield one record for each row, in file order."""
    seen: Counter[str] = Counter()
    provenance = Provenance(step=ctx.step, method="rows")
    path = _path(options, ctx.base)
    ctx.stats.expected = min((number for number in (about(path), options.first) if number is not None), default=None)
    for row in islice(read_rows(path, options.header, quotes=options.quotes), options.first):
        name = source_id(row, 0)
        occurrence = seen[name]
        seen[name] += 1
        yield Record(name if occurrence == 0 else source_id(row, occurrence), row, provenance)
    if not seen:
        raise _empty(options)
