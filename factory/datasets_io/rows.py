"""Rows of the user: JSON Lines, JSON, CSV, TSV, Parquet, a folder of Parquet files, a saved HF dataset.

`read_rows(Path("tickets.csv"))` yields `{"id": "17", "text": "My order …"}` and so on, in file order.
`scan_rows` yields each row with its place, and goes on behind a broken line, so that all can be reported.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from factory.errors import SourceError

FORMATS = ".jsonl, .ndjson, .json, .csv, .tsv, .parquet, or a folder of Parquet files"
RESERVED = ("record_id", "provenance")
RENAMED = "source_"
LONGEST_CELL = 2**31 - 1
CELL_FORMATS = (".csv", ".tsv")
LINE_FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv")
SURVEYED_BYTES = 2**20
TOO_LONG = "a number of thousands of digits, or brackets nested thousands deep, which no dataset can hold"
Row = dict[str, Any]
Scanned = tuple[str, "Row | SourceError"]


def column_name(name: str) -> str:
    """The column under which a field is stored: names that the dataset needs itself are kept under another.

    No two names share a column, also where the rows are a dataset that was itself made of one.

    >>> [column_name(name) for name in ("text", "record_id", "source_record_id")]
    ['text', 'source_record_id', 'source_source_record_id']
    """
    stem = name
    while stem not in RESERVED and stem.startswith(RENAMED):
        stem = stem.removeprefix(RENAMED)
    return f"{RENAMED}{name}" if stem in RESERVED else name


def field_name(column: str) -> str:
    """The field that is stored under a column: the reverse of `column_name`.

    >>> [field_name(column_name(name)) for name in ("text", "record_id", "source_record_id", "source_text")]
    ['text', 'record_id', 'source_record_id', 'source_text']
    """
    shorter = column.removeprefix(RENAMED)
    return shorter if column_name(shorter) == column else column


def fields_of(row: Row) -> Row:
    """The fields of a row under their own names, where it is a row of a dataset of ours; any other row as it is.

    >>> fields_of({"x": 1, "source_record_id": 7, "record_id": "5f", "provenance": {"step": "a", "method": "rows"}})
    {'x': 1, 'record_id': 7}
    >>> fields_of({"x": 1, "provenance": "Bordeaux"})
    {'x': 1, 'provenance': 'Bordeaux'}
    """
    provenance = row.get("provenance")
    if not isinstance(row.get("record_id"), str) or not isinstance(provenance, dict) or "step" not in provenance:
        return row
    return {field_name(name): value for name, value in row.items() if name not in RESERVED}


def read_rows(path: Path, header: Sequence[str] | None = None, *, quotes: bool = True) -> Iterator[Row]:
    """Yield the rows of a file or folder in order.

    Args:
        path: The file or folder.
        header: Columns of a CSV or TSV file that has no header line.
        quotes: Whether quotation marks enclose cells of CSV and TSV; false where they are part of the text.

    Raises:
        SourceError: If it is missing, of another format, or has a broken line.
    """
    for _, row in scan_rows(path, header, quotes=quotes):
        if isinstance(row, SourceError):
            raise row
        yield row


def scan_rows(path: Path, header: Sequence[str] | None = None, *, quotes: bool = True) -> Iterator[Scanned]:
    """Yield (place, row) or (place, what is wrong there), e.g. `("tickets.csv:17", {"text": "…"})`.

    What cannot be read on ends the scan with its error as the last item; nothing is raised.
    """
    cells = partial(_csv, header=header, quotes=quotes)
    readers: dict[str, Callable[[Path], Iterator[Scanned]]] = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json_list,
        ".csv": cells,
        ".tsv": cells,
        ".parquet": _parquet,
    }
    reader = _folder if path.is_dir() else readers.get(path.suffix.lower())
    try:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder.")
        if reader is None:
            raise SourceError(f"{path}: format not known; expected {FORMATS}.")
        if (header is not None or not quotes) and path.suffix.lower() not in CELL_FORMATS:
            raise SourceError(
                f"{path}: has column names of its own; leave out 'header' and 'quotes', which are for CSV and TSV."
            )
        yield from reader(path)
    except SourceError as error:
        yield str(path), error
    except OSError as error:
        yield str(path), SourceError(f"{path}: cannot be read: {error.strerror or error}.")


def about(path: Path) -> int | None:
    """About how many rows there are, from the beginning of a file and its size; None where that does not show."""
    try:
        if path.is_dir():
            return _in_folder(path)
        if path.suffix.lower() == ".parquet":
            return _in_parquet([path])
        if path.suffix.lower() not in LINE_FORMATS:
            return None
        with path.open("rb") as file:
            beginning = file.read(SURVEYED_BYTES)
        lines = beginning.count(b"\n") + (not beginning.endswith(b"\n")) - (path.suffix.lower() in (".csv", ".tsv"))
        return round(lines * path.stat().st_size / max(1, len(beginning)))
    except (OSError, SourceError):
        return None  # who reads the rows is told


def _in_folder(path: Path) -> int | None:
    files = _parquet_files(path)
    return _in_parquet(files) if files else None


def _in_parquet(files: list[Path]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return sum(pq.read_metadata(file).num_rows for file in files)
    except pa.ArrowException as error:
        raise SourceError(f"{files[0].parent}: not Parquet: {error}.") from error


def storable(value: Any) -> Any:
    """The value, with what no file format can hold replaced: lone surrogates by `?`, huge numbers by their digits.

    >>> storable({"a": 2**70, "b": ["ok"]})
    {'a': '1180591620717411303424', 'b': ['ok']}
    """
    try:
        msgspec.msgpack.encode(value)
    except (UnicodeEncodeError, OverflowError, TypeError):
        return _replaced(value)
    return value


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {_replaced(name): _replaced(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, tuple):
        return [_replaced(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if _encodable(value) else _spoken(value)


def _encodable(value: Any) -> bool:
    try:
        msgspec.msgpack.encode(value)
    except TypeError:
        return False
    return True


def _spoken(value: Any) -> str:
    """A value of another library, such as a time of pandas, as text."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends; decoded one by one, so that an error knows its line."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"{path}:{number}: not UTF-8 text (byte {error.start + 1} of the line); save the file as UTF-8."
                ) from error
            yield text.removeprefix("\ufeff") if number == 1 else text


