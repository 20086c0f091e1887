"""Variables: arrays that a metric or a layer of a user's keeps from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.core.operators import Operators

from .conversion import convert
from .dtypes import standard
from .tensor import Tensor, constant
from .trace import current


class Variable(Operators):
    """An array that can be assigned to.

    In a trace an assignment is done in each step, in the order in which they were written; what
    reads the variable behind it gets the new value.

    Args:
        initializer: the first value: numbers, a function of a shape and a dtype, or the name of
            an initializer.
        shape: of a variable that is made by a function or a name.
        dtype: floatx by default.
        trainable: accepted as in Keras; gradients are those of layers' weights only.
        name: in messages.

    >>> v = Variable([1.0, 2.0])
    >>> v.assign_add([1.0, 1.0]).tolist(), (v * 2).tolist()
    ([2.0, 3.0], [4.0, 6.0])
    """

    def __init__(
        self,
        initializer: Any = 0.0,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        dtype = standard(dtype)
        if isinstance(initializer, str):
            initializer = registry.get("initializer", initializer)
        if callable(initializer):
            initializer = initializer(tuple(shape or ()), dtype)
        first = convert(initializer, dtype).numpy()
        if shape is not None and first.shape != tuple(shape):
            first = np.broadcast_to(first, tuple(shape)).copy()
        self.first = first  # what `reset` brings back
        self.name, self.trainable = name or "variable", trainable
        self._value = constant(first, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def dtype(self) -> str:
        return self._value.dtype

    @property
    def value(self) -> Tensor:
        return self.as_tensor()

    def as_tensor(self) -> Tensor:
        """What it holds: in a trace, in that step."""
        trace = current()
        return self._value if trace is None else trace.variable(self, self._value)

    def numpy(self) -> np.ndarray:
        return self._value.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._value.__array__(dtype)

    def __float__(self) -> float:
        return float(self._value)

    def assign(self, value: Any) -> Tensor:
        """Let it hold ``value``, of its shape.

        Raises:
            ValueError: for another shape.
        """
        value = convert(value, self.dtype)
        if value.shape != self.shape:
            raise ValueError(
                f"{self.name} has the shape {self.shape}; got a value of shape {value.shape}."
            )
        trace = current()
        if trace is None:
            self._value = constant(value.numpy(), self.dtype)
        else:
            trace.assign(self, self._value, value)
        return value

    def assign_add(self, value: Any) -> Tensor:
        """Add ``value`` to what it holds."""
        return self.assign(self.as_tensor() + convert(value, self.dtype))

    def assign_sub(self, value: Any) -> Tensor:
        """Take ``value`` from what it holds."""
        return self.assign(self.as_tensor() - convert(value, self.dtype))

    def reset(self) -> None:
        """Let it hold its first value."""
        self._value = constant(self.first, self.dtype)

    def __repr__(self) -> str:
        return f"<Variable {self.name} {self._value!r}>"
