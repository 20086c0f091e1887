"""Convolution and transposed convolution of images and of sequences."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_flag, check_positive_integer
from gpunn.common.fields import field
from gpunn.common.overrides import replaces
from gpunn.core.storage import Parameter
from gpunn.layers.arguments import check_padding, check_padding_of_steps
from gpunn.layers.dense import KernelAndBias
from gpunn.layers.layer import formula
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import Tensor, ops

from .images import _ImageLayer


def check_strides(layer: Any) -> None:
    """Raise a ValueError if both strides and dilation are above 1."""
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise ValueError(
            f"Specifying `strides > 1` is not compatible with `dilation_rate > 1`; got "
            f"strides={layer.strides} and dilation_rate={layer.dilation_rate}."
        )


class _Windowed(_ImageLayer):
    """A layer on windows of images, whose size and places are arguments of its subclasses."""

    def __post_init__(self) -> None:
        self.filters: int
        self.kernel_size: Any
        self.strides: Any
        self.padding: str
        self.dilation_rate: Any
        self.activation: Any
        self.kernel: Parameter
        self.bias: Parameter | None = None
        super().__post_init__()
        check_strides(self)

    def _filters_of(self, channels: int) -> int:
        """Return the number of output channels."""
        return self.filters

    def _windows(self, input_shape: Shape) -> list[int]:
        sizes = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return self.windows_on(input_shape, *sizes)

    def _built_on(self, input_shape: Shape) -> int:
        """Return the number of channels, after checking that a window fits if sizes are known."""
        if None not in input_shape[1:]:
            self._windows(input_shape)
        return self.sizes(input_shape)[1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, channels = self.sizes(input_shape)
        filters = self._filters_of(channels)
        return self.shape_of(input_shape[0], self._windows(input_shape), filters)


class _Filtering(_Windowed):
    """Windows of images times a kernel, a bias and an activation."""

    def _depth(self, channels: int) -> int:
        """Return the number of channels that a filter sees."""
        raise TypeError(f"{type(self).__name__} must define _depth(channels).")

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self._convolved(x)

    def _convolved(self, x: Tensor) -> Tensor:
        x = x if self.channels_last else ops.moveaxis(x, 1, -1)
        sizes = self.strides, self.padding, "channels_last", self.dilation_rate
        depth = self._depth(x.shape[-1])
        kernel = ops.reshape(self.kernel, (*self.kernel_size, depth, -1))
        y = ops.conv(x, kernel, *sizes)
        y = self.activation(y if self.bias is None else y + self.bias)
        return y if self.channels_last else ops.moveaxis(y, -1, 1)

class OfKernel(KernelAndBias, _ImageLayer):
    """A layer with the arguments of a convolution."""

    _abstract = True

    filters: int = field(check=check_positive_integer)
    kernel_size: Any = field()
    strides: Any = field(default=(1, 1))
    padding: str = field(default="valid", check=check_padding)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    dilation_rate: Any = field(default=(1, 1))
    activation: Any = field(default=None)
    use_bias: bool = field(default=True, check=check_flag)
    activity_regularizer: Any = field(
        default=None, kw_only=True, placed=True, after="bias_regularizer"
    )


class _Convolution(OfKernel, _Filtering):
    groups: int = field(default=1, check=check_positive_integer, after="dilation_rate")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filters % self.groups:
            raise ValueError(f"groups must divide the {self.filters} filters; got {self.groups}.")

    def build(self, input_shape: Shape) -> None:
        channels = self._built_on(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"{self.name}: groups must divide the channels of its input; got "
                f"groups={self.groups} and an input of shape {tuple(input_shape)}."
            )
        shape = *self.kernel_size, self._depth(channels), self.filters
        self.kernel = declared(self, "kernel", shape)
        if self.use_bias:
            self.bias = declared(self, "bias", (self.filters,))

    def _depth(self, channels: int) -> int:
        return channels // self.groups

    def convolution_op(self, inputs: Tensor, kernel: Any) -> Tensor:
        """Convolve inputs (batch, ...) with a kernel; bias and activation follow.

        A subclass may override it, for example with ``super().convolution_op(inputs, changed)``.
        It is called inside a trace, as `call` is.
        """
        sizes = self.strides, self.padding, self.data_format, self.dilation_rate
        return ops.conv(inputs, kernel, *sizes)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        if not replaces(type(self), "convolution_op"):
            return self._convolved(x)
        y = self._with_bias(self.convolution_op(x, ops.convert_to_tensor(self.kernel)), self.bias)
        return self.activation(y)


class Conv2D(_Convolution):
    """Convolve images: ``y = activation(x * W + b)``, with the same small window W at every place.

    Each output pixel is the sum of a window of the input times W. As usual in deep learning, this
    convolution is a cross-correlation: W is not flipped.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, filters)``; with
    channels first, channels and filters are axis 1. W has the shape ``(*kernel_size, channels,
    filters)``, b ``(filters,)``. For padding ``"valid"`` without dilation ``rows = (height -
    kernel_size[0]) // strides[0] + 1``, for ``"same"`` ``rows = ceil(height / strides[0])``;
    columns likewise.

    With the window's pixels as a row p of (height width channels) values and W as a matrix,
    ``z = p W``. Backward, with ``dz = dy * activation'(z)``: ``dW`` = sum over all windows of
    ``p^T dz``, ``db`` = sum of dz; ``dx`` = each pixel's sum of ``dz W^T`` over the windows that
    contain it.

    Args:
        filters: number of output channels.
        kernel_size: (height, width) of the window in pixels, or one number for both.
        strides: pixels from one window to the next, likewise.
        padding: ``"valid"``: windows lie entirely inside the image; ``"same"``: zeros around it
            give one window for every ``strides`` pixels, an odd zero below and on the right.
        data_format: ``"channels_last"``, x (batch, height, width, channels), or
            ``"channels_first"``, x (batch, channels, height, width); None is the former.
        dilation_rate: pixels from one cell of a window to the next.
        groups: parts that channels and filters are divided into: each part's filters see its own
            channels only, and W has ``channels / groups`` of them.

    The other arguments: as in `Dense`.

    Raises:
        ValueError: for invalid sizes, for strides combined with dilation, for groups that do not
            divide filters and, when the layer is built, for groups that do not divide channels
            or an image that is smaller than the window.

    >>> layer = Conv2D(1, 2, kernel_initializer="ones", input_shape=(2, 3, 1))
    >>> layer([[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]]).ravel().tolist()
    [12.0, 16.0]
    """

    aliases = ("Convolution2D",)
    examples = (
        {"filters": 3, "kernel_size": (2, 2)},
        {"filters": 2, "kernel_size": (1, 1), "use_bias": False},
        {"filters": 4, "kernel_size": (2, 3), "strides": (2, 1), "padding": "same",
         "activation": "relu", "bias_initializer": "normal"},
        {"filters": 2, "kernel_size": (2, 1), "data_format": "channels_first",
         "activation": "tanh", "bias_initializer": "normal"},
        {"filters": 2, "kernel_size": (2, 2), "padding": "same", "dilation_rate": (2, 1),
         "activation": {"class_name": "Relu", "config": {"negative_slope": 0.2}}},
    )


class Conv1D(_Convolution):
    """Convolve sequences: ``y = activation(x * W + b)``, with the same short window W everywhere.

    Shapes: x ``(batch, steps, channels)`` -> y ``(batch, new steps, filters)``; with channels
    first, channels and filters are axis 1. W has the shape ``(kernel_size, channels / groups,
    filters)``. New steps are as many as the rows of `Conv2D`, whose formulas and gradients hold
    for an image of height 1; for padding ``"causal"`` as for ``"same"``.

    Args:
        padding: ``"valid"``; ``"same"``, with zeros at both ends; or ``"causal"``, with zeros
            before the first step alone: no output depends on later steps.

    The other arguments, and errors: as for `Conv2D`, with one number for sizes, in steps.

    >>> layer = Conv1D(1, 2, padding="causal", kernel_initializer="ones", input_shape=(3, 1))
    >>> layer([[[1.0], [2.0], [3.0]]]).ravel().tolist()
    [1.0, 3.0, 5.0]
    """

    _rank = 1
    aliases = ("Convolution1D",)
    examples = (
        {"filters": 3, "kernel_size": 2},
        {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu",
         "bias_initializer": "normal"},
        {"filters": 2, "kernel_size": 2, "padding": "causal", "dilation_rate": 2,
         "activation": "tanh", "use_bias": False},
        {"filters": 4, "kernel_size": 2, "padding": "same", "data_format": "channels_first",
         "activation": "swish"},
    )

    strides = 1
    padding: str = field(default="valid", check=check_padding_of_steps, after="strides")
    dilation_rate = 1
