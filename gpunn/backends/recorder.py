"""What one step runs: the launch list, with the shapes, bytes and flops of each operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

Arrays = dict[str, Any]
Touched = Callable[[dict[str, Any]], Arrays]
Rewritten = Callable[[dict[str, Any]], Collection[str]]
Method = TypeVar("Method", bound=Callable[..., None])


class NotListableError(RuntimeError):
    """A step cannot be called once for all: it does more than ask for operations."""


@dataclass
class Launch:
    """One operation of a recorded step.

    Attributes:
        operation: name of the contract method.
        formula: name of the activation, loss, metric or optimizer it applied, or "".
        shapes: shapes of the arrays it touches, by argument name; of an array of which it
            reads some rows, that of these rows.
        bytes: its traffic, each array read once and written once: the size of these arrays,
            twice that of an array which it reads and writes.
        flops: 2mnk for a product, one for each element of the largest array otherwise.
        kernels: how many launches of kernels of ``kernels/`` and products it begins on a card;
            0 on NumPy, for a formula that has no kernel but array functions, and for an
            operation that rides in the launch of another.
        rides: whether it does.
    """

    operation: str
    formula: str
    shapes: dict[str, tuple[int, ...]]
    bytes: int
    flops: int
    kernels: int = 0
    rides: bool = False


def _given(arguments: dict[str, Any]) -> Arrays:
    return {key: value for key, value in arguments.items() if hasattr(value, "nbytes")}


def _added_to(arguments: dict[str, Any]) -> tuple[str, ...]:
    return ("totals", "state", *(("out",) if arguments.get("accumulate") else ()))


def touching(
    touched: Touched = _given,
    rewritten: Rewritten = _added_to,
    flops: Callable[[dict[str, Any]], int] | None = None,
) -> Callable[[Method], Method]:
    """Mark an operation whose traffic is not: every array given, once.

    Args:
        touched: of the arguments, the arrays touched by name, a part of one as a view.
        rewritten: of the arguments, the names of those that are both read and written;
            without it the sums that are added to, and ``out`` with ``accumulate``.
        flops: of the arguments, how many, where it is not one for each element.
    """

    def mark(method: Method) -> Method:
        method.touched, method.rewritten = touched, rewritten  # type: ignore[attr-defined]
        method.flops = flops  # type: ignore[attr-defined]
        return method

    return mark


def describe(method: Callable[..., None], args: tuple, kwargs: dict) -> Launch:
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
    elif getattr(method, "flops", None):
        flops = method.flops(bound)  # type: ignore[attr-defined]
    else:
        flops = max((int(value.size) for value in arrays.values()), default=0)
    twice = getattr(method, "rewritten", _added_to)(bound)
    size = sum(int(a.nbytes) * (2 if key in twice else 1) for key, a in arrays.items())
    return Launch(method.__name__, formula, shapes, size, flops)


_FORMULAS = ("activation", "loss", "metric", "optimizer", "schedule", "constraint")
