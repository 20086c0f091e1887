"""Convolution of each channel by itself, alone or before a product over all channels."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_flag, check_positive_integer
from gpunn.common.fields import field
from gpunn.layers.arguments import check_padding
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import ops

from .convolution import _Filtering, _Windowed


class _OfEachChannel(_Windowed):
    """Base class of both kinds: it has their common arguments."""

    _abstract = True

    data_format: str | None = field(default=None, kw_only=True, placed=True)
    dilation_rate: Any = field(default=(1, 1), kw_only=True, placed=True)
    activation: Any = field(default=None, kw_only=True, placed=True)
    use_bias: bool = field(default=True, check=check_flag, kw_only=True, placed=True)
    depthwise_initializer: Any = field(default="glorot_uniform", kw_only=True, placed=True)
    bias_initializer: Any = field(default="zeros", kw_only=True, placed=True)
    depthwise_regularizer: Any = field(default=None, kw_only=True, placed=True)
    bias_regularizer: Any = field(default=None, kw_only=True, placed=True)
    activity_regularizer: Any = field(default=None, kw_only=True, placed=True)
    depthwise_constraint: Any = field(default=None, kw_only=True, placed=True)
    bias_constraint: Any = field(default=None, kw_only=True, placed=True)


class _Depthwise(_OfEachChannel, _Filtering):
    kernel_size: Any = field()
    strides: Any = field(default=(1, 1))
    padding: str = field(default="valid", check=check_padding)
    depth_multiplier: int = field(default=1, check=check_positive_integer)

    def build(self, input_shape: Shape) -> None:
        channels = self._built_on(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = declared(self, "kernel", shape, "depthwise")
        if self.use_bias:
            self.bias = declared(self, "bias", (self._filters_of(channels),))

    def _filters_of(self, channels: int) -> int:
        return channels * self.depth_multiplier

    def _depth(self, channels: int) -> int:
        return 1


class DepthwiseConv2D(_Depthwise):
    """Convolve each channel of images by itself, with ``depth_multiplier`` windows of its own.

    ``y[..., c m + j] = activation(x[..., c] * W[..., c, j] + b)``: a `Conv2D` of as many groups as
    channels. Source: Howard et al., "MobileNets", 2017, arXiv:1704.04861.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, channels m)``; with
    channels first, channels are axis 1. W has the shape ``(*kernel_size, channels, m)``.

    Args:
        depth_multiplier: m, the number of windows of a channel.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: for W.

    The other arguments, and errors: as for `Conv2D`.

    >>> layer = DepthwiseConv2D((1, 2), depthwise_initializer="ones")
    >>> layer([[[[1.0, 5.0], [2.0, 6.0]]]]).ravel().tolist()
    [3.0, 11.0]
    """

    examples = (
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "strides": (2, 1), "padding": "same", "depth_multiplier": 2,
         "activation": "relu", "bias_initializer": "normal"},
        {"kernel_size": 2, "padding": "same", "dilation_rate": 2, "use_bias": False,
         "data_format": "channels_first", "activation": "swish"},
    )


class DepthwiseConv1D(_Depthwise):
    """Convolve each channel of sequences by itself, with ``depth_multiplier`` windows of its own.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, new steps, channels m)``; with channels
    first, channels are axis 1. W has the shape ``(kernel_size, channels, m)``.

    The rest: as for `DepthwiseConv2D`, on images of height 1; sizes are one number, in steps.

    >>> layer = DepthwiseConv1D(2, depthwise_initializer="ones")
    >>> layer([[[1.0, 5.0], [2.0, 6.0]]]).ravel().tolist()
    [3.0, 11.0]
    """

    _rank = 1
    examples = (
        {"kernel_size": 2},
        {"kernel_size": 3, "padding": "same", "depth_multiplier": 2, "activation": "tanh"},
        {"kernel_size": 2, "strides": 2, "padding": "same", "data_format": "channels_first"},
    )

    strides = 1
    dilation_rate = 1


class _Separable(_OfEachChannel):
    filters: int = field(check=check_positive_integer)
    kernel_size: Any = field()
    strides: Any = field(default=(1, 1))
    padding: str = field(default="valid", check=check_padding)
    depth_multiplier: int = field(default=1, check=check_positive_integer, after="dilation_rate")
    pointwise_initializer: Any = field(default="glorot_uniform", after="depthwise_initializer")
    pointwise_regularizer: Any = field(default=None, after="depthwise_regularizer")
    pointwise_constraint: Any = field(default=None, after="depthwise_constraint")

    def build(self, input_shape: Shape) -> None:
        channels = self._built_on(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = declared(self, "depthwise_kernel", shape, "depthwise")
        shape = (*(1,) * self._rank, channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = declared(self, "pointwise_kernel", shape, "pointwise")
        if self.use_bias:
            self.bias = declared(self, "bias", (self.filters,))

    def call(self, x: Any) -> Any:
        sizes = self.strides, self.padding, self.data_format, self.dilation_rate
        y = ops.separable_conv(x, self.depthwise_kernel, self.pointwise_kernel, *sizes)
        return self.activation(self._with_bias(y, self.bias))


class SeparableConv2D(_Separable):
    """Convolve each channel of images by itself, then combine the channels of each pixel.

    ``y = activation(D P + b)``, where D is a `DepthwiseConv2D` of x without bias, and P a matrix
    for each pixel: a convolution of far fewer weights. Source: Chollet, "Xception", 2016,
    arXiv:1610.02357.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, filters)``; with
    channels first, channels are axis 1. The weights: ``depthwise_kernel`` (the kernel's size,
    channels, depth_multiplier), ``pointwise_kernel`` (1, 1, channels depth_multiplier, filters), b
    (filters,).

    Args:
        depth_multiplier: the number of windows of a channel.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: for its weights.
        pointwise_initializer, pointwise_regularizer, pointwise_constraint: for P.

    The other arguments, and errors: as for `Conv2D`.

    >>> ones = {"depthwise_initializer": "ones", "pointwise_initializer": "ones"}
    >>> SeparableConv2D(1, (1, 2), **ones)([[[[1.0, 5.0], [2.0, 6.0]]]]).ravel().tolist()
    [14.0]
    """

    aliases = ("SeparableConvolution2D",)
    examples = (
        {"filters": 3, "kernel_size": 2},
        {"filters": 2, "kernel_size": (2, 3), "strides": (2, 1), "padding": "same",
         "depth_multiplier": 2, "activation": "relu", "bias_initializer": "normal"},
        {"filters": 2, "kernel_size": (2, 1), "data_format": "channels_first", "use_bias": False},
    )


class SeparableConv1D(_Separable):
    """Convolve each channel of sequences by itself, then combine the channels of each step.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, new steps, filters)``; with channels
    first, channels are axis 1. The weights: ``depthwise_kernel`` (kernel_size, channels,
    depth_multiplier), ``pointwise_kernel`` (1, channels depth_multiplier, filters), b (filters,).

    The rest: as for `SeparableConv2D`, on images of height 1; sizes are one number, in steps.

    >>> ones = {"depthwise_initializer": "ones", "pointwise_initializer": "ones"}
    >>> SeparableConv1D(1, 2, **ones)([[[1.0, 5.0], [2.0, 6.0]]]).ravel().tolist()
    [14.0]
    """

    _rank = 1
    aliases = ("SeparableConvolution1D",)
    examples = (
        {"filters": 3, "kernel_size": 2},
        {"filters": 2, "kernel_size": 3, "padding": "same", "activation": "tanh"},
        {"filters": 2, "kernel_size": 1, "strides": 2, "data_format": "channels_first"},
    )

    strides = 1
    dilation_rate = 1
