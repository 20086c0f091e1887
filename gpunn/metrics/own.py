"""Custom metrics that define `update_state` and `result`, as in Keras.

The state of such a metric on the device holds its variables minus their initial values, since
the sums of a model start at 0; and then the states of the built-in metrics that it consists of.
A subclass of a built-in one consists of such a one, to which ``super()`` leads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar, cast

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.nested import replaced
from gpunn.common.overrides import is_framework
from gpunn.common.result import Number
from gpunn.common.signatures import signature
from gpunn.core.settings import traced_call
from gpunn.ops.conversion import convert
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.running.functions import places
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import FUNCTION, current

Method = TypeVar("Method", bound=Callable[..., Any])
_COUNTING = FUNCTION._replace(counts=True)  # a function in which built-in metrics may be updated


def extends(cls: Any) -> Any:
    """Return the built-in class whose `update_state` and `result` a custom class replaces or
    extends, or one of a user; None of a class of no such base.

    Raises:
        TypeError: for a class that replaces both these and what they call.
    """
    written = [name for name in ("update_state", "result") if name in vars(cls)]
    base: Any = next((b for b in cls.__mro__[1:] if not vars(b).get("_abstract")), object)
    known = getattr(base, "_kind", "") and not is_framework(cls) and written
    if not known or base._is_mean or "_kind" in vars(base):
        return None
    for name in ("accumulate", "compute", "rows"):
        if name in vars(cls) and not base._of_tensors:
            raise TypeError(
                f"{cls.__name__} defines {written[0]} and {name}, which it would call: define "
                f"{name} in a class between {base.__name__} and this one."
            )
    return base


def counter_of(metric: Any) -> Any:
    """Return the metric of the class that a custom one extends, which has its attributes and a
    state of sums; None of one that counts in variables."""
    if metric._extends is None:
        return None
    own = vars(metric)
    counter = own.get("_counter")
    if counter is None:
        counter = own["_counter"] = object.__new__(metric._extends)
    state = metric._not_watched | vars(counter).keys() | {"_counter", "_variables"}
    vars(counter).update({name: value for name, value in own.items() if name not in state})
    return counter


class Unseen:
    """The attribute ``sparse`` of a custom metric that extends another: None, as that one has what
    a constructor sets."""

    def __get__(self, metric: Any, cls: Any = None) -> None:
        return None

    def __set__(self, metric: Any, value: Any) -> None:
        vars(metric)["sparse"] = value


def by_counter(method: Method) -> Method:
    """Let a method of a built-in class compute with the metric that counts for a custom one."""

    @wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        counter = counter_of(self)
        return method(self if counter is None else counter, *args, **options)

    return cast(Method, called)


def counters(metric: Any) -> list[Any]:
    """Return the metrics whose state is one array: itself, or of a custom metric with
    `update_state` those that it consists of, at any depth, such as built-in ones."""
    if type(metric)._sums is not sums:
        return [metric]
    inner = (one for held in metric._metrics_held for one in counters(held))
    return list({id(one): one for one in inner}.values())


def state_size(metric: Any) -> int:
    sizes = [one._state.size for one in counters(metric)]
    return sum(sizes, sum(math.prod(v.shape) for v in metric._own_variables))


def _slices(metric: Any) -> Iterator[tuple[Any, slice]]:
    at = 0
    for v in metric._own_variables:
        size = math.prod(v.shape)
        yield v, slice(at, at + size)
        at += size


def _states(metric: Any, state: Array) -> Iterator[tuple[Any, Array]]:
    """Yield the metrics that a custom one consists of, each with its part of a state."""
    at = sum(math.prod(v.shape) for v in metric._own_variables)
    for one in counters(metric):
        size = one._state.size
        yield one, state[at : at + size]
        at += size


def build(metric: Any, output_shape: tuple[Any, ...]) -> None:
    """Record the shape of one sample of the predictions, or of a batch of any size."""
    metric.output_sample = output_shape[1:] if output_shape[:1] == (None,) else output_shape
    for one in counters(metric):  # of which the size of the state depends on it
        if getattr(one, "by_output", False) and one.outputs is None:
            one.build(output_shape)


def check(metric: Any, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> None:
    """Accept all shapes: the custom metric decides."""


def accumulate(
    metric: Any, backend: Backend, y_true: Array, y_pred: Array, weights: Array | None, state: Array
) -> None:
    """Run `update_state` on the state on the device."""
    arrays = [y_true, y_pred] if weights is None else [y_true, y_pred, weights]

    def made() -> Stages:
        trace = trace_for(backend, _COUNTING)
        given = list(map(trace.placeholder, arrays))
        places = [(v, state[at].reshape(v.shape)) for v, at in _slices(metric)]
        with trace.active():
            before = [trace.placeholder(array) + convert(v.first, "float64") for v, array in places]
            if metric.output_sample is not None:
                given[1] = reshape(given[1], (len(y_pred), *metric.output_sample))
            with trace.initial_values(zip(metric._own_variables, before, strict=True)) as lent:
                _update(metric, given)
            targets = [
                Destination(convert(one.now, "float64") - convert(v.first, "float64"), array)
                for (v, array), one in zip(places, lent, strict=True)
            ]
            for one, array in _states(metric, state):
                if one._state.any():  # counted by Python, where each step calls it
                    targets.append(Destination(constant(one._state, "float64"), array, True))
        trace.follow_parameters(backend)
        return stages_of(trace, backend, [targets])

    def counted() -> Stages:
        with _counting_in(metric, backend, state):
            return made()

    backend.kept(("update_state", metric, places(*arrays, state)), counted).run(0)


@contextmanager
def _counting_in(metric: Any, backend: Backend, state: Array) -> Iterator[None]:
    """Return a context in which the metrics that a custom one consists of count in its state."""
    lent = list(_states(metric, state))
    before = [(one._state, one._on_devices) for one, _ in lent]
    try:
        for one, array in lent:
            counts = [(backend.root, array, 1)]
            vars(one).update(_state=np.zeros(array.shape), _counted=counts)
        yield
    finally:
        for (one, _), (own, counts) in zip(lent, before, strict=True):
            vars(one).update(_state=own, _counted=counts)


def takes_weights(metric: Any) -> bool:
    """Whether a metric can count some rows less than others, such as the masked ones not at all."""
    if not metric._of_tensors:
        return True
    parameters = signature(type(metric).update_state).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)


def _update(metric: Any, given: list[Tensor]) -> None:
    if len(given) > 2 and not takes_weights(metric):
        raise ValueError(
            f"The metric {metric.name!r} is one of weighted_metrics, but its update_state has no "
            f"argument sample_weight."
        )
    options = {"sample_weight": given[2]} if len(given) > 2 else {}
    update = partial(metric.update_state, given[0], given[1], **options)
    traced_call(metric, f"The metric {metric.name!r}", update)


def sums(metric: Any, kept: Any = None) -> np.ndarray:
    """Return the state that the metric's variables hold, as `compute` takes it."""
    changes = [np.ravel(v.stored() - v.first) for v in metric._own_variables]
    return np.concatenate([np.zeros(0), *changes, *(one._sums() for one in counters(metric))])


