"""`factory.export`: the dataset of a run in a fine-tuning format, with splits that do not leak.

A row goes to the validation split by a hash: of the source record that it descends from, where there is
exactly one, else of its instruction. A family never straddles the split, nor does a question that two
source records share. The split of a row does not change when rows are added, unless they tie families
together.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from factory import exports
from factory.claims import not_private
from factory.datasets_io.pairs import Pair, question
from factory.datasets_io.parquet import damaged, read_shards, to_json
from factory.datasets_io.rows import RESERVED
from factory.errors import UserError
from factory.recipe.suggest import did_you_mean
from factory.records import digest
from factory.rundir import RunDir

Convert = Callable[[Pair], dict[str, object]]
TEMPLATES = ("plain", "self-instruct")


@dataclass(frozen=True)
class Exported:
    """Files written (none for an empty split), rows in each split, rows left out by reason, and why they are not private."""

    files: list[Path]
    rows: dict[str, int]
    left_out: dict[str, int]
    not_private: str = ""


def formats() -> list[str]:
    """Names of the export formats, as given on the command line."""
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(exports.__path__))


def export(
    path: str | Path,
    out: str | Path,
    *,
    format: str = "messages",
    validation: float = 0.0,
    templates: str = "plain",
    instruction: str = "instruction",
    input: str = "input",
    output: str = "output",
) -> Exported:
    """Write the kept rows of a run as JSON Lines.

    Args:
        path: Run directory.
        out: Folder for `train.jsonl` and, with a validation share, `validation.jsonl`.
        format: `messages`, `prompt-completion` or `alpaca`.
        validation: Share of families in the validation split, in [0, 1).
        templates: `plain`, or `self-instruct` for prompt-completion: several layouts.
        instruction: Column of the instruction; for a `prompt` step, the column that was asked about.
        input: Column of the input; may be missing.
        output: Column of the answer.

    Raises:
        UserError: If an argument or a column is not there.
    """
    convert = _converter(format, templates)
    if not 0.0 <= validation < 1.0:
        raise UserError(f"validation: expected a share in [0, 1), found {validation}.")
    directory = RunDir(Path(path))
    manifest = directory.require_manifest()
    status = manifest["status"]
    data = directory.path / "data"
    if not data.is_dir():
        raise UserError(f"{path}: has no dataset yet; finish it with 'factory run'.")
    if status not in ("complete", "partial", "preview"):
        raise UserError(
            f"{path}: the last run did not end ({status}), and data/ holds the dataset of an earlier one; finish it with "
            "'factory run'."
        )
    _check_columns(data, instruction, input, output)

    def rows() -> Iterator[_Row]:
        for row in read_shards(data):
            pair = Pair(_text(row[instruction]), _text(row.get(input)), _text(row[output]))
            yield _Row(pair, row["provenance"]["root"])

    families = _Families(rows() if validation else ())

    def split_of(row: _Row) -> str:
        return "validation" if validation and families.share(row) < validation else "train"

    names = ["train", "validation"] if validation else ["train"]
    with _opened(Path(out), names) as files:
        counts, left_out = _fill(files, rows(), convert, split_of)
    return Exported(
        [Path(out) / f"{name}.jsonl" for name in names if counts[name]], counts, left_out, not_private(manifest)
    )


def _fill(
    files: dict[str, TextIO], rows: Iterable[_Row], convert: Convert, split_of: Callable[[_Row], str]
) -> tuple[dict[str, int], dict[str, int]]:
    """Write each row to the file of its split; returns rows by split, and rows left out by reason."""
    counts, left_out, seen = Counter(dict.fromkeys(files, 0)), Counter[str](), set[str]()
    for row in rows:
        text = json.dumps(convert(row.pair), ensure_ascii=False)
        if not row.pair.output.strip():
            left_out["empty output"] += 1
        elif (identity := digest(text)) in seen:
            left_out["exact duplicate"] += 1
        else:
            seen.add(identity)
            files[split_of(row)].write(text + "\n")
            counts[split_of(row)] += 1
    return dict(counts), dict(left_out)


class _Row(NamedTuple):
    pair: Pair
    root: str | None


class _Families:
    """Rows that must not be parted: of one source record, of sources that share a question, of one instruction."""

    def __init__(self, rows: Iterable[_Row]) -> None:
        self._elder: dict[str, str] = {}
        asked: dict[str, str] = {}
        for row in rows:
            if row.root is not None:
                first = asked.setdefault(digest(_plain(question(row.pair))), row.root)
                self._join(first, row.root)

    def _join(self, one: str, other: str) -> None:
        """The smaller name stands for both, so that the order of the rows plays no part."""
        one, other = sorted((self._eldest(one), self._eldest(other)))
        if one != other:
            self._elder[other] = one

    def _eldest(self, root: str) -> str:
        while root in self._elder:
            root = self._elder[root]
        return root

    def share(self, row: _Row) -> float:
        """A number in [0, 1) that is the same for all rows of a family."""
        family = _plain(row.pair.instruction) if row.root is None else self._eldest(row.root)
        return int(digest("split", family)[:12], 16) / 16**12


def _plain(text: str) -> str:
    """Equal for texts that differ in case and spacing only."""
    return " ".join(text.casefold().split())


def _converter(format: str, templates: str) -> Convert:
    if format not in formats():
        raise UserError(
            f"format: no format is called '{format}'{did_you_mean(format, formats())}; there are {', '.join(formats())}."
        )
    if templates not in TEMPLATES:
        raise UserError(f"templates: expected one of {', '.join(TEMPLATES)}, found '{templates}'.")
    module = importlib.import_module(f"factory.exports.{format.replace('-', '_')}")
    if templates == "plain":
        return module.convert  # type: ignore[no-any-return]
    if not hasattr(module, "convert_varied"):
        raise UserError(f"templates: '{templates}' goes with --format prompt-completion.")
    return module.convert_varied  # type: ignore[no-any-return]


@contextmanager
def _opened(folder: Path, names: list[str]) -> Iterator[dict[str, TextIO]]:
    """Files for the splits, put in place when all are whole: an export that fails leaves an older one as it was."""
    stale = folder / "validation.jsonl"
    if "validation" not in names and stale.exists():
        raise UserError(f"{stale}: belongs to another export, and train.jsonl would repeat its rows; remove it first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            new = {name: folder / f".{name}.jsonl.new" for name in names}
            yield {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in new.items()}
        for name, path in new.items():
            if path.stat().st_size:
                path.replace(folder / f"{name}.jsonl")
            else:  # load_dataset does not load a folder with an empty split
                path.unlink()
                (folder / f"{name}.jsonl").unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder.") from error


def _check_columns(data: Path, instruction: str, input_name: str, output: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shards = sorted(data.glob("*.parquet"))
    try:
        names = pq.read_schema(shards[0]).names if shards else []
    except (pa.ArrowException, OSError) as error:
        raise damaged(shards[0], error) from error
    columns = [name for name in names if name not in RESERVED]
    wanted = {"--instruction": instruction, "--output": output}
    if input_name != "input":  # which may be missing, unless it was asked for
        wanted["--input"] = input_name
    for option, name in wanted.items():
        if name not in columns:
            hint = did_you_mean(name, columns)
            raise UserError(
                f"{data}: no column '{name}'{hint}; name one with {option}, there are {', '.join(columns)}."
            )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)
