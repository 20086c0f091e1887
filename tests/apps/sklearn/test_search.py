"""`GpunnSearchCV` has the results of scikit-learn's `GridSearchCV`; its fits train together."""

from __future__ import annotations

import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from gpunn.callbacks import LambdaCallback
from gpunn.models import Model, NonFiniteLossError
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


@pytest.mark.parametrize("case", CASES)
def test_networks_that_train_in_turn_give_the_same(case: str) -> None:
    estimator, given, params = CASES[case]
    given = {"param_grid": GRID, **given}
    expected = GridSearchCV(estimator, **given).fit(X, Y, **params)
    for jobs in (1, 3):
        assert_same(GpunnSearchCV(estimator, n_jobs=jobs, **given).fit(X, Y, **params), expected)


MIXED: dict[str, list[Any]] = {
    "random_state": [0, 1], "learning_rate": [None, 0.02, np.float32(0.1)], "epochs": [4, 9],
    "batch_size": [7, "auto"], "n_iter_no_change": [1, None],
}  # fmt: skip
PARTS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "dropout": (GpunnClassifier(5, dropout=0.3), Y, {}),
    "wide": (GpunnRegressor(6, dtype="float64", metrics=["mae"]), np.stack([Y, X[:, 0]], 1), {}),
    "two outputs": (GpunnClassifier(5), np.stack([Y, np.arange(90) % 3], 1), {}),
    "weights": (GpunnClassifier(5, class_weight="balanced"), Y, {"sample_weight": WEIGHTS}),
    "unsorted": (GpunnRegressor(5, shuffle=False, loss="mae", optimizer="rmsprop"), X[:, 1], {}),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_settings_of_other_seeds_rates_and_batches(part: str) -> None:
    estimator, y, params = PARTS[part]
    given: dict[str, Any] = {"cv": KFold(2), "refit": False}
    if isinstance(estimator, GpunnClassifier) and y is Y:  # which differs by any bit
        given["scoring"] = "neg_log_loss"
    expected = GridSearchCV(estimator, MIXED, **given).fit(X, y, **params)
    assert len(set(expected.cv_results_["mean_test_score"])) > 12
    assert_same(GpunnSearchCV(estimator, MIXED, **given).fit(X, y, **params), expected)


def test_searches_of_several_threads_share_nothing() -> None:
    grid = {"learning_rate": [0.003, 0.03], "activation": ["relu", "tanh"]}
    estimators = [GpunnClassifier(5, epochs=20, random_state=k % 2) for k in range(4)]
    targets = [Y, Y, 1 - Y, np.arange(90) % 3]
    expected = [
        GridSearchCV(one, grid, cv=3).fit(X, y)
        for one, y in zip(estimators, targets, strict=True)
    ]
    searches = [GpunnSearchCV(one, grid, cv=3, n_jobs=2) for one in estimators]
    with ThreadPoolExecutor(len(searches)) as pool:
        found = list(pool.map(lambda search, y: search.fit(X, y), searches, targets))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_who_sees_an_estimator_may_keep_it() -> None:
    kept: list[tuple[Any, float, Any, Any]] = []

    def scored(estimator: Any, X: Any, y: Any) -> float:
        score = float(estimator.score(X, y))
        kept.append((estimator, score, X, y))
        return score

    search = GpunnSearchCV(CLASSIFIER, GRID, cv=3, scoring=scored, refit=False).fit(X, Y)
    assert [score for _, score, *_ in kept] == np.stack(
        [search.cv_results_[f"split{k}_test_score"] for k in range(3)], axis=1
    ).ravel().tolist()  # fmt: skip
    for estimator, score, x, y in kept:
        assert estimator.score(x, y) == score
    assert len({id(estimator.model_) for estimator, *_ in kept}) == 12


def test_a_search_leaves_no_network_behind() -> None:
    def networks() -> int:
        gc.collect()
        return sum(isinstance(one, Model) for one in gc.get_objects())

    before, x = networks(), X.copy()
    data = weakref.ref(x)
    search = GpunnSearchCV(CLASSIFIER, GRID, cv=3).fit(x, Y)
    assert networks() == before + 1, "that of the best estimator"
    del x, search
    assert networks() == before and data() is None


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
def test_settings_that_fail_draw_one_seed_for_each_fit() -> None:
    estimator, grid = GpunnClassifier(4, epochs=2), {"learning_rate": [-1.0, 0.02, 0.1]}
    found: list[Any] = []
    expected: list[Any] = []
    for kind, curves in ((GpunnSearchCV, found), (GridSearchCV, expected)):
        np.random.seed(0)  # noqa: NPY002
        search = kind(estimator, grid, cv=2, scoring="neg_log_loss").fit(X, Y)
        curves += [search.best_estimator_.loss_curve_, search.best_score_]
    assert found == expected


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
