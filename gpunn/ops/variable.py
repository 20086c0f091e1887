"""Variables: arrays that custom layers and functions keep from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.config import floatx
from gpunn.core.arena import Parameter
from gpunn.core.operators import ASSIGNED, FUNCTIONS, Operators

from .conversion import convert, held_by
from .dtypes import MOST, floating, named, standard
from .places.checks import checked
from .tensor import Tensor, constant
from .trace import current


class Variable(Operators):
    """An array that can be assigned to.

    A layer's call, a loss and so on read its current value in each step, so a callback may assign
    to it. Assignments in a trace run in each step, in the order in which they were written; later
    reads get the new value. A variable that is an attribute of a layer becomes a weight of the
    layer and is saved with it.

    Args:
        initializer: the first value: numbers, a function of a shape and a dtype, or the name of
            an initializer.
        shape: used if the initializer is a function or a name.
        dtype: floatx by default.
        trainable: accepted as in Keras; only layers' weights have gradients.
        name: used in messages.
        initial_value: TensorFlow's name for the first argument.

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
        *,
        initial_value: Any = None,
    ) -> None:
        self.declared = named(dtype)  # assigned values are converted to this dtype
        dtype = standard(dtype)
        if initial_value is not None:
            initializer = initial_value
        if isinstance(initializer, str):
            initializer = registry.get("initializer", initializer)
        if callable(initializer):
            initializer = initializer(tuple(shape or ()), floating(dtype))
        first = convert(initializer, self.declared).numpy()
        if shape is not None and first.shape != tuple(shape):
            first = np.broadcast_to(first, tuple(shape)).copy()
        self.first = first  # restored by `reset`
        self.own_name, self.trainable = name, trainable
        self.name = name or "variable"
        self._value = constant(first, dtype)
        self._arrays: list[tuple[Any, Array]] = []  # its arrays in steps, by backend

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
        """Return the value as a tensor; in a trace, the value in that step."""
        return held_by(self)

    def array_on(self, backend: Backend) -> Array:
        """Return the array that steps on a backend read and assign."""
        for known, array in self._arrays:
            if known is backend.root:
                return array
        array = backend.upload(self.numpy()).reshape(self.shape)
        self._arrays.append((backend.root, array))
        return array

    def numpy(self) -> np.ndarray:
        """Return a copy of the value; after steps, from the backend that was added last."""
        if self._arrays:
            backend, array = self._arrays[-1]
            return backend.read(array)
        return self._value.numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_value": constant(self.numpy(), self.dtype), "_arrays": []}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy().astype(dtype or self.dtype, copy=False)

    def __float__(self) -> float:
        return float(self.numpy())

    def assign(self, value: Any) -> Tensor:
        """Set the value, which must have the variable's shape.

        Raises:
            ValueError: for another shape.
        """
        value = convert(value, self.declared)
        if value.shape != self.shape:
            raise ValueError(
                f"{self.name} has the shape {self.shape}; got a value of shape {value.shape}."
            )
        if not assign_in_trace(self, value):
            self.write(value.numpy())
        return value

    def write(self, numbers: np.ndarray) -> None:
        self._value = constant(numbers, self.dtype)
        for backend, array in self._arrays:
            backend.write(array, self._value.numpy())

    def assign_add(self, value: Any) -> Tensor:
        """Add ``value`` to the variable."""
        return self.assign(self.as_tensor() + convert(value, self.dtype))

    def assign_sub(self, value: Any) -> Tensor:
        """Subtract ``value`` from the variable."""
        return self.assign(self.as_tensor() - convert(value, self.dtype))

    def __getitem__(self, key: Any) -> Tensor:
        """Return a part, as of a tensor. ``v[0].assign(x)`` assigns to this part."""
        part: Tensor = FUNCTIONS["get_item"](self, key)
        part.part_of = self, key
        return part

    def assign_part(self, key: Any, value: Any) -> Tensor:
        """Set the elements ``self[key]`` to a value that broadcasts to them; return all."""
        places = np.arange(self._value.size).reshape(self.shape)[key]
        value = FUNCTIONS["broadcast_to"](convert(value, self.dtype), places.shape)
        flat = FUNCTIONS["scatter_update"](
            FUNCTIONS["reshape"](self, (-1,)), places.reshape(-1, 1), value.reshape(-1)
        )
        return self.assign(flat.reshape(self.shape))

    def reset(self) -> None:
        """Restore the first value."""
        self.write(self.first)

    def __repr__(self) -> str:
        return f"<Variable {self.name} {constant(self.numpy(), self.dtype)!r}>"


def assign_in_trace(source: Any, value: Any) -> bool:
    """Assign ``value`` to a parameter or variable if a trace is active; return whether it was.

    Raises:
        ValueError: for another shape.
    """
    trace = current()
    if trace is None:
        return False
    if isinstance(source, Parameter) and source.integers is not None:
        value = _integers_of(source, value)
    value = convert(value, source.dtype)
    if isinstance(source, Parameter):
        source.check(value)
    trace.assign(source, value)
    return True


def _integers_of(source: Parameter, value: Any) -> Tensor:
    """Convert a value for a parameter of integers stored as floats; each step checks its range, as
    floats do not hold all integers."""
    most = MOST if source.dtype == "float64" else 2**24
    what = f"{source.path}, declared with dtype={source.integers!r} and stored as floats,"
    whole = convert(convert(value, source.integers), "int32")
    return convert(checked(whole, -most, most, what, OverflowError), source.dtype or floatx())


ASSIGNED.append(assign_in_trace)
