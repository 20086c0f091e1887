"""A model's `call`: it runs the model's graph inside another call, or is user-defined and traced.

A model whose class defines ``call`` is a graph of one layer, `ModelCall`, which runs that call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from gpunn.common import registry
from gpunn.common.nested import TreeDef
from gpunn.common.overrides import replaces
from gpunn.common.signatures import arguments, given_to, signature
from gpunn.core.settings import traced_call
from gpunn.core.storage import Parameter
from gpunn.layers import InputLayer
from gpunn.layers.applying import symbolic_outputs
from gpunn.layers.layer import Layer
from gpunn.layers.parameters import track
from gpunn.layers.shapes import dtype_of
from gpunn.layers.symbolic import SampleShape, mask_of
from gpunn.layers.traced import takes_training
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import is_float
from gpunn.ops.op_arguments import OpArguments
from gpunn.ops.tensor import Tensor

from .graph import Graph, by_name


class ModelCall(Layer):  # pickles of models name it
    """A layer whose `call` is a model's own `call`: the only layer of such a model's graph."""

    _abstract = True  # not an entry to look up
    _reads_integers = True
    _not_watched = Layer._not_watched | {"form", "building", "_output_form", "_masked"}

    def __init__(self, model: Any, dtype: Any = None) -> None:
        super().__init__(name="call", dtype=dtype)
        self.model = model
        self.form: TreeDef | None = None  # of the inputs; None before it is known
        self._output_form = TreeDef()
        self._masked: list[bool] = []  # which outputs have a mask, which follow them
        self._builds = replaces(type(model), "build")
        self.built = not self._builds
        self.rows_are_independent = model.rows_are_independent
        self.building = False  # whether the model's own build is being called

    @property
    def _call_name(self) -> str:
        return f"{self.model.name}.call"

    def _attributes_inside(self) -> Iterator[tuple[str, Any]]:
        return self.model._attributes_inside()

    def _with_layers_inside(self) -> list[Any]:
        """Return itself, the model, whose attributes its call may read, and all layers in it."""
        return [self, *self.model._with_layers_inside()]

    @property
    def _own_parameters(self) -> list[Parameter]:
        track(self.model)
        return super()._own_parameters

    def _packed(self, given: Any) -> Any:
        assert self.form is not None
        return self.form.pack(given if self.takes_list else [given])

    def build(self, input_shape: Any) -> None:
        if self._builds:
            self.building = True
            try:
                self.model.build(self._packed(input_shape))
            finally:
                self.building = False

    def call(self, x: Any, training: bool | None = None) -> Any:
        given = self._packed(x)
        options = {"training": training} if takes_training(self.model) else {}
        call = partial(self.model.call, given, **options)
        y = traced_call(self.model, self._call_name, call)
        self._output_form = TreeDef.of(y)
        outputs = self._output_form.unpack(y)
        self._masked = [mask_of(t) is not None for t in outputs]
        found = [mask_of(t) for t in outputs if mask_of(t) is not None]
        return [*outputs, *found] if found else y

    # -- see `gpunn.structure.builder.Source`

    @property
    def layers(self) -> list[Any]:
        """The layers held as attributes of the model, in their order."""
        return self._layers_inside

    def declared_inputs(self) -> None:
        """Return None: the first data, or `build`, show the inputs."""

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Return the graph of this layer alone, for inputs with these sample shapes."""
        self.form = form = self.form or TreeDef()
        self.takes_list = form.kind is not None
        names: list[Any] = list(form.keys) or [None] * len(shapes)
        if form.is_nested:
            names = [path.replace("/", "_") or None for path in form.paths([""] * len(shapes))]
        inputs = [
            InputLayer(shape, dtype=dtype_of(shape), name=name).output
            for shape, name in zip(shapes, names, strict=True)
        ]
        outputs = symbolic_outputs(self, inputs if self.takes_list else inputs[0])
        for k in range(len(self._masked) - 1, -1, -1) if any(self._masked) else ():
            if self._masked[k]:
                outputs[k]._keras_mask = outputs.pop()
        if not self.model.trainable:  # set before there were layers
            self.model.trainable = False
        return Graph(form.pack(inputs), self._output_form.pack(outputs))


def arguments_of(model: Any) -> dict[str, Any]:
    """Return the arguments that create an equal model; see `given_to`."""
    own = signature(type(model)).parameters
    config = registry.all_described(given_to(model, ("inputs", "outputs", "backend", "dtype")))
    if "trainable" not in own:
        config.pop("trainable", None)  # each layer states its own
    if "dtype" in arguments(type(model)) and model._dtype_given is not None:
        config["dtype"] = model._dtype_given
    return config


def input_by_name(model: Any, options: dict[str, Any]) -> Any:
    """Take a model's input out of the named arguments of a call, by its `call`'s name or Keras's.

    Raises:
        TypeError: without an input.
    """
    names = *list(signature(type(model).call).parameters)[1:2], "inputs", "x"
    name = next((name for name in names if name in options), None)
    if name is None:
        given = f"got only {', '.join(options)}" if options else "got none"
        raise TypeError(f"{model.name} takes a batch of inputs; {given}. Call model(x).")
    return options.pop(name)


def run_graph(graph: Graph, x: Any, training: bool | None) -> Any:
    """Run the layers of a graph on tensors, one application after the other."""
    form = graph.input_form
    alone = form.kind is None or (len(graph.inputs) == 1 and isinstance(x, Tensor))
    given = [x] if alone else by_name(graph.input_names, form.flat(x, "inputs"), "inputs")
    found = {
        id(symbol): tensor
        if tensor.dtype == symbol.dtype or (is_float(tensor.dtype) and is_float(symbol.dtype))
        else convert(tensor, symbol.dtype)
        for symbol, tensor in zip(graph.inputs, given, strict=True)
    }
    for application in graph.applications:
        layer: Any = application.layer
        of_graph = application.training
        read = [found[id(symbol)] for symbol in application.inputs]
        asked = training if of_graph is None else of_graph
        alone = len(read) == 1 and not getattr(layer, "takes_list", False)
        args: Any = (read[0] if alone else read,)
        kwargs: Any = {}
        if application.given is not None:
            args, kwargs = application.given.filled(read)
        y = layer(*args, training=asked, **kwargs)
        made = OpArguments.of([y], {}, lambda x: True)[0]
        found.update(zip(map(id, application.outputs), made, strict=True))
    return graph.output_form.pack(found[id(symbol)] for symbol in graph.outputs)
