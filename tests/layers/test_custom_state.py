"""Test assignments in custom layers and losses: to weights without a gradient, and to variables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.backends import use_backend
from gpunn.common import registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS, FEATURES = 21, 4


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(1.0, 2.0, size=(ROWS, FEATURES)).astype(np.float32)
    return x, np.tanh(x[:, :2]) - 0.5


def centred_class(module: Any) -> type:
    """Subtracts a moving mean from its input; in training, the batch's mean."""
    ops = module.ops

    class Centred(module.layers.Layer):
        def build(self, input_shape: Any) -> None:
            shape = (input_shape[-1],)
            self.mean = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, name="mean"
            )
            self.scale = self.add_weight(shape=shape, initializer="ones", name="scale")
            self.built = True

        def call(self, x: Any, training: Any = None) -> Any:
            if training:
                mean = ops.mean(x, axis=0)
                self.mean.assign(0.9 * self.mean + 0.1 * mean)
                return (x - mean) * self.scale
            return (x - self.mean) * self.scale

    return Centred


def test_a_moving_mean_is_that_of_keras(keras: Any, backend: str) -> None:
    x, y = data()
    models = []
    for module in (keras, gpunn):
        options = {"backend": backend} if module is gpunn else {}
        dense = [module.layers.Dense(n, kernel_initializer="ones") for n in (3, 2)]
        model = module.Sequential(
            [module.Input((FEATURES,)), dense[0], centred_class(module)(), dense[1]], **options
        )
        model.compile(module.optimizers.SGD(0.01), "mse")
        models.append(model)
    theirs, ours = models
    ours.set_weights(theirs.get_weights())
    found = [m.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0) for m in models]
    assert_allclose(found[1].history["loss"], found[0].history["loss"], 1e-5)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(own, other, 1e-4, 1e-6)
    assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4, 1e-5)


