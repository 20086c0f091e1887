"""Cells: one step of a recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn.common import registry
from gpunn.common.arguments import check_below_one, check_flag, requirement
from gpunn.common.fields import field
from gpunn.common.overrides import replaces
from gpunn.common.random import check_seed
from gpunn.layers.arguments import check_units
from gpunn.layers.dense import KernelAndBias
from gpunn.layers.layer import Layer
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.layers.traced import takes_training
from gpunn.ops.running.streams import drawn as in_step
from gpunn.ops.running.streams import kept_numbers
from gpunn.ops.shapes import listed
from gpunn.ops.tensor import Tensor, ops

Masks = Sequence[Tensor]
"""What dropout multiplies with: nothing, one mask, or one for each gate."""
_Step = tuple[Tensor, list[Tensor]]


def among(*allowed: Any) -> Any:
    """Return a check that an argument is one of these values."""
    return requirement(" or ".join(map(repr, allowed)), lambda value: value in allowed)


def as_list(x: Any) -> list[Any]:
    """Return the entries of a list or tuple, such as of states or their sizes; else one."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


class RecurrentKernel(KernelAndBias):
    """Base class of cells with weights, and of the layers that make one: their common arguments."""

    _abstract = True

    recurrent_initializer: Any = field(
        default="orthogonal", kw_only=True, placed=True, after="kernel_initializer"
    )
    recurrent_regularizer: Any = field(
        default=None, kw_only=True, placed=True, after="kernel_regularizer"
    )
    recurrent_constraint: Any = field(
        default=None, kw_only=True, placed=True, after="kernel_constraint"
    )
    dropout: float = field(
        default=0.0, check=check_below_one, kw_only=True, placed=True, after="bias_constraint"
    )
    recurrent_dropout: float = field(
        default=0.0, check=check_below_one, kw_only=True, placed=True, after="dropout"
    )
    seed: int | None = field(
        default=None, check=check_seed, kw_only=True, placed=True, after="recurrent_dropout"
    )


class RecurrentWeights(RecurrentKernel):
    """Base class of cells of units, and of the layers that make one: it has their arguments."""

    _abstract = True

    units: int = field(check=check_units)
    activation: Any = field(default="tanh")
    use_bias: bool = field(default=True, check=check_flag)
    implementation: int = field(default=2, check=among(1, 2), kw_only=True, after="seed")


