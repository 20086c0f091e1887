"""Networks as scikit-learn estimators: pipelines, searches, weights, labels and copies."""

from __future__ import annotations

import io
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, validation_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

import gpunn
from gpunn.sklearn import GpunnClassifier, GpunnRegressor

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
RANDOM = np.random.default_rng(3)
QUICK: dict[str, Any] = {"hidden_layer_sizes": 12, "learning_rate": 0.03, "random_state": 0}
LINE = RANDOM.normal(size=(60, 3))
SUMS = LINE @ [[1.0, 300.0], [2.0, 0.0], [0.0, -100.0]] + [5000.0, 0.0]


def classifier(**given: Any) -> GpunnClassifier:
    return GpunnClassifier(**{**QUICK, "epochs": 60, **given})


def regressor(**given: Any) -> GpunnRegressor:
    return GpunnRegressor(**{**QUICK, "epochs": 100, **given})


def test_names_of_classes() -> None:
    fitted = classifier().fit(X, NAMES)
    assert fitted.classes_.tolist() == sorted(set(NAMES))
    assert fitted.score(X, NAMES) == accuracy_score(NAMES, fitted.predict(X)) > 0.93
    assert np.allclose(fitted.predict_proba(X).sum(axis=1), 1)
    assert fitted.predict_proba(X).argmax(axis=1).tolist() == np.searchsorted(
        fitted.classes_, fitted.predict(X)
    ).tolist()  # fmt: skip
    two = classifier().fit(X[:100], NAMES[:100])
    assert two.predict_proba(X[:100]).shape == (100, 2) and two.score(X[:100], NAMES[:100]) == 1
    only = classifier(epochs=2).fit(X[:50], NAMES[:50])
    assert set(only.predict(X)) == {"setosa"} and only.predict_proba(X).shape == (150, 1)


def test_targets_are_scaled_and_predictions_are_in_their_units() -> None:
    fitted = regressor().fit(LINE, SUMS)
    assert fitted.predict(LINE).shape == SUMS.shape and fitted.n_outputs_ == 2
    assert fitted.score(LINE, SUMS) == r2_score(SUMS, fitted.predict(LINE)) > 0.97
    one = regressor().fit(LINE, SUMS[:, 0])
    assert one.predict(LINE).shape == (60,) and abs(one.predict(LINE).mean() - 5000) < 1
    assert regressor(scale=False).fit(LINE, SUMS[:, 0]).score(LINE, SUMS[:, 0]) < 0


def test_several_labels_and_several_outputs() -> None:
    x, labels = make_multilabel_classification(80, 6, n_classes=4, random_state=0)
    fitted = classifier(epochs=300).fit(x, labels)
    assert fitted.predict_proba(x).shape == labels.shape == fitted.predict(x).shape
    assert (fitted.predict(x) == (fitted.predict_proba(x) > 0.5)).all()
    assert fitted.score(x, labels) == accuracy_score(labels, fitted.predict(x)) > 0.6
    assert (classifier(epochs=300).fit(x, sparse.csr_array(labels)).predict(x)
            == fitted.predict(x)).all()  # fmt: skip
    several = np.stack([NAMES, (Y == 0).astype(str), NAMES[::-1]], 1)
    fitted = classifier().fit(X, several)
    assert [list(c) for c in fitted.classes_] == [sorted(set(c)) for c in several.T]
    assert [p.shape for p in fitted.predict_proba(X)] == [(150, 3), (150, 2), (150, 3)]
    assert (fitted.predict(X)[:, :2] == several[:, :2]).mean() > 0.9


@pytest.mark.parametrize("make", [classifier, regressor])
def test_weights_are_repetitions_to_the_last_bit(make: Any) -> None:
    times = RANDOM.integers(0, 4, 150)
    weighted = make(epochs=20).fit(X, Y, sample_weight=times)
    order = RANDOM.permutation(times.sum())
    repeated = make(epochs=20).fit(np.repeat(X, times, 0)[order], np.repeat(Y, times)[order])
    quarters = make(epochs=20).fit(X, Y, sample_weight=times / 4)
    for other in (repeated, quarters):
        for a, b in zip(other.model_.get_weights(), weighted.model_.get_weights(), strict=True):
            assert a.tobytes() == b.tobytes()
        assert other.predict(X).tobytes() == weighted.predict(X).tobytes()


