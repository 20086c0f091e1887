"""A model's forward pass as a page runs it: the results of `predict`, or why there is no page."""

from __future__ import annotations

import json
from typing import Any

import browser
import numpy as np
import pytest

import gpunn
from gpunn import layers, ops
from gpunn.apps.web.program import forward_program
from gpunn.backends import choice_put_back, use_backend


@pytest.fixture(autouse=True)
def _module() -> None:
    browser.needed()


def dense() -> Any:
    inputs = [layers.Input((4,)), layers.Dense(8, "tanh"), layers.BatchNormalization()]
    return gpunn.Sequential([*inputs, layers.Dropout(0.4), layers.Dense(3, "softmax")])


def pictures() -> Any:
    return gpunn.Sequential(
        [
            layers.Input((12, 12, 2)),
            layers.Rescaling(1 / 255, offset=-0.5),
            layers.Conv2D(6, 3, activation="relu", padding="same"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 3, strides=2, activation="gelu", use_bias=False),
            layers.LayerNormalization(),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(1, "sigmoid"),
        ]
    )


def divided() -> Any:
    """Convolutions of groups of channels, some of one filter for each, with windows over edges."""
    return gpunn.Sequential(
        [
            layers.Input((9, 7, 4)),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(6, 2, groups=2, strides=2, activation="tanh"),
            layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ]
    )


def graph() -> Any:
    a, b = layers.Input((3,)), layers.Input((5,))
    both = layers.Concatenate()([layers.Dense(4, "elu")(a), b])
    middle = layers.Add()([layers.Dense(4)(both), layers.Dense(4, "selu")(a)])
    return gpunn.Model([a, b], [layers.Dense(2)(middle), middle])


def table() -> Any:
    """Preprocessed values, and custom layers in terms of gpunn.ops."""
    scaled = layers.Normalization()
    scaled.adapt(np.random.default_rng(0).normal(60, 40, (50, 4)).astype(np.float32))
    first = [layers.Input((4,)), scaled, layers.Dense(6, "relu")]
    return gpunn.Sequential([*first, Cubed(), Standardized(), layers.Dense(2)])


