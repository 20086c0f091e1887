"""Primitives: the building blocks of all operations, each declared once.

A primitive declares the shape and dtype of its result, how a backend computes it (array functions
with ``out=``, or operations of the contract), and its derivative in terms of other primitives, as
one of `gpunn.ops.gradient_rules`::

    add = Primitive("add", compute, broadcast_shape, gradient="add")

Applied to tensors with values, it computes immediately. Inside a trace, where there are none, it
returns a tensor that records its inputs; `gpunn.ops.running` computes all of them in each step.
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
from gpunn.core.recording import active

from .conversion import convert
from .tensor import Shape, Tensor
from .trace import current

Gradients = Sequence["Tensor | Callable[[], Tensor | None] | None"]
Work = Callable[[], None]


class Primitive:
    """An operation on tensors.

    Args:
        name: used in messages.
        compute: ``compute(backend, out, *arrays, **attributes)`` writes ``out``. It uses only
            ``backend.xp`` with ``out=`` and operations of the contract. None for one whose `bind`
            does it, or that others read only.
        shape: of the result, from the shapes of the inputs and the attributes.
        dtype: of the result, from the dtypes of the inputs and the attributes; by default the first
            input's.
        gradient: the name of its rule in `gpunn.ops.gradient_rules`, or the rule itself:
            ``gradient(dy, y, *inputs, **attributes)`` returns the gradient of each input, or None
            for an input without one; or a function that returns it, called if it is needed. None
            means that no input has a gradient.
        view: whether the result is its first input's memory with another shape: then
            ``compute(array, **attributes)`` returns it.
        lowering: how an expression computes it, one of `gpunn.ops.fusion.rules.RULES`; "" if none
            can.
    """

    eager = True
    """False if it is deferred to the step even where all values are known."""
    writes = False
    """True if it writes, or adds to, more than its result."""
    does_work = False
    """True for a view that also does work in each step."""
    is_result = False
    """True for one of several results of the operation that it reads, which writes it too."""
    result_of: Primitive | None = None
    """The primitive that, applied to the same, writes this result too; see `fusion.joint`."""
    together: Together | None = None
    """The operation that writes this result with others, applied to the same."""
    adds = False
    """True if it can add to where its result belongs: ``compute`` takes ``accumulate``; see
    `Computation.adds`."""
    composed: Callable[..., Tensor] | None = None
    """The same by primitives that every target knows, from the inputs and the attributes."""
    rewrites = False
    """True if its result, or one that it writes with it, may have the memory of an input."""
    over: int | None = None
    """The input whose memory the result may overwrite."""
    metadata: tuple[str, ...] = ()
    """Attributes that only messages and gradients read: operations which differ in nothing else are
    one."""
    rounds = False
    """True if its factors may be rounded, to the ``precision`` that ``compute`` is given."""
    takes_wants = False
    """True if its gradient takes ``wants``: for which inputs gradients are needed."""

    def __init__(
        self,
        name: str,
        compute: Callable[..., Any] | None,
        shape: Callable[..., Shape],
        dtype: Callable[..., str] | None = None,
        gradient: Callable[..., Gradients] | str | None = None,
        view: bool = False,
        lowering: str = "",
    ) -> None:
        self.name, self.gradient, self.view, self.lowering = name, gradient, view, lowering
        self.compute: Callable[..., Any] = compute or self._deferred
        self._shape = shape
        self._dtype = dtype or (lambda *dtypes, **attributes: dtypes[0])

    def __call__(self, *inputs: Any, **attributes: Any) -> Tensor:
        if (watcher := active.watcher) is not None and watcher.records:
            return watcher.call(self, inputs, attributes, False)
        tensors = [convert(x) for x in inputs]
        shapes = [t.shape for t in tensors]
        try:
            shape = tuple(self._shape(*shapes, **attributes))
        except ValueError as error:
            raise type(error)(self._complaint(shapes, error)) from None
        dtype = self._dtype(*[t.dtype for t in tensors], **attributes)
        if not self.eager or not all(t.is_constant for t in tensors) or not tensors:
            made = Tensor(shape, dtype, None, self, tensors, attributes)
            trace = current()
            return made if trace is None else trace.made(made)
        home = next((t.home for t in tensors if t.home is not None), None)
        if home is not None:
            return home.compute(self, shape, dtype, tensors, attributes)
        # An isolated backend, so that its work arrays are freed.
        backend = get_backend("numpy").isolated()
        backend.repeats = False
        return Tensor(
            shape, dtype, self.now(backend, shape, dtype, [t.value for t in tensors], attributes)
        )

    def now(
        self, backend: Any, shape: Shape, dtype: str, arrays: Sequence[Any],
        attributes: dict[str, Any],
    ) -> Any:
        """Compute it at once on a backend of the CPU."""
        if self.view:
            return self.compute(arrays[0], **attributes)
        out = np.empty(shape, dtype)
        # Overflow gives infinity, as in a step.
        with backend.stream_lock, np.errstate(all="ignore"):
            self.compute(backend, out, *arrays, **attributes)
        return out

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        """Return a function that computes ``y`` into ``out`` in each step."""
        how = dict(y.attributes)
        if self.rounds:
            how["precision"] = computation.precision
        if self.adds:
            how["accumulate"] = computation.adds(y)
        return partial(self.compute, computation.backend, out, *arrays, **how)

    def _deferred(self, *arrays: Any, **attributes: Any) -> Any:
        raise TypeError(f"{self.name}: computed only when it is bound to the arrays of a step.")

    def _complaint(self, shapes: list[Shape], error: ValueError) -> str:
        where = place_in_user_code()
        got = " and ".join(map(str, shapes))
        return f"{self.name}: {error} Got the shapes {got}{where}."

    def __repr__(self) -> str:
        return f"<Primitive {self.name}>"


class Together:
    """An operation of the contract that writes several results, each of which is a primitive.

    Results of the same inputs are written in one go; see `fusion.joint`. By itself, a result is
    computed without the others.

    Args:
        compute: ``compute(backend, places, *arrays, **attributes)`` writes ``places``, arrays by
            the name of a result. Those that are not there are not needed.
    """

    def __init__(self, compute: Callable[..., None]) -> None:
        self.compute = compute

    def result(self, name: str, *declared: Any, **options: Any) -> Primitive:
        """Return the primitive for one of the results; further arguments are its own."""
        return _OneOf(self, name, *declared, **options)


class _OneOf(Primitive):
    def __init__(self, together: Together, name: str, *declared: Any, **options: Any) -> None:
        def alone(backend: Any, out: Array, *arrays: Array, **attributes: Any) -> None:
            together.compute(backend, {name: out}, *arrays, **attributes)

        super().__init__(name, alone, *declared, **options)
        self.together, self._write = together, together.compute

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        places = {t.attributes["by"]: computation.place(t) for t in computation.results_of(y)}
        places[self.name] = out
        return partial(self._write, computation.backend, places, *arrays, **y.attributes)


def one_after_another(*works: Work) -> None:
    """Do several pieces of work."""
    for work in works:
        work()


def unknown_derivative(name: Callable[..., str]) -> Callable[..., Gradients]:
    """Return a gradient that raises an error, for primitives whose derivative is not implemented.

    ``name`` gives the name used in messages, from the attributes.
    """

    def gradient(*tensors: Tensor, **attributes: Any) -> Gradients:
        raise ValueError(
            f"{name(**attributes)}: its second derivative is not known; write it with gpunn.ops."
        )

    return gradient


def place_in_user_code() -> str:
    """Return ``", at FILE line N"`` for the innermost line outside the framework; "" if none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] != "gpunn":
            return f", at {frame.f_code.co_filename} line {frame.f_lineno}"
        frame = frame.f_back
    return ""


def broadcast_shape(*shapes: Shape, **attributes: Any) -> Shape:
    """Broadcast shapes by NumPy's rules."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError("the shapes cannot be broadcast together.") from None
