"""Test names of TensorFlow and of Keras's backend that scripts use, against expected values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as tf
from gpunn import keras

X = np.array([[1.0, -2.0, 3.0], [4.0, 0.5, -6.0]], np.float32)

# name, arguments by TensorFlow's names, the same in NumPy
CASES: dict[str, Any] = {
    "reduce_sum": (lambda: tf.reduce_sum(input_tensor=X, axis=1), X.sum(1)),
    "reduce_mean": (lambda: tf.reduce_mean(X, axis=0, keepdims=True), X.mean(0, keepdims=True)),
    "math.reduce_std": (lambda: tf.math.reduce_std(X), X.std()),
    "argmax": (lambda: tf.argmax(X), X.argmax(0)),
    "argmax of rows": (lambda: tf.argmax(X, axis=1), X.argmax(1)),
    "math.argmin": (lambda: tf.math.argmin(X), X.argmin(0)),
    "gather": (lambda: tf.gather(X, [1, 0]), X[[1, 0]]),
    "gather of columns": (lambda: tf.gather(X, [2], axis=1), X[:, [2]]),
    "cumsum": (lambda: tf.cumsum(X), X.cumsum(0)),
    "split by sizes": (lambda: tf.split(X, [1, 2], axis=1)[1], X[:, 1:]),
    "split": (lambda: tf.split(X, num_or_size_splits=3, axis=1)[1], X[:, 1:2]),
    "concat": (lambda: tf.concat(values=[X, X], axis=0), np.concatenate([X, X])),
    "transpose": (lambda: tf.transpose(a=X, perm=[1, 0]), X.T),
    "matmul": (lambda: tf.matmul(a=X, b=X.T), X @ X.T),
    "pow": (lambda: tf.pow(X, 2), X**2),
    "clip_by_value": (
        lambda: tf.clip_by_value(X, clip_value_min=-1.0, clip_value_max=1.0), X.clip(-1, 1),
    ),
    "nn.relu": (lambda: tf.nn.relu(X), X.clip(0)),
    "nn.leaky_relu": (lambda: tf.nn.leaky_relu(X, alpha=0.5), np.where(X > 0, X, X / 2)),
    "nn.softmax": (lambda: tf.nn.softmax(logits=X), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
    "nn.l2_normalize": (lambda: tf.nn.l2_normalize(X), X / np.sqrt((X**2).sum())),
    "nn.sigmoid_cross_entropy_with_logits": (
        lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=np.ones_like(X), logits=X),
        np.log1p(np.exp(-X)),
    ),
    "nn.l2_loss": (lambda: tf.nn.l2_loss(X), (X**2).sum() / 2),
    "nn.dropout": (lambda: tf.nn.dropout(X, rate=0.0), X),
    "add_n": (lambda: tf.add_n([X, X, X]), 3 * X),
    "math.squared_difference": (lambda: tf.math.squared_difference(X, 1.0), (X - 1) ** 2),
    "linalg.global_norm": (lambda: tf.linalg.global_norm([X, None]), np.linalg.norm(X)),
    "clip_by_norm": (lambda: tf.clip_by_norm(X, 2.0), 2 * X / np.linalg.norm(X)),
    "clip_by_norm below": (lambda: tf.clip_by_norm(X, 20.0), X),
    "clip_by_norm of rows": (
        lambda: tf.clip_by_norm(X, 2.0, axes=[1]),
        2 * X / np.linalg.norm(X, axis=1, keepdims=True),
    ),
    "one_hot": (lambda: tf.one_hot(indices=[2, 0], depth=3), np.eye(3)[[2, 0]]),
    "fill": (lambda: tf.fill([2, 2], 7.0), np.full((2, 2), 7.0)),
    "range": (lambda: tf.range(1, 4), [1, 2, 3]),
    "reverse": (lambda: tf.reverse(X, axis=[1]), X[:, ::-1]),
    "tile": (lambda: tf.tile(X, multiples=[2, 1]), np.tile(X, (2, 1))),
    "pad": (lambda: tf.pad(X, paddings=[[0, 1], [2, 0]]), np.pad(X, [[0, 1], [2, 0]])),
    "cast": (lambda: tf.cast(X, tf.int32), [[1, -2, 3], [4, 0, -6]]),
    "constant": (lambda: tf.constant(2, shape=(2, 3), dtype=tf.float32), np.full((2, 3), 2.0)),
    "newaxis": (lambda: tf.constant(X)[:, tf.newaxis], X[:, None]),
    "Variable": (lambda: tf.Variable(X, name="v").assign_sub(X) + 1.0, np.ones_like(X)),
    "initial_value": (lambda: tf.Variable(initial_value=X) * 1.0, X),
    "backend.Variable": (lambda: keras.backend.Variable(X) * 1.0, X),
    "backend.variable": (lambda: keras.backend.variable(X) * 1.0, X),
    "backend.random_normal": (lambda: keras.backend.random_normal((2,), 3.0, 0.0), [3.0, 3.0]),
    "backend.random_uniform": (lambda: keras.backend.random_uniform((2,), 3.0, 3.0), [3.0, 3.0]),
    "backend.mean": (lambda: keras.backend.mean(X, axis=-1), X.mean(-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    call, expected = CASES[name]
    np.testing.assert_allclose(call().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("most", [0.5, 1000.0])
def test_gradients_are_clipped_as_in_pytorch(most: float) -> None:
    torch = pytest.importorskip("torch")
    theirs = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 4)]
    for n, parameter in enumerate(theirs):
        parameter.grad = torch.arange(1.0 + n, 1.0 + n + len(parameter))
    given = [tf.convert_to_tensor(parameter.grad.numpy()) for parameter in theirs]
    ours, norm = tf.clip_by_global_norm([*given, None], most)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, most)
    assert float(norm) == pytest.approx(float(wanted)) and ours.pop() is None
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.grad.numpy(), rtol=1e-5)


def test_clipping_has_gradients_at_0_and_shows_infinities() -> None:
    x = tf.Variable(np.zeros(2))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.clip_by_norm(x, 3.0))
    np.testing.assert_array_equal(tape.gradient(y, x).numpy(), [1.0, 1.0])
    (found,), norm = tf.clip_by_global_norm([np.array([1.0, np.inf], np.float32)], 1.0)
    assert np.isnan(found.numpy()).all() and np.isinf(norm.numpy())


def test_shapes() -> None:
    shape = tf.TensorShape((None, 3))
    assert shape == (None, 3) and shape.as_list() == [None, 3] and shape.rank == 2
    assert shape.num_elements() is None and not shape.is_fully_defined()
    assert tf.TensorShape([2, 3]).num_elements() == 6
    assert keras.layers.Layer().add_weight(shape=tf.TensorShape([2, 3])).shape == (2, 3)


def test_unconnected_gradients() -> None:
    x, y = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
    for kind, wanted in ((tf.UnconnectedGradients.NONE, None), (tf.UnconnectedGradients.ZERO, 0)):
        with tf.GradientTape() as tape:
            z = y * y
        found = tape.gradient(z, x, unconnected_gradients=kind)
        assert found is wanted or found.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("path", "hint"),
    [("reduce_men", "reduce_mean"), ("nn.relux", "relu")],
)
def test_a_name_that_there_is_not(path: str, hint: str) -> None:
    place: Any = tf
    with pytest.raises(AttributeError, match=hint):
        for name in path.split("."):
            place = getattr(place, name)


def test_seeds() -> None:
    drawn = []
    for _ in range(2):
        tf.random.set_seed(5)
        layer = keras.layers.Dense(3)
        layer(X)
        drawn.append(layer.kernel.numpy())
    np.testing.assert_array_equal(*drawn)


def test_clear_session_restarts_the_numbering_of_names() -> None:
    keras.backend.clear_session()
    assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
    keras.backend.clear_session()
    assert keras.layers.Dense(1).name == "dense"


def test_settings() -> None:
    assert keras.backend.floatx() == "float32" and keras.backend.epsilon() == 1e-7
    assert keras.backend.image_data_format() == "channels_last"
    assert tf.__version__ == tf.version.VERSION
    assert not hasattr(tf, "estimator")


def test_completion_does_not_offer_them() -> None:
    assert not {"reduce_mean", "nn", "constant"} & set(dir(tf))


def test_products_of_transposed_matrices() -> None:
    a, b = np.arange(12.0).reshape(2, 2, 3), np.arange(24.0).reshape(2, 4, 3)
    expected = np.einsum("bik,bjk->bij", a, b)
    for product in (tf.matmul, tf.linalg.matmul):
        for turned in ({"transpose_b": True}, {"adjoint_b": True}):
            np.testing.assert_array_equal(product(a, b, **turned), expected)
    swapped = a.swapaxes(1, 2), b.swapaxes(1, 2)
    np.testing.assert_array_equal(tf.matmul(*swapped, transpose_a=True), expected)
    np.testing.assert_array_equal(tf.matmul(a, b.swapaxes(1, 2)), expected)
    with pytest.raises(ValueError, match="transpose_a or adjoint_a, not both"):
        tf.matmul(a, b, transpose_a=True, adjoint_a=True)
    with pytest.raises(TypeError, match="a_is_sparse"):
        tf.matmul(a, b, a_is_sparse=True)
