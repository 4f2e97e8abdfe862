"""TF-IDF of words and word pairs, with logistic regression: a classifier that is trained in seconds.

    model = TfidfClassifier(seed=7).fit(["free prize now", "see you at six"], ["spam", "ham"])
    model.classes -> ("ham", "spam");  model.probabilities(["a free prize"]) -> [[0.42, 0.58]]

Classes are weighted so that each counts the same, however many texts it has. The same texts in the same order, labels
and seed give the same probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from factory.errors import UserError

Weights = npt.NDArray[np.float64]
MOST_FEATURES: Final = 50_000
MOST_ITERATIONS: Final = 1_000


class TfidfClassifier:
    """A classifier of texts by their words."""

    def __init__(self, seed: int = 0, *, strength: float = 1.0) -> None:
        """Nothing is trained yet.

        Args:
            seed: Of the solver.
            strength: Inverse strength of the regularisation; greater fits the training texts more closely.
        """
        self._seed = seed
        self._strength = strength
        self._pipeline: Any = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the columns of `probabilities`."""
        return tuple(str(label) for label in self._pipeline.classes_)

    def fit(self, texts: Sequence[str], labels: Sequence[str], weights: Weights | None = None) -> TfidfClassifier:
        """Train on texts with their labels: [texts] each.

        Args:
            texts: The texts.
            labels: Their classes.
            weights: How much each text counts, instead of as much as makes the classes equal.

        Raises:
            UserError: If there are fewer than two labels, or no text has a word.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        if len(set(labels)) < 2:
            raise UserError(
                f"classifier: expected texts of at least two classes, found {', '.join(sorted(set(labels))) or 'none'}."
            )
        # One-letter words and signs carry style ("I", "!"), which is what tells real from synthetic texts.
        words = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True, max_features=MOST_FEATURES
        )
        regression = LogisticRegression(
            C=self._strength,
            class_weight="balanced" if weights is None else None,
            max_iter=MOST_ITERATIONS,
            random_state=self._seed,
        )
        self._pipeline = make_pipeline(words, regression)
        try:
            self._pipeline.fit(list(texts), list(labels), logisticregression__sample_weight=weights)
        except ValueError as error:
            if "empty vocabulary" in str(error):
                raise UserError("classifier: none of the texts has a word.") from error
            raise
        return self

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probability of each class: [texts, classes]."""
        if not texts:
            return np.zeros((0, len(self.classes)))
        return np.asarray(self._pipeline.predict_proba(list(texts)), np.float64)
