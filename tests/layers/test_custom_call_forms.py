"""Test inputs and outputs of a `call`: several tensors, added losses, random numbers, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from comparisons.custom_layers import MLPBlock, register
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.testing import check_gradients


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same initial weights in each run, so that no value moves onto a kink of ReLU."""
    gpunn.utils.set_random_seed(7)


@register
class Mixed(layers.Layer):
    """A list of two tensors becomes one tensor."""

    def build(self, input_shape: Any) -> None:
        left, right = input_shape
        self.w = self.add_weight((left[-1], right[-1]), name="w")

    def call(self, inputs: Any) -> Any:
        left, right = inputs
        return ops.tanh(ops.matmul(left, self.w)) * right


@register
class Bilinear(layers.Layer):
    """Two arguments, and a number."""

    def build(self, a_shape: Any, b_shape: Any) -> None:  # type: ignore[override]
        self.w = self.add_weight((a_shape[-1], b_shape[-1]), name="w")

    def call(self, a: Any, b: Any, scale: float = 1.0) -> Any:
        return scale * ops.matmul(a, self.w) * b


@register
class Both(layers.Layer):
    """One tensor becomes a dictionary of two, of different shapes."""

    def call(self, x: Any) -> Any:
        return {"sum": ops.sum(x, axis=-1, keepdims=True), "square": ops.square(x)}


@register
class OfNames(layers.Layer):
    """A dictionary becomes a tuple."""

    def call(self, given: Any) -> Any:
        return given["a"] + given["b"], given["a"] - given["b"]


def test_gradients_of_several_inputs(backend: str) -> None:
    check_gradients(Mixed(), [(4, 3), (4, 5)], backend=backend)


def graph(backend: Any = None) -> Any:
    """All of these layers in one model."""
    gpunn.utils.set_random_seed(3)
    inputs = gpunn.Input((4,))
    x = layers.Dense(4, "tanh")(inputs)
    both = Both()(x)
    more, less = OfNames()({"a": both["square"], "b": x})
    y = Mixed()([more, less])
    y = Bilinear()(y, b=both["sum"], scale=0.5)
    outputs = layers.Dense(1)(y)
    model = gpunn.Model(inputs, outputs, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.05), "mse")
    return model


def by_hand(weights: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    w1, b1, w2, w3, w4, b4 = weights
    h = np.tanh(x @ w1 + b1)
    square, total = h**2, h.sum(axis=1, keepdims=True)
    y = np.tanh((square + h) @ w2) * (square - h)
    return 0.5 * (y @ w3) * total @ w4 + b4


def test_several_tensors_go_in_and_come_out(backend: str, tmp_path: Path) -> None:
    model = graph(backend)
    x = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)
    y = x[:, :1] * x[:, 1:2]
    weights = model.get_weights()
    assert_allclose(model.predict(x, verbose=0), by_hand(weights, x), rtol=1e-5, atol=1e-6)
    loss = np.mean((by_hand([w.astype(np.float64) for w in weights], x) - y) ** 2)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(float(loss), rel=1e-5)
    # One step of plain gradient descent, compared with finite differences in double precision.
    model.fit(x, y, batch_size=23, epochs=1, verbose=0)
    random = np.random.default_rng(1)
    for k, (before, after) in enumerate(zip(weights, model.get_weights(), strict=True)):
        direction = random.standard_normal(before.shape)
        values = []
        for sign in (1, -1):
            moved = [w.astype(np.float64) for w in weights]
            moved[k] += sign * 1e-5 * direction
            values.append(np.mean((by_hand(moved, x) - y) ** 2))
        slope = (values[0] - values[1]) / 2e-5
        step = float(np.sum((before.astype(np.float64) - after) * direction)) / 0.05
        assert step == pytest.approx(slope, rel=2e-3, abs=2e-4), k


@register
class Weighted(layers.Layer):
    """Takes a list of a tensor, a value for each of its features, and a number."""

    def call(self, inputs: Any) -> Any:
        x, weights, offset = inputs
        return x * weights + offset


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_constants_stand_beside_tensors_in_a_list(backend: str, tmp_path: Path) -> None:
    x = layers.Input((3,))
    weights = np.array([[1.0, 2.0, 3.0]], np.float32)
    model = gpunn.Model(x, Weighted()([x, weights, 0.5]), backend=backend)
    given = np.ones((2, 3), np.float32)
    assert_allclose(model.predict(given, verbose=0), [[1.5, 2.5, 3.5]] * 2)
    model.save(tmp_path / "m.gpunn")
    again = gpunn.models.load_model(tmp_path / "m.gpunn")
    assert_allclose(again.predict(given, verbose=0), [[1.5, 2.5, 3.5]] * 2)


