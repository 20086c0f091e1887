"""Spectral normalization beside Keras: trained, saved in both formats, and its edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras
RANDOM = np.random.default_rng(4)
KINDS: dict[str, Any] = {
    "Dense": (lambda m: (m.Input((5,)), m.layers.Dense(4, "tanh")), (5,)),
    "Conv2D": (lambda m: (m.Input((6, 6, 2)), m.layers.Conv2D(3, 2, use_bias=False)), (6, 6, 2)),
    # Codes are floats here: Keras makes embeddings integers as the codes are.
    "Embedding": (lambda m: (m.Input((4,)), m.layers.Embedding(7, 3)), (4,)),
}


def network(module: Any, kind: str, iterations: int = 1, **options: Any) -> Any:
    given, layer = KINDS[kind][0](module)
    normalized = module.layers.SpectralNormalization(layer, power_iterations=iterations)
    rest = [module.layers.Flatten(), module.layers.Dense(2)]
    model = module.Sequential([given, normalized, *rest], **options)
    model.compile(module.optimizers.SGD(0.02, momentum=0.5), "mse")
    return model


def rows(kind: str, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    shape = (count, *KINDS[kind][1])
    x = RANDOM.integers(0, 7, shape) if kind == "Embedding" else RANDOM.normal(size=shape)
    return x.astype("float32"), RANDOM.normal(size=(count, 2)).astype("float32")


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_it_trains_as_in_keras(
    keras: Any, every_backend: str, kind: str, iterations: int, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(5)
    theirs = network(keras, kind, iterations)
    ours = network(gpunn, kind, iterations, backend=every_backend)
    ours.set_weights(theirs.get_weights())
    x, y = rows(kind)
    for model in (theirs, ours):
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, 1e-3, 1e-5)
    assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), 1e-4, 1e-5)
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")
    for file in ("theirs", "ours"):
        again = gpunn.models.load_model(tmp_path / f"{file}.keras")
        assert_allclose(again.predict(x), ours.predict(x), 1e-4, 1e-5)
        other = keras.models.load_model(tmp_path / f"{file}.keras")
        for one, two in zip(again.get_weights(), other.get_weights(), strict=True):
            assert_array_equal(one, two)


def test_the_largest_singular_value_becomes_one(backend: str) -> None:
    layer = layers.SpectralNormalization(layers.Dense(6), power_iterations=50)
    model = gpunn.Sequential([gpunn.Input((4,)), layer], backend=backend)
    x = np.eye(4, dtype="float32")
    before = layer.layer.kernel.numpy().copy()
    assert_allclose(model.predict(x), x @ before, 1e-5, 1e-6)  # predictions change nothing
    assert_array_equal(layer.layer.kernel.numpy(), before)
    y = model(x, training=True)
    expected = before / np.linalg.svd(before, compute_uv=False)[0]
    assert_allclose(y, expected, 1e-3, 1e-4)
    assert_allclose(layer.layer.kernel.numpy(), expected, 1e-3, 1e-4)


def test_a_run_that_is_resumed_keeps_its_vector(every_backend: str, tmp_path: Path) -> None:
    x, y = rows("Dense")

    def train(model: Any, epochs: int) -> Any:
        return model.fit(x, y, 4, epochs, verbose=0).history["loss"]

    def made() -> Any:
        gpunn.utils.set_random_seed(3)
        return network(gpunn, "Dense", backend=every_backend)

    whole, first = train(made(), 4), made()
    assert train(first, 2) == whole[:2]
    first.save(tmp_path / "model.gpunn")
    gpunn.use_backend(every_backend)
    assert train(gpunn.models.load_model(tmp_path / "model.gpunn"), 2) == whole[2:]


def test_embeddings_of_integers(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    layer = layers.SpectralNormalization(layers.Embedding(5, 3), power_iterations=30)
    codes = np.array([[4, 0, 2]], "int32")
    y = layer(codes, training=True)
    kernel = layer.layer.embeddings.numpy()
    assert np.linalg.svd(kernel, compute_uv=False)[0] == pytest.approx(1.0, rel=1e-3)
    assert_array_equal(y, kernel[codes])


def test_a_kernel_of_zeros_stays(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    layer = layers.SpectralNormalization(layers.Dense(3, kernel_initializer="zeros"))
    assert_array_equal(layer(np.ones((2, 4), "float32"), training=True), np.zeros((2, 3)))
    assert np.isfinite(layer.vector_u.numpy()).all() and not layer.layer.kernel.numpy().any()


def test_errors_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match="power_iterations must be a positive integer"):
        layers.SpectralNormalization(layers.Dense(3), power_iterations=0)
    with pytest.raises(ValueError, match="has neither a kernel nor embeddings; wrap a layer"):
        layers.SpectralNormalization(layers.Flatten())(np.ones((2, 3)))
    with pytest.raises(ValueError, match="layer must be a layer"):
        layers.SpectralNormalization("Dense")
