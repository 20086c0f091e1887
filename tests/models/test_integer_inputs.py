"""Test integers on their way through a model: custom code receives them exactly, or the data are
rejected before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

import gpunn
from gpunn import layers, ops
from gpunn.feeding import memory

ODD = 2**24 + 1  # not representable in float32
MOST = 2**31 - 1
X = np.array([[ODD, 4], [ODD + 1, 7], [MOST, -ODD], [-ODD - 1, 0], [6, MOST - 1], [1, 2]])
PARITY = np.abs(X) % 2.0


@gpunn.saving.register_serializable("tests")
class Parity(layers.Layer):
    """Returns whether integers are odd, plus a weight that starts at 0."""

    def build(self, input_shape: Any) -> None:
        self.wrong = self.add_weight((), "zeros", name="wrong")

    def call(self, x: Any) -> Any:
        return ops.cast(x & 1, "float32") + self.wrong


def parity(backend: str = "numpy", **options: Any) -> Any:
    model = gpunn.Sequential(
        [gpunn.Input((2,), **{"dtype": "int32", **options}), Parity()], backend=backend
    )
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    return model


class Numbered(gpunn.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        return X[2 * number : 2 * number + 2], PARITY[2 * number : 2 * number + 2]


FORMS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "int32": lambda: (X.astype(np.int32), PARITY),
    "int64": lambda: (X, PARITY),
    "float64": lambda: (X.astype(np.float64), PARITY),
    "other memory": lambda: (np.asfortranarray(X)[:, :], PARITY),
    "lists": lambda: (X.tolist(), PARITY.tolist()),
    "pandas": lambda: (pd.DataFrame(X, columns=["a", "b"]), PARITY),
    "pandas, nullable": lambda: (pd.DataFrame(X, columns=["a", "b"]).astype("Int64"), PARITY),
    "polars": lambda: (polars.DataFrame(X, schema=["a", "b"]), PARITY),
    "sparse": lambda: (sparse.csr_array(X), PARITY),
    "generator": lambda: (
        (pair for pair in zip(np.split(X, 3), np.split(PARITY, 3), strict=True)),
    ),
    "PyDataset": lambda: (Numbered(),),
    "tf.data": lambda: (gpunn.data.Dataset.from_tensor_slices((X, PARITY)).batch(2),),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_is_exact(form: str) -> None:
    model = parity()
    history = model.fit(
        *FORMS[form](),
        batch_size=None if form in ("generator", "PyDataset", "tf.data") else 2,
        epochs=1,
        verbose=0,
    )
    assert history.history["loss"] == [0.0]
    assert model.evaluate(*FORMS[form](), verbose=0) == 0.0
    x = FORMS[form]()[0]
    assert_array_equal(model.predict(x, verbose=0), PARITY)
    assert model.get_weights()[0] == 0.0


@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_every_method_on_every_backend_is_exact(backend: str, dtype: str) -> None:
    model, x = parity(backend), X.astype(dtype)
    assert model.train_on_batch(x, PARITY) == model.test_on_batch(x, PARITY) == 0.0
    assert model.fit(x, PARITY, batch_size=4, epochs=2, verbose=0).history["loss"] == [0.0, 0.0]
    assert model.evaluate(x, PARITY, batch_size=4, verbose=0) == 0.0
    for y in (
        model.predict(x, verbose=0),
        model.predict_on_batch(x),
        model(x),
        model(x, training=True),
        Parity()(x.astype(np.int64)),
        next(iter(model.activations(x).values())),
    ):
        assert_array_equal(np.asarray(y), PARITY)


def test_large_predictions_in_pieces_are_exact() -> None:
    x = np.arange(ODD, ODD + 500_000).reshape(-1, 2)
    model = gpunn.Sequential([gpunn.Input((2,), dtype="int64"), layers.Lambda(lambda x: x - ODD)])
    found = model.predict(x, batch_size=200_000, verbose=0)
    assert found.dtype == np.int32
    assert_array_equal(found, x - ODD)


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_streamed_rows_are_exact(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ASKED_FROM", 0)
    model = parity("emulated")
    monkeypatch.setattr(type(model.backend), "free_bytes", lambda self: 40)
    assert model.fit(X.astype(dtype), PARITY, batch_size=2, epochs=2, verbose=0).history[
        "loss"
    ] == [0, 0]


def test_eager_steps_are_exact() -> None:
    model = parity()
    model.compile(gpunn.optimizers.SGD(0.1), "mse", run_eagerly=True)
    assert model.fit(X, PARITY, batch_size=2, verbose=0).history["loss"] == [0.0]
    assert_array_equal(model.predict(X, verbose=0), PARITY)


def test_a_model_on_disk_is_exact(tmp_path: Path) -> None:
    model = parity(dtype="int64")
    model.save(tmp_path / "m.gpunn")
    loaded = gpunn.models.load_model(tmp_path / "m.gpunn")
    assert_array_equal(loaded.predict(X, verbose=0), PARITY)
    assert_array_equal(gpunn.models.clone_model(model).predict(X, verbose=0), PARITY)


# -- several inputs, graphs, models in models


def test_inputs_of_several_dtypes(backend: str) -> None:
    number, share, holds, picture = (
        gpunn.Input((2,), dtype="int64", name="number"),
        gpunn.Input((2,), name="share"),
        gpunn.Input((1,), dtype="bool", name="holds"),
        gpunn.Input((2, 2), dtype="uint8", name="picture"),
    )
    seen = []

    def watched(x: Any) -> Any:
        seen.append(x.dtype)
        return x

    chosen = ops.where(layers.Lambda(watched)(holds), layers.Lambda(watched)(number) - ODD, 5)
    outputs = {
        "chosen": chosen,
        "mixed": layers.Lambda(watched)(share) * ops.cast(number & 3, "float32"),
        "dense": layers.Dense(1, "linear", kernel_initializer="ones")(layers.Flatten()(picture)),
        "bright": layers.Flatten()(picture) > 200,
        "as it is": number,
    }
    model = gpunn.Model([number, share, holds, picture], outputs, backend=backend)
    data: Any = {
        "number": X[:4],
        "share": np.full((4, 2), 0.5),
        "holds": np.array([[1], [0], [1], [1]], bool),
        "picture": np.arange(190, 206, dtype=np.uint8).reshape(4, 2, 2),
    }
    found = model.predict(data, verbose=0)
    assert {name: y.dtype.name for name, y in found.items()} == {
        "chosen": "int32",
        "mixed": "float32",
        "dense": "float32",
        "bright": "bool",
        "as it is": "int32",
    }
    assert_array_equal(found["chosen"], np.where(data["holds"], (X[:4] - ODD).astype(np.int32), 5))
    assert_array_equal(found["mixed"], 0.5 * (X[:4] & 3))
    flat = data["picture"].reshape(4, 4)
    assert_array_equal(found["dense"], flat.sum(1, dtype=float, keepdims=True))
    assert_array_equal(found["bright"], flat > 200)
    assert_array_equal(found["as it is"], X[:4])
    assert {*seen} == {"bool", "int32", "float32"}


def test_operations_between_layers_are_exact(backend: str) -> None:
    x = gpunn.Input((2,), dtype="int32")
    made = {
        "chain": ((x // 3) * 3 + x % 3) ^ 1,
        "parts": x[:, ::-1] - x,
        "sum": ops.sum(x >> 1, -1, keepdims=True),
        "places": ops.argmax(x, -1),
        "hits": ops.one_hot(x[:, 0] - ODD, 3, dtype="int32"),
        "same": ops.equal(x, ODD),
        "joined": layers.concatenate([x, x + 1]),
        "added": layers.add([x, x]),
        "less": layers.subtract([x, x - 1]),
        "most": layers.maximum([x, x - 1]),
        "shape": layers.Reshape((2, 1))(x),
        "grown": layers.Flatten()(layers.UpSampling2D((1, 2))(layers.Reshape((1, 2, 1))(x))),
        "edged": layers.Flatten("channels_first")(
            layers.ZeroPadding2D(1, data_format="channels_first")(layers.Reshape((2, 1, 1))(x))
        ),
    }
    found = gpunn.Model(x, made, backend=backend).predict(X, verbose=0)
    a = X.astype(np.int32)
    grown, edged = np.repeat(a, 2, 1), np.zeros((6, 3, 3, 2), np.int32)
    edged[:, 1, 1] = a
    expected = {
        "chain": a ^ 1,
        "parts": a[:, ::-1] - a,
        "sum": (a >> 1).sum(1, dtype=np.int32, keepdims=True),
        "places": a.argmax(1),
        "hits": np.equal.outer(a[:, 0] - ODD, [0, 1, 2]),
        "same": a == ODD,
        "joined": np.concatenate([a, a + 1], 1),
        "added": a + a,
        "less": np.ones_like(a),
        "most": np.maximum(a, a - 1),
        "shape": a[..., None],
        "grown": grown,
        "edged": edged.reshape(6, -1),
    }
    for name, y in found.items():
        assert y.dtype == ("bool" if name == "same" else "int32"), name
        assert_array_equal(y, expected[name], name)


class Both(layers.Layer):
    """Returns floats, integers and booleans, and adds a loss."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((), "ones", name="scale")

    def call(self, x: Any) -> Any:
        self.add_loss(0.0 * ops.sum(ops.square(self.scale)))
        return {
            "number": x + 1,
            "half": x * 0.5 * self.scale,
            "odd": x % 2 == 1,
            "two": 2 * (x % 5),
        }