class Cell(Layer):
    """Base class of built-in cells. The product of the inputs of all steps is taken at once."""

    _abstract = True
    gates: ClassVar[int] = 1  # products in a step
    _step: ClassVar[Any]
    """Return, for (z, states, masks), the output and the new states of one step. The first state is
    the output."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bias: Any = None

    def get_initial_state(self: Any, batch_size: int | None = None) -> list[Tensor]:
        """Return the states before the first step of ``batch_size`` sequences: zeros."""
        return _zeros(self, batch_size, self.kernel.dtype)

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        of_inputs, of_states = self._draw(inputs, training)
        y, made = self._step(self._project(inputs, of_inputs), as_list(states), of_states)
        return y, made if isinstance(states, (list, tuple)) else made[0]

    # -- in a recurrent layer

    def _draw(self: Any, x: Tensor, training: bool) -> tuple[Masks, Masks]:
        """Draw the masks of dropout for inputs (batch, ...), and for states."""
        # As in Keras: with recurrent dropout, each gate has masks of its own.
        count = self.gates if self.recurrent_dropout or self.implementation == 1 else 1

        def drawn(rate: float, sample: Sequence[int]) -> Masks:
            if not training or not rate:
                return ()
            how = kept_numbers, (len(x), *sample), x.dtype, self.seed
            return [in_step(*how, rate=rate) for _ in range(count)]

        states = drawn(self.recurrent_dropout, shape_of_output(self))
        return drawn(self.dropout, x.shape[1:]), states

    def _project(self, x: Tensor, masks: Masks) -> Tensor:
        """Return the part of the gates that comes from inputs (..., batch, features)."""
        raise TypeError(f"{type(self).__name__} must define _project(x, masks).")


def product(
    x: Tensor, kernel: Any, masks: Masks, multiply: Any = ops.matmul, axis: int = -1
) -> Tensor:
    """Return ``x kernel`` with dropout of x: by one mask, or by one for each gate.

    ``axis`` is the axis of the gates in what ``multiply(x, kernel)`` returns.
    """
    if len(masks) < 2:
        return multiply(x * masks[0] if masks else x, kernel)
    parts = ops.split(kernel, len(masks), axis=-1)
    return ops.concatenate(
        [multiply(x * mask, part) for mask, part in zip(masks, parts, strict=True)], axis=axis
    )


class _UnitsCell(RecurrentWeights, Cell):
    """Base class of cells of units: inputs (batch, features), states (batch, units)."""

    @property
    def state_size(self) -> Any:
        return self.units

    @property
    def output_size(self) -> int:
        return self.units

    def build(self, input_shape: Shape) -> None:
        inputs, width = input_shape[-1], self.gates * self.units
        if inputs is None:
            raise ValueError(f"{self.name}: the number of features must be known.")
        self.kernel = declared(self, "kernel", (inputs, width))
        shape = (self.units, width)
        self.recurrent_kernel = declared(self, "recurrent_kernel", shape, "recurrent")
        if self.use_bias:
            self.bias = self._declare_bias(width)

    def _declare_bias(self, width: int) -> Any:
        return declared(self, "bias", (width,))

    def _project(self, x: Tensor, masks: Masks) -> Tensor:
        z = product(x, self.kernel, masks)
        return z if self.bias is None else z + self._input_bias()

    def _input_bias(self) -> Any:
        return self.bias


class SimpleRNNCell(_UnitsCell):
    """One step of a simple recurrent network: ``y = activation(x W + h U + b)``, also the new h.

    Source: Elman, "Finding structure in time", 1990. `SimpleRNN` is the layer.

    Shapes: inputs ``(batch, features)`` and one state ``(batch, units)`` -> y ``(batch, units)``
    and a list of the new state. W has the shape ``(features, units)``, U ``(units, units)``.

    Args:
        units: number of outputs.
        activation: name or object; None is linear.
        use_bias: whether to add b.
        kernel_initializer, recurrent_initializer, bias_initializer: of W, U and b.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties on them.
        kernel_constraint, recurrent_constraint, bias_constraint: see `gpunn.constraints`.
        dropout: fraction of the inputs that training sets to 0, the same in all steps.
        recurrent_dropout: the same for the state.
        seed: key of the random stream; the model's when None.
        implementation: accepted as in Keras. 1: each gate has masks of its own.

    Raises:
        ValueError: for units below 1, and a rate outside [0, 1).

    >>> import gpunn
    >>> rnn = gpunn.layers.RNN(SimpleRNNCell(4))
    >>> rnn([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 4)
    """

    examples = ({"units": 3, "name": "a"},)

    def _step(self, z: Tensor, states: Sequence[Tensor], masks: Masks) -> _Step:
        y = self.activation(z + product(states[0], self.recurrent_kernel, masks))
        return y, [y]


class GRUCell(_UnitsCell):
    """One step of a gated recurrent unit, whose gates decide how much of the state is kept.

    ``z = s(x W_z + h U_z)``, ``r = s(x W_r + h U_r)``, ``c = activation(x W_c + r (h U_c))``,
    ``h' = z h + (1 - z) c``, with biases; s is the recurrent activation. Without ``reset_after``,
    ``(r h) U_c`` replaces ``r (h U_c)``. Source: Cho et al., "Learning phrase representations using
    RNN encoder-decoder", 2014. `GRU` is the layer.

    Shapes: as for `SimpleRNNCell`; W ``(features, 3 units)``, U ``(units, 3 units)``, and b
    ``(2, 3 units)`` or, without ``reset_after``, ``(3 units,)``.

    Args:
        activation, recurrent_activation: of the candidate c, and of the gates.
        reset_after: whether the reset gate r applies after the product.

    The other arguments: as in `SimpleRNNCell`.

    >>> import gpunn
    >>> rnn = gpunn.layers.RNN(GRUCell(4), return_sequences=True)
    >>> rnn([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 2, 4)
    """

    examples = ({"units": 3, "name": "a"}, {"units": 2, "reset_after": False, "name": "a"})
    gates = 3

    recurrent_activation: Any = field(default="sigmoid", after="activation")
    reset_after: bool = field(default=True, check=check_flag, after="recurrent_dropout")

    def _declare_bias(self, width: int) -> Any:
        return declared(self, "bias", (2, width) if self.reset_after else (width,))

    def _input_bias(self) -> Any:
        return self.bias[0] if self.reset_after else self.bias

    def _step(self, z: Tensor, states: Sequence[Tensor], masks: Masks) -> _Step:
        h, u, kernel = states[0], self.units, self.recurrent_kernel
        if self.reset_after:
            inner = product(h, kernel, masks)
            if self.bias is not None:
                inner = inner + self.bias[1]
        else:
            inner = product(h, kernel[:, : 2 * u], masks[:2])
        gates = self.recurrent_activation(z[:, : 2 * u] + inner[:, : 2 * u])
        kept, reset = gates[:, :u], gates[:, u:]
        if self.reset_after:
            recurrent = reset * inner[:, 2 * u :]
        else:
            dropped = h * masks[2] if len(masks) > 2 else h * masks[0] if masks else h
            recurrent = ops.matmul(reset * dropped, kernel[:, 2 * u :])
        candidate = self.activation(z[:, 2 * u :] + recurrent)
        y = kept * h + (1 - kept) * candidate
        return y, [y]


class LSTMCell(_UnitsCell):
    """One step of long short-term memory: gates decide what the memory c keeps, takes and shows.

    ``i, f, o = s(x W + h U + b)`` for each gate, ``c' = f c + i activation(x W_c + h U_c + b_c)``,
    ``h' = o activation(c')``; s is the recurrent activation. The columns of W and U belong to i, f,
    c and o, in this order. Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; the
    forget gate f: Gers, Schmidhuber and Cummins, 2000. `LSTM` is the layer.

    Shapes: inputs ``(batch, features)`` and states h and c ``(batch, units)`` -> h' and the list of
    h' and c'; W ``(features, 4 units)``, U ``(units, 4 units)``, b ``(4 units,)``.

    Args:
        activation, recurrent_activation: of the memory, and of the gates.
        unit_forget_bias: whether the bias of the forget gate starts at 1 (Jozefowicz et al., 2015).

    The other arguments: as in `SimpleRNNCell`.

    >>> import gpunn
    >>> rnn = gpunn.layers.RNN([LSTMCell(4), LSTMCell(3)])
    >>> rnn([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 3)
    """

    examples = ({"units": 3, "name": "a"},)
    gates = 4

    recurrent_activation: Any = field(default="sigmoid", after="activation")
    unit_forget_bias: bool = field(default=True, check=check_flag, after="bias_initializer")

    @property
    def state_size(self) -> Any:
        return [self.units, self.units]

    def _declare_bias(self, width: int) -> Any:
        return declared_lstm_bias(self, width)

    def _step(self, z: Tensor, states: Sequence[Tensor], masks: Masks) -> _Step:
        z = z + product(states[0], self.recurrent_kernel, masks)
        return lstm_step(self, ops.split(z, 4, axis=-1), states[1])


def declared_lstm_bias(cell: Any, width: int) -> Any:
    """Declare the bias of an LSTM; its part for the forget gate may start at 1."""
    options: Any = {"initializer": partial(_first_bias, cell)} if cell.unit_forget_bias else {}
    return declared(cell, "bias", (width,), **options)


def _first_bias(cell: Any, shape: Any, dtype: Any) -> np.ndarray:
    units, draw = shape[0] // 4, cell.bias_initializer
    return np.concatenate([draw((units,)), np.ones(units), draw((2 * units,))]).astype(dtype)


def lstm_step(cell: Any, gates: Sequence[Tensor], c: Tensor) -> _Step:
    """Return the output of an LSTM and its states, for what its gates i, f, c and o add up."""
    gate, (taken, kept, candidate, shown) = cell.recurrent_activation, gates
    c = gate(kept) * c + gate(taken) * cell.activation(candidate)
    h = gate(shown) * cell.activation(c)
    return h, [h, c]


# -- any cell


def is_built_in(cell: Any) -> bool:
    """Whether a cell computes the inputs' part of all steps at once, and is not overridden."""
    return isinstance(cell, Cell) and not replaces(type(cell), "call")


def draw(cell: Any, x: Tensor, training: bool) -> Any:
    """Draw what dropout in a cell needs for all steps, of which one has inputs (batch, ...)."""
    if isinstance(cell, StackedRNNCells) and not replaces(type(cell), "call"):
        found = []
        for inner in cell.cells:
            found.append(draw(inner, x, training))
            x = ops.zeros((x.shape[0], *shape_of_output(inner)), x.dtype)
        return found
    return cell._draw(x, training) if is_built_in(cell) else None


def project(cell: Any, x: Tensor, drawn: Any) -> Tensor:
    """Return what the steps of a cell read instead of inputs (..., features)."""
    if isinstance(drawn, list):
        return project(cell.cells[0], x, drawn[0])
    return x if drawn is None else cell._project(x, drawn[0])


def step(cell: Any, z: Tensor, states: Any, drawn: Any, training: bool) -> tuple[Tensor, Any]:
    """Return the output and the new states of one step."""
    if isinstance(drawn, list):
        made = []
        for k, (inner, of_cell, own) in enumerate(zip(cell.cells, states, drawn, strict=True)):
            z = project(inner, z, own) if k else z
            z, new = step(inner, z, as_list(of_cell), own, training)
            made.append(new if isinstance(of_cell, (list, tuple)) else new[0])
        return z, made
    if drawn is not None:
        return cell._step(z, states, drawn[1])
    options = {}
    if isinstance(cell, Layer) and takes_training(cell):
        options["training"] = training
    y, new = (cell if callable(cell) else cell.call)(z, states, **options)
    return y, as_list(new)


def shape_of_output(cell: Any, states: Any = None) -> tuple[int, ...]:
    """Return the shape of one sample of a cell's output: its ``output_size``, or the size of its
    first state, such as of these ``states`` (batch, ...)."""
    size = getattr(cell, "output_size", None)
    if size is not None or is_built_in(cell) or not hasattr(cell, "get_initial_state"):
        size = as_list(cell.state_size)[0] if size is None else size
        return tuple(int(n) for n in listed(size))
    # Sizes that depend on the inputs may be known only to its method.
    first = first_states(cell, 1, "float32") if states is None else states
    while isinstance(first, (list, tuple)):
        first = first[0]
    return tuple(first.shape[1:])


def first_states(cell: Any, batch: int, dtype: str) -> list[Any]:
    """Return the states of a cell before the first step, in a list."""
    if isinstance(cell, StackedRNNCells) and not replaces(type(cell), "get_initial_state"):
        return [_states_within(inner, batch, dtype) for inner in cell.cells]
    if hasattr(cell, "get_initial_state") and not is_built_in(cell):
        return as_list(cell.get_initial_state(batch_size=batch))
    return _zeros(cell, batch, dtype)


def _states_within(cell: Any, batch: int, dtype: str) -> Any:
    """Return the first states of one of several cells: no list, as in Keras, if it has a single
    one and says so by a number alone."""
    found = first_states(cell, batch, dtype)
    is_alone = not (is_built_in(cell) or hasattr(cell, "get_initial_state"))
    return found[0] if is_alone and isinstance(cell.state_size, int) else found


def _zeros(cell: Any, batch: int | None, dtype: Any) -> list[Any]:
    return [ops.zeros((batch, *listed(n)), dtype) for n in as_list(cell.state_size)]


def check_cell(name: str, cell: Any) -> Any:
    """Return a cell, which may be given as its configuration, and must have what a cell needs."""
    if isinstance(cell, dict) and "class_name" in cell:
        cell = registry.deserialize(cell, "layer")
    for needed in ("call", "state_size"):
        if not hasattr(cell, needed) or isinstance(cell, type):
            raise ValueError(
                f"{name} must have a method call(inputs, states) and an attribute state_size, as "
                f"layers.LSTMCell(8) has; got {cell!r} without {needed}."
            )
    return cell


def _check_cells(name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{name} must be a list of cells; got {value!r}.")
    return [check_cell(f"{name}[{k}]", cell) for k, cell in enumerate(value)]


class StackedRNNCells(Layer):
    """Several cells as one: in each step, a cell reads the output of the one before it.

    ``RNN([cell, cell])`` makes one of a list. Its states are the states of the cells, in a list.

    Args:
        cells: the cells, such as `LSTMCell`, or of one's own.

    Raises:
        ValueError: for an entry that is no cell.

    >>> import gpunn
    >>> cells = StackedRNNCells([GRUCell(8), SimpleRNNCell(2)])
    >>> gpunn.layers.RNN(cells)([[[1.0], [2.0], [3.0]]]).shape
    (1, 2)
    """

    examples = (
        {
            "cells": [{"class_name": "GRUCell", "config": {"units": 2, "name": "a"}}],
            "name": "cells",
        },
    )

    cells: Any = field(check=_check_cells)

    @property
    def state_size(self) -> list[Any]:
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        shape = shape_of_output(self.cells[-1])
        return shape[0] if len(shape) == 1 else shape

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return the states of all cells before the first step of ``batch_size`` sequences."""
        dtype = next((p.stored_dtype for p in self.weights), None) or "float32"
        return [_states_within(cell, batch_size or 1, dtype) for cell in self.cells]

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], *shape_of_output(cell))

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        return step(self, inputs, states, draw(self, inputs, training), training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "cells": [registry.serialize(cell) for cell in self.cells]}
