"""Several sets of synthetic texts side by side, and the real texts as the line that they are compared with.

    compare({"simple": simple, "grounded": grounded}, real)  ->  Evaluation(sources=(Line("simple", …), …), real=…, …)

What cannot be measured is left out with a note that says why; what rests on few texts is measured with a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Final, TypeVar

import msgspec

from factory.errors import UserError
from factory.evaluation.believability import Believability, believability, training_sizes
from factory.evaluation.bootstrap import RESAMPLES
from factory.evaluation.diversity import Diversity, diversity
from factory.evaluation.downstream import DRAWS, Utility, majority, utility
from factory.evaluation.drift import Drift, drift, drift_of_real
from factory.evaluation.leakage import Overlap, overlap
from factory.evaluation.texts import Text, by_source, grounds_of, held_out

REAL: Final = "real"
TEST: Final = "test"
GROUNDS: Final = "grounds"
HELD_OUT: Final = 0.3
SMALL: Final = 100
SMALL_CLASS: Final = 10
FEWEST: Final = 2
COMPARABLE: Final = 10  # texts of a set that is compared with larger ones

_Measured = TypeVar("_Measured")


class Line(msgspec.Struct, frozen=True):
    """What was measured of one set of texts; None where it could not be.

    Attributes:
        name: Of the set.
        texts: How many there are.
        classes: Texts of each class.
        utility: Of a classifier that is trained on it.
        believability: By held-out discriminators; None of real texts, whose shares stand beside each set's.
        diversity: At equal size.
        drift: From the real texts; of these, of one half from the other.
    """

    name: str
    texts: int
    classes: dict[str, int]
    utility: Utility | None = None
    believability: Believability | None = None
    diversity: Diversity | None = None
    drift: Drift | None = None


class Evaluation(msgspec.Struct, frozen=True):
    """Sets of synthetic texts, compared.

    Attributes:
        sources: A line for each set.
        real: The line of the real texts.
        majority: Utility of naming the most frequent class of the real texts.
        test: Texts that were tested on; 0 if none.
        leakage: What is on both sides of a test.
        notes: What to know before believing a figure.
    """

    sources: tuple[Line, ...]
    real: Line
    majority: Utility | None
    test: int
    leakage: tuple[Overlap, ...]
    notes: tuple[str, ...]


def compare(
    sources: Mapping[str, Sequence[Text]],
    real: Sequence[Text],
    test: Sequence[Text] | None = None,
    *,
    draws: int = DRAWS,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Measure each set.

    Args:
        sources: Synthetic texts by the name of their set; those with a `ground` name a real text by its id.
        real: Real texts; those without label are compared, but nothing is trained to name classes.
        test: Real texts to test classifiers on; by default 30 % of the others, by hash, without grounds.
        draws: Samples that a classifier is trained on.
        resamples: Of each bootstrap.

    Raises:
        UserError: If a set is empty or has but one text, or is called as the real texts are.
    """
    for taken in sources.keys() & {REAL, TEST, GROUNDS}:
        raise UserError(f"a set is called '{taken}', as texts to compare with are; rename that source or value.")
    notes: list[str] = []
    sources = comparable(sources, notes)
    for name, texts in {**sources, REAL: real}.items():
        if len(texts) < FEWEST:
            raise UserError(f"{name}: expected at least {FEWEST} texts, found {len(texts)}.")
    return _Comparison(sources, real, test, draws, resamples, notes).evaluation()


def comparable(sources: Mapping[str, Sequence[Text]], notes: list[str]) -> Mapping[str, Sequence[Text]]:
    """The sets without those that are tiny beside others: all are measured at the size of the smallest."""
    if max(map(len, sources.values()), default=0) < COMPARABLE:
        return sources
    rare = [name for name, texts in sources.items() if len(texts) < COMPARABLE]
    notes += [
        f"{name}: {len(sources[name]):,} texts are too few beside sets of {COMPARABLE} and more; left out."
        for name in rare
    ]
    return {name: texts for name, texts in sources.items() if name not in rare}


def class_counts(texts: Sequence[Text]) -> dict[str, int]:
    """Texts of each class."""
    return dict(sorted(Counter(each.label for each in texts if each.label).items()))


def size_notes(sets: Mapping[str, Sequence[Text]], tested: Mapping[str, Sequence[Text]]) -> list[str]:
    """What to know of small sets, of those that are compared and those that are tested on."""
    notes = []
    smallest = min(sets, key=lambda name: len(sets[name]))
    if len(sets[smallest]) < SMALL and len(sets) > FEWEST:
        notes.append(
            f"every set is measured at {len(sets[smallest])} texts, as '{smallest}' has no more; leave that "
            "one out for sharper figures of the others."
        )
    for name, texts in {**sets, **tested}.items():
        groups = len({each.group for each in texts})
        if groups < SMALL:
            counted = f"n = {len(texts)}" + (f" from {groups} sources" if groups < len(texts) else "")
            notes.append(f"{name}: {counted}: figures and intervals say little.")
        notes += [
            f"{name}: the class '{label}' has {count} texts: macro-F1 says little."
            for label, count in class_counts(texts).items()
            if count < SMALL_CLASS
        ]
    return notes


