"""Application of layers: to symbolic tensors, as nodes of a plan, inside a call, and to arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.common.config import resolve_dtype
from gpunn.common.nested import replaced
from gpunn.common.registry import is_own
from gpunn.common.signatures import signature
from gpunn.core.plan import INPUT, Call, HostPart, Node, Plan
from gpunn.core.settings import Settings
from gpunn.core.workspace import run_once
from gpunn.ops.dtypes import is_float
from gpunn.ops.narrow import from_host
from gpunn.ops.op_arguments import OpArguments, Place, with_tensors
from gpunn.ops.primitive import place_in_user_code

from . import traced
from .held import Holder
from .shapes import (
    Rows,
    dtype_of,
    is_shape,
    sample_of,
    whole_shape,
    with_batch_axis,
    without_batch_axis,
)
from .symbolic import GraphOperation, SampleShape, SymbolicTensor, is_symbolic

Pass = Callable[[Call], None]


class Applicable(Holder, GraphOperation):
    """The part of `Layer` that applies it to inputs.

    Attributes:
        input_shape: shape of one sample; for several inputs, in their structure.
    """

    takes_list = False
    """True for a layer that reads a list of arrays: `build` and `compute_output_shape` get a
    list of shapes, and `call.xs` and `call.dxs` hold the same number of arrays."""
    reshapes: bool
    folds_into_input = False
    """True for a layer whose ``scale`` and ``offset`` the batch gather can apply."""
    on_host = False
    """True for a layer that encodes data as numbers while they are fed, by ``encode(x, argument)``:
    it follows inputs of a model, and `call` computes the rest in the step."""
    has_call = False
    """True for a class that implements `call`, which is then traced and differentiated."""
    may_add_losses = True
    """False for a class whose `call` never adds to the loss."""
    reads_integers = False
    """True for a class whose `call` receives integers and booleans unconverted, as that of a custom
    class does; all others receive floats."""
    of_integers: Any = None
    """The function of a layer that moves or compares values, for tensors of integers, written with
    `gpunn.ops`. A layer without it computes with floats."""
    reads_beside = False
    """True for nodes that read the integers that a call gives beside floats."""
    activity_regularizer: Any = None
    input_shape: Any
    trainable: Any
    build: Any
    call: Any
    forward: Any
    backward: Any
    is_view: Any
    _training_calls: Iterator[int]
    _outputs_known: list[Any]

    @property
    def call_name(self) -> str:
        """The name of its `call` in messages."""
        return f"{self.name}.call"

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output (batch or None, ...): that of `call`, if there is one,
        else by default that of the input."""
        if not self.has_call:
            return input_shape
        tensors, given = OpArguments.of([input_shape], {}, lambda x: True, leaf=is_shape)
        shapes, form = self.outputs_for([without_batch_axis(shape) for shape in tensors], given)
        return form.filled([(None, *shape) for shape in shapes])[0][0]

    def is_left_out(self, call: Call) -> bool:
        """Whether nothing runs in this call: there is no `call`, and `is_view` is True."""
        return not self.has_call and self.is_view(call)

    def passes(self, call: Call) -> tuple[Pass, Pass]:
        """Return the functions for the forward and the backward pass of a call."""
        if self.has_call or self.is_of_integers(call.xs):
            found = traced.TracedCall(call, None if self.has_call else self.of_integers)
            return found.forward, found.backward
        return self.forward, self.backward

    def is_of_integers(self, xs: Sequence[Any]) -> bool:
        """Whether arrays or tensors must be passed to `of_integers`."""
        return self._moves_integers and not any(is_float(str(x.dtype)) for x in xs)

    @property
    def _moves_integers(self) -> bool:
        """Whether it gives integers for integers without a `call`; a layer with custom passes does
        not."""
        return (self.of_integers is not None or self.reshapes) and is_own(self)

    def ensure_built(self, input_shape: Any, own: bool = False) -> SampleShape:
        """Declare parameters for this input shape once; return the output shape.

        Both are of one sample; a layer that takes a list gets a list of shapes. With ``own``
        the output is that of `forward`, not of a `call` around it.
        """
        input_shape = whole_shape(input_shape)
        if self.has_call and not own:
            return self.outputs_for([input_shape], None)[0][0]
        known = self.input_shape is not None  # else its parameters belong to layers in it
        if self.built and known and input_shape != self.input_shape and self.weights:
            raise ValueError(
                f"Layer {self.name!r} was built for inputs of shape {self.input_shape} per "
                f"sample; got {input_shape}{place_in_user_code()}."
            )
        if not self.built:
            self.build(with_batch_axis(input_shape))
        self.input_shape = input_shape
        return self._output_sample(input_shape, own)

    def given_for(self, count: int) -> OpArguments:
        """Return the default arguments: one tensor, or a list of ``count`` tensors."""
        several = self.takes_list or count != 1
        return OpArguments(([Place(k) for k in range(count)],)) if several else OpArguments()

    def build_for(self, shapes: Sequence[SampleShape], given: OpArguments) -> None:
        """Build a layer with a `call` for tensors of these shapes of one sample, once.

        A `build` with several arguments, ``a_shape`` and ``b_shape``, gets the shapes of the
        arguments ``a`` and ``b`` of `call`. With a single argument it gets that of the first.
        """
        args, kwargs = given.filled([(None, *shape) for shape in shapes])
        args, kwargs = replaced(lambda x: getattr(x, "shape", x), (args, kwargs))  # of constants
        first = args[0] if args else next(iter(kwargs.values()))
        if not self.built:
            names = list(signature(type(self).build).parameters)[1:]
            if len(names) == 1:
                self.build(first)
            else:
                bound = signature(type(self).call).bind(self, *args, **kwargs).arguments
                self.build(**{name: bound[name.removesuffix("_shape")] for name in names})
        self.input_shape = without_batch_axis(first)
        for inner in () if self.trainable else self.layers_inside:
            inner.trainable = False

    def outputs_for(
        self, shapes: Sequence[SampleShape], given: OpArguments | None
    ) -> tuple[list[SampleShape], OpArguments]:
        """Build the layer; return the shapes of one sample of its `call`'s outputs, and their
        structure."""
        call = given or self.given_for(len(shapes))
        kinds = [(tuple(shape), dtype_of(shape)) for shape in shapes]
        stale = None
        for entry in self._outputs_known:
            known, of, found, settings = entry
            if of == kinds and known.is_like(call):
                if settings.are_same() or settings == Settings([self]):
                    return found
                stale = entry
        self.build_for(shapes, call)
        dtype = resolve_dtype(self.dtype)
        made: tuple[list[SampleShape], OpArguments] = traced.outputs_of(self, call, shapes, dtype)
        self.name_parameters()
        others = [entry for entry in self._outputs_known if entry is not stale]
        self._outputs_known = [*others, (call, kinds, made, Settings([self]))]
        return made

    def _output_sample(self, input_shape: Any, own: bool = False) -> SampleShape:
        compute = self.compute_output_shape
        if own and self.has_call:
            forward: Any = next(cls for cls in type(self).__mro__ if "forward" in vars(cls))
            if forward.compute_output_shape is Applicable.compute_output_shape:
                return input_shape
            compute = partial(forward.compute_output_shape, self)
        shape = compute(with_batch_axis(input_shape))
        return tuple(int(n) for n in shape[1:] if n is not None)

    @property
    def output_shape(self) -> Any:
        """(None, ...) with the shape of one output sample; in the structure of several outputs."""
        if self.input_shape is None:
            raise AttributeError(f"{self.name} has no output shape yet: it is not built.")
        if self.has_call and self._outputs_known:
            shapes, form = self._outputs_known[0][2]
            return form.filled([(None, *shape) for shape in shapes])[0][0]
        return (None, *self._output_sample(self.input_shape))

    @property
    def input(self) -> Any:
        """The input of its first application in a model: a symbolic tensor, or a list of them."""
        inputs = self._first_application("input").inputs
        return list(inputs) if len(inputs) != 1 else inputs[0]

    @property
    def output(self) -> SymbolicTensor:
        """The output of its first application in a model; the first of several outputs."""
        return self._first_application("output").outputs[0]

    def _first_application(self, attribute: str) -> Any:
        if not self.applications:
            raise AttributeError(
                f"The layer {self.name!r} has no {attribute} yet: it was never called on a "
                f"symbolic tensor, and is not part of a built model."
            )
        return self.applications[0]

    def check_inputs(self, x: Any) -> list[SymbolicTensor]:
        given = list(x) if isinstance(x, (list, tuple)) else [x]
        for entry in given:
            if not isinstance(entry, SymbolicTensor):
                raise TypeError(
                    f"{self.name}: symbolic tensors and arrays cannot be mixed; got {entry!r}."
                )
            if entry.dtype == "string" and not self.on_host:
                raise TypeError(
                    f"{self.name} takes numbers, but {entry.name!r} holds strings: put "
                    f"layers.StringLookup between them."
                )
        if self.has_call:
            return given
        if self.takes_list and not isinstance(x, (list, tuple)):
            raise ValueError(f"{self.name} takes a list of tensors; got {x!r}.")
        if not self.takes_list and len(given) != 1:
            raise ValueError(
                f"{self.name} takes one tensor; got {len(given)}. Merge them first, with "
                f"layers.Concatenate or layers.Add."
            )
        return given

    @property
    def host_part(self) -> HostPart | None:
        return HostPart([(self, INPUT)], [0]) if self.on_host else None

    def _shape_argument(self, shapes: Sequence[SampleShape]) -> Any:
        return list(shapes) if self.takes_list else shapes[0]

    def infer_shapes(
        self, shapes: Sequence[SampleShape], given: OpArguments | None = None
    ) -> list[SampleShape]:
        return self._given_in_steps(shapes, given)

    def _given_in_steps(
        self, shapes: Sequence[SampleShape], given: OpArguments | None
    ) -> list[SampleShape]:
        """Return the shapes of its node's outputs for inputs of these shapes."""
        read = self._read_as(shapes)
        if self.has_call:
            return self.outputs_for(read, given)[0]
        shape = self.ensure_built(self._shape_argument(read))
        if not any(map(dtype_of, read)):
            return [shape]
        if self.reshapes:
            return [sample_of(shape, dtype_of(read[0]))]
        floats = resolve_dtype(self.dtype)
        asked = self.given_for(len(read))
        return traced.outputs_of(self, asked, read, floats, self.of_integers)[0]

    def _read_as(self, shapes: Sequence[SampleShape]) -> list[SampleShape]:
        """Return the shapes of inputs with the dtypes as which it reads them."""
        moves = self._moves_integers and all(map(dtype_of, shapes))
        kept = self.reads_integers if self.has_call else moves
        return [shape if kept else tuple(shape) for shape in shapes]

    def append_nodes(
        self,
        nodes: list[Node],
        sources: Sequence[int],
        shapes: Sequence[SampleShape],
        path: str = "",
        training: bool | None = None,
        given: OpArguments | None = None,
    ) -> list[int]:
        outputs = self._given_in_steps(shapes, given)
        at, name = len(nodes), f"{path}{self.name}"
        reads = tuple(map(dtype_of, self._read_as(shapes)))
        rows = Rows.of(outputs)
        node = Node(
            self, tuple(sources), rows.shape, name, training, given, reads, rows.dtype,
            rows.integers, tuple(outputs) if len(outputs) > 1 else (),
        )  # fmt: skip
        nodes.append(node)
        if self.activity_regularizer is not None:
            if len(outputs) > 1:
                raise ValueError(f"{self.name}: activity_regularizer is for layers of one output.")
            penalty = ActivityPenalty(self)
            name = f"{name}/activity_regularizer"
            read = node.dtype
            nodes.append(
                Node(penalty, (at,), rows.shape, name, training, None, (read,), read)
            )
            return [at + 1]
        if len(outputs) == 1:
            return [at]
        for k, (shape, (start, beside)) in enumerate(zip(outputs, rows.places, strict=True)):
            part = OutputSlice(f"{self.name}_{k}", start, beside)  # of the node's output
            read, made = None if beside else rows.dtype, dtype_of(shape)
            nodes.append(
                Node(part, (at,), tuple(shape), f"{name}/{k}", training, None, (read,), made)
            )
        return list(range(at + 1, len(nodes)))

    def stream_seed(self, model_seed: int) -> int:
        """Return the key of the layer's random stream; layers with their own seed return it."""
        return model_seed

    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Run the layer by itself on an array (batch, ...), returning a NumPy array.

        On a symbolic tensor, an output of `Input` or of another layer, it returns a symbolic
        tensor. Nothing is run; `gpunn.Model` creates a model from the resulting graph.

        A layer with a `call` takes its arguments, with arrays or tensors anywhere in lists,
        tuples and dictionaries; others take one array, or one list of them.
        """
        if not self.has_call:
            args, kwargs, training = _alone(*args, **{"training": training, **kwargs})
        if traced.is_traced((args, kwargs)):
            args, kwargs = with_tensors((args, kwargs))
            return traced.apply(self, args, kwargs, training)
        if not is_symbolic((args, kwargs)):
            return self.run(*args, training=bool(training), **kwargs)
        if not self.has_call:
            return self.apply(args[0], training)[0]
        tensors, given = OpArguments.of(args, kwargs, lambda x: isinstance(x, SymbolicTensor))
        plain = given.is_like(self.given_for(len(tensors)))
        made = self.apply(tensors, training, None if plain else given)
        form = self.outputs_for([t.sample for t in tensors], given)[1]
        return form.filled(made)[0][0]

    def run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        """Run the layer by itself on an array (batch, ...), or several of them."""
        held = next((p.dtype for p in self.weights), None)
        dtype = held or resolve_dtype(self.dtype)
        if self.takes_list and not isinstance(args[0], (list, tuple)):
            raise ValueError(f"{self.name} takes a list of arrays; got {type(args[0]).__name__}.")
        xs, given = [args[0]] if args else [], OpArguments()
        if self.takes_list:
            xs, given = list(args[0]), self.given_for(len(args[0]))
        elif self.has_call:
            xs, given = OpArguments.of(args, kwargs, _is_array, _holds_no_array)
        xs = [self._own_array(entry, dtype) for entry in xs]
        for array in xs:
            if array.ndim == 0:
                raise ValueError(f"{self.name}: x must have a batch axis; got a single number.")
            if len(array) != len(xs[0]):
                raise ValueError(
                    f"{self.name}: arrays with the same number of rows are expected; got "
                    f"{', '.join(str(len(a)) for a in xs)}."
                )
        shapes = [sample_of(array.shape[1:], array.dtype.name) for array in xs]
        nodes: list[Node] = []
        sources = [INPUT - k for k in range(len(xs))]
        outputs = self.append_nodes(nodes, sources, shapes, given=given if self.has_call else None)
        dtypes = map(dtype_of, shapes)
        backend, plan = self.own_arena().backend, Plan(nodes, shapes, outputs, None, dtypes)
        uploaded = [backend.upload(array) for array in xs]
        number = next(self._training_calls) if training or plan.has_calls else 0
        made, self._added = run_once(plan, backend, dtype, uploaded, training, number, 0)
        return self.outputs_for(shapes, given)[1].filled(made)[0][0] if self.has_call else made[0]


    def _own_array(self, x: Any, dtype: str) -> np.ndarray:
        """Return an array that the layer is called on; integers and booleans become floats unless
        it reads them unconverted."""
        array = np.asarray(x)
        kept = self.reads_integers if self.has_call else self._moves_integers
        if array.dtype.kind in "biu" and kept:
            return from_host(array, "bool" if array.dtype == bool else "int32")
        return array.astype(dtype, copy=False)


class _Addition(Applicable):
    """An additional node after a layer's node in a plan."""

    dtype = None
    trainable = True
    traceable = True
    reshapes = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._parameters = []

    def is_view(self, call: Call) -> bool:
        return False


