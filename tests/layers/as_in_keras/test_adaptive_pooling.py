"""Pooling to a given size, beside Keras and PyTorch: trained, saved, and of images of any size."""

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
CASES: list[tuple[str, Any, str]] = [
    (f"Adaptive{kind}Pooling{axes}D", size, data_format)
    for kind in ("Average", "Max")
    for axes, size in ((1, 4), (2, (2, 3)), (2, 5))
    for data_format in ("channels_last", "channels_first")
]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("name", "size", "data_format"), CASES, ids=str)
def test_it_trains_as_in_keras(
    keras: Any, every_backend: str, name: str, size: Any, data_format: str, tmp_path: Path
) -> None:
    shape = (7, 9, 6) if "2D" in name else (9, 6)
    models = []
    for module, named in ((keras, {}), (gpunn, {"backend": every_backend})):
        conv = getattr(module.layers, "Conv2D" if "2D" in name else "Conv1D")
        models.append(module.Sequential([
            module.Input(shape), conv(3, 1, data_format=data_format),
            getattr(module.layers, name)(size, data_format=data_format),
            module.layers.Flatten(), module.layers.Dense(2),
        ], **named))  # fmt: skip
        models[-1].compile(module.optimizers.SGD(0.003), "mse")
    theirs, ours = models
    assert [y.output.shape for y in ours.layers] == [y.output.shape for y in theirs.layers]
    ours.set_weights(theirs.get_weights())
    x = RANDOM.normal(size=(8, *shape)).astype("float32")
    x[:4] = x[:4].round()  # equal pixels: the first one gets the gradient
    y = RANDOM.normal(size=(8, 2)).astype("float32")
    for model in models:
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, 1e-4, 1e-5)
    ours.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_allclose(again.predict(x, verbose=0), ours.predict(x, verbose=0), 1e-4, 1e-5)


def test_images_of_any_size(backend: str) -> None:
    import torch

    given = gpunn.Input((None, None, 2))
    pooled = [layers.AdaptiveAveragePooling2D((3, 4)), layers.AdaptiveMaxPooling2D((3, 4))]
    model = gpunn.Model(given, [layer(given) for layer in pooled], backend=backend)
    assert [tuple(y.shape) for y in model.outputs] == [(None, 3, 4, 2)] * 2
    for size in ((3, 4), (2, 3), (11, 5), (1, 1)):
        x = RANDOM.normal(size=(2, *size, 2)).astype("float32")
        means, largest = model.predict(x, verbose=0)
        first = torch.tensor(x.transpose(0, 3, 1, 2))
        expected = torch.nn.functional.adaptive_avg_pool2d(first, (3, 4))
        assert_allclose(means, expected.numpy().transpose(0, 2, 3, 1), 1e-5, 1e-6)
        expected = torch.nn.functional.adaptive_max_pool2d(first, (3, 4))
        assert_array_equal(largest, expected.numpy().transpose(0, 2, 3, 1))


def test_errors_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match="output_size must be an integer or two of them"):
        layers.AdaptiveMaxPooling2D((1, 2, 3))
    with pytest.raises(ValueError, match="output_size"):
        layers.AdaptiveAveragePooling1D(0)
    with pytest.raises(ValueError, match=r"x must have the shape \(batch, height"):
        layers.AdaptiveAveragePooling2D(2)(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"x must have the shape \(batch, depth, height"):
        layers.AdaptiveAveragePooling3D(2)(np.ones((2, 3)))
