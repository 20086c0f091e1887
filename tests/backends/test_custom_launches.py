"""Custom layers and losses, in each launch mode of a GPU, compared with NumPy."""

from __future__ import annotations

from typing import Any

import emulated
import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

MODES = ("plain", "fused", "persistent")


class Affine(layers.Layer):
    """x w + b."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1], self.units), name="w")
        self.b = self.add_weight((self.units,), initializer="zeros", name="b")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.w) + self.b


class Turned(Affine):
    """Its weight is read column by column, and a function is applied to it."""

    def call(self, x: Any) -> Any:
        turned = ops.transpose(ops.reshape(self.w, (self.units, -1)))
        return ops.matmul(x, ops.tanh(turned) * 0.5) + self.b


class Normalized(layers.Layer):
    """The rows of x, minus their mean, divided by their standard deviation."""

    def call(self, x: Any) -> Any:
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        return centred / ops.sqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + 0.01)


def swish(x: Any) -> Any:
    return x * ops.sigmoid(x)


def crossentropy(y_true: Any, y_pred: Any) -> Any:
    chosen = ops.one_hot(ops.reshape(y_true, (-1,)), 5)
    return ops.logsumexp(y_pred, axis=-1) - ops.sum(chosen * y_pred, axis=-1)


def trained(
    backend: Any, *hidden: Any, loss: Any = None, weighted: bool = False
) -> list[np.ndarray]:
    """Return weights and losses of three epochs, with a ragged batch at the end of each."""
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [layers.Input((20,)), *(layer() for layer in hidden), layers.Dense(5)], backend=backend
    )
    built_in = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(gpunn.optimizers.Adam(0.01), loss or built_in)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(70, 20)).astype("float32"), random.integers(0, 5, 70)
    weights = random.random(70) if weighted else None
    fitted = model.fit(x, y, batch_size=32, epochs=3, sample_weight=weights, verbose=0)
    losses = fitted.history["loss"]
    return [*model.get_weights(), np.array(losses)]


NETWORKS = {
    "layers": (lambda: Affine(12), lambda: layers.Activation(swish), lambda: layers.Dropout(0.2)),
    "rows": (lambda: Affine(12), Normalized, lambda: layers.Activation(swish)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_is_that_of_numpy(name: str, mode: str) -> None:
    """The mode is forced: a step that cannot be traced would raise an error."""
    expected = trained("numpy", *NETWORKS[name])
    for array, wanted in zip(
        trained(emulated.make_backend(mode), *NETWORKS[name]), expected, strict=True
    ):
        np.testing.assert_allclose(array, wanted, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain rows", "weighted rows"])
@pytest.mark.parametrize("mode", MODES)
def test_a_training_with_a_custom_loss_is_that_of_numpy(mode: str, weighted: bool) -> None:
    options: Any = {"loss": crossentropy, "weighted": weighted}
    expected = trained("numpy", *NETWORKS["layers"], **options)
    got = trained(emulated.make_backend(mode), *NETWORKS["layers"], **options)
    for array, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=2e-3, atol=2e-5)


def test_what_cannot_be_traced_is_not_left_out() -> None:
    """The backend chooses a mode that performs the whole step."""
    backend = emulated.make_backend()
    backend.launch_mode = None
    network = (lambda: Turned(12), lambda: layers.Activation(swish))
    for array, wanted in zip(trained(backend, *network), trained("numpy", *network), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=2e-3, atol=2e-5)
