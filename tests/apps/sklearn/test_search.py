"""`GpunnSearchCV` has the results of scikit-learn's `GridSearchCV`; its fits train together."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from gpunn.callbacks import LambdaCallback
from gpunn.models import NonFiniteLossError
from gpunn.sklearn import GpunnClassifier, GpunnRegressor, GpunnSearchCV

X, Y = make_classification(90, 5, random_state=1)
WEIGHTS = np.random.default_rng(0).uniform(0.2, 2, 90)
GRID = {"hidden_layer_sizes": [(4,), (6, 3)], "learning_rate": [0.003, 0.03]}
CLASSIFIER = GpunnClassifier(epochs=8, random_state=0)


def assert_same(found: Any, expected: Any, X: Any = X) -> None:
    assert found.cv_results_.keys() == expected.cv_results_.keys()
    for name, values in expected.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(found.cv_results_[name], values, err_msg=name)
    for name in ("best_params_", "best_index_", "best_score_", "n_splits_", "multimetric_"):
        assert getattr(found, name, None) == getattr(expected, name, None), name
    assert vars(found).keys() == vars(expected).keys()
    if hasattr(expected, "best_estimator_"):
        assert type(found.best_estimator_) is type(expected.best_estimator_)
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "plain": (CLASSIFIER, {}, {}),
    "training scores": (CLASSIFIER, {"return_train_score": True, "cv": 3}, {}),
    "several scores": (
        CLASSIFIER, {"scoring": ["accuracy", "roc_auc"], "refit": "roc_auc", "cv": 3}, {}),
    "no refit": (CLASSIFIER, {"refit": False, "cv": 2}, {}),
    "weights": (CLASSIFIER, {"cv": 3}, {"sample_weight": WEIGHTS}),
    "groups": (CLASSIFIER, {"cv": GroupKFold(3)}, {"groups": np.arange(90) % 7}),
    "early stopping": (
        GpunnClassifier(epochs=30, early_stopping=True, random_state=3, dropout=0.2),
        {"cv": 3}, {}),
    "regression": (GpunnRegressor(epochs=8, random_state=0), {"cv": KFold(3)}, {}),
    "several grids": (
        CLASSIFIER, {"cv": 2, "param_grid": [{"dropout": [0.1]}, {"epochs": [3]}]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_results_are_those_of_scikit_learn(case: str) -> None:
    estimator, given, params = CASES[case]
    given = {"param_grid": GRID, **given}
    trained: list[int] = []
    watched = type(estimator)(**{
        **estimator.get_params(),
        "callbacks": LambdaCallback(on_train_begin=lambda logs: trained.append(1)),
    })  # fmt: skip
    found = GpunnSearchCV(watched, **given).fit(X, Y, **params)
    searched = len(trained)
    expected = GridSearchCV(watched, **given).fit(X, Y, **params)
    assert searched == len(trained) - searched, "as many trainings"
    assert_same(found, expected)
    settings = len(found.cv_results_["params"]) * found.n_splits_
    assert searched == settings + bool(given.get("refit", True))


@pytest.mark.parametrize(
    ("X", "Y"),
    [
        (sparse.csr_array(X), Y),
        (X.tolist(), Y.astype(str).tolist()),
        (X, np.stack([Y, 1 - Y], axis=1)),
        (X, np.array(["a", "b", "c"])[np.arange(90) % 3]),
    ],
    ids=["sparse", "lists", "labels", "three classes"],
)
def test_data_in_other_forms(X: Any, Y: Any) -> None:
    given: dict[str, Any] = {"param_grid": GRID, "cv": KFold(2)}
    found = GpunnSearchCV(CLASSIFIER, **given).fit(X, Y)
    assert_same(found, GridSearchCV(CLASSIFIER, **given).fit(X, Y), X)


def test_folds_that_differ_each_time_are_drawn_once() -> None:
    seen: list[int] = []
    callbacks = LambdaCallback(on_train_begin=lambda logs: seen.append(1))
    estimator = GpunnClassifier(epochs=2, random_state=0, callbacks=callbacks)
    search = GpunnSearchCV(estimator, GRID, cv=KFold(3, shuffle=True)).fit(X, Y)
    assert len(seen) == 4 * 3 + 1, "none is trained twice"
    assert isinstance(search.cv, KFold) and search.n_jobs is None


@pytest.mark.filterwarnings("ignore")
def test_settings_that_fail_get_the_score_for_errors() -> None:
    x, y = make_regression(60, 3, random_state=0)
    grid = {"learning_rate": [0.01, 1e30], "batch_size": [16, -1]}
    estimator = GpunnRegressor(4, epochs=5, random_state=0, optimizer="sgd")
    found = GpunnSearchCV(estimator, grid, cv=2).fit(x, y)
    expected = GridSearchCV(estimator, grid, cv=2).fit(x, y)
    assert_same(found, expected, x)
    assert np.isnan(found.cv_results_["mean_test_score"]).sum() == 3
    for search in (GpunnSearchCV, GridSearchCV):
        with pytest.raises(NonFiniteLossError):
            search(estimator, grid, cv=2, error_score="raise").fit(x, y)


@pytest.mark.filterwarnings("ignore")
def test_an_error_of_a_callback_is_that_of_its_fit() -> None:
    def fail(logs: Any) -> None:
        raise OSError("disk full")

    grid = {"callbacks": [None, LambdaCallback(on_train_begin=fail)]}
    found = GpunnSearchCV(CLASSIFIER, grid, cv=2).fit(X, Y)
    assert np.isnan(found.cv_results_["mean_test_score"]).tolist() == [False, True]
    with pytest.raises(OSError, match="disk full"):
        GpunnSearchCV(CLASSIFIER, grid, cv=2, error_score="raise").fit(X, Y)


def test_it_can_be_pickled_and_refuses_other_estimators() -> None:
    search = GpunnSearchCV(CLASSIFIER, GRID, cv=2, n_jobs=2).fit(X, Y)
    assert search.n_jobs == 2
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.predict(X), search.predict(X))
    with pytest.raises(TypeError, match="use scikit-learn's GridSearchCV"):
        GpunnSearchCV(LogisticRegression(), {"C": [1.0]}).fit(X, Y)
