"""Conv2D, Conv2DTranspose, UpSampling2D and ZeroPadding2D.

Shapes, values and errors that Keras 3 asserts in its unit tests (with one group), and training
compared with Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers


@pytest.mark.parametrize(
    ("arguments", "shape", "expected"),
    [
        ({"filters": 5, "kernel_size": 2}, (3, 5, 5, 4), (3, 4, 4, 5)),
        ({"filters": 6, "kernel_size": 3}, (3, 5, 5, 4), (3, 3, 3, 6)),
        ({"filters": 6, "kernel_size": 2, "strides": 2}, (3, 5, 5, 4), (3, 2, 2, 6)),
        ({"filters": 6, "kernel_size": 2, "padding": "same", "dilation_rate": (2, 2)},
         (3, 4, 4, 4), (3, 4, 4, 6)),
        ({"filters": 6, "kernel_size": (2, 2), "strides": (2, 1)}, (3, 5, 5, 4), (3, 2, 4, 6)),
        ({"filters": 5, "kernel_size": 3, "activation": "sigmoid"}, (2, 5, 5, 4), (2, 3, 3, 5)),
    ],
)  # fmt: skip
def test_shapes(arguments: dict[str, Any], shape: tuple, expected: tuple) -> None:
    layer = layers.Conv2D(**arguments)
    assert layer(np.ones(shape)).shape == expected
    assert layer.compute_output_shape(shape) == expected
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *expected[1:])
    window = arguments["kernel_size"]
    window = window if isinstance(window, tuple) else (window, window)
    assert [w.shape for w in layer.get_weights()] == [(*window, 4, expected[3]), (expected[3],)]


def by_definition(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, strides: Any, padding: str, dilation: Any
) -> np.ndarray:
    """Each output as an explicit sum, for channels-last images."""
    (rows, columns), (_, height, width, _) = kernel.shape[:2], x.shape
    (down, across), (apart_y, apart_x) = strides, dilation
    span = apart_y * (rows - 1) + 1, apart_x * (columns - 1) + 1
    if padding == "same":
        out = -(-height // down), -(-width // across)
        lacking = [
            max((m - 1) * step + k - n, 0)
            for m, step, k, n in zip(out, strides, span, (height, width), strict=True)
        ]
        x = np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in lacking), (0, 0)])
    else:
        out = (height - span[0]) // down + 1, (width - span[1]) // across + 1
    y = np.empty((len(x), *out, kernel.shape[3]))
    for i, j in np.ndindex(out):
        top, left = i * down, j * across
        under = x[:, top : top + span[0] : apart_y, left : left + span[1] : apart_x]
        y[:, i, j] = np.einsum("nrsc,rscf->nf", under, kernel) + bias
    return y


@pytest.mark.parametrize(
    ("filters", "window", "strides", "padding", "data_format", "dilation"),
    [
        (5, (2, 2), (1, 1), "valid", "channels_last", (1, 1)),
        (4, (3, 3), (2, 2), "same", "channels_last", (1, 1)),
        (6, (2, 2), (1, 1), "same", "channels_last", (2, 2)),
        (6, (2, 2), (1, 1), "same", "channels_last", (2, 3)),
        (6, (4, 3), (2, 1), "valid", "channels_last", (1, 1)),
        (6, (4, 3), (2, 1), "valid", "channels_first", (1, 1)),
    ],
)
def test_values(
    filters: int, window: Any, strides: Any, padding: str, data_format: str, dilation: Any
) -> None:
    layer = layers.Conv2D(filters, window, strides, padding, data_format, dilation)
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 8, 8, 4))
    given = x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)
    layer.build(given.shape)
    assert layer.kernel.shape == (*window, 4, filters)  # in either format
    weights = [random.normal(size=w.shape) for w in layer.get_weights()]
    layer.set_weights(weights)
    y = layer(given)
    if data_format == "channels_first":
        y = y.transpose(0, 2, 3, 1)
    kernel, bias = weights
    expected = by_definition(x, kernel, bias, strides, padding, dilation)
    assert_allclose(y, expected, rtol=5e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0, "kernel_size": 1}, "filters .* got 0"),
        ({"filters": 2, "kernel_size": (1, 0)}, "kernel_size .* got 0"),
        ({"filters": 2, "kernel_size": (2, 2), "strides": (1, 0)}, "strides .* got 0"),
        ({"filters": 2, "kernel_size": (2, 2), "strides": 2, "dilation_rate": (2, 1)},
         r"strides=\(2, 2\) and dilation_rate=\(2, 1\)"),
        ({"filters": 5, "kernel_size": (2, 2), "groups": 0}, "groups .* got 0"),
        ({"filters": 5, "kernel_size": (2, 2), "groups": 2}, "groups .* got 2"),
    ],
)  # fmt: skip
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Conv2D(**arguments)


def test_a_window_larger_than_the_image() -> None:
    with pytest.raises(ValueError, match="5 x 5 pixels is larger than the image of 4 x 4"):
        layers.Conv2D(6, [5, 5], 1, "valid")(np.ones((3, 4, 4, 4)))
    with pytest.raises(ValueError, match="11 x 11 pixels"):
        layers.Conv2D(1, 2, dilation_rate=10).build((None, 10, 10, 3))


def test_constraints() -> None:
    for which in ("kernel", "bias"):
        layer = layers.Conv2D(4, 3, **{f"{which}_constraint": "non_neg"})
        layer.build((None, 5, 5, 3))
        assert isinstance(getattr(layer, which).constraint, gpunn.constraints.NonNeg)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("padding", [((1, 2), (3, 4)), ((2, 2), (2, 2)), (2, 2), 2])
def test_zero_padding(padding: Any, data_format: str) -> None:
    x = np.random.default_rng(0).random((1, 2, 3, 4)).astype("float32")
    layer = layers.ZeroPadding2D(padding, data_format=data_format)
    sides = padding if isinstance(padding, tuple) and padding != (2, 2) else ((2, 2), (2, 2))
    around = [(0, 0), *sides, (0, 0)] if data_format == "channels_last" else [(0, 0)] * 2 + [*sides]
    assert_allclose(layer(x), np.pad(x, around))


@pytest.mark.parametrize(
    "padding", [(1,), (1, 2, 3), "1", ((1, 2), (3, 4, 5)), ((1, 2), (3, -4)), ((1, 2), "3")]
)
def test_no_padding(padding: Any) -> None:
    with pytest.raises(ValueError, match="padding"):
        layers.ZeroPadding2D(padding)


def test_zero_padding_as_a_config() -> None:
    config = layers.ZeroPadding2D(padding=(1, 2), name="mine").get_config()
    assert (config["padding"], config["data_format"]) == (((1, 1), (2, 2)), "channels_last")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("larger", ["transposed", "upsampling"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_an_autoencoder_is_trained_as_by_keras(
    keras: Any, backend: str, larger: str, data_format: str
) -> None:
    """A convolution reduces the images, another layer enlarges them; the last batch is smaller."""
    random = np.random.default_rng(0)
    shape = (6, 4, 1) if data_format == "channels_last" else (1, 6, 4)
    x = random.normal(size=(11, *shape)).astype(np.float32)

    def made(module: Any, **options: Any) -> Any:
        named = {"data_format": data_format}
        conv, up = module.layers.Conv2D, module.layers.UpSampling2D
        if larger == "transposed":
            layer = module.layers.Conv2DTranspose
            decoder = [
                layer(3, 3, strides=2, padding="same", activation="relu", **named),
                layer(1, (1, 2), bias_initializer="ones", **named), conv(1, (1, 2), **named),
            ]  # fmt: skip
        else:
            decoder = [up(**named), conv(1, 3, padding="same", **named), up((1, 1), **named)]
        encoder = conv(4, 3, strides=2, padding="same", activation="tanh", **named)
        model = module.Sequential([module.Input(shape), encoder, *decoder], **options)
        model.compile(module.optimizers.SGD(0.05), "mse")
        return model

    theirs, ours = made(keras), made(gpunn, backend=backend)
    ours.set_weights(theirs.get_weights())
    logs = [m.fit(x, x, batch_size=4, epochs=3, shuffle=False, verbose=0) for m in (theirs, ours)]
    assert_allclose(logs[1].history["loss"], logs[0].history["loss"], 1e-5)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(own, other, 1e-4, 1e-5)


def test_what_enlarges_refuses() -> None:
    with pytest.raises(ValueError, match=r"output_padding must be below the strides, \(1, 1\)"):
        layers.Conv2DTranspose(2, 3, output_padding=1)
    with pytest.raises(ValueError, match="output_padding must be"):
        layers.Conv2DTranspose(2, 3, strides=2, output_padding=-1)
    with pytest.raises(ValueError, match=r"interpolation must be .*nearest.*'lanczos4'"):
        layers.UpSampling2D(interpolation="lanczos4")
    with pytest.raises(ValueError, match=r"x must have the shape \(batch, height, width"):
        layers.UpSampling2D()(np.ones((2, 3)))
