"""How near each text is to the nearest one that was kept before it, by ROUGE-L: what a threshold cuts through.

    nearest(run)  ->  [Nearest(step="self_instruct", threshold=0.7, kept=(0.31, …), rejected=(0.82, …), closest=(…), told="…")]

Rejected rows carry their score. Self-Instruct files the score of every instruction that joined its pool in `lineage/`; for a
`rouge_l` filter scores of kept rows are computed again, in the order of the dataset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from factory.datasets_io.parquet import read_shards
from factory.novelty.rouge_l import RougeLPool
from factory.reporting.gather.rows import NEAR, cut, place
from factory.reporting.gather.run import Run

MOST_POOL: Final = 20_000
"""Kept texts that are compared with each other; the first ones, so that each meets all that were kept before it."""
MOST_ASKED: Final = 1_000
"""Texts whose nearest neighbour is looked for."""
LONGEST: Final = 20_000
"""Characters of a text that are compared."""
_RANGE: Final = 2**64


class Near(msgspec.Struct, frozen=True):
    """A kept text and the nearest one kept before it."""

    score: float
    id: str
    text: str
    neighbour: str


class Nearest(msgspec.Struct, frozen=True):
    """Scores at one step.

    Attributes:
        step: Its name.
        field: Column that is compared.
        threshold: Highest score that is kept.
        kept: Scores of kept texts.
        rejected: Scores of rejected ones.
        closest: Kept ones just below the threshold, the closest first.
        told: Where the scores come from.
        kept_weight: Kept texts that each score stands for.
        rejected_weight: Rejected ones that each of theirs stands for.
    """

    step: str
    field: str
    threshold: float
    kept: tuple[float, ...]
    rejected: tuple[float, ...]
    closest: tuple[Near, ...]
    told: str
    kept_weight: float = 1.0
    rejected_weight: float = 1.0

    def passing(self, threshold: float) -> int:
        """Texts whose score a threshold would keep, kept and rejected ones together."""
        kept = sum(score <= threshold for score in self.kept) * self.kept_weight
        return round(kept + sum(score <= threshold for score in self.rejected) * self.rejected_weight)


def nearest(run: Run) -> list[Nearest]:
    """Scores at every step that compares texts by ROUGE-L and has some; found once for a run."""
    if run.nearest is None:
        run.nearest = _nearest(run)
    found: list[Nearest] = run.nearest
    return found


def _nearest(run: Run) -> list[Nearest]:
    found = []
    for step in run.steps:
        options = run.options(step["step"])
        rejected = [row for row in run.rejected if row.step == step["step"] and row.rule == "rouge_l"]
        scores = tuple(row.score for row in rejected if row.score is not None)
        if step["method"] == "self_instruct":
            kept, weight, told = _of_pool(run, step["step"])
            field = "instruction"
        elif step["method"] == "rouge_l":
            field = str(options.get("field", "instruction"))
            kept, weight, told = _again(read_shards(run.path / "data"), field, options, of=run.rows[0])
        else:
            continue
        if kept or scores:
            closest = tuple(sorted(kept, key=lambda near: (-near.score, near.id))[:NEAR])
            away = _in_all(run, step["step"]) / max(1, len(rejected))
            values = tuple(near.score for near in kept)
            threshold = float(options.get("threshold", 0.7))
            found.append(Nearest(step["step"], field, threshold, values, scores, closest, told, weight, away))
    return found


def _in_all(run: Run, step: str) -> int:
    """Rows that a step rejected for their ROUGE-L, also those that are not looked at."""
    return sum(count for (by, rule, _), count in run.rejections.by_reason.items() if (by, rule) == (step, "rouge_l"))


def _of_pool(run: Run, step: str) -> tuple[list[Near], float, str]:
    """Instructions that joined the pool of Self-Instruct, each with the score that it was judged by."""
    kept = [
        Near(float(row.fields["rouge_l"]), row.id, str(row.fields["instruction"]), str(row.fields.get("nearest") or ""))
        for row in run.passed
        if row.made_by == step and row.fields.get("rouge_l") is not None
    ]
    told = "Scores are those that the step judged by, of instructions that joined its pool; seed tasks are in the pool."
    return kept, 1 / run.passed_share, told


def _again(
    rows: Iterable[dict[str, Any]], field: str, options: dict[str, Any], *, of: int
) -> tuple[list[Near], float, str]:
    """Scores of kept rows against those before them.

    Args:
        rows: Kept rows in order, from the first on.
        field: Column that is compared.
        options: Of the filter.
        of: Kept rows in all.
    """
    texts = _texts(rows, field, options.get("group_by"))
    limit = _RANGE if len(texts) <= MOST_ASKED else int(MOST_ASKED / len(texts) * _RANGE)
    pool = RougeLPool(options.get("tokenizer", "auto"))
    pool.expect(math.isqrt(min(len(texts), MOST_ASKED) * len(texts)))
    kept: list[Near] = []
    waiting: list[str] = []
    for name, text in texts:
        if place(f"asked {name}") < limit:
            pool.extend(waiting)
            waiting = []
            if (found := pool.nearest(text)) is not None:
                kept.append(Near(found.score, name, str(cut(text)), str(cut(pool.text(found.index)))))
        waiting.append(text)
    told = "Scores of kept rows were computed again for this page, among the rows of the dataset in their order"
    if len(kept) < len(texts) - 1:
        told += f": for {len(kept):,} of {len(texts):,} texts, chosen by a hash"
    if len(texts) == MOST_POOL < of:
        told += f"; of {of:,} kept rows these are the first, and later ones meet more texts that they may be like"
    whole = of if len(texts) == MOST_POOL else len(texts) - 1
    return kept, max(1.0, whole / max(1, len(kept))), f"{told}."


def _texts(rows: Iterable[dict[str, Any]], field: str, group: str | None) -> list[tuple[str, str]]:
    """Ids and texts that are compared; of a group that counts as one text, the first."""
    found: list[tuple[str, str]] = []
    groups: set[str] = set()
    for row in rows:
        text, name = row.get(field), row["record_id"]
        value = repr(row.get(group)) if group else name
        if isinstance(text, str) and text.strip() and value not in groups:
            groups.add(value)
            found.append((name, text[:LONGEST]))
        if len(found) == MOST_POOL:
            break
    return found
