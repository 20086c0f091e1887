"""An activation on arrays: its formula as calls in place, or traced, as a function of a user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops.fusion.formulas import Formula, Recorder
from gpunn.ops.fusion.in_place import Function, InPlace, function
from gpunn.ops.running.functions import ArrayFunction

SAVED = {"input": "x", "output": "y"}
"""What a gradient calls the array that it reads, by `Activation.saves`."""


def recorded(
    activation: Any,
    dtype: str = "float64",
    read_by: Callable[[Any, Recorder], Any] = lambda activation, recorder: activation,
    names: Mapping[int, str] = MappingProxyType({}),
) -> tuple[Formula, Formula]:
    """What `call` and `gradient` compute: of "x" the output "y"; of "x" or "y", and "dy", "dx".

    Args:
        dtype: of the arrays; a formula may have other constants for another one.
        read_by: what reads attributes; by default they are constants.
        names: see `Recorder.record`.

    Raises:
        TypeError: if they do more than work on single numbers (or rows, where it is `rowwise`).
    """
    cls = type(activation)
    recorder = Recorder(dtype, cls.rowwise)
    part = read_by(activation, recorder)
    x = recorder.array("x")
    forward = recorder.record(cls.call, lambda y: {"y": y}, part, x, names=names)
    recorder = Recorder(dtype, cls.rowwise)
    part = read_by(activation, recorder)
    given = recorder.array(SAVED[activation.saves]), recorder.array("dy")
    gradient = recorder.record(cls.gradient, lambda dx: {"dx": dx}, part, *given, names=names)
    return forward, gradient


def passes(activation: Any, dtype: str) -> tuple[Function, Function]:
    """`call` as ``(backend, x, out)``, `gradient` as ``(backend, saved, dy, out)``."""
    forward, gradient = recorded(activation, dtype)
    saved = SAVED[activation.saves]
    return (
        function(forward, ["x"], {"y": "out"}, over={"y": "x"}),
        function(gradient, [saved, "dy"], {"dx": "out"}, over={"dx": "dy"}),
    )


class Traced(InPlace):
    """Both of a user's: functions of tensors, traced once for the arrays that they meet."""

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
