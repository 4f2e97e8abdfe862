"""Can a strong classifier tell synthetic rows from real ones?

    detection(synthetic, real, seed=1)  ->  {"detected": Score(0.561, 0.008), "detection_auc": Score(0.59, 0.009)}

As many synthetic as real rows, three folds, a random forest and gradient boosting; the one with the greater area under
the ROC curve of the held-out folds counts. 0.5 is best: the classifier guesses. Real rows against other real rows give the
figure that a perfect generator would have. The area is the finer figure; accuracy is what papers report (GReaT,
2210.06280, section 5.2: a random forest; LogReg there lets weak generators pass).

The real rows are such as no generator was trained on: against training rows, copies of them would confuse the classifier
and look perfect. Equal rows stay in one fold, so that a row that a generator repeats is not recognised by its twin.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from factory.evaluation.tables.encoding import Encoded, Singles
from factory.evaluation.tables.scores import Floats, Ints, Score, auc, share

FOLDS: Final = 3
TREES: Final = 100
FEWEST: Final = 10
MOST_ROWS: Final = 10_000


def detection(synthetic: Encoded, real: Encoded, seed: int, n_jobs: int = 1) -> dict[str, Score]:
    """Accuracy and area of the stronger classifier, both in [0, 1].

    Args:
        synthetic: Rows to tell from real ones.
        real: As many real rows.
        seed: Of folds and models.
        n_jobs: Cores for the forest.

    Returns:
        `detected` and `detection_auc`; nothing where there are fewer than ten rows of each.
    """
    if min(len(synthetic), len(real)) < FEWEST:
        return {}
    features = np.concatenate([synthetic.trees, real.trees])
    which = np.arange(len(features)) < len(synthetic)
    folds = _folds(np.concatenate([synthetic.keys, real.keys]), np.random.default_rng(seed))
    found = []
    for name in ("forest", "boosting"):
        scores = _held_out(name, features, which, folds, seed, n_jobs)
        found.append({"detected": share((scores > 0.5) == which), "detection_auc": auc(which, scores)})
    return max(found, key=lambda each: each["detection_auc"].value)


def _folds(keys: Ints, random: np.random.Generator) -> Ints:
    """A fold for each row, the same for equal rows."""
    known, inverse = np.unique(keys, return_inverse=True)
    return np.asarray(random.permutation(np.arange(len(known)) % FOLDS)[inverse])


def _held_out(
    name: str, features: Singles, which: np.typing.NDArray[np.bool_], folds: Ints, seed: int, n_jobs: int
) -> Floats:
    """Probability of being synthetic of each row, by a model that has not seen it: [rows]."""
    scores = np.full(len(features), 0.5)
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        if test.any() and 0 < which[train].sum() < train.sum():
            model = _model(name, seed, n_jobs).fit(features[train], which[train])
            scores[test] = model.predict_proba(features[test])[:, 1]
    return scores


def _model(name: str, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    if name == "forest":
        return RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=n_jobs)
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
