"""Layers of one axis, of three, of separate channels and of groups, beside Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
STEPS, IMAGES, VOLUMES = (11, 6), (7, 5, 6), (4, 5, 3, 2)
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, STEPS),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "strides": 2}, STEPS),
    ("Conv1D", {"filters": 6, "kernel_size": 2, "groups": 3, "activation": "tanh"}, STEPS),
    ("Conv1D", {"filters": 6, "kernel_size": 4, "groups": 6, "padding": "same"}, STEPS),
    ("Conv2D", {"filters": 9, "kernel_size": (2, 3), "groups": 3, "strides": 2}, IMAGES),
    ("Conv2D", {"filters": 12, "kernel_size": 2, "groups": 6, "activation": "relu"}, IMAGES),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2}, STEPS),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 2, "padding": "same"}, STEPS),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "dilation_rate": 2}, STEPS),
    ("Conv2DTranspose", {"filters": 4, "kernel_size": (2, 3), "dilation_rate": (2, 1)}, IMAGES),
    ("DepthwiseConv1D", {"kernel_size": 3, "padding": "same", "strides": 2}, STEPS),
    ("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2, "activation": "relu"}, STEPS),
    ("DepthwiseConv2D", {"kernel_size": 3, "padding": "same", "activation": "swish"}, IMAGES),
    ("DepthwiseConv2D", {"kernel_size": (3, 2), "strides": 2, "depth_multiplier": 3}, IMAGES),
    ("DepthwiseConv2D", {"kernel_size": 2, "dilation_rate": 2, "use_bias": False}, IMAGES),
    ("SeparableConv1D", {"filters": 4, "kernel_size": 3, "padding": "same"}, STEPS),
    ("SeparableConv1D", {"filters": 4, "kernel_size": 3, "depth_multiplier": 2}, STEPS),
    ("SeparableConv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}, IMAGES),
    ("SeparableConv2D", {"filters": 4, "kernel_size": 2, "activation": "tanh"}, IMAGES),
    ("MaxPooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}, STEPS),
    ("AveragePooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}, STEPS),
    ("AveragePooling1D", {"pool_size": 2}, STEPS),
    ("GlobalMaxPooling1D", {}, STEPS),
    ("GlobalAveragePooling1D", {"keepdims": True}, STEPS),
    ("ZeroPadding1D", {"padding": (2, 1)}, STEPS),
    ("Cropping1D", {"cropping": (2, 1)}, STEPS),
    ("Cropping2D", {"cropping": ((1, 2), (0, 1))}, IMAGES),
    ("UpSampling1D", {"size": 3}, STEPS),
    ("Conv3D", {"filters": 4, "kernel_size": (2, 3, 2), "activation": "tanh"}, VOLUMES),
    ("Conv3D", {"filters": 4, "kernel_size": 2, "padding": "same", "strides": (2, 1, 2)}, VOLUMES),
    ("Conv3D", {"filters": 4, "kernel_size": 2, "groups": 2, "dilation_rate": (2, 1, 1)}, VOLUMES),
    ("Conv3DTranspose", {"filters": 3, "kernel_size": (3, 2, 1), "strides": (2, 1, 2)}, VOLUMES),
    ("Conv3DTranspose", {"filters": 3, "kernel_size": 2, "strides": 3, "padding": "same",
                         "output_padding": 2}, VOLUMES),
    ("MaxPooling3D", {}, VOLUMES),
    ("MaxPooling3D", {"pool_size": (2, 3, 2), "strides": (1, 2, 2), "padding": "same"}, VOLUMES),
    ("AveragePooling3D", {"pool_size": (3, 2, 2), "strides": 1}, VOLUMES),
    ("AveragePooling3D", {"pool_size": 3, "strides": (1, 2, 2), "padding": "same"}, VOLUMES),
    ("GlobalMaxPooling3D", {"keepdims": True}, VOLUMES),
    ("GlobalAveragePooling3D", {}, VOLUMES),
    ("AdaptiveMaxPooling3D", {"output_size": (3, 2, 2)}, VOLUMES),
    ("AdaptiveAveragePooling3D", {"output_size": (3, 2, 2)}, VOLUMES),
    ("ZeroPadding3D", {"padding": ((2, 1), (0, 1), (1, 0))}, VOLUMES),
    ("Cropping3D", {"cropping": ((0, 2), (1, 1), (1, 0))}, VOLUMES),
    ("UpSampling3D", {"size": (2, 1, 3)}, VOLUMES),
]
NO_FORMAT = ("Cropping1D", "UpSampling1D")  # have channels last in Keras


def pairs(module: Any, name: str, arguments: dict, shape: tuple[int, ...], **options: Any) -> Any:
    inside = getattr(module.layers, name)(**arguments)
    first = module.Input(shape)
    made = module.Sequential([first, inside, module.layers.Flatten(), module.layers.Dense(2)],
                             **options)  # fmt: skip
    made.compile(module.optimizers.SGD(0.02), "mse")
    return made


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES)
def test_predictions_and_training(
    keras: Any, every_backend: str, name: str, arguments: dict, shape: tuple
) -> None:
    gpunn.use_backend(every_backend)
    compare(keras, name, arguments, shape)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"), [case for case in CASES if case[0] not in NO_FORMAT]
)
def test_channels_first(keras: Any, name: str, arguments: dict, shape: tuple) -> None:
    options = {**arguments, "data_format": "channels_first"}
    compare(keras, name, options, (shape[-1], *shape[:-1]))


def compare(keras: Any, name: str, arguments: dict, shape: tuple) -> None:
    """Also of a last batch with fewer rows; names, shapes and order of weights are the same."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(7, *shape)).astype("f4"), random.normal(size=(7, 2)).astype("f4")
    theirs, ours = (pairs(module, name, arguments, shape) for module in (keras, gpunn))
    kept = [random.normal(size=w.shape) / 4 for w in theirs.get_weights()]
    for model in (theirs, ours):
        model.set_weights(kept)
    assert [w.name for w in ours.layers[0].weights] == [w.name for w in theirs.layers[0].weights]
    assert ours.layers[0].output.shape == theirs.layers[0].output.shape
    assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4, 1e-5)
    for model in (theirs, ours):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(own, other, 1e-3, 1e-5)
    config, own = theirs.layers[0].get_config(), ours.layers[0].get_config()
    for argument in {*arguments} - {"activation"}:
        assert np.array_equal(own[argument], config[argument]), argument


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_mean_of_the_steps_that_a_mask_leaves(
    keras: Any, every_backend: str, data_format: str, keepdims: bool
) -> None:
    gpunn.use_backend(every_backend)
    x = np.random.default_rng(1).normal(size=(3, 4, 5)).astype("f4")
    x[0, 1] = np.nan if data_format == "channels_last" else x[0, 1]
    steps = x.shape[1 if data_format == "channels_last" else 2]
    mask = np.arange(steps) % 2 == 0
    mask = np.stack([mask, ~mask, mask | True])
    options = {"data_format": data_format, "keepdims": keepdims}
    own = layers.GlobalAveragePooling1D(**options)(x, mask=mask)
    other = keras.layers.GlobalAveragePooling1D(**options)(x, mask=mask)
    assert_allclose(own, other.numpy(), 1e-5, 1e-6)


