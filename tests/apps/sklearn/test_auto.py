"""Estimators that search for the best model of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import metrics as reference
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score

from gpunn.apps.cli import main
from gpunn.sklearn import GpunnAutoClassifier, GpunnAutoRegressor

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


def frame(rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    size = random.uniform(20, 120, rows)
    area = random.choice(["centre", "north", "harbour"], rows)
    rent = 200 + 9 * size + 150 * (area == "centre") + random.normal(0, 20, rows)
    size[::17] = np.nan
    return pd.DataFrame({"size": size, "area": area, "floor": random.integers(0, 6, rows)}), rent


def by_library(now: Any, later: Any) -> Any:
    return pytest.mark.parametrize("library", [now, pytest.param(later, marks=pytest.mark.more)])


TRAIN, TEST = np.arange(240), np.arange(240, 300)


def divided(library: Any) -> tuple[Any, Any, np.ndarray]:
    """Rows to learn from and others, as frames of a library, and the targets of all."""
    x, y = frame()
    train, test = (library({name: x[name].to_numpy()[at] for name in x}) for at in (TRAIN, TEST))
    return train, test, y


@by_library(pd.DataFrame, pl.DataFrame)
def test_a_frame_is_taken_as_it_is(library: Any) -> None:
    train, test, y = divided(library)
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(train, y[TRAIN])
    known = ~np.isnan(frame()[0]["size"].to_numpy()[TEST])
    assert r2_score(y[TEST][known], model.predict(test)[known]) > 0.95
    assert model.feature_names_in_.tolist() == ["size", "area", "floor"]
    tried = pd.DataFrame(model.leaderboard_)
    chosen = tried[tried["chosen"]]
    assert chosen["model"].tolist() == model.members_ and len(tried) == 2
    assert chosen["parameters"].sum() == model.model_.count_params()
    assert chosen["loss"].iloc[0] == pytest.approx(model.cv_loss_)
    assert tried["R2"].between(0.5, 1).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(test[["floor", "area"]])


@by_library(pl.DataFrame, pd.DataFrame)
def test_a_frame_is_classified_as_it_is(library: Any) -> None:
    train, test, y = divided(library)
    labels = np.where(y > np.median(y), "dear", "cheap")
    classifier = GpunnAutoClassifier(fast=True, random_state=0).fit(train, labels[TRAIN])
    assert classifier.classes_.tolist() == ["cheap", "dear"]
    assert accuracy_score(labels[TEST], classifier.predict(test)) > 0.85
    assert (classifier.leaderboard_["accuracy"] > 0.8).all()
    np.testing.assert_allclose(classifier.predict_proba(test).sum(axis=1), 1, 1e-6)


def test_a_saved_model_works_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = frame(120)
    x.to_csv(tmp_path / "x.csv", index=False)
    labels = np.where(y > np.median(y), 2, 1)
    for model, target in (
        (GpunnAutoRegressor(fast=True, random_state=0), y),
        (GpunnAutoClassifier(fast=True, random_state=0), labels),
    ):
        model.fit(x, target).model_.save(tmp_path / "m.gpunn", announce=False)
        assert main(["predict", str(tmp_path / "m.gpunn"), str(tmp_path / "x.csv"), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        found = np.array([float(row["predicted y"]) for row in rows])
        np.testing.assert_allclose(found, model.predict(x), rtol=1e-5)
        assert main(["export", str(tmp_path / "m.gpunn"), str(tmp_path / "m.html"), "--force"]) == 0
        capsys.readouterr()


def test_the_result_depends_on_the_seed_alone() -> None:
    x, y = frame(120)
    model = GpunnAutoRegressor(fast=True, random_state=3)
    found = [clone(model).fit(x, y).predict(x) for _ in range(2)]
    np.testing.assert_array_equal(*found)


def test_columns_of_numbers_count_whatever_they_look_like() -> None:
    """A column that counts the rows would be left out of a file, where it has no type."""
    x = pd.DataFrame({"id": np.arange(200)})
    y = (x["id"] >= 100).to_numpy()
    assert GpunnAutoClassifier(fast=True, random_state=0).fit(x, y).score(x, y) > 0.95


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.eye(5), np.arange(5.0), {}, r"X has 5 sample\(s\); at least 10"),
        (np.eye(20), np.arange(19.0), {}, "inconsistent|20 rows, y has 19"),
        (np.eye(20), np.full(20, np.nan), {}, "contains NaN"),
        (np.eye(20), np.arange(20.0), {"minutes": 0}, "--minutes must be positive"),
        (pd.DataFrame({"name": [f"Person {i}" for i in range(20)]}), np.arange(20.0), {},
         "no column to learn from"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused(x: Any, y: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        GpunnAutoRegressor(**options).fit(x, y)


def test_groups_are_not_divided() -> None:
    """Rows of a group are nearly copies: only if they may be divided, noise looks predictable."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    x = random.normal(0, 1, (40, 3))[groups] + random.normal(0, 1e-3, (200, 3))
    y = random.normal(0, 1, 40)[groups]
    losses = [
        GpunnAutoRegressor(fast=True, random_state=0).fit(x, y, groups=g).cv_loss_
        for g in (None, groups)
    ]
    assert losses[0] < losses[1] / 3


