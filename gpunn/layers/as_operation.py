"""The formula of a built-in layer in a trace; a forward and a backward pass of a layer as one
operation of a trace, and its derivative."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.common.config import floatx
from gpunn.core.draws import STREAMS
from gpunn.core.plan import Call
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.fusion.storing import stored
from gpunn.ops.primitive import (
    Gradients,
    Primitive,
    Work,
    one_after_another,
    unknown_derivative,
)
from gpunn.ops.tensor import Tensor, ops
from gpunn.ops.trace import Trace, current

from .parameters import ensure_built


class _Application(Primitive):
    """A layer applied inside a trace."""

    eager = False

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        parent: Call = computation.context
        layer, number = y.attributes["layer"], y.attributes["number"]
        shard, entries = parent.shard, y.attributes["entries"]
        call = Call(
            computation.backend, layer, y.shape[0], parent.dtype, y.attributes["training"],
            len(arrays), parent.precision, parent.control_for(getattr(layer, "seed", None)),
            layer.stream_seed(parent.seed), parent.stream + number * STREAMS,
            shard=None if shard is None else shard.of(entries, y.shape[0]),
        )
        for k, array in enumerate(arrays):
            call.reads(k, array)
        call.y = out
        computation.calls[id(y)] = call
        if any(p.storage is None for p in layer._own_parameters):
            layer._own_storage()
        backend = computation.backend
        for p in layer._own_parameters:
            own = p.storage.backend
            if own.root is not backend.root and own.xp is not backend.xp:
                raise ValueError(
                    f"{layer.name} defines passes on arrays, and its weights are on another "
                    f"backend than the tape, {backend.name!r}: call gpunn.use_backend with that "
                    f"of the model before."
                )
        if layer.is_view(call):
            return stored(computation.backend, call.x, out)
        return partial(layer.forward, call)


class _Backward(Primitive):
    """The backward pass of an application: the gradients of its inputs, one after the other."""

    eager = False
    writes = True  # the gradients of parameters

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, parent = computation.backend, computation.context
        call, trains = computation.calls[id(y.inputs[1])], y.attributes["trains"]
        if not trains:  # another backward pass of the call may train
            call = copy(call)
            call.dxs, call.accumulate_dxs = list(call.dxs), list(call.accumulate_dxs)
        # A backward pass may overwrite its input.
        given, own = arrays[0], computation.is_last_use(y.inputs[0])
        call.dy = given if own else backend.empty(call.y.shape, call.y.dtype)
        at, flat = 0, out.reshape(-1)
        for k, (x, wanted) in enumerate(zip(call.xs, y.attributes["wants"], strict=True)):
            call.writes(k, flat[at : at + x.size].reshape(x.shape) if wanted else None, False)
            at += x.size if wanted else 0
        layer = call.layer
        call.trains = trains and parent.trains and any(p.trainable for p in layer._own_parameters)
        again = id(layer) in computation.written
        if trains:
            computation.written.add(id(layer))
        call.accumulate_gradients = parent.accumulate_gradients or again

        if layer.is_view(call):
            return stored(backend, given, call.dx)
        if own:
            return partial(layer.backward, call)
        first = stored(backend, given, call.dy)
        return partial(one_after_another, first, partial(layer.backward, call))


def _application_gradient(
    dy: Tensor, y: Tensor, *xs: Tensor, layer: Any, wants: Sequence[bool], **attributes: Any
) -> Gradients:
    trace = current()
    trains = trace is None or trace.trains
    token = _backward(dy, y, *xs, layer=layer, trains=trains, wants=tuple(wants))
    if trace is not None and trains:
        trace.calls.append(token)
    parts: list[Tensor | None] = []
    at = 0
    for x, wanted in zip(xs, wants, strict=True):
        parts.append(_gradient_part(token, start=at, shape=x.shape) if wanted else None)
        at += x.size if wanted else 0
    return parts


_applied = _Application(
    "layer",
    None,
    lambda *shapes, layer, **attributes: _shape_of(layer, shapes),
    gradient=_application_gradient,
)
_applied.takes_wants = True


_backward = _Backward(
    "layer's gradient",
    None,
    lambda dy, y, *xs, layer, trains, wants: (
        sum(math.prod(x) for x, wanted in zip(xs, wants, strict=True) if wanted),
    ),
    gradient=unknown_derivative(lambda layer, trains, wants: layer.name),
)
_gradient_part = Primitive(
    "part of a gradient",
    lambda array, start, shape: array[start : start + math.prod(shape)].reshape(shape),
    lambda given, start, shape: shape,
    gradient=lambda dy, y, token, start, shape: (
        ops.zeros_like(token),
    ),  # its derivative is not known
    view=True,
)


def _shape_of(layer: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    samples = [shape[1:] for shape in shapes]
    given = samples if layer.takes_list else samples[0]
    return (shapes[0][0], *ensure_built(layer, given))


def formula(call: Callable[..., Tensor]) -> Any:
    """Decorator of the `call` of a built-in layer that computes one tensor from one tensor.

    The call may also have an argument ``mask``, which is None or a tensor.

    Layers of the same settings share the graph of such a formula, see
    `gpunn.layers.formula_passes`. It gets floats, unless the class reads integers, and
    ``training`` as a boolean. The layer is built before.

    Raises:
        TypeError: from a call outside a trace, where a layer is called as ``layer(x)``.
    """

    @functools.wraps(call)
    def applied(layer: Any, x: Any, training: bool | None = None, **mask: Any) -> Tensor:
        _, (x,) = _read(layer, x)
        _shape_of(layer, [x.shape])  # which builds it
        return call(layer, x, is_training(training), **mask)

    applied.formula = call  # type: ignore[attr-defined]
    applied.takes_mask = "mask" in call.__code__.co_varnames  # type: ignore[attr-defined]
    return applied


def is_formula(call: Any) -> bool:
    """Whether a method `call` is a formula, whose graph layers share; see `formula`."""
    return hasattr(call, "formula")


def takes_mask(layer: Any) -> bool:
    """Whether a layer's formula reads the mask of its input."""
    return getattr(layer.call, "takes_mask", False)


