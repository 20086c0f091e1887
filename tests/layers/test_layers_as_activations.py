"""Test layers that apply an activation as the ``activation`` of another layer, beside Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = np.random.default_rng(1).normal(size=(5, 6, 6, 2)).astype("float32")
LAYERS: dict[str, dict[str, Any]] = {
    "LeakyReLU": {"negative_slope": 0.2}, "ReLU": {"max_value": 0.5}, "ELU": {"alpha": 0.7},
    "Softmax": {"axis": 1}, "Activation": {"activation": "tanh"},
}  # fmt: skip


def made(library: Any, name: str) -> Any:
    activation = getattr(library.layers, name)(**LAYERS[name])
    return library.Sequential(
        [
            library.Input((6, 6, 2)),
            library.layers.Conv2D(3, 2, activation=activation),
            library.layers.Activation(activation),
            library.layers.Dense(2, activation=activation),
        ]
    )


@pytest.mark.parametrize("name", LAYERS)
def test_such_a_layer_means_its_function(keras: Any, name: str, tmp_path: Path) -> None:
    ours, theirs = made(gpunn, name), made(keras, name)
    theirs.set_weights([np.asarray(w) for w in ours.get_weights()])
    expected = theirs.predict(X, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), expected, atol=1e-6)
    ours.save(tmp_path / "m.gpunn")
    again = gpunn.saving.load_model(tmp_path / "m.gpunn")
    np.testing.assert_array_equal(again.predict(X, verbose=0), ours.predict(X, verbose=0))


def test_a_layer_that_does_more_is_refused() -> None:
    class Own(gpunn.layers.LeakyReLU):
        def call(self, x: Any) -> Any:
            return -x

    penalized = gpunn.layers.ReLU(activity_regularizer="l2")
    for layer in (gpunn.layers.PReLU(), Own(), penalized, gpunn.layers.Flatten()):
        with pytest.raises(TypeError, match="Put the layer after this one"):
            gpunn.layers.Dense(2, activation=layer)


def test_a_function_of_a_convolution_gets_whole_samples() -> None:
    def centred(x: Any) -> Any:
        return x - gpunn.ops.mean(x, axis=(1, 2), keepdims=True)

    model = gpunn.Sequential(
        [gpunn.Input((6, 6, 2)), gpunn.layers.Conv2D(3, 2, activation=centred)]
    )
    means = np.asarray(model.predict(X, verbose=0)).mean(axis=(1, 2))
    np.testing.assert_allclose(means, 0, atol=1e-6)
    gpunn.testing.check_gradients(gpunn.layers.Conv2D(2, 2, activation=centred), X[:, :4, :4])
