"""An activation on arrays: its formula as calls in place, or traced, as a function of a user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.ops.fusion.calls import GLOBALS, calls
from gpunn.ops.fusion.formulas import Formula, Recorder
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
        TypeError: if they do more than work on single numbers.
    """
    cls = type(activation)
    recorder = Recorder(dtype)
    part = read_by(activation, recorder)
    x = recorder.array("x")
    forward = recorder.record(cls.call, lambda y: {"y": y}, part, x, names=names)
    recorder = Recorder(dtype)
    part = read_by(activation, recorder)
    given = recorder.array(SAVED[activation.saves]), recorder.array("dy")
    gradient = recorder.record(cls.gradient, lambda dx: {"dx": dx}, part, *given, names=names)
    return forward, gradient


class InPlace:
    """An activation as calls of array functions, like ``xp.multiply(x, gate, out=out)``.

    Attributes:
        seen: as long as this is `gpunn.common.registry.last_change`, it is what the activation
            computes.
    """

    def __init__(self, activation: Any) -> None:
        self.seen = registry.last_change  # before it is looked
        self._activation = activation
        self._state = _state(activation)
        self._made: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}

    def is_of(self, activation: Any) -> bool:
        """Whether it still is what the activation computes."""
        if self.seen == registry.last_change:
            return True
        now = registry.last_change
        if activation is not self._activation or self._state != _state(activation):
            return False
        self.seen = now
        return True

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        self._functions(x.dtype.name)[0](backend, x, out)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        self._functions(dy.dtype.name)[1](backend, saved, dy, out)

    def _functions(self, dtype: str) -> tuple[Callable[..., None], Callable[..., None]]:
        found = self._made.get(dtype)
        if found is None:
            forward, gradient = recorded(self._activation, dtype)
            saved = SAVED[self._activation.saves]
            found = self._made[dtype] = (
                _function(forward, ("x",), {"y": "x"}),
                _function(gradient, (saved, "dy"), {"dx": "dy"}),
            )
        return found


def _state(activation: Any) -> dict[str, Any]:
    return dict(activation._watched())


def _function(formula: Formula, given: tuple[str, ...], over: dict[str, str]) -> Any:
    """A function of a backend, the arrays ``given`` and ``out``."""

    def array(name: str) -> str:
        return "out" if name in over else name

    arguments = ", ".join(["backend", *given, "out"])
    lines = [f"def function({arguments}):", "xp = backend.xp"]
    lines += calls(formula, array, str, like="out", over=over)
    space: dict[str, Any] = dict(GLOBALS)
    exec("\n    ".join(lines), space)
    function = space["function"]
    if any(line.function == "sigmoid" for line in formula.lines):
        return np.errstate(over="ignore")(function)  # exp(-x) may be infinite, 1 / that is 0
    return function


class Traced:
    """An activation of a user's: a function of tensors, traced once for the arrays it meets."""

    def __init__(self, activation: Any) -> None:
        what = f"The activation {activation.__name__!r}"
        self._call = ArrayFunction(activation.call, what, activation)
        self._gradient = ArrayFunction(activation.gradient, what, activation)

    def is_of(self, activation: Any) -> bool:
        return True

    def forward(self, backend: Backend, x: Array, out: Array) -> None:
        self._call.forward(backend, [x], out)

    def backward(self, backend: Backend, saved: Array, dy: Array, out: Array) -> None:
        self._gradient.forward(backend, [saved, dy], out)
