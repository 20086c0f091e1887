"""Layers inside a `call` of a user's, and such a call as a node of a plan.

A layer whose class writes ``call`` is traced: its `call` is called once, for the shapes of a
workspace, and what it computes is then repeated by `gpunn.ops.computation`. A layer with `forward`
and `backward` that is applied inside one is a single operation of it, with a derivative.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.core.arena import Parameter
from gpunn.core.plan import Call
from gpunn.ops.computation import Computation, Target
from gpunn.ops.conversion import convert
from gpunn.ops.gradients import gradients
from gpunn.ops.primitive import Gradients, Primitive, Work
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Trace, current, trace_of

from .symbolic import GraphOperation

STREAMS = 1 << 32
"""The random stream of the n-th draw in a call is that of its node, and n times as many further."""


def pack(x: Any) -> list[Tensor]:
    """The tensors of a result of a user's `call`, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    return [convert(t) for t in x] if isinstance(x, (list, tuple)) else [convert(x)]


def takes_training(layer: Any) -> bool:
    """Whether a user's `call` has an argument ``training``."""
    parameters = inspect.signature(type(layer).call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def call_of(layer: Any, xs: Sequence[Any], training: bool) -> Any:
    """What a user's `call` gives for these inputs."""
    options = {"training": training} if takes_training(layer) else {}
    return layer.call(list(xs) if layer.takes_list else xs[0], **options)


def shapes_of(layer: Any, input_shape: Any, dtype: str) -> list[tuple[int, ...]]:
    """The shapes of one sample of the outputs of a user's `call`, for inputs (None, ...).

    Found out by calling it for two batch sizes: what differs is the batch axis.

    Raises:
        ValueError: if an output has no batch axis in front.
    """
    found = []
    shapes = input_shape if layer.takes_list else [input_shape]
    for batch in (2, 3):
        given = [((batch, *shape[1:]), dtype) for shape in shapes]
        _, _, y = trace_of(lambda *xs: call_of(layer, xs, False), given, False, batch)
        found.append([t.shape for t in pack(y)])
    for two, three in zip(*found, strict=True):
        if two[:1] != (2,) or three[:1] != (3,) or two[1:] != three[1:]:
            raise ValueError(
                f"{layer.name}.call: a result with one entry for each sample is expected; got the "
                f"shapes {two} for 2 samples and {three} for 3."
            )
    return [shape[1:] for shape in found[0]]


class TracedCall:
    """A user's `call` as the forward and backward pass of a node."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._computation: Computation | None = None

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.xs``."""
        if self._computation is None:
            self._computation = self._made()
        self._computation.run(0)

    def backward(self, call: Call) -> None:
        """Write the gradients of parameters and of ``call.xs`` from ``call.dy``."""
        assert self._computation is not None
        self._computation.run(1)

    def _made(self) -> Computation:
        call, layer = self._call, self._call.layer
        given = [(x.shape, x.dtype.name) for x in call.xs]
        trace, leaves, y = trace_of(
            lambda *xs: call_of(layer, xs, call.training), given, call.training, call.batch
        )
        (y,) = pack(y)
        y = convert(y, call.dtype)
        arrays = {id(leaf): x for leaf, x in zip(leaves, call.xs, strict=True)}
        arrays |= {id(leaf): p.value for p, leaf in trace.parameters.values()}
        stages = [[Target(y, call.y)]]
        if call.dy is not None:
            dy = Tensor(y.shape, y.dtype)
            arrays[id(dy)] = call.dy
            stages.append(self._targets(trace, leaves, y, dy))
        return Computation(call.backend, arrays, stages, call)

    def _targets(self, trace: Trace, leaves: list[Tensor], y: Tensor, dy: Tensor) -> list[Target]:
        """Where gradients belong: of inputs that want one, and of parameters that are trained."""
        call = self._call
        inputs = [k for k, dx in enumerate(call.dxs) if dx is not None]
        read = [(p, leaf) for p, leaf in trace.parameters.values() if p.trainable and call.trains]
        wanted = [*(leaves[k] for k in inputs), *(t for _, t in read)]
        with trace.active():  # the backward passes of layers are reached by their outputs
            found = gradients([y], [*wanted, *trace.applied], [dy])
        targets = [Target(token) for token in trace.calls] if call.trains else []
        applied = {id(p) for token in trace.calls for p in token.attributes["layer"].weights}
        for k, gradient in zip(inputs, found, strict=False):
            targets.append(_target(gradient, call.dxs[k], call.accumulate_dxs[k]))
        for (p, _), gradient in zip(read, found[len(inputs) : len(wanted)], strict=True):
            more = call.accumulate_gradients or id(p) in applied
            targets.append(_target(gradient, p.gradient, more))
        known = applied | {id(p) for p, _ in read}
        if call.trains and not call.accumulate_gradients:
            for p in call.layer.weights:
                if p.trainable and id(p) not in known:
                    targets.append(_target(None, p.gradient, False))
        return targets


def _target(gradient: Tensor | None, array: Array, accumulate: bool) -> Target:
    if gradient is None:
        gradient = constant(0.0, array.dtype.name)
    return Target(gradient, array, accumulate)


# -- a layer with a forward and a backward pass, as one operation


class _Application(Primitive):
    """A layer applied inside a trace."""

    def bind(self, computation: Computation, out: Array, arrays: list[Any], y: Tensor) -> Work:
        parent: Call = computation.context
        layer, number = y.attributes["layer"], y.attributes["number"]
        call = Call(
            computation.backend, layer, parent.batch, parent.dtype, y.attributes["training"],
            len(arrays), parent.precision, parent.control,
            layer.stream_seed(parent.seed), parent.stream + number * STREAMS,
        )  # fmt: skip
        for k, array in enumerate(arrays):
            call.reads(k, array)
        call.y = out
        computation.calls[id(y)] = call
        if layer.is_view(call):
            return lambda: computation.backend.xp.copyto(out, call.x.reshape(out.shape))
        return lambda: layer.forward(call)


class _Backward(Primitive):
    """The backward pass of an application: the gradients of its inputs, one behind the other."""

    def bind(self, computation: Computation, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, parent = computation.backend, computation.context
        call = computation.calls[id(y.inputs[1])]
        call.dy = backend.empty(call.y.shape, call.y.dtype)  # which it may overwrite
        at = 0
        for k, x in enumerate(call.xs):
            call.writes(k, out[at : at + x.size].reshape(x.shape), False)
            at += x.size
        layer = call.layer
        call.trains = parent.trains and any(p.trainable for p in layer.parameters)
        again = id(layer) in computation.written
        computation.written.add(id(layer))
        call.accumulate_gradients = parent.accumulate_gradients or again

        def work() -> None:
            backend.xp.copyto(call.dy, arrays[0])
            if layer.is_view(call):
                backend.xp.copyto(call.dx, call.dy.reshape(call.dx.shape))
            else:
                layer.backward(call)

        return work


def _application_gradient(
    dy: Tensor, y: Tensor, *xs: Tensor, layer: Any, training: bool, number: int
) -> Gradients:
    token = _backward(dy, y, *xs, layer=layer)
    trace = current()
    if trace is not None:
        trace.calls.append(token)
    parts, at = [], 0
    for x in xs:
        parts.append(_gradient_part(token, start=at, shape=x.shape))
        at += x.size
    return parts


def _no_compute(*args: Any, **attributes: Any) -> None:
    raise TypeError("a layer inside a call is bound to arrays first.")


_applied = _Application(
    "layer",
    _no_compute,
    lambda *shapes, layer, training, number: _shape_of(layer, shapes),
    lambda *dtypes, **attributes: dtypes[0],
    _application_gradient,
)


def _second(*args: Any, **attributes: Any) -> Gradients:
    raise ValueError(
        f"{attributes['layer'].name}: the derivative of a layer's backward pass is not known; "
        f"write what needs it with gpunn.ops."
    )


_backward = _Backward(
    "layer's gradient",
    _no_compute,
    lambda dy, y, *xs, layer: (sum(math.prod(x) for x in xs),),
    lambda *dtypes, layer: dtypes[0],
    _second,
)
_gradient_part = Primitive(
    "part of a gradient",
    lambda array, start, shape: array[start : start + math.prod(shape)].reshape(shape),
    lambda given, start, shape: shape,
    lambda dtype, start, shape: dtype,
    lambda dy, y, token, start, shape: (dy,),
    view=True,
)


def _shape_of(layer: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    samples = [shape[1:] for shape in shapes]
    given = samples if layer.takes_list else samples[0]
    return (shapes[0][0], *layer.ensure_built(given, own=True))


def forward_class(layer: Any) -> Any:
    """The class whose `forward` a layer with a `call` has."""
    return next(cls for cls in type(layer).__mro__ if "forward" in vars(cls))


def is_traced(x: Any) -> bool:
    """Whether ``x`` is a tensor that stands for numbers of each step, or holds one."""
    if isinstance(x, (list, tuple)):
        return any(map(is_traced, x))
    return isinstance(x, Tensor) and x.value is None


def apply(layer: Any, x: Any, training: bool | None) -> Any:
    """A layer applied to tensors inside a trace."""
    if not layer.has_call:
        return apply_own(layer, x, training)
    xs = pack(x)
    layer.ensure_built([t.shape[1:] for t in xs] if layer.takes_list else xs[0].shape[1:])
    return call_of(layer, xs, _training(training))


def apply_own(layer: Any, x: Any, training: bool | None) -> Tensor:
    """What the forward pass of a layer gives, as one operation of the trace.

    Raises:
        TypeError: outside a trace, where a layer is called as ``layer(x)``.
    """
    trace = current()
    if trace is None:
        raise TypeError(f"{layer.name}.call is for a call of another layer; here, write layer(x).")
    number = trace.next_draw()
    y = _applied(*pack(x), layer=layer, training=_training(training), number=number)
    trace.applied.append(y)
    return y


def _training(asked: bool | None) -> bool:
    """Whether a layer inside a call trains: as its caller does, unless told otherwise."""
    trace = current()
    return bool(asked if asked is not None else trace is not None and trace.training)


def layers_in(value: Any) -> Iterator[Any]:
    """The layers that an attribute of a user's layer holds: itself, in lists, in dictionaries."""
    if isinstance(value, GraphOperation):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from layers_in(entry)
    elif isinstance(value, dict):
        for entry in value.values():
            yield from layers_in(entry)


def parameters_in(layer: Any) -> Iterator[tuple[str, Parameter]]:
    """The parameters of a user's layer by their names: its own, then those of layers in it."""
    seen = set[int]()
    for p in layer.own_parameters:
        seen.add(id(p))
        yield p.name, p
    for inner in layer.layers_inside:
        for name, p in inner.named_parameters():
            if id(p) not in seen:
                seen.add(id(p))
                yield f"{inner.name}/{name}", p
