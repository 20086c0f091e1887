"""Application of layers: to symbolic tensors, in a plan, in a call, and to arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gpunn.common.config import resolve_dtype
from gpunn.common.registry import is_own
from gpunn.common.signatures import signature
from gpunn.core.draws import draws_here
from gpunn.core.holder import Runnable
from gpunn.core.plan import INPUT, Call, Node, Plan
from gpunn.core.settings import Dependencies, Settings
from gpunn.core.storage import Parameter
from gpunn.core.workspace import run_once
from gpunn.ops.conversion import tensors_of
from gpunn.ops.dtypes import from_host, is_float
from gpunn.ops.op_arguments import OpArguments, inputs_as_tensors, with_tensors

from . import traced
from .as_operation import formula_of, takes_mask
from .parameters import ensure_built, track_inside
from .shapes import Rows, dtype_of, over_lengths, sample_of
from .symbolic import (
    Application,
    SampleShape,
    SymbolicTensor,
    is_symbolic,
    put_masks,
    with_masks_passed,
)

Pass = Callable[[Call], None]
MOST_KNOWN = 40  # input shapes for which a layer with a `call` keeps its output shapes

# -- outputs


def outputs_for(
    layer: Any, shapes: Sequence[SampleShape], given: OpArguments | None
) -> tuple[list[SampleShape], OpArguments]:
    """Build a layer; return the shapes of one sample of its `call`'s outputs, and their structure.

    They are kept in the layer for the next call with such arguments.
    """
    call = given or traced.given_for(layer, len(shapes))
    # With the layer itself: a copy of it may hold the original's outputs.
    kinds = id(layer), [(tuple(shape), dtype_of(shape)) for shape in shapes]
    stale = None
    for entry in layer._outputs_known:
        known, of, found, dependencies = entry
        if of == kinds and known.is_like(call):
            if dependencies.are_current():
                return found
            stale = entry
    traced.build_for(layer, shapes, call)
    track_inside(layer)
    forms: list[OpArguments] = []

    def outputs(shapes: Sequence[SampleShape]) -> list[SampleShape]:
        made, form = traced.outputs_of(layer, call, shapes, resolve_dtype(layer.dtype))
        forms.append(form)
        return made

    made = over_lengths(list(shapes), outputs), forms[-1]
    layer._name_parameters()
    others = [entry for entry in layer._outputs_known if entry is not stale]
    others = [*others[:1], *others[1:][-MOST_KNOWN:]]  # the first is the model's
    dependencies = Dependencies(lambda: Settings([layer]))
    layer._outputs_known = [*others, (call, kinds, made, dependencies)]
    return made


def in_form(
    shapes: Sequence[SampleShape], form: OpArguments, batch: int | None = None
) -> Any:
    """Return the shapes (batch, ...) of the outputs of a `call`, in their structure."""
    return form.filled([(batch, *shape) for shape in shapes])[0][0]


def reads_several(layer: Any) -> bool:
    """Return whether a layer's own `call` cannot be called with one argument alone."""
    given = signature(type(layer).call).parameters.values()
    needed = [p for p in given if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return len(needed) > 2  # the layer itself, and the first


# -- symbolic tensors


def first_application(layer: Any, attribute: str) -> Application:
    """Return the first application of a layer, for an attribute that shows its tensors."""
    if not layer._applications:
        raise AttributeError(
            f"The layer {layer.name!r} has no {attribute} yet: it was never called on a "
            f"symbolic tensor, and is not part of a built model."
        )
    return layer._applications[0]


def symbolic_outputs(
    layer: Any, x: Any, training: bool | None = None, given: OpArguments | None = None
) -> list[SymbolicTensor]:
    """Apply a layer or model to symbolic inputs; return its outputs.

    Raises:
        ValueError, TypeError: for inputs that it does not take.
    """
    inputs = check_inputs(layer, x)
    masks, masked = masks_for(layer, inputs, given)
    shapes = infer_shapes(layer, [t.sample for t in (*inputs, *masks)], masked)
    application = Application(layer, inputs, training, given, masks, masked)
    batch, only_shape = inputs[0].shape[0], first_only_shape(inputs)
    application.outputs = tuple(
        SymbolicTensor(application, i, sample_of((batch, *shape), dtype_of(shape)), only_shape)
        for i, shape in enumerate(shapes)
    )
    return with_masks(layer, application)


def first_only_shape(tensors: Sequence[SymbolicTensor]) -> str:
    """Return why no model can compute what depends on these tensors, or an empty string."""
    return next((t.only_shape for t in tensors if t.only_shape), "")


# What follows differs for models.


def by_kind(function: Callable[..., Any]) -> Any:
    """Decorator of a function of a layer. Its attribute ``for_models`` is a decorator of the
    function that is called for a model instead, see `gpunn.structure.nested`."""
    others: dict[str, Callable[..., Any]] = {}

    def chosen(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return others.get(operation._kind, function)(operation, *args, **kwargs)

    chosen.for_models = functools.partial(others.setdefault, "model")  # type: ignore[attr-defined]
    return chosen


@by_kind
def check_inputs(layer: Any, x: Any) -> list[SymbolicTensor]:
    """Return the tensors that a layer reads from the inputs that it was called on.

    Raises:
        ValueError, TypeError: for too many or too few tensors, or other objects.
    """
    given = list(x) if isinstance(x, (list, tuple)) else [x]
    for entry in given:
        if not isinstance(entry, SymbolicTensor):
            raise TypeError(
                f"{layer.name}: symbolic tensors and arrays cannot be mixed; got {entry!r}."
            )
        if not entry.shape:
            raise ValueError(f"{layer.name}: inputs (batch, ...) are expected; got a scalar.")
        if entry.dtype == "string" and not layer._on_host:
            raise TypeError(
                f"{layer.name} takes numbers, but {entry.name!r} holds strings: put "
                f"layers.StringLookup between them."
            )
        if layer._on_host and not entry.on_host:
            raise ValueError(
                f"{layer.name} encodes data while they are fed, so it can only be applied to an "
                f"input of the model, but {entry.name!r} is computed in the step. Put "
                f"{layer.name} after gpunn.Input, before all other layers."
            )
    if layer.takes_list and not (layer._has_call or isinstance(x, (list, tuple))):
        raise ValueError(f"{layer.name} takes a list of tensors; got {x!r}.")
    if not (layer._has_call or layer.takes_list) and len(given) > 1 + takes_mask(layer):
        raise ValueError(
            f"{layer.name} takes one tensor; got {len(given)}. Merge them first, with "
            f"layers.Concatenate or layers.Add."
        )
    layer._fix_batch(given[0].shape)
    return given


@by_kind
def masks_for(
    layer: Any, inputs: Sequence[SymbolicTensor], given: OpArguments | None
) -> tuple[Sequence[Any], Any]:
    """Return the masks of inputs that are passed with them, and the arguments with them."""
    args, kwargs = _filled(layer, inputs, given)
    with_masks = with_masks_passed(layer, args, kwargs)
    if with_masks is kwargs:
        return (), given
    tensors, masked = OpArguments.of(args, with_masks, lambda x: isinstance(x, SymbolicTensor))
    return tensors[len(inputs) :], masked


@by_kind
def with_masks(layer: Any, application: Application) -> list[SymbolicTensor]:
    """Return the outputs of an application, with their masks."""
    given, read = application.masked, (*application.inputs, *application.masks)
    args, kwargs = _filled(layer, read, given)
    put_masks(layer, args, kwargs, application.outputs)
    return list(application.outputs)


def _filled(layer: Any, inputs: Sequence[Any], given: OpArguments | None) -> Any:
    return (given or traced.given_for(layer, len(inputs))).filled(inputs)


# -- nodes of a plan


def _read_as(layer: Any, shapes: Sequence[SampleShape]) -> list[SampleShape]:
    """Return the shapes of inputs with the dtypes as which a layer reads them."""
    kept = layer._reads_integers and (layer._has_call or all(map(dtype_of, shapes)))
    return [shape if kept else tuple(shape) for shape in shapes]


def _node_shapes(
    layer: Any, shapes: Sequence[SampleShape], given: OpArguments | None
) -> list[SampleShape]:
    """Return the shapes of the outputs of a layer's node for inputs of these shapes; build it."""
    read = _read_as(layer, shapes)
    if layer._has_call:
        return layer._outputs_for(read, given)[0]
    shape = ensure_built(layer, read if layer.takes_list else read[0])
    if given is None and not any(map(dtype_of, read)):
        return [shape]
    if layer._reshapes:
        return [sample_of(shape, dtype_of(read[0]))]
    default, floats = given or traced.given_for(layer, len(read)), resolve_dtype(layer.dtype)

    def outputs(read: Sequence[SampleShape]) -> list[SampleShape]:
        return traced.outputs_of(layer, default, read, floats, formula_of(layer))[0]

    return over_lengths(read, outputs)


@by_kind
def infer_shapes(
    layer: Any, shapes: Sequence[SampleShape], given: OpArguments | None = None
) -> list[SampleShape]:
    """Return the shapes of a layer's outputs for inputs of these shapes, with their dtypes; declare
    the parameters."""
    found = _node_shapes(layer, shapes, given)
    return layer._encoded_shapes(shapes, found) if layer._on_host else found


@by_kind
def append_nodes(
    layer: Any,
    nodes: list[Node],
    sources: Sequence[int],
    shapes: Sequence[SampleShape],
    path: str = "",
    training: bool | None = None,
    given: OpArguments | None = None,
) -> list[int]:
    """Append the nodes of one application of a layer to ``nodes``: the layer's own, and additional
    ones after it. Return the numbers of its outputs.

    Args:
        sources, shapes: numbers of the nodes it reads, and shapes of their outputs.
        path: prefix of the names of its nodes.
        training, given: as in `Application`.
    """
    outputs = _node_shapes(layer, shapes, given)
    at, name = len(nodes), f"{path}{layer.name}"
    reads = tuple(map(dtype_of, _read_as(layer, shapes)))
    rows = Rows.of(outputs)
    node = Node(
        layer, tuple(sources), rows.shape, name, training, given, reads, rows.dtype,
        rows.integers, tuple(outputs) if len(outputs) > 1 else (),
    )
    nodes.append(node)
    if layer.activity_regularizer is not None:
        if len(outputs) > 1:
            raise ValueError(f"{layer.name}: activity_regularizer is for layers of one output.")
        penalty = ActivityPenalty(layer)
        name = f"{name}/activity_regularizer"
        read = node.dtype
        nodes.append(Node(penalty, (at,), rows.shape, name, training, None, (read,), read))
        return [at + 1]
    if len(outputs) == 1:
        return [at]
    for k, (shape, (start, beside)) in enumerate(zip(outputs, rows.places, strict=True)):
        part = OutputSlice(f"{layer.name}_{k}", start)  # of the node's output
        reads = (None if beside else rows.dtype,)
        of_node = (at,), tuple(shape), f"{name}/{k}", training, None, reads, dtype_of(shape)
        nodes.append(Node(part, *of_node, reads_integers=beside))
    return list(range(at + 1, len(nodes)))


class _AdditionalNode(Runnable):
    """What runs in an additional node after a layer's own: it has no parameters."""

    _traceable = True
    weights = parameters = _own_parameters = ()

    def _with_layers_inside(self) -> list[Any]:
        return [self]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return iter(())


class OutputSlice(_AdditionalNode):
    """One of several outputs of a `call`: the part from ``start`` in a row of its node, or of the
    integers beside it."""

    def __init__(self, name: str, start: int) -> None:
        self.name, self.start = name, start

    def _passes(self, call: Call) -> tuple[Pass, Pass]:
        return self.forward, self.backward

    def forward(self, call: Call) -> None:
        y = call.y.reshape(call.batch, math.prod(call.y.shape[1:]))  # there may be no rows
        if is_float(y.dtype.name):
            call.backend.copy_columns(call.x, self.start, y, 0, y.shape[1])
        else:
            part = call.x[:, self.start : self.start + y.shape[1]]
            call.backend.xp.copyto(y, part, casting="unsafe")

    def backward(self, call: Call) -> None:
        dy = call.dy.reshape(call.batch, math.prod(call.dy.shape[1:]))
        if not call.accumulate_dx:
            call.backend.xp.copyto(call.dx, 0)
        call.backend.copy_columns(dy, 0, call.dx, self.start, dy.shape[1], accumulate=True)


class ActivityPenalty(_AdditionalNode):
    """The penalty on a layer's output, which is passed on unchanged."""

    _has_call = _reads_integers = _may_add_losses = True

    def __init__(self, layer: Any) -> None:
        self.name, self.penalizes = f"{layer.name}_penalty", layer

    def _passes(self, call: Call) -> tuple[Pass, Pass]:
        found = traced.TracedPasses(call, self.call)
        return found.forward, found.backward

    def call(self, x: Any) -> Any:
        return traced.penalized(x, self.penalizes.activity_regularizer)


# -- tensors and arrays


def dispatch(layer: Any, args: Any, kwargs: dict[str, Any], training: bool | None) -> Any:
    """Apply a layer to symbolic tensors, to tensors of a trace, or to arrays."""
    own = layer._has_call and "inputs" in kwargs and "inputs" in signature(layer.call).parameters
    if "inputs" in kwargs and not own:  # Keras's name of an input, whatever a `call` names it
        args = (kwargs.pop("inputs"), *args)
    if not layer._has_call:
        args, kwargs, training = _alone(layer, *args, **{"training": training, **kwargs})
    if not is_symbolic((args, kwargs)):
        kwargs = dict(with_masks_passed(layer, args, kwargs))
        if traced.is_traced((args, kwargs)):
            args, kwargs = with_tensors((args, kwargs), layer.dtype)
            args = *inputs_as_tensors(args[:1]), *args[1:]  # the others may be assigned to
            y = traced.apply(layer, args, kwargs, training)
        else:
            trains = traced.trains_alone(layer) if training is None else bool(training)
            y = tensors_of(layer._run(*args, training=trains, **kwargs))
        return put_masks(layer, args, kwargs, y)
    if not (layer._has_call or kwargs):
        return symbolic_outputs(layer, args[0], training)[0]
    tensors, given = OpArguments.of(args, kwargs, lambda x: isinstance(x, SymbolicTensor))
    plain = given.is_like(traced.given_for(layer, len(tensors)))
    made = symbolic_outputs(layer, tensors, training, None if plain else given)
    if not layer._has_call:
        return made[0]
    application = made[0].application
    tensors += application.masks
    form = layer._outputs_for([t.sample for t in tensors], application.masked or given)[1]
    return form.filled(made)[0][0]


def run(layer: Any, *args: Any, training: bool, **kwargs: Any) -> Any:
    """Run a layer by itself on an array (batch, ...), or several of them."""
    if draws_here(layer):
        return _run_in_trace(layer, args, kwargs, training)
    own = next((p.stored_dtype for p in layer.weights), None)
    dtype = own or resolve_dtype(layer.dtype)
    if layer.takes_list and not isinstance(args[0], (list, tuple)):
        raise ValueError(
            f"{layer.name} must be called on a list of arrays; got {type(args[0]).__name__}."
        )
    xs, given = [args[0]] if args else [], OpArguments()
    if layer.takes_list and not (kwargs or args[1:]):
        xs, given = list(args[0]), traced.given_for(layer, len(args[0]))
    elif layer._has_call or kwargs:
        xs, given = OpArguments.of(args, kwargs, _is_array, _holds_no_array)
    xs = [_own_array(layer, entry, dtype) for entry in xs]
    single = [array.ndim == 0 for array in xs]
    if any(single[:1]) or (any(single) and not _is_custom(layer)):
        raise ValueError(f"{layer.name}: x must have a batch axis; got a single number.")
    if any(single):  # beside x
        return _run_in_trace(layer, args, kwargs, training)
    if len({len(array) for array in xs}) > 1:
        if _is_custom(layer):  # some may have no rows, as a mask (T, S)
            return _run_in_trace(layer, args, kwargs, training)
        raise ValueError(
            f"{layer.name}: arrays with the same number of rows are expected; got "
            f"{', '.join(str(len(a)) for a in xs)}."
        )
    shapes = [sample_of(array.shape[1:], array.dtype.name) for array in xs]
    nodes: list[Node] = []
    sources = [INPUT - k for k in range(len(xs))]
    try:
        outputs = append_nodes(
            layer, nodes, sources, shapes, given=given if layer._has_call or kwargs else None
        )
    except traced.NoRowsError:  # alone, it may return what it likes
        layer._own_storage()
        args, kwargs = with_tensors((args, kwargs), dtype)
        return traced.call_of(layer, args, kwargs, training)
    dtypes = map(dtype_of, shapes)
    backend, plan = layer._own_storage().backend, Plan(nodes, shapes, outputs, None, dtypes)
    uploaded = [backend.upload(array) for array in xs]
    number = next(layer._training_calls) if training or plan.may_draw else 0
    made, layer._added, _ = run_once(plan, backend, dtype, uploaded, training, number, 0)
    return layer._outputs_for(shapes, given)[1].filled(made)[0][0] if layer._has_call else made[0]


def _run_in_trace(layer: Any, args: Any, kwargs: Any, training: bool) -> Any:
    """Run a layer by itself as inside a tape, where a function numbers its draws."""
    from gpunn.ops.library.derivatives import as_tensors
    from gpunn.ops.running.tape_trace import in_trace

    def applied() -> Any:
        given, named = with_tensors((args, kwargs), layer.dtype)
        given = *inputs_as_tensors(as_tensors(given[:1])), *given[1:]
        return traced.apply(layer, given, named, training)

    y, losses = in_trace(applied)
    layer._name_parameters()
    layer._added = [np.asarray(loss).reshape(1) for loss in losses]
    return y


def _own_array(layer: Any, x: Any, dtype: str) -> np.ndarray:
    """Return an array that a layer is called on; integers and booleans become floats unless it
    reads them unconverted."""
    array = np.asarray(x)
    if array.dtype.kind in "biu" and layer._reads_integers:
        return from_host(array, "bool" if array.dtype == bool else "int32")
    return array.astype(dtype, copy=False)


def _alone(
    layer: Any, *args: Any, training: Any = None, mask: Any = None, **others: Any
) -> tuple[Any, Any, Any]:
    """Return the arguments of a layer that takes one input; ``training`` may follow it."""
    if not args and "x" in others:
        args = (others.pop("x"),)
    if others or not 1 <= len(args) <= 2:
        raise TypeError(
            f"{layer.name} takes one input, and training; got {len(args)} arguments"
            f"{''.join(f', and {name}' for name in others)}."
        )
    if mask is not None and not takes_mask(layer):
        raise TypeError(f"{layer.name} computes each step alone: it takes no mask.")
    x, more = args if len(args) == 2 else (args[0], None)
    return (x,), {} if mask is None else {"mask": mask}, more if training is None else training


def _is_custom(layer: Any) -> bool:
    """Whether a user's `call` computes the layer."""
    return layer._has_call and not is_own(layer)


def _is_array(x: Any) -> bool:
    return not isinstance(x, (bool, int, float, str, np.generic)) and x is not None


def _holds_no_array(x: Any) -> bool:
    """Whether lists of numbers are one array, not several."""
    if isinstance(x, dict):
        return False
    if isinstance(x, (list, tuple)):
        return not any(hasattr(entry, "__array__") or not _holds_no_array(entry) for entry in x)
    return True
