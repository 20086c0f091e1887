"""Test activations against plain formulas, at their extremes, and in their stated properties."""

from __future__ import annotations

import dataclasses
import math
import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from comparisons.samples import make_gpu

import gpunn
from gpunn import activations, layers, ops
from gpunn.backends import get_backend
from gpunn.backends.cupy.launch.protocols import EPILOGUES
from gpunn.testing import check_gradients

BACKENDS = ["numpy", "compiled", "emulated"]
INFINITY = float("inf")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


# The textbook formulas, for one number.
FORMULAS: dict[str, tuple[Any, Any]] = {
    "step": (activations.step, lambda x: 0.0 if x < 0 else 1.0),
    "step at 1": (activations.Step(2, -3, 1), lambda x: 2.0 if x < 1 else -3.0),
    "step, left of 1": (activations.Step(2, -3, 1, False), lambda x: 2.0 if x <= 1 else -3.0),
    "sign": (activations.sign, lambda x: 1.0 if x >= 0 else -1.0),
    "ramp": (
        activations.Ramp(0.25, 2, -1, 3),
        lambda x: 0.25 if x < -1 else 2 if x > 3 else 0.25 + (x + 1) * (2 - 0.25) / (3 + 1),
    ),
    "falling ramp": (
        activations.Ramp(1, -1, 0, 1),
        lambda x: 1 if x < 0 else -1 if x > 1 else 1 - 2 * x,
    ),
    "sigmoid of three": (
        activations.Sigmoid(slope=3, shift=-2, offset=0.5),
        lambda x: 0.5 + sigmoid(3 * x + 2),
    ),
    "gaussian": (
        activations.Gaussian(1, 2),
        lambda x: math.exp(-(((x - 1) / 2) ** 2) / 2) / (math.sqrt(2 * math.pi) * 2),
    ),
    "gelu": (activations.gelu, lambda x: x * math.erfc(-x / math.sqrt(2)) / 2),
    "gelu, approximate": (
        activations.Gelu(approximate=True),
        lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (activations.silu, lambda x: x * sigmoid(x)),
    "mish": (activations.mish, lambda x: x * math.tanh(softplus(x))),
    "softplus": (activations.softplus, softplus),
    "hard silu": (activations.hard_silu, lambda x: x * min(max(x + 3, 0), 6) / 6),
    "leaky relu": (activations.leaky_relu, lambda x: x if x > 0 else 0.2 * x),
    "steep leaky relu": (activations.LeakyRelu(2), lambda x: x if x > 0 else 2 * x),
    "elu": (activations.Elu(0.5), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
    "selu": (
        activations.selu,
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    ),
}
POINTS = [-700.0, -30.0, -3.0, -1.5, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.0, 6.5, 30.0, 700.0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str, backend: str) -> None:
    activation, formula = FORMULAS[name]
    device = get_backend(backend)
    expected = [[formula(x) for x in POINTS]]
    for dtype, tolerance in (("float64", 1e-14), ("float32", 2e-6)):
        x = device.upload(np.array([POINTS], dtype))
        out = device.empty(x.shape, dtype)
        device.bias_activation(x, None, activation, out)
        np.testing.assert_allclose(
            device.read(out), expected, rtol=tolerance, atol=tolerance, err_msg=dtype
        )


def test_tanh_is_a_sigmoid() -> None:
    x = np.linspace(-20, 20, 1001)
    twice = 2 * activations.sigmoid(2 * x) - 1
    np.testing.assert_allclose(activations.tanh(x), twice, rtol=0, atol=1e-15)


def test_the_sigmoid_crosses_one_half_at_its_centre() -> None:
    """sigma(3 (x - 5)), as weights and as parameters."""
    for activation in (
        activations.Sigmoid(slope=3, shift=15),
        lambda x: activations.sigmoid(3 * (np.asarray(x) - 5)),
    ):
        below, at, above = activation([5 - 1e-6, 5.0, 5 + 1e-6])
        assert below < at == 0.5 < above
    y, slope = activations.curve(activations.Sigmoid(3, 15, offset=2), [5.0])
    assert (y.item(), slope.item()) == (2.5, 0.75)


def test_the_normal_distribution() -> None:
    """Accurate to the last digits, also where the value is almost 0."""
    x = np.linspace(-37, 37, 5001).reshape(1, -1)
    expected = [[math.erfc(-v / math.sqrt(2)) / 2 for v in x[0]]]
    for dtype, absolute, relative in (("float64", 1e-15, 1e-12), ("float32", 3e-7, 1e-5)):
        given = x.astype(dtype)
        given = given if dtype == "float64" else given[:, np.abs(given[0]) < 5]
        wanted = [[math.erfc(-float(v) / math.sqrt(2)) / 2 for v in given[0]]]
        out = 0.5 * ops.erfc(ops.convert_to_tensor(given * -math.sqrt(0.5), dtype)).numpy()
        np.testing.assert_allclose(out, wanted, rtol=0, atol=absolute)
        np.testing.assert_allclose(out, wanted, rtol=relative)
    assert len(expected[0]) == 5001


LIMITS = {  # at -1e4 and 1e4
    "Step": (0, 1), "Sign": (-1, 1), "Ramp": (0, 1), "HardSigmoid": (0, 1), "Sigmoid": (0, 1),
    "Tanh": (-1, 1), "Softsign": (-1e4 / 10001, 1e4 / 10001), "Gaussian": (0, 0),
    "Linear": (-1e4, 1e4), "LeakyRelu": (-2e3, 1e4), "Relu6": (0, 6), "Elu": (-1, 1e4),
    "Celu": (-1, 1e4), "Selu": (-1.7580993408473766, 10507.009873554805),
    "Exponential": (0, INFINITY), "Softmax": (0, 1), "LogSoftmax": (-1e4, 0),
    **dict.fromkeys(("Relu", "Softplus", "Gelu", "Silu", "HardSilu", "Mish"), (0, 1e4)),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", registered.names("activation"))
def test_far_out(name: str, dtype: str, backend: str) -> None:
    """The limit is right, the gradient is finite, and nothing but exp overflows."""
    activation = registered.make("activation", name, {})
    device = get_backend(backend)
    ends = np.array([[-1e4], [1e4]], dtype)
    x = device.upload(np.hstack([ends, np.zeros_like(ends)]) if activation.rowwise else ends)
    y, dx = device.empty(x.shape, dtype), device.empty(x.shape, dtype)
    first = np.zeros(x.shape, dtype)
    first[:, 0] = 1
    kept = device.upload(device.read(x))
    overflows = "ignore" if name == "Exponential" else "raise"
    with np.errstate(all="raise", under="ignore", over=overflows):
        device.bias_activation(x, None, activation, y)
        saved = kept if activation.saves == "input" else y
        device.activation_gradient(activation, saved, device.upload(first), dx)
    properties = activation.properties
    if name not in LIMITS:
        assert np.isfinite(device.read(dx)).all()
        assert (np.clip(device.read(y), *properties.range) == device.read(y)).all()
        return
    np.testing.assert_allclose(device.read(y)[:, 0], LIMITS[name], rtol=2e-6, atol=1e-30)
    slopes = [INFINITY if side is None else side[0] for side in (properties.left, properties.right)]
    np.testing.assert_allclose(device.read(dx)[:, 0], slopes, rtol=2e-6, atol=2e-8)


@pytest.mark.parametrize("name", [n for n in registered.names("activation") if n != "Sparsemax"])
def test_bias_and_activation_are_one_pass_on_a_gpu(name: str) -> None:
    """But those that sort."""
    gpu: Any = make_gpu(orders=(0,))
    activation = registered.make("activation", name, {})
    z, bias = (gpu.upload(np.ones(shape, np.float32)) for shape in ((5, 3), (3,)))
    out = gpu.upload(np.ones((5, 3), np.float32)) if activation.saves == "input" else z
    gpu.bias_activation(z, bias, activation, out)
    kernel = "row_activation" if activation.rowwise else "bias_activation"
    assert gpu.kernels.launched == {f"{kernel}<float, {activation.functor}>"}


# -- what is fused with what


def output(activation: Any, loss: Any) -> Any:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2, activation=activation)])
    model.compile("sgd", loss)
    return model


