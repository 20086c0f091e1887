"""What calls outside of training return: tensors that behave as PyTorch's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import gpunn
from gpunn import layers, losses, metrics, ops

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(4, 2)).astype("float32")


def model_of_dense():
    return gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2, name="dense")])


CALLS = {
    "model": lambda x: model_of_dense()(x),
    "model in training": lambda x: model_of_dense()(x, training=True),
    "layer": lambda x: layers.Dense(2)(x),
    "activation": lambda x: gpunn.activations.tanh(x),
    "function as an activation": lambda x: gpunn.activations.get(lambda x: x * 2)(x),
    "loss of each row": lambda x: losses.mean_squared_error(x, ops.zeros_like(x)),
    "loss": lambda x: losses.MeanSquaredError()(x, ops.zeros_like(x)),
    "metric of each row": lambda x: metrics.categorical_accuracy(x, x),
    "metric of several numbers": lambda x: metrics.F1Score()(np.eye(3)[[0, 1, 2, 0]], x),
    "operation": lambda x: ops.exp(x),
}  # fmt: skip


@pytest.mark.parametrize("given", [np.array, ops.convert_to_tensor], ids=["array", "tensor"])
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_calls_give_tensors(every_backend, call, given):
    gpunn.use_backend(every_backend)
    found = call(given(X))
    assert isinstance(found, ops.Tensor)
    assert found.dtype in ("float32", "float64") and found.numpy().dtype.name == found.dtype


def test_predictions_are_arrays(every_backend):
    gpunn.use_backend(every_backend)
    model = model_of_dense()
    assert type(model.predict(X, verbose=0)) is np.ndarray
    assert type(model.predict_on_batch(X)) is np.ndarray
    np.testing.assert_array_equal(model.predict(model(X) @ ops.ones((2, 3))), model.predict(
        model(X).numpy() @ np.ones((2, 3), "float32")))  # fmt: skip


USES = {
    "its shape": lambda y: tuple(y.shape),
    "its length": len,
    "an array": lambda y: y.numpy(),
    "a NumPy function": lambda y: np.exp(np.asarray(y)),
    "lists": lambda y: y.tolist(),
    "rows": lambda y: [row.tolist() for row in y],
    "an element": lambda y: y[1, 0].item(),
    "a slice": lambda y: y[1:, ::2].tolist(),
    "an axis more": lambda y: tuple(y[None].shape),
    "a sum as text": lambda y: f"{y.sum():.2f}",
    "a number": lambda y: round(float(y.max()), 4),
    "an integer": lambda y: int(y.argmax()),
    "truth": lambda y: bool((y > -9).all()) and not (y[0] == y[1]).all(),
    "a branch": lambda y: "above" if y[0, 0] > 0.5 else "below",
    "a comparison": lambda y: (y == y).tolist(),
    "a comparison with something else": lambda y: (y == None, y != None, y in [None]),  # noqa: E711
    "arithmetic": lambda y: (1 - 2 * y**2 / (y + 3)).tolist(),
    "a product": lambda y: (y @ y.T).tolist(),
    "methods": lambda y: y.reshape(-1).mean().item(),
    "DLPack": lambda y: np.from_dlpack(y).tolist(),
    "a copy": lambda y: copy.deepcopy(y).tolist(),
    "a pickle": lambda y: pickle.loads(pickle.dumps(y)).tolist(),
    "a sorted list": lambda y: sorted(y[:, 0]) == sorted(y[:, 0].tolist()),
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_they_are_used_as_those_of_torch(use):
    ours, theirs = use(layers.Activation("linear")(Y)), use(torch.from_numpy(Y))
    if isinstance(ours, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_an_array_beside_a_tensor_leaves_the_operation_to_it():
    y = layers.Activation("linear")(Y)
    for found in (Y * y, np.float32(2) * y, Y[0] + y, Y @ y.T, y < Y):
        assert isinstance(found, type(y))


def test_a_copy_of_the_values_may_be_written_to():
    y = layers.Activation("linear")(Y)
    copied = y.numpy()
    copied[:] = 0
    np.asarray(y)[:] = 0
    np.testing.assert_array_equal(y, Y)


def test_items_cannot_be_assigned():
    with pytest.raises(TypeError, match=r"immutable: choose with ops\.where"):
        model_of_dense()(X)[0] = 1.0


def test_texts_and_their_numbers():
    words = layers.StringLookup(vocabulary=["a", "b"])
    assert words(["b", "z"]).tolist() == [2, 0]
    assert words(["b", "z"]).dtype == "int32"
    back = layers.StringLookup(vocabulary=["a", "b"], invert=True)([1, 2])
    assert np.asarray(back).tolist() == ["a", "b"]


class Halves(layers.Layer):
    def call(self, x):
        return x / 2


@pytest.mark.parametrize("of", ["model", "layer", "own layer", "own model"])
def test_float64_is_read_whole_inside_a_tape_too(every_backend, of):
    """float32 would round 1/3 in the eighth digit, silently."""
    gpunn.use_backend(every_backend)
    x, options = np.full((2, 1), 1 / 3), {"dtype": "float64"}
    if of == "model":
        model = gpunn.Sequential(
            [gpunn.Input((1,)), layers.Dense(1, kernel_initializer="ones")], **options
        )
    elif of == "own model":
        model = gpunn.Sequential([gpunn.Input((1,)), Halves()], **options)
    else:
        model = Halves(**options) if of == "own layer" else layers.Activation("linear", **options)
    with gpunn.GradientTape():
        inside = model(x)
    for y in (model(x), inside):
        assert y.dtype == "float64"
        np.testing.assert_array_equal(y, x / 2 if "own" in of else x)
