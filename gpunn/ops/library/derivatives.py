"""Gradients of functions of tensors: `gpunn.grad` and `gpunn.value_and_grad`, as in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.common.config import eagerly, floatx, runs_eagerly
from gpunn.common.holds import in_order, with_all
from gpunn.common.nested import found_in, replaced
from gpunn.core.draws import active_draws, context_now
from gpunn.core.operators import Operators
from gpunn.core.recording import recorded
from gpunn.core.storage import Parameter
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.gradients import argument, gradients
from gpunn.ops.reductions import sum_
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import EagerTrace, stages_of, trace_for
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import NeedsValuesError, Tensor, constant, ops
from gpunn.ops.trace import Mode, Trace, current

__all__ = ["grad", "value_and_grad"]


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Return a function that computes the gradient of a scalar-valued function: ``dy / dx[j]``.

    A gradient has the shape of the argument. The function returned has the same arguments.
    Arguments and errors: as for `value_and_grad`.

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
    """Return a function that computes the value of a scalar-valued function and its gradient.

    An argument is a tensor, an array, a number, a weight of a layer, or a list, tuple or dictionary
    of these; its gradient has the same structure. The function may use layers, models and losses;
    custom ones that define passes on arrays have only first derivatives.

    Outside a call, the gradient is computed immediately. Inside a call, it is part of the
    computation of each step, and can be differentiated again.

    Args:
        function: a function of tensors that returns one number, a float.
        argnums: the index of the argument to differentiate by, or several for a tuple of gradients.

    Returns:
        a function of the same arguments, which returns (value, gradient).

    Raises:
        TypeError: from the function returned, if ``argnums`` names no argument, for an argument of
            integers, and if the result is not one float.
        ValueError: from the function returned, if ``argnums`` names an argument twice, and for
            weights that are not trained.

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

    @recorded
    @wraps(function)
    def both(*args: Any, **kwargs: Any) -> Any:
        return by_values(lambda: computed(*args, **kwargs))

    def computed(*args: Any, **kwargs: Any) -> Any:
        numbers = numbered(argnums, len(args))
        trace = current()
        by: InTrace | _AtOnce = _AtOnce() if trace is None else InTrace(trace)
        given, named = list(map(data_as_tensors, args)), data_as_tensors(kwargs)
        with by.trace.active():
            for number in numbers:
                given[number] = mapped(by.argument, args[number], is_number)
            with by.differentiating():
                results = by.derived(_single(function(*given, **named)))
        value, *found = by.made(results)
        parts = iter(found)
        by_each = [mapped(lambda x: next(parts), args[k], is_number) for k in numbers]
        return value, tuple(by_each) if isinstance(argnums, Sequence) else by_each[0]

    return both


def numbered(argnums: int | Sequence[int], count: int) -> list[int]:
    """Return the indices of the arguments that ``argnums`` names, each once, from the first."""
    found = []
    for number in argnums if isinstance(argnums, Sequence) else [argnums]:
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise TypeError(
                f"argnums must be the index of an argument, or a sequence of them; got {argnums!r}."
            )
        if not -count <= number < count:
            raise TypeError(
                f"argnums names the argument {number}; there are {count} positional ones."
            )
        found.append(int(number) % count)
    if len({*found}) < len(found):
        raise ValueError(f"argnums must name each argument once; got {argnums!r}.")
    return found


def by_values(work: Callable[[], Any]) -> Any:
    """Return the result of ``work()``; if it reads values in Python, as ``if x > 0`` and x[x > 0]
    do, and no trace is active, it is done again with each operation computed at once."""
    if current() is not None or runs_eagerly():
        return work()
    draws = active_draws()
    count = 0 if draws is None else draws.count
    try:
        return work()
    except NeedsValuesError:
        if draws is not None:
            draws.count = count
        with eagerly(True):
            return work()