def test_only_the_plain_sigmoid_is_fused_with_its_loss() -> None:
    assert output("sigmoid", "binary_crossentropy")._trainer.terms[0].fused
    assert output(activations.Sigmoid(1.0, 0, 0), "binary_crossentropy")._trainer.terms[0].fused
    assert not output(activations.Sigmoid(2.0), "binary_crossentropy")._trainer.terms[0].fused
    assert not output("hard_sigmoid", "binary_crossentropy")._trainer.terms[0].fused


def test_only_the_plain_relu_is_part_of_a_product() -> None:
    activation = {activations.get(name).functor for name in registered.names("activation")}
    assert {"Relu", "Linear"} == set(EPILOGUES) & activation
    for other in (activations.leaky_relu, activations.relu6, activations.Relu(max_value=3)):
        assert other.functor not in EPILOGUES


@pytest.mark.parametrize(
    "activation", ["tanh", "leaky_relu", "log_softmax", "sign", activations.Sigmoid(offset=-0.5)]
)
def test_what_gives_no_probabilities_is_refused_by_a_loss_that_takes_them(activation: Any) -> None:
    name = activations.get(activation).__name__
    with pytest.raises(ValueError, match=rf"ends in {name}.*from_logits=True"):
        output(activation, "categorical_crossentropy")


