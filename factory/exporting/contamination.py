"""Rows that overlap with benchmarks, found by the filter `decontaminate` itself, with what they share.

A question counts as the filter counts an instruction: 13 words in a row, or all of it where it is shorter. An answer
counts from 13 words on: "New York City" is also an answer of some benchmark, and no contamination.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from factory.errors import UserError
from factory.exporting.item import Item
from factory.filters import decontaminate
from factory.novelty.tokenizers import tokenize
from factory.recipe.taint import require_public
from factory.records import Verdict

REASON = "overlaps with a benchmark"
TELLS = "which rows go, and what they share, would tell of its texts"
_PLACE = re.compile(r"(?P<file>.*?):(?: row )?(?P<row>\d+)")


class Benchmarks:
    """The files of `--decontaminate`."""

    def __init__(self, files: Sequence[str], width: int) -> None:
        """Read them.

        Args:
            files: The benchmarks.
            width: Most texts that an item has.

        Raises:
            UserError: If one cannot be read, has no texts, or is private.
        """
        require_public(files, "--decontaminate", TELLS)
        self._names = [f"text {number}" for number in range(width)]
        options = decontaminate.Options(against=list(files), field=self._names)
        self._ngram = options.ngram
        try:
            self._sift = decontaminate.sift(options, Path.cwd())
        except UserError as error:
            raise UserError(f"decontaminate: {error}") from error

    def judge(self, items: Sequence[Item]) -> list[Verdict | None]:
        """Why each item has to go, None where it may stay: [items]."""
        return self._sift.judge([dict(zip(self._names, self._texts(item), strict=False)) for item in items])

    def _texts(self, item: Item) -> list[str]:
        question, answers = item.texts()
        if not question and len(answers) == 1:  # a text by itself
            return answers
        return [question, *(text for text in answers if len(tokenize(text, "unicode")) >= self._ngram)]


def removed(item: Item, verdict: Verdict, row: dict[str, object]) -> dict[str, object]:
    """A line of `removed.jsonl`: the row, what it shares, and with which row of which file."""
    place, _, words = (verdict.evidence or "").rpartition(": ")
    at = _PLACE.fullmatch(place)
    where = {"file": place, "row": None} if at is None else {"file": at["file"], "row": int(at["row"])}
    return {**item.ids, **where, "shares": words, "ngrams_shared": int(verdict.score or 0), "removed": row}
