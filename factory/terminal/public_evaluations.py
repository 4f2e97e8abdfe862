"""What `factory evaluate` prints where real texts may not be shown: tables that fit 80 columns, what is private last.

source  epsilon   texts  macro-F1           accuracy
------  --------  -----  -----------------  -----------------
eps8    8           500  0.71 [0.68, 0.74]  0.72 [0.69, 0.75]
inf     infinite    500  0.74 [0.71, 0.77]  0.75 [0.72, 0.78]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from factory.evaluation.bootstrap import Figure
from factory.evaluation.downstream import Utility
from factory.evaluation.private import Diagnostics, Nearness
from factory.evaluation.public import PublicEvaluation, PublicLine
from factory.privacy.claim import Claim, shown
from factory.privacy.section import contradicted
from factory.terminal.evaluations import (
    EXAMPLES,
    INTERVALS,
    MAJORITY,
    clipped,
    figure,
    leakage_text,
    only_printable,
    titled,
)
from factory.terminal.layout import fill

PUBLIC = "public test texts"
HEADING = "diagnostics, private: not for the card"
NO_CLAIM = "none"


def public_evaluation_text(result: PublicEvaluation) -> str:
    """Every table that has something to show, claims and notes, and then what is private."""
    parts = [
        *_utilities(result),
        _classes(result),
        "\n".join(fill(each) for each in _claims(result)),
        _diversity(result),
        _drift(result),
        leakage_text(result.leakage),
        INTERVALS,
        "\n".join(fill(f"note: {note}") for note in result.notes),
        "" if result.private is None else _diagnostics(result.private),
    ]
    return only_printable("\n\n".join(part for part in parts if part))


def epsilon_text(claims: Sequence[Claim]) -> str:
    """The epsilons of a run, added up where several steps have learnt from private texts; `-` where none has.

    >>> epsilon_text([])
    '-'
    """
    stated = [NO_CLAIM if _is_void(claim) else shown(claim.epsilon) for claim in claims]
    return " + ".join(stated) or "-"


def _is_void(claim: Claim) -> bool:
    """Whether there is no bound though a number is stated: noise that can be repeated, or an audit that found more."""
    return (not claim.private and claim.epsilon is not None) or contradicted(claim) is not None


def _utilities(result: PublicEvaluation) -> list[str]:
    if result.majority is None:
        return []
    title = f"utility at equal size: of classifiers tested on {result.test.texts:,} public texts"
    return [
        _utility(result, title, lambda line: line.equal),
        _utility(result, "utility of all texts of each", lambda line: line.whole),
    ]


def _utility(result: PublicEvaluation, title: str, part: Callable[[PublicLine], Utility | None]) -> str:
    rows = [(clipped(line.name), epsilon_text(line.claims), *utility_cells(part(line))) for line in result.sources]
    rows.append((MAJORITY, "-", *utility_cells(result.majority)))
    return titled(title, ("source", "epsilon", "texts", "macro-F1", "accuracy"), rows)


def utility_cells(found: Utility | None) -> tuple[str, str, str]:
    """Size, macro-F1 and accuracy."""
    if found is None:
        return "-", "-", "-"
    return f"{found.trained_on:,}" if found.trained_on else "-", figure(found.macro_f1), figure(found.accuracy)


def _lines(result: PublicEvaluation) -> list[tuple[str, PublicLine]]:
    return [*((clipped(line.name), line) for line in result.sources), (PUBLIC, result.test)]


def _classes(result: PublicEvaluation) -> str:
    """Shares of the classes: those of a run may be others than those of the world."""
    found = []
    for name, line in _lines(result):
        shares = ", ".join(f"{clipped(label)} {count / line.texts:.0%}" for label, count in line.classes.items())
        found.append(f"{name}: {shares or 'none'}")
    return fill("classes: " + "; ".join(found))


def _claims(result: PublicEvaluation) -> list[str]:
    return [
        f"privacy: {clipped(line.name)}, step {claim.step}: this is {claim.sentence}{_audited(claim)}."
        for line in result.sources
        for claim in line.claims
    ]


def _audited(claim: Claim) -> str:
    audit = contradicted(claim)
    return "" if audit is None else f"; but an audit found epsilon to be at least {audit.lower_bound:.2f}"


def _table(
    result: PublicEvaluation, title: str, headings: Sequence[str], cells: Callable[[PublicLine], Sequence[Figure]]
) -> str:
    rows = [(name, *(figure(each) for each in cells(line))) for name, line in _lines(result)]
    return titled(title, ("source", *headings), rows)


def _diversity(result: PublicEvaluation) -> str:
    def cells(line: PublicLine) -> Sequence[Figure]:
        found = line.diversity
        return (found.distinct_2, found.repeated, found.nearest) if found is not None else ()

    size = min(line.diversity.size for line in result.sources if line.diversity is not None)
    title = f"diversity, of {size:,} texts of each; nearest: mean ROUGE-L to the text most like it"
    return _table(result, title, ("distinct pairs", "repeated", "nearest"), cells)


def _drift(result: PublicEvaluation) -> str:
    def cells(line: PublicLine) -> Sequence[Figure]:
        found = line.drift
        return (found.words_mean, found.words_distance, found.vocabulary) if found is not None else ()

    title = "drift from the public test texts, and of one half of these from the other"
    return _table(result, title, ("longer by, words", "length (KS)", "vocabulary (JS)"), cells)


def _diagnostics(found: Diagnostics) -> str:
    parts = [
        f"{HEADING}\n{'=' * len(HEADING)}",
        _real(found),
        _nearest(found),
        "\n".join(fill(each) for each in _examples(found.nearest)),
        "\n".join(fill(f"note: {note}") for note in found.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def _real(found: Diagnostics) -> str:
    if not found.real:
        return ""
    title = "utility of the private texts: a classifier trained on so many of them"
    rows = [("private texts", *utility_cells(each)) for each in found.real]
    return titled(title, ("source", "texts", "macro-F1", "accuracy"), rows)


def _nearest(found: Diagnostics) -> str:
    names = [*(clipped(each.name) for each in found.nearest[:-1]), f"{PUBLIC} (chance)"]
    pairs = list(zip(names, found.nearest, strict=True))
    whole = titled(
        f"texts that repeat a private one: the same, and the same or with a ROUGE-L above {found.threshold}",
        ("source", "of", "same", "share", "same or near, share"),
        [
            (name, f"{each.of:,}", f"{each.exact:,}", figure(each.exact_share), figure(each.near_share))
            for name, each in pairs
        ],
    )
    rare = titled(
        "texts with a number or an address that just one private text has",
        ("source", "of", "such", "share"),
        [(name, f"{each.of:,}", f"{each.rare:,}", figure(each.rare_share)) for name, each in pairs],
    )
    return f"{whole}\n\n{rare}"


def _examples(nearest: Sequence[Nearness]) -> list[str]:
    """Synthetic texts that repeat private ones; the public texts are left out."""
    return [
        f"{clipped(each.name)} ({example.score:.2f}): {clipped(example.text)}"
        for each in nearest[:-1]
        for example in each.examples[:1]
    ][:EXAMPLES]
