"""Convolution and transposed convolution of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gpunn import activations
from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry
from gpunn.common.arguments import check_flag, check_positive_integer
from gpunn.common.fields import field
from gpunn.core.arena import Parameter
from gpunn.core.plan import Call
from gpunn.layers.arguments import (
    check_activation,
    check_constraint,
    check_initializer,
    check_padding,
    check_pair,
    check_regularizer,
)
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor

from .images import _ImageLayer


class Conv2D(_ImageLayer):
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
    ``p^T dz``, ``db`` = that of dz; ``dx`` = each pixel's sum of ``dz W^T`` over the windows that
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
        groups: 1; more are not supported.
        activation: name or object; None is linear.
        use_bias: whether to add b.
        kernel_initializer: initializer of W (height, width, channels, filters) in both formats.
        bias_initializer: initializer of b (filters,).
        kernel_regularizer, bias_regularizer: penalties on W and b, see `gpunn.regularizers`.
        activity_regularizer: penalty on the output, divided by the number of samples.
        kernel_constraint, bias_constraint: constraints on W and b, applied after each
            update, see `gpunn.constraints`.

    Raises:
        ValueError: for invalid sizes, for strides combined with dilation and, when the layer
            is built, for an image that is smaller than the window.

    >>> layer = Conv2D(1, 2, kernel_initializer="ones", input_shape=(2, 3, 1))
    >>> layer([[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]]).ravel().tolist()
    [12.0, 16.0]
    """

    aliases = ("Convolution2D",)
    _refused: ClassVar[Mapping[str, str]] = {
        "convolution_op": "write forward(call) and backward(call), its derivative"
    }

    examples = (
        {"filters": 3, "kernel_size": (2, 2)},
        {"filters": 2, "kernel_size": (1, 1), "use_bias": False},
        {
            "filters": 4,
            "kernel_size": (2, 3),
            "strides": (2, 1),
            "padding": "same",
            "activation": "relu",
            "bias_initializer": "normal",
        },
        {
            "filters": 2,
            "kernel_size": (2, 1),
            "data_format": "channels_first",
            "activation": "tanh",
            "bias_initializer": "normal",
        },
        {
            "filters": 2,
            "kernel_size": (2, 2),
            "padding": "same",
            "dilation_rate": (2, 1),
            "activation": {"class_name": "Relu", "config": {"negative_slope": 0.2}},
        },
    )

    filters: int = field(check=check_positive_integer)
    kernel_size: Any = field(check=check_pair)
    strides: Any = field(default=(1, 1), check=check_pair)
    padding: str = field(default="valid", check=check_padding)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    dilation_rate: Any = field(default=(1, 1), check=check_pair)
    groups: int = field(default=1, check=check_positive_integer)
    activation: Any = field(default=None, check=check_activation)
    use_bias: bool = field(default=True, check=check_flag)
    kernel_initializer: Any = field(default="glorot_uniform", check=check_initializer)
    bias_initializer: Any = field(default="zeros", check=check_initializer)
    kernel_regularizer: Any = field(default=None, check=check_regularizer)
    bias_regularizer: Any = field(default=None, check=check_regularizer)
    activity_regularizer: Any = field(
        default=None, check=check_regularizer, kw_only=True, placed=True
    )
    kernel_constraint: Any = field(default=None, check=check_constraint)
    bias_constraint: Any = field(default=None, check=check_constraint)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bias: Parameter | None = None
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"strides above 1 do not go with a dilation_rate above 1; got "
                f"strides={self.strides} and dilation_rate={self.dilation_rate}."
            )
        if self.groups != 1:
            raise ValueError(
                f"groups must be 1: grouped convolution is not supported; got {self.groups!r}."
            )

    def build(self, input_shape: Shape) -> None:
        if None not in input_shape[1:]:
            self.geometry(input_shape)
        _, channels = self.image(input_shape)
        self.kernel = declared(self, "kernel", (*self.kernel_size, channels, self.filters))
        if self.use_bias:
            self.bias = declared(self, "bias", (self.filters,))

    def geometry(self, input_shape: Shape) -> Geometry:
        """Return how its windows lie on images of this shape, the batch axis first."""
        sizes = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return self.windows_on(input_shape, *sizes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.shape_of(input_shape[0], self.geometry(input_shape).windows, self.filters)

    def forward(self, call: Call) -> None:
        backend, activation = call.backend, call.activation
        # One that is traced may read more than the channels of a place: it gets whole samples.
        whole = activations.linear if activation._is_traced else None
        x, y = self._channels_last(call)
        z = call.array("z", y.shape) if activation.saves == "input" else y
        if not self.channels_last:
            backend.swap_axes(_as_first(call.x), _as_last(x))
        backend.convolution(
            x, self.kernel.value, None if self.bias is None else self.bias.value,
            whole or activation, self.geometry(call.x.shape), z, z if whole else y, call.precision,
        )  # fmt: skip
        if whole:
            backend.bias_activation(z, None, activation, y)
        if not self.channels_last:
            backend.swap_axes(_as_last(y), _as_first(call.y))

    def backward(self, call: Call) -> None:
        backend, activation = call.backend, call.activation
        x, y = self._channels_last(call)
        saved = call.array("z", y.shape) if activation.saves == "input" else y
        dy, dx, accumulate = call.dy, call.dx, call.accumulate_dx
        if not self.channels_last:
            dy = backend.scratch(y.shape, y.dtype, "dy with channels last")
            backend.swap_axes(_as_first(call.dy), _as_last(dy))
            if dx is not None:
                dx, accumulate = backend.scratch(x.shape, x.dtype, "dx with channels last"), False
        if activation._is_traced:
            backend.activation_gradient(activation, saved, dy, dy)
            activation = activations.linear
        backend.convolution_gradient(
            x, self.kernel.value, activation, self.geometry(call.x.shape), saved, dy,
            self.kernel.gradient if call.trains else None,
            self.bias.gradient if call.trains and self.bias is not None else None,
            dx, call.accumulate_gradients, accumulate, call.precision,
        )  # fmt: skip
        if not self.channels_last and dx is not None:
            backend.swap_axes(_as_last(dx), _as_first(call.dx), call.accumulate_dx)

    def _formula(self, x: Tensor, training: bool) -> Tensor:
        x = x if self.channels_last else ops.transpose(x, (0, 2, 3, 1))
        sizes = self.strides, self.padding, "channels_last", self.dilation_rate
        y = ops.conv(x, self.kernel, *sizes)
        y = self.activation(y if self.bias is None else y + self.bias)
        return y if self.channels_last else ops.transpose(y, (0, 3, 1, 2))

    def _channels_last(self, call: Call) -> tuple[Array, Array]:
        """Return x and y, or arrays for copies with channels last if channels come first."""
        if self.channels_last:
            return call.x, call.y
        n, channels, height, width = call.x.shape
        x = call.array("x", (n, height, width, channels))
        return x, call.array("y", (n, *call.y.shape[2:], self.filters))


def _check_none(name: str, value: Any) -> None:
    if value is not None:
        raise ValueError(f"{name} must be None: the size follows from strides; got {value!r}.")


class Conv2DTranspose(_ImageLayer):
    """Enlarge images: each input pixel adds W, times its values, to a window of a larger image.

    ``y = activation(z + b)``, where z is the backward pass of a `Conv2D` on x. It is used in the
    decoder of an autoencoder, for example. Source: Dumoulin and Visin, "A guide to convolution
    arithmetic for deep learning", 2016, chapter 4.

    Shapes: x ``(batch, height, width, channels)`` -> y ``(batch, rows, columns, filters)``; with
    channels first, channels and filters are axis 1. For padding ``"same"``
    ``rows = height strides[0]``, for ``"valid"``
    ``rows = height strides[0] + max(kernel_size[0] - strides[0], 0)``; columns likewise.

    Args:
        filters: number of output channels.
        kernel_size: (height, width) of the window in pixels, or one number for both.
        strides: pixels from one window to the next, the factor by which images become larger.
        padding: ``"valid"``: windows lie entirely inside the larger image; ``"same"``: it is
            ``strides`` times as large.
        output_padding: None; the size follows from the other arguments.
        data_format: as in `Conv2D`.
        activation: name or object; None is linear.
        use_bias: whether to add b.
        kernel_initializer: initializer of W (height, width, filters, channels).
        bias_initializer: initializer of b (filters,).
        kernel_regularizer, bias_regularizer: penalties on W and b, see `gpunn.regularizers`.
        kernel_constraint, bias_constraint: constraints on W and b, applied after each
            update, see `gpunn.constraints`.

    Raises:
        ValueError: for invalid sizes, for an ``output_padding``, and for inputs that are not
            images.

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
    )  # fmt: skip

    filters: int = field(check=check_positive_integer)
    kernel_size: Any = field(check=check_pair)
    strides: Any = field(default=(1, 1), check=check_pair)
    padding: str = field(default="valid", check=check_padding)
    output_padding: Any = field(default=None, check=_check_none)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    activation: Any = field(default=None, check=check_activation)
    use_bias: bool = field(default=True, check=check_flag)
    kernel_initializer: Any = field(default="glorot_uniform", check=check_initializer)
    bias_initializer: Any = field(default="zeros", check=check_initializer)
    kernel_regularizer: Any = field(default=None, check=check_regularizer)
    bias_regularizer: Any = field(default=None, check=check_regularizer)
    kernel_constraint: Any = field(default=None, check=check_constraint)
    bias_constraint: Any = field(default=None, check=check_constraint)

    def build(self, input_shape: Shape) -> None:
        _, channels = self.image(input_shape)
        self.kernel = declared(self, "kernel", (*self.kernel_size, self.filters, channels))
        self.bias = declared(self, "bias", (self.filters,)) if self.use_bias else None

    def call(self, x: Any) -> Any:
        sizes = self.strides, self.padding, None, self.data_format
        y = ops.conv_transpose(x, self.kernel, *sizes)
        if self.bias is not None:
            shape = (-1,) if self.channels_last else (-1, 1, 1)
            y = y + ops.reshape(self.bias, shape)
        return self.activation(y)


def _as_first(x: Array) -> Array:
    return x.reshape(len(x), x.shape[1], -1)  # (batch, channels, pixels)


def _as_last(x: Array) -> Array:
    return x.reshape(len(x), -1, x.shape[-1])  # (batch, pixels, channels)
