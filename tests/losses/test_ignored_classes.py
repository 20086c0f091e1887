"""Test that rows of an ignored class, existing or not, are skipped by losses and by all metrics."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
BACKENDS = ("numpy", "compiled", "emulated")
CLASSES, ROWS = 3, 11
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
W = RANDOM.random(ROWS).astype("float32")
KERNEL = np.linspace(-1, 1, 4 * CLASSES).reshape(4, CLASSES)
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")


def labels(ignored: int, which: Any = (0, 3, 4, 8, 9, 10)) -> np.ndarray:
    """Labels of three batches of 4; in the last batch nothing counts."""
    y = np.random.default_rng(2).integers(0, CLASSES, ROWS)
    y[list(which)] = ignored
    return y


def model_of(module: Any, **of: Any) -> Any:
    dense = module.layers.Dense(CLASSES, "softmax")
    model = module.Sequential([module.Input((4,)), dense], **of)
    model.set_weights([KERNEL, np.zeros(CLASSES)])
    return model


def trained(
    module: Any, y: np.ndarray, weights: Any, loss: dict[str, Any], **of: Any
) -> dict[str, Any]:
    model = model_of(module, **of)
    made = module.losses.SparseCategoricalCrossentropy(**loss)
    by_hand = float(made(y, model.predict(X, verbose=0), sample_weight=weights))
    own = module.metrics.SparseCategoricalCrossentropy(ignore_class=loss["ignore_class"])
    model.compile(module.optimizers.SGD(0.1), made, metrics=["accuracy", own])
    history = model.fit(
        X, y, sample_weight=weights, batch_size=4, epochs=2, shuffle=False, verbose=0
    )
    return {**history.history, "weights": model.get_weights()[0], "by hand": by_hand}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("ignored", "weighted"), [(-1, False), (-1, True), (1, False), (1, True), (255, True)]
)
def test_each_reduction_is_that_of_keras(
    keras: Any, ignored: int, reduction: str, weighted: bool
) -> None:
    loss = {"ignore_class": ignored, "reduction": reduction}
    given = labels(ignored), W if weighted else None, loss
    expected = trained(keras, *given)
    for backend in BACKENDS:
        found = trained(gpunn, *given, backend=backend)
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-4, atol=1e-6, err_msg=f"{backend} {name}"
            )


STEPS = np.random.default_rng(4).normal(size=(6, 5, 2))
for _row, _length in enumerate((5, 3, 0, 1, 4, 2)):
    STEPS[_row, _length:] = 0
OF_STEPS = np.random.default_rng(5).integers(0, CLASSES, STEPS.shape[:2])


def on_masked_steps(module: Any, weights: Any, reduction: str, **of: Any) -> dict[str, Any]:
    x = module.Input((5, 2))
    model = module.Model(x, module.layers.Dense(CLASSES)(module.layers.Masking()(x)), **of)
    model.set_weights([KERNEL[:2], np.zeros(CLASSES)])
    loss = module.losses.SparseCategoricalCrossentropy(True, ignore_class=1, reduction=reduction)
    by_hand = loss(OF_STEPS, model(STEPS), sample_weight=weights)
    by_hand = float(by_hand.detach() if hasattr(by_hand, "detach") else by_hand)
    model.compile(module.optimizers.SGD(0.1), loss)
    history = model.fit(
        STEPS, OF_STEPS, sample_weight=weights, batch_size=4, epochs=2, shuffle=False, verbose=0
    )
    return {**history.history, "weights": model.get_weights()[0], "by hand": by_hand}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_counts_nowhere_where_steps_are_masked_too(
    keras: Any, reduction: str, weighted: bool
) -> None:
    weights = np.random.default_rng(6).uniform(0.5, 2, OF_STEPS.shape) if weighted else None
    expected = on_masked_steps(keras, weights, reduction)
    for backend in (*BACKENDS, "emulated"):
        found = on_masked_steps(gpunn, weights, reduction, backend=backend)
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-4, atol=1e-6, err_msg=f"{backend} {name}"
            )


def top(p: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Return for each row whether its label is among the k largest predictions."""
    return (np.argsort(-p, axis=-1)[:, :k] == y[:, np.newaxis]).any(axis=-1)


