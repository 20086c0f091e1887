"""What one step runs: the launch list, with the shapes, bytes and flops of each operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Arrays = dict[str, Any]
Touched = Callable[[dict[str, Any]], Arrays]
Method = TypeVar("Method", bound=Callable[..., None])


@dataclass(frozen=True)
class Launch:
    """One operation of a recorded step.

    Attributes:
        operation: name of the contract method.
        formula: name of the activation, loss, metric or optimizer it applied, or "".
        shapes: shapes of the arrays it touches, by argument name; of an array of which it
            reads some rows, that of these rows.
        bytes: size of these arrays together, an upper bound on its traffic.
        flops: 2mnk for a product, one for each element of the largest array otherwise.
        kernels: how many kernels of ``kernels/`` and products it launched on a card; 0 on
            NumPy, and for a formula that has no kernel but array functions.
    """

    operation: str
    formula: str
    shapes: dict[str, tuple[int, ...]]
    bytes: int
    flops: int
    kernels: int


def touching(touched: Touched) -> Callable[[Method], Method]:
    """Mark an operation that touches other arrays than all of those it is given.

    ``touched(arguments)`` gives them by name, a part of one as a view.
    """

    def mark(method: Method) -> Method:
        method.touched = touched  # type: ignore[attr-defined]
        return method

    return mark


def _given(arguments: dict[str, Any]) -> Arrays:
    return {key: value for key, value in arguments.items() if hasattr(value, "nbytes")}


def describe(method: Callable[..., None], args: tuple, kwargs: dict, kernels: int) -> Launch:
    """The `Launch` of one call of an operation, ``method`` being the contract's."""
    bound = inspect.signature(method).bind(None, *args, **kwargs).arguments
    arrays = getattr(method, "touched", _given)(bound)
    formula = next(
        (type(v).__name__ for k, v in bound.items() if k in _FORMULAS and v is not None), ""
    )
    shapes = {key: tuple(value.shape) for key, value in arrays.items()}
    if method.__name__ == "matmul":
        m, n = shapes["out"]
        k = shapes["a"][0 if bound.get("transpose_a") else 1]
        flops = 2 * m * n * k
    else:
        flops = max((int(value.size) for value in arrays.values()), default=0)
    size = sum(int(a.nbytes) for a in arrays.values())
    return Launch(method.__name__, formula, shapes, size, flops, kernels)


_FORMULAS = ("activation", "loss", "metric", "optimizer")
