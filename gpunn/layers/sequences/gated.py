"""The recurrent layers with a built-in cell: SimpleRNN, GRU and LSTM."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.layers.layer import Layer

from .cells import GRUCell, LSTMCell, RecurrentWeights, SimpleRNNCell, among
from .recurrent import Recurrent


class OfCell(Recurrent):
    """Base class of layers that make their cell. They have its arguments as attributes, too."""

    _abstract = True
    _cell: ClassVar[Any] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name: getattr(self, name) for name in self._of_cell()}
        self.cell = self._cell(  # type: ignore[misc]
            **given, trainable=self.trainable, dtype=self.dtype, name=self._name_of_cell
        )

    @property
    def _name_of_cell(self) -> str:
        return f"{type(self)._cell.__name__.lower().removesuffix('cell')}_cell"

    @classmethod
    def _of_cell(cls) -> list[str]:
        """Return the names of the arguments that belong to the cell."""
        fields = cls._cell.__init__.fields
        return [name for name in fields if name not in Layer.__init__.fields]  # type: ignore

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if "cell" in vars(self) and name in self._of_cell():
            setattr(self.cell, name, value)


class _OfUnits(RecurrentWeights, OfCell):
    _most_axes = 3

    activity_regularizer: Any = field(
        default=None, kw_only=True, placed=True, after="bias_regularizer"
    )
    use_cudnn: Any = field(default="auto", check=among("auto", True, False), kw_only=True)


class SimpleRNN(_OfUnits):
    """Apply ``h = activation(x W + h U + b)`` to each step of sequences.

    It forgets soon: gradients through many steps vanish or grow. `LSTM` and `GRU` keep what they
    have seen for longer. Source: Elman, "Finding structure in time", 1990. The formula and the
    shapes of weights are as in `SimpleRNNCell`.

    Shapes: x ``(batch, steps, features)`` -> y ``(batch, units)``, or with ``return_sequences``
    ``(batch, steps, units)``; with ``return_state`` also the state ``(batch, units)``.

    Args:
        activity_regularizer: penalty on the output, divided by the number of samples.
        return_sequences, return_state, go_backwards, stateful, zero_output_for_mask: as in `RNN`.
        unroll, use_cudnn, implementation: accepted as in Keras.

    The other arguments: as in `SimpleRNNCell`.

    Raises:
        ValueError: for inputs of other than three axes, and if the layer is stateful and the batch
            size is not known or differs.

    >>> SimpleRNN(4, return_sequences=True)([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 2, 4)
    """

    _cell = SimpleRNNCell
    examples: ClassVar[Any] = (
        {"units": 3},
        {"units": 2, "return_sequences": True, "go_backwards": True, "activation": "sigmoid"},
    )

    seed: int | None = field(default=None, kw_only=True, placed=True, after="unroll")


class GRU(_OfUnits):
    """Apply gated recurrent units to each step of sequences: an `LSTM` with fewer weights.

    The formula and the shapes of weights are as in `GRUCell`. Source: Cho et al., "Learning
    phrase representations using RNN encoder-decoder", 2014.

    Args:
        activation, recurrent_activation, reset_after: as in `GRUCell`.

    Shapes, the other arguments, and errors: as in `SimpleRNN`.

    >>> y, state = GRU(4, return_state=True)([[[1.0, 2.0], [3.0, 4.0]]])
    >>> y.tolist() == state.tolist()
    True
    """

    _cell = GRUCell
    examples: ClassVar[Any] = (
        {"units": 3},
        {"units": 2, "reset_after": False, "use_bias": False, "return_sequences": True},
    )

    recurrent_activation: Any = field(default="sigmoid", after="activation")
    reset_after: bool = field(default=True, check=check_flag, after="unroll")
    use_cudnn: Any = field(default="auto", kw_only=True, placed=True, after="reset_after")


class LSTM(_OfUnits):
    """Apply long short-term memory to each step of sequences: gates decide what it keeps.

    The formula and the shapes of weights are as in `LSTMCell`. Source: Hochreiter and
    Schmidhuber, "Long short-term memory", 1997.

    Args:
        activation, recurrent_activation, unit_forget_bias: as in `LSTMCell`.

    Shapes, the other arguments, and errors: as in `SimpleRNN`; there are two states, h and c.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((28, 28)), LSTM(128), gpunn.layers.Dense(10)])
    >>> model.count_params(), model.output_shape
    (81674, (None, 10))
    """

    _cell = LSTMCell
    examples: ClassVar[Any] = (
        {"units": 3},
        {"units": 2, "return_sequences": True, "unit_forget_bias": False},
    )

    recurrent_activation: Any = field(default="sigmoid", after="activation")
    unit_forget_bias: bool = field(default=True, check=check_flag, after="bias_initializer")
    use_cudnn: Any = field(default="auto", kw_only=True, placed=True, after="unroll")
