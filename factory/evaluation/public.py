"""Sets of synthetic texts beside each other on a public test set, where the real texts may not be shown.

    compare_public({"eps8": eps8, "inf": inf, "zero": zero}, test)
    -> PublicEvaluation(sources=(PublicLine("eps8", equal=Utility(0.71 …), whole=Utility(0.74 …), …), …), majority=…, …)

Nothing here sees a private text: classifiers are trained on synthetic texts and tested on public ones, and the drift is that
from the public texts. So all of it may stand in a card. What the private texts would say is in `factory.evaluation.private`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import TypeVar

import msgspec

from factory.errors import UserError
from factory.evaluation.bootstrap import RESAMPLES
from factory.evaluation.compare import FEWEST, TEST, class_counts, comparable, size_notes, untestable
from factory.evaluation.diversity import Diversity, diversity
from factory.evaluation.downstream import DRAWS, Utility, majority, utility
from factory.evaluation.drift import Drift, drift, drift_of_real
from factory.evaluation.leakage import Overlap, overlap
from factory.evaluation.private import Diagnostics
from factory.evaluation.texts import Text, by_source
from factory.privacy.claim import Claim

_Measured = TypeVar("_Measured")


class PublicLine(msgspec.Struct, frozen=True):
    """What was measured of one set of texts; None where it could not be.

    Attributes:
        name: Of the set.
        texts: How many there are.
        classes: Texts of each class.
        claims: What its run claims of its privacy; empty where it claims nothing.
        equal: Utility of draws of half of the smallest set.
        whole: Utility of all its texts.
        diversity: At equal size.
        drift: From the public texts; of these, of one half from the other.
    """

    name: str
    texts: int
    classes: dict[str, int]
    claims: tuple[Claim, ...] = ()
    equal: Utility | None = None
    whole: Utility | None = None
    diversity: Diversity | None = None
    drift: Drift | None = None


class PublicEvaluation(msgspec.Struct, frozen=True):
    """Sets of synthetic texts, compared on public texts.

    Attributes:
        sources: A line for each set.
        test: The line of the public texts; nothing is trained on them.
        majority: Utility of naming the most frequent class of the public texts.
        leakage: Texts of each set that are among the public ones.
        notes: What to know before believing a figure.
        private: What the private texts say; never for a card.
    """

    sources: tuple[PublicLine, ...]
    test: PublicLine
    majority: Utility | None
    leakage: tuple[Overlap, ...]
    notes: tuple[str, ...]
    private: Diagnostics | None = None


def compare_public(
    sources: Mapping[str, Sequence[Text]],
    test: Sequence[Text],
    claims: Mapping[str, Sequence[Claim]] | None = None,
    *,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> PublicEvaluation:
    """Measure each set.

    Args:
        sources: Synthetic texts by the name of their set.
        test: Public texts, of which none was shown to what made the sets.
        claims: What the run of a set claims of its privacy, by the name of the set.
        draws: Samples that a classifier is trained on at equal size.
        resamples: Of each bootstrap.

    Raises:
        UserError: If a set is empty or has but one text, or is called as the public texts are.
    """
    if TEST in sources:
        raise UserError(f"a set is called '{TEST}', as the texts to test on are; rename that source or value.")
    notes: list[str] = []
    sources = comparable(sources, notes)
    for name, texts in {**sources, TEST: test}.items():
        if len(texts) < FEWEST:
            raise UserError(f"{name}: expected at least {FEWEST} texts, found {len(texts)}.")
    return _PublicComparison(sources, test, claims or {}, draws, resamples, notes).evaluation()


def equal_size(sources: Mapping[str, Sequence[Text]]) -> int:
    """Texts of the smallest set that is measured."""
    return min(map(len, comparable(sources, []).values()))


class _PublicComparison:
    """The texts with their groups, the size at which sets are equal, and the notes made on the way."""

    def __init__(
        self,
        sources: Mapping[str, Sequence[Text]],
        test: Sequence[Text],
        claims: Mapping[str, Sequence[Claim]],
        draws: int,
        resamples: int,
        notes: list[str],
    ) -> None:
        self._claims, self._draws, self._resamples, self._notes = claims, draws, resamples, notes
        self._test, made = by_source(test, chain.from_iterable(sources.values()))
        rest = iter(made)
        self._sources = {name: list(islice(rest, len(texts))) for name, texts in sources.items()}
        self._size = equal_size(self._sources)
        # Drift is measured at equal size, that of the halves of the public texts too.
        self._half = max(1, min(self._size, len(self._test) // 2))

    def evaluation(self) -> PublicEvaluation:
        """Everything, measured."""
        self._notes += size_notes(self._sources, {TEST: self._test})
        why = untestable((), self._test)
        self._notes += [why] if why else []
        lines = tuple(self._line(name, texts, testable=not why) for name, texts in self._sources.items())
        return PublicEvaluation(
            lines,
            self._test_line(),
            None if why else majority(self._test, self._test, resamples=self._resamples),
            tuple(overlap(name, texts, TEST, self._test) for name, texts in self._sources.items()),
            tuple(dict.fromkeys(self._notes)),
        )

    def _test_line(self) -> PublicLine:
        return PublicLine(
            TEST,
            len(self._test),
            class_counts(self._test),
            diversity=diversity(self._test, size=self._size),
            drift=drift_of_real(self._test, size=self._half, resamples=self._resamples),
        )

    def _line(self, name: str, texts: list[Text], *, testable: bool) -> PublicLine:
        testable = testable and any(each.label for each in texts)
        if not any(each.label for each in texts):
            self._notes.append(f"{name}: utility is not measured: the texts have no labels.")
        return PublicLine(
            name,
            len(texts),
            class_counts(texts),
            tuple(self._claims.get(name, ())),
            self._utility(name, texts, self._size // 2) if testable else None,
            self._utility(name, texts, len(texts)) if testable else None,
            diversity(texts, size=self._size),
            drift(self._test, texts, size=self._half, resamples=self._resamples),
        )

    def _utility(self, name: str, texts: list[Text], size: int) -> Utility | None:
        return tried(
            self._notes,
            name,
            lambda: utility(texts, self._test, size=size, draws=self._draws, resamples=self._resamples),
        )


def tried(notes: list[str], name: str, measure: Callable[[], _Measured]) -> _Measured | None:
    """The figures, or a note on why there are none."""
    try:
        return measure()
    except UserError as error:
        notes.append(f"{name}: {error}")
        return None
