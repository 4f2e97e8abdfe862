"""The attention that training reads through: quicker, the same, and gone again when text is written."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from factory.privacy.base import Base, load_base  # noqa: E402

from .tiny import tiny_folder  # noqa: E402
