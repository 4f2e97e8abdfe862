"""Canaries: made-up texts of which some take part in a training, to see afterwards what the trained thing remembers.

    draw(100, SecureRandomness())    ->  [Canary("tulip anchor fox ledge brass melon cradle iris", included=True), …]
    exposure([3.1], [4.0, 3.9, …])   ->  [6.6]      bits: lower in loss than all of 99 texts that took no part

Random words from a list of our own say nothing of anybody. Whether one takes part is a fair coin of the operating system, so
that the same bound holds as for the audit of gradients (`one_run`); it is far weaker here, as only losses are seen. The
exposure is that of Carlini et al. 2019 (arXiv 1802.08232, section 4.2), by the rank among texts of the same kind.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from factory.errors import UserError
from factory.privacy.one_run import CONFIDENCE, Bound, bound, guess_counts
from factory.privacy.randomness import Randomness
from factory.resources import resource

FILE = "canaries.json"
WORDS = "seeds/canary_words.txt"
LENGTH = 8


class Canary(msgspec.Struct, frozen=True):
    """A made-up text.

    Attributes:
        text: Words at random.
        included: Whether it was trained on: the auditor's secret, which is never published.
        label: Its class, `""` where there are none.
    """

    text: str
    included: bool
    label: str = ""


def draw(count: int, randomness: Randomness, labels: Sequence[str] = ()) -> list[Canary]:
    """Canaries, no two alike, each with a coin of its own.

    Args:
        count: How many.
        randomness: Where words, classes and coins come from.
        labels: Classes to draw from, all as likely.
    """
    texts: dict[str, None] = {}
    words = _words()
    while len(texts) < count:
        texts[" ".join(words[place] for place in _places(LENGTH, len(words), randomness))] = None
    classes = [labels[place] for place in _places(count, len(labels), randomness)] if labels else [""] * count
    coins = randomness.uniforms(count) < 0.5
    return [Canary(text, bool(coin), label) for text, coin, label in zip(texts, coins, classes, strict=True)]


def exposure(losses_of_canaries: Sequence[float], losses_of_references: Sequence[float]) -> list[float]:
    """Exposure of each canary in bits: from 0 for one like any other to log2(references + 1) for one below them all.

    Args:
        losses_of_canaries: Of texts that took part.
        losses_of_references: Of texts of the same kind that took no part. One with the same loss counts as lower.

    Raises:
        ValueError: If there is no reference, or a loss is not a number.

    >>> exposure([0.5, 2.5, 9.0], [1.0, 2.0, 3.0])
    [2.0, 0.4150374992788439, 0.0]
    """
    if not len(losses_of_references) or not np.isfinite([*losses_of_canaries, *losses_of_references]).all():
        raise ValueError("expected finite losses, and at least one of a reference")
    ordered = np.sort(np.asarray(losses_of_references, dtype=np.float64))
    ranks = 1 + np.searchsorted(ordered, np.asarray(losses_of_canaries, dtype=np.float64), side="right")
    return [math.log2((len(ordered) + 1) / rank) for rank in ranks]


def canary_bound(
    scores: Sequence[float],
    included: Sequence[bool],
    delta: float,
    *,
    share: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Bound:
    """Lower bound of epsilon from what the trained thing shows of each canary.

    Args:
        scores: The higher, the more likely it took part, e.g. minus the loss; computed without its coin.
        included: The coins.
        delta: Of the claim.
        share: Chance that one that was to take part was ever sampled.
        confidence: That the bound holds.
    """
    ways = guess_counts(len(scores), share)
    values, coins = np.asarray(scores, dtype=np.float64), np.asarray(included, dtype=np.bool_)
    return bound(values, coins, delta=delta, guesses=ways, confidence=confidence)


def encoded(canaries: Sequence[Canary]) -> bytes:
    """The auditor's file `canaries.json`."""
    return msgspec.json.encode(list(canaries))


def decoded(content: bytes) -> list[Canary]:
    """The canaries of such a file.

    Raises:
        msgspec.DecodeError: If it is none.
    """
    return msgspec.json.decode(content, type=list[Canary])


def _places(count: int, below: int, randomness: Randomness) -> list[int]:
    return [int(place) for place in np.floor(randomness.uniforms(count) * below)]


@functools.cache
def _words() -> tuple[str, ...]:
    path = resource(WORDS)
    if path is None:
        raise UserError(f"{WORDS}: not found; install the factory again.")
    return tuple(path.read_text(encoding="utf-8").split())