@pytest.mark.parametrize("held_out", [{}, {"early_stopping": True, "validation_split": 0.5}])
@pytest.mark.parametrize("least", [0.0, 1e-14])  # rows of weight 0 are not held out
def test_a_row_of_no_weight_has_no_say(held_out: Any, least: float) -> None:
    weights = np.maximum(np.arange(60) % 3, least)
    other = np.where(weights == least, 1e3, SUMS[:, 0])
    fitted = [
        regressor(epochs=8, scale=False, **held_out).fit(LINE, y, sample_weight=weights)
        for y in (SUMS[:, 0], other)
    ]
    for name, values in fitted[0].history_.items():
        np.testing.assert_allclose(fitted[1].history_[name], values, rtol=1e-6)
    np.testing.assert_allclose(*(each.predict(LINE) for each in fitted), rtol=1e-5)


def test_balanced_classes_weigh_the_same() -> None:
    x = np.concatenate([RANDOM.normal(0, 1, (90, 1)), RANDOM.normal(1.5, 1, (10, 1))])
    y = np.repeat([0, 1], [90, 10])
    found = [classifier(class_weight=w).fit(x, y).predict(x).mean() for w in (None, "balanced")]
    by_hand = classifier(class_weight={0: 100 / 180, 1: 5.0}).fit(x, y).predict(x).mean()
    assert found[0] < 0.1 < 0.15 < found[1] == by_hand


@pytest.mark.in_turn(2)
def test_pipelines_searches_and_processes(tmp_path: Any) -> None:
    table = np.concatenate([X, NAMES[:, None]], axis=1).astype(object)
    steps = ColumnTransformer([("n", MinMaxScaler(), [0, 1, 2, 3]), ("c", OneHotEncoder(), [4])])
    pipeline = make_pipeline(steps, classifier(epochs=30))
    assert pipeline.fit(table, NAMES).score(table, NAMES) > 0.95
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    again = joblib.load(tmp_path / "pipeline.joblib")
    assert again.predict_proba(table).tobytes() == pipeline.predict_proba(table).tobytes()
    search = GridSearchCV(classifier(), {"hidden_layer_sizes": [(4,), (8, 4)], "dropout": [0.1]},
                          cv=2).fit(X, NAMES)  # fmt: skip
    assert search.best_score_ > 0.85 and search.best_estimator_.dropout == 0.1
    scores = cross_val_score(classifier(), X, NAMES, cv=2, n_jobs=2)
    assert scores.tolist() == cross_val_score(classifier(), X, NAMES, cv=2).tolist()
    train, test = validation_curve(
        classifier(), X, Y, param_name="epochs", param_range=[1, 60], cv=2
    )
    assert train.mean(axis=1)[0] < train.mean(axis=1)[1] and test.shape == (2, 2)


def test_clones_and_copies() -> None:
    stop = gpunn.callbacks.TerminateOnNaN()
    original = classifier(
        optimizer=gpunn.optimizers.SGD(0.1, momentum=0.9), learning_rate=None, callbacks=[stop],
        loss=gpunn.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
    )  # fmt: skip
    fitted = clone(original).fit(X, NAMES)
    assert not hasattr(original, "model_")
    assert clone(fitted).fit(X, NAMES).history_ == fitted.history_
    assert set(fitted.history_) == {"loss", "accuracy"} and len(fitted.loss_curve_) == 60
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    assert joblib.load(file).predict_proba(X).tobytes() == fitted.predict_proba(X).tobytes()


def test_a_subclass_may_add_parameters_and_change_its_constructor() -> None:
    class Wide(GpunnClassifier):
        def __init__(self, width: int = 3, **others: Any) -> None:
            super().__init__(hidden_layer_sizes=(width,), **others)
            self.width = width

        @classmethod
        def _get_param_names(cls) -> list[str]:
            names: list[str] = super()._get_param_names()
            names.append("epochs")
            return names

    for _ in range(2):
        assert Wide._get_param_names() == ["width", "epochs"]
    assert clone(Wide(5).set_params(epochs=7)).get_params() == {"width": 5, "epochs": 7}

    def init(self: Any, width: int = 3, depth: int = 1, **others: Any) -> None:
        GpunnClassifier.__init__(self, hidden_layer_sizes=(width,) * depth, **others)
        self.width, self.depth = width, depth

    Wide.__init__ = init  # type: ignore[assignment, method-assign]
    assert clone(Wide(width=5, depth=2)).get_params() == {"width": 5, "depth": 2, "epochs": 200}


