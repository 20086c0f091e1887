"""Test names and arguments of Keras scripts that have another name in gpunn, against Keras."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from PyTorch, about NumPy
SHORT = "bce BCE kld KLD logcosh mae MAE mape MAPE mse MSE msle MSLE kullback_leibler_divergence"
TRUE = np.array([[0.0, 1.0, 0.0], [0.25, 0.5, 1.0]], np.float32)
PREDICTED = np.array([[0.25, 0.5, 0.25], [0.125, 0.75, 0.5]], np.float32)


@pytest.mark.parametrize("package", ["losses", "metrics"])
@pytest.mark.parametrize("name", SHORT.split())
def test_short_names_of_losses(keras: Any, package: str, name: str) -> None:
    from keras._tf_keras import keras as tensorflows  # where Keras 3 keeps its older names

    theirs = getattr(getattr(tensorflows, package), name, None) or keras.losses.get(name)
    ours = getattr(getattr(gpunn, package), name)
    expected = keras.ops.convert_to_numpy(theirs(TRUE, PREDICTED))
    np.testing.assert_allclose(ours(TRUE, PREDICTED), expected, rtol=1e-5)
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(3, "softmax")])
    model.compile("sgd", ours, metrics=[ours])  # recognized as built-in, so it can be saved
    assert json.dumps(model.loss.get_config())


@pytest.mark.filterwarnings("ignore:Argument `input_shape`")
@pytest.mark.parametrize(
    "options",
    [{"input_shape": (4, 2)}, {"batch_shape": (3, 4, 2)}, {"batch_input_shape": (None, 4, 2)}],
)
def test_input_layers(keras: Any, options: dict[str, Any]) -> None:
    def shapes(module: Any) -> Any:
        chain = [module.layers.InputLayer(**options), module.layers.Dense(5)]
        model = module.Sequential(chain)
        return model.input_shape, model.output_shape, [w.shape for w in model.get_weights()]

    assert shapes(gpunn) == shapes(keras)


def test_an_input_layer_without_a_shape_says_so() -> None:
    with pytest.raises(ValueError, match="needs either shape or batch_shape"):
        gpunn.layers.InputLayer()


def test_leaky_relu(keras: Any) -> None:
    x = np.array([[-10.0, 5.0]], np.float32)
    with pytest.warns(match="alpha"):
        expected = keras.ops.convert_to_numpy(keras.layers.LeakyReLU(alpha=0.125)(x))
    layer = gpunn.layers.LeakyReLU(alpha=0.125)
    np.testing.assert_array_equal(layer(x), expected)
    again = gpunn.layers.LeakyReLU.from_config(layer.get_config())
    np.testing.assert_array_equal(again(x), expected)
    with pytest.raises(ValueError, match="alpha"):
        gpunn.layers.LeakyReLU(alpha=-1)


def test_an_initializer_of_none(keras: Any) -> None:
    """Uniform within Glorot's limit, for a bias too."""
    drawn = []
    for module in (keras, gpunn):
        layer = module.layers.Dense(3000, kernel_initializer=None, bias_initializer=None)
        layer.build((None, 2))
        drawn.append([np.array(w) for w in layer.get_weights()])
    for theirs, ours in zip(*drawn, strict=True):
        assert ours.shape == theirs.shape
        largest = np.abs(theirs).max()
        np.testing.assert_allclose([np.abs(ours).max()], largest, rtol=5e-3)
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.05)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_the_learning_rate_as_a_variable(keras: Any, backend: str) -> None:
    theirs = keras.optimizers.SGD(0.5).learning_rate.numpy()
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.5), "mse")
    rate: Any = model.optimizer.learning_rate
    assert (rate.numpy(), rate.numpy().dtype) == (theirs, theirs.dtype)
    assert rate.value == float(keras.optimizers.SGD(0.5).learning_rate.value)
    assert rate == 0.5 and rate * 2 == 1.0 and f"{rate.numpy():.2f}" == "0.50"
    assert issubclass(type(rate), float) and repr(rate) == "0.5" and json.dumps([rate]) == "[0.5]"
    x = np.ones((4, 1), np.float32)
    model.fit(x, x, verbose=0)
    before = model.get_weights()
    rate.assign(0.0)
    model.fit(x, x, verbose=0)
    assert model.optimizer.learning_rate == 0.0
    for w, first in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, first)


