"""Gradients of functions of tensors: `gpunn.grad` and `gpunn.value_and_grad`, as JAX has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import Control
from gpunn.common.config import floatx, runs_eagerly
from gpunn.common.nested import replaced
from gpunn.common.random import draw_seed
from gpunn.core.arena import Parameter
from gpunn.core.operators import Operators
from gpunn.core.plan import Call
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.elementwise import copy
from gpunn.ops.gradients import gradients
from gpunn.ops.making import zeros_like
from gpunn.ops.primitive import Primitive, broadcast_shape
from gpunn.ops.reductions import sum_
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import EagerTrace, stages_of, trace_for
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Trace, current

__all__ = ["grad", "value_and_grad"]


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that gives the gradient of another, which gives one number.

    It takes the same arguments; see `value_and_grad`.

    >>> import gpunn
    >>> gpunn.grad(lambda x: x**3)(2.0).item()
    12.0
    >>> gpunn.grad(gpunn.grad(lambda x: x**3))(2.0).item()
    12.0
    """
    both = value_and_grad(function, argnums)

    @wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0
) -> Callable[..., Any]:
    """A function that gives what another gives, one number, and its gradient.

    The gradient is by the argument of this number, or a tuple of those by several. An argument is
    a tensor, an array, a number, a weight of a layer, or a list, tuple or dictionary of these; its
    gradient has the same form. The function may use layers and models; where they compute by
    kernels, as those built in, they have first derivatives only.

    Outside of a call all is computed at once. Inside one, the gradient is part of what each step
    computes, and can be differentiated again.

    >>> import gpunn
    >>> from gpunn import layers, ops
    >>> model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(1, kernel_initializer="ones")])
    >>> def error(weights, x, y):
    ...     return ops.mean((model(x) - y) ** 2)
    >>> loss, (kernel, bias) = gpunn.value_and_grad(error)(
    ...     model.trainable_weights, [[1.0, 2.0, 3.0]], [[5.0]]
    ... )
    >>> loss.item(), kernel.tolist(), bias.tolist()
    (1.0, [[2.0], [4.0], [6.0]], [2.0])
    """
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)

    @wraps(function)
    def both(*args: Any, **kwargs: Any) -> Any:
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise TypeError(
                    f"argnums names the argument {number}; there are {len(args)} by position."
                )
        trace = current()
        by: _InTrace | _AtOnce = _AtOnce() if trace is None else _InTrace(trace)
        given = [_mapped(_tensor, x, _is_data) for x in args]
        named = {key: _mapped(_tensor, x, _is_data) for key, x in kwargs.items()}
        with by.trace.active():
            for number in numbers:
                given[number] = _mapped(by.argument, args[number], _is_number)
            results = by.derived(_single(function(*given, **named)))
        value, *found = by.made(results)
        parts = iter(found)
        by_each = [_mapped(lambda x: next(parts), args[k], _is_number) for k in numbers]
        return value, by_each[0] if isinstance(argnums, int) else tuple(by_each)

    return both


def derivative(function: Callable[[Tensor], Tensor], x: Tensor, dy: Any = 1.0) -> Tensor:
    """dy f'(x), of what is computed for each element, or for each row, of ``x``.

    >>> from gpunn import ops
    >>> derivative(ops.square, constant(3.0, "float32")).item()
    6.0
    """
    if x.is_constant:
        found: Tensor = grad(lambda x: sum_(function(x) * dy))(x)
        return found
    y = function(x)
    (dx,) = gradients([y], [x], [convert(dy, y.dtype)])
    return zeros_like(x) if dx is None else dx


def _mapped(function: Callable[[Any], Any], x: Any, fits: Callable[[Any], bool]) -> Any:
    """``x`` with what fits replaced by a function of it, at any depth."""
    return replaced(lambda entry: function(entry) if fits(entry) else entry, x, fits)


def _numbers_in(x: Any) -> set[type]:
    """The types of what nested lists hold."""
    if isinstance(x, (list, tuple)):
        return set[type]().union(*map(_numbers_in, x))
    return {type(x)}


def _is_number(x: Any) -> bool:
    """Whether a gradient is by it: an array, a number, or nested lists of numbers."""
    if isinstance(x, (list, tuple)):
        return bool(x) and _numbers_in(x) <= {int, float}
    return (isinstance(x, (int, float)) and not isinstance(x, bool)) or hasattr(x, "__array__")


def _is_data(x: Any) -> bool:
    """Whether, in another argument, it is an array; whole numbers may be axes and shapes."""
    if isinstance(x, (list, tuple)):
        return float in (kinds := _numbers_in(x)) and kinds <= {int, float}
    return hasattr(x, "__array__") and not isinstance(x, Operators)


def _tensor(x: Any) -> Tensor:
    return convert(x)