def test_a_call_gives_floats_and_integers(backend: str) -> None:
    x = gpunn.Input((2,), dtype="int32")
    both = Both()(x)
    half = layers.Dense(1)(both["half"] * 1e-9)
    model = gpunn.Model(x, {**both, "dense": half}, backend=backend)
    found = model.predict(X, verbose=0)
    a = X.astype(np.int32)
    expected = {
        "number": a + 1,
        "half": a.astype(np.float32) * 0.5,
        "odd": a % 2 == 1,
        "two": a % 5 * 2,
    }
    for name, y in expected.items():
        assert found[name].dtype == y.dtype
        assert_array_equal(found[name], y)
    model.compile("sgd", {"dense": "mse"})
    before = model.get_weights()
    model.fit(X, {"dense": np.ones((6, 1))}, verbose=0)
    assert not np.array_equal(model.get_weights()[1], before[1])
    trained = model.get_weights()[0] != before[0]  # the weight trains through the float output only
    assert trained
    for entry, y in Both()(a).items():
        assert y.dtype == expected[entry].dtype
        assert_array_equal(y, expected[entry])


def test_gradients_stop_at_integers_alone(backend: str) -> None:
    """A layer whose integer output is read and whose float output is trained."""

    class Rounded(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((2,), "ones", name="w")

        def call(self, x: Any) -> Any:
            y = x * self.w
            return y, ops.cast(ops.round(y), "int32")

    x = gpunn.Input((2,))
    y, whole = Rounded()(x)
    model = gpunn.Model(
        x, ops.sum(y + ops.cast(whole, "float32"), -1, keepdims=True), backend=backend
    )
    model.compile(gpunn.optimizers.SGD(1.0), "mse")
    data = np.array([[1.0, 2.0]])
    model.fit(data, [5.0], verbose=0)
    # d/dw (sum(x w) + whole - 5)^2 = 2 (6 - 5) x
    assert_array_equal(model.get_weights()[0], [1 - 2.0, 1 - 4.0])


@pytest.mark.parametrize("outer", ["functional", "call", "sequential"])
def test_models_in_models_are_exact(outer: str, backend: str) -> None:
    start = gpunn.Input((2,), dtype="int32")
    inner = gpunn.Model(start, layers.Flatten()(start) - ODD)

    class Of(gpunn.Model):
        def __init__(self) -> None:
            super().__init__(backend=backend)
            self.inner = inner

        def call(self, x: Any, training: Any = None) -> Any:
            return self.inner(x) + x % 2

    x = gpunn.Input((2,), dtype="int64")
    if outer == "functional":
        model = gpunn.Model(x, Of()(inner(x) + ODD) + 0, backend=backend)
    elif outer == "sequential":
        model = gpunn.Sequential([gpunn.Input((2,), dtype="int32"), Of()], backend=backend)
    else:
        model = gpunn.Model(x, Of()(x), backend=backend)
    a = X[:2].astype(np.int32)
    assert_array_equal(model.predict(X[:2], verbose=0), a - ODD + a % 2)


def test_integers_of_a_layer_are_given_to_layers_inside_it(backend: str) -> None:
    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.parity, self.flat, self.dense = Parity(), layers.Flatten(), layers.Dense(1)
            self.rescaled = layers.Rescaling(1 / 256)

        def call(self, x: Any) -> Any:
            flat = self.flat(x)
            small = self.rescaled(flat & 255)
            return self.parity(flat) + 0.0 * (self.dense(flat) + small)

    model = gpunn.Sequential([gpunn.Input((2,), dtype="int32"), Outer()], backend=backend)
    assert_array_equal(model.predict(X, verbose=0), PARITY)


def test_bytes_of_pictures_stay_bytes(backend: str) -> None:
    """An image that layers read as floats costs no more than before."""
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    model = gpunn.Sequential(
        [
            gpunn.Input((3, 4), dtype="uint8"),
            layers.Flatten(),
            layers.Rescaling(0.5),
            layers.Dense(1),
        ],
        backend=backend,
    )
    plain = gpunn.Sequential(
        [gpunn.Input((3, 4)), layers.Flatten(), layers.Rescaling(0.5), layers.Dense(1)],
        backend=backend,
    )
    plain.set_weights(model.get_weights())
    for made in (model, plain):
        made.compile("sgd", "mse")
    assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    with model.backend.profile() as operations:
        model.predict(x, verbose=0)
    with plain.backend.profile() as others:
        plain.predict(x, verbose=0)
    assert [one.name for one in operations] == [one.name for one in others]


def test_codes_of_a_lookup_are_integers(backend: str) -> None:
    word = gpunn.Input((2,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    codes = lookup(word)
    assert codes.dtype == "int32"
    model = gpunn.Model(
        word, [codes, codes & 1, layers.CategoryEncoding(3, "count")(codes)], backend=backend
    )
    data = np.array([["a", "b"], ["c", "b"]])
    found = model.predict(data, verbose=0)
    assert_array_equal(found[0], [[1, 2], [0, 2]])
    assert_array_equal(found[1], [[1, 0], [0, 0]])
    assert_array_equal(found[2], [[0, 1, 1], [1, 0, 1]])
    assert [y.dtype.name for y in found] == ["int32", "int32", "float32"]


class Counting(layers.Layer):
    """Counts batches and samples as integers."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first, self.seen = first, []
        self.samples = gpunn.Variable(0, dtype="int32", trainable=False)

    def build(self, input_shape: Any) -> None:
        start = gpunn.initializers.Constant(self.first)
        self.batches = self.add_weight((), start, dtype="int64", name="batches")

    def call(self, x: Any, training: Any = None) -> Any:
        self.seen += [(self.batches + 1).dtype, (self.samples // 2).dtype]
        if training:
            self.batches.assign_add(1)
            self.samples.assign(self.samples + x.shape[0])
        return x * ops.cast(self.batches % 2, "float32")


def test_weights_of_integers_are_read_as_integers(backend: str) -> None:
    model = gpunn.Sequential([gpunn.Input((1,)), Counting(), layers.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    model.fit(np.ones((6, 1)), np.ones((6, 1)), batch_size=2, epochs=3, verbose=0)
    layer = model.layers[0]
    assert (int(layer.batches.numpy()), int(layer.samples.numpy())) == (9, 18)
    assert set(layer.seen) == {"int32"}
    assert ops.convert_to_tensor(layer.batches).dtype == "int32"
    assert not layer.trainable_weights
    layer.batches.assign(2**24)
    with pytest.raises(OverflowError, match=r"batches, declared with dtype='int64'.*16777217"):
        model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
    with pytest.raises(OverflowError, match="integers only up to 16777216; got 16777217"):
        layer.batches.assign(ODD)
    with pytest.raises(OverflowError, match="got 1099511627776"):
        gpunn.Sequential([gpunn.Input((1,)), Counting(2**40)]).predict(np.ones((1, 1)), verbose=0)
    wide = gpunn.Sequential([gpunn.Input((1,)), Counting(ODD)], dtype="float64")
    assert wide.predict(np.ones((1, 1)), verbose=0).tolist() == [[1.0]]


def test_gradients_by_what_is_beside_integers() -> None:
    number = np.array([ODD, ODD - 1], np.int32)
    found = gpunn.grad(lambda w: ops.sum(w * ops.cast(number - (ODD - 1), "float32")))(np.ones(2))
    assert found.tolist() == [1.0, 0.0]