def test_a_copy_of_a_learning_rate_is_a_number() -> None:
    rate = gpunn.optimizers.Adam(0.25).learning_rate
    assert type(copy.deepcopy(rate)) is float
    assert type(gpunn.optimizers.Adam(rate).get_config()["learning_rate"]) is float


def test_a_schedules_rate_has_its_number() -> None:
    schedule = gpunn.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5)
    assert gpunn.optimizers.SGD(schedule).learning_rate.numpy() == 0.5


@pytest.mark.parametrize("name", ["RMSProp", "adaGrad", "ADAM", "Sgd"])
def test_optimizers_in_any_case(keras: Any, name: str) -> None:
    ours, theirs = gpunn.optimizers.get(name), keras.optimizers.get(name)
    assert type(ours).__name__ == type(theirs).__name__


def test_a_variable_of_an_initializer_s_name(keras: Any) -> None:
    for module in (gpunn, keras):
        variable = module.Variable("ones", shape=(2, 3))
        np.testing.assert_array_equal(module.ops.convert_to_numpy(variable.value), np.ones((2, 3)))
    with pytest.raises(ValueError, match="Unknown initializer: 'onse'"):
        gpunn.Variable("onse", shape=(2,))


@pytest.mark.parametrize("surplus", [False, True])
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_last_axis_of_one_may_be_left_out_or_surplus(
    keras: Any, surplus: bool, backend: str
) -> None:
    pictures = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    x = pictures[..., None] if surplus else pictures
    y = np.arange(6.0)
    kernel = np.linspace(-1, 1, 12, dtype="float32")[:, None]
    found = []
    for module, options in ((gpunn, {"backend": backend}), (keras, {})):
        model = module.Sequential(
            [module.Input((4, 3) if surplus else (4, 3, 1)), module.layers.Flatten(),
             module.layers.Dense(1)],
            **options,
        )  # fmt: skip
        model.set_weights([kernel, np.zeros(1, "float32")])
        model.compile("sgd", "mse")
        history = model.fit(x, y, epochs=2, shuffle=False, verbose=0, validation_data=(x, y))
        found.append([*history.history["val_loss"], *model.predict(x, verbose=0)[:, 0]])
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_settings_that_scripts_ask_for(keras: Any) -> None:
    config: Any = gpunn.config
    config.disable_traceback_filtering()
    assert not config.is_traceback_filtering_enabled()
    assert config.image_data_format() == keras.config.image_data_format() == "channels_last"
    (cpu,) = config.list_physical_devices("CPU")
    assert (cpu.device_type, cpu.name) == ("CPU", "/physical_device:CPU:0")
    for gpu in config.list_physical_devices("GPU"):
        config.experimental.set_memory_growth(gpu, True)
    with pytest.raises(AttributeError, match="Did you mean 'list_physical_devices'"):
        config.list_physical_device  # noqa: B018


def test_what_calls_give_has_numpy() -> None:
    """As with Keras's tensors, on which scripts call it; the result is a NumPy array."""
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    predicted = model.predict(TRUE, verbose=0)
    for training in (False, True):
        np.testing.assert_array_equal(model(TRUE, training=training)[0].numpy(), predicted[0])
    assert type(model(TRUE).numpy()) is np.ndarray
    losses = {
        "a loss": gpunn.losses.MeanSquaredError()(TRUE, PREDICTED),
        "of rows": gpunn.losses.mse(TRUE, PREDICTED),
        "of one row": gpunn.metrics.mae(TRUE[0], PREDICTED[0]),
        "of elements": gpunn.metrics.binary_accuracy(TRUE, PREDICTED),
    }
    shapes = {name: found.numpy().shape for name, found in losses.items()}
    assert shapes == {"a loss": (), "of rows": (2,), "of one row": (), "of elements": (2, 3)}
    loss = losses["a loss"]
    assert f"{loss:.4f}" == f"{np.mean((TRUE - PREDICTED) ** 2):.4f}" == f"{float(loss):.4f}"
    two = gpunn.Model(model.inputs, [model.outputs[0], model.outputs[0] * 2])
    np.testing.assert_allclose(two(TRUE)[1].numpy(), 2 * predicted, rtol=1e-6)
    model.compile("sgd", "mse")
    assert model.evaluate(TRUE, model(TRUE), verbose=0) == 0