class Counting(layers.Layer):
    """Multiplies by a counter that grows by 1 each training step, before or after it is read."""

    def __init__(self, behind: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.behind = behind

    def build(self, input_shape: Any) -> None:
        self.count = self.add_weight(shape=(), initializer="ones", trainable=False, name="count")

    def call(self, x: Any, training: Any = None) -> Any:
        if not training:
            return x
        if self.behind:
            y = x * self.count
            self.count.assign_add(1.0)
            return y
        self.count.assign_add(1.0)
        return x * self.count


def counting(backend: str | None = None, behind: bool = True, rate: float = 0.01) -> Any:
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = gpunn.Sequential(
        [gpunn.Input((1,)), dense, Counting(behind, name="counting")], backend=backend
    )
    model.compile(gpunn.optimizers.SGD(rate), "mse")
    return model


@pytest.mark.parametrize("behind", [True, False])
def test_a_gradient_is_by_what_was_read(backend: str, behind: bool) -> None:
    """For y = n w x, by hand: an assignment after the read takes effect in the next step."""
    model, x = counting(backend, behind), np.float32([[1.0], [2.0]])
    weight, factors = 1.0, (1.0, 2.0, 3.0) if behind else (2.0, 3.0, 4.0)
    model.fit(x, np.zeros_like(x), batch_size=2, epochs=3, verbose=0)
    for n in factors:
        weight -= 0.01 * float(np.mean(2 * (n * weight * x) * n * x))
    assert_allclose(model.get_weights()[0], [[weight]], 1e-5)
    assert model.layers[1].count.numpy() == 4.0


def test_a_layer_that_stands_twice_assigns_twice(backend: str) -> None:
    """It does in each step, in the order of the forward passes: y = n (n + 1) w x, by hand."""
    twice, inputs = Counting(), gpunn.Input((1,))
    y = layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
    model = gpunn.Model(inputs, twice(twice(y)), backend=backend)
    model.compile(gpunn.optimizers.SGD(0.001), "mse")
    x, weight = np.float32([[1.0], [2.0]]), 1.0
    model.fit(x, np.zeros_like(x), batch_size=2, epochs=2, verbose=0)
    for factor in (1.0 * 2.0, 3.0 * 4.0):
        weight -= 0.001 * float(np.mean(2 * (factor * weight * x) * factor * x))
    assert twice.count.numpy() == 5.0
    assert_allclose(model.get_weights()[0], [[weight]], 1e-5)


class Doubling(layers.Layer):
    """With passes of its own, which read the values from the start of the step."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(input_shape[1:], "ones", name="kernel")

    def forward(self, call: Any) -> None:
        call.backend.xp.multiply(call.x, 2 * self.kernel.value, out=call.y)

    def backward(self, call: Any) -> None:
        call.backend.xp.multiply(call.dy, 2 * self.kernel.value, out=call.dx)


def test_a_weight_that_is_assigned_to_before_its_layer_computes(backend: str) -> None:
    class Clipped(layers.Layer):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def call(self, x: Any, training: bool | None = None) -> Any:
            if training:
                self.inner.kernel.assign(ops.clip(self.inner.kernel, -0.1, 0.1))
            return self.inner(x)

    x = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    dense = layers.Dense(2, name="inner", input_shape=(2,))
    model = gpunn.Sequential([layers.Input((2,)), Clipped(dense)], backend=backend)
    before = np.array([[0.05, -0.5], [0.3, -0.02]], np.float32)
    model.set_weights([before, np.zeros(2)])
    model.compile(gpunn.optimizers.SGD(0.5), "mse")
    loss = model.fit(x, np.zeros_like(x), batch_size=6, verbose=0).history["loss"][0]
    clipped = before.clip(-0.1, 0.1)
    y = x @ clipped
    assert loss == pytest.approx(np.mean(y**2), rel=1e-5)
    inside = np.abs(before) < 0.1  # the gradient of the initial value
    wanted = clipped - 0.5 * inside * (x.T @ (2 * y / y.size))
    assert_allclose(dense.kernel.numpy(), wanted, rtol=1e-5, atol=1e-7)
    own = Clipped(Doubling(name="inner", input_shape=(2,)))
    with pytest.raises(ValueError, match=r"inner/kernel.*assigned to before.*after"):
        own(x, training=True)


def test_it_is_saved_and_goes_on(backend: str, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
    with registry.restored():
        gpunn.saving.register_keras_serializable()(Counting)
        once, twice = counting(backend), counting(backend)
        once.fit(x, x, batch_size=4, epochs=4, shuffle=False, verbose=0)
        twice.fit(x, x, batch_size=4, epochs=2, shuffle=False, verbose=0)
        twice.save(tmp_path / "model.gpunn")
        use_backend(backend)
        again = gpunn.models.load_model(tmp_path / "model.gpunn")
        assert again.layers[1].count.numpy() == 7.0
        again.fit(x, x, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for own, other in zip(again.get_weights(), once.get_weights(), strict=True):
        assert_array_equal(own, other)


class Always(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.total = self.add_weight(shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.total.assign_add(ops.sum(x, axis=0))
        return x + self.total


def test_predictions_and_evaluations_refuse_to_assign() -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), Always(name="always")])
    model.compile(None, "mse")
    x = np.ones((3, 2), np.float32)
    for refused in (model.predict, lambda x: model.evaluate(x, x, verbose=0), model):
        with pytest.raises(TypeError, match=r"always/.*is assigned to.*if training:"):
            refused(x)
    assert_array_equal(model.get_weights()[0], [0.0, 0.0])


class Masked(layers.Layer):
    """A convolution that assigns a mask to its kernel, as in Keras's example PixelCNN."""

    def __init__(self) -> None:
        super().__init__(name="masked")
        self.conv = layers.Conv2D(2, 3, padding="same")

    def build(self, input_shape: Any) -> None:
        self.conv.build(input_shape)
        self.mask = np.zeros(self.conv.kernel.shape)
        self.mask[:1] = 1.0

    def call(self, x: Any) -> Any:
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(x)


@pytest.mark.parametrize("eager", [False, True])
def test_predictions_may_assign_what_another_call_would_not_change(
    every_backend: str, eager: bool
) -> None:
    gpunn.use_backend(every_backend)
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    model = gpunn.Sequential([gpunn.Input((4, 4, 1)), Masked()])
    model.compile("sgd", "mse", run_eagerly=eager)
    plain = gpunn.Sequential([gpunn.Input((4, 4, 1)), layers.Conv2D(2, 3, padding="same")])
    before = model.get_weights()
    plain.set_weights([before[0] * model.layers[0].mask, before[1]])
    expected = plain.predict(x, verbose=0)
    for predicted in (model.predict(x, verbose=0), model(x)):
        np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    loss = model.evaluate(x, 0 * expected, verbose=0)
    np.testing.assert_allclose(loss, np.mean(expected**2), rtol=1e-5)
    assert_array_equal(model.get_weights()[0], before[0])  # they change nothing


def test_a_layer_by_itself_assigns_as_in_keras() -> None:
    layer, x = Always(), np.ones((3, 2), np.float32)
    assert_array_equal(layer(x)[0], [4.0, 4.0])
    assert_array_equal(layer(x)[0], [7.0, 7.0])
    assert_array_equal(layer.total.numpy(), [6.0, 6.0])
    layer.total.assign_sub([1.0, 2.0])
    assert_array_equal(layer.total.numpy(), [5.0, 4.0])


def test_a_value_of_another_shape_is_refused() -> None:
    class Wrong(Always):
        def call(self, x: Any) -> Any:
            self.total.assign(x)
            return x

    with pytest.raises(ValueError, match=r"has shape \(2,\); got values of shape \(2, 2\)"):
        Wrong()(np.ones((3, 2), np.float32))


# -- variables


class Sliding(layers.Layer):
    """Has a variable as an attribute, as in Keras's guides."""

    def __init__(self) -> None:
        super().__init__(name="sliding")
        self.step = gpunn.Variable(0.0, trainable=False)
        self.factor = gpunn.Variable([2.0], name="slope")

    def call(self, x: Any, training: Any = None) -> Any:
        if training:
            self.step.assign_add(1)
        return x * self.factor


def test_a_variable_of_a_layer_is_a_weight_of_it(backend: str, tmp_path: Path) -> None:
    def made() -> Any:
        model = gpunn.Sequential([gpunn.Input((1,)), Sliding()], backend=backend)
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        return model

    model, x = made(), np.ones((6, 1), np.float32)
    assert [w.path for w in model.weights] == ["sliding/slope", "sliding/step"]
    assert [w.path for w in model.trainable_weights] == ["sliding/slope"]
    model.fit(x, 3 * x, batch_size=4, epochs=1, verbose=0)
    slope, step = model.get_weights()
    assert step == 2.0
    assert_allclose(slope, [3 - (1 - 0.2) ** 2], 1e-6)
    model.save_weights(tmp_path / "w.gpunn")
    other = made()
    other.load_weights(tmp_path / "w.gpunn")
    assert_array_equal(other.get_weights()[0], slope)


class Assigns(gpunn.callbacks.Callback):
    def __init__(self, variable: Any, values: list[float]) -> None:
        super().__init__()
        self.variable, self.values = variable, values

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.variable.assign(self.values[epoch])


@pytest.mark.parametrize("where", ["loss", "layer", "activation"])
def test_a_variable_is_read_in_each_step(backend: str, where: str) -> None:
    """For example a loss weight that a callback increases."""
    factor = gpunn.Variable(1.0)

    def scaled(x: Any) -> Any:
        return factor * x

    def loss(t: Any, p: Any) -> Any:
        p = scaled(p) if where == "loss" else p
        return ops.mean(ops.abs(t - p), axis=-1)

    class Scaled(layers.Layer):
        def call(self, x: Any) -> Any:
            return scaled(x)

    end: dict[str, Callable[[], Any]] = {
        "loss": lambda: layers.Activation("linear"), "layer": Scaled,
        "activation": lambda: layers.Activation(scaled),
    }  # fmt: skip
    model = gpunn.Sequential(
        [gpunn.Input((2,)), layers.Dense(2, kernel_initializer="identity"), end[where]()],
        backend=backend,
    )
    model.compile(gpunn.optimizers.SGD(0.0), loss)
    x, values = np.ones((6, 2), np.float32), [1.0, 3.0, 2.0]
    callback = Assigns(factor, values)
    history = model.fit(x, 0 * x, batch_size=4, epochs=3, verbose=0, callbacks=[callback]).history
    assert_allclose(history["loss"], values, 1e-6)


def test_a_loss_assigns_to_a_variable(backend: str) -> None:
    steps = gpunn.Variable(0.0)

    def loss(t: Any, p: Any) -> Any:
        steps.assign_add(1.0)
        return ops.mean(ops.square(t - p), axis=-1) * steps

    model = gpunn.Sequential([gpunn.Input((1,)), layers.Dense(1)], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), loss)
    x = np.ones((6, 1), np.float32)
    model.set_weights([[[2.0]], [0.0]])
    history = model.fit(x, x, batch_size=2, epochs=2, verbose=0).history
    assert_allclose(history["loss"], [2.0, 5.0], 1e-6)
    assert float(steps) == 6.0
    steps.assign(0.0)
    assert model.evaluate(x[:2], x[:2], verbose=0) == 1.0


