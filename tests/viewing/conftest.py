"""Runs that are made once; they are only read."""

from __future__ import annotations

from pathlib import Path

import pytest

import factory

from ..small_runs import run, self_instruct
from ..test_refilter import chain, model
from .looked_at import hostile_run


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def instructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-Instruct: deep lineage, instances, several reasons."""
    folder = tmp_path_factory.mktemp("instructed")
    return run(self_instruct(folder, accept=60), folder / "out").path


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with a novelty filter and a judge, and the same run judged again more strictly."""
    folder = tmp_path_factory.mktemp("judged")
    old = run(chain(folder, rows=120), folder / "out", model()).path
    settings = ["novelty.threshold=0.45", "quality.minimum=3"]
    factory.refilter(old, folder / "strict", settings, base=folder, progress=False)
    return old, folder / "strict"