def test_random_state_decides_and_disturbs_no_one() -> None:
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    one, same, other = (classifier(random_state=s, dropout=0.2).fit(X, Y) for s in (1, 1, 2))
    assert one.history_ == same.history_ != other.history_
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_warm_start_and_partial_fit_go_on() -> None:
    warm = classifier(epochs=3, warm_start=True).fit(X, Y)
    losses = [warm.loss_curve_[-1]]
    for _ in range(3):
        losses.append(warm.fit(X, Y).loss_curve_[-1])
    assert losses == sorted(losses, reverse=True) and len(warm.loss_curve_) == 12
    part = classifier()
    with pytest.raises(ValueError, match="not known: \\['virginica'\\]"):
        part.partial_fit(X[:100], NAMES[:100]).partial_fit(X, NAMES)
    part = classifier()
    for start in (0, 50, 100) * 12:
        part.partial_fit(X[start : start + 50], NAMES[start : start + 50], np.unique(NAMES))
    assert len(part.loss_curve_) == 36 and part.n_iter_ == 1
    line = regressor()
    for _ in range(80):
        line.partial_fit(LINE, SUMS)
    assert line.score(LINE, SUMS) > 0.9


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0, 1]])
@pytest.mark.parametrize("kind", ["int", "str"])
def test_classes_may_be_given_in_any_order(order: Any, kind: str) -> None:
    names: Any = [3, 7, 11] if kind == "int" else ["no", "perhaps", "yes"]
    y = np.array(names)[Y].astype(kind)
    given, sorted_ = (classifier(learning_rate=0.05) for _ in range(2))
    for _ in range(3):
        given.partial_fit(X, y, classes=[names[k] for k in order])
        sorted_.partial_fit(X, y, classes=names)
    assert given.classes_.tolist() == names
    assert given.predict(X).tolist() == sorted_.predict(X).tolist()
    assert given.predict_proba(X).tobytes() == sorted_.predict_proba(X).tobytes()


def test_training_stops_by_the_loss_or_by_rows_held_out() -> None:
    by_loss = classifier(epochs=500, tol=0.01, n_iter_no_change=3).fit(X, Y)
    curve, best, waited = by_loss.loss_curve_, np.inf, 0
    for epoch, loss in enumerate(curve, 1):  # MLPClassifier's rule
        waited, best = waited + 1 if loss > best - 0.01 else 0, min(best, loss)
        assert (waited > 3) == (epoch == len(curve))
    assert len(curve) < 100
    held = classifier(epochs=300, early_stopping=True, validation_split=0.4, n_iter_no_change=5)
    held.fit(X, NAMES)
    found = held.history_["val_loss"]
    assert held.n_iter_ == len(found) < 300 and held.score(X, NAMES) > 0.9
    draws = np.random.RandomState(0)  # other rows are held out each time
    warm = classifier(epochs=4, early_stopping=True, warm_start=True, random_state=draws)
    rows = np.random.default_rng(0).permutation(150)
    seen = [warm.fit(X[rows], Y[rows]).history_["val_loss"][-1] for _ in range(30)]
    assert seen[-1] < 0.4 * seen[0] and len(warm.history_["val_loss"]) <= 120
    rarely = classifier(epochs=6, early_stopping=True, validation_freq=3).fit(X, Y)
    assert len(rarely.history_["val_loss"]) == 2
    assert classifier(epochs=40, n_iter_no_change=None, tol=9).fit(X, Y).n_iter_ == 40


@pytest.mark.parametrize("tol", [0.0, 0.003, 0.03])
@pytest.mark.parametrize("patience", [1, 2, 6])
def test_a_callback_that_sees_each_epoch_changes_nothing(patience: int, tol: float) -> None:
    given: dict[str, Any] = {"tol": tol, "n_iter_no_change": patience}
    seen: list[float] = []
    watch = gpunn.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: seen.append(logs["loss"]))
    alone = classifier(epochs=900, **given).fit(X, Y)  # its epochs may run together
    watched = classifier(epochs=900, callbacks=watch, **given).fit(X, Y)
    assert alone.loss_curve_ == watched.loss_curve_ == seen and alone.n_iter_ == watched.n_iter_
    assert alone.predict_proba(X).tobytes() == watched.predict_proba(X).tobytes()