def test_a_model_of_such_layers_is_saved(tmp_path: Path) -> None:
    model = graph()
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.get_config() == model.get_config()


def test_called_by_themselves_they_give_what_call_gives() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    found = Both()(x)
    assert_allclose(found["sum"], [[3.0], [7.0]])
    assert_allclose(found["square"], x**2)
    total, difference = OfNames()({"a": x, "b": 2 * x})
    assert_allclose(total, 3 * x)
    assert_allclose(difference, -x)
    assert OfNames().compute_output_shape({"a": (None, 2), "b": (None, 2)}) == ((None, 2),) * 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras
def test_numbers_beside_the_input_may_come_as_scalars_of_any_kind(keras: Any) -> None:
    rows = np.arange(6.0, dtype="float32").reshape(2, 3)
    kinds = (float, int, np.float32, np.float64, np.int64, np.bool_, np.array)
    found = []
    for library in (gpunn, keras):
        base: Any = library.layers.Layer

        class Times(base):
            def call(self, x: Any, factor: Any = 1.0) -> Any:
                return x * factor

        layer, times = Times(), []
        for number in (2.0, 3.0):
            made = [kind(number) for kind in kinds]
            made += [library.ops.convert_to_tensor(number), library.Variable(number)]
            times += [layer(rows, factor=factor) for factor in made]
            times += [layer(rows, factor) for factor in made[-2:]]  # Keras wants tensors there
        heads = library.layers.MultiHeadAttention(1, 2)
        heads.build((2, 3, 1), (2, 3, 1))
        heads.set_weights([np.full(w.shape, 0.5) for w in heads.weights])
        x = rows[..., None]
        times += [heads(x, x, use_causal_mask=flag)[..., 0] for flag in (np.True_, np.int64(0))]
        found.append([library.ops.convert_to_numpy(y) for y in times])
    for ours, theirs in zip(*found, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5)
    with pytest.raises(ValueError, match="must have a batch axis; got a single number"):
        layers.Dense(2)(np.float32(1.0))


def test_outputs_of_a_layer_are_outputs_of_a_model(backend: str) -> None:
    inputs = gpunn.Input((3,))
    both = Both()(layers.Dense(3)(inputs))
    model = gpunn.Model(inputs, [both["sum"], both["square"]], backend=backend)
    model.compile("sgd", ["mse", "mse"])
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    total, square = model.predict(x, verbose=0)
    h = x @ model.get_weights()[0] + model.get_weights()[1]
    assert_allclose(total, h.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    assert_allclose(square, h**2, rtol=1e-5, atol=1e-6)
    expected = np.mean(total**2) + np.mean(square**2)
    zeros = [np.zeros_like(total), np.zeros_like(square)]
    assert model.evaluate(x, zeros, verbose=0)[0] == pytest.approx(float(expected), rel=1e-5)
    before = model.get_weights()[0]
    model.fit(x, zeros, batch_size=9, verbose=0)
    gradient = x.T @ (2 * total / 9 + 4 * h * square / 27)
    assert_allclose(model.get_weights()[0], before - 0.01 * gradient, rtol=1e-4, atol=1e-6)


# -- losses that a layer adds


@register
class Penalty(layers.Layer):
    """ActivityRegularizationLayer from Keras's guide."""

    def __init__(self, rate: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate

    def call(self, inputs: Any) -> Any:
        self.add_loss(self.rate * ops.mean(inputs))
        return inputs


def test_a_loss_of_a_layer_is_added(backend: str) -> None:
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2), Penalty(0.5), Penalty(0.25), layers.Dense(1)],
        backend=backend,
    )
    model.compile(gpunn.optimizers.SGD(0.1), "mse", metrics=["mae"])
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    y = np.zeros((8, 1), np.float32)
    w1, b1, w2, b2 = model.get_weights()
    h = x @ w1 + b1
    p = h @ w2 + b2
    expected = np.mean(p**2) + 0.75 * np.mean(h)
    loss, _ = model.evaluate(x, y, verbose=0, batch_size=8)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    history = model.fit(x, y, batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(float(expected), rel=1e-5)
    gradient = x.T @ (2 / 8 * p @ w2.T + 0.75 / 16)
    assert_allclose(model.get_weights()[0], w1 - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_a_loss_is_scaled_as_the_others_are(backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    found = []
    for scale in (None, 128.0):
        gpunn.utils.set_random_seed(0)
        model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2), Penalty()], backend=backend)
        model.compile(gpunn.optimizers.SGD(0.1, loss_scale_factor=scale), "mse")
        model.fit(x, x[:, :2], batch_size=8, verbose=0)
        found.append(model.get_weights()[0])
    assert_allclose(found[0], found[1], rtol=1e-6)


