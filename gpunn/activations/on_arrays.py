"""An activation on arrays: its formula as in-place calls, or traced like a custom function."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.fusion.formulas import recorded
from gpunn.ops.fusion.in_place import Function, function
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


def traced(activation: Any) -> tuple[Function, Function]:
    """Return the same of a custom activation, as functions of tensors: they are traced once for
    their arrays."""
    what = f"The activation {activation.__name__!r}"
    call = ArrayFunction(activation.call, what, activation)
    gradient = ArrayFunction(activation.gradient, what, activation)

    def forward(backend: Backend, x: Array, out: Array) -> None:
        call.forward(backend, [x], out)

    def backward(backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        gradient.forward(backend, [saved, dy], out)

    return forward, backward
