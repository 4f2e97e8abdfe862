"""Which texts are on both sides of a test?

    overlap("synthetic", synthetic, "test", test)
    -> Overlap(exact=2, near=5, of=10_000, examples=(Example(text="…", other="…", score=1.0), …))

A text that was trained on and is tested on makes a figure better than it is. Texts count as the same without case,
white space and compatibility forms, and as near from a ROUGE-L above 0.7 on, as in the novelty test of Self-Instruct.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from factory.classifiers.crossfit import form
from factory.evaluation.texts import Text
from factory.novelty import RougeLPool

THRESHOLD: Final = 0.7
SHOWN: Final = 3


class Example(msgspec.Struct, frozen=True):
    """A text and the one on the other side that it repeats.

    Attributes:
        text: The text.
        other: What it repeats.
        score: ROUGE-L F-measure; 1 for the same text.
    """

    text: str
    other: str
    score: float


class Overlap(msgspec.Struct, frozen=True):
    """What two sets of texts share.

    Attributes:
        name: Of the set whose texts are counted.
        other: Of the set that they are looked for in.
        of: Texts of the first set.
        exact: How many of them are in the other set.
        near: How many others are nearly in it.
        examples: Some of them, the exact ones first.
    """

    name: str
    other: str
    of: int
    exact: int
    near: int
    examples: tuple[Example, ...] = ()


def overlap(name: str, texts: Sequence[Text], other: str, others: Sequence[Text]) -> Overlap:
    """Count the texts of one set that are in the other, exactly or nearly."""
    exact, near = repeated(texts, others)
    return Overlap(name, other, len(texts), len(exact), len(near), tuple([*exact, *near][:SHOWN]))


def repeated(texts: Sequence[Text], others: Sequence[Text]) -> tuple[list[Example], list[Example]]:
    """The texts of one set that are in the other, and those that nearly are."""
    known: dict[str, str] = {}
    for each in others:
        known.setdefault(form(each.text), each.text)
    exact = [Example(each.text, known[form(each.text)], 1.0) for each in texts if form(each.text) in known]
    return exact, _near([each.text for each in texts if form(each.text) not in known], list(known.values()))


def _near(texts: list[str], others: list[str]) -> list[Example]:
    """Those of the texts whose nearest neighbour is above the threshold, the nearest first."""
    if not texts or not others:
        return []
    pool = RougeLPool()
    pool.extend(others)
    pool.expect(len(texts))
    encoded = pool.encode(texts)
    found: list[Example] = []
    for first in range(0, len(texts), pool.block):
        block = np.arange(first, min(first + pool.block, len(texts)))
        nearest, score = pool.above(texts, encoded, THRESHOLD, block)
        found += [
            Example(texts[place], pool.text(int(nearest[place])), float(score[place]))
            for place in block.tolist()
            if nearest[place] >= 0
        ]
    return sorted(found, key=lambda each: -each.score)