def untestable(real: Sequence[Text], test: Sequence[Text]) -> str:
    """Why no classifier can be tested on these texts; empty if one can."""
    bare = sum(not each.label for each in (*real, *test))
    if bare:
        return f"utility is not measured: {bare:,} real or test texts have no label."
    classes = sorted({each.label for each in test})
    return "" if len(classes) > 1 else f"utility is not measured: all test texts are of the class '{classes[0]}'."


class _Comparison:
    """The texts with their groups, the sizes at which sets are equal, and the notes made on the way."""

    def __init__(
        self,
        sources: Mapping[str, Sequence[Text]],
        real: Sequence[Text],
        test: Sequence[Text] | None,
        draws: int,
        resamples: int,
        notes: Sequence[str],
    ) -> None:
        self._draws, self._resamples = draws, resamples
        self._notes = list(notes)
        ids = {each.id for each in real}
        grounds = {ground for texts in sources.values() for each in texts for ground in grounds_of(each, ids)}
        # All at once, so that what one set ties together is together everywhere.
        grouped, made = by_source(real, [*chain.from_iterable(sources.values()), *(test or [])])
        rest = iter(made)
        self._sources = {name: list(islice(rest, len(texts))) for name, texts in sources.items()}
        test = None if test is None else list(rest)
        self._grounds = [each for each in grouped if each.id in grounds]
        if grounds and not self._grounds:
            self._notes.append(
                f"none of the {len(grounds):,} sources that the synthetic texts name is among the real texts: if they were "
                "made from these, believability is too high; name the file that they were made from, as it was."
            )
        self._real, self._test = self._split(grouped, test)
        self._testable = self._is_testable()

    def _split(self, real: list[Text], test: Sequence[Text] | None) -> tuple[list[Text], list[Text]]:
        """Real texts to train with, and those to test on."""
        if test is not None:
            return real, list(test)
        if not any(each.label for each in real):
            return real, []
        rest, out = held_out(real, {each.group for each in self._grounds}, HELD_OUT)
        if len(out) < FEWEST or len(rest) < FEWEST:
            self._notes.append(
                f"utility is not measured: of {len(real):,} real texts {len(self._grounds):,} served as grounds, and too "
                "few are left to be held out; name test texts."
            )
            return real, []
        grounds = (
            f"none of the {len(self._grounds):,} that served as grounds"
            if self._grounds
            else "and no synthetic text names its ground, so that some of these may have served as one"
        )
        self._notes.append(
            f"no test texts are named: {len(out):,} of {len(real):,} real texts were held out by hash, {grounds}; the "
            f"other figures rest on the other {len(rest):,}."
        )
        return rest, out

    def evaluation(self) -> Evaluation:
        """Everything, measured."""
        everything = {**self._sources, REAL: self._real}
        self._notes += size_notes(everything, {TEST: self._test} if self._test else {})
        size = min(map(len, everything.values()))
        lines = {name: self._line(name, texts, size) for name, texts in everything.items()}
        test = self._test
        lowest = majority(self._real, test, resamples=self._resamples) if self._testable else None
        real = lines.pop(REAL)
        return Evaluation(
            tuple(lines.values()), real, lowest, len(test), tuple(self._leakage()), tuple(dict.fromkeys(self._notes))
        )

    def _line(self, name: str, texts: list[Text], size: int) -> Line:
        distance = max(1, min(size, len(self._real) // 2))
        is_real = name == REAL
        return Line(
            name,
            len(texts),
            class_counts(texts),
            self._utility(name, texts, size),
            None if is_real else self._tried(name, lambda: self._believability(texts)),
            diversity(texts, size=size),
            drift_of_real(texts, size=distance, resamples=self._resamples)
            if is_real
            else drift(self._real, texts, size=distance, resamples=self._resamples),
        )

    def _is_testable(self) -> bool:
        """Whether classifiers can be tested; a note says why not, unless no real text has a class."""
        if not self._test:
            return False
        why = untestable(self._real, self._test)
        self._notes += [why] if why else []
        return not why

    def _utility(self, name: str, texts: list[Text], size: int) -> Utility | None:
        if not self._testable:
            return None
        if not any(each.label for each in texts):
            self._notes.append(f"{name}: utility is not measured: the texts have no labels.")
            return None
        return self._tried(
            name, lambda: utility(texts, self._test, size=size // 2, draws=self._draws, resamples=self._resamples)
        )

    def _believability(self, texts: list[Text]) -> Believability:
        """With discriminators trained on as many texts as the smallest set allows."""
        sizes = []
        for other in self._sources.values():
            try:
                sizes.append(min(training_sizes(self._real, other)))
            except UserError:  # noted where that set is measured
                continue
        return believability(self._real, texts, size=min(sizes, default=None), resamples=self._resamples)

    def _tried(self, name: str, measure: Callable[[], _Measured]) -> _Measured | None:
        """The figures, or a note on why there are none."""
        try:
            return measure()
        except UserError as error:
            self._notes.append(f"{name}: {error}")
            return None

    def _leakage(self) -> list[Overlap]:
        """Overlaps that make figures better than they are, then what was copied from real texts."""
        found = []
        if self._test:
            found += [overlap(name, texts, TEST, self._test) for name, texts in self._sources.items()]
            found.append(overlap(REAL, self._real, TEST, self._test))
            if self._grounds:
                found.append(overlap(GROUNDS, self._grounds, TEST, self._test))
        return [*found, *(overlap(name, texts, REAL, self._real) for name, texts in self._sources.items())]
