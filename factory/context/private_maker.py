"""What the loop of the methods that learn private texts hands to a kind of training, and wants of it.

maker.fit(Training(texts=…, heads=heads_of(options, head), noise_multiplier=0.6, …), say)     ->  bytes to keep
maker.writer(trained, 1000).draw(["billing"], [11], Sampling(max_tokens=64))                  ->  [Drawn("You charged …", …)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from factory.context.private_options import PrivateTextOptions
from factory.engines.protocol import Sampling
from factory.errors import OptionError
from factory.privacy.ledger import Ledger
from factory.privacy.randomness import Randomness
from factory.privacy.tuned.drawing import Drawn
from factory.prompts import Prompt
from factory.recipe.private import PrivateText

if TYPE_CHECKING:
    from factory.privacy.fitting import Report  # imports torch

Say = Callable[[str], None]


class Writer(Protocol):
    """Writes texts with what was trained."""

    def draw(self, labels: Sequence[str], seeds: Sequence[int], sampling: Sampling) -> list[Drawn]:
        """One text for each class and seed."""

    def close(self) -> None:
        """Free the model."""


class Head(NamedTuple):
    """What the model reads before a text.

    Attributes:
        messages: Role and content, for models that know the form of a chat.
        text: For all others.
    """

    messages: list[list[str]]
    text: str


@dataclass(frozen=True)
class Training:
    """What a method is to train.

    Attributes:
        texts: The private texts, canaries among them.
        heads: What the model reads before a text of each class; `{"": …}` without classes.
        noise_multiplier: 0 for none.
        sample_rate: Probability that a text takes part in a step.
        expected_batch: Texts that a step reads on average, by the public size.
        ledger: Who pays.
        run: Id of the run there.
        randomness: Where samples and noise come from.
        folder: For checkpoints.
        steps: 0 trains nothing and gives what there is at first.
        seed: For public choices, such as initial weights.
    """

    texts: Sequence[PrivateText]
    heads: Mapping[str, Head]
    noise_multiplier: float
    sample_rate: float
    expected_batch: float
    ledger: Ledger
    run: str
    randomness: Randomness
    folder: Path | None
    steps: int
    seed: int


class Maker(Protocol):
    """A kind of training, with its options."""

    @property
    def learns(self) -> dict[str, Any]:
        """Everything that decides what is learnt, besides texts, heads, noise and seed; with a version of its code."""

    def fit(self, training: Training, say: Say) -> bytes:
        """Train; gives what is to be kept, with `about` in it."""

    def about(self, trained: bytes) -> Report:
        """What is public of it."""

    def writer(self, trained: bytes, count: int) -> Writer:
        """Load it to write so many texts."""

    def save(self, trained: bytes, folder: Path) -> None:
        """Write what was trained as files."""


def heads_of(options: PrivateTextOptions, head: Prompt) -> dict[str, Head]:
    """What the model reads before a text of each class."""
    found: dict[str, Head] = {}
    for label, description in (options.classes or {"": ""}).items():
        values = {"task": options.task, "label": label, "description": description}
        text = head.render(values, chat=False).text or ""
        found[label] = Head(
            [[message.role, message.content] for message in head.render(values, chat=True).messages], text
        )
    if len({each.text for each in found.values()}) < len(found):
        raise OptionError("classes", "two classes have the same head, so that the model cannot tell them apart.")
    return found