def test_a_layer_that_only_adds_a_loss_learns(backend: str) -> None:
    """Nothing else reads its output, and another output has a loss."""
    inputs = gpunn.Input((3,))
    h = layers.Dense(4, "tanh")(inputs)
    side = Penalty(1.0)(layers.Dense(2, name="side")(h))
    model = gpunn.Model(inputs, {"main": layers.Dense(1)(h), "side": side}, backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), {"main": "mse"})
    x = np.ones((4, 3), np.float32)
    before = model.get_layer("side").get_weights()
    hidden = np.tanh(x @ model.get_weights()[0] + model.get_weights()[1])
    model.fit(x, {"main": np.ones((4, 1), np.float32)}, batch_size=4, verbose=0)
    after = model.get_layer("side").get_weights()
    assert_allclose(after[0], before[0] - 0.1 * hidden.T @ np.full((4, 2), 1 / 8), rtol=1e-5)
    assert_allclose(after[1], before[1] - 0.1 * 0.5, rtol=1e-5)


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside a layer"])
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_activity_regularizers_are_divided_by_the_samples(
    kind: str, inside: bool, backend: str
) -> None:
    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2, "tanh", activity_regularizer=kind)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    layer = Outer() if inside else layers.Dense(2, "tanh", activity_regularizer=kind)
    model = gpunn.Sequential([layers.Input((3,)), layer], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    h = np.tanh(x @ model.get_weights()[0] + model.get_weights()[1])
    penalty = 0.01 * (np.abs(h).sum() if kind == "l1" else np.square(h).sum()) / 8
    assert model.evaluate(x, h, verbose=0) == pytest.approx(float(penalty), rel=1e-4)
    before = model.get_weights()[1]
    model.fit(x, h, batch_size=8, verbose=0)
    dh = 0.01 * (np.sign(h) if kind == "l1" else 2 * h) / 8
    expected = before - 0.1 * (dh * (1 - h**2)).sum(axis=0)
    assert_allclose(model.get_weights()[1], expected, rtol=1e-4, atol=1e-7)


def test_an_activity_regularizer_is_saved(tmp_path: Path) -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(2, activity_regularizer="l1")])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    x = np.ones((3, 2), np.float32)
    assert again.evaluate(x, x, verbose=0) == model.evaluate(x, x, verbose=0)
    config = again.layers[0].get_config()["activity_regularizer"]
    assert config == {"class_name": "L1", "config": {"l1": 0.01}}
    assert "activity_regularizer" not in layers.Dense(2).get_config()


# -- random numbers in predictions


class MonteCarlo(layers.Dropout):
    def call(self, inputs: Any) -> Any:
        return super().call(inputs, training=True)


class Noisy(layers.GaussianNoise):
    def call(self, inputs: Any) -> Any:
        return super().call(inputs, training=True)


@pytest.mark.parametrize("layer", [MonteCarlo, Noisy])
def test_a_layer_that_always_draws_draws_in_predictions(layer: Any, backend: str) -> None:
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential([layers.Input((500,)), layer(0.5)], backend=backend)
    x = np.ones((40, 500), np.float32)
    first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[:20], first[20:])
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    assert first.mean() == pytest.approx(1.0, abs=0.05)
    deviation = 1.0 if layer is MonteCarlo else 0.5
    assert first.std() == pytest.approx(deviation, abs=0.05)
    gpunn.utils.set_random_seed(1)
    again = gpunn.Sequential([layers.Input((500,)), layer(0.5)], backend=backend)
    assert np.array_equal(again.predict(x, verbose=0), first)
    alone = layer(0.5)
    assert not np.array_equal(alone(x), alone(x))
    model.compile("sgd", "mse")
    assert model.evaluate(x, x, verbose=0) == pytest.approx(deviation**2, abs=0.1)


