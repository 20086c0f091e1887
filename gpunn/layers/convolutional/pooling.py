"""Pooling layers, which make images smaller, channel by channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.layers.arguments import check_padding
from gpunn.layers.layer import formula
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import Tensor, ops

from .images import _ImageLayer


class _Pooling(_ImageLayer):
    _pool = "max_pool"
    """The operation."""

    def pooled(self, pool: Callable[..., Tensor], x: Tensor) -> Tensor:
        """Return an operation's result for its windows."""
        raise TypeError(f"{type(self).__name__} must define pooled(pool, x).")

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self.pooled(getattr(ops, self._pool), x)


class _Average(_Pooling):
    _pool = "average_pool"


class _WindowPooling(_Pooling):
    pool_size: Any = field(default=(2, 2))
    strides: Any = field(default=None)
    padding: str = field(default="valid", check=check_padding)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.strides = self.strides or self.pool_size

    def pooled(self, pool: Callable[..., Tensor], x: Tensor) -> Tensor:
        return pool(x, self.pool_size, self.strides, self.padding, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, channels = self.sizes(input_shape)
        windows = self.windows_on(input_shape, self.pool_size, self.strides, self.padding)
        return self.shape_of(input_shape[0], windows, channels)


class _GlobalPooling(_Pooling):
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    keepdims: bool = field(default=False, check=check_flag)

    def pooled(self, pool: Callable[..., Tensor], x: Tensor) -> Tensor:
        axes = [axis + (not self.channels_last) for axis in range(1, self._rank + 1)]
        y = pool(x, [x.shape[axis] for axis in axes], data_format=self.data_format)
        return y if self.keepdims else ops.squeeze(y, axes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, channels = self.sizes(input_shape)
        if self.keepdims:
            return self.shape_of(input_shape[0], (1,) * self._rank, channels)
        return (input_shape[0], channels)


class _AdaptivePooling(_ImageLayer):
    _pool = "adaptive_max_pool"
    output_size: Any = field()

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return getattr(ops, self._pool)(x, self.output_size, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, channels = self.sizes(input_shape)
        return self.shape_of(input_shape[0], self.output_size, channels)


class MaxPooling2D(_WindowPooling):
    """Take the largest pixel in each window of an image, separately for each channel.

    The gradient goes to that pixel; among equal pixels to the first, row by row, as in PyTorch.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, channels)``; with
    channels first, channels are axis 1. For padding ``"valid"``
    ``rows = (height - pool_size[0]) // strides[0] + 1``, for ``"same"``
    ``rows = ceil(height / strides[0])``; columns likewise.

    Args:
        pool_size: (height, width) of the window in pixels, or one number for both.
        strides: pixels from one window to the next; ``pool_size`` when None.
        padding: ``"valid"``: windows lie entirely inside the image, and pixels left over at its
            end are dropped; ``"same"``: one window for every ``strides`` pixels.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for inputs that are not images, or in which not even one window fits.

    >>> MaxPooling2D()([[[[1.0], [2.0]], [[4.0], [3.0]]]]).tolist()
    [[[[4.0]]]]
    """

    aliases = ("MaxPool2D",)
    examples = (
        {},
        {"pool_size": (2, 1), "strides": (1, 1), "data_format": "channels_first"},
        {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"},
    )


class AveragePooling2D(_Average, _WindowPooling):
    """Take the mean of the pixels in each window of an image, separately for each channel.

    Padding is not counted. Each pixel's gradient is the sum of ``dy / (pixels in the window)`` over
    its windows.

    Shapes, arguments and errors: as for `MaxPooling2D`.

    >>> AveragePooling2D()([[[[1.0], [2.0]], [[4.0], [3.0]]]]).tolist()
    [[[[2.5]]]]
    """

    aliases = ("AvgPool2D",)
    examples = MaxPooling2D.examples


class GlobalMaxPooling2D(_GlobalPooling):
    """Take the largest pixel of each channel, which turns each image into one row of numbers.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, channels)``; with ``keepdims``
    ``(batch, 1, 1, channels)``. With channels first, channels are axis 1.

    Args:
        data_format: ``"channels_last"`` or ``"channels_first"``.
        keepdims: whether y keeps the axes of height and width, with length 1.

    Raises:
        ValueError: for inputs that are not images.

    >>> GlobalMaxPooling2D()([[[[1.0], [2.0]], [[4.0], [3.0]]]]).tolist()
    [[4.0]]
    """

    aliases = ("GlobalMaxPool2D",)
    examples = ({}, {"data_format": "channels_first", "keepdims": True})


class GlobalAveragePooling2D(_Average, _GlobalPooling):
    """Take the mean of each channel's pixels, which turns each image into one row of numbers.

    Source: Lin, Chen and Yan, "Network in network", 2013.

    Shapes, arguments and errors: as for `GlobalMaxPooling2D`.

    >>> GlobalAveragePooling2D()([[[[1.0], [2.0]], [[4.0], [3.0]]]]).tolist()
    [[2.5]]
    """

    aliases = ("GlobalAvgPool2D",)
    examples = GlobalMaxPooling2D.examples


class MaxPooling1D(_WindowPooling):
    """Take the largest step in each window of a sequence, separately for each channel.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, new steps, channels)``. The rest: as for
    `MaxPooling2D`, on images of height 1; sizes are one number, in steps.

    >>> MaxPooling1D()([[[1.0], [2.0], [4.0], [3.0]]]).ravel().tolist()
    [2.0, 4.0]
    """

    _rank = 1
    aliases = ("MaxPool1D",)
    examples = (
        {},
        {"pool_size": 2, "strides": 1, "padding": "same", "data_format": "channels_first"},
        {"pool_size": 3, "strides": 2, "padding": "same"},
    )

    pool_size = 2


class AveragePooling1D(_Average, _WindowPooling):
    """Take the mean of the steps in each window of a sequence, separately for each channel.

    Padding is not counted. Shapes, arguments and errors: as for `MaxPooling1D`.

    >>> AveragePooling1D()([[[1.0], [2.0], [4.0], [3.0]]]).ravel().tolist()
    [1.5, 3.5]
    """

    _rank = 1
    aliases = ("AvgPool1D",)
    examples = MaxPooling1D.examples

    pool_size = 2


class GlobalMaxPooling1D(_GlobalPooling):
    """Take the largest step of each channel, which turns each sequence into one row of numbers.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, channels)``; with ``keepdims``
    ``(batch, 1, channels)``. Arguments and errors: as for `GlobalMaxPooling2D`.

    >>> GlobalMaxPooling1D()([[[1.0], [4.0], [3.0]]]).tolist()
    [[4.0]]
    """

    _rank = 1
    aliases = ("GlobalMaxPool1D",)
    examples = GlobalMaxPooling2D.examples


class GlobalAveragePooling1D(_GlobalPooling):
    """Take the mean of each channel's steps, which turns each sequence into one row of numbers.

    With a mask, (batch, steps), the mean is over the steps for which it is true; it is NaN, as in
    Keras, for a sequence without any.

    Shapes, arguments and errors: as for `GlobalMaxPooling1D`.

    >>> layer = GlobalAveragePooling1D()
    >>> x = [[[1.0], [3.0], [8.0]]]
    >>> layer(x).tolist(), layer(x, mask=[[True, True, False]]).tolist()
    ([[4.0]], [[2.0]])
    """

    _rank = 1
    supports_masking = True
    aliases = ("GlobalAvgPool1D",)
    examples = GlobalMaxPooling2D.examples

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is None:
            return self.pooled(ops.average_pool, x)
        axis = 1 if self.channels_last else 2
        mask = ops.expand_dims(ops.cast(mask, "bool"), 3 - axis)
        total = ops.sum(ops.where(mask, x, 0.0), axis, keepdims=self.keepdims)
        return total / ops.sum(ops.cast(mask, x.dtype), axis, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return None: a row of numbers has no steps to mask."""
        return None


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """Take the largest pixel in each of a given number of windows, separately for each channel.

    Of ``height`` rows, the window for row k of ``rows`` begins at ``floor(k height / rows)`` and
    ends before ``ceil((k + 1) height / rows)``; columns likewise. So images of any size become
    images of one size. The gradient goes to the first of the largest pixels.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, channels)``; with
    channels first, channels are axis 1.

    Args:
        output_size: (rows, columns), or one number for both.
        data_format: ``"channels_last"`` or ``"channels_first"``.

    Raises:
        ValueError: for inputs that are not images, and other sizes.

    >>> AdaptiveMaxPooling2D((1, 2))([[[[1.0], [2.0], [4.0], [3.0]]]]).tolist()
    [[[[2.0], [4.0]]]]
    """

    examples = (
        {"output_size": [2, 1]},
        {"output_size": 2, "data_format": "channels_first"},
        {"output_size": [1, 3]},
    )


class AdaptiveAveragePooling2D(_AdaptivePooling):
    """Take the mean of each of a given number of windows, separately for each channel.

    Windows, shapes, arguments and errors: as for `AdaptiveMaxPooling2D`.

    >>> AdaptiveAveragePooling2D((1, 2))([[[[1.0], [2.0], [4.0], [3.0]]]]).tolist()
    [[[[1.5], [3.5]]]]
    """

    _pool = "adaptive_average_pool"
    examples = AdaptiveMaxPooling2D.examples


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """Take the largest step in each of a given number of windows, separately for each channel.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, output_size, channels)``. The rest: as for
    `AdaptiveMaxPooling2D`.

    >>> AdaptiveMaxPooling1D(2)([[[1.0], [2.0], [4.0]]]).ravel().tolist()
    [2.0, 4.0]
    """

    _rank = 1
    examples = ({"output_size": 2}, {"output_size": [3], "data_format": "channels_first"})


class AdaptiveAveragePooling1D(_AdaptivePooling):
    """Take the mean of each of a given number of windows, separately for each channel.

    Shapes, arguments and errors: as for `AdaptiveMaxPooling1D`.

    >>> AdaptiveAveragePooling1D(2)([[[1.0], [2.0], [4.0]]]).ravel().tolist()
    [1.5, 3.0]
    """

    _rank = 1
    _pool = "adaptive_average_pool"
    examples = AdaptiveMaxPooling1D.examples
