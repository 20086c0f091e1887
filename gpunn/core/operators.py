"""Python's operators on tensors, parameters and symbolic tensors, and the methods of arrays. Each
calls an operation by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The operations by name. `gpunn.ops` registers them here, since it depends on this module."""

ASSIGNED: list[Callable[[Any, Any], bool]] = []
"""Functions that assign a value to a parameter during a trace. `gpunn.ops` registers them here."""


def _unary(name: str) -> Any:
    return lambda self: FUNCTIONS[name](self)


def _binary(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](self, other)


def _reflected(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](other, self)


def _of_bits(name: str, turned: bool = False) -> Any:
    """``&`` and similar operators: bitwise for integers, else logical."""

    def function(self: Any, other: Any) -> Any:
        bits = "i" in (_kind(self), _kind(other))  # then floats raise an error
        a, b = (other, self) if turned else (self, other)
        return FUNCTIONS[f"bitwise_{name}" if bits else f"logical_{name}"](a, b)

    return function


def _kind(x: Any) -> str:
    """Return ``"b"`` for booleans, ``"i"`` for integers; else another letter."""
    if isinstance(x, Operators):
        return str(x.dtype or "float32")[0]  # a parameter without values has no dtype
    kind = np.asarray(x).dtype.kind
    return "i" if kind in "uO" else kind  # NumPy holds large Python integers as objects


def _inverted(self: Any) -> Any:
    """``~x``: bitwise for integers, else logical."""
    return FUNCTIONS["bitwise_not" if _kind(self) == "i" else "logical_not"](self)


def _method(name: str, *names: str) -> Any:
    """Return a method that calls an operation; its arguments after the tensor have these names."""

    def method(self: Any, *given: Any, **options: Any) -> Any:
        if NUMPYS & options.keys():
            return getattr(np.asarray(self), name)(*given, **options)
        unknown = options.keys() - set(names)
        if unknown or len(given) > len(names):
            raise TypeError(
                f"{name}() takes the arguments ({', '.join(names)}); got "
                f"{', '.join(sorted(unknown)) or f'{len(given)} of them'}."
            )
        return FUNCTIONS[name](self, *given, **options)

    method.__name__ = name
    method.__doc__ = f"Call `gpunn.ops.{name}` on it, with {', '.join(names) or 'no argument'}."
    return method


NUMPYS = {"out", "dtype", "order", "kind", "ddof", "mode", "where"}
"""Arguments with which NumPy's functions call methods of their arguments: ``np.sum(x)``
calls ``x.sum(axis=None, out=None)``. The results are NumPy arrays."""


class Operators:
    """Base class of objects with operators: ``-x``, ``x + 1``, ``2 / x``, ``x @ w``, ``x[:, 0]``,
    ``x > 0``, and with the methods of arrays, ``x.mean(axis=0)``. ``x & y`` is bitwise for
    integers, else logical.

    ``==`` is Python's comparison of identities; a class that compares values overrides it.
    """

    shape: Any
    dtype: Any

    def __dlpack__(self, **options: Any) -> Any:
        """Return a copy of the values for another library: ``torch.from_dlpack(x)``."""
        return np.array(self).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device of the copy: the host."""
        return np.empty(0).__dlpack_device__()

    __array_priority__ = 1000  # so that NumPy's arrays leave ``array * x`` to ``x``

    __neg__, __abs__, __invert__ = _unary("negative"), _unary("abs"), _inverted
    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("mod"), _reflected("mod")
    __pow__, __rpow__ = _binary("power"), _reflected("power")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __and__, __rand__ = _of_bits("and"), _of_bits("and", True)
    __or__, __ror__ = _of_bits("or"), _of_bits("or", True)
    __xor__, __rxor__ = _of_bits("xor"), _of_bits("xor", True)
    __lshift__, __rlshift__ = _binary("left_shift"), _reflected("left_shift")
    __rshift__, __rrshift__ = _binary("right_shift"), _reflected("right_shift")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __getitem__ = _binary("get_item")

    # -- methods of arrays, with NumPy's arguments

    sum, mean = _method("sum", "axis", "keepdims"), _method("mean", "axis", "keepdims")
    max, min = _method("max", "axis", "keepdims"), _method("min", "axis", "keepdims")
    prod = _method("prod", "axis", "keepdims")
    std, var = _method("std", "axis", "keepdims"), _method("var", "axis", "keepdims")
    any, all = _method("any", "axis", "keepdims"), _method("all", "axis", "keepdims")
    argmax, argmin = _method("argmax", "axis", "keepdims"), _method("argmin", "axis", "keepdims")
    argsort, cumsum = _method("argsort", "axis"), _method("cumsum", "axis")
    cumprod, round = _method("cumprod", "axis"), _method("round", "decimals")
    ravel, flatten = _method("ravel"), _method("ravel")
    squeeze, swapaxes = _method("squeeze", "axis"), _method("swapaxes", "axis1", "axis2")
    repeat, dot = _method("repeat", "repeats", "axis"), _method("dot", "b")
    take, diagonal = _method("take", "indices", "axis"), _method("diagonal", "offset")
    __round__ = _method("round", "decimals")

    def astype(self, dtype: Any) -> Any:
        """Call `gpunn.ops.cast` on it."""
        return FUNCTIONS["cast"](self, dtype)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """Call `gpunn.ops.reshape` on it: ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
        if order != "C":
            raise ValueError(f"order must be 'C' (row-major); got {order!r}.")
        return FUNCTIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """Call `gpunn.ops.transpose` on it: ``x.transpose(1, 0)`` or ``x.transpose((1, 0))``."""
        return FUNCTIONS["transpose"](self, (axes[0] if len(axes) == 1 else axes) or None)

    def clip(self, min: Any = None, max: Any = None, **numpys: Any) -> Any:
        """Call `gpunn.ops.clip` on it, with one bound or both."""
        if numpys:
            return np.asarray(self).clip(min, max, **numpys)
        x = self if min is None else FUNCTIONS["maximum"](self, min)
        return x if max is None else FUNCTIONS["minimum"](x, max)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("cannot iterate over a tensor that has no axes.")
        return (self[row] for row in range(self.shape[0]))

    @property
    def T(self) -> Any:
        """The transpose, with its axes reversed."""
        return FUNCTIONS["transpose"](self)

    def item(self) -> Any:
        """Return its single value as a Python number."""
        return np.asarray(self).item()

    def tolist(self) -> Any:
        """Return its values as nested lists."""
        return np.asarray(self).tolist()
