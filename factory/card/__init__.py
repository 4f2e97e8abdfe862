r"""The dataset card: what a run says of itself, for people and for the Hub.

card(manifest, Path("runs/quickstart/data"), recipe_text)
->  "---\npretty_name: quickstart\nlicense: apache-2.0\n…\n# quickstart\n…"
"""

from __future__ import annotations

from factory.card.document import Published, card
from factory.card.metadata import size_category

__all__ = ["Published", "card", "size_category"]
