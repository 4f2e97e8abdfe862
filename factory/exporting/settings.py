"""What an export is asked for, checked before anything is read."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from factory import exports
from factory.errors import UserError
from factory.recipe.suggest import did_you_mean

Convert = Callable[[Any], dict[str, object]]
FORMULAS = ("neutralise", "keep")
PAIRS = ("answers", "tasks")


def formats() -> list[str]:
    """Names of the export formats, as given on the command line."""
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(exports.__path__))


@dataclass(frozen=True)
class Settings:
    """The arguments of `factory.export`, by the same names; see there."""

    format: str
    templates: str | None
    instruction: str
    input: str
    output: str
    system: str | None
    validation: float
    test: float
    ids: bool
    tokenizer: str | None
    max_tokens: int | None
    decontaminate: tuple[str, ...]
    shard_rows: int | None
    parquet: bool
    pair: str
    score: str | None
    margin: float
    formulas: str
    module: ModuleType = field(init=False)

    def __post_init__(self) -> None:
        """Load the format and check the rest against it."""
        self._check_numbers()
        if self.format not in formats():
            raise UserError(
                f"format: no format is called '{self.format}'{did_you_mean(self.format, formats())}; there are "
                f"{', '.join(formats())}."
            )
        module = importlib.import_module(f"factory.exports.{self.format.replace('-', '_')}")
        object.__setattr__(self, "module", module)
        self._check_templates()
        self._check_choices()

    def _check_numbers(self) -> None:
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0.0 <= share < 1.0:
                raise UserError(f"{name}: expected a share in [0, 1), found {share}.")
        if self.validation + self.test >= 1.0:
            raise UserError(
                f"validation and test: expected shares that leave rows to train on, found {self.validation} and "
                f"{self.test}; make them smaller."
            )
        for name in ("shard_rows", "max_tokens"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UserError(f"{name}: expected 1 or more, found {number}.")
        if not 0.0 <= self.margin < float("inf"):
            raise UserError(f"margin: expected a number from 0 on, found {self.margin}.")

    def _check_templates(self) -> None:
        known = _layouts(self.module)
        if self.templates is None or self.templates in known:
            return
        others = [name for name in formats() if self.templates in _layouts(_module(name))]
        if others:
            raise UserError(f"templates: '{self.templates}' goes with --format {' or '.join(others)}.")
        raise UserError(f"templates: expected one of {', '.join(known)}, found '{self.templates}'.")

    def _check_choices(self) -> None:
        for name, known in (("formulas", FORMULAS), ("pair", PAIRS)):
            if getattr(self, name) not in known:
                raise UserError(f"{name}: expected one of {', '.join(known)}, found '{getattr(self, name)}'.")
        if self.max_tokens is not None and self.tokenizer is None:
            raise UserError("max_tokens: needs a tokenizer to count with; name one with --tokenizer, e.g. embedded.")
        if self.tokenizer is not None and not hasattr(self.module, "sequences"):
            raise UserError(f"tokenizer: the format {self.format} has no token counts; leave it out.")
        if self.parquet and self.container == "csv":
            raise UserError(f"parquet: the format {self.format} is a kind of file itself; leave one of them out.")

    @property
    def layout(self) -> str:
        """Name of the layout that the format has by itself."""
        return _layouts(self.module)[0]

    @property
    def convert(self) -> Convert:
        """What makes a row of the format."""
        variants: dict[str, Convert] = getattr(self.module, "VARIANTS", {})
        plain: Convert = self.module.convert
        return variants.get(self.templates or self.layout, plain)

    @property
    def takes(self) -> str:
        """What it makes it of."""
        return str(self.module.TAKES)

    @property
    def container(self) -> str:
        """The kind of file, which is also how its name ends."""
        return str(getattr(self.module, "CONTAINER", "parquet" if self.parquet else "jsonl"))

    @property
    def splits(self) -> list[str]:
        """Names of the splits that are asked for."""
        return ["train", *(name for name in ("validation", "test") if getattr(self, name))]

    def told(self) -> dict[str, Any]:
        """What was asked for, for people and programs that find the files: no path of this machine."""
        names = ("format", "templates", "instruction", "input", "output", "system", "validation", "test", "ids")
        given = {name: getattr(self, name) for name in (*names, "max_tokens", "shard_rows")}
        given |= {"templates": self.templates or self.layout, "container": self.container}
        given |= {"tokenizer": None if self.tokenizer is None else Path(self.tokenizer).name}
        given |= {"decontaminate": [Path(name).name for name in self.decontaminate]}
        if self.takes == "preference":
            given |= {"pair": self.pair, "score": self.score, "margin": self.margin}
        return given


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"factory.exports.{name.replace('-', '_')}")


def _layouts(module: ModuleType) -> list[str]:
    """Layouts of a format, its own first."""
    return [getattr(module, "LAYOUT", "plain"), *getattr(module, "VARIANTS", {})]
