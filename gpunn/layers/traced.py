"""A user's `call` as a node of a plan.

A layer whose class writes ``call`` is traced: its `call` is called once, for the shapes of a
workspace, and what it computes is then repeated by `gpunn.ops.computation`. Layers inside it are
single operations of it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.core.arena import Parameter
from gpunn.core.plan import Call
from gpunn.ops.computation import Computation, Target
from gpunn.ops.conversion import convert
from gpunn.ops.fusion.storing import stored
from gpunn.ops.gradients import gradients
from gpunn.ops.primitive import Gradients, Primitive, Work, unknown_derivative
from gpunn.ops.random import STREAMS
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor, constant
from gpunn.ops.trace import Trace, current, trace_of

from .given import Given, Place
from .symbolic import Sample


def takes_training(layer: Any) -> bool:
    """Whether a user's `call` has an argument ``training``."""
    parameters = inspect.signature(type(layer).call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def call_of(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool) -> Any:
    """What a user's `call` gives for these arguments."""
    options = dict(kwargs)
    given = inspect.signature(layer.call).bind_partial(*args, **kwargs).arguments
    if takes_training(layer) and "training" not in given:
        options.setdefault("training", training)
    return layer.call(*args, **options)


def is_traced(x: Any) -> bool:
    """Whether ``x`` is a tensor that stands for numbers of each step, or holds one. Inside a trace
    every array is one of each step: what is applied to it may be trained."""
    if isinstance(x, Mapping):
        return any(map(is_traced, x.values()))
    if isinstance(x, (list, tuple)):
        return any(map(is_traced, x))
    if current() is not None:
        return isinstance(x, (Tensor, Parameter, np.ndarray))
    return isinstance(x, Tensor) and x.value is None


def apply(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool | None) -> Any:
    """A layer applied to tensors inside a trace."""
    if layer.has_call:
        tensors, given = Given.of(args, kwargs, lambda x: isinstance(x, Tensor))
        layer.build_for([t.shape[1:] for t in tensors], given)
        y = call_of(layer, args, kwargs, is_training(training))
    else:
        y = apply_own(layer, args[0], training)
    return penalized(y, layer.activity_regularizer)


def add_loss(loss: Any) -> None:
    """Add a loss, or each of several, to that of the step that is traced.

    Raises:
        TypeError: outside a trace.
    """
    trace = current()
    if trace is None:
        raise TypeError("add_loss is called inside call(x): each step then adds that loss.")
    for term in loss if isinstance(loss, (list, tuple)) else [loss]:
        trace.losses.append(ops.sum(convert(term)))


def penalized(y: Tensor, regularizer: Any) -> Tensor:
    """``y``, of which a regularizer adds a penalty, for each sample its share, to the loss."""
    if regularizer is None:
        return y
    if regularizer.coefficients:
        l1, l2 = regularizer.coefficients
        penalty = l1 * ops.sum(ops.abs(y)) + l2 * ops.sum(ops.square(y))
    else:
        penalty = regularizer(y)
    add_loss(penalty / y.shape[0])
    return y


# -- what comes out


def results(layer: Any, y: Any) -> tuple[list[Tensor], Given]:
    """The tensors of a result of a user's `call`, and the form in which it gave them.

    Raises:
        TypeError: for a result without a tensor.
    """
    tensors, form = Given.of([y], {}, lambda x: isinstance(x, (Tensor, Parameter)))
    whole = form.args[0]
    if tensors and form.filled(tensors) == ((y,), {}) and not _has_others(whole):
        return [convert(t) for t in tensors], form
    raise TypeError(
        f"{layer.name}.call must return a tensor, or a list, tuple or dictionary of tensors; got "
        f"{y!r}."
    )


def _has_others(form: Any) -> bool:
    """Whether a form has anything but places of tensors."""
    if isinstance(form, Mapping):
        return any(map(_has_others, form.values()))
    if isinstance(form, (list, tuple)):
        return any(map(_has_others, form))
    return not isinstance(form, Place)


def outputs_of(
    layer: Any, given: Given, shapes: Sequence[Sample], dtype: str
) -> tuple[list[Sample], Given]:
    """The shapes of one sample of the outputs of a user's `call`, and their form.

    Found out by calling it for two batch sizes: what differs is the batch axis.

    Args:
        layer: of the user.
        given: the arguments of the call.
        shapes: of one sample of each tensor among these.
        dtype: of them.

    Raises:
        ValueError: if an output has no batch axis in front.
    """
    found, form = [], given
    for batch in (2, 3):

        def call(*xs: Tensor) -> Any:
            return call_of(layer, *given.filled(xs), False)

        leaves = [((batch, *shape), dtype) for shape in shapes]
        trace, _, y = trace_of(call, leaves, False, batch)
        tensors, form = results(layer, y)
        found.append([t.shape for t in tensors])
    _check_held(layer, trace)
    layer._may_add = bool(trace.losses)
    for two, three in zip(*found, strict=True):
        if two[:1] != (2,) or three[:1] != (3,) or two[1:] != three[1:]:
            raise ValueError(
                f"{layer.name}.call: a result with one entry for each sample is expected; got the "
                f"shapes {two} for 2 samples and {three} for 3. What has none is no output; a "
                f"loss is added by self.add_loss(value)."
            )
    return [shape[1:] for shape in found[0]], form


def _check_held(layer: Any, trace: Trace) -> None:
    """Refuse weights that nothing finds: of a layer made inside the call, for one."""
    held = {id(p) for p in layer.weights}
    read = [p for p, _ in trace.parameters.values()]
    applied = [y.attributes["layer"] for y in trace.applied]
    for p in [*read, *(p for inner in applied for p in inner.own_parameters)]:
        if id(p) not in held:
            raise ValueError(
                f"{layer.name}.call uses the weight {p.path!r} of a layer that is no attribute of "
                f"{layer.name}: it would not be trained. Make the layer in __init__, and keep it "
                f"as an attribute, in a list or in a dictionary."
            )


# -- as a node


class TracedCall:
    """A user's `call` as the forward and backward pass of a node.

    The outputs of one sample lie one behind the other in that of the node.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._computation: Computation | None = None
        layer = call.layer
        given: Given = call.given or layer.given_for(len(call.xs))
        shapes = [(x.shape, x.dtype.name) for x in call.xs]
        self._trace, self._leaves, y = trace_of(
            lambda *xs: call_of(layer, *given.filled(xs), call.training),
            shapes, call.training, call.batch,
        )  # fmt: skip
        with self._trace.active():
            outputs = [convert(t, call.dtype) for t in results(layer, y)[0]]
            self._y = outputs[0]
            if len(outputs) > 1:
                flat = [ops.reshape(t, (call.batch, -1)) for t in outputs]
                self._y = ops.concatenate(flat, axis=1)
            terms = [convert(term, call.dtype) for term in self._trace.losses]
            self._loss = sum(terms[1:], terms[0]) if terms else None
        call.adds_loss = self._loss is not None

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.xs``, and ``call.loss``."""
        if self._computation is None:
            self._computation = self._bound()
        self._computation.run(0)

    def backward(self, call: Call) -> None:
        """Write the gradients of parameters and of ``call.xs`` from ``call.dy``."""
        assert self._computation is not None
        self._computation.run(1)

    def _bound(self) -> Computation:
        call, trace, y = self._call, self._trace, self._y
        arrays = {id(leaf): x for leaf, x in zip(self._leaves, call.xs, strict=True)}
        arrays |= {id(leaf): p.value for p, leaf in trace.parameters.values()}
        stages = [[Target(y, call.y.reshape(y.shape))]]
        if self._loss is not None:
            stages[0].append(Target(self._loss, call.loss.reshape(())))
        if call.dy is not None:
            dy = Tensor(y.shape, y.dtype)
            arrays[id(dy)] = call.dy.reshape(y.shape)
            stages.append(self._targets(dy))
        return Computation(call.backend, arrays, stages, call)

    def _targets(self, dy: Tensor) -> list[Target]:
        """Where gradients belong: of inputs that want one, and of parameters that are trained."""
        call, trace, leaves = self._call, self._trace, self._leaves
        inputs = [k for k, dx in enumerate(call.dxs) if dx is not None]
        read = [(p, leaf) for p, leaf in trace.parameters.values() if p.trainable and call.trains]
        outputs, cotangents = [self._y], [dy]
        if self._loss is not None:
            outputs.append(self._loss)
            cotangents.append(constant(call.loss_scale, call.dtype))
        with trace.active():
            wanted = [*(leaves[k] for k in inputs), *(leaf for _, leaf in read)]
            # Of what layers give too: these write the gradients of their own parameters.
            applied = [y for y in trace.applied if call.trains and y.attributes["layer"].weights]
            found = gradients(outputs, [*wanted, *applied], cotangents)
        targets = [Target(token) for token in trace.calls] if call.trains else []
        written = {id(p) for t in trace.calls for p in t.attributes["layer"].own_parameters}
        for k, gradient in zip(inputs, found, strict=False):
            targets.append(_target(gradient, call.dxs[k], call.accumulate_dxs[k]))
        for (p, _), gradient in zip(read, found[len(inputs) :], strict=False):
            more = call.accumulate_gradients or id(p) in written
            targets.append(_target(gradient, p.gradient, more))
        known = written | {id(p) for p, _ in read}
        if call.trains and not call.accumulate_gradients:
            for p in call.layer.weights:
                if p.trainable and id(p) not in known:
                    targets.append(_target(None, p.gradient, False))
        return targets


def _target(gradient: Tensor | None, array: Array, accumulate: bool) -> Target:
    if gradient is None:
        gradient = constant(0.0, array.dtype.name)
    return Target(gradient, array, accumulate)


# -- a layer with a forward and a backward pass, as one operation with that derivative


class _Application(Primitive):
    """A layer applied inside a trace."""

    at_once = False

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        parent: Call = computation.context
        layer, number = y.attributes["layer"], y.attributes["number"]
        call = Call(
            computation.backend, layer, y.shape[0], parent.dtype, y.attributes["training"],
            len(arrays), parent.precision, parent.control,
            layer.stream_seed(parent.seed), parent.stream + number * STREAMS,
        )  # fmt: skip
        for k, array in enumerate(arrays):
            call.reads(k, array)
        call.y = out
        computation.calls[id(y)] = call
        if layer.is_view(call):
            return stored(computation.backend, call.x, out)
        return partial(layer.forward, call)


class _Backward(Primitive):
    """The backward pass of an application: the gradients of its inputs, one behind the other."""

    writes = True  # the gradients of parameters

    def bind(self, computation: Any, out: Array, arrays: list[Any], y: Tensor) -> Work:
        backend, parent = computation.backend, computation.context
        call, trains = computation.calls[id(y.inputs[1])], y.attributes["trains"]
        if not trains:  # beside which there may be one that does
            call = copy(call)
            call.dxs, call.accumulate_dxs = list(call.dxs), list(call.accumulate_dxs)
        # A backward pass may overwrite what it is given.
        given, own = arrays[0], computation.is_last_use(y.inputs[0])
        call.dy = given if own else backend.empty(call.y.shape, call.y.dtype)
        at = 0
        for k, x in enumerate(call.xs):
            call.writes(k, out[at : at + x.size].reshape(x.shape), False)
            at += x.size
        layer = call.layer
        call.trains = trains and parent.trains and any(p.trainable for p in layer.own_parameters)
        again = id(layer) in computation.written
        if trains:
            computation.written.add(id(layer))
        call.accumulate_gradients = parent.accumulate_gradients or again

        steps: list[Work] = [] if own else [stored(backend, given, call.dy)]
        view = layer.is_view(call)
        steps.append(stored(backend, call.dy, call.dx) if view else partial(layer.backward, call))

        def work() -> None:
            for step in steps:
                step()

        return work


def _application_gradient(
    dy: Tensor, y: Tensor, *xs: Tensor, layer: Any, training: bool, number: int
) -> Gradients:
    token = _backward(dy, y, *xs, layer=layer, trains=True)
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


_backward = _Backward(
    "layer's gradient",
    _no_compute,
    lambda dy, y, *xs, layer, trains: (sum(math.prod(x) for x in xs),),
    lambda *dtypes, **attributes: dtypes[0],
    unknown_derivative(lambda layer, trains: layer.name),
)
_gradient_part = Primitive(
    "part of a gradient",
    lambda array, start, shape: array[start : start + math.prod(shape)].reshape(shape),
    lambda given, start, shape: shape,
    lambda dtype, start, shape: dtype,
    lambda dy, y, token, start, shape: (ops.zeros_like(token),),  # whose derivative is not known
    view=True,
)


def _shape_of(layer: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    samples = [shape[1:] for shape in shapes]
    given = samples if layer.takes_list else samples[0]
    return (shapes[0][0], *layer.ensure_built(given, own=True))


def apply_own(layer: Any, x: Any, training: bool | None = None) -> Tensor:
    """What the forward pass of a layer gives, as one operation of the trace.

    Raises:
        TypeError: outside a trace, where a layer is called as ``layer(x)``, and for more or
            fewer tensors than it takes.
    """
    trace = current()
    if trace is None:
        raise TypeError(f"{layer.name}.call is for a call of another layer; here, write layer(x).")
    if layer.takes_list != isinstance(x, (list, tuple)):
        wanted = "a list of tensors" if layer.takes_list else "one tensor"
        raise TypeError(f"{layer.name} takes {wanted}; got {x!r}.")
    number = trace.next_draw()
    dtype = next((p.dtype for p in layer.own_parameters), None)  # None before it has values
    xs = [convert(t, dtype) for t in (x if layer.takes_list else [x])]
    y = _applied(*xs, layer=layer, training=is_training(training), number=number)
    trace.applied.append(y)
    return y


def is_training(asked: bool | None) -> bool:
    """Whether a layer inside a call trains: as its caller does, unless told otherwise."""
    trace = current()
    return bool(asked if asked is not None else trace is not None and trace.training)