def test_pieces_of_a_prediction_draw_other_numbers() -> None:
    model = gpunn.Sequential([layers.Input((64,)), MonteCarlo(0.5)], backend="compiled")
    rows = 40_000  # more than one chunk
    drawn = model.predict(np.ones((rows, 64), np.float32), verbose=0)
    assert len(np.unique(np.packbits(drawn > 0, axis=1), axis=0)) == rows


# -- errors


def apply_in(layer: Any, shape: tuple[int, ...] = (4,)) -> None:
    layer(gpunn.Input(shape))


class Own(layers.Layer):
    """A layer whose call is a given function."""

    def __init__(self, function: Any) -> None:
        super().__init__(name="mine")
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def kept() -> Any:
    tensors: list[Any] = []

    def call(x: Any) -> Any:
        tensors.append(x)
        return x + ops.sum(tensors[0])

    return call


def here() -> str:
    return Path(__file__).name


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: ops.sum(x), ValueError, r"mine\.call.*shapes \(\) for 2 samples and \(\) for 3"),
        (lambda x: ops.sum(x, axis=0), ValueError, r"shapes \(4,\) for 2 samples"),
        (lambda x: x + ops.ones((3,)), ValueError, r"\(2, 4\) and \(3,\), at .*forms\.py line \d+"),
        (lambda x: ops.matmul(x, ops.ones((3, 2))), ValueError, r"\(2, 4\) and \(3, 2\)"),
        pytest.param(
            lambda x: np.exp(x), TypeError, "gpunn.ops instead of numpy", marks=pytest.mark.traced
        ),
        pytest.param(
            lambda x: x if x > 0 else -x, TypeError, r"ops\.where", marks=pytest.mark.traced
        ),
        (lambda x: None, TypeError, r"mine\.call must return a tensor.*got None"),
        (lambda x: 3.0, TypeError, r"mine\.call must return a tensor.*got 3\.0"),
        (lambda x: layers.Dense(2)(x), ValueError, "not an attribute of mine.*__init__"),
        (lambda x: layers.Dense(2).kernel * x, AttributeError, "kernel"),
        (kept(), ValueError, "another call"),
    ],
)
def test_mistakes_in_a_call_raise(function: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        layer = Own(function)
        apply_in(layer)
        layer(np.ones((2, 4), np.float32))


def test_weights_are_made_in_build() -> None:
    class Late(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * self.add_weight((4,))

    with pytest.raises(TypeError, match=r"cannot be created in call.*build\(input_shape\)"):
        apply_in(Late())


def extended_class(module: Any) -> type:
    """A built-in layer, and a weight that its `build` declares after those of the base."""

    class Extended(module.layers.Dense):
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.factor = self.add_weight((), initializer="ones", name="factor")

        def call(self, inputs: Any) -> Any:
            return 3.0 * self.factor * super().call(inputs)

    return Extended


def outer_of(module: Any, inner: Any) -> Any:
    """A layer whose `call` applies another one."""

    class Outer(module.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def call(self, x: Any) -> Any:
            return self.inner(x)

    return Outer()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_build_goes_on_after_that_of_its_base_also_inside_a_call(keras: Any) -> None:
    results = []
    for module in (keras, gpunn):
        inner = extended_class(module)(2, kernel_initializer="ones", activation="relu")
        y = outer_of(module, inner)(np.float32([[1.0, 2.0], [-4.0, 1.0]]))
        results.append(module.ops.convert_to_numpy(y))
        assert [w.name for w in inner.weights] == ["kernel", "bias", "factor"]
    assert_allclose(results[1], results[0])


def doubling_in_training(module: Any) -> Any:
    class Doubling(module.layers.Layer):
        def call(self, x: Any, training: Any = True) -> Any:
            return 2.0 * x if training else x

    return Doubling()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_is_what_call_says_if_nothing_else_does(keras: Any) -> None:
    x, results = np.ones((2, 3), np.float32), []
    for module in (keras, gpunn):
        layer, start = doubling_in_training(module), module.Input((3,))
        model = module.Model(start, layer(start))
        fixed = module.Model(start, layer(start, training=False))
        calls = [layer(x), layer(x, training=False), model(x), model(x, training=False), fixed(x)]
        calls.append(model.predict(x, verbose=0))
        results.append([module.ops.convert_to_numpy(y).max() for y in calls])
    assert results[1] == results[0] == [2, 1, 2, 1, 1, 1]


PICTURES = (3, 4, 6, 2)
BASES = [
    ("Dense", {"units": 3, "activation": "tanh"}, (3, 4)),
    ("Conv2D", {"filters": 3, "kernel_size": 2, "activation": "relu"}, PICTURES),
    ("DepthwiseConv2D", {"kernel_size": 2, "padding": "same"}, PICTURES),
    ("MaxPooling2D", {}, PICTURES),
    ("GlobalAveragePooling2D", {}, PICTURES),
    ("UpSampling2D", {"size": (1, 2)}, PICTURES),
    ("ZeroPadding2D", {"padding": 1}, PICTURES),
    ("Flatten", {}, PICTURES),
    ("Reshape", {"target_shape": (2, 2)}, (3, 4)),
    ("Rescaling", {"scale": 0.5, "offset": 1.0}, (3, 4)),
    ("Activation", {"activation": "softmax"}, (3, 4)),
    ("BatchNormalization", {}, (3, 4)),
    ("LayerNormalization", {}, (3, 4)),
    ("UnitNormalization", {}, (3, 4)),
    ("Add", {}, (3, 4)),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 2}, PICTURES),
]


def overriding_class(module: Any, name: str) -> type:
    """Doubles the input of a built-in layer, and adds 1 to its output."""

    class Overriding(getattr(module.layers, name)):  # type: ignore[misc]
        def call(self, x: Any, training: Any = None) -> Any:
            options = {"training": training} if name == "BatchNormalization" else {}
            doubled = [2.0 * one for one in x] if name == "Add" else 2.0 * x
            return super().call(doubled, **options) + 1.0

    return Overriding


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "arguments", "shape"), BASES, ids=lambda given: str(given))
def test_a_call_uses_that_of_any_built_in_layer(
    keras: Any, name: str, arguments: Any, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).normal(0.5, 1.0, shape).astype(np.float32)
    given = [x, -0.5 * x] if name == "Add" else x
    made = [overriding_class(module, name)(**arguments) for module in (keras, gpunn)]
    for training in (False, True):
        theirs, ours = [layer(given, training=training) for layer in made]
        if not training:
            made[1].set_weights([w.numpy() for w in made[0].weights])
            ours = made[1](given)
        assert_allclose(ours, keras.ops.convert_to_numpy(theirs), rtol=1e-5, atol=1e-5)
    starts = [gpunn.Input(shape[1:]) for _ in range(2)]
    start = starts if name == "Add" else starts[0]
    model = gpunn.Model(start, made[1](start))
    theirs = keras.ops.convert_to_numpy(made[0](given))
    assert_allclose(model.predict(given, verbose=0), theirs, rtol=1e-5, atol=1e-5)


