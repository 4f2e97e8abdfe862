"""The columns of a table together, and a table as codes.

schema.cells({"age": "39", "income": "<=50K"})  -> {"age": 39, "income": 0}
schema.row({"age": 39, "income": 0})            -> {"age": 39, "income": "<=50K"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from factory.errors import UserError
from factory.tables.column import CellError, Column, Value
from factory.tables.domain import Cell

Cells = dict[str, Cell]


class SchemaError(UserError):
    """Something stored that is no schema."""


class Schema(msgspec.Struct, frozen=True, dict=True):
    """Columns in the order of the table.

    Attributes:
        columns: All of them.
    """

    columns: tuple[Column, ...]

    @cached_property
    def named(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> list[str]:
        """Names in order."""
        return [column.name for column in self.columns]

    @cached_property
    def learned(self) -> tuple[Column, ...]:
        """Columns that a model learns: all but identifiers, which are made up when rows are given out."""
        return tuple(column for column in self.columns if column.kind != "identifier")

    def cells(self, row: Mapping[str, object]) -> Cells:
        """Codes of a row.

        Raises:
            CellError: If a column cannot hold its value.
        """
        return {column.name: column.cell(row.get(column.name)) for column in self.columns}

    def to_json(self) -> str:
        """The schema as JSON, with codes and categories of any size."""
        return json.dumps(msgspec.to_builtins(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """The schema that `to_json` has written; categories keep their types.

        Raises:
            SchemaError: If it is no schema.
        """
        try:
            return msgspec.convert(json.loads(text), cls)
        except (ValueError, msgspec.ValidationError) as error:
            raise SchemaError(f"not the schema of a table: {error}.") from error

    def row(self, cells: Mapping[str, Cell]) -> dict[str, Value]:
        """Values of a row, in the order of the columns; those without a cell are left out."""
        return {column.name: column.value(cells[column.name]) for column in self.columns if column.name in cells}


class Table(msgspec.Struct, frozen=True):
    """A table in memory, by columns.

    Attributes:
        schema: What its columns hold.
        cells: Cells of each column, all of the same number.
        rows: Number of rows.
    """

    schema: Schema
    cells: dict[str, list[Cell]]
    rows: int

    def row(self, index: int) -> Cells:
        """Cells of one row."""
        return {name: column[index] for name, column in self.cells.items()}

    def take(self, indices: Sequence[int]) -> Table:
        """Some of the rows."""
        return Table(
            self.schema, {name: [cells[i] for i in indices] for name, cells in self.cells.items()}, len(indices)
        )


def table_of(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table of rows of values.

    Raises:
        CellError: If a column cannot hold a value; the sentence says in which row, from 1.
    """
    cells: dict[str, list[Cell]] = {}
    for column in schema.columns:
        filled: list[Cell] = []
        for number, row in enumerate(rows, 1):
            try:
                filled.append(column.cell(row.get(column.name)))
            except CellError as error:
                raise CellError(f"row {number:,}: {error}") from error
        cells[column.name] = filled
    return Table(schema, cells, len(rows))
