"""The quick classifier: learns what words tell, repeats itself exactly, and says what it cannot learn from."""

from __future__ import annotations

import numpy as np
import pytest

from factory.classifiers.tfidf import TfidfClassifier
from factory.errors import UserError

TEXTS = [f"win a free prize number {n}!" for n in range(20)] + [f"see you at {n} tonight" for n in range(60)]
LABELS = ["spam"] * 20 + ["ham"] * 60


def test_it_learns_what_words_tell_although_one_class_is_rare():
    model = TfidfClassifier(seed=1).fit(TEXTS, LABELS)
    assert model.classes == ("ham", "spam")
    probabilities = model.probabilities(["a free prize!", "see you tonight"])
    assert probabilities.shape == (2, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert probabilities[0, 1] > 0.7 > 0.3 > probabilities[1, 1]
    assert model.probabilities([]).shape == (0, 2)


def test_the_same_texts_give_the_same_bytes():
    first, second = (TfidfClassifier(seed=3).fit(TEXTS, LABELS).probabilities(TEXTS) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_one_class_or_no_words_is_a_clear_error():
    with pytest.raises(UserError, match="at least two classes, found spam"):
        TfidfClassifier().fit(["a b", "c d"], ["spam", "spam"])
    with pytest.raises(UserError, match="none of the texts has a word"):
        TfidfClassifier().fit(["", " "], ["a", "b"])
