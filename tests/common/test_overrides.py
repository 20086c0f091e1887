"""Test that methods overridden in a user's class are used, or rejected at class definition."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import (
    activations,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from gpunn.common import registry
from gpunn.optimizers import schedules

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "own-parts.md"

# Methods that Keras calls and gpunn does not: base, method, a word of the suggested alternative.
REFUSED = [
    (layers.Layer, "stateless_call", "call"),
    (layers.Layer, "__call__", "forward"),
    (layers.Layer, "compute_output_spec", "compute_output_shape"),
    (layers.Dense, "__call__", "call"),
    (layers.Add, "_merge_function", "call"),
    (layers.Flatten, "forward", "is_view"),
    (layers.Reshape, "forward", "is_view"),
    (layers.Softmax, "forward", "is_view"),
    (layers.RandomBrightness, "transform_images", "call"),
    (layers.MixUp, "transform_labels", "call"),
    (layers.Equalization, "get_random_transformation", "call"),
    (layers.SpectralNormalization, "normalized_weights", "call"),
    (layers.Attention, "_apply_scores", "call(inputs, mask)"),
    (layers.AdditiveAttention, "_calculate_scores", "call(inputs, mask)"),
    (layers.MultiHeadAttention, "_compute_attention", "call(query, value, key)"),
    (layers.GroupQueryAttention, "_masked_softmax", "call(query, value, key)"),
    (layers.BatchNormalization, "_moments", "call(inputs, training)"),
    (callbacks.ModelCheckpoint, "_save_model", "on_epoch_end(epoch, logs)"),
    (losses.Loss, "__call__", "forward"),
    (losses.Huber, "forward", "forward_backward"),
    (losses.SparseCategoricalCrossentropy, "forward", "forward_backward"),
    (losses.BinaryCrossentropy, "backward", "forward_backward"),
    (metrics.MeanSquaredError, "stateless_update_state", "accumulate"),
    (metrics.Precision, "stateless_result", "compute"),
    (metrics.BinaryAccuracy, "values", "rows"),
    (optimizers.SGD, "update_step", "derive from gpunn.optimizers.Optimizer"),
    (optimizers.Optimizer, "build", "slot_names"),
    (optimizers.Adam, "build", "slot_names"),
    (optimizers.Adam, "apply_gradients", "update"),
    (optimizers.Adam, "apply", "update"),
    (optimizers.SGD, "_clip_gradients", "clipnorm"),
    (optimizers.AdamW, "_apply_weight_decay", "exclude_from_weight_decay"),
    (optimizers.Adam, "_update_model_variables_moving_average", "use_ema"),
    (activations.Sigmoid, "__call__", "forward"),
    (constraints.MaxNorm, "__call__", "apply"),
    (gpunn.Model, "build", "gpunn.Model(inputs, outputs)"),
    (gpunn.Model, "compute_output_shape", "gpunn.Model(inputs, outputs)"),
    (gpunn.Sequential, "call", "subclass of gpunn.Model"),
    (gpunn.Sequential, "build", "gpunn.Model(inputs, outputs)"),
    (gpunn.Model, "make_train_function", "train_step(data)"),
    (gpunn.Sequential, "make_test_function", "test_step(data)"),
]
CASES = [pytest.param(*case, id=f"{case[0].__name__}.{case[1]}") for case in REFUSED]


def replacement(self: Any, *arguments: Any, **options: Any) -> Any:
    raise AssertionError("never reached")


@pytest.mark.parametrize(("base", "method", "instead"), CASES)
def test_what_is_not_called_is_refused_when_the_class_is_defined(
    base: type, method: str, instead: str
) -> None:
    named = rf"Mine\.{method}\b.*{re.escape(instead)}"
    with pytest.raises(TypeError, match=named):
        type("Mine", (base,), {method: replacement})
    mixin = type("Mixin", (), {method: replacement})
    with pytest.raises(TypeError, match=named):
        type("Mine", (mixin, base), {})


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (lambda: layers.Dense(1), "call"),
        (lambda: layers.Dense(1), "forward"),
        (lambda: losses.MeanSquaredError(), "call"),
        (lambda: losses.MeanSquaredError(), "forward"),
        (lambda: metrics.Mean(), "update_state"),
        (lambda: metrics.BinaryAccuracy(), "result"),
        (lambda: metrics.BinaryAccuracy(), "rows"),
        (lambda: optimizers.SGD(), "update_step"),
        (lambda: optimizers.SGD(), "update"),
        (lambda: activations.Sigmoid(), "forward"),
        (lambda: gpunn.Sequential([layers.Dense(1)]), "train_step"),
        (lambda: gpunn.Sequential([layers.Dense(1)]), "call"),
        (lambda: gpunn.Model(x := layers.Input((2,)), layers.Dense(1)(x)), "call"),
    ],
)
def test_what_is_not_called_is_refused_on_an_object(make: Callable[[], Any], method: str) -> None:
    made = make()
    with pytest.raises(TypeError, match=rf"{type(made).__name__}\.{method}\b"):
        setattr(made, method, lambda *arguments: None)


def test_pieces_that_a_call_of_ones_own_uses_may_have_keras_s_names() -> None:
    class Doubled(layers.Attention):
        def _apply_scores(self, scores: Any, value: Any) -> Any:
            return 2 * gpunn.ops.matmul(scores, value)

        def call(self, inputs: Any, mask: Any = None) -> Any:  # type: ignore[override]
            return self._apply_scores(gpunn.ops.softmax(inputs[0]), inputs[1])

    scores, value = np.zeros((1, 2, 2), "float32"), np.arange(4, dtype="float32").reshape(1, 2, 2)
    assert Doubled()([scores, value]).tolist() == [[[2.0, 4.0], [2.0, 4.0]]]


def test_a_call_that_an_object_gets_while_it_is_made_is_refused() -> None:
    class Late(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.call = lambda x: x

    with pytest.raises(TypeError, match=r"Late\.call"):
        Late()


def test_hooks_of_a_callback_may_be_set_on_an_object() -> None:
    seen: list[int] = []
    callback = callbacks.Callback()
    callback.on_epoch_end = lambda epoch, logs=None: seen.append(epoch)
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)], backend="numpy")
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=2, verbose=0, callbacks=callback)
    assert seen == [0, 1]


# -- overrides that are used

X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.5, 1.5]], np.float32)
Y = np.array([[1.0], [0.0], [0.5]], np.float32)
LABELS = np.array([0, 2, 1])


def fitted(backend: str, layer: Any, loss: Any, y: np.ndarray = Y, metric: Any = ()) -> Any:
    gpunn.utils.set_random_seed(4)
    model = gpunn.Sequential([layers.Input((2,)), layer], backend=backend)
    first = np.array(model.get_weights()[0])
    model.compile(optimizers.SGD(0.1), loss, metrics=list(metric))
    logs = model.fit(X, y, batch_size=3, epochs=2, verbose=0).history
    return first, model.get_weights()[0], logs


class Cubed(regularizers.L2):
    """sum |w|^3 instead of the squares."""

    def __call__(self, x: Any) -> Any:
        return (abs(x) ** 3).sum()

    def gradient(self, x: Any) -> Any:
        return 3 * x * abs(x)


def test_a_penalty_that_replaces_a_built_in_one_is_obeyed(backend: str) -> None:
    layer = layers.Dense(1, kernel_regularizer=Cubed(), use_bias=False)
    w, _, logs = fitted(backend, layer, "mse")
    expected = np.mean((X @ w - Y) ** 2) + np.sum(np.abs(w) ** 3)
    np.testing.assert_allclose(logs["loss"][0], expected, rtol=1e-5)


class Doubled(regularizers.L2):
    """Written with tensors: its derivative follows."""

    def __call__(self, x: Any) -> Any:
        return 2 * super().__call__(x) + self.l2 * gpunn.ops.sum(x)


class Shared:
    def __call__(self, x: Any) -> Any:
        return 0.02 * gpunn.ops.sum(x * x) + 0.01 * gpunn.ops.sum(x)


class Mixed(Shared, regularizers.OrthogonalRegularizer):
    """A call with tensors, in a class that precedes the built-in one."""


class Derived(Doubled):
    """It defines its own derivative again."""

    def __call__(self, x: Any) -> Any:
        return 0.02 * (x * x).sum() + 0.01 * x.sum()

    def gradient(self, x: Any) -> Any:
        return 0.04 * x + 0.01


@pytest.mark.parametrize("regularizer", [Doubled(), Mixed(), Derived()])
def test_a_penalty_with_a_call_alone_is_differentiated(backend: str, regularizer: Any) -> None:
    layer = layers.Dense(1, kernel_regularizer=regularizer, use_bias=False)
    w, after, logs = fitted(backend, layer, "mse")
    losses_seen = []
    for _ in range(2):
        losses_seen.append(np.mean((X @ w - Y) ** 2) + np.sum(0.02 * w**2 + 0.01 * w))
        w = w - 0.1 * (2 / 3 * X.T @ (X @ w - Y) + 0.04 * w + 0.01)
    np.testing.assert_allclose(logs["loss"], losses_seen, rtol=1e-5)
    np.testing.assert_allclose(after, w, rtol=1e-5)


class Positive(constraints.MaxNorm):
    """A different constraint that subclasses a built-in one."""

    def apply(self, backend: Any, w: Any) -> None:
        backend.xp.abs(w, out=w)


class Rounded(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return w.round()


def test_a_constraint_is_obeyed(backend: str) -> None:
    for constraint, holds in (
        (Positive(), lambda w: w >= 0),
        (Rounded(), lambda w: w == np.round(w)),
    ):
        layer = layers.Dense(4, kernel_constraint=constraint)
        y = np.zeros((3, 4), np.float32)
        assert np.all(holds(fitted(backend, layer, "mse", y)[1]))


class Loud:
    """Twice the sigmoid, in a mixin that precedes the class it changes."""

    def forward(self, backend: Any, x: Any, out: Any) -> None:
        super().forward(backend, x, out)
        backend.xp.multiply(out, 2.0, out=out)


class LoudSigmoid(Loud, activations.Sigmoid):
    pass


def test_what_a_mixin_replaces_is_obeyed(backend: str) -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1, LoudSigmoid())], backend=backend)
    z = X @ np.asarray(model.get_weights()[0])
    np.testing.assert_allclose(model.predict(X, verbose=0), 2 / (1 + np.exp(-z)), rtol=1e-6)


class Linear(losses.SparseCategoricalCrossentropy):
    """1 - p of the true class; the formula takes probabilities."""

    def forward_backward(self, backend: Any, y_true: Any, y_pred: Any, values: Any, g: Any) -> None:
        rows = np.arange(len(y_true))
        values[...] = 1 - y_pred[rows, y_true]
        if g is not None:
            g[...] = 0
            g[rows, y_true] = -1


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_a_loss_with_a_formula_of_its_own_gets_what_the_model_gives() -> None:
    layer = layers.Dense(3, activation="softmax", use_bias=False)
    w, _, logs = fitted("numpy", layer, Linear(), LABELS)
    p = softmax(X @ w)
    hit = p[range(3), LABELS]
    np.testing.assert_allclose(logs["loss"][0], np.mean(1 - hit), rtol=1e-6)
    dz = -hit[:, np.newaxis] * (np.eye(3)[LABELS] - p) / 3
    model = gpunn.Sequential(
        [layers.Input((2,)), layers.Dense(3, "softmax", use_bias=False)], backend="numpy"
    )
    model.compile(optimizers.SGD(0.1), Linear())
    model.set_weights([w])
    model.fit(X, LABELS, batch_size=3, epochs=1, verbose=0, shuffle=False)
    np.testing.assert_allclose(model.get_weights()[0], w - 0.1 * X.T @ dz, rtol=1e-5)


class OwnSoftmax(layers.Dense):
    """A Dense that computes its own softmax, even where the loss would take it over."""

    def forward(self, call: Any) -> None:
        call.y[...] = softmax(call.x @ self.kernel.value)

    def backward(self, call: Any) -> None:
        dz = call.y * (call.dy - (call.dy * call.y).sum(-1, keepdims=True))
        self.kernel.gradient[...] = call.x.T @ dz


def test_a_layer_with_a_pass_of_its_own_keeps_its_activation() -> None:
    layer = OwnSoftmax(3, activation="softmax", use_bias=False)
    w, _, logs = fitted("numpy", layer, "sparse_categorical_crossentropy", LABELS)
    expected = -np.log(softmax(X @ w)[range(3), LABELS]).mean()
    np.testing.assert_allclose(logs["loss"][0], expected, rtol=1e-5)


class Squared(layers.Rescaling):
    """Squares its input, where Rescaling would only scale it."""

    def forward(self, call: Any) -> None:
        call.backend.xp.square(call.x, out=call.y)

    def backward(self, call: Any) -> None:
        call.dx[...] = 2 * call.x * call.dy


def test_a_first_layer_with_a_pass_of_its_own_is_run(backend: str) -> None:
    model = gpunn.Sequential(
        [layers.Input((2,)), Squared(3.0), layers.Dense(1, use_bias=False)], backend=backend
    )
    model.compile("sgd", "mse")
    expected = np.mean((X**2 @ np.asarray(model.get_weights()[0]) - Y) ** 2)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(float(expected), rel=1e-5)


class Shifted(layers.Flatten):
    """It declares that it is not a mere view."""

    def is_view(self, call: Any) -> bool:
        return False

    def forward(self, call: Any) -> None:
        call.y[...] = call.x.reshape(call.y.shape) + 1


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_built_in_layer_has_no_pass_to_call(name: str) -> None:
    class Louder(layers.Dense):
        def forward(self, call: Any) -> None:
            super().forward(call) if name == "forward" else call.y.fill(0)

        def backward(self, call: Any) -> None:
            super().backward(call)

    layer = Louder(2)
    with pytest.raises(TypeError, match=rf"Louder\.{name}: there is none.*super\(\)\.call\(x\)"):
        gpunn.grad(lambda x: gpunn.ops.sum(layer(x)))([[1.0, 2.0]])


def test_a_backward_pass_without_a_forward_pass_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Quiet\.backward would be ignored.*write call\(x\)"):

        class Quiet(layers.Dense):
            def backward(self, call: Any) -> None:
                call.dx.fill(0)


def test_a_view_may_become_a_layer_that_runs() -> None:
    assert Shifted()([[[1.0, 2.0]]]).tolist() == [[2.0, 3.0]]


class Worst(metrics.MeanOfRows):
    """The largest error of a row; counts how often it is reset."""

    def __init__(self, start: int = 0) -> None:
        super().__init__("worst")
        self.start = start
        self.begun = start

    def reset_state(self) -> None:
        super().reset_state()
        self.begun += 1

    def rows(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
        values[...] = abs(y_true - y_pred).max(axis=-1)


def test_a_metrics_reset_waits_for_its_own_constructor() -> None:
    metric = Worst()
    assert metric.begun == 0
    assert metric.result() == 0.0
    metric.update_state([[1.0, 2.0]], [[0.0, 5.0]])
    assert metric.result() == 3.0
    metric.reset_state()
    assert metric.result() == 0.0 and metric.begun == 1


def test_a_metrics_reset_is_called_before_every_pass(backend: str) -> None:
    metric = Worst()
    w, _, logs = fitted(backend, layers.Dense(1, use_bias=False), "mse", metric=[metric])
    assert metric.begun == 2  # two epochs
    np.testing.assert_allclose(logs["worst"][0], np.abs(X @ w - Y).mean(), rtol=1e-5)


class Counted(initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


class Halving(schedules.ExponentialDecay):
    def __call__(self, step: Any) -> float:
        return 0.1 * 0.5**step


def test_an_initializer_and_a_schedule_are_obeyed_by_their_call(backend: str) -> None:
    layer = layers.Dense(1, use_bias=False, kernel_initializer=Counted())
    model = gpunn.Sequential([layers.Input((2,)), layer], backend=backend)
    w = np.array([[0.0], [1.0]])
    np.testing.assert_array_equal(model.get_weights()[0], w)
    model.compile(optimizers.SGD(Halving(7.0, 10, 0.5)), "mse")
    model.fit(X, Y, batch_size=3, epochs=2, verbose=0, shuffle=False)
    for rate in (0.1, 0.05):
        w = w - rate * 2 / 3 * X.T @ (X @ w - Y)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5)


# -- the page

KINDS = {
    "layer": layers.Layer,
    "model": gpunn.Model,
    "loss": losses.Loss,
    "metric": metrics.Metric,
    "optimizer": optimizers.Optimizer,
    "activation": activations.Activation,
    "initializer": initializers.Initializer,
    "regularizer": regularizers.Regularizer,
    "constraint": constraints.Constraint,
    "schedule": schedules.LearningRateSchedule,
    "callback": callbacks.Callback,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_what_is_refused(kind: str) -> None:
    """The tables on the page and in the code name the same methods."""
    row = next(
        line for line in PAGE.read_text().splitlines() if line.startswith(f"| {kind} |")
    ).split("|")
    classes = [KINDS[kind], *registry.entries(kind).values()]
    declared = {name for cls in classes for name in getattr(cls, "_refused", {})}
    assert set(re.findall(r"`(\w+)`", row[3])) == declared
    for name in re.findall(r"`(\w+)`", row[2]):
        assert any(hasattr(cls, name) for cls in classes), name
