"""Is a model good that was trained on synthetic rows? It is tested on real ones.

    efficiency(task, synthetic, labels, test, test_labels, …)  ->  {"forest.auc": Score(0.881, 0.005), …}

Three models (linear, random forest, gradient boosting), as one of them may like what another does not. For a target of
categories: ROC AUC (of each class against the others, averaged), balanced accuracy, macro-F1 and the recall of the rarest
class; for a target of numbers R2 and RMSE, in units of the target. Classes are those of the real rows.

Source: "train on synthetic, test on real" (Esteban et al. 2017, 1706.02633, section 4.2), machine-learning efficiency of Xu
et al. 2019 (CTGAN, section 5.1) and of GReaT (2210.06280, section 5.1), who report accuracy only, which on unbalanced
classes says little. Features are scaled by the real training rows for all sets alike.

Synthetic rows of which all have the same class train a model that always names it: that is what is scored, and said.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np

from factory.errors import UserError
from factory.evaluation.tables.encoding import Encoded, Encoder, Singles, numbers
from factory.evaluation.tables.scores import RESAMPLES, Floats, Ints, Score, auc, of_confusion, of_rows, share
from factory.tables.column import CATEGORICAL, ORDERED
from factory.tables.domain import Cell
from factory.tables.schema import Table

MODELS: Final = ("linear", "forest", "boosting")
CLASSIFIED: Final = ("auc", "balanced_accuracy", "macro_f1", "minority_recall")
REGRESSED: Final = ("r2", "rmse")
TREES: Final = 100
MOST_CLASSES: Final = 50


class Task(msgspec.Struct, frozen=True):
    """What is predicted.

    Attributes:
        column: The target.
        kind: Whether its values are named or estimated.
        classes: Cells of the real training rows, in order; empty for regression.
        shown: Text of each class.
        rarest: Place of the class that fewest training rows have.
        mean: Mean of the target in the training rows, for regression.
        deviation: Its standard deviation.
    """

    column: str
    kind: Literal["classification", "regression"]
    classes: tuple[Cell, ...] = ()
    shown: tuple[str, ...] = ()
    rarest: int = 0
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured of each model."""
        return CLASSIFIED if self.kind == "classification" else REGRESSED

    def labels(self, table: Table) -> Floats:
        """Places of classes, or numbers; NaN where a row has none that is known: [rows]."""
        cells = table.cells[self.column]
        if self.kind == "regression":
            return numbers(table.schema.named[self.column], cells)
        places = {cell: float(at) for at, cell in enumerate(self.classes)}
        return np.array([places.get(cell, np.nan) for cell in cells], np.float64)


def task_of(train: Table, target: str) -> Task:
    """Classification for categories and for whole numbers of two values, regression for other ordered columns.

    Raises:
        UserError: If the target cannot be predicted.
    """
    column = train.schema.named.get(target)
    if column is None:
        raise UserError(f"target '{target}': no such column; the table has {', '.join(train.schema.names)}.")
    counts = Counter(cell for cell in train.cells[target] if cell is not None)
    if len(counts) < 2:
        raise UserError(
            f"target '{target}': has {len(counts)} different values in the training rows; expected two or more."
        )
    if column.kind in CATEGORICAL or (column.kind == "integer" and len(counts) == 2):
        if len(counts) > MOST_CLASSES:
            raise UserError(f"target '{target}': has {len(counts)} classes; expected at most {MOST_CLASSES}.")
        classes = tuple(sorted(counts, key=lambda cell: (isinstance(cell, str), cell)))
        rarest = min(range(len(classes)), key=lambda at: (counts[classes[at]], at))
        return Task(target, "classification", classes, tuple(column.text(cell) for cell in classes), rarest)
    if column.kind not in ORDERED:
        raise UserError(f"target '{target}': is a column of kind {column.kind}; expected categories or numbers.")
    values = numbers(column, train.cells[target])
    values = values[~np.isnan(values)]
    return Task(target, "regression", mean=float(values.mean()), deviation=float(values.std()) or 1.0)