def by_row(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p of the label; 0 where the label is ignored."""
    inside = (y >= 0) & (y < CLASSES)
    return np.where(inside, -np.log(p[np.arange(ROWS), np.where(inside, y, 0)]), 0.0)


METRICS: dict[str, tuple[Any, Any]] = {
    "accuracy": ("accuracy", lambda p, y, w: np.average(top(p, y, 1), weights=w)),
    "top 1": (
        lambda i: gpunn.metrics.SparseTopKCategoricalAccuracy(1),
        lambda p, y, w: np.average(top(p, y, 1), weights=w),
    ),
    "top 2": (
        lambda i: gpunn.metrics.SparseTopKCategoricalAccuracy(2),
        lambda p, y, w: np.average(top(p, y, 2), weights=w),
    ),
    "top 5": (
        lambda i: gpunn.metrics.SparseTopKCategoricalAccuracy(5),
        lambda p, y, w: np.average((y >= 0) & (y < CLASSES), weights=w),
    ),
    "crossentropy": (
        lambda i: gpunn.metrics.SparseCategoricalCrossentropy(ignore_class=i),
        # As in Keras: ignored rows count unless there are weights.
        lambda p, y, w: np.average(
            by_row(p, y), weights=None if w is None else w * ((y >= 0) & (y < CLASSES))
        ),
    ),
    "precision": (
        lambda i: gpunn.metrics.Precision(0.4, class_id=2),
        lambda p, y, w: np.average(y == 2, weights=(p[:, 2] > 0.4) * (1 if w is None else w)),
    ),
    "confusion": (  # without the rows that have no class
        lambda i: gpunn.metrics.ConfusionMatrix(),
        lambda p, y, w: np.average(
            top(p, y, 1), weights=((y >= 0) & (y < CLASSES)) * (1 if w is None else w)
        ),
    ),
    "a function": (
        lambda i: (lambda t, p: ops.cast(ops.equal(t, i), "float32")),
        lambda p, y, w: np.average((y < 0) | (y >= CLASSES), weights=w),
    ),
}


@pytest.mark.parametrize("ignored", [-1, 2**31 - 1])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_beside_it(name: str, ignored: int) -> None:
    make, expected = METRICS[name]
    y = labels(ignored, which=(0, 3, 4, 10))  # the first and last: next to other memory
    for backend, weights in itertools.product(BACKENDS, (None, W)):
        model = model_of(gpunn, backend=backend)
        made = "accuracy" if make == "accuracy" else make(ignored)
        loss = gpunn.losses.SparseCategoricalCrossentropy(ignore_class=ignored)
        measured = {"metrics" if weights is None else "weighted_metrics": [made]}
        model.compile("sgd", loss, **measured)
        p = model.predict(X, verbose=0).astype(np.float64)
        found = model.evaluate(X, y, batch_size=4, sample_weight=weights, verbose=0)[1]
        value = float(expected(p, y, weights))
        assert found == pytest.approx(value, rel=1e-5), (backend, weights)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_predicted_for_an_ignored_row_does_not_count(backend: str, value: float) -> None:
    """Not even NaN, which a multiplicative mask would let through."""
    model = gpunn.Sequential(
        [gpunn.Input((3,)), gpunn.layers.Lambda(lambda x: ops.log(x))], backend=backend
    )
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile("sgd", loss)
    x = np.full((4, 3), np.e, "float32")
    x[1] = -1.0 if np.isnan(value) else 0.0  # all logits NaN, or -inf
    assert model.evaluate(x, np.array([0, -1, 2, 1]), verbose=0) == pytest.approx(np.log(3))


@pytest.mark.parametrize("weights", ["mean_with_sample_weight", "sum_over_batch_size"])
def test_weighted_metrics_read_the_weights_as_they_came(keras: Any, weights: str) -> None:
    """Although the loss divides by their sum, batch by batch."""
    x, y = X, (np.arange(ROWS) % 2).astype("float32")[:, np.newaxis]

    def found(module: Any, **of: Any) -> list[float]:
        dense = module.layers.Dense(1, "sigmoid", kernel_initializer="ones")
        model = module.Sequential([module.Input((4,)), dense], **of)
        measures = [module.metrics.TruePositives(), module.metrics.MeanSquaredError()]
        loss = module.losses.BinaryCrossentropy(reduction=weights)
        model.compile("sgd", loss, weighted_metrics=measures)
        return model.evaluate(x, y, batch_size=4, sample_weight=W, verbose=0)

    expected = found(keras)
    for backend in BACKENDS:
        np.testing.assert_allclose(found(gpunn, backend=backend), expected, rtol=1e-5)


def test_keras_changes_the_weights_that_metrics_read(keras: Any) -> None:
    """On PyTorch, Keras multiplies them in place by its loss's mask."""
    y = labels(-1, which=[0, 5])
    y[1] = y[4] = model_of(gpunn).predict(X, verbose=0).argmax(axis=-1)[1]
    found = []
    for module in (keras, gpunn):
        model = model_of(module)
        loss = module.losses.SparseCategoricalCrossentropy(ignore_class=-1)
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
        found.append(model.evaluate(X, y, batch_size=4, sample_weight=W, verbose=0))
        p = model.predict(X, verbose=0)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert found[1][1] == pytest.approx(np.average(top(p, y, 1), weights=W), rel=1e-5)
    assert found[0][1] != pytest.approx(found[1][1], rel=0.01)


@pytest.mark.parametrize("label", [-1, CLASSES, 100])
def test_a_label_that_is_no_class_is_refused_in_a_custom_loss(label: int) -> None:
    y = labels(label, which=[5])
    own = gpunn.losses.sparse_categorical_crossentropy
    for backend in BACKENDS:
        model = model_of(gpunn, backend=backend)
        model.compile("sgd", lambda t, p: own(t, p))
        for method in (model.evaluate, model.fit):
            with pytest.raises(ValueError, match=f"labels must be from 0 to 2.*got {label}"):
                method(X, y, verbose=0)
    with pytest.raises(ValueError, match=f"label {label}, .*labels must be from 0 to 2"):
        own(ops.convert_to_tensor(y), model.predict(X, verbose=0))


@pytest.mark.parametrize("ignored", [2**31, -(2**31) - 1, 2**40, 1.5, "void"])
@pytest.mark.parametrize("of", ["losses", "metrics"])
def test_what_no_label_can_be_is_refused(ignored: Any, of: str) -> None:
    with pytest.raises(ValueError, match="ignore_class must be"):
        getattr(gpunn, of).SparseCategoricalCrossentropy(ignore_class=ignored)
