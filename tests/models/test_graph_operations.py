"""Test operations on symbolic tensors and functions as layers: against Keras, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(24, 8)).astype(np.float32)
Y = RANDOM.normal(size=(24, 2)).astype(np.float32)
TABLE = RANDOM.normal(size=(8, 5)).astype(np.float32)


def arithmetic(o: Any, x: Any) -> Any:
    return o.exp(x / 4) * 2 + x[:, :1] - 1 / (2 + o.square(x))


def constants(o: Any, x: Any) -> Any:
    return x * TABLE[:, 0] + np.arange(8.0, dtype="float32") - np.float32(0.5)


def choices(o: Any, x: Any) -> Any:
    low, high = o.split(x, 2, axis=1)
    return o.where(low > high, low, high * 0.5) + o.abs(low % 2.0)


def rows(o: Any, x: Any) -> Any:
    mean, variance = o.mean(x, axis=-1, keepdims=True), o.var(x, axis=-1, keepdims=True)
    return (x - mean) / o.sqrt(variance + 1e-3) + o.logsumexp(x, axis=1, keepdims=True)


def shapes(o: Any, x: Any) -> Any:
    pairs = o.reshape(x, (-1, 2, 4))
    both = o.concatenate([pairs, o.flip(pairs, axis=2)], axis=1)
    return o.einsum("bij,jk->bik", both[:, ::2], TABLE[:4])[..., 1:]


def places(o: Any, x: Any) -> Any:
    best = o.argmax(x, axis=-1)
    return o.one_hot(best, 8) * x + o.take(TABLE[:, :1], best, axis=0) // 0.25


def sums(o: Any, x: Any) -> Any:
    return x + x * x / 8 - (x - 1.0) ** 2 / 8 + o.matmul(x, 0.1 * TABLE @ TABLE.T)


GRAPHS = [arithmetic, constants, choices, rows, shapes, places, sums]


def network(module: Any, graph: Any, **options: Any) -> Any:
    """Two layers with a graph between them, with constant weights, so that all models agree."""
    x = module.Input((8,))
    hidden = module.layers.Dense(8, name="first", kernel_initializer="ones")(x)
    y = graph(module.ops, hidden * 0.3 + x)
    y = module.layers.Flatten()(y)
    y = module.layers.Dense(2, name="last", kernel_initializer="ones")(y)
    model = module.Model(x, y, **options)
    model.compile(module.optimizers.SGD(0.01), "mse")
    return model


@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_of_operations_are_kerass(keras: Any, graph: Any, backend: str) -> None:
    theirs, ours = network(keras, graph), network(gpunn, graph, backend=backend)
    assert ours.output_shape == theirs.output_shape
    given = np.asarray(theirs.predict(X, verbose=0))
    assert_allclose(ours.predict(X, verbose=0), given, rtol=2e-4, atol=2e-4)
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    losses = [m.fit(X, Y, **options).history["loss"] for m in (theirs, ours)]
    assert_allclose(losses[1], losses[0], rtol=2e-4)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(own, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_of_operations_are_saved_and_described(graph: Any, tmp_path: Path) -> None:
    model = network(gpunn, graph, backend="numpy")
    model.fit(X, Y, epochs=1, verbose=0)
    before = model.predict(X, verbose=0)
    gpunn.use_backend("numpy")  # also for the loaded model
    model.save(tmp_path / "model.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert_array_equal(loaded.predict(X, verbose=0), before)
    copy = gpunn.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    assert_allclose(copy.predict(X, verbose=0), before, rtol=1e-6)
    losses = [m.fit(X, Y, epochs=1, verbose=0).history for m in (model, loaded)]
    assert losses[0] == losses[1]
    names = [operation.name for operation in model.operations]
    assert len(set(names)) == len(names) > len(model.layers)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert all(name in lines[0] for name in names)


def test_shapes_and_dtypes_are_kerass(keras: Any) -> None:
    found = []
    for module in (keras, gpunn):
        x, o = module.Input((4, 6)), module.ops
        tensors = [
            x > 0, x[:, 0], x[..., None], x[:, 1:3, ::2], o.argmax(x, axis=1), -x, x / 2,
            x @ TABLE[:6], o.cast(x, "int32"), o.sum(x, axis=(1, 2)), o.expand_dims(x, 1), abs(x),
            2**x, ~(x > 0), o.transpose(x, (0, 2, 1)), *o.split(x, 3, axis=-1),
            o.stack([x, x], axis=1), 1 - x,
        ]  # fmt: skip
        found.append([(tuple(t.shape), t.dtype) for t in tensors])
        assert o.shape(x) == (None, 4, 6) and len(o.shape(x)) == x.ndim
    assert found[0] == found[1]
    assert ops.ndim(x) == 3


def test_constants_may_be_lists_and_stand_on_the_left() -> None:
    x, row = gpunn.Input((2,)), np.array([3.0, 4.0])
    model = gpunn.Model(x, row * x - [[1.0, 2.0]] + np.float32(1.0), backend="numpy")
    assert_allclose(model.predict([[1.0, 1.0]], verbose=0), [[3.0, 3.0]])


def test_shapes_are_known_without_the_memory() -> None:
    wide = ops.pad(gpunn.Input((8,)), ((0, 0), (0, 10**12)))
    assert wide.shape == (None, 10**12 + 8) and (wide * 2 + 1).shape == wide.shape


def test_a_model_may_end_with_truth_values_and_whole_numbers() -> None:
    x = gpunn.Input((8,))
    model = gpunn.Model(x, [x > 0, ops.argmax(x, axis=-1)], backend="numpy")
    positive, best = model.predict(X, verbose=0)
    assert_array_equal(positive, X > 0)
    assert_array_equal(best, X.argmax(-1))


def tied(backend: str) -> Any:
    """An autoencoder whose decoder multiplies by the encoder's kernel."""
    x = gpunn.Input((8,))
    encoder = layers.Dense(3, name="encoder", activation="tanh")
    h = encoder(x)
    y = ops.einsum("bj,ij->bi", h, encoder.kernel)
    model = gpunn.Model(x, y, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    return model


def test_a_parameter_in_a_graph_learns_from_both_places(backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(backend)  # also for the loaded model
    model = tied(backend)
    w, b = (np.asarray(p, np.float64) for p in model.get_weights())
    for _ in range(3):
        h = np.tanh(X @ w + b)
        difference = 2 * (h @ w.T - X) / X.size
        dh = difference @ w * (1 - h**2)
        loss = model.train_on_batch(X, X)
        assert loss == pytest.approx(np.mean((h @ w.T - X) ** 2), rel=1e-5)
        w, b = w - 0.1 * (X.T @ dh + difference.T @ h), b - 0.1 * dh.sum(0)
    assert_allclose(model.get_weights()[0], w, rtol=1e-5, atol=1e-6)
    assert_allclose(model.get_weights()[1], b, rtol=1e-5, atol=1e-6)
    assert model.count_params() == 8 * 3 + 3
    model.save(tmp_path / "tied.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "tied.gpunn")
    losses = [m.fit(X, X, epochs=2, verbose=0).history["loss"] for m in (model, loaded)]
    assert losses[0] == losses[1]
    assert len(loaded.get_weights()) == 2


def test_a_parameter_of_a_layer_elsewhere_is_not_saved(tmp_path: Path) -> None:
    other = layers.Dense(8, name="elsewhere")
    other.build((None, 8))
    x = gpunn.Input((8,))
    model = gpunn.Model(x, x @ other.kernel, backend="numpy")
    assert_allclose(model.predict(X, verbose=0), X @ np.asarray(other.kernel), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="elsewhere/kernel"):
        model.save(tmp_path / "model.gpunn")


def test_layers_whose_parameters_overlap_add_up_their_gradients(backend: str) -> None:
    """Two custom layers hold one Dense; the second also holds another one."""

    class Held(layers.Layer):
        def __init__(self, *held: Any) -> None:
            super().__init__()
            self.held = list(held)

        def call(self, x: Any) -> Any:  # type: ignore[override]
            for layer in self.held:
                x = layer(x)
            return x

    shared, own = layers.Dense(8, use_bias=False), layers.Dense(8, use_bias=False)
    x = gpunn.Input((8,))
    model = gpunn.Model(x, Held(shared)(Held(shared, own)(x)), backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    a, b = (np.asarray(layer.kernel, np.float64) for layer in (shared, own))
    for _ in range(2):
        h = X @ a
        dy = 2 * (h @ b @ a - X) / X.size
        db, da = h.T @ dy @ a.T, X.T @ (dy @ a.T @ b.T) + (h @ b).T @ dy
        model.train_on_batch(X, X)
        a, b = a - 0.1 * da, b - 0.1 * db
    assert_allclose(np.asarray(shared.kernel), a, rtol=1e-5, atol=1e-6)
    assert_allclose(np.asarray(own.kernel), b, rtol=1e-5, atol=1e-6)


# -- functions as layers


def with_lambda(module: Any, functional: bool, **options: Any) -> Any:
    o, further = module.ops, {"arguments": {"power": 2}}
    scaled = module.layers.Lambda(lambda t, power: o.abs(t) ** power - o.mean(t), **further)
    parts = [module.layers.Dense(2, kernel_initializer="ones"), scaled, module.layers.Dense(2)]
    x = module.Input((8,))
    if functional:
        y = x
        for part in parts:
            y = part(y)
        model = module.Model(x, y, **options)
    else:
        model = module.Sequential([x, *parts], **options)
    model.set_weights([0.1 * np.ones_like(w) for w in model.get_weights()])
    model.compile(module.optimizers.SGD(0.01), "mse")
    return model


@pytest.mark.parametrize("functional", [False, True])
def test_lambda_is_kerass(keras: Any, functional: bool, backend: str) -> None:
    theirs = with_lambda(keras, functional)
    ours = with_lambda(gpunn, functional, backend=backend)
    assert ours.output_shape == theirs.output_shape
    options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    losses = [m.fit(X, Y, **options).history["loss"] for m in (theirs, ours)]
    assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_a_function_with_a_training_argument_gets_it() -> None:
    layer = layers.Lambda(lambda x, training: x * (2.0 if training else 3.0), output_shape=(8,))
    assert_array_equal(np.asarray(layer(X)), X * 3)
    assert_array_equal(np.asarray(layer(X, training=True)), X * 2)


def test_a_lambda_is_not_saved(tmp_path: Path) -> None:
    model = with_lambda(gpunn, False, backend="numpy")
    with pytest.raises(ValueError, match=r"Lambda cannot be saved.*call"):
        model.save(tmp_path / "model.gpunn")
    with pytest.raises(TypeError, match="function"):
        layers.Lambda(3)
