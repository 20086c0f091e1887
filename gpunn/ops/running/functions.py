"""A function of tensors, applied to arrays of a backend in each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.device import place_of
from gpunn.core.settings import traced_call
from gpunn.ops.conversion import convert
from gpunn.ops.gradients import gradients
from gpunn.ops.shapes import broadcast_to
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Mode, Trace

from .computation import Destination
from .eager import Stages, stages_of, trace_for


class ArrayFunction:
    """A user-defined function instead of a formula: traced once for the arrays it is called with.

    It takes tensors and returns one; ``part`` is its owner. Weights that it reads get no gradient
    from it, so one that ``adds_loss`` may read none that are trained.
    """

    def __init__(
        self, function: Callable[..., Any], what: str, part: Any, adds_loss: bool = True
    ) -> None:
        self._function, self._what, self._part = function, what, part
        self._adds_loss = adds_loss

    def forward(self, backend: Backend, arrays: Sequence[Array], out: Array) -> None:
        """out = f(arrays)."""

        def made() -> Stages:
            trace, _, y = self.traced(backend, arrays)
            with trace.active():
                y = self._fitting(y, out.shape, out.dtype.name)
            return stages_of(trace, backend, [[Destination(y, out)]])

        backend.kept(("forward", self, places(*arrays, out)), made).run(0)

    def gradient(self, backend: Backend, arrays: Sequence[Array], dy: Array, out: Array) -> None:
        """out = the gradient of sum(dy * f(arrays)) with respect to the first array."""

        def made() -> Stages:
            trace, leaves, y = self.traced(backend, arrays)
            seed = trace.placeholder(dy)
            with trace.active():
                y = self._fitting(y, dy.shape, seed.dtype)
                (found,) = gradients([y], leaves[:1], [seed])
            return stages_of(trace, backend, [[Destination(or_zero(found, out), out)]])

        backend.kept(("gradient", self, places(*arrays, dy, out)), made).run(0)

    def with_gradient(
        self, backend: Backend, arrays: Sequence[Array], values: Array, out: Array | None
    ) -> None:
        """values = f(arrays), and out = the gradient of sum(values) with respect to the first
        array.

        A result with fewer axes than ``values`` is broadcast to its entries.
        """

        def made() -> Stages:
            trace, leaves, y = self.traced(backend, arrays)
            with trace.active():
                y = convert(y, values.dtype.name)
                y = y if y.ndim else broadcast_to(y, values.shape)  # one per batch
                y = self._fitting(y, values.shape, values.dtype.name)
                targets = [Destination(y, values)]
                if out is not None:
                    (found,) = gradients([y], leaves[:1])
                    targets.append(Destination(or_zero(found, out), out))
            return stages_of(trace, backend, [targets])

        key = "with gradient", self, places(*arrays, values), out is not None and places(out)
        backend.kept(key, made).run(0)

    def traced(
        self, backend: Backend, arrays: Sequence[Array]
    ) -> tuple[Trace, list[Tensor], Tensor]:
        """Trace the function for these arrays: return the trace, the tensors and the result."""
        trace = trace_for(backend, Mode.function(training=True))
        leaves = list(map(trace.placeholder, arrays))
        with trace.active():
            y = traced_call(self._part, self._what, lambda: self._function(*leaves))
            y = of_tensors(y, self._what)
        if trained := [p for p in trace.parameters if p.trained and self._adds_loss]:
            names = ", ".join(p.path for p in trained)
            raise ValueError(
                f"{self._what} reads weights of a layer ({names}), which would get no gradient "
                f"from it. Read them in a layer's call, and add their loss with add_loss; or make "
                f"a variable that is not trained, gpunn.Variable(x, trainable=False)."
            )
        trace.follow_parameters(backend)
        return trace, leaves, y

    def _fitting(self, y: Tensor, shape: Sequence[int], dtype: str) -> Tensor:
        if y.shape != tuple(shape):
            raise ValueError(f"{self._what} gives the shape {y.shape}; expected {tuple(shape)}.")
        return convert(y, dtype)


def of_tensors(y: Any, what: str) -> Tensor:
    """Convert the result of a function, which in an eager step may wrongly be a NumPy array."""
    if isinstance(y, (np.ndarray, np.generic)):
        raise TypeError(
            f"{what} returns the result of a NumPy function, whose gradient is not known: "
            f"compute with gpunn.ops instead of numpy."
        )
    return convert(y)


def or_zero(found: Tensor | None, out: Array) -> Tensor:
    """Return the gradient, or 0 if there is none."""
    return constant(0.0, out.dtype.name) if found is None else found


def places(*arrays: Array) -> tuple[Any, ...]:
    """Return the places of arrays, as a key for a bound computation."""
    return tuple(map(place_of, arrays))
