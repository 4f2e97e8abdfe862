"""Classifiers that tell real from synthetic texts, for `factory.classifiers.crossfit`: words, or a frozen encoder.

`Words(seed=7)` takes all texts by `prepare(texts, say)`; `scores(train, real, weights, test, say)` learns from some and judges others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from factory.classifiers.crossfit import Bools, Floats, Ints, Say
from factory.classifiers.tfidf import TfidfClassifier
from factory.novelty.encoder import Encodes, Vectors

REAL, SYNTHETIC = "real", "synthetic"
BLOCK: Final = 512  # texts embedded between two reports
# Coordinates of unit vectors are small: with scikit-learn's 1 the regression hardly moves.
STRENGTH: Final = 30.0
MOST_ITERATIONS: Final = 2_000


class Words:
    """TF-IDF of words and word pairs, and logistic regression."""

    def __init__(self, seed: int) -> None:
        """Nothing is read yet."""
        self._seed = seed
        self._texts: Sequence[str] = ()

    def prepare(self, texts: Sequence[str], say: Say) -> None:
        """Keep the texts."""
        self._texts = texts

    def scores(self, train: Ints, real: Bools, weights: Floats, test: Ints, say: Say) -> Floats:
        """Train anew on the words of the training texts alone, and judge: [test]."""
        labels = [REAL if one else SYNTHETIC for one in real.tolist()]
        model = TfidfClassifier(self._seed).fit([self._texts[place] for place in train.tolist()], labels, weights)
        found: Floats = model.probabilities([self._texts[place] for place in test.tolist()])[
            :, model.classes.index(REAL)
        ]
        return found


class Frozen:
    """Vectors of an encoder that is left as it is, and logistic regression; every different text is embedded once."""

    def __init__(self, encoder: Encodes, seed: int) -> None:
        """Nothing is embedded yet."""
        self._encoder = encoder
        self._seed = seed
        self._vectors: Vectors = np.zeros((0, 0), np.float32)

    def prepare(self, texts: Sequence[str], say: Say) -> None:
        """Embed the texts: 4 bytes for each dimension of each different text."""
        different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        distinct = list(different)
        blocks = []
        for start in range(0, len(distinct), BLOCK):
            say(f"embedding {start:,} of {len(distinct):,}")
            blocks.append(self._encoder(distinct[start : start + BLOCK]))
        self._vectors = np.concatenate(blocks)[[different[text] for text in texts]]

    def scores(self, train: Ints, real: Bools, weights: Floats, test: Ints, say: Say) -> Floats:
        """Train the regression anew, and judge: [test]."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=STRENGTH, max_iter=MOST_ITERATIONS, random_state=self._seed)
        model.fit(self._vectors[train], real, sample_weight=weights)
        return np.asarray(model.predict_proba(self._vectors[test])[:, 1], np.float64)
