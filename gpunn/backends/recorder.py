"""What one step runs: the launch list, with the shapes, bytes and flops of each operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """One operation of a recorded step.

    Attributes:
        operation: name of the contract method.
        formula: name of the activation, loss, metric or optimizer it applied, or "".
        shapes: shapes of the arrays it was given, by argument name.
        bytes: size of these arrays together, an upper bound on its traffic.
        flops: 2mnk for a product, one a written element otherwise.
    """

    operation: str
    formula: str
    shapes: dict[str, tuple[int, ...]]
    bytes: int
    flops: int


def describe(name: str, method: Callable[..., None], args: tuple, kwargs: dict) -> Launch:
    """The `Launch` of one call of an operation."""
    bound = inspect.signature(method).bind(*args, **kwargs).arguments
    arrays = {key: value for key, value in bound.items() if hasattr(value, "nbytes")}
    formula = next(
        (type(v).__name__ for k, v in bound.items() if k in _FORMULAS and v is not None), ""
    )
    arena = bound.get("arena")
    if arena is not None:
        arrays = {"values": arena.values, "gradients": arena.gradients, **arena.slots}
    shapes = {key: tuple(value.shape) for key, value in arrays.items()}
    if name == "matmul":
        m, n = shapes["out"]
        k = shapes["a"][0 if bound.get("transpose_a") else 1]
        flops = 2 * m * n * k
    else:
        flops = max((int(value.size) for value in arrays.values()), default=0)
    return Launch(name, formula, shapes, sum(int(a.nbytes) for a in arrays.values()), flops)


_FORMULAS = ("activation", "loss", "metric", "optimizer")
