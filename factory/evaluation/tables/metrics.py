"""What is measured of a table: name, how to read it, and which direction is good.

METRICS["detection_auc"]  ->  Metric(group="detection", title="detection AUC", best="0.5", reading="A strong …")
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from factory.evaluation.tables.efficiency import MODELS

Best = Literal["high", "low", "0.5", "1", "real", "context"]


class Metric(msgspec.Struct, frozen=True):
    """A measure.

    Attributes:
        key: Its name in results.
        group: What it belongs to.
        title: What people read.
        best: `high` and `low` are directions, `0.5` and `1` values, `real` the value that real rows have; `context` is
            only read beside another.
        reading: One sentence on how to read it.
        least: Least value that it can have.
        most: Greatest value that it can have.
    """

    key: str
    group: str
    title: str
    best: Best
    reading: str
    least: float = 0.0
    most: float = 1.0


_MEASURES: Final[dict[str, tuple[str, Best, str]]] = {
    "auc": ("ROC AUC", "high", "How often the model ranks a row of a class above one of another; 0.5 is guessing."),
    "balanced_accuracy": (
        "balanced accuracy",
        "high",
        "Mean recall of the classes; naming one class gives 1 / classes.",
    ),
    "macro_f1": ("macro-F1", "high", "Mean F1 of the classes, rare ones counting as much as frequent ones."),
    "minority_recall": ("minority recall", "real", "Share of the test rows of the rarest class that are found."),
    "r2": (
        "R2",
        "high",
        "Share of the variance of the target that is explained; 0 is naming the mean, below is worse.",
    ),
    "rmse": ("RMSE", "low", "Typical error, in units of the target."),
}
_MODELS: Final = {"linear": "linear model", "forest": "random forest", "boosting": "gradient boosting"}
_UNBOUNDED: Final = {"r2": (float("-inf"), 1.0), "rmse": (0.0, float("inf"))}


def _efficiency() -> list[Metric]:
    found = []
    for measure, (title, best, reading) in _MEASURES.items():
        for model in MODELS:
            told = f"Trained on the rows, tested on real ones: {reading[0].lower()}{reading[1:]}"
            least, most = _UNBOUNDED.get(measure, (0.0, 1.0))
            named = f"{title}, {_MODELS[model]}"
            found.append(Metric(f"{model}.{measure}", "efficiency", named, best, told, least, most))
    return found


def _distance(key: str, title: str, best: Best, reading: str) -> Metric:
    return Metric(key, "closeness", title, best, reading, 0.0, float("inf"))


_ALL: Final = (
    Metric(
        "valid", "validity", "valid rows", "high", "Share that is complete, readable, in domain and breaks no relation."
    ),
    Metric(
        "complete", "validity", "complete rows", "high", "Share that lacks no cell of a column that must be filled."
    ),
    Metric("readable", "validity", "readable rows", "high", "Share whose cells all have the form of their column."),
    Metric(
        "in_domain", "validity", "rows in domain", "high", "Share whose cells all lie in the domain of their column."
    ),
    Metric(
        "in_relation",
        "validity",
        "rows in relation",
        "high",
        "Share that breaks none of the relations that were given.",
    ),
    Metric(
        "violations",
        "validity",
        "dependency violations",
        "low",
        "Share that breaks a dependency between columns that holds without exception in the training rows.",
    ),
    *_efficiency(),
    Metric(
        "detection_auc",
        "detection",
        "detection AUC",
        "0.5",
        "A strong classifier tells the rows from real ones: 0.5 is guessing, 1 is certain.",
    ),
    Metric(
        "detected",
        "detection",
        "detection accuracy",
        "0.5",
        "Share of rows that the same classifier puts on the right side.",
    ),
    Metric(
        "shape",
        "shapes",
        "column shapes",
        "real",
        "Likeness of single columns; columns shuffled on their own score perfectly, so it proves little.",
    ),
    Metric(
        "pair",
        "shapes",
        "pair trends",
        "real",
        "Likeness of pairs of columns; compare with the line of shuffled columns, which is high too.",
    ),
    Metric(
        "closer",
        "closeness",
        "closer to training rows",
        "0.5",
        "Share of rows nearer to a training row than to a held-out real row, as if there were as many of both: 0.5 is no sign of memorisation, 1 is copying.",
    ),
    _distance(
        "dcr",
        "distance to closest training row",
        "context",
        "Median; 0 is a copy, one column that differs wholly is 1.",
    ),
    _distance(
        "dcr_holdout",
        "distance to closest held-out row",
        "context",
        "Median; where there are fewer held-out rows these are farther: read the ratio.",
    ),
    _distance(
        "dcr_ratio",
        "ratio of these distances",
        "1",
        "Training by held-out, to as many of both: well below 1 is crowding around training rows.",
    ),
    Metric(
        "nearest_ratio",
        "closeness",
        "nearest-neighbour ratio",
        "real",
        "Median of the distance to the nearest by the second nearest training row; low means pinned to single rows.",
    ),
    Metric(
        "copies",
        "closeness",
        "copies of training rows",
        "real",
        "Share that equals a training row in every cell; real rows have some by chance.",
    ),
    Metric(
        "attack",
        "membership",
        "membership attack AUC",
        "0.5",
        "Distances to synthetic rows tell training rows from other real rows: 0.5 is guessing, 1 is certain.",
    ),
    Metric(
        "attack_density",
        "membership",
        "membership attack AUC, by density",
        "0.5",
        "The same attack, weighing how common such rows are.",
    ),
)

METRICS: Final[dict[str, Metric]] = {metric.key: metric for metric in _ALL}
