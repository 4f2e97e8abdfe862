"""All columns of the data as a CSV file: rows of tables, private texts, anything.

    name,born,notes
    Ana,1987,"often, she says"

Quoted as RFC 4180 says, in UTF-8, lines end in a line feed, line ends inside of cells are kept. A missing value is
empty, an empty text is a pair of quotation marks. A text that a spreadsheet would calculate gets an apostrophe before it, see
`factory.datasets_io.cells`. Equal rows of a table are all written.
"""

from __future__ import annotations

from typing import Any

TAKES = "row"
KEEPS_EQUAL = True
CONTAINER = "csv"


def convert(row: dict[str, Any]) -> dict[str, object]:
    """The columns of the data, without those of the factory's own."""
    return row
