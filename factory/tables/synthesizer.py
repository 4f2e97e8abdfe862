"""What every generator of rows looks like: it learns a table once, then draws rows, each as it is wanted.

    model = synthesizer.fit(table, rules, seed=1, folder=folder, say=print)      # bytes, kept in the journal
    sampler = synthesizer.load(model, table.schema, rules, folder)
    sampler.sample([Want(), Want({"income": just(1)})], seed=7, say=print)       # a row for each, or None

A want restricts some columns: to one cell (a condition, or a cell that is given when others are imputed), or to a part
of what the column may hold. The generator draws what is restricted first and the rest given that, and never draws outside
of the restriction; so nothing that is wanted is sampled and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from factory.tables.domain import Domain
from factory.tables.rules import Rules
from factory.tables.schema import Cells, Schema, Table

Say = Callable[[str], None]
NOTHING: Mapping[str, Domain] = {}


class Want(msgspec.Struct, frozen=True):
    """How a row must be.

    Attributes:
        domains: Restrictions by column; a column that is not named may be anything in its domain.
    """

    domains: Mapping[str, Domain] = NOTHING


class Sampler(Protocol):
    """A model that has learnt a table."""

    def sample(self, wants: Sequence[Want], seed: int, say: Say) -> list[Cells | None]:
        """One row for each want, in their order, with a cell for every learned column.

        The same wants and seed give the same rows. None stands for a row that was given up because the cells drawn
        first left nothing for a later one; every other row has all cells in domain, as wanted, and breaks no relation
        (`rules.broken` gives None), whatever the model has learnt.
        """


class Synthesizer(Protocol):
    """A kind of model with its settings."""

    def fit(self, table: Table, rules: Rules, *, seed: int, folder: Path | None, say: Say) -> bytes:
        """Learn the table.

        Args:
            table: Training rows; missing cells are None.
            rules: What rows must keep.
            seed: Decides all that is random; the same seed, table and settings give the same bytes.
            folder: Where files may lie that are too large for the journal, and checkpoints to go on from after a kill;
                None where there is none.
            say: Tells the user how far it is, with the time that is left; called at least every few seconds. It raises
                where nobody waits any more: let that through.

        Returns:
            All that `load` needs, or a description of what lies in the folder.
        """

    def load(self, model: bytes, schema: Schema, rules: Rules, folder: Path | None) -> Sampler:
        """A sampler of what `fit` has returned."""

    # A synthesizer may also have `about(model: bytes) -> str`: how its training went, in a sentence without a full stop.
