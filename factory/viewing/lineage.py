"""How a record came to be, at a million records: its ancestors by levels, its children, its prompts and completions.

What `factory.why` tells, without reading every shard: ids are looked up in the index, and only the records that are
told of are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from factory.journal import exchanges
from factory.viewing.batches import STATES
from factory.viewing.index import Columns, Index
from factory.viewing.reading import Reader, fields_shown
from factory.viewing.search import excerpt
from factory.viewing.texts import BETWEEN

MOST_ANCESTORS = 300
MOST_CHILDREN = 100
LINE_CHARS = 160
_FRACTION = re.compile(r"-?\d+\.\d{5,}")


def ancestry(columns: Columns, row: int) -> tuple[list[int], dict[int, list[int]]]:
    """Rows of a record and all its ancestors, nearest first, and the parents of each that the directory holds."""
    order, parents = [row], {}
    seen = {row}
    for one in order:
        rows = [int(parent) for parent in columns.rows_of(columns.parents_of(one)) if parent >= 0]
        parents[one] = list(dict.fromkeys(rows))
        for parent in parents[one]:
            if parent not in seen:
                seen.add(parent)
                order.append(parent)
    return order, parents


def story(index: Index, reader: Reader, journal: Path, row: int) -> dict[str, Any]:
    """One record with everything that is known of it.

    Raises:
        RunDirError: If a shard is damaged.
        JournalError: If the journal is.
    """
    columns = index.columns()
    record = reader.row(row)
    order, parents = ancestry(columns, row)
    shown = order[:MOST_ANCESTORS]
    children = columns.children_of(row)
    keys = record["provenance"]["requests"] or []
    return {
        **{name: record[name] for name in ("id", "state", "step", "provenance", "verdict")},
        "fields": fields_shown(record["fields"]),
        "exchanges": [_exchange(request, completion) for request, completion in exchanges(journal, keys)],
        "lost_exchanges": not journal.exists() and bool(keys),
        "ancestors": [
            {**line(index, columns, one), "row": one, "parents": [name for name in parents[one] if name in set(shown)]}
            for one in shown
        ],
        "more_ancestors": len(order) - len(shown),
        "unknown_parents": len(record["provenance"]["parents"]) - len(parents[row]),
        "children": [line(index, columns, int(one)) for one in children[:MOST_CHILDREN]],
        "more_children": max(0, len(children) - MOST_CHILDREN),
    }


def line(index: Index, columns: Columns, row: int, query: str = "", width: int = LINE_CHARS) -> dict[str, Any]:
    """A record in one line: its id's number, state, step, verdict, and how its text begins."""
    text = " · ".join(_piece(field, query) for field in index.text(row).split(BETWEEN) if field)
    code = int(columns.reasons[row])
    score = float(columns.scores[row])
    return {
        "key": f"{int(columns.keys[row]):016x}",
        "state": STATES[int(columns.states[row])],
        "step": columns.step_names[int(columns.steps[row])],
        "reason": "" if code < 0 else "{1}: {2}".format(*columns.reason_names[code]),
        "score": None if np.isnan(score) else score,
        "threshold": None if code < 0 else columns.reason_names[code][3],
        "text": excerpt(text, query, width),
    }


def _piece(field: str, query: str) -> str:
    """A field as part of a line; a long fraction is rounded, unless it is what was searched for."""
    long = _FRACTION.fullmatch(field) and not (query and query in field)
    return f"{float(field):.4g}" if long else field


def _exchange(request: Any, completion: Any) -> dict[str, Any]:
    asked = [{"role": message.role, "text": message.content} for message in request.messages]
    if request.text is not None:
        asked = [{"role": "text", "text": request.text}]
    return {
        "asked": asked,
        "answer": completion.text,
        "finish": completion.finish_reason,
        "tokens": [completion.prompt_tokens, completion.completion_tokens],
        "seed": request.seed,
        "temperature": request.sampling.temperature,
    }
