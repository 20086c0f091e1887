"""Test metrics against scikit-learn where the definitions agree, on arrays and in models."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers, losses, metrics, ops
from gpunn.backends import get_backend
from gpunn.metrics.binned import Binned

sklearn = pytest.importorskip("sklearn.metrics")
BACKENDS = ["numpy", "compiled", "emulated"]


def numbers(seed: int, rows: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and weights."""
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 2, rows)
    y_score = (y_true * 0.3 + random.normal(0.4, 0.3, rows)).clip(0, 1).round(1)
    return y_true, y_score, random.uniform(0.1, 3, rows)


def classes(seed: int, rows: int = 60, n: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class indices, probabilities and weights."""
    random = np.random.default_rng(seed)
    y_true = random.integers(0, n, rows)
    y_pred = random.dirichlet(np.ones(n), rows) + 0.5 * np.eye(n)[y_true]
    return y_true, y_pred / y_pred.sum(axis=1, keepdims=True), random.uniform(0.1, 3, rows)


# -- functions


@pytest.mark.parametrize("drop", [{}, {"drop_intermediate": True}, {"drop_intermediate": False}])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("rows", [2, 7, 60])
def test_roc_curve(rows: int, weighted: bool, drop: dict[str, bool]) -> None:
    y_true, y_score, weights = numbers(rows, rows)
    y_true[:2] = 0, 1
    sample_weight = weights if weighted else None
    ours = metrics.roc_curve(y_true, y_score, sample_weight, **drop)
    theirs = sklearn.roc_curve(y_true, y_score, sample_weight=sample_weight, **drop)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    area = sklearn.roc_auc_score(y_true, y_score, sample_weight=sample_weight)
    assert metrics.roc_auc(y_true, y_score, sample_weight) == pytest.approx(area, rel=1e-12)


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    y_true, y_score, _ = numbers(3)
    pairs = np.subtract.outer(y_score[y_true == 1], y_score[y_true == 0])
    expected = np.mean(pairs > 0) + np.mean(pairs == 0) / 2
    assert metrics.roc_auc(y_true[:, None], y_score[:, None]) == pytest.approx(expected)
    assert metrics.roc_auc(y_true, np.zeros(len(y_true))) == 0.5
    with pytest.raises(ValueError, match=r"y_true has shape \(2, 2\) and y_score \(2, 2\)"):
        metrics.roc_curve(np.eye(2), np.eye(2))
    assert metrics.roc_auc(y_true == 1, y_true) == 1.0


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", None])
@pytest.mark.parametrize("weighted", [True, False])
def test_roc_auc_of_several_labels(average: str | None, weighted: bool) -> None:
    y_true, y_score, weights = classes(1)
    hot = np.eye(4)[y_true]
    sample_weight = weights if weighted else None
    expected = sklearn.roc_auc_score(hot, y_score, average=average, sample_weight=sample_weight)
    for truth in (hot, y_true):
        found = metrics.roc_auc(truth, y_score, sample_weight, average)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_curves_that_there_are_not() -> None:
    with pytest.warns(UserWarning, match="no negative sample"):
        assert np.isnan(metrics.roc_auc([1, 1], [0.1, 0.2]))
    with pytest.warns(UserWarning, match="no positive sample"):
        fpr, tpr, _ = metrics.roc_curve([0, 0], [0.1, 0.2])
    assert np.isnan(tpr).all() and fpr[-1] == 1
    for message, arguments in {
        "empty": ([], []),
        "one number per sample": ([0, 1], [1, 2, 3]),
        "must hold 0 and 1; found": ([0, 2], [0.1, 0.2]),
        "NaN": ([0, 1], [0.1, np.nan]),
        "sample_weight": ([0, 1], [0.1, 0.2], [1]),
        "average": ([0, 1], [0.1, 0.2], None, "samples"),
    }.items():
        with pytest.raises(ValueError, match=message):
            metrics.roc_auc(*arguments)


@pytest.mark.parametrize("normalize", ["true", "pred", "all", None])
@pytest.mark.parametrize("labels", [None, [3, 1], [0, 1, 2, 3, 9]], ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_confusion_matrix(normalize: str | None, labels: list | None, weighted: bool) -> None:
    y_true, y_pred, weights = classes(2)
    answer = y_pred.argmax(axis=1)
    options = {"labels": labels, "normalize": normalize}
    options["sample_weight"] = weights if weighted else None
    expected = sklearn.confusion_matrix(y_true, answer, **options)
    found = metrics.confusion_matrix(y_true, y_pred, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.dtype == expected.dtype


def test_confusion_matrix_of_names_and_what_it_refuses() -> None:
    animals = (["cat", "ant", "cat", "cat"], ["ant", "ant", "cat", "bird"])
    expected = sklearn.confusion_matrix(*animals)
    np.testing.assert_array_equal(metrics.confusion_matrix(*animals), expected)
    with pytest.raises(ValueError, match=r"y_pred holds 0\.3, which is not a class"):
        metrics.confusion_matrix([0, 1], [0.3, 1.0])
    with pytest.raises(ValueError, match="2 samples, y_pred for 1"):
        metrics.confusion_matrix([0, 1], [0])


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"digits": 4}, {"labels": [0, 2]}, {"target_names": ["a", "bb", "c" * 14, "d"]}],
    ids=str,
)
def test_classification_report(options: dict[str, Any], weighted: bool) -> None:
    y_true, y_pred, weights = classes(4)
    answer = y_pred.argmax(axis=1)
    answer[answer == 3] = 1  # a class that is never predicted
    options = {**options, "sample_weight": weights if weighted else None}
    theirs = {**options, "zero_division": 0}
    if not weighted:  # scikit-learn prints all digits of a weight
        text = metrics.classification_report(y_true, answer, **options)
        assert text == sklearn.classification_report(y_true, answer, **theirs)
    found = metrics.classification_report(y_true, answer, output_dict=True, **options)
    expected = sklearn.classification_report(y_true, answer, output_dict=True, **theirs)
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name] == pytest.approx(row)


# -- metrics, over batches of different sizes


def over_batches(metric: Any, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
    for part in (slice(0, 7), slice(7, 8), slice(8, None)):
        metric.update_state(y_true[part], y_pred[part], None if weights is None else weights[part])
    return metric.result()


@pytest.mark.parametrize("weighted", [True, False])
def test_counts_at_a_threshold(weighted: bool) -> None:
    y_true, y_score, weights = numbers(5)
    given = weights if weighted else None
    answer = y_score > 0.5
    table = sklearn.confusion_matrix(y_true, answer, sample_weight=given)
    expected = {
        metrics.TrueNegatives(): table[0, 0],
        metrics.FalsePositives(): table[0, 1],
        metrics.FalseNegatives(): table[1, 0],
        metrics.TruePositives(): table[1, 1],
        metrics.ConfusionMatrix(): table,
        metrics.Precision(): sklearn.precision_score(y_true, answer, sample_weight=given),
        metrics.Recall(): sklearn.recall_score(y_true, answer, sample_weight=given),
        metrics.F1Score(threshold=0.5): [sklearn.f1_score(y_true, answer, sample_weight=given)],
        metrics.FBetaScore("micro", 2.0, 0.5): sklearn.fbeta_score(
            y_true, answer, beta=2.0, sample_weight=given
        ),
    }
    for metric, value in expected.items():
        found = over_batches(metric, y_true, y_score, given)
        np.testing.assert_allclose(found, value, rtol=1e-6, err_msg=metric.name)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("hot", [True, False], ids=["one-hot", "class numbers"])
def test_f1_of_classes(average: str | None, weighted: bool, hot: bool) -> None:
    y_true, y_pred, weights = classes(6)
    given = weights if weighted else None
    answer = y_pred.argmax(axis=1)
    expected = sklearn.f1_score(y_true, answer, average=average, sample_weight=given)
    metric = metrics.F1Score(average)
    found = over_batches(metric, np.eye(4)[y_true] if hot else y_true, y_pred, given)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for c in range(4):
        recall = metrics.Recall(class_id=c, top_k=1)
        share = sklearn.recall_score(y_true == c, answer == c, sample_weight=given)
        assert over_batches(recall, y_true, y_pred, given) == pytest.approx(share)


def test_metrics_of_one_form_have_thresholds_of_their_own(backend: str) -> None:
    gpunn.use_backend(backend)
    y_true, y_pred = np.ones(4), np.array([0.2, 0.4, 0.6, 0.8])
    for low, high in ((0.1, 0.5), (0.5, 0.9)):
        found = [float(metrics.Recall(t)(y_true, y_pred)) for t in (low, high, low)]
        expected = [sklearn.recall_score(y_true, y_pred > t) for t in (low, high, low)]
        assert found == expected


@pytest.mark.parametrize("weighted", [True, False])
def test_auc_is_exact_where_each_score_has_a_threshold(weighted: bool) -> None:
    y_true, y_score, weights = numbers(7)
    given = weights if weighted else None
    between = (np.unique(y_score)[1:] + np.unique(y_score)[:-1]) / 2
    expected = sklearn.roc_auc_score(y_true, y_score, sample_weight=given)
    metric = metrics.AUC(thresholds=between)
    assert over_batches(metric, y_true, y_score, given) == pytest.approx(expected)
    fine = metrics.AUC(num_thresholds=1000)
    assert over_batches(fine, y_true, y_score, given) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_regression(weighted: bool, shift: float) -> None:
    random = np.random.default_rng(8)
    y_true = random.normal(shift, 2, (50, 3))
    y_pred = y_true + random.normal(0.3, 1, (50, 3))
    given = random.uniform(0.1, 3, 50) if weighted else None
    options = {"sample_weight": given}
    expected = {
        metrics.R2Score(): sklearn.r2_score(y_true, y_pred, **options),
        metrics.R2Score(None): sklearn.r2_score(
            y_true, y_pred, multioutput="raw_values", **options
        ),
        metrics.R2Score("variance_weighted_average"): sklearn.r2_score(
            y_true, y_pred, multioutput="variance_weighted", **options
        ),
        metrics.RootMeanSquaredError(): np.sqrt(
            sklearn.mean_squared_error(y_true, y_pred, **options)
        ),
        metrics.MeanSquaredError(): sklearn.mean_squared_error(y_true, y_pred, **options),
        metrics.MeanAbsoluteError(): sklearn.mean_absolute_error(y_true, y_pred, **options),
        metrics.MeanAbsolutePercentageError(): 100
        * sklearn.mean_absolute_percentage_error(y_true, y_pred, **options),
        metrics.EuclideanDistance(): np.average(
            np.linalg.norm(y_true - y_pred, axis=1), weights=given
        ),
    }
    for metric, value in expected.items():
        found = over_batches(metric, y_true, y_pred, given)
        np.testing.assert_allclose(found, value, rtol=1e-7, err_msg=metric.name)


def test_an_adjusted_score_counts_rows(keras: Any) -> None:
    random = np.random.default_rng(0)
    y_true = random.normal(size=(12, 3))
    y_pred = y_true + 0.5 * random.normal(size=y_true.shape)
    weights = np.repeat([0.0, 1.0], [4, 8])

    def adjusted(n: int, columns: int, first: int = 0) -> float:
        plain = sklearn.r2_score(y_true[first:, :columns], y_pred[first:, :columns])
        return 1 - (1 - plain) * (n - 1) / (n - 3)

    # The columns, the first row that counts, and what n is in gpunn and in Keras.
    for columns, first, rows, elements in ((1, 0, 12, 12), (3, 0, 12, 36), (1, 4, 8, 12)):
        for module, n in ((gpunn, rows), (keras, elements)):
            metric = module.metrics.R2Score(num_regressors=2)
            given = weights if first else None
            metric.update_state(y_true[:, :columns], y_pred[:, :columns], sample_weight=given)
            expected = adjusted(n, columns, first)
            np.testing.assert_allclose(float(metric.result()), expected, rtol=1e-5)


@pytest.mark.parametrize("y_pred", [[2.0, 2.0, 2.0], [2.0, 1.5, 2.0]], ids=str)
def test_r2_of_targets_that_are_all_equal(y_pred: list[float]) -> None:
    assert metrics.R2Score()([2.0] * 3, y_pred) == sklearn.r2_score([2.0] * 3, y_pred)
    # Here scikit-learn divides by the rounding error of a mean.
    assert metrics.R2Score()([0.1] * 3, [0.1, 0.2, 0.1]) == 0


@pytest.mark.parametrize(("name", "arguments"), registered.cases("metric"), ids=registered.label)
def test_nothing_yet_is_nothing(name: str, arguments: dict) -> None:
    if name in (*registered.OF_VALUES, "MeanMetricWrapper"):
        return
    metric = registered.make("metric", name, arguments)
    assert not np.any(metric.result())
    width = getattr(metric, "outputs", None) or 3
    y_pred = np.zeros((0, width), np.float32)
    metric.update_state(np.zeros(0, np.int32) if metric.sparse else y_pred, y_pred)
    found = metric.result()
    assert not np.any(found) and np.isfinite(found).all()


def test_weights_that_do_not_fit_are_refused() -> None:
    for weight in ([1, 2], [[1, 2, 3, 4]], np.ones((3, 1, 1, 1))):
        with pytest.raises(ValueError, match="sample_weight of shape"):
            metrics.F1Score()(np.eye(3), np.eye(3), weight)
    with pytest.raises(ValueError, match="expected one per row"):
        metrics.ConfusionMatrix()(np.eye(3), np.eye(3), np.ones((3, 3)))


# -- in models

OUTPUTS = 5  # as in the registered cases that state a number of outputs


def candidates(sparse: bool) -> list[Any]:
    """Each registered metric that reads such targets, built for the number of outputs."""
    found = []
    for name, arguments in registered.cases("metric"):
        if name in (*registered.OF_VALUES, "MeanMetricWrapper"):
            continue
        metric = registered.make("metric", name, arguments)
        if metric.sparse in (None, sparse) and not arguments.get("from_sorted_ids"):
            metric.build((None, OUTPUTS))
            found.append(metric)
    return found


def fits(metric: Any, sparse: bool) -> bool:
    """Whether it suits a model that ends in softmax; `test_readings.py` tests those that do not."""
    return not getattr(metric, "from_logits", False) and not (sparse and metric.remedy)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sparse", [True, False], ids=["class numbers", "rows"])
def test_in_a_model_as_on_its_predictions(sparse: bool, backend: str) -> None:
    gpunn.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    chain = [layers.Input((5,)), layers.Dense(OUTPUTS, "softmax")]
    model = gpunn.Sequential(chain, backend=backend, dtype="float64")
    plain, weighted = ([m for m in candidates(sparse) if fits(m, sparse)] for _ in range(2))
    assert len(plain) > 10
    loss = losses.SparseCategoricalCrossentropy() if sparse else losses.CategoricalCrossentropy()
    model.compile("sgd", loss, metrics=plain, weighted_metrics=weighted)
    x, labels = random.normal(size=(23, 5)), random.integers(0, OUTPUTS, 23)
    y, weights = labels if sparse else np.eye(OUTPUTS)[labels], random.uniform(0.1, 3, 23)
    values = model.evaluate(x, y, batch_size=5, sample_weight=weights, verbose=0)[1:]
    y_pred = model.predict(x, verbose=0)
    assert len(values) == len(plain) + len(weighted)
    for i, (metric, value) in enumerate(zip([*plain, *weighted], values, strict=True)):
        again = type(metric).from_config(metric.get_config())
        again.update_state(y, y_pred, None if i < len(plain) else weights)
        expected = again.result()
        if isinstance(metric, Binned):  # the result is an array, and its summary was logged
            np.testing.assert_allclose(metric.result(), expected, err_msg=metric.name)
            counts = isinstance(metric, metrics.ConfusionMatrix)
            expected = np.trace(expected) / np.sum(expected) if counts else np.mean(expected)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12), metric.name


@pytest.mark.parametrize("sparse", [True, False], ids=["class numbers", "rows"])
def test_a_step_with_metrics_is_listed(sparse: bool) -> None:
    """On either backend, it uses only array calls with out=, or kernels."""
    random = np.random.default_rng(2)
    labels = random.integers(0, OUTPUTS, 9).astype(np.int32)
    y_pred = random.dirichlet(np.ones(OUTPUTS), 9).astype(np.float32)
    y_true = labels if sparse else np.eye(OUTPUTS, dtype=np.float32)[labels]
    weights = random.uniform(0.1, 1, 9).astype(np.float32)
    isolated: list[Any] = [get_backend(name).isolated() for name in ("numpy", "emulated")]
    numpy, gpu = isolated
    for metric in candidates(sparse):
        for given in (None, weights):
            state, once = np.zeros(metric.state_size), np.zeros(metric.state_size)
            numpy.metric(metric, y_true, y_pred, given, once)
            calls = numpy.trace(partial(numpy.metric, metric, y_true, y_pred, given, state)).calls
            assert not state.any(), metric.name
            for call in [*calls, *calls]:
                call()
            np.testing.assert_allclose(state, 2 * once, rtol=1e-12, err_msg=metric.name)
            arrays = [None if a is None else gpu.upload(a) for a in (y_true, y_pred, given, once)]
            assert gpu.trace(partial(gpu.metric, metric, *arrays), False), metric.name


@pytest.mark.parametrize(("name", "arguments"), registered.cases("loss"), ids=registered.label)
def test_a_step_with_a_loss_is_listed(name: str, arguments: dict) -> None:
    random = np.random.default_rng(3)
    loss = registered.make("loss", name, arguments)
    y_pred = random.dirichlet(np.ones(OUTPUTS), 9)
    y_true = random.integers(0, OUTPUTS, 9).astype(np.int32)
    y_true = y_true if loss.sparse else np.eye(OUTPUTS)[y_true]
    backend: Any = get_backend("numpy").isolated()
    results = [(np.empty_like(y_pred), np.zeros(3)) for _ in range(2)]
    loss.add_up(backend, y_true, y_pred, None, 0.5, *results[0])
    listed = backend.trace(partial(loss.add_up, backend, y_true, y_pred, None, 0.5, *results[1]))
    for call in listed.calls:
        call()
    for found, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_names_in_compile_and_in_the_logs(backend: str) -> None:
    chain = [layers.Input((3,)), layers.Dense(2)]
    model = gpunn.Sequential(chain, backend=backend)
    names = ["mae", "rmse", "mape", "msle", "huber", "logcosh", "cosine_similarity", "mse"]
    model.compile("sgd", "mae", metrics=names)
    random = np.random.default_rng(4)
    x, y = random.normal(size=(12, 3)), random.normal(size=(12, 2))
    history = model.fit(x, y, epochs=2, batch_size=4, verbose=0, validation_data=(x, y)).history
    assert set(history) == {p + n for p in ("", "val_") for n in ("loss", *names)}
    assert history["val_rmse"][-1] == pytest.approx(np.sqrt(history["val_mse"][-1]))
    assert history["val_mae"] == pytest.approx(history["val_loss"])


def test_functions_stand_for_the_metrics_of_their_names() -> None:
    pairs = {
        metrics.mean_absolute_error: metrics.MeanAbsoluteError,
        metrics.kl_divergence: metrics.KLDivergence,
        metrics.log_cosh: metrics.LogCoshError,
        metrics.binary_accuracy: metrics.BinaryAccuracy,
        metrics.confusion_matrix: metrics.ConfusionMatrix,
    }
    for function, cls in pairs.items():
        assert type(metrics.get(function)) is cls
    with pytest.raises(ValueError, match="Unknown metric: 'roc_auc'"):
        metrics.get(metrics.roc_auc)  # not a mean over batches: metrics.AUC is


def test_which_way_is_better() -> None:
    down = {"FalsePositives", "FalseNegatives", "MeanAbsoluteError", "RootMeanSquaredError",
            "KLDivergence", "Hinge", "Huber", "PerceptronCriterion", "Poisson"}  # fmt: skip
    up = {"AUC", "Precision", "Recall", "F1Score", "R2Score", "TruePositives", "TrueNegatives",
          "CosineSimilarity", "ConfusionMatrix", "TopKCategoricalAccuracy"}  # fmt: skip
    for names, direction in ((down, "down"), (up, "up")):
        for name in names:
            assert registered.make("metric", name, {}).direction == direction, name


def test_the_best_epoch_by_area_is_the_largest() -> None:
    gpunn.utils.set_random_seed(0)
    random = np.random.default_rng(5)
    x = random.normal(size=(40, 3))
    y = (x[:, :1] > 0).astype(np.float32)
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["auc"])
    stop = gpunn.callbacks.EarlyStopping("val_auc", patience=100, restore_best_weights=True)
    history = model.fit(x, y, epochs=5, validation_data=(x, y), callbacks=[stop], verbose=0)
    areas = history.history["val_auc"]
    assert stop.best == max(areas) > min(areas)


def test_metrics_that_count_for_each_output_say_what_they_need() -> None:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(4, "softmax")])
    metric = metrics.ConfusionMatrix(num_classes=4)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    random = np.random.default_rng(6)
    x, y = random.normal(size=(30, 3)), random.integers(0, 4, 30)
    share = model.evaluate(x, y, verbose=0)[1]
    expected = metrics.confusion_matrix(y, model.predict(x, verbose=0), labels=range(4))
    np.testing.assert_array_equal(metric.result(), expected)
    assert share == pytest.approx(np.trace(expected) / 30)
    with pytest.raises(ValueError, match="is for 3 outputs; the predictions have 4"):
        metrics.AUC(multi_label=True, num_labels=3)(np.eye(4), np.eye(4))
    with pytest.raises(ValueError, match=r"build\(\(None, outputs\)\)"):
        metrics.F1Score().state_size  # noqa: B018
    with pytest.raises(ValueError, match="class_id=7, but there are 4 outputs"):
        metrics.Precision(class_id=7)(np.eye(4), np.eye(4))


def test_thresholds_of_auc_may_come_in_any_order() -> None:
    y_true, y_score, weights = numbers(7)
    between = (np.unique(y_score)[1:] + np.unique(y_score)[:-1]) / 2
    expected = sklearn.roc_auc_score(y_true, y_score, sample_weight=weights)
    for seed in range(3):
        metric = metrics.AUC(thresholds=np.random.default_rng(seed).permutation(between))
        assert over_batches(metric, y_true, y_score, weights) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Mean", ([1.0, 2.0, 6.0],)),
        ("MeanSquaredError", ([[1.0], [2.0]], [[2.0], [4.0]])),
        ("SparseCategoricalAccuracy", ([0, 1, 1], np.eye(3)[[0, 1, 2]])),
        ("Precision", ([0, 1, 1, 1], [1, 1, 0, 1])),
        ("AUC", ([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3])),
        ("F1Score", (np.eye(3), np.eye(3)[[0, 1, 1]])),
    ],
)
def test_results_are_numbers_and_have_numpy(keras: Any, name: str, arguments: Any) -> None:
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    assert ours.result().numpy() == 0 or name == "F1Score"
    wanted = keras.ops.convert_to_numpy(theirs(*map(np.asarray, arguments)))
    called = ours(*arguments)
    for found in (called, ours.result()):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
        assert isinstance(found.numpy(), (np.ndarray, np.generic))
        assert isinstance(found, ops.Tensor if np.ndim(wanted) else float)
    again = pickle.loads(pickle.dumps(called))
    assert np.array_equal(again, called)


def test_a_metric_counts_in_integers(keras: Any) -> None:
    """An integer state beside one of floats, from Chollet, Deep Learning with Python."""

    def rms(k: Any) -> Any:
        class RootMeanSquaredError(k.metrics.Metric):
            def __init__(self, name: str = "rms", **options: Any) -> None:
                super().__init__(name=name, **options)
                self.sum = self.add_weight(name="sum", initializer="zeros")
                self.rows = self.add_weight(name="rows", initializer="zeros", dtype="int32")

            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                self.sum.assign_add(k.ops.sum(k.ops.square(y_true - y_pred)))
                self.rows.assign_add(k.ops.shape(y_pred)[0])

            def result(self) -> Any:
                return k.ops.sqrt(self.sum / k.ops.cast(self.rows, "float32"))

            def reset_state(self) -> None:
                self.sum.assign(0.0)
                self.rows.assign(0)

        return RootMeanSquaredError()

    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    y = x.sum(1, keepdims=True)
    histories = []
    for k in (keras, gpunn):
        model = k.Sequential([k.Input((3,)), k.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(k.optimizers.SGD(0.1), "mse", metrics=[rms(k)])
        history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        histories.append(history.history["rms"])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)
    metric = rms(gpunn)
    metric.update_state(y, np.zeros_like(y))
    assert float(metric.result()) == pytest.approx(float(np.sqrt(np.mean(y**2))), rel=1e-5)
    assert metric.variables[1].dtype == "int32" and metric.variables[1].numpy() == 24


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, True, "2"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (gpunn.metrics.TopKCategoricalAccuracy, "k"),
        (gpunn.metrics.SparseTopKCategoricalAccuracy, "k"),
        (gpunn.metrics.Precision, "top_k"),
        (gpunn.metrics.Recall, "top_k"),
        (gpunn.metrics.ConfusionMatrix, "num_classes"),
        (gpunn.metrics.AUC, "num_thresholds"),
        (gpunn.metrics.AUC, "num_labels"),
    ],
)
def test_a_number_of_classes_is_a_positive_integer(make: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}`? must be an integer"):
        make(**{name: value})


@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
@pytest.mark.parametrize(
    ("make", "name"),
    [(gpunn.metrics.Precision, "class_id"), (gpunn.metrics.R2Score, "num_regressors")],
)
def test_a_number_from_zero_is_an_integer(make: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 0"):
        make(**{name: value})
