"""Arguments and inputs that programs for Keras pass to single layers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras
RANDOM = np.random.default_rng(4)
X = RANDOM.normal(1.0, 2.0, (3, 5, 4)).astype("float32")


def numpy_of(x: Any) -> np.ndarray:
    return np.asarray(x.detach()) if hasattr(x, "detach") else np.asarray(x)


@pytest.mark.parametrize("options", [{}, {"axis": [1, 2], "epsilon": 0.1}, {"scale": False}])
def test_scaling_by_the_variance(
    keras: Any, every_backend: str, options: dict[str, Any], tmp_path: Path
) -> None:
    gpunn.use_backend(every_backend)
    theirs = keras.layers.LayerNormalization(rms_scaling=True, **options)
    theirs(X)
    theirs.set_weights([RANDOM.normal(size=w.shape) for w in theirs.weights])
    ours = layers.LayerNormalization(rms_scaling=True, **options)
    model = gpunn.Sequential([gpunn.Input((5, 4)), ours])
    ours.set_weights(theirs.get_weights())
    model.save(tmp_path / "model.keras")
    for layer in (ours, gpunn.models.load_model(tmp_path / "model.keras")):
        assert_allclose(layer(X), numpy_of(theirs(X)), rtol=1e-5, atol=1e-5)
    with pytest.raises((TypeError, ValueError), match="rms_scaling"):
        layers.RMSNormalization(rms_scaling=True)


def test_an_embedding_is_built_without_a_shape(keras: Any) -> None:
    for module in (gpunn, keras):
        layer = module.layers.Embedding(5, 3)
        layer.build()
        assert layer.built and layer.embeddings.shape == (5, 3)
        before = layer.get_weights()[0]
        assert_allclose(numpy_of(layer(np.array([[4, 0]]))), before[[4, 0]][None])


def test_metrics_of_a_layer(keras: Any) -> None:
    for module in (gpunn, keras):

        class Counting(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module) -> None:
                super().__init__()
                self.total, self.inner = module.metrics.Mean(name="total"), Other()

            def call(self, x: Any) -> Any:
                return x

        class Other(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module) -> None:
                super().__init__()
                self.sums = [module.metrics.Mean(name="sum")]

            def call(self, x: Any) -> Any:
                return x

        assert module.layers.Dense(2).metrics == []
        assert [m.name for m in Counting().metrics] == ["total", "sum"]


@pytest.mark.parametrize("inner", [layers.LSTM, layers.GRU])
def test_first_weights_of_both_directions(inner: Any) -> None:
    """Keras accepts them and does not use them."""
    first = layers.Bidirectional(inner(3))
    y = first(X)
    again = layers.Bidirectional(inner(3), weights=first.get_weights())
    assert_allclose(again(X), y, atol=1e-6)
    with pytest.raises(ValueError, match="weight arrays"):
        layers.Bidirectional(inner(3), weights=first.get_weights()[1:])(X)


def standardized(module: Any, base: str) -> Any:
    """Return a convolution whose kernel has the mean 0 and the variance 1."""
    ops = module.ops

    class Standardized(getattr(module.layers, base)):  # type: ignore[misc]
        def convolution_op(self, inputs: Any, kernel: Any) -> Any:
            axes = tuple(range(len(kernel.shape) - 1))
            mean, variance = ops.moments(kernel, axes, keepdims=True)
            return super().convolution_op(inputs, (kernel - mean) / ops.sqrt(variance + 1e-5))

    return Standardized


@pytest.mark.parametrize("options", [
    {"data_format": "channels_first", "activation": "relu"}, {"strides": 2, "use_bias": False},
])  # fmt: skip
def test_a_convolution_of_ones_own(
    keras: Any, every_backend: str, options: dict[str, Any]
) -> None:
    """It is trained through `convolution_op`."""
    x, models = RANDOM.normal(size=(3, 4, 6, 5)).astype("float32"), []
    for module, named in ((keras, {}), (gpunn, {"backend": every_backend})):
        layer = standardized(module, "Conv2D")(3, 2, **options)
        models.append(module.Sequential([module.Input((4, 6, 5)), layer], **named))
    theirs, ours = models
    ours.set_weights(theirs.get_weights())
    target = RANDOM.normal(size=(3, *ours.output_shape[1:])).astype("float32")
    for model, module in ((theirs, keras), (ours, gpunn)):
        model.compile(module.optimizers.SGD(0.1), "mse")
        model.fit(x, target, epochs=2, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_convolution_of_sequences_of_ones_own() -> None:
    """Keras's `Conv1D` does not call `convolution_op`."""
    ours = standardized(gpunn, "Conv1D")(3, 2, padding="causal")
    y = ours(X)
    kernel = ours.get_weights()[0]
    plain = layers.Conv1D(3, 2, padding="causal")
    plain(X)
    spread = np.sqrt(kernel.var((0, 1)) + 1e-5)
    plain.set_weights([(kernel - kernel.mean((0, 1))) / spread, np.zeros(3)])
    assert_allclose(y, plain(X), atol=1e-5)