def at_once(function: Callable[[], Any], backend: Backend | None = None) -> Any:
    """Return the result of a function, with values for its tensors, in any structure.

    ``backend``: where the weights are that it uses, if it is known; eager steps run on it.
    """

    def computed() -> Any:
        by = _AtOnce(backend)
        with by.trace.active():
            result = function()
        tensors = [*found_in(result, Tensor)]
        values = iter(by.made(tensors) if tensors else [])
        return mapped(lambda t: next(values), result, lambda x: isinstance(x, Tensor))

    return by_values(computed)


def derivative(function: Callable[[Tensor], Tensor], x: Tensor, dy: Any = 1.0) -> Tensor:
    """Compute dy f'(x) for a function that works on each element, or each row, of ``x``."""
    if x.is_constant:
        return grad(lambda x: sum_(function(x) * dy))(x)
    y = function(x)
    (dx,) = gradients([y], [x], [convert(dy, y.dtype)])
    return ops.zeros_like(x) if dx is None else dx


def mapped(function: Callable[[Any], Any], x: Any, fits: Callable[[Any], bool]) -> Any:
    """Apply a function to the entries of ``x`` that fit, at any depth."""
    return replaced(lambda entry: function(entry) if fits(entry) else entry, x, fits)


def _numbers_in(x: Any) -> set[type]:
    """Return the types of the entries of nested lists."""
    if isinstance(x, (list, tuple)):
        return set[type]().union(*map(_numbers_in, x))
    return {type(x)}


def is_number(x: Any) -> bool:
    """Return whether x can be differentiated by: an array, a number, or nested lists of numbers."""
    if isinstance(x, (list, tuple)):
        return bool(x) and _numbers_in(x) <= {int, float}
    return (isinstance(x, (int, float)) and not isinstance(x, bool)) or hasattr(x, "__array__")


def _is_data(x: Any) -> bool:
    """Return whether x is an array in another argument; integers may be axes and shapes."""
    if isinstance(x, (list, tuple)):
        return float in (kinds := _numbers_in(x)) and kinds <= {int, float}
    return hasattr(x, "__array__") and not isinstance(x, Operators)


def data_as_tensors(x: Any) -> Any:
    """Convert the arrays, and the nested lists with floats, in what a function is called with."""
    return mapped(convert, x, _is_data)


def as_tensors(x: Any) -> Any:
    """Convert the arrays, and the nested lists of numbers, in ``x``."""
    return mapped(convert, x, lambda entry: is_number(entry) and not np.isscalar(entry))


def _single(y: Any) -> Tensor:
    """Convert the result of a function, one float, to a scalar."""
    if isinstance(y, (Operators, float, int, np.generic)):
        y = convert(y)
        if y.size == 1 and is_float(y.dtype):
            return reshape(y, ())
        y = f"a tensor of {y.dtype} of shape {y.shape}"
    raise TypeError(
        f"the function to differentiate must return one number, a float: return ops.sum or "
        f"ops.mean of its result; got {y}."
    )


def _differentiable(x: Any) -> Tensor:
    """Convert a differentiated argument to a tensor; Python integers become floats."""
    t = convert(x, floatx() if isinstance(x, (int, list, tuple)) else None)
    if not is_float(t.dtype):
        raise TypeError(
            f"gradients are taken by floats; got a tensor of {t.dtype}. Convert it with ops.cast, "
            f"or choose other arguments with argnums."
        )
    return t


# -- inside a trace


class InTrace:
    """The gradient as additional operations of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.arguments: list[Tensor] = []
        self._variables: list[tuple[Any, Tensor]] = []  # weights and variables, as arguments

    def argument(self, x: Any) -> Tensor:
        found = argument(_differentiable(x))
        _, source = self.trace.sources.get(id(x), (x, x))
        if isinstance(source, Operators) and not isinstance(source, Tensor):
            self._variables.append((source, found))
            self.trace.add_source(found, source)
        self.arguments.append(found)
        return found

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Return a context in which layers read the weights that are arguments as these."""
        with self.trace.reading(self._variables):
            yield

    def derived(self, y: Tensor) -> list[Tensor]:
        """Return ``y`` and its gradients as tensors of the trace."""
        return [y, *or_zeros(self.gradients([y]), self.arguments)]

    def gradients(
        self, ys: Sequence[Tensor], cotangents: Sequence[Tensor] | None = None
    ) -> list[Tensor | None]:
        """Return the gradients with respect to each argument, as
        `gpunn.ops.gradients.gradients`."""
        with self.trace.without_training():
            return gradients(ys, self.arguments, cotangents)

    def made(self, results: list[Tensor]) -> list[Tensor]:
        """Return the results unchanged."""
        return results


