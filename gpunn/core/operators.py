"""Python's operators on tensors, parameters and symbolic tensors: each is an operation by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The operations by their names. `gpunn.ops` puts them here: what has operators is below it."""


def _unary(name: str) -> Any:
    return lambda self: FUNCTIONS[name](self)


def _binary(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](self, other)


def _reflected(name: str) -> Any:
    return lambda self, other: FUNCTIONS[name](other, self)


class Operators:
    """What can be calculated with: ``-x``, ``x + 1``, ``2 / x``, ``x @ w``, ``x[:, 0]``, ``x > 0``.

    ``==`` stays Python's, which tells objects apart; a class that means values says so.
    """

    __array_priority__ = 1000  # so that NumPy's arrays leave ``array * x`` to ``x``

    __neg__, __abs__, __invert__ = _unary("negative"), _unary("abs"), _unary("logical_not")
    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("mod"), _reflected("mod")
    __pow__, __rpow__ = _binary("power"), _reflected("power")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __and__, __rand__ = _binary("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _binary("logical_or"), _reflected("logical_or")
    __xor__, __rxor__ = _binary("logical_xor"), _reflected("logical_xor")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __getitem__ = _binary("get_item")
