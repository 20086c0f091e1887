"""Recurrent layers: a cell is applied to one step of a sequence after the other."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpunn.common import registry
from gpunn.common.arguments import check_flag
from gpunn.common.fields import field
from gpunn.common.nested import found_in, replaced
from gpunn.layers.layer import Layer
from gpunn.layers.parameters import ensure_built
from gpunn.layers.shapes import Shape
from gpunn.ops.conversion import convert
from gpunn.ops.running.shape_trace import ShapeTrace
from gpunn.ops.shapes import listed
from gpunn.ops.tensor import Tensor, ops
from gpunn.ops.trace import current
from gpunn.ops.variable import Variable

from . import cells


class Stateful(Layer):
    """Base class of layers whose states may stay from one batch to the next."""

    _abstract = True

    @property
    def _recurrent(self) -> list[Any]:
        """The recurrent layers that it consists of."""
        return [self]

    def _fix_batch(self, shape: Shape) -> None:
        for layer in self._recurrent:
            layer._fix_batch(shape)

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        self._fix_batch(np.shape(args[0]))
        return super()._run(*args, training=training, **kwargs)

    def reset_state(self) -> None:
        """Set the states of a stateful layer to 0, as before the first batch.

        >>> import gpunn
        >>> rnn = gpunn.layers.SimpleRNN(2, stateful=True)
        >>> first, second = rnn([[[1.0]]]), rnn([[[1.0]]])
        >>> rnn.reset_state()
        >>> rnn([[[1.0]]]).tolist() == first.tolist() != second.tolist()
        True
        """
        for variable in (v for layer in self._recurrent for v in layer._variables):
            variable.assign(ops.zeros(variable.shape))

    reset_states = reset_state


class Recurrent(Stateful):
    """Base class of layers that apply ``cell`` to each step of sequences (batch, steps, ...)."""

    _abstract = True
    _not_watched = Layer._not_watched | {"states"}
    _most_axes: ClassVar[int | None] = None  # of its inputs
    supports_masking = True

    cell: ClassVar[Any]  # of each object; as an annotated field it would be an argument
    return_sequences: bool = field(default=False, check=check_flag, kw_only=True, placed=True)
    return_state: bool = field(default=False, check=check_flag, kw_only=True, placed=True)
    go_backwards: bool = field(default=False, check=check_flag, kw_only=True, placed=True)
    stateful: bool = field(default=False, check=check_flag, kw_only=True, placed=True)
    unroll: bool = field(default=False, check=check_flag, kw_only=True, placed=True)
    zero_output_for_mask: bool = field(default=False, check=check_flag, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.states: Any = None  # variables (batch, ...), after the last batch, if it is stateful

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the cell's states, in a list."""
        return cells.as_list(self.cell.state_size)

    def build(self, sequences_shape: Shape) -> None:
        if not 3 <= len(sequences_shape) <= (self._most_axes or len(sequences_shape)):
            hint = " A recurrent layer before it needs return_sequences=True."
            raise ValueError(
                f"{self.name}: x must have the shape (batch, steps, features); got "
                f"{tuple(sequences_shape)}.{hint if len(sequences_shape) == 2 else ''}"
            )
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the masks of the outputs: the input's mask for a sequence, None for states."""
        of_output = mask if self.return_sequences else None
        return [of_output, *(None for _ in self.state_size)] if self.return_state else of_output

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        batch, steps = sequences.shape[:2]
        states = self._start(batch, sequences.dtype, initial_state)
        if mask is not None:
            mask = ops.moveaxis(ops.cast(mask, "bool"), 1, 0)  # (steps, batch)
        x = ops.moveaxis(sequences, 1, 0)  # steps in front
        cell = self.cell
        drawn = cells.draw(cell, ops.zeros(x.shape[1:], x.dtype), training)
        z = cells.project(cell, x, drawn)
        # The output of a built-in cell is its first state.
        separate = mask is not None or not cells.is_built_in(cell)
        shape = cells.shape_of_output(cell, states) if separate else ()
        y = ops.zeros((batch, *shape), x.dtype) if separate else None

        def one_step(carry: Any, at: Any) -> Any:
            before, states = carry if separate else (None, carry)
            z, valid = at if mask is not None else (at, None)
            made, new = cells.step(cell, z, states, drawn, training)
            if valid is not None:
                kept = ops.zeros_like(made) if self.zero_output_for_mask else before
                made = _chosen(valid, made, kept)
                new = _chosen(valid, new, states)
            return (made, new) if separate else new, made if self.return_sequences else None

        given = z if mask is None else (z, mask)
        carry = (y, states) if separate else states
        carry, ys = ops.scan(one_step, carry, given, steps, self.go_backwards, self.unroll or 1)
        y, states = carry if separate else (carry[0], carry)
        self._keep(states)
        if self.return_sequences:
            y = ops.moveaxis(ops.flip(ys, 0) if self.go_backwards else ys, 0, 1)
        return (y, *states) if self.return_state else y

    # -- states

    @property
    def _variables(self) -> list[Variable]:
        return list(found_in(self.states or [], Variable))

    def _start(self, batch: int, dtype: str, given: Any) -> list[Any]:
        """Return the states before the first step."""
        if given is None and self.stateful and self.states is not None:
            expected = self._variables[0].shape[0]
            if batch == expected:
                given = replaced(
                    lambda v: convert(v) if isinstance(v, Variable) else v, self.states
                )
            elif not isinstance(current(), ShapeTrace):
                raise ValueError(
                    f"{self.name} is stateful: batches of {expected} sequences are expected, as "
                    f"in the shape that it was built for; got {batch}. Pass batch_size={expected}, "
                    f"and a multiple of it."
                )
        if given is None:
            return cells.first_states(self.cell, batch, dtype)
        given = cells.as_list(given)
        if len(given) != len(self.state_size):
            raise ValueError(
                f"{self.name}: initial_state must hold {len(self.state_size)} states, of the sizes "
                f"{self.state_size}; got {len(given)}."
            )
        given = [replaced(lambda x: convert(x, dtype), entry) for entry in given]
        if cells.is_built_in(self.cell):
            for k, (state, size) in enumerate(zip(given, self.state_size, strict=True)):
                if state.shape[1:] != tuple(listed(size)):
                    raise ValueError(
                        f"{self.name}: initial_state[{k}] must have the shape "
                        f"{(batch, *listed(size))}; got {tuple(state.shape)}."
                    )
        return given

    def _keep(self, states: Any) -> None:
        """Assign the states after the last step, if it is stateful."""
        if not self.stateful or self.states is None:
            return
        made = list(found_in(states, Tensor))
        if self._variables[0].shape[0] == made[0].shape[0]:
            for variable, state in zip(self._variables, made, strict=True):
                variable.assign(state)

    def _fix_batch(self, shape: Shape) -> None:
        """Create the states of a stateful layer for batches of this shape."""
        if not self.stateful or self.states is not None:
            return
        if shape[0] is None:
            raise ValueError(
                f"{self.name} is stateful, so that the number of sequences of a batch must be "
                f"known: write Input(batch_shape=(batch, steps, features))."
            )
        dtype = self.dtype or next((p.stored_dtype for p in self.weights), None) or "float32"
        ensure_built(self, tuple(shape[1:]))  # the sizes of states may depend on it
        first = cells.first_states(self.cell, shape[0], dtype)
        self.states = replaced(lambda x: Variable(x.numpy(), trainable=False), first)