def _single(y: Any) -> Tensor:
    """What a function gives, if it is one number.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(y, (Operators, float, int, np.generic)):
        y = convert(y)
        if y.size == 1 and is_float(y.dtype):
            return reshape(y, ())
        y = f"a tensor of {y.dtype} of shape {y.shape}"
    raise TypeError(
        f"a gradient is that of one number, a float: let the function give ops.sum or ops.mean "
        f"of its result; got {y}."
    )


def _differentiable(x: Any) -> Tensor:
    """A differentiated argument as a tensor; whole numbers of Python are floats there."""
    t = convert(x, floatx() if isinstance(x, (int, list, tuple)) else None)
    if not is_float(t.dtype):
        raise TypeError(
            f"a gradient is by floats; got a tensor of {t.dtype}. Convert it by ops.cast, or name "
            f"other arguments by argnums."
        )
    return t


# -- inside a trace


class _Argument(Primitive):
    """A tensor as the argument of a function that is differentiated, another than the tensor."""

    eager = False


_argument = _Argument(
    "argument", copy, broadcast_shape, gradient=lambda dy, y, x: (dy,), lowering="same"
)


class _InTrace:
    """The gradient as further operations of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._arguments: list[Tensor] = []

    def argument(self, x: Any) -> Tensor:
        if isinstance(x, Operators) and not isinstance(x, Tensor):
            raise TypeError(
                f"{x!r}: inside a call there is no gradient by weights and variables; by tensors "
                f"there is."
            )
        self._arguments.append(_argument(_differentiable(x)))
        return self._arguments[-1]

    def derived(self, y: Tensor) -> list[Tensor]:
        """``y`` and its gradients, as a trace has them."""
        before, self.trace.trains = self.trace.trains, False  # the step's own backward pass does
        try:
            found = gradients([y], self._arguments)
        finally:
            self.trace.trains = before
        return [y, *_or_zeros(found, self._arguments)]

    def made(self, results: list[Tensor]) -> list[Tensor]:
        """The same behind the trace."""
        return results


def _or_zeros(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)]


# -- at once


def _own_weights(applied: Tensor) -> list[Parameter]:
    """Of the layer that gives it."""
    found: list[Parameter] = applied.attributes["layer"].own_parameters
    return found


class _AtOnce:
    """The gradient as numbers: what is traced is computed once.

    Built-in layers write the gradients of their weights where a training step has them too: there
    they are read.
    """

    def __init__(self) -> None:
        self.trace = Trace()
        if runs_eagerly():  # before it is known whose weights it reads
            context = _context(get_backend(), floatx(), draw_seed())
            self.trace = trace_for(context.backend, context=context)
        self._arguments: list[Tensor] = []
        self._weights: list[Parameter | None] = []  # what each argument is
        self._arrays: dict[int, np.ndarray] = {}  # of the leaves

    def argument(self, x: Any) -> Tensor:
        if isinstance(x, Operators) and not isinstance(x, Tensor):
            found = convert(x)  # the leaf that whoever reads it gets
        else:
            given = _differentiable(x)
            found = self._leaf(given.numpy())
        self._arguments.append(found)
        self._weights.append(x if isinstance(x, Parameter) else None)
        return found

    def derived(self, y: Tensor) -> list[Tensor]:
        wanted = [p for p in self._weights if p is not None]
        applied = [
            t for t in self.trace.applied if any(p in wanted for p in _own_weights(t))
        ]  # whose layers write gradients of what is wanted
        for p in wanted:
            if not p.trainable and any(p in _own_weights(t) for t in applied):
                raise ValueError(f"{p.path} is not trained: its layer computes no gradient by it.")
        if isinstance(self.trace, EagerTrace):
            self.trace.computed.context.trains = bool(wanted)
        found = gradients([y], [*self._arguments, *applied])[: len(self._arguments)]
        return [y, *_or_zeros(found, self._arguments)]

    def _leaf(self, array: np.ndarray) -> Tensor:
        if isinstance(self.trace, EagerTrace):
            backend = self.trace.computed.backend
            return self.trace.placeholder(backend.upload(array).reshape(array.shape))
        found = self.trace.leaf(array.shape, array.dtype.name)
        self._arrays[id(found)] = array
        return found

    def made(self, results: list[Tensor]) -> list[Tensor]:
        trace, trains = self.trace, any(self._weights)
        weights = [*trace.parameters, *(p for t in trace.applied for p in _own_weights(t))]
        for p in weights:
            if p.arena is None:
                p.layer.own_arena()
        arena = next((p.arena for p in weights), None)
        access: Any = nullcontext()
        if arena is not None:
            writes = trains or any(isinstance(held.source, Parameter) for held in trace.assigned)
            access = arena.access.writing() if writes else arena.access.reading()
        with access:
            return self._computed(results, arena, trains)

    def _computed(self, results: list[Tensor], arena: Any, trains: bool) -> list[Tensor]:
        """The numbers of these, of which the first is the value, and gradients follow it."""
        trace = self.trace
        if isinstance(trace, EagerTrace):
            context = trace.computed.context
        else:
            backend, dtype = get_backend(), floatx()
            if arena is not None:
                backend, dtype = arena.backend, arena.dtype
            context = _context(backend, dtype, draw_seed() if trace.draws else 0)
        backend = context.backend
        with backend.turn, np.errstate(all="ignore"):
            for key, array in self._arrays.items():
                trace.arrays[key] = backend.upload(array).reshape(array.shape)
            context.trains = trains
            outs = [backend.empty(t.shape, t.dtype) for t in results]
            stored = [Destination(t, out) for t, out in zip(results, outs, strict=True)]
            stages = [stored[:1], [*(Destination(token) for token in trace.calls), *stored[1:]]]
            computation = stages_of(trace, backend, stages, context)
            computation.run(0)
            computation.run(1)
            numbers = [backend.read(out) for out in outs]
            written = [p for token in trace.calls for p in _own_weights(token)]
            for k, weight in enumerate(self._weights, start=1):
                if weight is not None and weight in written:
                    numbers[k] = numbers[k] + backend.read(weight.gradient)
        return [constant(n, t.dtype) for n, t in zip(numbers, results, strict=True)]


def _context(backend: Backend, dtype: str, seed: int) -> Call:
    """What layers in a function belong to that is computed at once."""
    backend = backend.isolated()
    return Call(backend, None, 0, dtype, False, control=Control(backend), seed=seed)
