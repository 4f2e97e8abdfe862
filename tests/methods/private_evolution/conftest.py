"""Texts are compared by their words here; the real encoder has a test of its own."""

from __future__ import annotations

import pytest

from factory.methods.private_evolution import ballot

from .small import Words


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    Words.calls = []
    if "engine" not in request.keywords:
        monkeypatch.setattr(ballot, "Encoder", Words)
