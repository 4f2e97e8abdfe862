"""Answers that no dataset wants, whatever the method: empty ones, and those that were cut.

`unusable(row, "", cut=False, most=512, keep_cut=False)` is the row as rejected by `answer: empty_answer`.
"""

from __future__ import annotations

from factory.records import Record, Rejected, reject

SHOWN_CHARS = 300


def unusable(
    row: Record, output: str, *, cut: bool, most: int, keep_cut: bool, rule: str = "answer"
) -> Rejected | None:
    """The row as rejected, or None if its answer can be used.

    Args:
        row: Made with the answer.
        output: The answer, stripped.
        cut: Whether it ended at `max_tokens`.
        most: The `max_tokens` it was asked with.
        keep_cut: Whether the recipe keeps cut answers.
        rule: Name of the rule in the verdict.
    """
    if not output:
        return reject(row, rule, "empty_answer", evidence="the model wrote nothing")
    if cut and not keep_cut:
        return reject(row, rule, "cut_off", threshold=most, evidence=output[-SHOWN_CHARS:])
    return None
