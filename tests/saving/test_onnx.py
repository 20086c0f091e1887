"""Test `model.export`: onnxruntime computes from the file what the model predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(11)
ON_HOST = (
    "InputLayer", "IntegerLookup", "StringLookup", "SimpleImputer", "MissingIndicator",
    "DatetimeEncoder", "Hashing", "HashingVectorizer", "TextVectorization",
    "HashedCrossing",  # whose operations on bits are not exported
)  # fmt: skip
CASES = [
    *(("layer", *case) for case in registered.cases("layer", *ON_HOST)),
    *(("activation", *case) for case in registered.cases("activation")),
]


def run(model: Any, path: Path, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
    model.export(path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == model.input_names
    return session.run(None, fed)


def randomized(model: Any) -> None:
    """Random weights, like those of a trained model: none of them 0 or 1."""
    model.set_weights([RANDOM.uniform(0.2, 1.0, w.shape) for w in model.get_weights()])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_everything_registered(kind: str, name: str, arguments: Any, tmp_path: Path) -> None:
    part = registered.make(kind, name, arguments)
    chain = [layers.Activation(part)] if kind == "activation" else registered.in_a_chain(part, 12)
    model = gpunn.Sequential([gpunn.Input((12,)), *chain], name="model")
    randomized(model)
    x = RANDOM.normal(0, 2, (1000, 12)).astype("float32")
    if name == "CategoryEncoding":
        x = RANDOM.integers(0, part.num_tokens, (1000, 12)).astype("float32")
    (found,) = run(model, tmp_path / "m.onnx", {model.input_names[0]: x})
    assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-5)


def test_a_table_goes_in_as_it_is(tmp_path: Path) -> None:
    city = gpunn.Input((1,), dtype="string", name="city")
    number = gpunn.Input((1,), dtype="int64", name="number")
    area, gaps = gpunn.Input((2,), name="area"), gpunn.Input((1,), name="gaps")
    scale = layers.Normalization()
    scale.adapt(RANDOM.normal(80.0, 30.0, (50, 2)))
    table = {
        "city": RANDOM.choice(["Oslo", "Rome", "Kyiv", "-"], (1000, 1)),
        "number": RANDOM.choice([3, 5 * 10**12, 7], (1000, 1)),
        "area": RANDOM.normal(80.0, 30.0, (1000, 2)).astype("float32"),
        "gaps": np.where(RANDOM.random((1000, 1)) < 0.3, np.nan, 2.0).astype("float32"),
    }
    x = layers.concatenate(
        [
            layers.StringLookup(vocabulary=["Oslo", "Rome"], output_mode="one_hot")(city),
            layers.StringLookup(vocabulary=["Oslo"], mask_token="-")(city),
            layers.IntegerLookup(vocabulary=[3, 5 * 10**12], output_mode="multi_hot")(number),
            scale(area),
            layers.Discretization([60.0, 90.0], output_mode="count")(area),
            layers.SimpleImputer(statistics=0.5)(gaps),
            layers.MissingIndicator()(gaps),
        ]
    )
    outputs = {"a": layers.Dense(3, "softmax", name="a")(x), "b": layers.Dense(1, name="b")(x)}
    model = gpunn.Model([city, number, area, gaps], outputs)
    fed = {**table, "city": table["city"].astype(object)}
    found = run(model, tmp_path / "m.onnx", fed)
    for ours, theirs in zip(model.predict(table).values(), found, strict=True):
        assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)
    stated = {entry.domain: entry.version for entry in onnx.load(tmp_path / "m.onnx").opset_import}
    assert stated == {"": 17, "ai.onnx.ml": 2}


class _Own(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.inner = layers.Dense(4, activation="gelu")
        self.factor = self.add_weight((4,), "ones", name="factor")

    def call(self, x: Any) -> Any:
        y = self.inner(x) * self.factor
        first, rest = y[:, :1], y[:, 1:]
        return [ops.concatenate([rest, ops.tanh(first)], -1), ops.max(x, -1, keepdims=True)]


def test_custom_parts_and_models_in_models(tmp_path: Path) -> None:
    x = gpunn.Input((5,), name="x")
    one, two = _Own()(x)
    inner = gpunn.Sequential(
        [gpunn.Input((4,)), layers.Dense(3), layers.Lambda(lambda x: ops.square(x) - 1.0)]
    )
    y = ops.exp(inner(one) * 0.1) + two
    model = gpunn.Model(x, layers.Dense(2, activation=lambda x: x * ops.sigmoid(x))(y))
    randomized(model)
    data = RANDOM.normal(0, 1, (1000, 5)).astype("float32")
    (found,) = run(model, tmp_path / "m.onnx", {"x": data})
    assert_allclose(found, model.predict(data), rtol=1e-5, atol=1e-5)


class _Scanned(layers.Layer):
    """A recurrent layer of one's own, which also counts its steps."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight((3, 3), name="kernel")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        def f(carry: Any, row: Any) -> Any:
            h, n = carry
            h = ops.tanh(row @ self.kernel + 0.5 * h)
            return (h, n + 1), h * ops.cast(n, "float32")

        first = ops.zeros((x.shape[0], 3), x.dtype)
        (h, _), ys = ops.scan(f, (first, 0), ops.transpose(x, (1, 0, 2)), reverse=True)
        return ops.concatenate([h, ys[0], ys[-1]], axis=1)


