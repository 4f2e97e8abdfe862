"""What private texts say of synthetic ones. All of it is learnt from them without noise: nothing for a card or a report.

    diagnose({"eps8": eps8, "copy": copies}, test, private, size=500)
    -> Diagnostics(real=(Utility(0.89 …), …), nearest=(Nearness("eps8", of=500, exact=0, near=3, rare=1, …), …), …)

Two questions: what would a classifier do that may read the private texts, and are some of them among the synthetic ones? Short
texts are alike by chance, and numbers too, so the public test texts, which nobody made from the private ones, are looked up as
well: each text is looked up by itself, so shares of sets of different sizes can be compared. A share above that chance is
reason to look; none above it is no proof of anything, as what is told in other words is not found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from factory.classifiers.crossfit import form
from factory.errors import UserError
from factory.evaluation.bootstrap import RESAMPLES, Figure, share
from factory.evaluation.compare import FEWEST, TEST, untestable
from factory.evaluation.downstream import DRAWS, Utility, utility
from factory.evaluation.leakage import THRESHOLD, Example, repeated
from factory.evaluation.texts import Text, by_source

SHOWN: Final = 3
DIGITS: Final = 5
_MARKS: Final = ".,;:!?()[]{}<>'\"#*_"


class Nearest(msgspec.Struct, frozen=True):
    """A synthetic text that repeats a private one, which is not shown.

    Attributes:
        text: The synthetic text.
        score: ROUGE-L F-measure; 1 for the same text.
    """

    text: str
    score: float


class Nearness(msgspec.Struct, frozen=True):
    """How many texts of a set have a private text that they repeat.

    Attributes:
        name: Of the set.
        of: Its texts.
        exact: How many of them are private texts, but for case and white space.
        near: How many others have a private text with a ROUGE-L above 0.7.
        rare: How many have a number or an address that just one private text has.
        exact_share: Share of the exact ones.
        near_share: Share of those that are exact or near.
        rare_share: Share of those with a rare string.
        examples: Some that are exact or near, the exact ones first.
    """

    name: str
    of: int
    exact: int
    near: int
    rare: int
    exact_share: Figure
    near_share: Figure
    rare_share: Figure
    examples: tuple[Nearest, ...] = ()


class Diagnostics(msgspec.Struct, frozen=True):
    """What private texts say; not for the card.

    Attributes:
        texts: Private texts.
        real: Utility of draws of half of the smallest synthetic set, of as many as that set has, and of all.
        nearest: Of each set, then of the public test texts: what chance does.
        threshold: ROUGE-L above which texts count as near.
        notes: What to know before believing a figure.
    """

    texts: int
    real: tuple[Utility, ...]
    nearest: tuple[Nearness, ...]
    threshold: float
    notes: tuple[str, ...]


def diagnose(
    sources: Mapping[str, Sequence[Text]],
    test: Sequence[Text],
    private: Sequence[Text],
    *,
    size: int,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> Diagnostics:
    """Measure with private texts.

    Args:
        sources: Synthetic texts by the name of their set.
        test: Public texts, of the same kind and not made from the private ones.
        private: The private texts.
        size: Texts of the smallest synthetic set.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.

    Raises:
        UserError: If there are fewer than two private texts.
    """
    if len(private) < FEWEST:
        raise UserError(f"--private: expected at least {FEWEST} texts, found {len(private)}.")
    notes: list[str] = []
    nearest = [nearness(name, texts, private, resamples=resamples) for name, texts in {**sources, TEST: test}.items()]
    if nearest[-1].exact:
        notes.append(
            f"{nearest[-1].exact:,} of {len(test):,} public test texts are private texts too: the figures of real texts "
            "are too good and the share of chance is too high; take them out of the test."
        )
    real = _real(test, private, (size // 2, size, len(private)), draws, resamples, notes)
    return Diagnostics(len(private), real, tuple(nearest), THRESHOLD, tuple(notes))


def nearness(name: str, texts: Sequence[Text], private: Sequence[Text], *, resamples: int = RESAMPLES) -> Nearness:
    """Look each text up among the private ones."""
    exact, near = repeated(texts, private)
    forms = [form(each.text) for each in texts]
    rare = _rare(private)
    has_rare = [not rare.isdisjoint(identifiers(each.text)) for each in texts]

    def shared(examples: Sequence[Example]) -> Figure:
        hits = {form(each.text) for each in examples}
        return share([each in hits for each in forms], forms, resamples=resamples)

    return Nearness(
        name,
        len(texts),
        len(exact),
        len(near),
        sum(has_rare),
        exact_share=shared(exact),
        near_share=shared([*exact, *near]),
        rare_share=share(has_rare, forms, resamples=resamples),
        examples=tuple(Nearest(each.text, each.score) for each in [*exact, *near][:SHOWN]),
    )


def identifiers(text: str) -> set[str]:
    """What may name one person or thing: mail addresses, and words with at least five digits.

    >>> sorted(identifiers("Order NT-48213, of 07/03, write to Ines@example.org!"))
    ['ines@example.org', 'nt-48213']
    """
    words = (word.strip(_MARKS).casefold() for word in text.split())
    return {word for word in words if "@" in word[1:-1] or sum(map(str.isdigit, word)) >= DIGITS}


def _rare(texts: Sequence[Text]) -> set[str]:
    """Identifiers that only one text has."""
    counts = Counter(each for text in texts for each in identifiers(text.text))
    return {each for each, count in counts.items() if count == 1}


def _real(
    test: Sequence[Text],
    private: Sequence[Text],
    sizes: Sequence[int],
    draws: int,
    resamples: int,
    notes: list[str],
) -> tuple[Utility, ...]:
    """Classifiers that are trained on private texts."""
    why = untestable(private, test)
    if why:
        notes.append(f"private texts: {why}")
        return ()
    grouped, made = by_source(test, private)
    wanted = sorted({min(size, len(made)) for size in sizes})
    try:
        return tuple(utility(made, grouped, size=size, draws=draws, resamples=resamples) for size in wanted)
    except UserError as error:
        notes.append(f"private texts: {error}")
        return ()