def test_a_call_uses_the_passes_of_its_base() -> None:
    class Sums(layers.Dense):
        def forward(self, call: Any) -> None:
            call.y[...] = call.x.sum(axis=1, keepdims=True)

        def backward(self, call: Any) -> None:
            call.dx[...] = call.dy.sum(axis=1, keepdims=True)

    class Tripled(Sums):
        def call(self, x: Any) -> Any:
            return 3.0 * super().call(x)

    layer, x = Tripled(2), np.float32([[1.0, 2.0], [3.0, -4.0]])
    assert layer(x).tolist() == [[9.0, 9.0], [-3.0, -3.0]]
    slopes = gpunn.grad(lambda x: ops.sum(layer(x)))(x)
    assert slopes.tolist() == [[6.0, 6.0], [6.0, 6.0]]


def test_the_wrong_number_of_features_raises() -> None:
    block = MLPBlock(name="block")
    apply_in(block, (4,))
    with pytest.raises(ValueError, match=r"matmul.*\(2, 5\) and \(4, 8\).*custom_layers\.py line"):
        apply_in(block, (5,))


def test_call_is_for_layers() -> None:
    with pytest.raises(TypeError, match=r"write layer\(x\)"):
        layers.Dense(2).call(np.ones((2, 4)))
    with pytest.raises(TypeError, match="inside call"):
        Penalty().add_loss(1.0)
