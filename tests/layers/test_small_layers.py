"""Test layers that permute, repeat, penalize and multiply, those around others, and what layers
expect of their inputs, beside Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparisons.custom_layers import register
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ONE: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Identity": ({}, (3, 4)),
    "Permute": ({"dims": (3, 1, 2)}, (2, 3, 4, 5)),
    "RepeatVector": ({"n": 4}, (3, 5)),
    "ActivityRegularization": ({"l1": 0.1, "l2": 0.2}, (3, 4)),
}


@pytest.mark.parametrize("name", ONE)
def test_layers_of_one_input(keras: Any, name: str, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    arguments, shape = ONE[name]
    x = numbers(*shape)
    ours, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    assert_allclose(ours(x), np.asarray(theirs(x)), rtol=1e-6)
    assert_allclose(
        [float(loss) for loss in ours.losses], [float(loss) for loss in theirs.losses], rtol=1e-5
    )
    model = gpunn.Sequential([gpunn.Input(shape[1:]), ours])
    assert model.output_shape == theirs.compute_output_shape((None, *shape[1:]))


def test_a_penalty_trains_like_that_of_the_layer_before(every_backend: str) -> None:
    found = []
    for alone in (True, False):
        gpunn.utils.set_random_seed(1)
        penalty = gpunn.regularizers.L1L2(0.1, 0.2)
        dense = layers.Dense(3, activity_regularizer=None if alone else penalty)
        more = [layers.ActivityRegularization(0.1, 0.2)] if alone else []
        chain = [gpunn.Input((4,)), dense, *more, layers.Dense(2)]
        model = gpunn.Sequential(chain, backend=every_backend)
        model.compile("sgd", "mse")
        losses = model.fit(numbers(12, 4), numbers(12, 2), 5, 3, verbose=0).history["loss"]
        found.append([losses, *model.get_weights()])
    for ours, expected in zip(*found, strict=True):
        assert_allclose(ours, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ((3, 4), (3, 4), 1),
        ((3, 4), (3, 4), -1),
        ((3, 2, 4), (3, 4, 5), (2, 1)),
        ((3, 4), (3, 5, 4), (1, 2)),
        ((3, 5, 4), (3, 4), (2, 1)),
        ((3, 4, 2, 5), (3, 6, 4), (1, -1)),
    ],
)
def test_dot(
    keras: Any, first: Any, second: Any, axes: Any, normalize: bool, every_backend: str
) -> None:
    gpunn.use_backend(every_backend)
    a, b = numbers(*first), numbers(*second, seed=1)
    expected = np.asarray(keras.layers.dot([a, b], axes=axes, normalize=normalize))
    assert_allclose(layers.dot([a, b], axes=axes, normalize=normalize), expected, 1e-5, 1e-6)
    x, y = gpunn.Input(first[1:]), gpunn.Input(second[1:])
    model = gpunn.Model([x, y], layers.Dot(axes, normalize)([x, y]))
    assert_allclose(model.predict([a, b], verbose=0), expected, 1e-5, 1e-6)


@pytest.mark.parametrize(
    "name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
)
@pytest.mark.parametrize("shapes", [((3, 4), (3, 1)), ((3, 2, 4), (3, 4)), ((3, 1, 4), (3, 2, 1))])
def test_merging_broadcasts_samples(
    keras: Any, name: str, shapes: Any, every_backend: str
) -> None:
    gpunn.use_backend(every_backend)
    a, b = (numbers(*shape, seed=k) for k, shape in enumerate(shapes))
    expected = np.asarray(getattr(keras.layers, name)()([a, b]))
    layer = getattr(layers, name)()
    assert_allclose(layer([a, b]), expected, 1e-6)
    gpunn.testing.check_gradients(layer, [*shapes], backend=every_backend)
    inputs = [gpunn.Input(shape[1:]) for shape in shapes]
    model = gpunn.Model(inputs, layer(inputs))
    assert model.output_shape == (None, *expected.shape[1:])
    assert_allclose(model.predict([a, b], verbose=0), expected, 1e-6)


def test_samples_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"broadcast .* \(None, 4\), input 1 \(None, 3\)"):
        layers.Add()([numbers(2, 4), numbers(2, 3)])


def test_alpha_dropout(keras: Any, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    layer, theirs = layers.AlphaDropout(0.3, seed=5), keras.layers.AlphaDropout(0.3, seed=1)
    for value in (1.0, -0.7):  # of equal inputs, each output is one of two values
        x = np.full((200, 300), value, np.float32)
        y = np.asarray(layer(x, training=True))
        expected = np.unique(np.asarray(theirs(x, training=True)))
        assert_allclose(np.unique(y), expected, 1e-5)
        assert abs((y == y.min()).mean() - 0.3) < 0.01
    x = numbers(200, 300)
    y = np.asarray(layer(x, training=True))
    assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03  # they stay
    np.testing.assert_array_equal(layer(x), x)
    first = [layers.AlphaDropout(0.3, seed=5)(x, training=True)]
    gpunn.use_backend("numpy")
    first.append(layers.AlphaDropout(0.3, seed=5)(x, training=True))
    assert_allclose(*first, 1e-5, 1e-6)
    ones = np.ones((9, 4), np.float32)
    rows = np.asarray(layers.AlphaDropout(0.5, (None, 1), seed=2)(ones, training=True))
    assert (rows == rows[:, :1]).all() and len(np.unique(rows)) == 2


def test_a_wrapper_trains_the_layer_inside(tmp_path: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), Doubled(layers.Dense(2)), layers.Dense(1)])
    model.compile("sgd", "mse")
    before = model.layers[0].layer.get_weights()
    model.fit(numbers(8, 3), numbers(8, 1), verbose=0)
    assert not np.array_equal(before[0], model.layers[0].layer.get_weights()[0])
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    x = numbers(4, 3)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="layer must be a layer"):
        layers.Wrapper("dense")


@register
class Doubled(layers.Wrapper):
    def call(self, x: Any) -> Any:
        return 2 * self.layer(x)


class Particular(layers.Layer):
    """A layer that expects particular inputs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(name="particular")
        self.input_spec = layers.InputSpec(**options)

    def call(self, x: Any) -> Any:
        return x * 2.0


