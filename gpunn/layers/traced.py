"""`TracedPasses`: the forward and backward pass of a custom `call`, as a node of a plan.

A layer whose class implements ``call`` is traced: its `call` runs once, for the shapes of a
workspace, and `gpunn.ops.running` then repeats the recorded operations. Layers inside it are single
operations of the trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gpunn.common.config import resolve_dtype, runs_eagerly
from gpunn.common.nested import any_in, replaced
from gpunn.common.registry import Entry
from gpunn.common.signatures import required, signature
from gpunn.core.plan import Call
from gpunn.core.recording import recorded
from gpunn.core.settings import traced_call
from gpunn.core.storage import Parameter
from gpunn.core.tracked_metrics import metrics_of_layer
from gpunn.ops.conversion import convert, is_variable
from gpunn.ops.dtypes import floating, is_float
from gpunn.ops.gradients import differentiable, gradients
from gpunn.ops.op_arguments import OpArguments, Place
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import EagerStages, EagerTrace, Stages, stages_of, trace_for
from gpunn.ops.running.functions import or_zero
from gpunn.ops.running.shape_trace import (
    ShapeTrace,
    check_axes,
    entries_per_sample,
    trace_of,
)
from gpunn.ops.tensor import Tensor, constant, ops
from gpunn.ops.trace import Mode, Trace, current, tracing

from .as_operation import is_training
from .shapes import (
    check_spec,
    covers,
    dtype_of,
    sample_of,
    unknown,
    without_batch_axis,
)
from .symbolic import SampleShape


def takes_training(layer: Any) -> bool:
    """Whether a custom `call` has an argument ``training``."""
    parameters = signature(type(layer).call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def trains_alone(layer: Any) -> bool:
    """Whether a `call` is in training mode if nothing says otherwise: its argument ``training`` is
    True by default, as in Keras."""
    call = type(layer).call
    if call not in _trains_alone:
        given = signature(call).parameters.get("training")
        _trains_alone[call] = getattr(given, "default", None) is True
    return _trains_alone[call]


_trains_alone = WeakKeyDictionary[Callable[..., Any], bool]()


def call_of(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool) -> Any:
    """Return the result of a custom `call` for these arguments."""
    options = dict(kwargs)
    given = signature(layer.call).bind_partial(*args, **kwargs).arguments
    if takes_training(layer) and "training" not in given:
        options.setdefault("training", training)
    call = partial(layer.call, *args, **options)
    is_part = isinstance(layer, Entry)  # else a built-in one, which changes nothing
    return traced_call(layer, layer._call_name, call) if is_part else call()


class NoRowsError(ValueError):
    """A result of a `call` has no batch axis: no model can contain the layer."""


def is_traced(x: Any) -> bool:
    """Whether ``x`` is a tensor whose values are computed in each step, or holds one. This is true
    of every array inside a trace, since a layer that is applied to it may be trained."""
    if current() is not None:
        return any_in(lambda one: isinstance(one, (Tensor, np.ndarray)) or is_variable(one), x)
    return any_in(lambda one: isinstance(one, Tensor) and not one.has_values, x)


def build_for(layer: Any, shapes: Sequence[SampleShape], given: OpArguments) -> None:
    """Build a layer with a `call` for tensors of these shapes of one sample, once.

    A `build` with several arguments, ``a_shape`` and ``b_shape``, gets the shapes of the
    arguments ``a`` and ``b`` of `call`. With a single argument it gets the shape of the first.
    """
    check_spec(layer, shapes, resolve_dtype(layer.dtype))
    args, kwargs = given.filled([(None, *unknown(shape)) for shape in shapes])
    args, kwargs = replaced(lambda x: getattr(x, "shape", x), (args, kwargs))  # of constants
    first = args[0] if args else next(iter(kwargs.values()))
    if not layer.built:
        names = list(signature(type(layer).build).parameters)[1:]
        if len(names) == 1:
            layer.build(first)
        else:
            bound = signature(type(layer).call).bind(layer, *args, **kwargs).arguments
            shapes_of = {name: bound.get(name.removesuffix("_shape")) for name in names}
            known = {name: shape for name, shape in shapes_of.items() if shape is not None}
            if known.keys() >= {*required(type(layer).build)[1:]}:
                layer.build(**known)
            elif not layer._builds_itself:
                raise TypeError(
                    f"{layer.name}: build takes {', '.join(names)}, so call needs an argument for "
                    f"each, such as {names[-1].removesuffix('_shape')}; it takes "
                    f"{', '.join(signature(layer.call).parameters)}. Or write "
                    f"build(self, input_shape)."
                )
    if layer.input_shape is None or not covers(layer.input_shape, without_batch_axis(first)):
        layer.input_shape = without_batch_axis(first)
    for inner in () if layer.trainable else layer._layers_inside:
        inner.trainable = False


def given_for(layer: Any, count: int) -> OpArguments:
    """Return the default arguments of a layer: one tensor, or a list of ``count`` tensors."""
    several = layer.takes_list or count != 1
    return OpArguments(([Place(k) for k in range(count)],)) if several else OpArguments()


def apply(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any], training: bool | None) -> Any:
    """Apply a layer to tensors inside a trace."""
    if layer._on_host:
        raise TypeError(not_in_a_call(layer))
    if layer._has_call:
        tensors, given = OpArguments.of(args, kwargs, lambda x: isinstance(x, Tensor))
        build_for(layer, [t.shape[1:] for t in tensors], given)
        with tracing().calling(training):
            y = call_of(layer, args, kwargs, is_training(training))
        layer._shapes_in_call = replaced(_shown, y)
    else:
        y = layer.call(args[0], training, **kwargs)
    return penalized(y, layer.activity_regularizer)


def _shown(t: Any) -> Any:
    """Return the shape of an output as models show it, without the size of the batch."""
    return (None, *t.shape[1:]) if getattr(t, "shape", ()) else ()


def not_in_a_call(layer: Any) -> str:
    """Return the message for a layer that computes on the host and is applied inside a call."""
    return (
        f"{layer.name} encodes data while they are fed, and cannot be applied inside a call. Apply "
        f"it before: x = gpunn.Input((1,)), gpunn.Model(x, mine({layer.name}(x)))."
    )


@recorded
def add_loss(loss: Any) -> None:
    """Add a loss, or each of several, to the loss of the traced step.

    Raises:
        TypeError: outside a trace.
    """
    trace = current()
    if trace is None:
        raise TypeError("add_loss must be called inside call(x): each step then adds that loss.")
    for term in loss if isinstance(loss, (list, tuple)) else [loss]:
        numbers = convert(term)  # a sum of integers might exceed int32
        numbers = convert(numbers, floating(numbers.dtype))
        shard = trace.mode.shard
        if trace.entries(numbers.shape) and shard is not None and shard.rows:
            numbers = numbers * (shard.whole / shard.rows)  # other ranks add losses of their rows
        trace.losses.append(ops.sum(numbers))


def penalized(y: Tensor, regularizer: Any) -> Tensor:
    """Return ``y``; add a regularizer's penalty on it, divided by the batch size, to the loss."""
    if regularizer is None:
        return y
    name = getattr(regularizer, "function_name", type(regularizer).__name__)
    penalty = traced_call(regularizer, f"The regularizer {name!r}", lambda: regularizer(y))
    add_loss(penalty / max(1, y.shape[0]))  # of no rows it is 0
    return y


