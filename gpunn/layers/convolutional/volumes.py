"""Layers on volumes, which have three axes: convolution, pooling, padding, cropping, upsampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.common.arguments import check_sizes
from gpunn.common.fields import field
from gpunn.layers.layer import formula
from gpunn.ops.tensor import Tensor, ops

from .convolution import _Convolution
from .images import _Shifting, _UpSampling, check_all_sides
from .pooling import _AdaptivePooling, _Average, _GlobalPooling, _WindowPooling
from .transposed import _Transposed


def _check_sides(name: str, value: Any) -> tuple[tuple[int, int], ...]:
    return check_all_sides(name, value, 3)


def _check_size(name: str, value: Any) -> tuple[int, ...]:
    return check_sizes(name, value, 3)


def _in_two(
    x: Tensor, last: bool, images: Callable[..., Tensor], steps: Callable[..., Tensor]
) -> Tensor:
    """Change volumes along height and width, as images, and then along the depth, as steps. The
    largest number of a window, or its mean, is that of its slices.

    Args:
        last: whether channels are the last axis.
        images, steps: functions of a tensor and of its data format.
    """
    n, *axes = x.shape
    if last:
        depth, height, width, channels = axes
        y = images(ops.reshape(x, (n * depth, height, width, channels)), "channels_last")
        rest = y.shape[1:]
        y = steps(ops.reshape(y, (n, depth, y.size // (n * depth))), "channels_last")
        return ops.reshape(y, (n, y.shape[1], *rest))
    channels, depth, height, width = axes
    y = images(ops.reshape(x, (n, channels * depth, height, width)), "channels_first")
    rest = y.shape[2:]
    y = steps(ops.reshape(y, (n * channels, depth, rest[0] * rest[1])), "channels_last")
    return ops.reshape(y, (n, channels, y.shape[1], *rest))


class ZeroPadding3D(_Shifting):
    """Add zeros around each volume.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same axes, each longer by the
    zeros at both of its ends; with channels first, channels are axis 1.

    Args:
        padding: zeros at each end, in voxels; or (depth, height, width), each a number or a pair,
            (before, after).
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for padding of another form, and for inputs that are not volumes.

    >>> ZeroPadding3D(((1, 0), (0, 0), (0, 1)))([[[[[5.0]]]]])[0, ..., 0].tolist()
    [[[0.0, 0.0]], [[5.0, 0.0]]]
    """

    _rank = 3
    examples = ({}, {"padding": ((1, 0), (2, 2), (2, 1)), "data_format": "channels_first"})

    padding: Any = field(default=(1, 1, 1), check=_check_sides)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        deep, *sides = self._ends()
        around = [(0, 0), *sides, (0, 0)] if self.channels_last else [(0, 0), (0, 0), *sides]
        return _in_two(  # backends pad images by a kernel
            x, self.channels_last,
            lambda image, form: ops.pad(image, around),
            lambda step, form: ops.pad(step, [(0, 0), deep, (0, 0)]),
        )  # fmt: skip


class Cropping3D(_Shifting):
    """Remove voxels at the ends of each axis of volumes; their gradient is 0.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same axes, each shorter by the
    voxels removed at both of its ends. Arguments and errors: as for `ZeroPadding3D`, for voxels
    that are removed; one of each axis must stay.

    >>> Cropping3D(((0, 0), (0, 0), (1, 0)))([[[[[5.0], [6.0]]]]]).ravel().tolist()
    [6.0]
    """

    _rank = 3
    examples = (
        {"cropping": ((1, 0), (0, 1), (0, 0))},
        {"cropping": ((1, 0), (0, 1), (0, 0)), "data_format": "channels_first"},
    )

    cropping: Any = field(default=((1, 1), (1, 1), (1, 1)), check=_check_sides)


class UpSampling3D(_UpSampling):
    """Enlarge volumes by repeating each voxel; its gradient is the sum of its copies'.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same axes, each as many times
    longer as its entry of ``size``; with channels first, channels are axis 1.

    Args:
        size: the factors of depth, height and width, or one number for all.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for another size, and for inputs that are not volumes.

    >>> UpSampling3D((1, 1, 2))([[[[[5.0], [6.0]]]]]).ravel().tolist()
    [5.0, 5.0, 6.0, 6.0]
    """

    _rank = 3
    examples = ({"size": (1, 2, 1)}, {"size": (2, 1, 1), "data_format": "channels_first"})

    size: Any = field(default=(2, 2, 2), check=_check_size)
    data_format: str | None = field(default=None, kw_only=True, placed=True)


class Conv3D(_Convolution):
    """Convolve volumes: ``y = activation(x * W + b)``, with the same small window W at every place.

    Each slice of W is convolved with the slices of the volume, as by `Conv2D`, and the results are
    added.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y ``(batch, new depth, rows, columns,
    filters)``; with channels first, channels and filters are axis 1. W has the shape
    ``(*kernel_size, channels / groups, filters)``. The rest: as for `Conv2D`, with three sizes.

    >>> layer = Conv3D(1, (2, 1, 1), kernel_initializer="ones", input_shape=(2, 1, 2, 1))
    >>> layer([[[[[1.0], [2.0]]], [[[3.0], [4.0]]]]]).ravel().tolist()
    [4.0, 6.0]
    """

    _rank = 3
    aliases = ("Convolution3D",)
    examples = (
        {"filters": 2, "kernel_size": (2, 1, 2), "activation": "tanh"},
        {"filters": 2, "kernel_size": 2, "padding": "same", "strides": (1, 2, 1),
         "use_bias": False},
        {"filters": 2, "kernel_size": 1, "data_format": "channels_first",
         "bias_initializer": "normal"},
    )

    strides = (1, 1, 1)
    dilation_rate = (1, 1, 1)


class Conv3DTranspose(_Transposed):
    """Enlarge volumes: each input voxel adds W, times its values, to a window of a larger volume.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y ``(batch, new depth, rows, columns,
    filters)``; with channels first, channels and filters are axis 1. W has the shape
    ``(*kernel_size, filters, channels)``. The rest: as for `Conv2DTranspose`, with three sizes.

    >>> layer = Conv3DTranspose(1, (2, 1, 1), strides=2, kernel_initializer="ones")
    >>> layer([[[[[3.0]]]]])[0, :, 0, 0, 0].tolist()
    [3.0, 3.0]
    """

    _rank = 3
    aliases = ("Convolution3DTranspose",)
    examples = (
        {"filters": 2, "kernel_size": 2, "activation": "tanh"},
        {"filters": 2, "kernel_size": (3, 2, 1), "strides": (2, 1, 2), "padding": "same",
         "use_bias": False},
        {"filters": 2, "kernel_size": 1, "data_format": "channels_first",
         "bias_initializer": "normal"},
    )

    strides = (1, 1, 1)
    dilation_rate = (1, 1, 1)


class _VolumePooling(_WindowPooling):
    _rank = 3

    def pooled(self, pool: Callable[..., Tensor], x: Tensor) -> Tensor:
        (deep, *size), (by, *strides) = self.pool_size, self.strides
        return _in_two(
            x, self.channels_last,
            lambda image, form: pool(image, size, strides, self.padding, form),
            lambda step, form: pool(step, deep, by, self.padding, form),
        )  # fmt: skip


class MaxPooling3D(_VolumePooling):
    """Take the largest voxel in each window of a volume, separately for each channel.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same axes; each becomes
    ``(n - pool_size) // strides + 1`` long for padding ``"valid"``, and ``ceil(n / strides)`` for
    ``"same"``. With channels first, channels are axis 1. The rest: as for `MaxPooling2D`, with
    three sizes.

    >>> MaxPooling3D((1, 1, 2))([[[[[1.0], [2.0], [4.0], [3.0]]]]]).ravel().tolist()
    [2.0, 4.0]
    """

    aliases = ("MaxPool3D",)
    examples = (
        {},
        {"pool_size": (1, 2, 1), "strides": 1, "data_format": "channels_first"},
        {"pool_size": (2, 3, 2), "strides": (1, 2, 1), "padding": "same"},
    )

    pool_size = (2, 2, 2)


class AveragePooling3D(_Average, _VolumePooling):
    """Take the mean of the voxels in each window of a volume, separately for each channel.

    Padding is not counted. Shapes, arguments and errors: as for `MaxPooling3D`.

    >>> AveragePooling3D((1, 1, 2))([[[[[1.0], [2.0], [4.0], [3.0]]]]]).ravel().tolist()
    [1.5, 3.5]
    """

    aliases = ("AvgPool3D",)
    examples = MaxPooling3D.examples

    pool_size = (2, 2, 2)


class _GlobalVolumePooling(_GlobalPooling):
    _rank = 3

    def pooled(self, pool: Callable[..., Tensor], x: Tensor) -> Tensor:
        axes = (1, 2, 3) if self.channels_last else (2, 3, 4)
        reduce = ops.mean if self._pool == "average_pool" else ops.max
        return reduce(x, axes, keepdims=self.keepdims)


class GlobalMaxPooling3D(_GlobalVolumePooling):
    """Take the largest voxel of each channel, which turns each volume into one row of numbers.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y ``(batch, channels)``; with
    ``keepdims`` ``(batch, 1, 1, 1, channels)``. Arguments and errors: as for `GlobalMaxPooling2D`.

    >>> GlobalMaxPooling3D()([[[[[1.0], [4.0]]], [[[2.0], [3.0]]]]]).tolist()
    [[4.0]]
    """

    aliases = ("GlobalMaxPool3D",)
    examples = ({}, {"data_format": "channels_first", "keepdims": True})


class GlobalAveragePooling3D(_Average, _GlobalVolumePooling):
    """Take the mean of each channel's voxels, which turns each volume into one row of numbers.

    Shapes, arguments and errors: as for `GlobalMaxPooling3D`.

    >>> GlobalAveragePooling3D()([[[[[1.0], [4.0]]], [[[2.0], [3.0]]]]]).tolist()
    [[2.5]]
    """

    aliases = ("GlobalAvgPool3D",)
    examples = GlobalMaxPooling3D.examples


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """Take the largest voxel in each of a given number of windows, separately for each channel.

    Shapes: x ``(batch, depth, height, width, channels)`` -> y of the same axes, of the lengths
    ``output_size``. The rest: as for `AdaptiveMaxPooling2D`, with three sizes.

    >>> AdaptiveMaxPooling3D((1, 1, 2))([[[[[1.0], [2.0], [4.0]]]]]).ravel().tolist()
    [2.0, 4.0]
    """

    _rank = 3
    examples = (
        {"output_size": [1, 2, 1]},
        {"output_size": [1, 2, 1], "data_format": "channels_first"},
    )

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        deep, *size = self.output_size
        pool = getattr(ops, self._pool)
        return _in_two(
            x, self.channels_last,
            lambda image, form: pool(image, size, form), lambda step, form: pool(step, deep, form),
        )  # fmt: skip


class AdaptiveAveragePooling3D(AdaptiveMaxPooling3D):
    """Take the mean of each of a given number of windows, separately for each channel.

    Shapes, arguments and errors: as for `AdaptiveMaxPooling3D`.

    >>> AdaptiveAveragePooling3D((1, 1, 2))([[[[[1.0], [2.0], [4.0]]]]]).ravel().tolist()
    [1.5, 3.0]
    """

    _pool = "adaptive_average_pool"
    examples = AdaptiveMaxPooling3D.examples
