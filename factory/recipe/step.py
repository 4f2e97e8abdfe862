"""One step of a recipe: its name, the piece that it runs, its options, and what the piece says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from factory.prompts import Prompt
from factory.recipe.pieces import Piece
from factory.recipe.schema import StepOptions

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Step:
    """One step of a recipe: its name, the piece that it runs, and the validated options.

    `shares_table` says that its option `table` is that of the recipe.
    """

    name: str
    piece: Piece
    module: ModuleType
    options: StepOptions
    place: Place
    shares_table: bool = False

    @property
    def asks(self) -> bool:
        """Whether it may ask the model of the recipe's engine; a recipe in which nothing does needs none installed."""
        return self.piece.kind == "method" and bool(getattr(self.module, "ASKS", True))

    @property
    def reads_private(self) -> tuple[str, ...]:
        """Options that may name private rows; empty for all that is not differentially private."""
        return tuple(getattr(self.module, "READS_PRIVATE", ()))

    def prompts(self, base: Path) -> list[Prompt]:
        """Prompt files that this step renders."""
        hook = getattr(self.module, "prompts", None)
        return list(hook(self.options, base)) if hook else []

    def files(self, base: Path) -> list[Path]:
        """Files whose content decides what this step emits; private ones are not among them."""
        hook = getattr(self.module, "files", None)
        return list(hook(self.options, base)) if hook else []

    def private_files(self, base: Path) -> list[Path]:
        """Private files that it reads."""
        hook = getattr(self.module, "private_files", None)
        return list(hook(self.options, base)) if hook else []
