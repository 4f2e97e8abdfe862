"""Filters in a row: each sees only the rows that those before it kept.

chain.judge([{"text": "a"}, {"text": "a"}]) -> [None, ("exact", Verdict(keep=False, reason="duplicate", …))]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from factory.context.sifting import Row, Sift
from factory.errors import OptionError, UserError
from factory.filtering.steps import FIELD, TOKENIZER, Step, base
from factory.manifest import file_hash
from factory.novelty.tokenizers import tokenize
from factory.recipe.columns import require
from factory.recipe.suggest import did_you_mean
from factory.records import Verdict

TEXT_COLUMNS = ("instruction", "text", "prompt", "question", "content")
BLANK_SHARE = 0.01  # of texts that have no token: more than that is worth a warning
_TOKEN = re.compile("[a-zA-Z0-9]")


@dataclass(frozen=True)
class Link:
    """One filter, ready to judge.

    Attributes:
        step: What it is.
        field: Column that it compares; None if it has no such option.
        sift: The filter itself.
    """

    step: Step
    field: str | None
    sift: Sift


class Judged(NamedTuple):
    """A row that was turned away: by which filter, counted from 0, and why."""

    by: int
    verdict: Verdict


class Chain:
    """The filters of a command, and what they have met so far.

    Attributes:
        links: The filters in order.
        fields: Columns that must hold a text in every row.
        needed: Columns that the filters look at; None for all of them.
        blank: By filter, texts in which its tokenizer finds nothing to compare, and texts.
    """

    def __init__(self, steps: Sequence[Step], columns: Sequence[str]) -> None:
        """Make the filters, for rows with those columns.

        Raises:
            UserError: If a filter needs a column that there is not, or a file of its options does not do.
        """
        chosen = [_with_field(step, columns) for step in steps]
        for step in chosen:
            _check(step, columns)
        self.links = [Link(step, _field(step), step.module.sift(step.options, base())) for step in chosen]
        self.fields = list(dict.fromkeys(link.field for link in self.links if link.field is not None))
        self.needed = _needed(self.links, columns)
        self.blank: dict[str, tuple[int, int]] = {}

    @property
    def names(self) -> list[str]:
        """Names of the filters in order."""
        return [link.step.name for link in self.links]

    @property
    def compared(self) -> dict[str, str]:
        """Column that each filter looks at, where it looks at one."""
        return {link.step.name: link.field for link in self.links if link.field is not None}

    def settings(self) -> list[dict[str, Any]]:
        """All options of all filters, with a hash of each file that they name."""
        return [
            {
                link.step.name: {
                    "filter": link.step.kind,
                    **link.step.options.effective().model_dump(mode="json", by_alias=True, exclude={"name"}),
                    **{f"content of {path}": file_hash(path) for path in _files(link.step)},
                }
            }
            for link in self.links
        ]

    def judge(self, rows: Sequence[Row]) -> list[Judged | None]:
        """What comes of each row: None if every filter keeps it."""
        judged: list[Judged | None] = [None] * len(rows)
        left = list(range(len(rows)))
        for number, link in enumerate(self.links):
            self._count_blank(link, [rows[index] for index in left])
            verdicts = link.sift.judge([rows[index] for index in left]) if left else []
            for index, verdict in zip(left, verdicts, strict=True):
                judged[index] = None if verdict is None else Judged(number, verdict)
            left = [index for index in left if judged[index] is None]
        return judged

    def restore(self, rows: Sequence[Row], by: Sequence[int | None]) -> None:
        """Take in rows that were judged before.

        Args:
            rows: The rows.
            by: The filter that turned each away, counted from 0; None if all kept it.
        """
        left = list(range(len(rows)))
        for number, link in enumerate(self.links):
            if left:
                link.sift.restore([rows[index] for index in left], [by[index] != number for index in left])
            left = [index for index in left if by[index] != number]

    def _count_blank(self, link: Link, rows: Sequence[Row]) -> None:
        if link.field is None or getattr(link.step.options, TOKENIZER, None) != "rouge":
            return
        texts = [text for row in rows if (text := str(row[link.field])).strip()]
        empty = sum(1 for text in texts if _TOKEN.search(text) is None and not tokenize(text, "rouge"))
        before = self.blank.get(link.step.name, (0, 0))
        self.blank[link.step.name] = (before[0] + empty, before[1] + len(texts))

    def warnings(self) -> list[str]:
        """Texts that a tokenizer for English makes nothing of, and that therefore pass as new."""
        return [
            f"{name}: {empty:,} of {texts:,} texts have no word for the tokenizer 'rouge' (a-z and 0-9 only): at most "
            "exact repeats of them are found; compare them with --tokenizer unicode (or auto)."
            for name, (empty, texts) in self.blank.items()
            if texts and empty / texts > BLANK_SHARE
        ]


def _field(step: Step) -> str | None:
    field = getattr(step.options, FIELD, None)
    return field if isinstance(field, str) else None


def _with_field(step: Step, columns: Sequence[str]) -> Step:
    """The step, comparing a column that there is.

    Raises:
        UserError: If it cannot be told which one.
    """
    field = _field(step)
    if field is None:
        return step
    if step.names_field:
        try:
            require(FIELD, field, set(columns))
        except OptionError as error:
            raise UserError(f"--field: {error}") from error
        return step
    if field in columns:
        return step
    texts = [name for name in TEXT_COLUMNS if name in columns]
    if len(texts) != 1:
        raise UserError(
            f"--field: expected the column that '{step.name}' compares, as there is no '{field}'"
            f"{did_you_mean(field, columns)}; the rows have {', '.join(columns)}."
        )
    return Step(
        step.origin, step.name, step.kind, step.module, step.options.model_copy(update={FIELD: texts[0]}), False
    )


def _check(step: Step, columns: Sequence[str]) -> None:
    """What the piece itself finds wrong with its options.

    Raises:
        UserError: If it finds something.
    """
    check, hook = getattr(step.module, "check", None), getattr(step.module, "columns", None)
    try:
        errors = list(check(step.options, base())) if check is not None else []
        if hook is not None and not errors:
            hook(step.options, base(), set(columns))
    except OptionError as error:
        errors = [error]
    if errors:
        option = f".{errors[0].option}" if isinstance(errors[0], OptionError) else ""
        raise UserError(f"{step.origin}: {step.kind}{option}: {errors[0]}")


def _files(step: Step) -> list[Any]:
    hook = getattr(step.module, "files", None)
    return list(hook(step.options, base())) if hook is not None else []


def _needed(links: Sequence[Link], columns: Sequence[str]) -> set[str] | None:
    """Columns that the options of the filters name; None, for all, if one names none."""
    needed: set[str] = set()
    for link in links:
        named = set(_texts(link.step.options.model_dump())) & set(columns)
        if not named:
            return None
        needed |= named
    return needed


def _texts(value: Any) -> list[str]:
    """All texts in the values of options."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