def formula_of(layer: Any) -> Callable[..., Tensor]:
    """Return the formula of a layer, a function of a tensor and of ``training``."""
    return partial(type(layer).call.formula, layer)


def by_passes(layer: Any, x: Any, training: bool | None = None) -> Tensor:
    """Apply the passes of a layer as one operation of the trace, whose derivative is known once.

    Raises:
        TypeError: outside a trace, where a layer is called as ``layer(x)``, and for more or
            fewer tensors than it takes.
        ValueError: if one of its weights was assigned to before.
    """
    trace, xs = _read(layer, x)
    _check_unassigned(layer, trace)
    number, entries = trace.next_draw(), trace.entries(xs[0].shape)
    y = _applied(*xs, layer=layer, training=is_training(training), number=number, entries=entries)
    trace.applied.append(y)
    return y


def _read(layer: Any, x: Any) -> tuple[Trace, list[Tensor]]:
    """Return the trace, and the tensors that a layer reads, in the dtype as which it reads them."""
    if (trace := current()) is None:
        raise TypeError(f"{layer.name}.call works only in another layer's call; write layer(x).")
    if layer.takes_list != isinstance(x, (list, tuple)):
        wanted = "a list of tensors" if layer.takes_list else "one tensor"
        raise TypeError(f"{layer.name} takes {wanted}; got {x!r}.")
    dtype = next((p.stored_dtype for p in layer._own_parameters), None)  # None before it has values
    xs = [convert(t, dtype) for t in (x if layer.takes_list else [x])]
    if layer._has_call or not layer._reads_integers:
        floats = next((t.dtype for t in xs if is_float(t.dtype)), floatx())
        xs = [convert(t, floats) for t in xs]
    return trace, xs


def _check_unassigned(layer: Any, trace: Trace) -> None:
    """Raise a ValueError if a weight was assigned to in a trace, before passes that read it."""
    weights = {id(p) for p in layer._own_parameters}
    variable = next((h for h in trace.assigned if id(h.source) in weights), None)
    if variable is not None and id(variable.now) in trace.sources:
        raise ValueError(
            f"{layer.name} defines its passes on arrays: inside a call or a tape, and by "
            f"gpunn.vjp, jvp, jacobian and hessian, there is no derivative by "
            f"{variable.source.path}. "
            f"Write the layer by gpunn.ops, or use gpunn.value_and_grad outside."
        )
    if variable is not None:
        raise ValueError(
            f"{variable.source.path} is assigned to before {layer.name} computes, but the layer "
            f"reads the value from the start of the step: assign to it after {layer.name}(x)."
        )


def formula_in(call: Call) -> Callable[[Tensor], Tensor]:
    """Return a layer's formula in a call, without the activation that the loss applies."""
    layer = call.layer
    own = getattr(layer, "activation", None)
    if own is not None and own != call.activation:
        layer = with_activation(layer, call.activation)
    return partial(formula_of(layer), training=call.training)


def with_activation(layer: Any, activation: Any) -> Any:
    """Return a layer of the same weights and settings with another activation."""
    found = copy(layer)
    found.__dict__["activation"] = activation
    return found


def is_training(asked: bool | None) -> bool:
    """Whether a layer inside a call trains: as ``asked``, or like its caller if that is None."""
    if asked is None and (trace := current()) is not None:
        asked = trace.mode.training if trace.asked is None else trace.asked
    return bool(asked)
