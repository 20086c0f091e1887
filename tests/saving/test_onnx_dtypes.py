"""Test exported operations on integers, booleans and floats: onnxruntime gives gpunn's results,
integers exactly, or an error names the operation and no file is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

LEAST, MOST = -(2**31), 2**31 - 1
X: dict[str, np.ndarray] = {
    "int32": np.array(
        [
            [0, 1, -1, 5],
            [7, -7, 2**24 + 1, -3],
            [MOST, LEAST, 2, 3],
            [MOST, MOST, 6, 8],
            [LEAST, -1, -5, LEAST],
        ],
        np.int32,
    ),
    "float32": np.array(
        [
            [0.0, 1.0, -1.0, 0.5],
            [1.0, 0.1, 0.3, -0.1],
            [-0.5, 2.5, 3.7, -3.7],
            [1e10, -1e10, np.inf, -np.inf],
            [np.nan, -0.0, 1e-3, 7.0],
        ],
        np.float32,
    ),
}
X["bool"] = X["int32"] % 3 == 0
NARROW = (
    "uint8", "int8", "uint16", "int16", "uint32", "float16", "bfloat16", "bool", "int32", "float64",
)  # fmt: skip
REFUSED = {
    "argmin",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cumsum",
    "isfinite",
    "left_shift",
    "right_shift",
    "sort",
    "trunc",
    "by each other: power",
    "prod",
    "flip",
    "cast to uint32",
    "cast of floats to uint32",
    "saturated: uint32",
}
"""Which of those below ONNX, or opset 17, has no counterpart of; of some dtypes at least."""

UNARY = (
    "abs",
    "negative",
    "sign",
    "square",
    "relu",
    "round",
    "floor",
    "logical_not",
    "isnan",
    "isfinite",
    "bitwise_not",
    "exp",
    "trunc",
    "relu6",
)
BINARY = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "floor_divide",
    "mod",
    "maximum",
    "minimum",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "power",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "logical_xor",
    "fmax",
)
REDUCTIONS = (
    "sum",
    "mean",
    "max",
    "min",
    "any",
    "all",
    "argmax",
    "argmin",
    "var",
    "count_nonzero",
    "prod",
    "cumsum",
    "sort",
)


def functions() -> dict[str, Callable[[Any], Any]]:
    found: dict[str, Callable[[Any], Any]] = {n: getattr(ops, n) for n in UNARY}
    for n in BINARY:
        by: Any = getattr(ops, n)
        found[f"by each other: {n}"] = lambda x, by=by: by(x, x[:, 1:2])
        found[f"by 3: {n}"] = lambda x, by=by: by(x, 3)
        if n in ("floor_divide", "mod"):
            found[f"by -2: {n}"] = lambda x, by=by: by(x, -2)
    for n in REDUCTIONS:
        found[n] = lambda x, n=n: getattr(ops, n)(x, axis=-1)
    for n in NARROW:
        found[f"cast to {n}"] = lambda x, n=n: ops.cast(x, n)
        found[f"cast of floats to {n}"] = lambda x, n=n: ops.cast(ops.cast(x, "float32") * 1.5, n)
        found[f"saturated: {n}"] = lambda x, n=n: ops.saturate_cast(x, n)
    return found | {
        "floor_divide by 0": lambda x: x // 0,
        "mod by -1": lambda x: x % -1,
        "where": lambda x: ops.where(x > 0, x, 1),
        "where of truth": lambda x: ops.where(x > 0, x == 1, x != 5),
        "clip": lambda x: ops.clip(x, -1, 3),
        "one_hot": lambda x: ops.one_hot(ops.cast(x[:, 0], "int32"), 6),
        "one_hot of integers": lambda x: ops.one_hot(ops.cast(x[:, 3], "int32"), 6, dtype="int32"),
        "take": lambda x: ops.take(np.array([10, 20, 30]), ops.clip(ops.cast(x, "int32"), -2, 2)),
        "parts": lambda x: ops.concatenate([x[:, 1:3], x[:, :1]], 1),
        "flip": lambda x: x[:, ::-1],
        "pad": lambda x: ops.pad(x, ((0, 0), (1, 2)), constant_values=1),
        "matmul": lambda x: ops.matmul(x, np.arange(8, dtype=np.int32).reshape(4, 2)),
        "mixed": lambda x: ops.cast(x, "float32") * 0.5 + x,
        "several": lambda x: [x, ops.cast(x, "float32") * 0.5, x > 0, ops.cast(x, "int32") + 1],
        "several integers": lambda x: {"a": ops.cast(x, "int32"), "b": x > 0},
    }


FUNCTIONS = functions()


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("dtype", X)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_on_each_dtype(name: str, dtype: str, tmp_path: Path) -> None:
    function, given, path = FUNCTIONS[name], X[dtype], tmp_path / "m.onnx"
    layer = layers.Lambda(function)
    x = gpunn.Input((4,), dtype=None if dtype == "float32" else dtype, name="x")
    try:
        model = gpunn.Model(x, layer(x))
    except (TypeError, ValueError) as error:  # gpunn has no such operation on this dtype either
        assert "integers" in str(error)
        return
    try:
        model.export(path)
    except ValueError as error:
        assert "Nothing was written" in str(error)
        assert not path.exists()
        assert name in REFUSED or name.split(": ")[-1] in REFUSED
        return
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (fed,) = session.get_inputs()
    assert (
        fed.type
        == {"float32": "tensor(float)", "int32": "tensor(int32)", "bool": "tensor(bool)"}[dtype]
    )
    made = layer(given)
    expected = list(made.values()) if isinstance(made, dict) else made
    for ours, theirs in zip(
        map(np.asarray, expected if isinstance(expected, list) else [expected]),
        session.run(None, {"x": given}),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        if ours.dtype.kind == "f":
            assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6)
        else:
            assert_array_equal(theirs, ours)


def test_what_is_refused_is_refused_somewhere() -> None:
    names = {name.split(": ")[-1] for name in FUNCTIONS} | {*FUNCTIONS}
    assert names >= REFUSED


def test_models_of_several_dtypes(tmp_path: Path) -> None:
    number, share = gpunn.Input((3,), dtype="int64", name="number"), gpunn.Input((2,), name="share")
    picture = gpunn.Input((2, 2), dtype="uint8", name="picture")
    word = gpunn.Input((1,), dtype="string", name="word")
    codes = layers.StringLookup(vocabulary=["a", "b"])(word)
    inner_start = gpunn.Input((3,), dtype="int32")
    inner = gpunn.Model(inner_start, layers.concatenate([inner_start % 3, inner_start // 2]))
    flat = layers.Flatten()(layers.Rescaling(1 / 255)(picture))
    both = layers.concatenate(
        [share, flat, layers.Dense(2)(inner(number)), layers.CategoryEncoding(3, "one_hot")(codes)]
    )
    outputs = {
        "y": layers.Dense(1, name="y")(both),
        "whole": inner(number),
        "code": codes + 1,
        "even": ops.equal(number % 2, 0),
        "most": layers.maximum([number, number - 1]),
    }
    model = gpunn.Model([number, share, picture, word], outputs)
    data = {
        "number": np.array([[1, 2, 2**24 + 1], [-5, MOST, LEAST]]),
        "share": np.array([[0.5, 1.0], [2.0, 3.0]], np.float32),
        "picture": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        "word": np.array([["a"], ["c"]], object),
    }
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    fed = {
        **data,
        "number": data["number"].astype(np.int32),
        "picture": data["picture"].astype(np.float32),
    }
    found = dict(
        zip([out.name for out in session.get_outputs()], session.run(None, fed), strict=True)
    )
    for name, ours in model.predict(data, verbose=0).items():
        assert found[name].dtype == ours.dtype, name
        assert_allclose(found[name], ours, rtol=1e-5, err_msg=name)
        if ours.dtype.kind != "f":
            assert_array_equal(found[name], ours, name)


def test_a_model_of_float64_is_one_of_float32_there(tmp_path: Path) -> None:
    model = gpunn.Sequential(
        [
            gpunn.Input((4,), dtype="int32"),
            layers.Lambda(lambda x: ops.mean(x / 3, -1, keepdims=True)),
            layers.Dense(2),
        ],
        dtype="float64",
    )
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: X["int32"][:2]})
    assert found.dtype == np.float32
    assert_allclose(found, model.predict(X["int32"][:2], verbose=0), 1e-5)
