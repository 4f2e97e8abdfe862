r"""What all formats have in common: one row on its way out of a run.

An item of the row `{"instruction": "Add.", "input": "2, 3", "output": "5"}` has the id of that row, its root, the
question "Add.\n\n2, 3", and a `Pair` as its content.
"""

from __future__ import annotations

from typing import Any

import msgspec

from factory.datasets_io.pairs import Pair, Preference, question

Content = Pair | Preference | dict[str, Any]


class Item(msgspec.Struct, frozen=True):
    """One row to be written.

    Attributes:
        ids: Record ids by the column that `--ids` writes them to.
        roots: Ids of the source records that it descends from, where each of its records has one; else empty.
        kin: What rows without a root share with their family, such as an instruction.
        asked: What rows of one family share whatever they descend from: the question, or the whole row.
        content: What a format makes its row of.
        asks: Of a whole row, the columns that are the question; empty for rows without one.
    """

    ids: dict[str, str]
    roots: tuple[str, ...]
    kin: str
    asked: str
    content: Content
    asks: tuple[str, ...] = ()

    def texts(self) -> tuple[str, list[str]]:
        """The question, and the texts that answer it; for rows without a question "" and all their texts."""
        if isinstance(self.content, Pair):
            return question(self.content), [self.content.output]
        if isinstance(self.content, Preference):
            return question(self.content.asked), [self.content.chosen, self.content.rejected]
        others = [value for name, value in self.content.items() if isinstance(value, str) and name not in self.asks]
        return self.asked if self.asks else "", others