# -- nothing learns through a step


def thresholds(activation: Any = "step", **options: Any) -> Any:
    model = gpunn.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(3, "sigmoid", **options),
            layers.Dense(1, activation, name="unit", **options),
        ]
    )
    model.compile("sgd", "mse")
    return model


X, Y = np.eye(2), np.ones((2, 1))


def test_training_through_a_step_warns_once() -> None:
    model = thresholds()
    before = model.get_weights()
    with pytest.warns(UserWarning, match=r"'unit' ends in step.*'sigmoid'") as found:
        model.fit(X, Y, epochs=2, verbose=0)
        model.train_on_batch(X, Y)
        model.fit(X, Y, verbose=0)
    assert len(found) == 1
    assert found[0].filename == __file__
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="ends in step") as found:
        model.train_on_batch(X, Y)
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match=r"ends in sign.*'tanh'"):
        thresholds("sign").fit(X, Y, verbose=0)


def test_what_does_not_train_through_a_step_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = thresholds()
        model.evaluate(X, Y, verbose=0)
        model.predict(X)
        thresholds("sigmoid").fit(X, Y, verbose=0)
        first = gpunn.Sequential(
            [layers.Input((2,)), layers.Activation("step"), layers.Dense(1)]
        )  # no layer before it is trained
        first.compile("sgd", "mse")
        first.fit(X, Y, verbose=0)


# -- the stated properties of the curves

CASES = registered.cases("activation")


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=registered.label)
def test_properties(name: str, arguments: dict) -> None:
    activations.check_properties(registered.make("activation", name, arguments))


def wrong(properties: activations.Properties) -> list[activations.Properties]:
    """Falsify each claim on its own."""
    low, high = properties.range
    more = [
        {"range": (low - 1 if math.isfinite(low) else -10.0, high)},
        {"range": (low, high + 1 if math.isfinite(high) else 10.0)},
        {"range": (low + 0.01 if math.isfinite(low) else -1.0, high)},
        {"monotone": not properties.monotone},
        {"left": (0.5, 0)},
        {"left": None},
        {"right": (properties.right[0], properties.right[1] + 0.01)}
        if properties.right
        else {"right": (1, 0)},
        {"flat": (*properties.flat, (0.3, 0.4))} if not covers(properties) else {"flat": ()},
    ]
    if properties.flat:
        more.append({"flat": properties.flat[:-1]})
        if properties.flat[0][0] == properties.flat[0][1]:
            at = properties.flat[0][0] + 0.01
            more[-1] = {"flat": ((at, at),)}
    return [dataclasses.replace(properties, **change) for change in more]


def covers(properties: activations.Properties) -> bool:
    return any(start <= 0.3 and stop >= 0.4 for start, stop in properties.flat)


@pytest.mark.parametrize("name", registered.names("activation"))
def test_a_wrong_claim_is_found(name: str) -> None:
    activation = registered.make("activation", name, {})
    for claim in wrong(activation.properties):
        with pytest.raises(AssertionError, match="is wrong"):
            activations.check_properties(activation, claim)


def test_the_example_shows_them_all() -> None:
    path = Path(__file__).parents[2] / "examples" / "lessons" / "activations.py"
    shown = runpy.run_path(str(path))["SHOWN"].values()
    assert {type(activation).__name__ for activation in shown} == set(
        registered.names("activation")
    )


def test_an_activation_that_claims_nothing() -> None:
    class Own(activations.Activation):
        pass

    with pytest.raises(ValueError, match="declares no properties"):
        activations.check_properties(Own())