SPECS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "ndim": ({"ndim": 3}, (2, 3, 4), (2, 3)),
    "min_ndim": ({"min_ndim": 3}, (2, 3, 4, 1), (2, 3)),
    "max_ndim": ({"max_ndim": 3}, (2, 3), (2, 3, 4, 5)),
    "axes": ({"axes": {-1: 4}}, (2, 4), (2, 3)),
    "shape": ({"shape": (None, 3, None)}, (2, 3, 7), (2, 4, 7)),
}


@pytest.mark.parametrize("name", SPECS)
def test_inputs_are_checked_as_in_keras(keras: Any, name: str) -> None:
    options, right, wrong = SPECS[name]

    class Theirs(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.input_spec = keras.layers.InputSpec(**options)

        def call(self, x: Any) -> Any:
            return x * 2.0

    for layer in (Particular(**options), Theirs()):
        assert np.asarray(layer(numbers(*right))).shape == right
        with pytest.raises(ValueError, match="expected"):
            layer(numbers(*wrong))
    with pytest.raises(ValueError, match=r"particular: .* expected; got"):
        Particular(**options)(gpunn.Input(wrong[1:]))

    class Around(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Particular(**options)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    with pytest.raises(ValueError, match=r"particular: .* expected; got"):
        Around()(numbers(*wrong))


def test_specs_of_several_inputs() -> None:
    class Two(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="two")
            self.input_spec = [layers.InputSpec(ndim=2), layers.InputSpec(ndim=3)]

        def call(self, xs: Any) -> Any:
            return xs[0] + ops.sum(xs[1], 1)

    assert Two()([numbers(2, 3), numbers(2, 4, 3)]).shape == (2, 3)
    with pytest.raises(ValueError, match=r"two: as input 1, tensors of 3 axes"):
        Two()([numbers(2, 3), numbers(2, 3)])
    with pytest.raises(ValueError, match="two: 2 inputs are expected; got 1"):
        Two()([numbers(2, 3)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Permute((1, 3)), r"dims must hold each of the axes 1 to n"),
        (lambda: layers.RepeatVector(0), "n must be a positive integer"),
        (lambda: layers.AlphaDropout(1.0), "rate must be from 0 up to but not including 1"),
        (lambda: layers.ActivityRegularization(l1=-1.0), "l1 must be at least 0"),
        (lambda: layers.Dot(0), "axes must be an axis of both inputs"),
        (lambda: layers.dot([numbers(2, 3), numbers(2, 4)], 1), "axes of equal length"),
        (lambda: layers.InputSpec(ndim=2, axes={2: 3}), "axes holds the axis 2"),
        (lambda: layers.Permute((2, 1))(numbers(2, 3)), "inputs of 3 axes"),
    ],
)  # fmt: skip
def test_errors_say_what_is_expected(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2D(2, 2, data_format="channels_first"),
        lambda: layers.Conv1D(2, 2, data_format="channels_first"),
        lambda: layers.Flatten("channels_first"),
        lambda: layers.GroupNormalization(2),
        lambda: layers.GroupNormalization(2, axis=1),
    ],
)
def test_no_samples_give_none(make: Any, every_backend: str) -> None:
    """As a rank has that is left without rows of a batch."""
    gpunn.use_backend(every_backend)
    layer = make()
    shape = (4, 4) if isinstance(layer, layers.Conv1D) else (4, 4, 4)
    one, none = numbers(1, *shape), numbers(0, *shape)
    assert layer(none, training=True).shape == (0, *layer(one).shape[1:])
    assert gpunn.grad(lambda x: ops.sum(layer(x)))(none).shape == none.shape
