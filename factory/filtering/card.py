"""What a folder of filtered rows says of itself: `manifest.json`, and a README that `datasets` and the Hub read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from factory.card import size_category
from factory.filtering.session import Session
from factory.filtering.target import MADE_BY, Target

FORMAT = 1


def manifest(settings: dict[str, Any], read: int, kept: int, rejected: Mapping[str, int]) -> str:
    """Text of `manifest.json`."""
    said = {"made_by": MADE_BY, "format": FORMAT, "read": read, "kept": kept, "rejected": _sorted(rejected), **settings}
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _sorted(rejected: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0])))


def card(target: Target, session: Session) -> str:
    """Text of `README.md`."""
    lines = ["---", f"pretty_name: {json.dumps(target.out.name, ensure_ascii=False)}"]
    lines += ["tags:", "- dataset-factory", "size_categories:", f"- {size_category(session.kept)}"]
    # 'datasets' finds a folder's rows in its cache by this block alone: with the same words it would give old rows.
    lines += ["configs:", "- config_name: default", f"  description: {session.kept} rows, {session.fingerprint}"]
    lines += ["  data_files:", "  - split: train", "    path: data/train-*", "---", "", f"# {target.out.name}", ""]
    lines += [f"{session.kept:,} of {session.rows:,} rows, filtered by {', '.join(session.chain.names)}.", ""]
    if session.rejected:
        lines += ["| rejected by | rows |", "|---|---:|"]
        lines += [f"| {reason} | {count:,} |" for reason, count in _sorted(session.rejected).items()]
        lines += ["", "The rejected rows are in `rejected/` with rule, score and evidence."]
    lines += ["`manifest.json` tells the options of every filter.", ""]
    return "\n".join(lines)