# -- names and arguments


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swish", activations.silu),
        ("hard_swish", activations.hard_silu),
        ("hard_silu", activations.hard_silu),
        ("leaky_relu", activations.LeakyRelu(0.2)),
        ("relu6", activations.relu6),
        ("log_softmax", activations.log_softmax),
        ("hard_sigmoid", activations.hard_sigmoid),
        ("gelu", activations.Gelu(approximate=False)),
        ("SELU", activations.selu),
    ],
)
def test_names(name: str, expected: Any) -> None:
    assert activations.get(name) == expected
    assert activations.get(activations.serialize(expected)) == expected


def test_every_activation_has_an_instance_by_its_name() -> None:
    for name in registered.names("activation"):
        activation = registered.make("activation", name, {})
        assert getattr(activations, activation.__name__) == activation


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: activations.Ramp(start=1, end=1), "start must be below end"),
        (lambda: activations.Ramp(2, 2), "low and high must differ"),
        (lambda: activations.Sigmoid(slope=0), "slope must not be 0"),
        (lambda: activations.Gaussian(sigma=0), "sigma must be above 0"),
        (lambda: activations.Elu(-1), "alpha must be at least 0"),
        (lambda: activations.Celu(0), "alpha must be above 0"),
        (lambda: activations.LeakyRelu(-0.1), "negative_slope must be at least 0"),
        (lambda: activations.log_softmax(1.0), "log_softmax needs at least one axis"),
        (lambda: layers.LeakyReLU(None), "negative_slope must be at least 0; got None"),
        (lambda: layers.ReLU(threshold=-1), "threshold must be at least 0; got -1"),
        (lambda: layers.Softmax(axis=2)([[1.0]]), "axis must be from -2 to 1"),
        (lambda: layers.PReLU(shared_axes=[0])([[1.0]]), "shared_axes must be from 1 to 1"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- the layers


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axis", [1, 2, -2, (1, 2), (-1, 1, 2)])
def test_softmax_along_any_axis(axis: Any, backend: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    for layer, activation in (
        (layers.Softmax(axis, dtype="float64"), activations.Softmax(axis)),
        (layers.Activation(activations.LogSoftmax(axis), dtype="float64"), None),
    ):
        y = layer(x) if activation else np.exp(layer(x))
        np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-12)
        np.testing.assert_allclose(y, activations.Softmax(axis)(x), rtol=1e-12)
        again = type(layer).from_config(layer.get_config())
        check_gradients(again, (2, 3, 4, 5), backend=backend)


SHARING: dict[Any, list[Any]] = {
    (4,): [None, [1]],
    (3, 4): [None, [1], [2], [1, 2]],
    (3, 4, 5): [[1, 2], [2], [3], [1, 3]],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "shared"), [(shape, axes) for shape, all_ in SHARING.items() for axes in all_]
)
def test_prelu_shares_alpha(shape: tuple[int, ...], shared: Any, backend: str) -> None:
    layer = layers.PReLU(shared_axes=shared)
    check_gradients(layer, (2, *shape), backend=backend)
    alpha = layer.get_weights()[0]
    assert alpha.shape == tuple(1 if shared and i + 1 in shared else n for i, n in enumerate(shape))
    x = np.random.default_rng(0).normal(size=(2, *shape))
    np.testing.assert_allclose(layer(x), np.where(x > 0, x, alpha * x), rtol=1e-12)
    chain = [layers.PReLU(shared_axes=shared)] * 2  # their gradients add up
    check_gradients(chain, (2, *shape), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_prelu_finds_the_slopes(backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(64, 3))
    y = np.where(x > 0, x, x * [0.1, -0.5, 2.0])
    model = gpunn.Sequential([layers.Input((3,)), layers.PReLU()], backend=backend)
    model.compile(gpunn.optimizers.SGD(2.0), "mse")
    model.fit(x, y, batch_size=64, epochs=60, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], [0.1, -0.5, 2.0], atol=1e-4)


def test_a_layer_is_no_activation() -> None:
    wanted = "activation must be a name, an activation or its configuration; .*after this one"
    with pytest.raises(TypeError, match=wanted):
        layers.Dense(3, activation=layers.Dropout(0.5))
    with pytest.raises(TypeError, match=r"initializer must be a name, an initializer .*Dropout>?"):
        gpunn.initializers.get(layers.Dropout(0.5))
