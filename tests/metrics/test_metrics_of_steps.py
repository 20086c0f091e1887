"""Test metrics of outputs with several axes: they read rows or samples, for any kind of loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
BACKENDS = ("numpy", "compiled", "emulated")
ROWS, STEPS, CLASSES = 10, 3, 4
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, STEPS, 2)).astype("float32")
LABELS = RANDOM.integers(0, CLASSES, (ROWS, STEPS))
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
OF_ROWS, OF_STEPS = RANDOM.random(ROWS), RANDOM.random((ROWS, STEPS))
KERNEL = np.linspace(-1, 1, 2 * CLASSES).reshape(2, CLASSES)


def custom(module: Any) -> Callable[[Any, Any], Any]:
    ops = module.ops
    return lambda t, p: ops.mean(ops.square(ops.subtract(t, p)), axis=-1)


def custom_on_labels(module: Any) -> Callable[[Any, Any], Any]:
    ops = module.ops
    return lambda t, p: custom(module)(ops.one_hot(ops.cast(t, "int32"), CLASSES), p)


def named(name: str) -> Callable[[Any], Any]:
    return lambda module: name


LOSSES: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "custom": (custom, ONE_HOT),
    "custom on labels": (custom_on_labels, LABELS),
    "mse": (named("mse"), ONE_HOT),
    "categorical": (named("categorical_crossentropy"), ONE_HOT),
    "sparse": (named("sparse_categorical_crossentropy"), LABELS),
}


def built_in(name: str, **options: Any) -> Callable[[Any], Any]:
    return lambda module: getattr(module.metrics, name)(**options)


def largest_of_a_sample(module: Any) -> Any:
    ops = module.ops
    return lambda t, p: ops.max(ops.abs(ops.subtract(t, p)), axis=(1, 2))


def sum_of_means_over_steps(module: Any) -> Any:
    ops = module.ops
    return lambda t, p: ops.sum(ops.mean(ops.abs(ops.subtract(t, p)), axis=1), axis=-1)


def of_each_step(module: Any) -> Any:
    ops = module.ops
    return lambda t, p: ops.max(ops.abs(ops.subtract(t, p)), axis=-1)


def custom_class(module: Any) -> Any:
    class Custom(module.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="custom")
            self.total = self.add_weight(shape=(), initializer="zeros", name="total")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            error = module.ops.abs(module.ops.subtract(y_true, y_pred))
            each = module.ops.max(module.ops.sum(error, axis=1), axis=-1)  # (batch,)
            self.total.assign(self.total + module.ops.sum(each))

        def result(self) -> Any:
            return self.total

    return Custom()


DENSE: dict[str, Callable[[Any], Any]] = {
    "accuracy": named("accuracy"),
    "categorical accuracy": built_in("CategoricalAccuracy"),
    "cross-entropy": built_in("CategoricalCrossentropy"),
    "top 2": built_in("TopKCategoricalAccuracy", k=2),
    "cosine": built_in("CosineSimilarity"),
    "divergence": built_in("KLDivergence"),
    "hinge": built_in("CategoricalHinge"),
    "precision": built_in("Precision", thresholds=0.3),
    "of one class": built_in("Recall", thresholds=0.3, class_id=1),
    "area": built_in("AUC", num_thresholds=20),
    "error": built_in("RootMeanSquaredError"),
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "largest": largest_of_a_sample,
    "sum of means": sum_of_means_over_steps,
    "each step": of_each_step,
}
SPARSE: dict[str, Callable[[Any], Any]] = {
    "accuracy": named("accuracy"),
    "sparse accuracy": built_in("SparseCategoricalAccuracy"),
    "sparse cross-entropy": built_in("SparseCategoricalCrossentropy"),
    "sparse top 2": built_in("SparseTopKCategoricalAccuracy", k=2),
}


def measured(
    module: Any, loss: str, metric: Callable[[Any], Any], weights: Any = None, **of: Any
) -> list[float]:
    dense = module.layers.Dense(CLASSES, "softmax")
    model = module.Sequential([module.Input((STEPS, 2)), dense], **of)
    model.set_weights([KERNEL, np.zeros(CLASSES)])
    kind = "metrics" if weights is None else "weighted_metrics"
    make, y = LOSSES[loss]
    model.compile("sgd", make(module), **{kind: [metric(module)]})
    return model.evaluate(X, y, batch_size=4, sample_weight=weights, verbose=0)


CASES = [
    *((loss, name) for loss in ("custom", "mse") for name in DENSE),
    *((loss, name) for loss in ("custom", "mse", "categorical") for name in (*FUNCTIONS, "class")),
    *((loss, name) for loss in ("custom on labels", "sparse") for name in SPARSE),
]
MAKE = {**DENSE, **FUNCTIONS, "class": custom_class}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("loss", "name"), CASES)
def test_they_are_those_of_keras(keras: Any, loss: str, name: str) -> None:
    metric = (SPARSE if LOSSES[loss][1] is LABELS else MAKE)[name]
    expected = measured(keras, loss, metric)
    for backend in BACKENDS:
        found = measured(gpunn, loss, metric, backend=backend)
        np.testing.assert_allclose(found, expected, rtol=2e-5, err_msg=backend)


@pytest.mark.parametrize("name", [*DENSE, "each step"])
def test_weights_of_steps_are_those_of_keras(keras: Any, name: str) -> None:
    expected = measured(keras, "mse", MAKE[name], OF_STEPS)
    for backend in BACKENDS:
        found = measured(gpunn, "mse", MAKE[name], OF_STEPS, backend=backend)
        np.testing.assert_allclose(found, expected, rtol=2e-5, err_msg=backend)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weights", [None, OF_STEPS], ids=["plain", "by step"])
def test_a_custom_loss_is_reduced_as_keras_does(keras: Any, reduction: str, weights: Any) -> None:
    def trained(module: Any, **of: Any) -> list[Any]:
        class Custom(module.losses.Loss):  # type: ignore[misc]
            def call(self, y_true: Any, y_pred: Any) -> Any:
                return custom(module)(y_true, y_pred)  # (batch, steps)

        dense = module.layers.Dense(CLASSES, "softmax")
        model = module.Sequential([module.Input((STEPS, 2)), dense], **of)
        model.set_weights([KERNEL, np.zeros(CLASSES)])
        model.compile(module.optimizers.SGD(0.1), Custom(reduction=reduction))
        history = model.fit(
            X, ONE_HOT, batch_size=4, epochs=2, sample_weight=weights, shuffle=False, verbose=0
        )
        return [history.history["loss"], *model.get_weights()]

    expected = trained(keras)
    for backend in BACKENDS:
        for found, value in zip(trained(gpunn, backend=backend), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6, err_msg=backend)


@pytest.mark.parametrize("loss", ["custom", "mse"])
@pytest.mark.parametrize("name", [*DENSE, *FUNCTIONS])
def test_weights_of_samples_are_those_of_all_their_rows(loss: str, name: str) -> None:
    """Keras raises an error."""
    repeated = np.repeat(OF_ROWS[:, np.newaxis], STEPS, axis=1)
    expected = measured(gpunn, "mse", MAKE[name], repeated)[1]
    for backend in BACKENDS:
        found = measured(gpunn, loss, MAKE[name], OF_ROWS, backend=backend)[1]
        assert found == pytest.approx(expected, rel=1e-5), backend


def test_a_metric_that_cannot_read_the_targets_says_so() -> None:
    with pytest.raises(ValueError, match=r"'categorical_accuracy' reads a target for each value"):
        measured(gpunn, "custom on labels", DENSE["categorical accuracy"])
