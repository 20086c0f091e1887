"""Test losses, metrics and activations written as functions or by Keras's methods. They are trained
alongside Keras from equal weights, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS, INPUTS, CLASSES = 43, 5, 4  # the last batch is ragged


@pytest.fixture
def backend(every_backend: str) -> str:
    return every_backend


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return x, (x @ random.normal(size=(INPUTS, CLASSES))).argmax(-1)


def cross_entropy(module: Any) -> Any:
    ops = module.ops

    def loss(y_true: Any, y_pred: Any) -> Any:
        hits = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), CLASSES)
        return ops.logsumexp(y_pred, axis=-1) - ops.sum(hits * y_pred, axis=-1)

    return loss


def squared_class(module: Any) -> Any:
    class Squared(module.losses.Loss):
        def __init__(self, factor: float = 3.0) -> None:
            super().__init__(name="squared")
            self.factor = factor

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return self.factor * module.ops.mean(module.ops.square(y_pred - y_true), axis=-1)

    return Squared()


def doubled(module: Any) -> Any:
    class Doubled(module.losses.MeanAbsoluteError):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return 2.0 * super().call(y_true, y_pred)

    return Doubled()


def of_the_batch(module: Any) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return module.ops.mean(module.ops.abs(y_true - y_pred) ** 3)

    return loss


def by_a_built_in_one(module: Any) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        penalty = 0.1 * module.ops.sum(module.ops.square(y_pred), axis=-1)
        return module.losses.mean_squared_error(y_true, y_pred) + penalty

    return loss


def matrix_wide(module: Any) -> Any:
    """Its targets are wider than its predictions: a mean and a weight for each."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        mean, weight = y_true[:, :CLASSES], y_true[:, CLASSES:]
        return module.ops.sum(weight * module.ops.square(mean - y_pred), axis=-1)

    return loss


LOSSES = {
    "cross-entropy": (cross_entropy, "labels"),
    "class": (squared_class, "one-hot"),
    "super().call": (doubled, "one-hot"),
    "one number a batch": (of_the_batch, "one-hot"),
    "a built-in one inside": (by_a_built_in_one, "one-hot"),
    "wider targets": (matrix_wide, "wide"),
}


def targets(kind: str) -> np.ndarray:
    labels = data()[1]
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    if kind == "wide":
        return np.concatenate([one_hot, one_hot + 0.5], axis=1)
    return labels if kind == "labels" else one_hot


def network(module: Any, activation: Any = "tanh", **options: Any) -> Any:
    layers = module.layers
    chain = [layers.Dense(6, activation=activation), layers.Dense(CLASSES)]
    return module.Sequential([module.Input((INPUTS,)), *chain], **options)