class Learner:
    """Trains on any set of rows and tests on the same real rows."""

    def __init__(self, task: Task, encoder: Encoder, test: Encoded, labels: Floats, n_jobs: int = 1) -> None:
        """Keep the test rows that have a label."""
        self.task = task
        self._linear = np.array([name != task.column for name in encoder.linear_of])
        self._trees = np.array([name != task.column for name in encoder.trees_of])
        there = ~np.isnan(labels)
        self._test, self._labels, self._jobs = test.take(np.flatnonzero(there)), labels[there], n_jobs

    def __call__(self, rows: Encoded, labels: Floats, seed: int) -> dict[str, Score]:
        """Measures of each model as `model.measure`; nothing where no row has a label."""
        there = np.flatnonzero(~np.isnan(labels))
        rows, labels = rows.take(there), labels[there]
        if not len(there) or not len(self._labels):
            return {}
        scores: dict[str, Score] = {}
        random = np.random.default_rng(seed)
        for name in MODELS:
            train, test = self._views(name, rows)
            if self.task.kind == "regression":
                named = self._estimated(name, train, labels, test, seed)
                found = _regression(self._labels, named, random)
            else:
                found = self._classified(self._probabilities(name, train, labels, test, seed), random)
            scores |= {f"{name}.{measure}": score for measure, score in found.items()}
        return scores

    def _views(self, model: str, rows: Encoded) -> tuple[Singles, Singles]:
        if model == "linear":
            return rows.linear[:, self._linear], self._test.linear[:, self._linear]
        return rows.trees[:, self._trees], self._test.trees[:, self._trees]

    def _probabilities(self, name: str, train: Singles, labels: Floats, test: Singles, seed: int) -> Floats:
        """Of each class of the task: [test rows, classes]; 0 for classes that were not trained on."""
        found = np.zeros((len(test), len(self.task.classes)))
        present = np.unique(labels).astype(np.int64)
        if len(present) == 1 or not train.shape[1]:
            found[:, int(np.bincount(labels.astype(np.int64)).argmax())] = 1.0
            return found
        model = _fitted(_classifier(name, seed, self._jobs), train, labels.astype(np.int64))
        found[:, present] = model.predict_proba(test)
        return found

    def _estimated(self, name: str, train: Singles, labels: Floats, test: Singles, seed: int) -> Floats:
        if len(labels) < 2 or not train.shape[1]:
            return np.full(len(test), float(labels.mean()))
        scaled = (labels - self.task.mean) / self.task.deviation
        model = _fitted(_regressor(name, seed, self._jobs), train, scaled)
        return np.asarray(model.predict(test) * self.task.deviation + self.task.mean, np.float64)

    def _classified(self, probabilities: Floats, random: np.random.Generator) -> dict[str, Score]:
        actual = self._labels.astype(np.int64)
        classes = len(self.task.classes)
        named = probabilities.argmax(axis=1)
        confusion = np.bincount(actual * classes + named, minlength=classes**2).reshape(classes, classes)
        found = {
            "balanced_accuracy": of_confusion(_balanced, confusion, random),
            "macro_f1": of_confusion(_macro_f1, confusion, random),
        }
        areas = [
            auc(actual == at, probabilities[:, at]) for at in range(classes) if 0 < np.sum(actual == at) < len(actual)
        ]
        if areas:  # errors of classes are averaged as if they were one: wide rather than narrow
            found["auc"] = Score(
                *(float(np.mean([getattr(each, part) for each in areas])) for part in ("value", "error"))
            )
        rare = actual == self.task.rarest
        if rare.any():
            found["minority_recall"] = share(named[rare] == self.task.rarest)
        return found


def _balanced(confusion: Floats) -> Floats:
    """Mean recall of the classes that are there: [matrices]."""
    there = confusion.sum(axis=2)
    recalls = np.divide(
        np.diagonal(confusion, axis1=1, axis2=2), there, out=np.full_like(there, np.nan), where=there > 0
    )
    return np.asarray(np.nanmean(recalls, axis=1))


def _macro_f1(confusion: Floats) -> Floats:
    """Mean F1 of the classes that are there or named: [matrices]."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    total = confusion.sum(axis=2) + confusion.sum(axis=1)
    scores = np.divide(2 * right, total, out=np.full_like(total, np.nan), where=total > 0)
    return np.asarray(np.nanmean(scores, axis=1))


def _regression(actual: Floats, estimated: Floats, random: np.random.Generator) -> dict[str, Score]:
    squared = (actual - estimated) ** 2

    def r2(rows: Ints) -> float:
        variance = float(actual[rows].var())
        return 1 - float(squared[rows].mean()) / variance if variance else 0.0

    return {
        "r2": of_rows(r2, len(actual), random, RESAMPLES),
        "rmse": of_rows(lambda rows: float(np.sqrt(squared[rows].mean())), len(actual), random, RESAMPLES),
    }


def _classifier(name: str, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "linear":
        return LogisticRegression(max_iter=1000)
    if name == "forest":
        return RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=n_jobs)
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def _regressor(name: str, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    if name == "linear":
        return Ridge()
    if name == "forest":
        return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=1 / 3, random_state=seed, n_jobs=n_jobs)
    return HistGradientBoostingRegressor(early_stopping=False, random_state=seed)


def _fitted(model: Any, features: Singles, labels: Floats | Ints) -> Any:
    """The model, trained; that a linear one has not converged to the last digit is no news."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)


def only_class(task: Task, labels: Floats) -> str | None:
    """The class that all rows have, as text; None where there are several or none, or for numbers."""
    present: Sequence[float] = np.unique(labels[~np.isnan(labels)]).tolist()
    return task.shown[int(present[0])] if task.kind == "classification" and len(present) == 1 else None
