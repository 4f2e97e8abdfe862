"""Tokenizers are trained once."""

import pytest

from tests.tables.great.kinds import EXACT


@pytest.fixture(scope="session")
def exact():
    """Tokenizers that give every text back, by kind."""
    return {kind: make() for kind, make in EXACT.items()}