def churn(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A class of one row in eight, which no column tells for sure."""
    random = np.random.default_rng(seed)
    size, kind = random.uniform(25, 140, rows), random.choice(["a", "b"], rows)
    left = random.random(rows) < 1 / (1 + np.exp(4.2 - (size - 80) / 20))
    return pd.DataFrame({"size": size, "kind": kind}), np.where(left, "yes", "no")


OF_CLASSES: dict[str, Any] = {
    "accuracy": lambda y, p, named, w: reference.accuracy_score(y, named, sample_weight=w),
    "balanced_accuracy": lambda y, p, named, w: reference.balanced_accuracy_score(
        y, named, sample_weight=w
    ),
    "auc": lambda y, p, named, w: reference.roc_auc_score(y == "yes", p[:, 1], sample_weight=w),
    "f1": lambda y, p, named, w: reference.f1_score(y, named, pos_label="yes", sample_weight=w),
    "log_loss": lambda y, p, named, w: -reference.log_loss(y, p, sample_weight=w),
}


def test_costs_name_the_rarer_class_more_often_and_score_says_what_mistakes_cost() -> None:
    (x, y), (new, truth) = churn(600, 0), churn(2000, 1)
    plain = GpunnAutoClassifier(fast=True, random_state=0)
    careful = clone(plain).set_params(cost_false_negative=8.0)
    assert clone(careful).get_params()["cost_false_negative"] == 8.0
    plain.fit(x, y)
    careful.fit(x, y)
    p = careful.predict_proba(new)
    np.testing.assert_array_equal(p, plain.predict_proba(new))
    assert careful.positive_class_ == plain.positive_class_ == "yes"
    assert careful.threshold_ < 0.3 and plain.threshold_ == 0.5
    named = careful.predict(new)
    np.testing.assert_array_equal(named, np.where(p[:, 1] >= careful.threshold_, "yes", "no"))
    assert (named == "yes").sum() > 2 * (plain.predict(new) == "yes").sum()
    chosen = np.searchsorted(careful.classes_, named)
    assert careful.predict_set(new)[np.arange(2000), chosen].all()
    weights = np.random.default_rng(2).uniform(0, 3, 2000)
    costs = 8.0 * ((truth == "yes") & (named == "no")) + ((truth == "no") & (named == "yes"))
    for w in (None, weights):
        careful.set_params(metric=None)
        assert careful.score(new, truth, w) == pytest.approx(-np.average(costs, weights=w))
        assert careful.score(new, truth, w) > -np.average(
            8.0 * (truth == "yes") * (plain.predict(new) == "no")
            + (truth == "no") * (plain.predict(new) == "yes"), weights=w,
        )  # fmt: skip
        for metric, expected in OF_CLASSES.items():
            found = careful.set_params(metric=metric).score(new, truth, w)
            assert found == pytest.approx(expected(truth, p, named, w)), metric


def test_a_saved_model_keeps_the_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = churn(300, 0)
    model = GpunnAutoClassifier(fast=True, cost_false_negative=6, random_state=0).fit(x, y)
    model.model_.save(tmp_path / "m.gpunn", announce=False)
    x.to_csv(tmp_path / "x.csv", index=False)
    assert main(["predict", str(tmp_path / "m.gpunn"), str(tmp_path / "x.csv"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["predicted y"] for row in rows] == model.predict(x).tolist()
    assert {row["unsure"] for row in rows} == {"yes", "no"}


def test_several_classes_and_numbers_are_scored_by_the_metric() -> None:
    x, y = frame(200)
    labels = np.digitize(y, [600, 900])
    model = GpunnAutoClassifier(fast=True, random_state=0).fit(x, labels)
    assert model.positive_class_ is None
    p, named = model.predict_proba(x), model.predict(x)
    for metric, expected in {
        None: reference.accuracy_score(labels, named),
        "f1": reference.f1_score(labels, named, average="macro"),
        "auc": reference.roc_auc_score(labels, p, multi_class="ovr"),
        "log_loss": -reference.log_loss(labels, p),
    }.items():
        assert model.set_params(metric=metric).score(x, labels) == pytest.approx(expected), metric
    regressor = GpunnAutoRegressor(fast=True, random_state=0).fit(x, y)
    found, weights = regressor.predict(x), np.arange(200.0)
    for metric, score in {
        None: reference.r2_score,
        "r2": reference.r2_score,
        "mae": lambda *a, **w: -reference.mean_absolute_error(*a, **w),
        "rmse": lambda *a, **w: -reference.root_mean_squared_error(*a, **w),
    }.items():
        regressor.set_params(metric=metric)
        for w in (None, weights):
            expected = score(y, found, sample_weight=w)
            assert regressor.score(x, y, w) == pytest.approx(expected), metric


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({"metric": "r2"}, 2, "metric r2 is not for a target of classes; pass one of accuracy,"),
        ({"metric": "auc"}, 0, "metric auc is not for a target of numbers; pass one of r2, mae"),
        ({"metric": 5}, 2, "metric 5 is not for"),
        ({"cost_false_negative": 2}, 3, "cost_false_negative is for two classes; .* has 3 classes"),
        ({"cost_false_positive": 0}, 2, "cost_false_positive must be from 1e-06 to 1e.06; got 0"),
        ({"cost_false_positive": "2"}, 2, "cost_false_positive must be a number"),
    ],
)
def test_what_does_not_fit_the_target_is_refused(
    options: dict[str, Any], classes: int, message: str
) -> None:
    x = np.arange(60.0)[:, None]
    kind: Any = GpunnAutoClassifier if classes else GpunnAutoRegressor
    y = np.arange(60) % classes if classes else x[:, 0]
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        kind(**options).fit(x, y)