class Cubed(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.power(x, 3.0)


class Looked(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.take(ops.ones((5,)), ops.cast(x, "int32"))


class Standardized(layers.Layer):
    def call(self, x: Any) -> Any:
        away = x - ops.mean(x, axis=-1, keepdims=True)
        return away / ops.sqrt(ops.mean(ops.square(away), axis=-1, keepdims=True) + 1.0)


@pytest.mark.parametrize("make", [dense, pictures, divided, graph, table])
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_page_gives_what_predict_gives(make: Any, backend: str) -> None:
    with choice_put_back():
        use_backend(backend)
        gpunn.utils.set_random_seed(5)
        model = make()
    rng = np.random.default_rng(0)
    shapes = [tensor.sample for tensor in model.inputs]
    xs = [(255 * rng.random((6, *shape))).astype(np.float32) for shape in shapes]
    expected = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    document = json.loads(json.dumps(forward_program(model, rows=6)))
    seen = browser.run_document(document, *xs)
    for page, own in zip(seen, expected if isinstance(expected, list) else [expected], strict=True):
        assert np.linalg.norm(page - own) <= 1e-5 * np.linalg.norm(own)
    assert [layer["name"] for layer in document["layers"]] == [
        layer.name for layer in model.layers if not isinstance(layer, layers.InputLayer)
    ]


def test_a_page_limits_numbers_as_the_model_of_a_table_does() -> None:
    x, most = layers.Input((3,)), np.finfo(np.float32).max
    limits = (np.array(ends, np.float32) for ends in ([100, -most, 0], [150, most, 20]))
    model = gpunn.Model(x, ops.clip(x, *limits))
    given = np.array([[9999, 9999, -5], [120, -1e30, 7]], np.float32)
    (page,) = browser.run_document(json.loads(json.dumps(forward_program(model, rows=2))), given)
    np.testing.assert_array_equal(page, [[150, 9999, 0], [120, np.float32(-1e30), 7]])
    np.testing.assert_array_equal(page, model.predict(given, verbose=0))


def test_a_page_reads_integers() -> None:
    a = layers.Input((3,), dtype="int32")
    hits = layers.Flatten()(ops.one_hot(a, 4)) * 2.0
    b = layers.Dense(2)(layers.concatenate([layers.CategoryEncoding(4, "count")(a), hits]))
    model = gpunn.Model(a, [b, layers.Flatten()(a), layers.Discretization([1.0, 2.0])(a)])
    x = np.array([[0, 3, 2], [1, 1, 0]])
    document = json.loads(json.dumps(forward_program(model, rows=2)))
    for page, own in zip(browser.run_document(document, x), model.predict(x), strict=True):
        np.testing.assert_allclose(page, own, 1e-6)
    assert document["given"]["checks"][0]["below"] == 2**24 + 1
    sliced = gpunn.Model(a, ops.cast(a % 2, "float32"))
    with pytest.raises(ValueError, match="A page cannot compute this model"):
        forward_program(sliced)


def numbers() -> Any:
    """Outputs without a softmax; one is read by another, one depends only on the input."""
    a = layers.Input((3,))
    b = layers.Dropout(0.5)(layers.Dense(4, "swish")(a))
    return gpunn.Model(a, [layers.Dense(2)(b), layers.Flatten()(b), layers.Rescaling(3.0)(a)])


def with_weights_of(model: Any, make: Any) -> Any:
    """The same model in float64."""
    before = gpunn.config.floatx()
    gpunn.config.set_floatx("float64")
    try:
        copy = make()
        copy.set_weights(model.get_weights())
    finally:
        gpunn.config.set_floatx(before)
    return copy


def by_differences(model: Any, score: Any, xs: list[np.ndarray]) -> list[np.ndarray]:
    """Return the gradients of a score of each row by the inputs."""

    def scores() -> np.ndarray:
        ys = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
        return score(ys if isinstance(ys, list) else [ys])

    found = []
    for x in xs:
        gradient, rows = np.zeros_like(x), x.reshape(len(x), -1)
        for k in range(rows.shape[1]):
            kept, step = rows[:, k].copy(), 1e-6 * np.abs(rows[:, k]).max()
            rows[:, k] = kept + step
            above = scores()
            rows[:, k] = kept - step
            gradient.reshape(rows.shape)[:, k] = (above - scores()) / (2 * step)
            rows[:, k] = kept
        found.append(gradient)
    return found


@pytest.mark.parametrize("make", [dense, pictures, divided, graph, table, numbers])
def test_a_page_gives_the_gradients_by_its_inputs(make: Any) -> None:
    gpunn.utils.set_random_seed(5)
    model = make()
    rng = np.random.default_rng(0)
    shapes = [tensor.sample for tensor in model.inputs]
    xs = [rng.normal(100, 50, (4, *shape)).astype(np.float32) for shape in shapes]
    document = json.loads(json.dumps(forward_program(model, rows=4, gradient=True)))
    ys = browser.run_document(document, *xs)
    factors = [rng.normal(size=y.shape) for y in ys]
    logits = document["gradient"]["logits"]

    def score(ys: list[np.ndarray]) -> np.ndarray:
        """Sum logits z, which softmax and sigmoid determine up to a constant for each row."""
        if logits:
            (y,) = ys
            ys = [np.log(y) - (np.log1p(-y) if y.shape[1] == 1 else np.mean(np.log(y), 1)[:, None])]
        terms = [(y * f).reshape(len(y), -1).sum(1) for y, f in zip(ys, factors, strict=True)]
        return np.sum(terms, axis=0)

    by = factors
    if logits and factors[0].shape[1] > 1:
        by = [factors[0] - factors[0].mean(1)[:, None]]
    assert logits == (make in (dense, pictures, divided))
    found = browser.run_document(document, *xs, by=by)
    exact = with_weights_of(model, make)
    expected = by_differences(exact, score, [x.astype(np.float64) for x in xs])
    for page, own in zip(found, expected, strict=True):
        assert np.linalg.norm(page - own) <= 1e-4 * np.linalg.norm(own)


class Twice(layers.Layer):
    def forward(self, call: Any) -> None:
        call.backend.xp.multiply(call.x, 2.0, out=call.y)


@pytest.mark.parametrize(
    ("chain", "dtype", "message"),
    [
        ([Twice()], "float32", "multiply"),
        ([Looked()], "float32", "for NumPy's _"),
        ([layers.Dense(2)], "float64", "float32; this model's dtype is float64"),
    ],
)
def test_what_a_page_cannot_compute_raises(chain: Any, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forward_program(gpunn.Sequential([layers.Input((2,)), *chain], dtype=dtype))


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="not built"):
        forward_program(gpunn.Sequential([layers.Dense(2)]))