class OutputSlice(_Addition):
    """One of several outputs of a `call`: the part from ``start`` in a row of its node, or of the
    integers beside it."""

    def __init__(self, name: str, start: int, beside: bool) -> None:
        super().__init__(name)
        self.start, self.reads_beside = start, beside

    def forward(self, call: Call) -> None:
        y = call.y.reshape(call.batch, -1)
        if is_float(y.dtype.name):
            call.backend.copy_columns(call.x, self.start, y, 0, y.shape[1])
        else:
            part = call.x[:, self.start : self.start + y.shape[1]]
            call.backend.xp.copyto(y, part, casting="unsafe")

    def backward(self, call: Call) -> None:
        dy = call.dy.reshape(call.batch, -1)
        if not call.accumulate_dx:
            call.backend.xp.copyto(call.dx, 0)
        call.backend.copy_columns(dy, 0, call.dx, self.start, dy.shape[1], accumulate=True)


class ActivityPenalty(_Addition):
    """The penalty on a layer's output, which is passed on unchanged."""

    has_call = reads_integers = True

    def __init__(self, layer: Applicable) -> None:
        super().__init__(f"{layer.name}_penalty")
        self.penalizes = layer

    def call(self, x: Any) -> Any:
        return traced.penalized(x, self.penalizes.activity_regularizer)


def _alone(x: Any, more: Any = None, training: Any = None) -> tuple[Any, Any, Any]:
    """Return the arguments of a layer that takes one input; ``training`` may follow it."""
    return (x,), {}, more if training is None else training


def _is_array(x: Any) -> bool:
    return not isinstance(x, (bool, int, float, str)) and x is not None


def _holds_no_array(x: Any) -> bool:
    """Whether lists of numbers are one array, not several."""
    if isinstance(x, dict):
        return False
    if isinstance(x, (list, tuple)):
        return not any(hasattr(entry, "__array__") or not _holds_no_array(entry) for entry in x)
    return True
