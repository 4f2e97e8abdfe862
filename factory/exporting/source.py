"""The rows of a finished run, read as a format needs them: only the columns that it needs.

`Source(Path("runs/quickstart"))` knows the columns; `items(settings)` reads the rows, each time anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from factory.datasets_io.pairs import Pair, question
from factory.datasets_io.parquet import damaged, to_json
from factory.datasets_io.rows import RESERVED
from factory.errors import UserError
from factory.exporting.item import Item
from factory.exporting.settings import Settings
from factory.recipe.suggest import did_you_mean
from factory.rundir import RunDir

BATCH_ROWS = 2_000
EXPORTED = ("complete", "partial", "preview")


class Source:
    """A run directory with a dataset."""

    def __init__(self, path: Path) -> None:
        """Read the manifest and the names of the columns.

        Raises:
            UserError: If there is no finished run with a dataset.
        """
        directory = RunDir(path)
        self.path = directory.path
        self.manifest = directory.require_manifest()
        status = self.manifest["status"]
        if not (self.path / "data").is_dir():
            raise UserError(f"{path}: has no dataset yet; finish it with 'factory run'.")
        if status not in EXPORTED:
            raise UserError(
                f"{path}: the last run did not end ({status}), and data/ holds the dataset of an earlier one; finish it "
                "with 'factory run'."
            )
        if not self.manifest["rows"]:
            raise UserError(f"{path}: the run kept no row; 'factory show {path}' tells why.")
        self.columns = _columns(self.path / "data")

    def items(self, settings: Settings) -> Iterator[Item]:
        """The kept rows as pairs, or as they are.

        Raises:
            UserError: If a column that is needed is not there, at once and not when the first row is read.
        """
        if settings.takes == "row":
            return self._whole(settings)
        if self.stands_alone(settings):
            return self._alone(settings.module.ALONE)
        self.require(settings)
        return self._pairs(settings)

    def stands_alone(self, settings: Settings) -> bool:
        """Whether the rows have no question, but the one column that is enough for the format."""
        alone = getattr(settings.module, "ALONE", None)
        named = settings.instruction != "instruction" or settings.output != "output"
        return alone in self.columns and "instruction" not in self.columns and not named

    def require(self, settings: Settings) -> None:
        """Check the columns of a question and its answer."""
        wanted = {"--instruction": settings.instruction, "--output": settings.output}
        if settings.input != "input":  # which may be missing, unless it was asked for
            wanted["--input"] = settings.input
        if settings.system is not None:
            wanted["--system"] = settings.system
        for option, name in wanted.items():
            self.require_column(option, name, settings.instruction not in self.columns)

    def require_column(self, option: str, name: str, as_it_is: bool = False) -> None:
        """Check one column that an option names."""
        if name in self.columns:
            return
        advice = "; --format csv writes rows of any kind" if as_it_is else ""
        raise UserError(
            f"{self.path / 'data'}: no column '{name}'{did_you_mean(name, self.columns)}; name one with {option}, there "
            f"are {', '.join(self.columns)}{advice}."
        )

    def require_parents(self, name: str) -> None:
        """Check that rows tell which task they were evolved from."""
        if name not in self.columns:
            raise UserError(
                f"{self.path / 'data'}: no column '{name}'; --pair tasks is for a run of evol_instruct, there are "
                f"{', '.join(self.columns)}."
            )

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The kept rows: these columns, `record_id`, and the root under the name `provenance`."""
        wanted = [name for name in dict.fromkeys(columns) if name in self.columns]
        return read(self.path / "data", [*wanted, "record_id"])

    def _pairs(self, settings: Settings) -> Iterator[Item]:
        for row in self.rows(pair_columns(settings)):
            pair = pair_of(row, settings)
            yield Item({"record_id": row["record_id"]}, roots_of(row), pair.instruction, question(pair), pair)

    def _alone(self, column: str) -> Iterator[Item]:
        for row in self.rows([column]):
            text = text_of(row[column])
            yield Item({"record_id": row["record_id"]}, roots_of(row), text, text, Pair("", "", text))

    def _whole(self, settings: Settings) -> Iterator[Item]:
        """Rows as they are; those with a question are of the families that they are of in other formats."""
        asks = (settings.instruction, settings.input) if settings.instruction in self.columns else ()
        for row in self.rows([*self.columns]):
            content = {name: row[name] for name in self.columns}
            pair = pair_of(row, settings)
            kin, asked = (pair.instruction, question(pair)) if asks else [self._said(content)] * 2
            yield Item({"record_id": row["record_id"]}, roots_of(row), kin, asked, content, asks)

    def _said(self, content: dict[str, Any]) -> str:
        """What tells a row without a question from others: its text if it has one, else all of it."""
        return text_of(content["text"]) if "text" in content else to_json(content)


def pair_columns(settings: Settings) -> list[str]:
    """The columns that a pair is made of."""
    named = [settings.instruction, settings.input, settings.output]
    return named if settings.system is None else [*named, settings.system]


def pair_of(row: dict[str, Any], settings: Settings) -> Pair:
    """The pair in a row."""
    system = None if settings.system is None else text_of(row.get(settings.system))
    instruction, given, output = (
        text_of(row.get(name)) for name in (settings.instruction, settings.input, settings.output)
    )
    return Pair(instruction, given, output, system)


def text_of(value: Any) -> str:
    """A value as text: "" for none, JSON for what is no text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def roots_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The root of a row, if it has one."""
    root = (row["provenance"] or {}).get("root")
    return () if root is None else (root,)


def read(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of all shards of a folder in order: these columns, and of the provenance the root.

    Raises:
        RunDirError: If a shard is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=[*columns, "provenance.root"]):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error


def _columns(data: Path) -> list[str]:
    """Names of the columns that are not the factory's own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shards = sorted(data.glob("*.parquet"))
    try:
        names = pq.read_schema(shards[0]).names if shards else []
    except (pa.ArrowException, OSError) as error:
        raise damaged(shards[0], error) from error
    return [name for name in names if name not in RESERVED]