def _chosen(valid: Tensor, new: Any, before: Any) -> Any:
    """Return the new values of the samples where ``valid`` (batch,) is true, else those before."""
    if isinstance(new, (list, tuple)):
        return [_chosen(valid, a, b) for a, b in zip(new, before, strict=True)]
    return ops.where(ops.expand_dims(valid, tuple(range(1, new.ndim))), new, before)


def _cell_of(name: str, value: Any) -> Any:
    several = isinstance(value, (list, tuple))
    return cells.StackedRNNCells(value) if several else cells.check_cell(name, value)


class RNN(Recurrent):
    """Apply a cell to each step of sequences; it carries states from one step to the next.

    A cell has ``state_size``, an integer or a list of them, possibly ``output_size``, and
    ``call(inputs, states)``, which returns the output of a step and the list of new states. The
    first states are zeros, or what its ``get_initial_state(batch_size)`` returns. The size of a
    state with several axes, such as an image, is a tuple in that list.

    Shapes: x ``(batch, steps, features)`` -> y ``(batch, outputs)``, or with ``return_sequences``
    ``(batch, steps, outputs)``; with ``return_state`` also the states ``(batch, size)``. There may
    be further axes, as of images: x ``(batch, steps, height, width, channels)``.

    Args:
        cell: a cell, or a list of them: each reads the output of the one before it.
        return_sequences: whether to return the outputs of all steps, not only the last.
        return_state: whether to return the states after the last step, after the output.
        go_backwards: whether to start at the last step; the outputs are in that order.
        stateful: whether a batch starts with the states after the last batch, until `reset_state`.
        unroll: accepted as in Keras.
        zero_output_for_mask: whether outputs of masked steps are 0, not the outputs of the step
            before.

    Raises:
        ValueError: for a cell without these, and if the layer is stateful and the batch size is not
            known or differs.

    >>> import gpunn
    >>> from gpunn import ops
    >>> class _Sum(gpunn.layers.Layer):
    ...     state_size = 1
    ...     def call(self, inputs, states):
    ...         total = states[0] + ops.sum(inputs, -1, keepdims=True)
    ...         return total, [total]
    >>> RNN(_Sum(), return_sequences=True)([[[1.0], [2.0], [3.0]]]).tolist()
    [[[1.0], [3.0], [6.0]]]
    """

    examples: ClassVar[Any] = (
        {"cell": {"class_name": "LSTMCell", "config": {"units": 3, "name": "cell"}}},
        {
            "cell": {"class_name": "GRUCell", "config": {"units": 2, "name": "cell"}},
            "return_sequences": True,
        },
    )

    cell: Any = field(check=_cell_of)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        if not isinstance(self.cell, registry.Entry):
            raise ValueError(
                f"{self.name}: the cell {type(self.cell).__name__} cannot be saved: derive it from "
                f"gpunn.layers.Layer."
            )
        return {**super().get_config(), "cell": registry.serialize(self.cell)}
