"""A model as a file of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.whole_files import Path, write_whole
from gpunn.core.arena import Parameter
from gpunn.core.plan import INPUT, Plan
from gpunn.layers.applying import ActivityPenalty, Part
from gpunn.layers.preprocessing.imputation import MissingIndicator, SimpleImputer
from gpunn.layers.preprocessing.lookups import IntegerLookup, StringLookup
from gpunn.ops.table import ops
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import ShapeTrace
from gpunn.ops.variable import Variable
from gpunn.saving.announcing import say_what_is_held

from .formulas import NotExportable, activation, layer_formula
from .operators import OPSET, OnnxGraph

BATCHES = 7919, 7927, 7933
"""Samples of a trace: primes, by which the batch axis is told from others."""
ML = "ai.onnx.ml"
ML_OPSET = 2


def export_onnx(model: Any, filepath: Path) -> None:
    """See `gpunn.Model.export`."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "export needs the package onnx: pip install 'gpunn[onnx]' (or pip install onnx)."
        ) from error
    model.require_values("export")
    made = _made(model, onnx)
    onnx.checker.check_model(made)
    write_whole(str(filepath), [made.SerializeToString()])
    held = model.data_held()
    inside = {place: held[place] for place in held if not place.startswith("trained_on/")}
    say_what_is_held(filepath, inside)


def _made(model: Any, onnx: Any) -> Any:
    """The model as two traces of different numbers of samples have it alike: in one alone, an axis
    of the model's own may be as long as the batch.

    Raises:
        ValueError: for what cannot be exported.
    """
    found: list[Any] = []
    refused = None
    for batch in BATCHES:
        try:
            made = _model(model, onnx, batch)
        except ValueError as error:
            refused = refused or error
            continue
        if made in found:
            return made
        found.append(made)
    raise refused or ValueError(
        f"export: the batch axis cannot be told from others, whose sizes are multiples of "
        f"{' and '.join(map(str, BATCHES))}. Nothing was written."
    )


class _Exporter:
    """One export: the trace of a plan, and the graph that it becomes."""

    def __init__(self, model: Any, batch: int) -> None:
        self.plan: Plan = model.plan
        self.batch = batch
        self.trace = ShapeTrace(False, batch)
        self.graph = OnnxGraph(batch, self._inside)
        self.cannot: list[str] = []

    def _inside(self, part: Any, inputs: Any) -> Tensor:
        """A layer or activation applied inside a call, in terms of tensors."""
        with self.trace.active():
            if part.kind == "activation":
                y: Tensor = activation(part, inputs[0], type(part).__name__)
            else:
                y = self._applied(part, [list(inputs) if part.takes_list else inputs[0]], {})
        for held in self.trace.held.values():  # weights that were read on the way
            self._put(held)
        return y

    def _put(self, held: Any) -> None:
        if isinstance(held.source, (Parameter, Variable)):
            self.graph.put(held.first, self.graph.constant(held.source.numpy()))

    def _applied(self, layer: Any, args: Any, kwargs: Any) -> Any:
        return layer_formula(layer, args, kwargs)

    def outputs(self, fed: list[Tensor]) -> list[Tensor]:
        """What comes out, node by node; what cannot be exported is noted."""
        made: list[Tensor] = []

        def found(number: int) -> Tensor:
            return made[number] if number >= 0 else fed[INPUT - number]

        for node in self.plan.nodes:
            xs = [found(n) for n in node.sources]
            shape = (self.batch, *node.output_shape)
            try:
                made.append(self._node(node, xs))
            except NotExportable as error:
                self.cannot.append(f"{node.name}: {error}")
                made.append(self.trace.leaf(shape, "float32"))
                self.graph.put(made[-1], "")  # the rest is looked at all the same
        return [found(n) for n in self.plan.outputs]

    def _node(self, node: Any, xs: list[Tensor]) -> Tensor:
        layer = node.layer
        with self.trace.active():
            if isinstance(layer, ActivityPenalty):
                return xs[0]
            if isinstance(layer, Part):
                row = ops.reshape(xs[0], (self.batch, -1))
                size = int(np.prod(node.output_shape, dtype=int))
                part = row[:, layer.start : layer.start + size]
                return ops.reshape(part, (self.batch, *node.output_shape))
            args: Any = (xs if layer.takes_list or len(xs) > 1 else xs[0],)
            kwargs: Any = {}
            if node.given is not None and layer.has_call:
                args, kwargs = node.given.filled(xs)
            y = self._applied(layer, args, kwargs)
            tensors = _flat(y)
            if len(tensors) > 1:  # as a plan keeps them: side by side
                rows = [ops.reshape(ops.cast(t, "float32"), (self.batch, -1)) for t in tensors]
                y = ops.concatenate(rows, -1)
            else:
                y = ops.convert_to_tensor(tensors[0])
            y = y if y.dtype.startswith("float") else ops.cast(y, "float32")
        for held in self.trace.held.values():
            self._put(held)
        self.graph.name_of(y)
        return y


