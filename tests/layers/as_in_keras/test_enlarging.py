"""Layers that enlarge images: output padding beside Keras, interpolation beside Pillow."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.testing import check_gradients

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras
RANDOM = np.random.default_rng(3)
SIZES = [
    (kernel, stride, padding, more)
    for kernel, stride, padding in itertools.product(range(1, 5), range(1, 5), ("same", "valid"))
    for more in range(stride)
]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_output_padding_of_sequences_is_kerass(keras: Any, padding: str) -> None:
    """The sizes of Keras's own test of its backends."""
    x = RANDOM.normal(size=(2, 3, 2)).astype("float32")
    for kernel, stride, kind, more in SIZES:
        if kind != padding:
            continue
        w = RANDOM.normal(size=(kernel, 3, 2)).astype("float32")
        given = {"strides": stride, "padding": padding, "output_padding": more}
        try:
            expected = keras.ops.conv_transpose(x, w, **given)
        except (RuntimeError, ValueError):  # an empty sequence
            with pytest.raises(ValueError, match="image must be"):
                ops.conv_transpose(x, w, **given)
            continue
        assert_allclose(ops.conv_transpose(x, w, **given), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [
    {"strides": 2, "output_padding": 1, "padding": "same"},
    {"strides": (2, 3), "output_padding": (0, 2), "data_format": "channels_first"},
    {"strides": 3, "output_padding": (2, 1), "padding": "same", "use_bias": False},
    {"dilation_rate": 2, "output_padding": 0, "padding": "same"},
])  # fmt: skip
def test_output_padding_of_images_is_kerass(
    keras: Any, every_backend: str, options: dict[str, Any], tmp_path: Path
) -> None:
    x, models = RANDOM.normal(size=(2, 4, 3, 4)).astype("float32"), []
    for module, named in ((keras, {}), (gpunn, {"backend": every_backend})):
        layer = module.layers.Conv2DTranspose(4, 3, **options)
        models.append(module.Sequential([module.Input((4, 3, 4)), layer], **named))
    theirs, ours = models
    ours.set_weights(theirs.get_weights())
    assert ours.output_shape == theirs.output_shape
    expected = theirs.predict(x, verbose=0)
    assert_allclose(ours.predict(x), expected, rtol=1e-5, atol=1e-5)
    target = RANDOM.normal(size=expected.shape).astype("float32")
    for model, module in ((theirs, keras), (ours, gpunn)):
        model.compile(module.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, target)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    expected = theirs.predict(x, verbose=0)
    for name in ("model.gpunn", "model.keras"):
        ours.save(tmp_path / name)
        again = gpunn.models.load_model(tmp_path / name)
        assert_allclose(again.predict(x), expected, rtol=1e-4, atol=1e-5)
    assert_allclose(
        keras.saving.load_model(tmp_path / "model.keras").predict(x, verbose=0), expected,
        rtol=1e-4, atol=1e-5,
    )


def test_gradients_with_output_padding() -> None:
    layer = layers.Conv1DTranspose(2, 3, strides=3, padding="same", output_padding=2)
    check_gradients(layer, (2, 4, 3))


def test_an_export_with_output_padding(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x = RANDOM.normal(size=(2, 4, 3, 2)).astype("float32")
    for options in ({"padding": "same"}, {"padding": "valid"}):
        layer = layers.Conv2DTranspose(3, 3, 2, output_padding=1, **options)
        model = gpunn.Sequential([gpunn.Input((4, 3, 2)), layer])
        model.export(tmp_path / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        assert_allclose(found, model.predict(x), atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_lanczos_is_pillows(every_backend: str, data_format: str) -> None:
    from PIL import Image

    gpunn.use_backend(every_backend)
    x = RANDOM.normal(size=(9, 7)).astype("float32")
    expected = np.asarray(Image.fromarray(x).resize((21, 18), Image.Resampling.LANCZOS))
    axis = -1 if data_format == "channels_last" else 0
    images = np.expand_dims(x, axis)[np.newaxis]
    layer = layers.UpSampling2D((2, 3), data_format=data_format, interpolation="lanczos3")
    assert_allclose(layer(images)[0], np.expand_dims(expected, axis), atol=1e-5)
    resized = ops.image.resize(images, (18, 21), "lanczos3", data_format=data_format)
    assert_allclose(resized[0], np.expand_dims(expected, axis), atol=1e-5)


@pytest.mark.parametrize("radius", [3, 5])
def test_lanczos_is_a_sinc_times_a_wider_one(radius: int) -> None:
    x = RANDOM.normal(size=(1, 1, 8, 2)).astype("float32")
    distance = np.abs((np.arange(24) + 0.5)[:, None] / 3 - (np.arange(8) + 0.5))
    weights = np.where(distance < radius, np.sinc(distance) * np.sinc(distance / radius), 0.0)
    expected = (weights / weights.sum(1, keepdims=True)) @ x[0, 0]
    found = layers.UpSampling2D((1, 3), interpolation=f"lanczos{radius}")(x)[0, 0]
    assert_allclose(found, expected, atol=1e-5)
