"""What `factory evaluate` prints: one comparison in small tables that fit 80 columns.

source    trained on  macro-F1           accuracy
--------  ----------  -----------------  -----------------
grounded         500  0.52 [0.48, 0.56]  0.60 [0.56, 0.64]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from factory.evaluation.bootstrap import Figure
from factory.evaluation.compare import Evaluation, Line
from factory.evaluation.leakage import Overlap
from factory.terminal.layout import fill, table

EXAMPLES = 3
CLASSES = 4
CLIP = 140
REAL = "real texts"
MAJORITY = "most frequent class"
INTERVALS = "in brackets: intervals of 95 %"


def evaluation_text(result: Evaluation) -> str:
    """Every table that has something to show, then leakage and notes."""
    parts = [
        _summary(result),
        _utility(result),
        _believability(result),
        _diversity(result),
        _openings(result),
        _drift(result),
        leakage_text(result.leakage),
        INTERVALS,
        "\n".join(fill(f"note: {note}") for note in result.notes),
    ]
    return only_printable("\n\n".join(part for part in parts if part))


def only_printable(text: str) -> str:
    """The text without what a model may have written to steer a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def figure(value: Figure | None, places: int = 2) -> str:
    """A figure with its interval.

    >>> figure(Figure(0.5, 0.25, 0.75)), figure(Figure(3.0), 1), figure(None)
    ('0.50 [0.25, 0.75]', '3.0', '-')
    """
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.value:.{places}f}"
    return f"{value.value:.{places}f} [{value.low:.{places}f}, {value.high:.{places}f}]"


def titled(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table below its title."""
    return f"{fill(title)}\n{table(headings, rows)}"


def _lines(result: Evaluation) -> list[tuple[str, Line]]:
    return [*((clipped(line.name), line) for line in result.sources), (REAL, result.real)]


def _summary(result: Evaluation) -> str:
    """One line a set: what most people look at first."""
    rows = []
    for name, line in _lines(result):
        found, used, spread = line.believability, line.utility, line.diversity
        believed = found.judged_real if found is not None else None
        rows.append(
            (
                name,
                figure(used.macro_f1 if used is not None else None),
                figure(believed),
                figure(spread.distinct_2 if spread is not None else None),
            )
        )
    if result.majority is not None:
        rows.append((MAJORITY, figure(result.majority.macro_f1), "-", "-"))
    return titled("all in all", ("source", "macro-F1", "judged real", "distinct pairs"), rows)


def _utility(result: Evaluation) -> str:
    if result.majority is None:
        return ""
    found = [(name, line.utility) for name, line in _lines(result)] + [(MAJORITY, result.majority)]
    rows = [
        (name, "-", "-", "-")
        if each is None
        else (name, f"{each.trained_on:,}" if each.trained_on else "-", figure(each.macro_f1), figure(each.accuracy))
        for name, each in found
    ]
    title = f"utility: a classifier trained on each, tested on {result.test:,} real texts"
    shown = titled(title, ("trained on", "texts", "macro-F1", "accuracy"), rows)
    return f"{shown}\n\n{fill('classes: ' + '; '.join(_classes(name, line) for name, line in _lines(result)))}"


def _classes(name: str, line: Line) -> str:
    """Shares of the classes of a set: filters and strategies may change them unasked."""
    counts = sorted(line.classes.items(), key=lambda each: -each[1])
    shares = [f"{clipped(label)} {count / line.texts:.0%}" for label, count in counts[:CLASSES]]
    more = len(counts) - CLASSES
    return f"{name}: {', '.join([*shares, *([f'{more} more'] if more > 0 else [])]) or 'none'}"


def _believability(result: Evaluation) -> str:
    rows = [
        (name, figure(found.judged_real), figure(found.real_judged_real), figure(found.auc))
        for name, line in _lines(result)
        if (found := line.believability) is not None
    ]
    title = "believability: share that a discriminator takes for real, held out by source"
    return titled(title, ("source", "judged real", "of real texts", "AUC (0.5 best)"), rows) if rows else ""


def _table(
    result: Evaluation, title: str, headings: Sequence[str], cells: Callable[[Line], Sequence[Figure]], places: int = 2
) -> str:
    rows = [(name, *(figure(each, places) for each in cells(line))) for name, line in _lines(result)]
    return titled(title, ("source", *headings), rows)


def _diversity(result: Evaluation) -> str:
    def cells(line: Line) -> Sequence[Figure]:
        found = line.diversity
        return (found.distinct_1, found.distinct_2, found.repeated) if found is not None else ()

    size = result.real.diversity.size if result.real.diversity is not None else 0
    title = f"diversity, of {size:,} texts of each"
    return _table(result, title, ("distinct words", "distinct pairs", "repeated"), cells)


def _openings(result: Evaluation) -> str:
    def cells(line: Line) -> Sequence[Figure]:
        found = line.diversity
        return (found.top_opening, found.opening_entropy, found.nearest) if found is not None else ()

    named = [
        f"'{clipped(line.diversity.opening)}' ({name})" for name, line in _lines(result) if line.diversity is not None
    ]
    title = "first two words and nearest texts, of as many"
    shown = _table(result, title, ("top opening", "entropy", "nearest ROUGE-L"), cells)
    return f"{shown}\n\n{fill('top openings: ' + ', '.join(named))}"


def _drift(result: Evaluation) -> str:
    rows = [
        (name, figure(found.words_mean, 1), figure(found.words_distance), figure(found.vocabulary))
        for name, line in _lines(result)
        if (found := line.drift) is not None
    ]
    title = "drift from the real texts, and of one half of these from the other"
    return titled(title, ("source", "longer by, words", "length (KS)", "vocabulary (JS)"), rows)


def leakage_text(overlaps: Sequence[Overlap]) -> str:
    """Texts that are on both sides, with some examples."""
    rows = [
        (clipped(f"{each.name} in {each.other}"), f"{each.of:,}", f"{each.exact:,}", f"{each.near:,}")
        for each in overlaps
    ]
    title = "overlap: the same text, or one with a ROUGE-L above 0.7"
    lines = [titled(title, ("texts", "of", "same", "near"), rows)]
    shown = [
        f"{clipped(each.name)} in {each.other} ({example.score:.2f}): {clipped(example.text)} | {clipped(example.other)}"
        for each in overlaps
        for example in each.examples[:1]
    ]
    return "\n\n".join([*lines, *(["\n".join(map(fill, shown[:EXAMPLES]))] if shown else [])])


def clipped(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= CLIP else f"{line[:CLIP]}…"
