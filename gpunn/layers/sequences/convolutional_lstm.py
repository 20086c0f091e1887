"""Convolutional LSTM: recurrent layers whose states are images, or sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gpunn.common.arguments import check_flag, check_positive_integer
from gpunn.common.fields import field
from gpunn.layers.arguments import check_padding
from gpunn.layers.convolutional.convolution import check_strides
from gpunn.layers.convolutional.images import _ImageLayer
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.tensor import Tensor, ops

from .cells import Cell, Masks, RecurrentKernel, declared_lstm_bias, lstm_step, product
from .gated import OfCell


class _OfImages(RecurrentKernel, _ImageLayer):
    """Base class of these layers, and of their cells: it has their arguments."""

    filters: int = field(check=check_positive_integer)
    kernel_size: Any = field()
    strides: Any = field(default=1)
    padding: str = field(default="valid", check=check_padding)
    data_format: str | None = field(default=None, kw_only=True, placed=True)
    dilation_rate: Any = field(default=1)
    activation: Any = field(default="tanh")
    recurrent_activation: Any = field(default="sigmoid")
    use_bias: bool = field(default=True, check=check_flag)
    unit_forget_bias: bool = field(default=True, check=check_flag, after="bias_initializer")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strides(self)


class _Cell2D(_OfImages, Cell):
    """One step of `ConvLSTM2D`."""

    gates = 4
    implementation = 1

    _state: Any = None  # the shape of one sample of a state

    @property
    def output_size(self) -> Any:
        return self._state

    @property
    def state_size(self) -> Any:
        return [self._state, self._state]

    def build(self, input_shape: Shape) -> None:
        if None in input_shape[1:]:
            raise ValueError(
                f"{self.name}: the size of images must be known; got the shape "
                f"{tuple(input_shape)}. Give Input all lengths after that of the steps."
            )
        sizes = self.kernel_size, self.strides, self.padding, self.dilation_rate
        windows, channels = self.windows_on(input_shape, *sizes), self.sizes(input_shape)[1]
        self._state = self.shape_of(None, windows, self.filters)[1:]
        width = 4 * self.filters
        self.kernel = declared(self, "kernel", (*self.kernel_size, channels, width))
        shape = (*self.kernel_size, self.filters, width)
        self.recurrent_kernel = declared(self, "recurrent_kernel", shape, "recurrent")
        if self.use_bias:
            self.bias = declared_lstm_bias(self, width)

    @property
    def _axis(self) -> int:
        """The axis of channels, in which the gates lie."""
        return -1 if self.channels_last else -1 - self._rank

    def _project(self, x: Tensor, masks: Masks) -> Tensor:
        sizes = self.strides, self.padding, self.data_format, self.dilation_rate
        first = x.ndim - self._rank - 1  # axis of an image; in front are samples, or their steps

        def convolved(x: Tensor, kernel: Any) -> Tensor:
            y = ops.conv(ops.reshape(x, (-1, *x.shape[first:])), kernel, *sizes)
            return ops.reshape(y, (*x.shape[:first], *y.shape[1:]))

        return self._with_bias(product(x, self.kernel, masks, convolved, self._axis), self.bias)

    def _step(
        self, z: Tensor, states: Sequence[Tensor], masks: Masks
    ) -> tuple[Tensor, list[Tensor]]:
        def convolved(h: Tensor, kernel: Any) -> Tensor:
            return ops.conv(h, kernel, 1, "same", self.data_format)

        z = z + product(states[0], self.recurrent_kernel, masks, convolved, self._axis)
        return lstm_step(self, ops.split(z, 4, axis=self._axis), states[1])


class _Cell1D(_Cell2D):
    _rank = 1


class _Cell3D(_Cell2D):
    _rank = 3


class _ConvLSTM(_OfImages, OfCell):
    """Base class of the layers."""

    _name_of_cell = "conv_lstm_cell"

    activity_regularizer: Any = field(
        default=None, kw_only=True, placed=True, after="bias_regularizer"
    )

    def build(self, sequences_shape: Shape) -> None:
        if len(sequences_shape) != self._rank + 3:
            raise ValueError(
                f"{self.name}: x must have {self._rank + 3} axes, (batch, steps, ...) before those "
                f"of an image with its channels; got the shape {tuple(sequences_shape)}."
            )
        super().build(sequences_shape)


class ConvLSTM2D(_ConvLSTM):
    """Apply a convolutional LSTM to each step of films, for example to predict the next image.

    It is an `LSTM` whose states h and c are images, and whose products are convolutions:
    ``i, f, o = s(x * W + h * U + b)`` for each gate, ``c' = f c + i activation(x * W_c + h * U_c +
    b_c)``, ``h' = o activation(c')``; s is the recurrent activation. The filters of W and U belong
    to i, f, c and o, in this order. Source: Shi et al., "Convolutional LSTM network: a machine
    learning approach for precipitation nowcasting", 2015, without its peepholes.

    Shapes: x ``(batch, steps, height, width, channels)`` -> y ``(batch, rows, columns, filters)``,
    or with ``return_sequences`` ``(batch, steps, rows, columns, filters)``; with ``return_state``
    also h and c, of the shape of one step's output. With channels first, channels and filters are
    the axis before height. Rows and columns are as in `Conv2D`. W has the shape ``(*kernel_size,
    channels, 4 filters)``, U ``(*kernel_size, filters, 4 filters)``, and b ``(4 filters,)``.

    Args:
        filters: number of channels of the states.
        kernel_size: (height, width) of the window in pixels, or one number for both.
        strides, padding, data_format, dilation_rate: of the convolution of x, as in `Conv2D`; that
            of h keeps its size.
        dropout: fraction of the values of x that training sets to 0, the same in all steps; each
            gate has its own.
        recurrent_dropout: the same for h.
        activation, recurrent_activation, unit_forget_bias: as in `LSTM`.

    The other arguments: as in `SimpleRNN`.

    Raises:
        ValueError: for inputs of other axes, or of which one after the steps has no known length;
            for strides combined with dilation; for an image smaller than the window; and if the
            layer is stateful and the batch size is not known or differs.

    >>> import gpunn
    >>> films = gpunn.ops.ones((2, 3, 8, 8, 1))
    >>> ConvLSTM2D(4, 3, padding="same")(films).shape
    (2, 8, 8, 4)
    """

    _cell = _Cell2D
    examples: ClassVar[Any] = (
        {"filters": 2, "kernel_size": (2, 1)},
        {"filters": 1, "kernel_size": 2, "padding": "same", "return_sequences": True,
         "data_format": "channels_first", "unit_forget_bias": False},
    )

    strides = (1, 1)


class ConvLSTM1D(_ConvLSTM):
    """Apply a convolutional LSTM to each step of sequences of sequences, such as of signals.

    Shapes: x ``(batch, steps, length, channels)`` -> y ``(batch, new length, filters)``, or with
    ``return_sequences`` ``(batch, steps, new length, filters)``. The new length is as in `Conv1D`.
    W has the shape ``(kernel_size, channels, 4 filters)``.

    The rest: as for `ConvLSTM2D`, with one number for sizes.

    >>> import gpunn
    >>> ConvLSTM1D(4, 3, return_sequences=True)(gpunn.ops.ones((2, 3, 8, 1))).shape
    (2, 3, 6, 4)
    """

    _rank = 1
    _cell = _Cell1D
    examples: ClassVar[Any] = (
        {"filters": 2, "kernel_size": 2, "strides": 2},
        {"filters": 1, "kernel_size": 2, "padding": "same", "dilation_rate": 2,
         "return_sequences": True, "use_bias": False},
    )

    strides = 1


class ConvLSTM3D(_ConvLSTM):
    """Apply a convolutional LSTM to each step of sequences of volumes, such as of scans.

    Shapes: x ``(batch, steps, depth, height, width, channels)`` -> y ``(batch, new depth, rows,
    columns, filters)``, or with ``return_sequences`` with the steps after the batch. The sizes are
    as in `Conv3D`. W has the shape ``(*kernel_size, channels, 4 filters)``.

    The rest: as for `ConvLSTM2D`, with three numbers for sizes, or one for all.

    >>> import gpunn
    >>> ConvLSTM3D(4, 3, padding="same")(gpunn.ops.ones((2, 3, 4, 4, 4, 1))).shape
    (2, 4, 4, 4, 4)
    """

    _rank = 3
    _cell = _Cell3D
    examples: ClassVar[Any] = (
        {"filters": 2, "kernel_size": (2, 2, 1)},
        {"filters": 1, "kernel_size": 2, "padding": "same", "return_sequences": True},
    )

    strides = (1, 1, 1)
