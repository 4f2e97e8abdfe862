"""The pieces that a recipe's steps can name, found by the name of their file.

A piece is a module in `factory/sources`, `factory/methods` or `factory/filters` (one file a piece, or
a package), or an entry point of another distribution in the group `factory.pieces`. It has

* a docstring: what it does, with one real input and output, and the paper;
* `Options`, a `StepOptions` model;
* `run(records, ctx, options)`, an async generator of outcomes;
* optionally, found without a model: `check(options, base) -> list[UserError]`, what is wrong with files that
  the options name; `prompts(options, base) -> list[Prompt]`; `files(options, base) -> list[Path]`, whose
  content decides what is emitted; `columns(options, base, incoming) -> set[str] | None`, the columns that it
  gives; `remarks(options, base) -> list[str]`, what is right but worth knowing; `expects(options) -> Expected`, what
  planning counts for a record that cannot be known yet; `logprobs(options) -> int`, how many log-probabilities its
  requests ask for at most, so that an engine that cannot give them is refused by `factory check`;
* for a filter that needs nothing but the rows, `sift(options, base) -> Sift`, which makes it usable as a flag of
  `factory filter` too (see `factory.context.sifting`);
* optionally `NEUTRAL`, names of options that leave the content of every request and record as it is; `JUDGES`,
  names of options of a method that only decide which of its rows are kept, and play no part in any of its
  requests: `factory refilter` may change them, as it may all options of a filter; `NEEDS_RECORDS = False` for a
  method that can be the first step; and `ASKS = False` for one that never asks the model of the recipe's engine;
* for a method that is differentially private, `READS_PRIVATE`, names of options that may name private rows (each a
  `factory.recipe.private.PrivateSource`), and with it two hooks. `private_files(options, base) -> list[Path]` gives the
  private files, which `files` leaves out: the hashes of those are published. `releases(options) -> str` says why what it
  gives out stays private (no noise, noise that anybody can repeat), and `""` where it may be treated as public. All other
  pieces are refused private rows by `factory.recipe.taint`. Such a method leaves its claim in `ctx.stats.privacy`, as
  `msgspec.to_builtins(claim)`, or sets `ctx.stats.unread` where it has read none of the rows. Whatever else it publishes
  (records, ids, notes) may depend on the private rows through its noise alone: no hash of them, no exact count, no loss.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from factory.errors import UserError

KINDS = {"source": "sources", "method": "methods", "filter": "filters"}
GROUP = "factory.pieces"
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Piece:
    """Where a piece is found; its module is imported when first asked for."""

    name: str
    kind: str
    module_name: str
    entry_point: EntryPoint | None = None

    def module(self) -> ModuleType:
        """Import the piece.

        Raises:
            UserError: If a piece of another package does not import or lacks what a piece needs.
        """
        if self.entry_point is None:
            return importlib.import_module(self.module_name)
        try:
            loaded = self.entry_point.load()
        except (ImportError, AttributeError) as error:
            raise UserError(f"entry point {GROUP}:{self.name} ({self.module_name}) does not load: {error}.") from error
        missing = [wanted for wanted in ("Options", "run") if not hasattr(loaded, wanted)]
        if missing:
            raise UserError(f"entry point {GROUP}:{self.name} ({self.module_name}) lacks {' and '.join(missing)}.")
        return loaded  # type: ignore[no-any-return]

    @property
    def summary(self) -> str:
        """First line of the module's docstring, or why another package's piece cannot be used."""
        try:
            module = self.module()
        except UserError as error:
            return f"not usable: {error}"
        return (module.__doc__ or "").strip().split("\n")[0]


@lru_cache(maxsize=1)
def pieces() -> dict[str, Piece]:
    """All pieces by name; our own win over another package's of the same name."""
    found: dict[str, Piece] = {}
    for entry in entry_points(group=GROUP):
        found[entry.name] = Piece(entry.name, "method", entry.value, entry)
    for kind, folder in KINDS.items():
        for info in pkgutil.iter_modules([str(_PACKAGE / folder)]):
            found[info.name] = Piece(info.name, kind, f"factory.{folder}.{info.name}")
    return dict(sorted(found.items()))
