"""What instructions ask for: verbs and their nouns, as in figure 3 of Self-Instruct."""

from __future__ import annotations

from factory.reporting.charts.shares import icicle
from factory.reporting.gather.run import Run
from factory.reporting.gather.verbs import MEASURED, picture
from factory.reporting.markup import details, figure, paragraph, table
from factory.reporting.panels import LeftOut, Panel

TITLE = "What is asked for"
ORDER = 70
COLUMNS = ("instruction", "prompt", "question")
FEWEST = 0.3
MISTAKES = (
    f"Of 100 instructions labelled by hand it finds {MEASURED[0]} verbs and {MEASURED[1]} pairs as a person does."
)


def build(run: Run) -> Panel | LeftOut:
    """The most frequent verbs with their nouns."""
    column = next(
        (name for name in COLUMNS if any(isinstance(row.fields.get(name), str) for row in run.kept[:100])), None
    )
    if column is None:
        return LeftOut(f"The rows have no column of instructions ({', '.join(COLUMNS)}).")
    texts = {str(row.fields[column]) for row in run.kept if isinstance(row.fields.get(column), str)}
    found = picture(sorted(texts))
    if not found.read or found.read < FEWEST * found.of:
        return LeftOut(
            f"English verbs were found in {found.read:,} of {found.of:,} texts of '{column}', too few for a picture."
        )
    shown = sum(count for _, leaves in found.branches for _, count in leaves)
    caption = (
        f"{shown:,} of {found.of:,} different instructions: the {len(found.branches)} most frequent of {found.verbs:,} verbs and "
        f"question words. None was found in {found.of - found.read:,}."
    )
    rows = [(verb, noun, count) for verb, leaves in found.branches for noun, count in leaves]
    html = [
        figure(icicle(found.branches, title="Verbs and their nouns"), caption),
        details("The same as a table", table(("verb", "noun", "instructions"), rows, "Verbs and nouns")),
        paragraph(
            "A light method for English instead of a parser: the first word that is a known verb, and the last word of the phrase "
            "behind it. " + MISTAKES,
            kind="soft",
        ),
        paragraph(run.sampled, kind="soft"),
    ]
    return Panel(
        "".join(html), {"branches": [[verb, [list(leaf) for leaf in leaves]] for verb, leaves in found.branches]}
    )