def beside(keras: Any, backend: str, make: Any, y: np.ndarray, weights: Any = None) -> None:
    """Train what ``make(module)`` returns for both: a model and arguments of its compile."""
    x, _ = data()
    found = []
    theirs, options = make(keras)
    first = theirs.get_weights()
    for module in (keras, gpunn):
        model, options = (theirs, options) if module is keras else make(gpunn)
        model.set_weights(first)
        model.compile(module.optimizers.SGD(0.05, momentum=0.9), **options)
        with np.errstate(all="ignore"):
            history = model.fit(
                x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, sample_weight=weights
            ).history
        score = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
        found.append((history, score, model.get_weights()))
    (theirs_h, theirs_s, theirs_w), (h, s, w) = found
    assert h.keys() == theirs_h.keys()
    for name in h:
        np.testing.assert_allclose(h[name], theirs_h[name], rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(s[name], theirs_s[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for ours, other in zip(w, theirs_w, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("weighted", "loss"),
    [
        (weighted, loss)
        for weighted in (False, True)
        for loss in LOSSES
        if not (weighted and loss == "one number a batch")  # raises an error, see below
    ],
)
def test_losses(keras: Any, backend: str, loss: str, weighted: bool) -> None:
    make, kind = LOSSES[loss]
    weights = np.random.default_rng(1).random(ROWS).astype(np.float32) if weighted else None

    def both(module: Any) -> tuple[Any, dict[str, Any]]:
        options = {} if module is keras else {"backend": backend}
        return network(module, **options), {"loss": make(module)}

    beside(keras, backend, both, targets(kind), weights)


def hits(module: Any) -> Any:
    def right(y_true: Any, y_pred: Any) -> Any:
        ops = module.ops
        best = ops.cast(ops.argmax(y_pred, axis=-1), y_pred.dtype)
        given = ops.reshape(ops.cast(y_true, y_pred.dtype), (-1,))
        return ops.cast(ops.equal(given, best), "float32")

    return right


def counter(module: Any) -> Any:
    class LargeOnes(module.metrics.Metric):
        """The number of predictions above a limit, starting at 1."""

        def __init__(self, name: str = "large_ones", **options: Any) -> None:
            super().__init__(name=name, **options)
            self.count = self.add_weight(name="count", initializer="zeros")
            self.batches = self.add_weight(name="batches", shape=(2,), initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            large = module.ops.cast(y_pred > 0.1, "float32")
            self.count.assign_add(module.ops.sum(large))
            self.batches.assign(self.batches + module.ops.ones((2,)))

        def result(self) -> Any:
            return self.count / self.batches[1]

    return LargeOnes()


def test_metrics(keras: Any, backend: str) -> None:
    def both(module: Any) -> tuple[Any, dict[str, Any]]:
        options = {} if module is keras else {"backend": backend}
        loss = module.losses.SparseCategoricalCrossentropy(from_logits=True)
        metrics = [hits(module), counter(module), "accuracy"]
        return network(module, **options), {"loss": loss, "metrics": metrics}

    beside(keras, backend, both, targets("labels"))


@pytest.mark.parametrize("kind", ["labels", "one-hot"])
def test_metrics_beside_a_custom_loss(keras: Any, backend: str, kind: str) -> None:
    def both(module: Any) -> tuple[Any, dict[str, Any]]:
        options = {} if module is keras else {"backend": backend}
        if kind == "labels":
            loss = cross_entropy(module)
            metrics = ["accuracy", hits(module), module.metrics.SparseCategoricalAccuracy()]
        else:
            loss, metrics = squared_class(module), ["accuracy", "mae", counter(module)]
        return network(module, **options), {"loss": loss, "metrics": metrics}

    beside(keras, backend, both, targets(kind))


@pytest.mark.parametrize("kind", ["a formula", "built-in ones", "of a row"])
def test_activations(keras: Any, backend: str, kind: str) -> None:
    def activation(module: Any) -> Any:
        ops = module.ops
        return {
            "a formula": lambda x: x * ops.sigmoid(1.5 * x),
            "built-in ones": lambda x: module.activations.softplus(x) - module.activations.gelu(x),
            "of a row": lambda x: ops.softmax(x, axis=-1) * ops.max(x, axis=-1, keepdims=True),
        }[kind]

    def both(module: Any) -> tuple[Any, dict[str, Any]]:
        options = {} if module is keras else {"backend": backend}
        return network(module, activation(module), **options), {"loss": squared_class(module)}

    beside(keras, backend, both, targets("one-hot"))


def test_a_function_sees_the_axes_that_there_are() -> None:
    """Dense takes the rows of three axes; its activation still gets three."""
    seen = []

    def activation(x: Any) -> Any:
        seen.append(x.ndim)
        return x - ops.mean(x, axis=1, keepdims=True)

    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    layer = gpunn.layers.Dense(5, activation=activation)
    y = layer(x)
    plain = x @ layer.kernel.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(y, plain - plain.mean(1, keepdims=True), atol=1e-6)
    assert set(seen) == {3}


def test_weights_with_one_number_a_batch_are_refused(backend: str) -> None:
    model = network(gpunn, backend=backend)
    model.compile("sgd", of_the_batch(gpunn))
    with pytest.raises(ValueError, match=r"one value for the whole batch.*one per sample"):
        model.fit(data()[0], targets("one-hot"), sample_weight=np.ones(ROWS), verbose=0)


def test_a_loss_of_a_wrong_shape_says_so(backend: str) -> None:
    model = network(gpunn, backend=backend)
    model.compile("sgd", lambda t, p: ops.sum(p, axis=0))
    with pytest.raises(ValueError, match=r"returned shape \(4,\) for 8 samples"):
        model.fit(data()[0], targets("one-hot"), batch_size=8, verbose=0)


def test_a_loss_that_reads_weights_is_refused() -> None:
    model = network(gpunn)
    kernel = model.layers[0].kernel
    model.compile("sgd", lambda t, p: ops.sum(kernel) + ops.sum(p, axis=-1))
    with pytest.raises(ValueError, match=r"reads weights of a layer.*add_loss"):
        model.fit(data()[0], targets("one-hot"), verbose=0)


def test_numpy_inside_says_what_to_use() -> None:
    model = network(gpunn)
    model.compile("sgd", lambda t, p: np.abs(t - p))
    with pytest.raises(TypeError, match=r"gpunn\.ops instead of numpy"):
        model.fit(data()[0], targets("one-hot"), verbose=0)


def test_targets_of_another_shape_later(backend: str) -> None:
    """Shapes (n,), then (n, 1), then (n,) again are each used as passed."""
    x, labels = data()
    model = network(gpunn, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), cross_entropy(gpunn))
    scores = [
        model.fit(x, y, verbose=0).history["loss"][0] for y in (labels, labels[:, None], labels)
    ]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-6)


def test_a_number_of_the_loss_that_changes_is_followed(backend: str) -> None:
    model, loss = network(gpunn, backend=backend), squared_class(gpunn)
    model.compile(gpunn.optimizers.SGD(0.0), loss)
    x, y = data()[0], targets("one-hot")
    before = model.evaluate(x, y, verbose=0)
    loss.factor = 6.0
    assert model.evaluate(x, y, verbose=0) == pytest.approx(2 * before, rel=1e-6)


def test_a_loss_with_a_backward_pass_of_its_own_inside_a_function(backend: str) -> None:
    """Its plain assignments run in each step, not just in the first."""

    class ByHand(gpunn.losses.Loss):
        def forward(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
            values[...] = ((y_pred - y_true) ** 2).mean(axis=-1)

        def backward(self, backend: Any, y_true: Any, y_pred: Any, gradient: Any) -> None:
            gradient[...] = 2 / y_pred.shape[-1] * (y_pred - y_true)

    by_hand, x, y = ByHand(reduction="none"), data()[0], targets("one-hot")
    found = []
    for loss in ("mse", lambda t, p: by_hand(t, p)):
        gpunn.utils.set_random_seed(2)
        model = network(gpunn, backend=backend)
        model.compile(gpunn.optimizers.SGD(0.05), loss)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        found.append(model.get_weights())
    for ours, other in zip(*found, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-6)