def test_the_steps_of_a_scan(tmp_path: Path) -> None:
    model = gpunn.Sequential([gpunn.Input((4, 3), name="x"), _Scanned()])
    x = RANDOM.normal(0, 1, (50, 4, 3)).astype("float32")
    (found,) = run(model, tmp_path / "m.onnx", {"x": x})
    assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-6)


class _Wide(layers.Layer):
    """Broadcasts one column, times a different factor for each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def call(self, x: Any) -> Any:
        places = ops.convert_to_tensor(np.linspace(-1, 1, self.width, dtype="float32"))
        return ops.broadcast_to(x[:, :1], (x.shape[0], self.width)) * places


@pytest.mark.parametrize("width", [7919, 7927, 2 * 7919])
def test_an_axis_as_long_as_a_trace(width: int, tmp_path: Path) -> None:
    """In a trace the batch size is a number, and a model's own axis may have the same length."""
    model = gpunn.Sequential(
        [gpunn.Input((3,), name="x"), _Wide(width), layers.Reshape((width, 1)), layers.Flatten(),
         layers.Dense(2)]
    )  # fmt: skip
    x = RANDOM.normal(0, 1, (5, 3)).astype("float32")
    (found,) = run(model, tmp_path / "m.onnx", {"x": x})
    assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-5)


TABLE = RANDOM.normal(0, 1, (6, 3)).astype("float32")
BY_PLACES: dict[str, Any] = {
    "take": lambda x, i: ops.take(TABLE, i - 6, 0),
    "take along rows": lambda x, i: ops.take_along_axis(x, ops.minimum(i, 2), 1),
    "places of two axes": lambda x, i: ops.convert_to_tensor(TABLE)[i, ops.minimum(i, 2)],
    "bincount": lambda x, i: ops.bincount(i, x[:, :2], 6),
    "in_top_k": lambda x, i: ops.in_top_k(i[:, 0] - 1, x[:, :3], 2),
    "segment_sum": lambda x, i: ops.segment_sum(x.T, [0, 1, 1, -1, 0], 3).T,
    "segment_max": lambda x, i: ops.segment_max(x.T, [0, 1, 1, -1, 0], 3).T,
    "scatter": lambda x, i: ops.scatter([[0], [2], [2], [-1], [1]], x.T, (4, x.shape[0])).T,
    "scatter_update": lambda x, i: ops.scatter_update(x.T, [[0], [2], [2]], x.T[:3] * 9).T,
    "scatter_update add": lambda x, i: ops.scatter_update(x.T, [[2], [-3]], x.T[:2], "add").T,
    "tril": lambda x, i: ops.tril(ops.broadcast_to(x[:, :, None], (x.shape[0], 5, 5)), -1),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_PLACES)
def test_rows_by_their_places(name: str, tmp_path: Path) -> None:
    def places(x: Any) -> Any:
        found = BY_PLACES[name](x, ops.cast(x[:, 3:], "int32"))
        return ops.reshape(ops.cast(found, "float32"), (x.shape[0], -1))

    model = gpunn.Sequential([gpunn.Input((5,), name="x"), layers.Lambda(places)])
    x = RANDOM.normal(0, 1, (50, 5)).astype("float32")
    x[:, 3:] = RANDOM.integers(0, 6, (50, 2))
    (found,) = run(model, tmp_path / "m.onnx", {"x": x})
    assert_allclose(found, model.predict(x), rtol=1e-5, atol=1e-5)
    if name == "take":
        x[7, 3] = 6 + 6
        session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        with pytest.raises(Exception, match="indices element out of data bounds"):
            session.run(None, {"x": x})


class _ByHand(layers.Layer):
    def forward(self, call: Any) -> None:
        call.backend.xp.negative(call.x, out=call.y)

    def backward(self, call: Any) -> None:
        call.backend.xp.negative(call.dy, out=call.dx)


def test_what_cannot_be_exported_is_named_and_nothing_written(tmp_path: Path) -> None:
    text, x = gpunn.Input((1,), dtype="string"), gpunn.Input((2,))
    lookup = layers.StringLookup(
        vocabulary=["a"], num_oov_indices=3, output_mode="one_hot", name="hashed"
    )
    sorting = layers.Lambda(lambda x: ops.sort(x), name="sorting")
    y = layers.concatenate([lookup(text), sorting(_ByHand(name="hand")(x))])
    model = gpunn.Model([text, x], layers.Dense(1)(y))
    with pytest.raises(ValueError, match=r"hashed.*num_oov_indices=3.*hand.*sorting.*Nothing was"):
        model.export(tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    day = layers.DatetimeEncoder(name="day")(text)
    with pytest.raises(ValueError, match=r"day: ONNX has no operators that read dates.*Nothing"):
        gpunn.Model(text, layers.Dense(1)(day)).export(tmp_path / "m.onnx")
    twice = layers.concatenate([day, layers.DatetimeEncoder(name="night")(text)])
    with pytest.raises(ValueError, match=r"of day, night: ONNX has.*rows as an input[^:]*$"):
        gpunn.Model(text, layers.Dense(1)(twice)).export(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="format must be 'onnx'"):
        model.export(tmp_path / "m", format="tf_saved_model")
    with pytest.raises(ValueError, match="not built"):
        gpunn.Sequential([layers.Dense(1)]).export(tmp_path / "m.onnx")