@pytest.mark.parametrize(("make", "values"), [
    *((lambda of, mode=mode: of.CategoryEncoding(4, mode), (2, np.int64(0), np.array(3)))
      for mode in ("one_hot", "multi_hot", "count")),
    *((lambda of, mode=mode: of.Discretization([0.0, 1.0], output_mode=mode), (0.5, np.float32(2)))
      for mode in ("int", "one_hot", "multi_hot", "count")),
    (lambda of: of.Normalization(mean=1.0, variance=4.0, axis=None), (np.array(3.0),)),
])  # fmt: skip
def test_numbers_alone(keras: Any, make: Any, values: Any) -> None:
    for value in values:
        expected, found = numpy_of(make(keras.layers)(value)), numpy_of(make(layers)(value))
        assert found.shape == expected.shape
        assert_allclose(found, expected)


@pytest.mark.parametrize("path", [None, "model.gpunn", "model.keras"])
def test_codes_and_rows_of_integers(
    keras: Any, every_backend: str, path: str | None, tmp_path: Path
) -> None:
    codes, numbers = np.array([[1, 3], [0, 0], [2, 1]]), np.array([[0.5], [3.0], [-1.0]])
    cases = [
        (lambda of: of.CategoryEncoding(4, "count", dtype="int32"), codes, "int32"),
        (lambda of: of.CategoryEncoding(4, "one_hot", dtype="int32"), codes, "int32"),
        (lambda of: of.Discretization([0.0, 1.0], output_mode="one_hot", dtype="int32"),
         numbers.astype("float32"), "float32"),
    ]  # fmt: skip
    for make, data, dtype in cases:
        expected, ours = numpy_of(make(keras.layers)(data)), make(layers)
        x = gpunn.Input(data.shape[1:], dtype=dtype)
        model = gpunn.Model(x, ours(x), backend=every_backend)
        if path is not None:
            model.save(tmp_path / path)
            model = gpunn.models.load_model(tmp_path / path)
        for y in (ours(data).numpy(), model.predict(data)):
            assert y.dtype == expected.dtype == np.int32 and np.array_equal(y, expected)


def test_integers_of_lookups() -> None:
    lookup = layers.IntegerLookup(vocabulary=[5, 7], dtype="int32")
    assert lookup([[7, 1]]).dtype == "int32" and lookup.get_config()["dtype"] == "int32"
    rows = layers.StringLookup(vocabulary=["a"], output_mode="one_hot", dtype="int64")
    assert rows(["a", "b"]).tolist() == [[0, 1], [1, 0]]
    words = layers.TextVectorization(vocabulary=["a"], dtype="int32")
    assert words(["a b"]).dtype == "int32"
    with pytest.raises(ValueError, match="requires output_mode='int'"):
        layers.TextVectorization(vocabulary=["a"], output_mode="count", dtype="int32")
    with pytest.raises(ValueError, match="dtype must be"):
        layers.Dense(2, dtype="int32")
    policy = {"class_name": "DTypePolicy", "config": {"name": "float32"}}
    assert layers.Dense(2, dtype=policy).compute_dtype == "float32"
    policy["config"] = {"name": "mixed_float16"}
    with pytest.raises(ValueError, match="dtype must be"):
        layers.Dense(2, dtype=policy)


