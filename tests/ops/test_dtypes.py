"""The dtypes of results are Keras's, as far as gpunn computes in them."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import ops
from gpunn.common.config import set_floatx
from gpunn.core.operators import FUNCTIONS

GIVEN = ("bool", "int32", "float32", "float64", "uint8", "int64", "float16")
COMPUTED = {"uint8": "int32", "int64": "int32", "float16": "float32"}
WEAK = {int: 3, float: 2.5}


def computed(dtype: str) -> str:
    return COMPUTED.get(dtype, dtype)


def keras_gives(keras: Any, *given: Any) -> str:
    """Return Keras's dtype of a result. On PyTorch it has no float64; on TensorFlow it keeps
    float64, as gpunn does."""
    if "float64" in given:
        return "float64"
    return keras.backend.result_type(*(x if isinstance(x, type) else computed(x) for x in given))


def tensor(dtype: str) -> Any:
    return ops.convert_to_tensor([1, 2, 3], dtype)


@pytest.mark.parametrize("dtype", GIVEN)
def test_what_is_not_computed_in_is_loaded_as_what_is(dtype: str) -> None:
    assert tensor(dtype).dtype == computed(dtype)
    assert ops.zeros(2, dtype).dtype == ops.cast([1], dtype).dtype == computed(dtype)
    if dtype != "float64":
        assert ops.convert_to_tensor(np.ones(2, dtype)).dtype == computed(dtype)


@pytest.mark.parametrize("pair", [*itertools.product(GIVEN, GIVEN)], ids="-".join)
def test_two_tensors(pair: tuple[str, str], keras: Any) -> None:
    a, b = map(tensor, pair)
    expected = keras_gives(keras, *pair)
    assert (a + b).dtype == ("int32" if expected == "bool" else expected)
    assert ops.maximum(a, b).dtype == ops.where([True, False, True], a, b).dtype == expected
    assert ops.concatenate([a, b], 0).dtype == ops.stack([a, b]).dtype == expected
    assert ops.matmul(a, b).dtype == ("int32" if expected == "bool" else expected)
    assert (a == b).dtype == (a < b).dtype == "bool"


@pytest.mark.parametrize("weak", WEAK)
@pytest.mark.parametrize("dtype", GIVEN)
def test_a_tensor_and_a_number_of_python(dtype: str, weak: type, keras: Any) -> None:
    expected = keras_gives(keras, dtype, weak)
    number = WEAK[weak]
    for result in (
        tensor(dtype) + number,
        number * tensor(dtype),
        ops.maximum(number, tensor(dtype)),
    ):
        assert result.dtype == expected
    assert ops.where([True, False, True], tensor(dtype), number).dtype == expected


@pytest.mark.parametrize("names", [*itertools.product(GIVEN, GIVEN, GIVEN)], ids="-".join)
def test_three_tensors(names: tuple[str, ...], keras: Any) -> None:
    expected = keras_gives(keras, *names)
    assert ops.stack([tensor(name) for name in names]).dtype == expected


OF_ONE = (
    "exp", "sqrt", "log", "sin", "tanh", "sigmoid", "reciprocal", "mean", "var", "std", "sum",
    "prod", "max", "min", "argmax", "argmin", "abs", "square", "negative", "sign", "floor", "ceil",
    "isnan", "isfinite", "logical_not", "any", "all", "count_nonzero", "cumsum", "cumprod", "sort",
    "argsort", "relu", "softplus", "silu", "softsign", "logsumexp", "zeros_like", "flip", "round",
)  # fmt: skip


# PyTorch does not support these, so Keras has no dtype for them here.
NOT_IN_PYTORCH = {
    *((name, "bool") for name in ("negative", "relu", "softplus", "silu", "softsign", "round")),
    *((name, "int32") for name in ("softplus", "silu")),
}


@pytest.mark.filterwarnings("ignore:Tensor.T is deprecated")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in OF_ONE
        for dtype in ("bool", "int32", "float32")
        if (name, dtype) not in NOT_IN_PYTORCH
    ],
)
def test_operations_of_one_tensor(name: str, dtype: str, keras: Any) -> None:
    expected = getattr(keras.ops, name)(keras.ops.convert_to_tensor([1, 0, 1], dtype))
    result = keras.backend.standardize_dtype(expected.dtype)
    assert getattr(ops, name)(ops.convert_to_tensor([1, 0, 1], dtype)).dtype == computed(result)
    if dtype == "float32":
        wide = getattr(ops, name)(ops.convert_to_tensor([1, 0, 1], "float64")).dtype
        assert wide == ("float64" if result == "float32" else computed(result))


@pytest.mark.parametrize("weak", WEAK)
def test_numbers_of_python_alone(weak: type, keras: Any) -> None:
    assert ops.add(WEAK[weak], 1).dtype == keras.backend.result_type(weak, int)
    assert ops.convert_to_tensor(WEAK[weak]).dtype == keras.backend.result_type(weak)


def test_quotients_and_means_of_integers_are_of_floatx() -> None:
    a = tensor("int32")
    try:
        for floatx in ("float64", "float32"):
            set_floatx(floatx)
            assert (a / a).dtype == (a / 2).dtype == ops.mean(a).dtype == ops.exp(a).dtype == floatx
            assert ops.convert_to_tensor(np.ones(2)).dtype == (a * 2.5).dtype == floatx
            assert ops.zeros(2).dtype == ops.one_hot(a, 4).dtype == floatx
    finally:
        set_floatx("float32")
    assert (a // a).dtype == (a % 2).dtype == (a**2).dtype == "int32"


def test_float64_of_the_host_becomes_floatx_unless_asked() -> None:
    host = np.array([0.1, 0.2])
    assert ops.convert_to_tensor(host).dtype == ops.exp(host).dtype == "float32"
    assert ops.convert_to_tensor(host, "float64").dtype == "float64"
    assert (ops.convert_to_tensor(host, "float64") * 2.0).dtype == "float64"
    assert ops.sum(np.float64(0.1)).dtype == "float32"


def test_where_keras_has_a_signature_it_is_ours(keras: Any) -> None:
    """Names, order and defaults of arguments; gpunn may omit some at the end."""
    for name, function in FUNCTIONS.items():
        theirs = inspect.signature(getattr(keras.ops, name)).parameters.values()
        ours = inspect.signature(function).parameters.values()
        pairs = [(p.name, p.default) for p in theirs if p.kind is not p.VAR_KEYWORD]
        own = [(p.name, p.default) for p in ours if p.kind is not p.VAR_KEYWORD]
        assert own == pairs[: len(own)], name


MADE = {
    "full of an integer": lambda k: k.ops.full((2,), 3),
    "full of a truth": lambda k: k.ops.full((2,), True),
    "full of a tensor": lambda k: k.ops.full((2,), k.ops.ones((), "int32")),
    "full_like": lambda k: k.ops.full_like(k.ops.ones(2, "int32"), 2.5),
    "arange": lambda k: k.ops.arange(3),
    "arange of a float": lambda k: k.ops.arange(0, 2, 0.5),
    "linspace": lambda k: k.ops.linspace(0, 4, 5),
    "logspace": lambda k: k.ops.logspace(0, 2, 3),
    "eye": lambda k: k.ops.eye(2),
    "identity": lambda k: k.ops.identity(2),
    "tri": lambda k: k.ops.tri(2),
    "one_hot": lambda k: k.ops.one_hot([0, 1], 2),
    "multi_hot": lambda k: k.ops.multi_hot([0, 1], 2),
    "randint": lambda k: k.random.randint((2,), 0, 3),
    "normal": lambda k: k.random.normal((2,)),
    "categorical": lambda k: k.random.categorical([[0.5, 0.5]], 2),
    "argmax": lambda k: k.ops.argmax([1.0, 2.0]),
    "bincount": lambda k: k.ops.bincount([1, 2]),
    "digitize": lambda k: k.ops.digitize([1.0, 2.0], [1.5]),
    "searchsorted": lambda k: k.ops.searchsorted([1.0, 2.0], [1.5]),
    "top_k": lambda k: k.ops.top_k([1.0, 2.0], 1)[1],
    "shape of a truth": lambda k: k.ops.array([True]),
    "a number": lambda k: k.ops.convert_to_tensor(3),
    "diag": lambda k: k.ops.diag([1, 2]),
    "in_top_k": lambda k: k.ops.in_top_k([1], [[1.0, 2.0]], 1),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_has_the_dtype_of_keras(name: str, keras: Any) -> None:
    made = MADE[name]
    assert made(gpunn).dtype == computed(keras.backend.standardize_dtype(made(keras).dtype))
