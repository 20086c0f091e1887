"""Operations on pictures: colors, blur, edges and frames, beside Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import ops

pytestmark = pytest.mark.filterwarnings("ignore")

X = np.random.default_rng(0).random((3, 6, 7, 3)).astype("float32")
X[0, 0] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.2], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.3, 0.3]]

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("rgb_to_hsv", {}), ("hsv_to_rgb", {}), ("rgb_to_grayscale", {}),
    ("gaussian_blur", {}), ("gaussian_blur", {"kernel_size": (5, 5), "sigma": (0.7, 1.9)}),
    ("sobel_edges", {}),
    ("crop_images", {"top_cropping": 1, "left_cropping": 2, "target_height": 4, "target_width": 3}),
    ("crop_images", {"top_cropping": 1, "left_cropping": 2, "bottom_cropping": 0,
                     "right_cropping": 3}),
    ("crop_images", {"bottom_cropping": 1, "right_cropping": 0, "target_height": 2,
                     "target_width": 7}),
    ("pad_images", {"top_padding": 1, "left_padding": 2, "target_height": 9, "target_width": 9}),
    ("pad_images", {"top_padding": 1, "left_padding": 0, "bottom_padding": 0, "right_padding": 3}),
    ("pad_images", {"bottom_padding": 1, "right_padding": 3, "target_height": 9,
                    "target_width": 12}),
]  # fmt: skip


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(("name", "options"), CALLS, ids=str)
def test_the_result_is_keras_s(
    keras: Any, every_backend: str, name: str, options: dict[str, Any]
) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = getattr(ops.image, name), getattr(keras.ops.image, name)
    for data_format in ("channels_last", "channels_first"):
        x = X.transpose(0, 3, 1, 2).copy() if data_format == "channels_first" else X
        more = {**options, "data_format": data_format}
        expected = keras.ops.convert_to_numpy(theirs(x, **more))
        assert_allclose(ours(x, **more), expected, 1e-5, 2e-6)
        alone = ours(x[1], **more)  # one picture
        assert_allclose(alone, expected[1], 1e-5, 2e-6)
        graph = gpunn.Input(x.shape[1:])
        y = gpunn.Model(graph, ours(graph, **more)).predict(x, verbose=0)
        assert_allclose(y, expected, 1e-5, 2e-6)


@pytest.mark.parametrize(
    "options",
    [{"filter_size": 5}, {"filter_size": 3, "filter_sigma": 0.5, "k1": 0.1, "k2": 0.2},
     {"filter_size": 1, "max_val": 2.0}],
    ids=str,
)  # fmt: skip
def test_likeness_and_its_gradient_are_keras_s(
    keras: Any, every_backend: str, options: dict[str, Any]
) -> None:
    import torch

    gpunn.use_backend(every_backend)
    y = (0.8 * X + 0.2 * X[::-1]).astype("float32")
    for data_format in ("channels_last", "channels_first"):
        first = data_format == "channels_first"
        a, b = (x.transpose(0, 3, 1, 2).copy() if first else x for x in (X, y))
        more = {**options, "data_format": data_format}
        given = torch.tensor(b, requires_grad=True)
        expected = keras.ops.image.ssim(torch.tensor(a), given, **more)
        (expected * torch.arange(3.0)).sum().backward()
        variable = gpunn.Variable(b)
        with gpunn.GradientTape() as tape:
            found = ops.image.ssim(a, variable, **more)
            total = ops.sum(found * np.arange(3.0, dtype="float32"))
        assert_allclose(found, expected.detach(), 1e-5, 1e-6)
        assert_allclose(tape.gradient(total, variable), given.grad, 1e-3, 1e-5)
        assert_allclose(ops.image.ssim(a[1], b[1], **more), expected.detach()[1], 1e-5, 1e-6)
        graph = gpunn.Input(a.shape[1:])
        predicted = gpunn.Model(graph, ops.image.ssim(graph, 0.8 * graph, **more)).predict(a)
        assert_allclose(predicted, keras.ops.image.ssim(a, 0.8 * a, **more), 1e-5, 1e-6)


def test_likeness_of_integers_is_a_fraction(keras: Any) -> None:
    a, b = ((x * 255).astype("uint8") for x in (X, 0.8 * X + 0.2 * X[::-1]))
    expected = keras.ops.image.ssim(*(x.astype("float32") for x in (a, b)), 255.0, 5)
    assert_allclose(ops.image.ssim(a, b, 255.0, 5), expected, 1e-5)
    assert_array_equal(keras.ops.image.ssim(a, b, 255.0, 5), np.floor(expected))


def test_colors_there_and_back() -> None:
    assert_allclose(ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(X)), X, atol=1e-6)
    turned = np.asarray(ops.image.rgb_to_hsv(X)) + np.float32([1, 0, 0])
    assert_allclose(ops.image.hsv_to_rgb(turned), X, atol=1e-5)  # hues repeat


def test_integers_stay_integers(keras: Any) -> None:
    x = (X * 255).astype(np.uint8)
    gray = ops.image.rgb_to_grayscale(x)
    exact = x @ np.array([0.2989, 0.587, 0.114])
    assert gray.dtype == "int32" and np.abs(np.asarray(gray)[..., 0] - exact).max() <= 0.5001
    one = np.asarray(ops.image.rgb_to_grayscale(x[..., :1]))
    assert_array_equal(one, x[..., :1])  # gray already
    assert_array_equal(ops.image.crop_images(x, 1, 1, 1, 1), x[:, 1:-1, 1:-1])


@pytest.mark.parametrize("name", ["rgb_to_hsv", "hsv_to_rgb", "gaussian_blur", "sobel_edges"])
def test_gradients_are_those_of_pytorch(keras: Any, name: str) -> None:
    import torch

    x = torch.tensor(X[1:], requires_grad=True)
    y = getattr(keras.ops.image, name)(x, data_format="channels_last")
    weights = np.random.default_rng(1).random(y.shape).astype("float32")
    (y * torch.tensor(weights)).sum().backward()
    variable = gpunn.Variable(X[1:])
    with gpunn.GradientTape() as tape:
        total = ops.sum(getattr(ops.image, name)(variable) * weights)
    assert_allclose(tape.gradient(total, variable), x.grad, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.image.rgb_to_hsv(X[..., :2]), "three channels, red, green and blue"),
        (lambda: ops.image.rgb_to_hsv(np.zeros((2, 2, 3), int)), "floats from 0 to 1"),
        (lambda: ops.image.rgb_to_grayscale(X[..., :2]), "three channels"),
        (lambda: ops.image.rgb_to_hsv(X[0, 0]), "images .* are expected"),
        (lambda: ops.image.gaussian_blur(X, (3, 5)), "kernel_size must be an odd number"),
        (lambda: ops.image.gaussian_blur(X, 4), "kernel_size must be an odd number"),
        (lambda: ops.image.gaussian_blur(X, sigma=(0.0, 1.0)), "sigma must be a number above 0"),
        (lambda: ops.image.ssim(X, X), "of at least filter_size=11 pixels; got"),
        (lambda: ops.image.ssim(X, X[:2], filter_size=3), "image1 and image2 must have one shape"),
        (lambda: ops.image.ssim(X, X, filter_size=4), "filter_size must be an odd number"),
        (lambda: ops.image.ssim(X, X, 1.0, 3, 0.0), "filter_sigma must be above 0; got 0.0"),
        (lambda: ops.image.crop_images(X, 1, 1, 1), "exactly two of left_cropping, right_cropping"),
        (lambda: ops.image.crop_images(X, 4, 0, 4, 0), "do not fit images of height 6"),
        (lambda: ops.image.crop_images(X, 4, 0, target_height=5, target_width=1), "do not fit"),
        (lambda: ops.image.pad_images(X, 0, 0, target_height=7, target_width=6), "of width 7"),
        (lambda: ops.image.pad_images(X, -1, 0, 0, 0), "top_padding must be 0 or more"),
    ],
)  # fmt: skip
def test_errors_say_what_is_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
