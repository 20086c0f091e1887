"""Primitives: what every operation is made of, each declared once.

A primitive says which shape and dtype its result has, how a backend computes it (array functions
with ``out=``, or operations of the contract), and its derivative in other primitives::

    add = elementwise("add", gradient=lambda dy, y, a, b: (dy, dy))

Applied to tensors with numbers it computes at once. Applied to one without, inside a trace, it
gives a tensor that knows what it is made from, and `gpunn.ops.running` computes all of them in each
step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array

from .conversion import convert
from .tensor import Shape, Tensor
from .trace import current

Gradients = Sequence["Tensor | None"]
Work = Callable[[], None]


class Primitive:
    """An operation on tensors.

    Args:
        name: in messages.
        compute: ``compute(backend, out, *arrays, **attributes)`` writes ``out``. It uses
            ``backend.xp`` with ``out=`` and operations of the contract only.
        shape: of the result, from the shapes of the inputs and the attributes.
        dtype: of the result, from the dtypes of the inputs and the attributes.
        gradient: ``gradient(dy, y, *inputs, **attributes)`` gives the gradient of each input, or
            None where there is none. None: of no input.
        view: whether the result is its first input's memory under another shape: then
            ``compute(array, **attributes)`` gives it.
        lowering: how an expression computes it, one of `gpunn.ops.fusion.rules.RULES`; "" if none
            does.
    """

    eager = True
    """False of one that waits for the step even where all numbers are known."""
    writes = False
    """True of one that writes, or adds to, more than its result."""
    acts = False
    """True of a view that does something in each step, too."""

    def __init__(
        self,
        name: str,
        compute: Callable[..., Any],
        shape: Callable[..., Shape],
        dtype: Callable[..., str] = lambda *dtypes, **attributes: dtypes[0],
        gradient: Callable[..., Gradients] | None = None,
        view: bool = False,
        lowering: str = "",
    ) -> None:
        self.name, self.compute, self.gradient, self.view = name, compute, gradient, view
        self.lowering = lowering
        self._shape, self._dtype = shape, dtype

    def __call__(self, *inputs: Any, **attributes: Any) -> Tensor:
        tensors = [convert(x) for x in inputs]
        shapes = [t.shape for t in tensors]
        try:
            shape = tuple(self._shape(*shapes, **attributes))
        except ValueError as error:
            raise ValueError(self._complaint(shapes, error)) from None
        dtype = self._dtype(*[t.dtype for t in tensors], **attributes)
        if not self.eager or not all(t.is_constant for t in tensors) or not tensors:
            made = Tensor(shape, dtype, None, self, tensors, attributes)
            trace = current()
            return made if trace is None else trace.made(made)
        return Tensor(shape, dtype, self._now(shape, dtype, tensors, attributes))

    def _now(
        self, shape: Shape, dtype: str, inputs: list[Tensor], attributes: dict[str, Any]
    ) -> np.ndarray:
        arrays = [t.value for t in inputs]
        if self.view:
            return self.compute(arrays[0], **attributes)
        out = np.empty(shape, dtype)
        with np.errstate(all="ignore"):  # what overflows becomes infinite, as in a step
            # Of its own, so that work arrays of such a size do not stay.
            self.compute(get_backend("numpy").isolated(), out, *arrays, **attributes)
        return out

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        """What computes ``y`` into ``out`` in each step."""
        return partial(self.compute, computation.backend, out, *arrays, **y.attributes)

    def _complaint(self, shapes: list[Shape], error: ValueError) -> str:
        where = place_in_user_code()
        got = " and ".join(map(str, shapes))
        return f"{self.name}: {error} Got the shapes {got}{where}."

    def __repr__(self) -> str:
        return f"<Primitive {self.name}>"


def unknown_derivative(name: Callable[..., str]) -> Callable[..., Gradients]:
    """The gradient of a primitive that has none, where the result would be wrong without one.

    Args:
        name: of what stands for it in messages, from its attributes.
    """

    def gradient(*tensors: Tensor, **attributes: Any) -> Gradients:
        raise ValueError(
            f"{name(**attributes)}: its second derivative is not known; write it with gpunn.ops."
        )

    return gradient


def place_in_user_code() -> str:
    """``", at FILE line N"``: the innermost line that is not the framework's; "" if none is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] != "gpunn":
            return f", at {frame.f_code.co_filename} line {frame.f_lineno}"
        frame = frame.f_back
    return ""


def broadcast_shape(*shapes: Shape, **attributes: Any) -> Shape:
    """Of what NumPy makes of these.

    >>> broadcast_shape((3, 1), (4,))
    (3, 4)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError("these cannot be broadcast together.") from None
