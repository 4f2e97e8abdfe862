"""Keep what no earlier row shares most of its words with: MinHash and LSH, approximate, for many rows.

A row whose text has a Jaccard index above the threshold with a kept text is rejected, with the nearest candidate as
evidence: with threshold 0.7, `{"instruction": "List three very large rivers"}` goes when
`{"instruction": "List three large rivers"}` was kept (4 of 5 words shared). Exactly the threshold is kept. The index
is that of sets of shingles, in this case words, without regard to their order; see `factory.novelty.minhash`.

Approximate: a similar text that the tables do not offer is missed. Against exact ROUGE-L at 0.7 on 5,000 instructions
of which it rejects 1,346 (1,300 are near-duplicates made by editing words), `verify` on:

    ngram  threshold  recall  precision        ngram  threshold  recall  precision
    1      0.5        0.994   0.963            2      0.5        0.710   0.999
    1      0.6        0.960   0.994            2      0.7        0.293   1.000
    1      0.7        0.846   0.996            3      0.7        0.144   1.000

Hence single words by default: a changed word breaks two shingles of two words, and texts as short as instructions
have few. `ngram: 5` is for documents. Where the exact filter is fast enough (`rouge_l`), take that one.

A row without text is kept; a text without tokens, such as "!?", is a duplicate only of the same string.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from factory.context import Context
from factory.context.sifting import Row, Sift, sifted, text_of
from factory.errors import UserError
from factory.novelty.minhash import MinHashPool, not_installed
from factory.novelty.tokenizers import Tokenizer
from factory.recipe.columns import Column, require
from factory.recipe.schema import StepOptions
from factory.records import Outcome, Record, Verdict


class Options(StepOptions):
    """Options of the `minhash` filter.

    Attributes:
        field: Column that is compared.
        threshold: Highest Jaccard index that is kept, above 0 and below 1.
        ngram: Tokens in a shingle: 1 for instructions, about 5 for documents.
        permutations: Hash functions; more of them miss less and cost more.
        seed: Of the hash functions.
        tokenizer: `auto` splits Latin script as rouge-score does and other scripts into characters or words.
        verify: Compute the true Jaccard index of candidates, so that no row is rejected by an estimate.
    """

    field: Column = "instruction"
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.7
    ngram: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    permutations: Annotated[int, Field(ge=16, le=4096, strict=True)] = 128
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 1
    tokenizer: Tokenizer = "auto"
    verify: bool = True


def check(options: Options, base: Path) -> list[UserError]:
    """Whether the package datasketch is there."""
    return [] if importlib.util.find_spec("datasketch") else [not_installed()]


def columns(options: Options, base: Path, incoming: set[str] | None) -> set[str] | None:
    """The same columns.

    Raises:
        OptionError: If the compared column is not among them.
    """
    require("field", options.field, incoming)
    return incoming


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin.

    Raises:
        UserError: If the package datasketch is not installed.
    """
    return _MinHash(options)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Compare each record with those kept before it."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


class _MinHash:
    """The pool of what was kept."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pool = MinHashPool(
            options.threshold,
            ngram=options.ngram,
            permutations=options.permutations,
            seed=options.seed,
            tokenizer=options.tokenizer,
            verify=options.verify,
        )

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        return [self._judged(text_of(row, self._options.field)) for row in rows]

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        for row, stayed in zip(rows, kept, strict=True):
            text = text_of(row, self._options.field)
            if stayed and text.strip():
                self._pool.add(text)

    def _judged(self, text: str) -> Verdict | None:
        """None for a text that is new, which joins the pool."""
        if not text.strip():
            return None
        nearest, threshold = self._pool.nearest(text), self._options.threshold
        if nearest is None or nearest.score <= threshold:
            self._pool.add(text)
            return None
        evidence = self._pool.text(nearest.index)
        return Verdict(
            keep=False,
            rule="minhash",
            reason="too_similar",
            score=nearest.score,
            threshold=threshold,
            evidence=evidence,
        )