@pytest.mark.usefixtures("doubles")
def test_groups_have_derivatives_of_every_order(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(2)
    x, kernel = random.normal(size=(2, 4, 3, 6)), random.normal(size=(2, 2, 2, 9))

    def slope(x: Any) -> Any:
        total = lambda x: ops.sum(ops.conv(x, kernel, padding="same") ** 3)  # noqa: E731
        return ops.sum(gpunn.grad(total)(x) ** 2)

    found, by, step = np.asarray(gpunn.grad(slope)(x)), random.normal(size=x.shape), 1e-6
    ends = [float(np.asarray(slope(x + sign * step * by))) for sign in (1, -1)]
    assert np.sum(found * by) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_spatial_dropout_keeps_or_drops_a_channel(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    for name, shape, at in (("1D", (40, 6, 8), 1), ("2D", (40, 3, 2, 8), (1, 2))):
        layer = getattr(layers, f"SpatialDropout{name}")(0.25, seed=3)
        x = np.ones(shape, "f4")
        y = np.asarray(layer(x, training=True))
        assert np.array_equal(y.min(at), y.max(at))  # alike at all places
        assert_allclose(np.unique(y), [0.0, 1 / 0.75], 1e-6)
        assert abs((y == 0).mean() - 0.25) < 0.08
        assert np.array_equal(layer(x), x)
    first = layers.SpatialDropout2D(0.5, "channels_first", seed=3)
    y = np.asarray(first(np.ones((40, 8, 3, 2), "f4"), training=True))
    assert np.array_equal(y.min((2, 3)), y.max((2, 3)))


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: layers.Conv1D(4, 3, groups=3), (5, 4), "groups must divide the 4 filters; got 3"),
        (lambda: layers.Conv1D(4, 3, groups=2), (5, 3), "groups must divide the channels"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), (5, 5, 3), "padding must be"),
        (lambda: layers.Conv1D(4, (3, 3)), (5, 3), "kernel_size must be an integer; got"),
        (lambda: layers.Conv3D(4, (3, 3)), (5, 5, 5, 3), "or three of them; got"),
        (lambda: layers.MaxPooling3D((2, 2)), (5, 5, 5, 3), "or three of them; got"),
        (lambda: layers.Conv1D(4, 0), (5, 3), "kernel_size"),
        (lambda: layers.Conv1D(4, 2, strides=2, dilation_rate=2), (5, 3), "not compatible with"),
        (lambda: layers.Conv1D(4, 6), (5, 3), "larger than the image"),
        (lambda: layers.Conv1D(4, 2), (5, 5, 3), r"x must have the shape \(batch, steps, chan"),
        (lambda: layers.MaxPooling1D(9), (5, 3), "larger than the image"),
        (lambda: layers.Cropping1D((3, 2)), (5, 3), "smaller than the corresponding"),
        (lambda: layers.Cropping2D(3), (5, 9, 3), "smaller than the corresponding"),
        (lambda: layers.Cropping3D(2), (5, 9, 4, 3), "smaller than the corresponding"),
        (lambda: layers.Conv3D(4, 3), (5, 2, 4, 3), "larger than the image"),
        (lambda: layers.Conv3D(4, 2, strides=2, dilation_rate=2), (5, 4, 4, 3), "not compatible"),
        (lambda: layers.MaxPooling3D(3), (5, 2, 4, 3), "larger than the image"),
        (lambda: layers.MaxPooling3D(), (5, 4, 3), r"x must have the shape \(batch, depth, height"),
        (lambda: layers.ZeroPadding3D((1, 1)), (5, 4, 3, 3), "three of them"),
        (lambda: layers.ZeroPadding1D((1, -1)), (5, 3), "padding"),
        (lambda: layers.UpSampling1D(0), (5, 3), "size"),
        (lambda: layers.SpatialDropout1D(0.5), (5, 5, 3), r"\(batch, steps, channels\)"),
        (lambda: layers.DepthwiseConv2D(2, depth_multiplier=0), (5, 5, 3), "depth_multiplier"),
    ],
)
def test_refusals(make: Any, shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().build((None, *shape)) if shape else make()
        make()(np.ones((2, *shape)))