def test_no_texts() -> None:
    layer = layers.TextVectorization(vocabulary=["a", "b"])
    assert np.asarray(layer([])).shape[0] == 0
    counts = layers.TextVectorization(vocabulary=["a", "b"], output_mode="count")
    assert np.asarray(counts([])).shape == (0, 3)


def test_a_list_of_pictures(keras: Any) -> None:
    pictures = list(RANDOM.normal(size=(2, 7, 6, 3)).astype("float32"))
    expected = numpy_of(keras.layers.CenterCrop(4, 5)(np.stack(pictures)))
    assert_allclose(layers.CenterCrop(4, 5)(pictures), expected)
    with pytest.raises(ValueError, match=r"one size .* \(7, 6, 3\), \(3, 6, 3\)"):
        layers.Resizing(4, 5)([pictures[0], pictures[1][:3]])


class SelfAttention(layers.MultiHeadAttention):
    """Keras asks for a `build` of one shape beside such a `call`."""

    def call(self, query: Any, training: Any = None) -> Any:  # type: ignore[override]
        return query + super().call(query, query, training=training)


class OfOwnNames(layers.GroupQueryAttention):
    def call(self, x: Any, memory: Any) -> Any:  # type: ignore[override]
        return super().call(x, memory)


def test_attention_of_ones_own_arguments(every_backend: str, tmp_path: Path) -> None:
    x = gpunn.Input((5, 4))
    model = gpunn.Model(x, SelfAttention(2, 3)(x), backend=every_backend)
    inner = layers.MultiHeadAttention(2, 3)
    plain = gpunn.Model(x, x + inner(x, x), backend=every_backend)
    plain.set_weights(model.get_weights())
    for one in (model, plain):
        one.compile("sgd", "mse")
        one.fit(X, np.zeros_like(X), epochs=2, verbose=0)
    assert_allclose(model.predict(X), plain.predict(X), atol=1e-6)
    model.save(tmp_path / "model.gpunn")
    known = {"SelfAttention": SelfAttention}
    again = gpunn.models.load_model(tmp_path / "model.gpunn", custom_objects=known)
    assert_allclose(again.predict(X), model.predict(X), atol=1e-6)
    gpunn.use_backend(every_backend)
    alone = SelfAttention(2, 3)
    assert alone(X).shape == X.shape and len(alone.weights) == 8
    memory = RANDOM.normal(size=(3, 7, 6)).astype("float32")
    own, groups = OfOwnNames(2, 4, 2), layers.GroupQueryAttention(2, 4, 2)
    own(X, memory), groups(X, memory)
    groups.set_weights(own.get_weights())
    assert_allclose(own(X, memory), groups(X, memory), atol=1e-6)


def test_a_build_whose_shapes_call_does_not_name() -> None:
    class Two(layers.Layer):
        def build(self, left_shape: Any, right_shape: Any) -> None: ...  # type: ignore[override]

        def call(self, left: Any, other: Any) -> Any:
            return left + other

    with pytest.raises(TypeError, match="build takes left_shape, right_shape, so call needs"):
        Two()(X, X)


def test_forward_as_in_pytorch() -> None:
    with pytest.raises(TypeError, match=r"forward\(x\).*rename forward to call"):
        type("Mine", (layers.Layer,), {"forward": lambda self, x: x})
    with pytest.raises(TypeError, match=r"forward\(x, y\).*rename forward to call"):
        type("Mine", (layers.Dense,), {"forward": lambda self, x, y: x})
    with pytest.raises(TypeError, match=r"call.*to which forward is to be renamed"):
        type("Mine", (gpunn.Model,), {"forward": lambda self, x: x})()


def test_layers_have_the_names_that_keras_gives(keras: Any) -> None:
    others = ("Conv2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
    for name in (*others, "SeparableConv2D", "MaxPooling3D", "SpatialDropout3D"):
        made = []
        for library in (gpunn, keras):
            given = {"filters": 1, "kernel_size": 1} if "Conv" in name else {}
            rate = {"rate": 0.5} if "Dropout" in name else {}
            made.append(getattr(library.layers, name)(**given, **rate).name)
        assert re.sub(r"_\d+$", "", made[0]) == re.sub(r"_\d+$", "", made[1])