def _flat(y: Any) -> list[Any]:
    if isinstance(y, dict):
        y = list(y.values())
    return [t for entry in y for t in _flat(entry)] if isinstance(y, (list, tuple)) else [y]


def _model(model: Any, onnx: Any, batch: int) -> Any:
    helper, types = onnx.helper, onnx.TensorProto
    exporter = _Exporter(model, batch)
    graph, host = exporter.graph, exporter.plan.host
    inputs, names = [], []
    for k, (name, tensor) in enumerate(zip(model.input_names, model.inputs, strict=True)):
        kind = types.FLOAT
        if host is not None and k in host.encoded:
            readers = [layer for layer, number in host.steps if number == INPUT - k]
            texts = any(isinstance(layer, StringLookup) for layer in readers)
            whole = any(isinstance(layer, IntegerLookup) for layer in readers)
            kind = types.STRING if texts else types.INT64 if whole else types.FLOAT
        inputs.append(helper.make_tensor_value_info(name, kind, ["batch", *tensor.sample]))
        names.append(name)
    graph.first = names[0]
    encoded: list[str] = []
    fed: list[Tensor] = []

    def found(number: int) -> str:
        return encoded[number] if number >= 0 else names[INPUT - number]

    for layer, number in host.steps if host is not None else ():
        try:
            encoded.append(_encoded(graph, layer, found(number)))
        except NotExportable as error:
            exporter.cannot.append(f"{layer.name}: {error}")
            encoded.append("")
    numbers = range(INPUT, INPUT - len(names), -1) if host is None else host.fed
    for number, shape in zip(numbers, exporter.plan.input_shapes, strict=True):
        leaf = exporter.trace.leaf((batch, *shape), "float32")
        name = found(number)
        whole = host is not None and number < 0 and INPUT - number in host.encoded
        graph.put(leaf, graph.add("Cast", name, to=types.FLOAT) if whole and name else name)
        fed.append(leaf)
    made = exporter.outputs(fed)
    if exporter.cannot:
        raise ValueError(
            f"export: ONNX has no counterpart of {'; '.join(exporter.cannot)}. Nothing was written."
        )
    outputs = []
    for name, tensor, shape in zip(
        model.output_names, made, exporter.plan.output_shapes, strict=True
    ):
        called = name if name not in names else f"{name}_output"
        graph.nodes.append(helper.make_node("Identity", [graph.name_of(tensor)], [called]))
        outputs.append(helper.make_tensor_value_info(called, types.FLOAT, ["batch", *shape]))
    read = {name for node in graph.nodes for name in node.input}
    constants = [constant for constant in graph.constants if constant.name in read]
    whole_graph = helper.make_graph(graph.nodes, model.name, inputs, outputs, constants)
    sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
    return helper.make_model(
        whole_graph, opset_imports=sets, ir_version=8, producer_name="gpunn"
    )


def _encoded(graph: OnnxGraph, layer: Any, x: str) -> str:
    """What a layer that computes on the host gives."""
    to_float = 1
    if isinstance(layer, SimpleImputer):
        fill = graph.constant(np.asarray(layer.statistics, np.float32))
        return graph.add("Where", graph.add("IsNaN", x), fill, x)
    if isinstance(layer, MissingIndicator):
        return graph.add("Cast", graph.add("IsNaN", x), to=to_float)
    if not isinstance(layer, (StringLookup, IntegerLookup)) or layer.invert:
        raise NotExportable(f"what {type(layer).__name__} does on the host")
    if layer.num_oov_indices != 1:
        raise NotExportable(
            f"num_oov_indices={layer.num_oov_indices} (unknown values that are refused or hashed)"
        )
    tokens = layer.get_vocabulary(include_special_tokens=False)
    start = layer.vocabulary_size() - len(tokens)
    codes = list(range(start, start + len(tokens)))
    if layer.mask_token is not None:
        tokens, codes = [layer.mask_token, *tokens], [layer.masked_code(), *codes]
    keys = "keys_strings" if isinstance(layer, StringLookup) else "keys_int64s"
    options = {keys: tokens, "values_int64s": codes, "default_int64": start - 1}
    found = graph.add("LabelEncoder", x, domain=ML, **options)
    return graph.add("Cast", found, to=to_float)
