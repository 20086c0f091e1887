"""An activation on arrays: its formula as in-place calls, or traced like a custom function."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.fusion.formulas import recorded
from gpunn.ops.fusion.in_place import Function, InPlace, function
from gpunn.ops.running.functions import ArrayFunction

SAVED = {"input": "x", "output": "y"}
"""The name of the array that a gradient reads, by `Activation.saves`."""


def passes(activation: Any, dtype: str) -> tuple[Function, Function]:
    """Return `call` as ``(backend, x, out)``, `gradient` as ``(backend, saved, dy, out)``."""
    saved, rows = SAVED[activation.saves], activation.rowwise
    forward = recorded(activation, "call", ["x"], rows=rows, dtype=dtype)
    gradient = recorded(activation, "gradient", [saved, "dy"], rows=rows, dtype=dtype)
    return (
        function(forward, ["x"], {"call": "out"}, over={"call": "x"}),
        function(gradient, [saved, "dy"], {"gradient": "out"}, over={"gradient": "dy"}),
    )


class Traced(InPlace):
    """Both passes of a custom activation, as functions of tensors, traced once for their arrays."""

    def __init__(self, activation: Any) -> None:
        what = f"The activation {activation.__name__!r}"
        self._call = ArrayFunction(activation.call, what, activation)
        self._gradient = ArrayFunction(activation.gradient, what, activation)

    def is_of(self, part: Any) -> bool:
        return True

    def of(self, dtype: str) -> tuple[Function, Function]:
        return self._forward, self._backward

    def _forward(self, backend: Backend, x: Array, out: Array) -> None:
        self._call.forward(backend, [x], out)

    def _backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        self._gradient.forward(backend, [saved, dy], out)