def test_an_eager_gradient_assigns_too() -> None:
    count = gpunn.Variable(1.0)

    def square(x: Any) -> Any:
        count.assign_add(1.0)
        return count * x * x

    assert gpunn.grad(square)(3.0).item() == 12.0
    assert gpunn.grad(square)(3.0).item() == 18.0
    assert float(count) == 3.0


def twice_named(module: Any, second: str = "w") -> type:
    """Two weights, by default of one name."""

    class Twice(module.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(input_shape[-1], 2), initializer="ones", name="w")
            self.b = self.add_weight(shape=(2,), initializer="zeros", name=second)
            self.built = True

        def call(self, x: Any) -> Any:
            return module.ops.matmul(x, self.w) + self.b

    return Twice


def test_weights_of_one_name_are_trained_and_saved(keras: Any, tmp_path: Path) -> None:
    x, y = data()
    models = []
    for module, second in ((keras, "b"), (gpunn, "w")):  # Keras's on PyTorch mixes up equal names
        model = module.Sequential([module.Input((FEATURES,)), twice_named(module, second)()])
        model.compile(module.optimizers.SGD(0.01), "mse")
        model.fit(x, y, batch_size=7, epochs=2, shuffle=False, verbose=0)
        models.append(model)
    theirs, ours = (model.get_weights() for model in models)
    assert_allclose(ours[0], theirs[0], rtol=1e-5)
    assert_allclose(ours[1], theirs[1], rtol=1e-5)
    assert len({w.path for w in models[1].weights}) == 2
    models[1].save_weights(path := str(tmp_path / "w.gpunn"))
    other = gpunn.Sequential([gpunn.Input((FEATURES,)), twice_named(gpunn)()])
    other.load_weights(path)
    for loaded, saved in zip(other.get_weights(), ours, strict=True):
        assert_array_equal(loaded, saved)


def test_a_call_that_returns_its_weight_has_no_batch_axis() -> None:
    class Total(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="total_of")
            self.total = gpunn.Variable(np.zeros(FEATURES), trainable=False)

        def call(self, x: Any) -> Any:
            self.total.assign_add(ops.sum(x, axis=0))
            return self.total

    # Alone, it may return what it likes; in a model each sample needs an entry.
    assert_allclose(Total()(data()[0]), data()[0].sum(axis=0), rtol=1e-5)
    with pytest.raises(ValueError, match=r"total_of\.call: .*one entry for each sample.*\(4,\)"):
        gpunn.Sequential([gpunn.Input((FEATURES,)), Total()])