def _json_lines(path: Path) -> Iterator[Scanned]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            place = f"{path}:{number}"
            yield place, _json_row(place, line)


def _json_row(place: str, line: str) -> Row | SourceError:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return SourceError(f"{place}:{error.colno}: not JSON: {error.msg}.")
    except (ValueError, RecursionError):
        return SourceError(f"{place}: {TOO_LONG}.")
    if not isinstance(row, dict):
        return SourceError(f'{place}: expected an object like {{"text": …}}, found {kind_of(row)}.')
    return storable(row)  # type: ignore[no-any-return]


def kind_of(value: Any) -> str:
    """What a JSON value is that is no object, in words."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), "a list")


def _json_list(path: Path) -> Iterator[Scanned]:
    try:
        rows = json.loads("".join(_lines(path)))
    except json.JSONDecodeError as error:
        raise SourceError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: {TOO_LONG}.") from error
    if not isinstance(rows, list):
        kind = "one object" if isinstance(rows, dict) else kind_of(rows)
        raise SourceError(f"{path}: expected a list of objects, found {kind}; for one object a line, name it .jsonl.")
    for number, row in enumerate(rows, 1):
        place = f"{path}: row {number}"
        broken = SourceError(f'{place}: expected an object like {{"text": …}}, found {kind_of(row)}.')
        yield place, storable(row) if isinstance(row, dict) else broken


def _names(header: Sequence[str]) -> str:
    """What stands in a header line, unless it seems to be a row, which may be private."""
    if all(re.fullmatch(r"[^\W\d][\w.-]{0,39}", name) for name in header):
        return ", ".join(header)
    return f"{len(header)} cells that are no such names"


def _csv(path: Path, header: Sequence[str] | None, quotes: bool) -> Iterator[Scanned]:
    csv.field_size_limit(LONGEST_CELL)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    lines = _lines(path)
    if quotes:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    begins = 1
    try:
        header = header if header is not None else next(reader, None)
        if not header or len(set(header)) != len(header):
            found = _names(header) if header else "nothing"
            raise SourceError(f"{path}:1: expected a header line of distinct column names, found {found}.")
        begins = reader.line_num + 1
        for cells in reader:
            place = f"{path}:{begins}"
            if len(cells) == len(header):
                yield place, dict(zip(header, cells, strict=True))
            elif cells:
                found = f"{len(cells)} cells where the header has {len(header)}"
                hint = other_delimiter(header[0]) if len(header) == 1 else ""
                advice = f"; the cells seem to be parted by {hint}: part them by commas" if hint else ""
                yield place, SourceError(f"{place}: {found}{advice}.")
            begins = reader.line_num + 1
    except csv.Error as error:
        why = "a quote that opens here is never closed" if "unexpected end" in str(error) else str(error)
        advice = "; where quotation marks are part of the text, set 'quotes: false'" if quotes else ""
        raise SourceError(f"{path}:{begins}: not {path.suffix[1:].upper()}: {why}{advice}.") from error


def _parquet(path: Path) -> Iterator[Scanned]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if len(set(names)) != len(names):
            raise SourceError(f"{path}: expected distinct column names, found {', '.join(names)}.")
        for batch in file.iter_batches():
            for row in _plain_times(batch).to_pylist():
                number += 1
                yield f"{path}: row {number}", storable(row)
    except pa.ArrowException as error:
        raise SourceError(f"{path}: not a Parquet file: {error}.") from error
    except (OverflowError, UnicodeDecodeError, ValueError) as error:
        raise SourceError(f"{path}: a value near row {number + 1} cannot be read: {error}.") from error


def _plain_times(batch: Any) -> Any:
    """The batch, with times of nanoseconds as text: Python has none, and pandas would put its own in their place."""
    import pyarrow as pa

    columns = [column.cast(pa.string()) if is_nanoseconds(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def is_nanoseconds(kind: Any) -> bool:
    """Whether an Arrow type is a time that Python has no type for."""
    import pyarrow as pa

    timed = pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time64(kind)
    return bool(timed and kind.unit == "ns")


def _folder(path: Path) -> Iterator[Scanned]:
    """A folder of Parquet files, a run directory (its data/), or a dataset saved by `save_to_disk`."""
    if (path / "dataset_info.json").exists() or (path / "state.json").exists():
        yield from _saved_dataset(path)
        return
    files = _parquet_files(path)
    if not files:
        raise SourceError(f"{path}: a folder without Parquet files; expected {FORMATS}.")
    for file in files:
        yield from _parquet(file)


def _parquet_files(path: Path) -> list[Path]:
    inner = path / "data" if (path / "data").is_dir() else path
    return sorted(inner.glob("*.parquet"))


def _saved_dataset(path: Path) -> Iterator[Scanned]:
    try:
        from datasets import Dataset, load_from_disk
    except ImportError as error:
        raise SourceError(f"{path}: a saved dataset needs the 'datasets' package: pip install datasets.") from error
    try:
        saved = load_from_disk(str(path))
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path}: not a dataset that 'datasets' can load: {error}.") from error
    if not isinstance(saved, Dataset):
        raise SourceError(f"{path}: holds several splits ({', '.join(saved)}); name one, e.g. {path}/train.")
    for number, row in enumerate(saved, 1):
        yield f"{path}: row {number}", row


def other_delimiter(header: str) -> str:
    """What seems to part the cells of a header that was read as one column, in words; empty if nothing does."""
    return next((word for sign, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "'|'")) if sign in header), "")
