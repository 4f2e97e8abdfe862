"""What a terminal is told of the privacy of a run's rows.

`privacy: dp_lora: this is (2, 1e-05)-differentially private for adding or removing one record`, or `NOT PRIVATE: …`.
"""

from __future__ import annotations

from typing import Any

from factory.claims import claims_of, not_private
from factory.terminal.layout import fill


def privacy_text(manifest: dict[str, Any]) -> list[str]:
    """What a run claims of the privacy of its rows, and loudly where they have none."""
    lines = [fill(f"privacy: {claim.step}: this is {claim.sentence}") for claim in claims_of(manifest)]
    why = not_private(manifest)
    return ["\n".join([*lines, *([fill(f"NOT PRIVATE: {why}")] if why else [])])] if lines or why else []
