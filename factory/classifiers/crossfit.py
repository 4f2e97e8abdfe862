"""Cross-fitting: every text is judged by a classifier that has seen nothing of its source.

    examples = [Example("Oh great, rain.", "sarcastic", "5f0c", real=True),       # a real text, with its id
                Example("Oh joy, more rain.", "sarcastic", "5f0c", real=False)]   # what was made of it
    assign(examples, 5) -> [3, 3]

Folds are drawn by a hash of the source, so a fold does not depend on what else there is. Texts of one source fall into
one fold, and so do equal texts (but for case and white space), whatever their sources: sources that share a text are
one. A text without a source is its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from factory.errors import UserError
from factory.novelty.tokenizers import tokenize
from factory.records import digest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Say = Callable[[str], None]

LEAST: Final = 2  # real and synthetic texts of a class that each classifier has to be trained on
DIGITS: Final = 6  # of a probability that is kept


class Example(NamedTuple):
    """A text to learn from and to judge.

    Attributes:
        text: The text, not empty.
        label: Its class.
        source: Id of the real text that it is or was made from; empty if there is none.
        real: Whether it is real.
        more: Ids of further real texts that it was made from.
    """

    text: str
    label: str
    source: str
    real: bool
    more: tuple[str, ...] = ()


class BackEnd(Protocol):
    """What learns to tell real from synthetic texts."""

    def prepare(self, texts: Sequence[str], say: Say) -> None:
        """Take the texts that are later named by their place; nothing is learned."""

    def scores(self, train: Ints, real: Bools, weights: Floats, test: Ints, say: Say) -> Floats:
        """Train anew, and give the probability of being real: [test].

        Args:
            train: Places of the texts to learn from.
            real: Which of them are real: [train].
            weights: How much each of them counts, 1 on average: [train].
            test: Places of the texts to judge.
            say: Told how far it is.
        """


def form(text: str) -> str:
    """The form in which texts count as the same: without case, punctuation, white space and compatibility forms.

    >>> form("It’s  ＣＯＬＤ, again!") == form("it's cold again")
    True
    """
    return " ".join(tokenize(text, "unicode")) or text.strip()


def assign(examples: Sequence[Example], folds: int) -> Ints:
    """Fold of each example, from 0: [examples]."""
    joined = Joined()
    nodes = []
    for example in examples:
        text = f"text {digest(form(example.text))}"
        nodes.append(text)
        for source in filter(None, (example.source, *example.more)):
            joined.join(text, f"source {source}")
    # 'source …' sorts before 'text …': a group is named by its sources where it has any, not by what was made of them.
    names: dict[str, str] = {}
    for node in joined.nodes(nodes):
        root = joined.root(node)
        names[root] = min(node, names.get(root, node))
    fold = {name: int(digest("fold", name)[:8], 16) % folds for name in names.values()}
    return np.array([fold[names[joined.root(node)]] for node in nodes], np.int64)


class Joined:
    """Sets that grow together."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, node: str) -> str:
        """The node that stands for the set."""
        found = node
        while (parent := self._parents.get(found, found)) != found:
            found = parent
        while node != found:
            self._parents[node], node = found, self._parents.get(node, found)
        return found

    def join(self, one: str, other: str) -> None:
        """Make one set of two."""
        self._parents.setdefault(one, one)
        self._parents.setdefault(other, other)
        self._parents[self.root(one)] = self.root(other)

    def nodes(self, others: Sequence[str]) -> list[str]:
        """All nodes, and those."""
        return list(dict.fromkeys([*self._parents, *others]))


def require_enough(examples: Sequence[Example], assigned: Ints, folds: int) -> None:
    """Make sure that every classifier has texts of every class to learn from, real and synthetic ones.

    Raises:
        UserError: With the first class and fold that have not.
    """
    cells = Counter((example.label, example.real) for example in examples)
    inside = Counter((example.label, example.real, int(fold)) for example, fold in zip(examples, assigned, strict=True))
    for fold in sorted(set(assigned.tolist())):
        for label in sorted({example.label for example in examples}):
            real, synthetic = (cells[label, kind] - inside[label, kind, fold] for kind in (True, False))
            if min(real, synthetic) < LEAST:
                raise UserError(
                    f"class '{label}' has {cells[label, True]:,} real and {cells[label, False]:,} synthetic texts; without "
                    f"fold {fold + 1} of {folds} {real:,} real and {synthetic:,} synthetic ones are left to learn from, and "
                    f"each takes {LEAST}. Texts of one source, and equal texts with all their sources, are one fold: give "
                    "more texts of that class, leave it out, or put the filter 'exact' before this one."
                )


def cell_weights(labels: Sequence[str], real: Bools) -> Floats:
    """Weights that make all classes, and real and synthetic texts within each, count the same; 1 on average: [texts].

    So a class that is rare among the real texts and frequent among the synthetic ones is not synthetic for that alone.
    What is learned of few texts still carries less far: compare scores within a class, not between classes.
    """
    cells = list(zip(labels, real.tolist(), strict=True))
    counts = Counter(cells)
    return np.array([len(cells) / len(counts) / counts[cell] for cell in cells], np.float64)


def cross_fit(examples: Sequence[Example], folds: int, back_end: BackEnd, say: Say) -> Floats:
    """Probability of being real of each example, by a classifier that has seen nothing of its source: [examples].

    Rounded to six digits.

    Raises:
        UserError: If there are too few texts of a class.
    """
    assigned = assign(examples, folds)
    require_enough(examples, assigned, folds)
    real = np.array([example.real for example in examples], np.bool_)
    back_end.prepare([example.text for example in examples], say)
    scores = np.zeros(len(examples), np.float64)
    for fold in sorted(set(assigned.tolist())):
        say(f"fold {fold + 1} of {folds}")
        train, test = np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)
        weights = cell_weights([examples[place].label for place in train.tolist()], real[train])
        scores[test] = back_end.scores(train, real[train], weights, test, say)
    return np.round(scores, DIGITS)


def auc(scores: Floats, real: Bools) -> float:
    """Chance that a real text has a higher score than a synthetic one, ties counting half; 0.5 tells nothing.

    >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(real, scores))
