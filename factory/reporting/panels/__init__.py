"""Panels of the report, one module each; a new panel is a new file here, and nothing else.

A module has `TITLE`, `ORDER` (panels stand in its order) and `build(run) -> Panel | LeftOut`. What a panel has nothing to
show for is left out, and the page says why:

    build(run)  ->  LeftOut("No step of this run compares texts by ROUGE-L.")
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec

from factory.reporting.gather.run import Run


class Panel(msgspec.Struct, frozen=True):
    """What a panel shows.

    Attributes:
        html: Its content, as markup.
        data: Figures for programs and for the script of the page; plain data.
    """

    html: str
    data: dict[str, Any] = {}


class LeftOut(msgspec.Struct, frozen=True):
    """Why a panel is not shown, in one sentence."""

    why: str


def modules() -> list[ModuleType]:
    """The panels, in the order of the page."""
    found = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return sorted(found, key=lambda module: (module.ORDER, module.__name__))


def built(run: Run) -> list[tuple[str, Panel | LeftOut]]:
    """Title and content of every panel."""
    return list(_built(run))


def _built(run: Run) -> Iterator[tuple[str, Panel | LeftOut]]:
    for module in modules():
        yield module.TITLE, module.build(run)
