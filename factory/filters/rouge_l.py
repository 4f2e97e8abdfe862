"""Keep what is new: ROUGE-L against everything kept so far, in order.

A record whose text has an F-measure above the threshold with any kept text is rejected, with its nearest
neighbour as evidence: with threshold 0.7, `{"instruction": "List three large rivers"}` goes when
`{"instruction": "List three rivers"}` was kept (F = 6/7). Exactly the threshold is kept, as in the
reference code of Self-Instruct (arXiv 2212.10560, section 2.4). A row without text is kept: there is
nothing to compare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from factory.context import Context
from factory.novelty.rouge_l import RougeLPool
from factory.recipe.columns import require
from factory.recipe.schema import Fraction, StepOptions
from factory.records import Outcome, Record, digest, reject


class Options(StepOptions):
    """Options of the `rouge_l` filter.

    Attributes:
        threshold: Highest F-measure that is kept, in [0, 1].
        field: Column that is compared.
        tokenizer: `auto` compares Latin script as rouge-score does and other scripts by characters or words.
        group_by: Column whose equal values are one text (the instances of an instruction).
    """

    threshold: Fraction = 0.7
    field: str = "instruction"
    tokenizer: Literal["auto", "rouge", "unicode"] = "auto"
    group_by: str | None = None


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If the compared column is not among them.
    """
    for option, name in (("field", options.field), ("group_by", options.group_by)):
        require(option, name, incoming)
    return incoming


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Compare each record with those kept before it."""
    pool = RougeLPool(options.tokenizer)
    kept_groups: dict[str, bool] = {}
    async for record in records:
        group = _group(record, options)
        if group in kept_groups:
            evidence = "its group was rejected"
            yield record if kept_groups[group] else reject(record, "rouge_l", "too_similar", evidence=evidence)
            continue
        outcome = _compared(record, pool, options)
        if group:
            kept_groups[group] = isinstance(outcome, Record)
        yield outcome


def _group(record: Record, options: Options) -> str:
    """Name of the record's group; empty if it stands alone."""
    value = record.fields.get(options.group_by) if options.group_by else None
    return "" if value is None else digest("group", value)


def _compared(record: Record, pool: RougeLPool, options: Options) -> Outcome:
    """The record, which joins the pool, or as rejected with its nearest neighbour."""
    text = str(record.fields.get(options.field) or "")
    if not text.strip():
        return record
    nearest = pool.nearest(text)
    if nearest is None or nearest.score <= options.threshold:
        pool.add(text)
        return record
    return reject(
        record,
        "rouge_l",
        "too_similar",
        score=nearest.score,
        threshold=options.threshold,
        evidence=pool.text(nearest.index),
    )
