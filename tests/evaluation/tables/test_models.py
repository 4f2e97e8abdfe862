"""Models that are trained on rows, and classifiers that tell rows apart."""

import numpy as np
import pytest

from factory.errors import UserError
from factory.evaluation.tables.detection import detection
from factory.evaluation.tables.efficiency import MODELS, Learner, only_class, task_of
from factory.evaluation.tables.encoding import Encoder
from factory.tables.schema import Table

from .made import made, shuffled


def learnt(train, rows, target, seed=1, test=None):
    task, encoder = task_of(train, target), Encoder(train)
    test = test or made(500, 99)
    learner = Learner(task, encoder, encoder(test), task.labels(test))
    return learner(encoder(rows), task.labels(rows), seed)


def test_real_rows_train_good_models_and_shuffled_ones_do_not():
    train = made(400, 1)
    good, bad = learnt(train, made(400, 2), "rich"), learnt(train, shuffled(train, 3), "rich")
    for model in MODELS:
        assert good[f"{model}.auc"].value > 0.95
        assert good[f"{model}.balanced_accuracy"].value > 0.85
        assert bad[f"{model}.auc"].value < 0.75


def test_more_than_two_classes_and_the_rarest():
    train = made(400, 1)
    found = learnt(train, train, "group")
    assert task_of(train, "group").shown[task_of(train, "group").rarest] == "d"
    assert found["forest.auc"].value > 0.99  # `number` decides it
    assert found["forest.minority_recall"].value > 0.95


def test_regression():
    train = made(400, 1)
    found = learnt(train, train, "wage")
    assert set(found) == {f"{model}.{measure}" for model in MODELS for measure in ("r2", "rmse")}
    assert found["linear.r2"].value > 0.9
    assert 7 < found["linear.rmse"].value < 20  # the noise is 8.00, in units of the target


def test_the_target_is_no_feature():
    train = made(400, 1)
    same = Table(train.schema, {**train.cells, "rich": np.random.default_rng(5).integers(0, 2, 400).tolist()}, 400)
    assert learnt(same, same, "rich", test=made(500, 9))["boosting.auc"].value < 0.65


def test_one_class_trains_models_that_always_name_it():
    train = made(400, 1)
    rows = Table(train.schema, {**train.cells, "rich": [0] * 400}, 400)
    task = task_of(train, "rich")
    found = learnt(train, rows, "rich")
    assert only_class(task, task.labels(rows)) == "false"
    assert found["forest.auc"].value == found["forest.balanced_accuracy"].value == 0.5


def test_a_class_that_is_missing_is_never_named():
    train = made(400, 1)
    some = train.take([at for at in range(400) if train.cells["group"][at] != 3])
    assert learnt(train, some, "group")["forest.minority_recall"].value == 0.0


def test_targets_that_cannot_be_predicted():
    train = made(50, 1)
    with pytest.raises(UserError, match="no such column"):
        task_of(train, "riches")
    with pytest.raises(UserError, match="expected two or more"):
        task_of(Table(train.schema, {**train.cells, "rich": [0] * 50}, 50), "rich")


def told(synthetic, real, train):
    encoder = Encoder(train)
    return detection(encoder(synthetic), encoder(real), 1)


def test_real_rows_are_not_detected_and_shuffled_ones_are():
    train = made(400, 1)
    same, other = told(made(400, 2), made(400, 3), train), told(shuffled(train, 2), made(400, 3), train)
    assert same["detection_auc"].value == pytest.approx(0.5, abs=0.08)
    assert other["detection_auc"].value > 0.95
    assert other["detected"].value > 0.9


def test_equal_rows_stay_in_one_fold():
    """Ten rows, each there forty times, are drawn from the real ones: only by their twins could they be recognised."""
    train = made(400, 1)
    real = made(400, 3)
    repeated = made(10, 4).take(list(range(10)) * 40)
    split = told(repeated, real, train)["detection_auc"].value
    assert split < 0.9


def test_too_few_rows_are_not_judged():
    assert told(made(5, 1), made(5, 2), made(50, 3)) == {}