def test_a_function_that_builds_the_network() -> None:
    seen = []

    def with_probabilities(inputs: int, outputs: int) -> gpunn.Model:
        seen.append((inputs, outputs))
        return gpunn.Sequential([
            gpunn.layers.Dense(8, activation="tanh"),
            gpunn.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid"),
        ])  # fmt: skip

    def compiled(inputs: int, outputs: int) -> gpunn.Model:
        model = gpunn.Sequential([gpunn.Input((inputs,)), gpunn.layers.Dense(outputs)])
        model.compile(gpunn.optimizers.Adam(0.3), "mse")
        return model

    fitted = classifier(model=with_probabilities).fit(X, NAMES)
    assert fitted.score(X, NAMES) > 0.93 and np.allclose(fitted.predict_proba(X).sum(axis=1), 1)
    assert classifier(model=with_probabilities).fit(X[:100], Y[:100]).score(X[:100], Y[:100]) == 1
    assert seen == [(4, 3), (4, 1)]
    line = regressor(model=compiled, n_iter_no_change=None).fit(LINE, SUMS)
    assert np.allclose(
        line.predict(LINE), LinearRegression().fit(LINE, SUMS).predict(LINE), 1e-2, 9
    )
    with pytest.raises(ValueError, match=r"outputs of \[3\] units; \[1\] are needed"):
        regressor(model=lambda inputs, outputs: compiled(inputs, 3)).fit(X, Y)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"hidden_layer_sizes": (4, 0)}, ValueError, "hidden_layer_sizes must be"),
        ({"hidden_layer_sizes": "4"}, TypeError, "hidden_layer_sizes must be a number or"),
        ({"activation": "relv"}, ValueError, "Did you mean 'relu'"),
        ({"optimizer": "adm"}, ValueError, "Did you mean 'adam'"),
        ({"loss": "msee"}, ValueError, "Did you mean"),
        ({"dropout": 1.0}, ValueError, "dropout must be"),
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"batch_size": -1}, ValueError, "batch_size must be"),
        ({"class_weight": "equal"}, ValueError, "'balanced' or a dictionary"),
        ({"class_weight": {7: 1.0}}, ValueError, "not in class_weight"),
        ({"early_stopping": True, "validation_split": 0.0}, ValueError, "validation_split above 0"),
        ({"model": 3}, TypeError, "model must be None or a function"),
        ({"dtype": "float16"}, ValueError, "dtype must be"),
    ],
)
def test_errors_come_before_any_work(given: Any, error: Any, match: str) -> None:
    estimator = classifier(**given)
    with pytest.raises(error, match=match):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "model_")


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, pd.DataFrame])
@pytest.mark.parametrize("weights", [{0: 1.0, 1: 30.0}, {1: 0.0}, "balanced"])
def test_class_weights_leave_the_rows_held_out_alone(form: Any, weights: Any) -> None:
    """With a learning rate of 0, the loss on held-out rows depends on nothing else."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(90, 3)), (random.random(90) < 0.2).astype(int)
    found = []
    for given in (None, weights):
        classifier = GpunnClassifier(
            4, class_weight=given, early_stopping=True, epochs=2, random_state=0, scale=False,
            optimizer="sgd", learning_rate=0.0,
        )  # fmt: skip
        found.append(classifier.fit(form(x), y, sample_weight=1 + y).history_)
    assert found[1]["val_loss"] == found[0]["val_loss"]
    assert found[1]["loss"] != found[0]["loss"]


def test_a_class_that_a_batch_lacks_is_weighed_without_a_warning() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    classifier = GpunnClassifier(4, class_weight="balanced", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.partial_fit(x, y, classes=[0, 1, 2, 3])
        classifier.partial_fit(x, y + 2)
    even = GpunnClassifier(4, random_state=0)  # two equal classes: each row has the same weight
    even.partial_fit(x, y, classes=[0, 1, 2, 3]).partial_fit(x, y + 2)
    np.testing.assert_array_equal(classifier.predict_proba(x), even.predict_proba(x))


def test_weights_of_0_for_all_classes_are_refused() -> None:
    x, y = np.zeros((20, 2)), np.arange(20) % 2
    with pytest.raises(ValueError, match="class_weight is 0 for all rows"):
        GpunnClassifier(4, class_weight={0: 0.0, 1: 0.0}).fit(x, y)


def test_a_second_partial_fit_scales_as_the_first() -> None:
    """With a negligible learning rate, rows of another range change no prediction."""
    part = classifier(optimizer="sgd", learning_rate=1e-30)
    part.partial_fit(X, NAMES, np.unique(NAMES))
    before = part.predict_proba(X)
    part.partial_fit(X * 100 + 7, NAMES)
    np.testing.assert_array_equal(part.predict_proba(X), before)
    line = regressor(optimizer="sgd", learning_rate=1e-30).partial_fit(LINE, SUMS)
    expected = line.predict(LINE)
    np.testing.assert_array_equal(line.partial_fit(LINE + 50, SUMS * 9).predict(LINE), expected)
