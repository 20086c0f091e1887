"""Python's operators on tensors, parameters and symbolic tensors, and the methods of arrays: each
is an operation by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The operations by their names. `gpunn.ops` puts them here: what has operators is below it."""

ASSIGNED: list[Callable[[Any, Any], bool]] = []
"""What assigns a value to a parameter, if it is called in a trace. `gpunn.ops` puts it here."""


def _unary(name: str) -> Any:
    return lambda self: FUNCTIONS[name](self)


def _binary(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](self, other)


def _reflected(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](other, self)


def _of_bits(name: str, turned: bool = False) -> Any:
    """``&`` and its kin: of the bits of integers, else of truth values."""

    def function(self: Any, other: Any) -> Any:
        bits = "i" in (_kind(self), _kind(other))  # floats beside them are refused
        a, b = (other, self) if turned else (self, other)
        return FUNCTIONS[f"bitwise_{name}" if bits else f"logical_{name}"](a, b)

    return function


def _kind(x: Any) -> str:
    """``"b"`` for truth values, ``"i"`` for integers; else another letter."""
    if isinstance(x, Operators):
        return str(x.dtype or "float32")[0]  # a parameter has none before it has values
    kind = np.asarray(x).dtype.kind
    return "i" if kind in "uO" else kind  # large integers of Python are objects to NumPy


def _inverted(self: Any) -> Any:
    """``~x``: the other bits of integers, else the other truth values."""
    return FUNCTIONS["bitwise_not" if _kind(self) == "i" else "logical_not"](self)


def _method(name: str, *names: str) -> Any:
    """A method that is an operation, whose arguments behind the tensor have these names."""

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
    method.__doc__ = f"`gpunn.ops.{name}` of it, with {', '.join(names) or 'no argument'}."
    return method


NUMPYS = {"out", "dtype", "order", "kind", "ddof", "mode", "where"}
"""Arguments by which NumPy's functions call the methods of what they are given: ``np.sum(x)``
calls ``x.sum(axis=None, out=None)``. They give arrays, as of all that is no array of NumPy."""


class Operators:
    """What can be calculated with: ``-x``, ``x + 1``, ``2 / x``, ``x @ w``, ``x[:, 0]``, ``x > 0``,
    and by the methods that arrays have, ``x.mean(axis=0)``. ``x & y`` is of the bits of integers,
    of others whether both hold.

    ``==`` stays Python's, which tells objects apart; a class that means values says so.
    """

    shape: Any
    dtype: Any

    def __dlpack__(self, **options: Any) -> Any:
        """A copy of the numbers for another library: ``torch.from_dlpack(x)``."""
        return np.array(self).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where the copy lies: on the host."""
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
        """`gpunn.ops.cast` of it."""
        return FUNCTIONS["cast"](self, dtype)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """`gpunn.ops.reshape` of it: ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
        if order != "C":
            raise ValueError(f"order must be 'C': row after row; got {order!r}.")
        return FUNCTIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """`gpunn.ops.transpose` of it: ``x.transpose(1, 0)`` or ``x.transpose((1, 0))``."""
        return FUNCTIONS["transpose"](self, (axes[0] if len(axes) == 1 else axes) or None)

    def clip(self, min: Any = None, max: Any = None, **numpys: Any) -> Any:
        """`gpunn.ops.clip` of it, by one bound or both."""
        if numpys:
            return np.asarray(self).clip(min, max, **numpys)
        x = self if min is None else FUNCTIONS["maximum"](self, min)
        return x if max is None else FUNCTIONS["minimum"](x, max)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("what has no axes has no rows to go through.")
        return (self[row] for row in range(self.shape[0]))

    @property
    def T(self) -> Any:
        """With its axes turned round."""
        return FUNCTIONS["transpose"](self)

    def item(self) -> Any:
        """Its one number, of Python."""
        return np.asarray(self).item()

    def tolist(self) -> Any:
        """Its numbers, in nested lists."""
        return np.asarray(self).tolist()
