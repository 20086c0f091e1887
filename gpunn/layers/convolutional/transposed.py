"""Transposed convolution of images and of sequences."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_sizes
from gpunn.common.fields import field
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import ops

from .convolution import OfKernel


class _Transposed(OfKernel):
    output_padding: Any = field(default=None, after="padding")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_padding is None:
            return
        self.output_padding = check_sizes("output_padding", self.output_padding, self._rank, 0)
        if any(n >= step for n, step in zip(self.output_padding, self.strides, strict=True)):
            raise ValueError(
                f"output_padding must be below the strides, {self.strides}; got "
                f"{self.output_padding}."
            )

    def build(self, input_shape: Shape) -> None:
        _, channels = self.sizes(input_shape)
        self.kernel = declared(self, "kernel", (*self.kernel_size, self.filters, channels))
        self.bias = declared(self, "bias", (self.filters,)) if self.use_bias else None

    def call(self, x: Any) -> Any:
        sizes = self.strides, self.padding, self.output_padding, self.data_format
        y = ops.conv_transpose(x, self.kernel, *sizes, self.dilation_rate)
        return self.activation(self._with_bias(y, self.bias))


class Conv2DTranspose(_Transposed):
    """Enlarge images: each input pixel adds W, times its values, to a window of a larger image.

    ``y = activation(z + b)``, where z is the backward pass of a `Conv2D` on x. It is used in the
    decoder of an autoencoder, for example. Source: Dumoulin and Visin, "A guide to convolution
    arithmetic for deep learning", 2016, chapter 4.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, filters)``; with
    channels first, channels and filters are axis 1. For padding ``"same"``
    ``rows = height strides[0]``, for ``"valid"``
    ``rows = height strides[0] + max(kernel_size[0] - strides[0], 0)``; columns likewise.

    Args:
        strides: pixels from one window to the next, the factor by which images become larger.
        padding: ``"valid"``: windows lie entirely inside the larger image; ``"same"``: it is
            ``strides`` times as large.
        output_padding: rows and columns that are added to the sizes ``(height - 1) strides[0] +
            kernel_size[0]`` for ``"valid"``, or ``... + kernel_size[0] % 2`` for ``"same"``, where
            a dilated kernel is as long as its span: numbers below the strides. None: the sizes are
            as above.
        dilation_rate: pixels from one cell of a window to the next.
        kernel_initializer: initializer of W (height, width, filters, channels).

    The other arguments, and errors: as for `Conv2D`.

    >>> layer = Conv2DTranspose(1, 2, strides=2, kernel_initializer="ones")
    >>> layer([[[[1.0], [2.0]]]])[0, ..., 0].tolist()
    [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """

    aliases = ("Convolution2DTranspose",)
    examples = (
        {"filters": 3, "kernel_size": (2, 2)},
        {"filters": 2, "kernel_size": (3, 2), "strides": (2, 1), "padding": "same",
         "activation": "relu", "bias_initializer": "normal"},
        {"filters": 2, "kernel_size": (2, 1), "strides": (2, 2), "use_bias": False,
         "data_format": "channels_first", "activation": "tanh"},
        {"filters": 2, "kernel_size": 3, "strides": (2, 3), "padding": "same",
         "output_padding": (0, 2)},
    )


class Conv1DTranspose(_Transposed):
    """Lengthen sequences: each input step adds W, times its values, to a window of a longer one.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, new steps, filters)``; with channels
    first, channels and filters are axis 1. New steps are as many as the rows of `Conv2DTranspose`,
    and W has the shape ``(kernel_size, filters, channels)``.

    The rest: as for `Conv2DTranspose`, on images of height 1; sizes are one number, in steps.

    >>> layer = Conv1DTranspose(1, 2, strides=2, kernel_initializer="ones")
    >>> layer([[[1.0], [2.0]]]).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    _rank = 1
    aliases = ("Convolution1DTranspose",)
    examples = (
        {"filters": 3, "kernel_size": 2},
        {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "data_format": "channels_first"},
    )

    strides = 1
    dilation_rate = 1