def or_zeros(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, with zeros for those by what a result does not depend on."""
    return [ops.zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)]


# -- immediately


def _own_weights(applied: Tensor) -> list[Parameter]:
    """Return the parameters of the layer that computes the tensor."""
    return applied.attributes["layer"]._own_parameters


class _AtOnce:
    """The gradient as values: the trace is computed once.

    Built-in layers write the gradients of their weights where training steps keep them; they are
    read from there.
    """

    def __init__(self, backend: Backend | None = None) -> None:
        mode = Mode.function(draws=active_draws())
        self.trace = Trace(mode)
        if runs_eagerly():  # before it is known which weights it reads
            context = context_now(backend or get_backend())
            self.trace = trace_for(context.backend, mode, context)
        self._arguments: list[Tensor] = []
        self._weights: list[Parameter | None] = []  # the weight that each argument is, if any
        self._arrays: list[tuple[Tensor, np.ndarray]] = []  # of the leaves

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Return a context in which layers compute with their kernels."""
        yield

    def argument(self, x: Any) -> Tensor:
        if isinstance(x, Operators) and not isinstance(x, Tensor):
            found = convert(x)  # the leaf that readers of the weight get
            self.trace.add_source(found, x)
        else:
            given = _differentiable(x)
            found = self._leaf(given.numpy())
        self._arguments.append(found)
        self._weights.append(x if isinstance(x, Parameter) else None)
        return found

    def derived(self, y: Tensor) -> list[Tensor]:
        requested = [p for p in self._weights if p is not None]
        applied = [
            t for t in self.trace.applied if any(p in requested for p in _own_weights(t))
        ]  # layers that write requested gradients
        for p in requested:
            if not p.trainable and any(p in _own_weights(t) for t in applied):
                raise ValueError(f"{p.path} is not trained: its layer computes no gradient for it.")
        if isinstance(self.trace, EagerTrace):
            self.trace.computed.context.trains = bool(requested)
        found = gradients([y], [*self._arguments, *applied])[: len(self._arguments)]
        return [y, *or_zeros(found, self._arguments)]

    def _leaf(self, array: np.ndarray) -> Tensor:
        if isinstance(self.trace, EagerTrace):
            backend = self.trace.computed.backend
            return self.trace.placeholder(backend.upload(array).reshape(array.shape))
        found = self.trace.leaf(array.shape, array.dtype.name)
        self._arrays.append((found, array))
        return found

    def made(self, results: list[Tensor]) -> list[Tensor]:
        trace, trains = self.trace, any(w is not None for w in self._weights)
        weights = [*trace.parameters, *(p for t in trace.applied for p in _own_weights(t))]
        for p in weights:
            if p.storage is None:
                p.layer._own_storage()
        storage = next((p.storage for p in weights), None)
        writes = trains or any(isinstance(v.source, Parameter) for v in trace.assigned)
        wanted = in_order((p.storage.access, writes) for p in weights if p.storage is not None)
        return with_all(wanted, lambda: self._computed(results, storage, trains))

    def _computed(self, results: list[Tensor], storage: Any, trains: bool) -> list[Tensor]:
        """Compute the results: the value first, then the gradients."""
        trace = self.trace
        if isinstance(trace, EagerTrace):
            context = trace.computed.context
        else:
            backend, dtype = get_backend(), floatx()
            if storage is not None:
                backend, dtype = storage.backend, storage.dtype
            context = context_now(backend, dtype, bool(trace.draws))
        backend = context.backend
        with backend.stream_lock, np.errstate(all="ignore"):
            for t, array in self._arrays:
                trace.put(t, backend.upload(array).reshape(array.shape))
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