def put_sums(metric: Any, state: np.ndarray) -> None:
    """Let the metric's variables hold a state."""
    for v, at in _slices(metric):
        v.assign(constant(v.first + state[at].reshape(v.shape), v.dtype))
    for one, part in _states(metric, state):
        one._put_sums(part)


def value(metric: Any, state: np.ndarray) -> Any:
    """Return what `result` returns for a state on the host: an array, or arrays by name."""
    before = [v.as_tensor() for v in metric._own_variables]
    of_parts = [(one, one._sums()) for one in counters(metric)]
    try:
        for v, at in _slices(metric):
            v.assign(constant(v.first + state[at].reshape(v.shape), "float64"))
        for one, part in _states(metric, state):
            one._put_sums(part)
        return replaced(_array, metric.result())
    finally:
        for v, given in zip(metric._own_variables, before, strict=True):
            v.assign(given)
        for one, part in of_parts:
            one._put_sums(part)


def _array(found: Any) -> Any:
    return found if isinstance(found, Number) else convert(found).numpy()


def number(found: Tensor) -> Any:
    """Return a result as other metrics of this framework do: a number, or in a step a tensor."""
    return Number(found) if current() is None else found


def compute(metric: Any, state: np.ndarray) -> float:
    """Return the value of `result`, one number, for a state on the host."""
    found = value(metric, state)
    if np.size(found) != 1 or isinstance(found, Mapping):
        raise ValueError(
            f"The metric {metric.name!r}: result() must return one number; got "
            f"{found if isinstance(found, Mapping) else f'shape {np.shape(found)}'}."
        )
    return float(np.reshape(found, ()))
