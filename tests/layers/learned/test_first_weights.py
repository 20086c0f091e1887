"""How far the first weights of each layer spread: as far as Keras's of the same layer."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import initializers
from gpunn.common import registry

# No two fans of a kernel are near each other with these sizes.
SIZES: dict[str, Any] = {
    "depth_multiplier": 5, "filters": 6, "head_dim": 7, "input_dim": 90, "key_dim": 7,
    "kernel_size": 3, "num_heads": 4, "num_key_value_heads": 2, "num_query_heads": 4,
    "output_dim": 11, "units": 13,
}  # fmt: skip
FEATURES, STEPS = 34, 9
EQUATIONS = (("ab,bc->ac", (13,)), ("abc,cde->abde", (None, 5, 7)), ("abc,bcd->ad", (13,)),
             ("...x,xy->...y", (21,)))  # fmt: skip
NO_KERNEL = ("beta", "gamma", "moving_mean", "moving_variance", "alpha", "bias")
UNIFORM = [("fan_in", 2.0), ("fan_out", 1.0), ("fan_avg", 3.0)]


def kernels_of(name: str) -> list[str]:
    """Return the arguments of a layer that draw its kernels."""
    kind = registry.entries("layer")[name]
    found = [p for p in inspect.signature(kind).parameters if p.endswith("_initializer")]
    return [p for p in found if p.removesuffix("_initializer") not in NO_KERNEL]


NAMES = [name for name in registered.names("layer") if kernels_of(name)]


def cases_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of the cases of a layer that change its kernels' shapes."""
    known = inspect.signature(registry.entries("layer")[name]).parameters
    given = {option: value for option, value in SIZES.items() if option in known}
    if name == "EinsumDense":
        for equation, shape in EQUATIONS:
            yield {"equation": equation, "output_shape": shape}
        return
    if "Embedding" not in name:
        given.pop("input_dim", None)  # of the input, which a layer may be told, as in old Keras
    yield given
    for option, value in (
        ("groups", 2), ("value_dim", 3), ("use_gate", True), ("tie_weights", False),
        ("kernel_size", 2),
    ):  # fmt: skip
        if option in known:
            yield {**given, option: value}


def input_shape(name: str, arguments: dict[str, Any]) -> tuple[int, ...]:
    if name == "EinsumDense":
        axes = len(arguments["equation"].partition(",")[0].replace("...", "a"))
        return (*(2, STEPS, FEATURES)[: axes - 1], FEATURES)
    if "Embedding" in name:
        return (2, 3)
    if name.endswith(("Cell", "Dense")):
        return (2, FEATURES)
    axes = next((n for n in (2, 3) if f"{n}D" in name), 1) + name.startswith("ConvLSTM")
    return (2, *(STEPS,) * axes, FEATURES)


def weights_of(library: Any, name: str, arguments: Any, draw: Any, shape: Any) -> list[Any]:
    """Return the kernels of a built layer, all drawn by ``draw()``."""
    drawn = {option: draw() for option in kernels_of(name)}
    kind = getattr(library.layers, name)
    layer = kind(**arguments, **drawn)
    attends = "Attention" in name
    if library is not gpunn:
        layer.build(*[shape] * (2 if attends else 1))
    elif name.endswith("Cell"):
        gpunn.layers.RNN(layer)(np.zeros((shape[0], STEPS, *shape[1:]), "float32"))
    else:
        x = np.zeros(shape, "int32" if "Embedding" in name else "float32")
        layer(*[x] * (2 if attends else 1))
    kernels = [w for w in layer.weights if "bias" not in w.name]
    if library is gpunn:
        return [kernel.numpy() for kernel in kernels]
    return [kernel.value.detach().cpu().numpy() for kernel in kernels]


def spread(kernels: list[Any]) -> list[tuple[tuple[int, ...], float]]:
    return sorted((values.shape, float(np.abs(values).max())) for values in kernels)


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_those_of_keras(name: str, keras: Any) -> None:
    """Of many uniform draws the largest is close to the limit."""
    theirs = getattr(keras.layers, name)
    for arguments, (mode, scale) in itertools.product(cases_of(name), UNIFORM):
        known = inspect.signature(theirs).parameters
        if not set(arguments) <= {*known} and "kwargs" not in known:
            continue
        shape = input_shape(name, arguments)

        def ours(mode: str = mode, scale: float = scale) -> Any:
            return initializers.VarianceScaling(scale, mode, "uniform")

        def other(mode: str = mode, scale: float = scale) -> Any:
            return keras.initializers.VarianceScaling(scale, mode, "uniform")

        gpunn.utils.set_random_seed(1)
        found = spread(weights_of(gpunn, name, arguments, ours, shape))
        expected = spread(weights_of(keras, name, arguments, other, shape))
        assert [of for of, _ in found] == [of for of, _ in expected]
        for (of, limit), (_, wanted) in zip(found, expected, strict=True):
            few = 8 / np.prod(of)  # the largest of n draws is about 1 / n below the limit
            np.testing.assert_allclose(limit, wanted, rtol=0.02 + few, err_msg=f"{arguments} {of}")


@pytest.mark.parametrize("name", NAMES)
def test_kernels_are_orthogonal(name: str) -> None:
    """All axes but the last are the rows, whatever the gain."""
    for arguments, gain in zip(cases_of(name), itertools.cycle((1.0, 0.5, 3.0))):
        shape = input_shape(name, arguments)
        found = weights_of(
            gpunn, name, arguments, lambda gain=gain: initializers.Orthogonal(gain, seed=2), shape
        )
        for values in found:
            matrix = values.reshape(-1, values.shape[-1]).astype(np.float64)
            matrix = matrix if len(matrix) >= len(matrix.T) else matrix.T
            product, unit = matrix.T @ matrix, gain**2 * np.eye(len(matrix.T))
            np.testing.assert_allclose(product, unit, atol=1e-5)


SHAPES = [(70, 30), (5, 7, 6, 40), (40, 5, 3), (900,)]
RANDOM = [
    name
    for name in registered.names("initializer")
    if "seed" in inspect.signature(registry.entries("initializer")[name]).parameters
    and name != "Orthogonal"
]


@pytest.mark.parametrize("name", RANDOM)
def test_draws_spread_as_those_of_keras(name: str, keras: Any) -> None:
    kind, theirs = (getattr(of, name) for of in (initializers, keras.initializers))
    for arguments, shape in itertools.product(registered.examples("initializer", name), SHAPES):
        given = {**arguments, "seed": 7}
        found = np.asarray(kind(**given)(shape, "float64")).ravel()
        same = np.asarray(kind(**given)(shape, "float64")).ravel()
        np.testing.assert_array_equal(found, same)
        other = theirs(**given)(shape).cpu().numpy().ravel()
        spread = max(float(other.std()), 1e-9)
        assert abs(found.mean() - other.mean()) < 0.25 * spread
        np.testing.assert_allclose(found.std(), other.std(), rtol=0.12)
        largest = [np.abs(x - other.mean()).max() / spread for x in (found, other)]
        rounded = largest[0] > 2.6 or largest[1] > 2.6  # no limit
        np.testing.assert_allclose(*largest, rtol=0.5 if rounded else 0.1)
