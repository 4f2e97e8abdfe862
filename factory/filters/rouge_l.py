"""Keep what is new: ROUGE-L against everything kept so far, in order.

A record whose text has an F-measure above the threshold with any kept text is rejected, with its nearest
neighbour as evidence: with threshold 0.7, `{"instruction": "List three large rivers"}` goes when
`{"instruction": "List three rivers"}` was kept (F = 6/7). Exactly the threshold is kept, as in the
reference code of Self-Instruct (arXiv 2212.10560, section 2.4). A row without text is kept: there is
nothing to compare.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

from factory.context import Context
from factory.context.sifting import Row, Sift, sifted
from factory.novelty.rouge_l import NoveltyFilter
from factory.recipe.columns import require
from factory.recipe.schema import Fraction, StepOptions
from factory.records import Outcome, Record, Verdict, digest


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


def sift(options: Options, base: Path) -> Sift:
    """The filter itself, for rows of any origin."""
    return _RougeL(options)


async def run(records: AsyncIterator[Record], ctx: Context, options: Options) -> AsyncIterator[Outcome]:
    """Compare each record with those kept before it."""
    async for outcome in sifted(records, sift(options, ctx.base)):
        yield outcome


class _RougeL:
    """The filter of what was kept, and the groups that were decided."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._filter = NoveltyFilter(options.threshold, options.tokenizer)
        self._groups: dict[str, bool] = {}

    def judge(self, rows: Sequence[Row]) -> list[Verdict | None]:
        if self._options.group_by:
            return [self._grouped(row) for row in rows]
        return self._alone([self._text(row) for row in rows])

    def restore(self, rows: Sequence[Row], kept: Sequence[bool]) -> None:
        joined = []
        for row, stayed in zip(rows, kept, strict=True):
            group, text = self._group(row), self._text(row)
            if group not in self._groups:
                if stayed and text.strip():
                    joined.append(text)
                if group:
                    self._groups[group] = stayed
        self._filter.pool.extend(joined)

    def _grouped(self, row: Row) -> Verdict | None:
        group = self._group(row)
        if group in self._groups:
            return None if self._groups[group] else _too_similar(evidence="its group was rejected")
        verdict = self._alone([self._text(row)])[0]
        if group:
            self._groups[group] = verdict is None
        return verdict

    def _alone(self, texts: list[str]) -> list[Verdict | None]:
        """Verdicts of texts that belong to no group: [texts]; those without text stay, and are not remembered."""
        verdicts: list[Verdict | None] = [None] * len(texts)
        places = [place for place, text in enumerate(texts) if text.strip()]
        decisions = self._filter.add_batch([texts[place] for place in places])
        for index in (~decisions.kept).nonzero()[0].tolist():
            evidence = self._filter.text(int(decisions.nearest[index]))
            score = float(decisions.score[index])
            verdicts[places[index]] = _too_similar(evidence, score, self._options.threshold)
        return verdicts

    def _group(self, row: Row) -> str:
        """Name of the row's group; empty if it stands alone."""
        value = row.get(self._options.group_by) if self._options.group_by else None
        return "" if value is None else digest("group", value)

    def _text(self, row: Row) -> str:
        return str(row.get(self._options.field) or "")


def _too_similar(evidence: str, score: float | None = None, threshold: float | None = None) -> Verdict:
    return Verdict(
        keep=False, rule="rouge_l", reason="too_similar", score=score, threshold=threshold, evidence=evidence
    )
