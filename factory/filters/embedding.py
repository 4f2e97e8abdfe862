"""Keep what means something new: the cosine of embeddings to everything kept so far, in order.

A row whose text has a cosine above the threshold with a kept text is rejected, with its nearest neighbour as
evidence: with threshold 0.9, `{"instruction": "List three rivers."}` goes when `{"instruction": "Name three rivers."}` was
kept (0.928). Exactly the threshold is kept. Cosines are rounded to three digits, and no verdict depends on how many rows
are judged at once; see `factory.novelty.embedding`.

Every pair is compared. Measured on two cores with the default model and instructions: 2 ms a row for the embedding, and
0.1 ms a row for each 10,000 kept rows, 1.7 ms where rows come one by one from a step before; 1.5 KB of memory a kept
row. A text is read up to `max_tokens`. The default model is made for English sentences, and does not see everything:
"The sky is blue." and "The sky is not blue." have 0.932. Look at what is rejected before lowering the threshold.

A row without text is kept: there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from factory.context import Context
from factory.context.sifting import Row, Sift, sifted, text_of
from factory.errors import OptionError, UserError
from factory.novelty.embedding import EmbeddingPool
from factory.novelty.encoder import Encoder, missing
from factory.novelty.match import Match
from factory.recipe.columns import Column, require
from factory.recipe.schema import Count, Fraction, StepOptions, Tokens
from factory.records import Outcome, Record, Verdict

NEUTRAL = ("batch_size",)


class Options(StepOptions):
    """Options of the `embedding` filter.

    Attributes:
        field: Column that is compared.
        threshold: Highest cosine that is kept, in [0, 1].
        model: `embedded` (all-MiniLM-L6-v2 from a PyPI package), a local folder, or a Hub id; mean pooling.
        batch_size: Most texts that go through the model at once.
        max_tokens: Tokens of a text that are read.
    """

    field: Column = "instruction"
    threshold: Fraction = 0.9
    model: Annotated[str, Field(min_length=1)] = "embedded"
    batch_size: Count = 64
    max_tokens: Tokens = 256


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the packages and the model's folder are there; nothing is loaded."""
    error = missing(options.model)
    return [] if error is None else [OptionError("model", str(error))]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If the compared column is not among them.
    """
    require("field", options.field, incoming)
    return incoming


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin; the model is loaded with the first row."""
    return _Embedding(options)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Compare each record with those kept before it."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


class _Embedding:
    """The pool of what was kept."""

    def __init__(self, options: Options) -> None:
        self._options = options
        encoder = Encoder(options.model, batch_size=options.batch_size, max_tokens=options.max_tokens)
        self._pool = EmbeddingPool(encoder, options.threshold)

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        texts = [text_of(row, self._options.field) for row in rows]
        matches = iter(self._pool.sift([text for text in texts if text.strip()]))
        return [self._verdict(next(matches)) if text.strip() else None for text in texts]

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        texts = [text_of(row, self._options.field) for row, stayed in zip(rows, kept, strict=True) if stayed]
        self._pool.add([text for text in texts if text.strip()])

    def _verdict(self, match: Match | None) -> Verdict | None:
        if match is None:
            return None
        return Verdict(
            keep=False,
            rule="embedding",
            reason="too_similar",
            score=match.score,
            threshold=self._options.threshold,
            evidence=self._pool.text(match.index),
        )