# -- outputs


def results(layer: Any, y: Any) -> tuple[list[Tensor], OpArguments]:
    """Return the tensors of a custom `call`'s result, of which there must be one, and their
    structure."""
    tensors, form = OpArguments.of([y], {}, lambda x: isinstance(x, (Tensor, Parameter)))
    has_others = any_in(lambda one: not isinstance(one, Place), form.args[0])
    if tensors and form.filled(tensors) == ((y,), {}) and not has_others:
        return [convert(t) for t in tensors], form
    raise TypeError(
        f"{layer._call_name} must return a tensor, or a list, tuple or dictionary of tensors; got "
        f"{y!r}."
    )


def side_by_side(
    outputs: Sequence[Tensor], batch: int, has_integers: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs of a call as the columns that a plan holds: the floats, or all if all are
    integers; and the integers beside floats, None without any."""
    if len(outputs) == 1:
        return outputs[0], None
    rows = [ops.reshape(t, (batch, math.prod(t.shape[1:]))) for t in outputs]
    floats = [t for t in rows if is_float(t.dtype)]
    columns = ops.concatenate(floats or rows, axis=1)
    if not has_integers:
        return columns, None
    beside = [convert(t, "int32") for t in rows if not is_float(t.dtype)]
    return columns, ops.concatenate(beside, axis=1)


def outputs_of(
    layer: Any,
    given: OpArguments,
    shapes: Sequence[SampleShape],
    dtype: str,
    function: Callable[..., Any] | None = None,
) -> tuple[list[SampleShape], OpArguments]:
    """Return the shapes of one sample of the outputs of a custom `call`, with their dtypes, and
    their structure.

    They are found by calling it for two batch sizes: the axis that differs is the batch axis.

    Args:
        shapes: of one sample of each tensor among the ``given`` arguments.
        dtype: of float tensors.
        function: used instead of the `call`.

    Raises:
        NoRowsError: if an output has no batch axis in front.
    """
    found, form = [], given
    for batch in (2, 3):

        def call(*xs: Tensor) -> Any:
            args, kwargs = given.filled(xs)
            if function is None:
                y = call_of(layer, args, kwargs, False)
            else:
                y = function(*args, **kwargs)
            if not any_in(lambda one: isinstance(one, Parameter), y):
                return y
            return replaced(lambda one: convert(one) if isinstance(one, Parameter) else one, y)

        leaves = [((batch, *shape), dtype_of(shape) or dtype) for shape in shapes]
        trace, y = trace_of(call, leaves)
        tensors, form = results(layer, y)
        found.append([t.shape for t in tensors])
    _check_tracked(layer, trace)
    if trace.losses and not layer._added:
        layer._added = None
    for two, three in zip(*found, strict=True):
        if two[:1] != (2,) or three[:1] != (3,) or two[1:] != three[1:]:
            raise NoRowsError(
                f"{layer._call_name}: a result with one entry for each sample is expected; got the "
                f"shapes {two} for 2 samples and {three} for 3. Use self.add_loss(value) to add a "
                f"loss."
            )
    return [sample_of(t.shape[1:], t.dtype) for t in tensors], form


def _check_tracked(layer: Any, trace: Trace) -> None:
    """Raise an error for weights that are not tracked, such as in a layer created in call."""
    tracked = {id(p) for p in layer.weights}
    applied = [y.attributes["layer"] for y in trace.applied]
    for p in [*trace.parameters, *(p for inner in applied for p in inner._own_parameters)]:
        if id(p) not in tracked:
            raise ValueError(
                f"{layer._call_name} uses the weight {p.path!r} of a layer that is not an "
                f"attribute of {layer.name}: it would not be trained. Create the layer in "
                f"__init__, and keep it as an attribute, in a list or in a dictionary."
            )


# -- as a node


class TracedPasses:
    """The forward and backward pass of a custom `call`, traced for one node alone.

    It is traced once. In eager steps each forward pass traces it, which also computes it.

    The outputs of one sample are stored one after the other in the row of the node, integers
    beside floats. ``function`` is traced instead of the `call`, if given.
    """

    def __init__(self, call: Call, function: Callable[..., Any] | None = None) -> None:
        self._call, self._function = call, function
        self._stages: Stages | None = None
        self._entries: Sequence[int] = ()
        if call.shard is not None:
            samples = [(x.shape[1:], x.dtype.name) for x in call.xs]
            name = call.layer._call_name
            self._entries = entries_per_sample(name, self._called, samples, call.training)
        self._mode = Mode.call(call, self._entries, is_formula=function is not None)
        self._follow((ShapeTrace if runs_eagerly() else Trace)(self._mode))
        if not runs_eagerly():  # then each step may read others
            call.depends = self._depends
        self._prepare_metrics()
        call.adds_loss = self._loss is not None

    def _depends(self, starts: Container[int] | None) -> list[int]:
        """See `Call.depends`."""
        call, trace = self._call, self._trace
        outputs = self._outputs if starts is None else [t for t, n in self._starts() if n in starts]
        read = differentiable([*outputs, *([] if self._loss is None else [self._loss])])
        found = {id(t) for t in read}
        weights = {id(p) for p in trace.parameters if id(trace.variables[id(p)].first) in found}
        for layer in (t.attributes["layer"] for t in trace.applied if id(t) in found):
            weights.update(map(id, layer.weights))
        call.unread = {id(p) for p in call.layer.weights} - weights
        return [k for k, leaf in enumerate(self._leaves) if id(leaf) in found]

    def _starts(self) -> Iterator[tuple[Tensor, int]]:
        """Yield the outputs of a `call` with several, with their places in a row of its node."""
        at = 0
        floats = [t for t in self._outputs if is_float(t.dtype)]
        for t in floats or self._outputs:
            yield t, at
            at += math.prod(t.shape[1:])

    def _prepare_metrics(self) -> None:
        """Make what the updates of metrics need, before a step runs."""
        call, effects = self._call, self._trace.effects if self._call.counts else []
        tracked = metrics_of_layer(call.layer) if effects else []
        for effect in effects:
            effect.prepare(call.backend)
            for part in effect.parts:
                if not (part._traceable or any(part is metric for metric in tracked)):
                    raise ValueError(
                        f"{call.layer._call_name} updates the metric {part.name!r}, which defines "
                        f"its own formula and is no attribute of {call.layer.name}. Create it in "
                        f"__init__, and keep it as an attribute, in a list or in a dictionary."
                    )

    def _called(self, *xs: Tensor) -> Any:
        """Return the result of the custom `call` for these tensors."""
        call, layer = self._call, self._call.layer
        given: OpArguments = call.given or given_for(layer, len(call.xs))
        args, kwargs = given.filled(xs)
        if self._function is not None:
            return self._function(*args, **kwargs)
        return call_of(layer, args, kwargs, call.training)

    def _follow(self, trace: Trace) -> None:
        """Run the custom `call` in a trace."""
        call, layer = self._call, self._call.layer
        self._trace = trace
        self._leaves = leaves = list(map(trace.placeholder, call.xs))
        with trace.active():
            outputs, dtype = results(layer, self._called(*leaves))[0], call.y.dtype.name
            self._outputs = outputs
            self._check_outputs(outputs)
            if call.shard is not None:
                check_axes(layer._call_name, trace.lengths, self._entries)
            self._check_weights()
            self._y, self._integers = side_by_side(outputs, call.batch, call.integers is not None)
            self._y = convert(self._y, dtype)
            terms = [convert(term, call.dtype) for term in trace.losses]
            self._loss = sum(terms[1:], terms[0]) if terms else None

    def _check_outputs(self, outputs: Sequence[Tensor]) -> None:
        """Raise an error for outputs of other shapes and dtypes than the model was built for."""
        call = self._call
        built = call.parts or (sample_of(call.y.shape[1:], call.y.dtype.name),)
        made = [sample_of(t.shape[1:], t.dtype) for t in outputs]
        if not call.parts and dtype_of(built[0]) is None:
            made = [tuple(sample) for sample in made]  # integers become floats there
        same = [(tuple(s), dtype_of(s)) for s in made] == [(tuple(s), dtype_of(s)) for s in built]
        if not same or any(t.shape[:1] != (call.batch,) for t in outputs):
            now = ", ".join(f"{t.shape} of {t.dtype}" for t in outputs)
            before = ", ".join(f"{tuple(s)} of {dtype_of(s) or call.dtype}" for s in built)
            raise ValueError(
                f"{call.layer._call_name} gives the shapes {now} for {call.batch} samples, but "
                f"gave {before} for each when the model was built. Build a new model after such a "
                f"change."
            )

    def _check_weights(self) -> None:
        """Raise an error for weights outside the model's storage: no step would train them."""
        layer = self._call.layer
        if self._function is not None and self._call.training:  # a `call` was checked before
            own = set(map(id, layer.weights))
            for p in self._trace.parameters:
                if id(p) not in own:
                    raise ValueError(
                        f"{layer.name} computes with the weight {p.path!r} of another layer, which "
                        f"would get a part of its gradient. Write call(self, x) in its class, that "
                        f"returns super().call(x), and keep that layer as an attribute."
                    )
        applied = [y.attributes["layer"] for y in self._trace.applied]
        used = [*self._trace.parameters, *(p for inner in applied for p in inner._own_parameters)]
        known = next((p.storage for p in layer.weights if p.storage is not None), None)
        others = ", ".join(dict.fromkeys(p.path for p in used if p.storage is not known))
        if others or (used and known is None):
            raise ValueError(
                f"{layer._call_name} uses weights that were created after the model was built "
                f"({others}): no step would train them. Create all layers in the constructor, and "
                f"apply each of them for any value of `training`; or create a new model."
            )

    def forward(self, call: Call) -> None:
        """Write ``call.y`` from ``call.xs``, ``call.loss``, and values assigned to parameters."""
        if runs_eagerly():
            self._follow(trace_for(call.backend, self._mode, call))
            stages_of(self._trace, call.backend, [self._results()], call).run(0)
            return
        if self._stages is None:
            stages = [self._results()]
            if call.dy is not None:
                stages.append(self._gradients())
            spent = [] if call.dy is None else [self._dy]
            self._stages = stages_of(self._trace, call.backend, stages, call, spent)
        self._stages.run(0)

    def backward(self, call: Call) -> None:
        """Write the gradients of parameters and of ``call.xs`` from ``call.dy``."""
        if isinstance(self._trace, EagerTrace):
            EagerStages(self._trace.computed, [self._gradients()]).run(0)
        else:
            assert self._stages is not None
            self._stages.run(1)

    def _results(self) -> list[Destination]:
        """Return the results that the forward pass writes."""
        call, y, loss = self._call, self._y, self._loss
        found = [Destination(y, call.y.reshape(y.shape))]
        if self._integers is not None:
            found.append(Destination(self._integers, call.integers))
        if call.adds_loss:
            found.append(Destination(or_zero(loss, call.loss), call.loss.reshape(())))
        elif loss is not None:
            raise ValueError(
                f"{call.layer.name} adds a loss in this step, but added none when its call was "
                f"traced: add 0 in the other steps."
            )
        return found

    def _gradients(self) -> list[Destination]:
        """Return the results that the backward pass writes: the gradients of inputs that need one,
        and of trainable parameters."""
        call, trace, leaves, y = self._call, self._trace, self._leaves, self._y
        dy = self._dy = trace.placeholder(call.dy.reshape(y.shape))
        inputs = [k for k, dx in enumerate(call.dxs) if dx is not None]
        read = [p for p in trace.parameters if p.trainable and call.trains]
        outputs, cotangents = [y], [dy]
        if self._loss is not None:
            outputs.append(self._loss)
            cotangents.append(constant(call.loss_scale, call.dtype))
        with trace.active():
            wanted = [*(leaves[k] for k in inputs), *(trace.variables[id(p)].first for p in read)]
            # Of the outputs of layers too: layers write the gradients of their own parameters.
            applied = [y for y in trace.applied if call.trains and y.attributes["layer"].weights]
            found = gradients(outputs, [*wanted, *applied], cotangents)
        targets = [Destination(token) for token in trace.calls] if call.trains else []
        written = {id(p) for t in trace.calls for p in t.attributes["layer"]._own_parameters}
        for p, gradient in zip(read, found[len(inputs) :], strict=False):
            if id(p) in call.unread:
                continue
            more = call.accumulate_gradients or id(p) in written
            if (into := call.by_rows.get(id(p))) is not None:
                assert gradient is not None  # it is that of `take_unchecked`
                targets += [Destination(*one) for one in into.targets(gradient)]
                continue
            targets.append(Destination(or_zero(gradient, p.gradient), p.gradient, more))
        known = written | set(map(id, read)) | call.unread
        if call.trains and not call.accumulate_gradients:
            for p in call.layer.weights:
                if p.trainable and id(p) not in known:
                    targets.append(Destination(or_zero(None, p.gradient), p.gradient))
        # Last, so that they may be written over what the gradients of weights read.
        for k, gradient in zip(inputs, found, strict=False):
            dx = call.dxs[k]
            targets.append(Destination(or_zero(gradient, dx), dx, call.accumulate_dxs[k]))
        return targets
