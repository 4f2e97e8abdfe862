"""Runs and reports that several tests look at, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import made

MAKERS = {
    "self_instruct": made.instructions,
    "evol_instruct": made.evolved,
    "filters": made.filtered,
    "table": made.table,
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of finished runs, by what they are."""
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the run whose data would like to be run."""
    return made.hostile(tmp_path_factory.mktemp("hostile"))
