"""Export of a model to an ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.atomic_files import Path, atomic_write
from gpunn.core.plan import INPUT, Plan
from gpunn.core.storage import Parameter
from gpunn.layers.applying import ActivityPenalty, OutputSlice
from gpunn.layers.preprocessing.imputation import MissingIndicator, SimpleImputer
from gpunn.layers.preprocessing.lookups import IntegerLookup, StringLookup, folded
from gpunn.layers.preprocessing.on_host import RowEncoder
from gpunn.layers.traced import side_by_side
from gpunn.ops.conversion import convert
from gpunn.ops.running.shape_trace import ShapeTrace
from gpunn.ops.tensor import Tensor, ops
from gpunn.ops.variable import Variable
from gpunn.saving.announcing import announce_data_held

from .formulas import NotExportable, activation, layer_formula
from .operators import OPSET, OnnxGraph

BATCHES = 7919, 7927, 7933
"""Batch sizes of traces: primes, which distinguish the batch axis from others."""
ML = "ai.onnx.ml"
ML_OPSET = 2
KINDS = {"float32": 1, "int32": 6, "bool": 9}
"""Types of inputs and outputs in onnx.TensorProto: floats are float32."""


def export_onnx(model: Any, filepath: Path) -> None:
    """See `gpunn.Model.export`."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "export needs the package onnx: pip install 'gpunn[onnx]' (or pip install onnx)."
        ) from error
    model._require_values("export")
    made = _made(model, onnx)
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(
            f"export: ONNX rejects the exported model ({error}). Nothing was written."
        ) from error
    atomic_write(str(filepath), [made.SerializeToString()])
    described = model.data_held()
    inside = {place: described[place] for place in described if not place.startswith("trained_on/")}
    announce_data_held(filepath, inside)


def _made(model: Any, onnx: Any) -> Any:
    """Return the ONNX model on which two traces with different batch sizes agree, or raise a
    ValueError for a model that cannot be exported.

    A single trace is not enough: another axis of the model may be as long as the batch.
    """
    if model._plan.unknown:
        raise ValueError(
            f"export: inputs of {model.name!r} have axes of any length (None). Make the model "
            f"again with known lengths, load these weights into it, and export that."
        )
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
        f"export: the batch axis cannot be distinguished from others, whose sizes are multiples "
        f"of {' and '.join(map(str, BATCHES))}. Nothing was written."
    )


class _Exporter:
    """One export: the trace of a plan, and the resulting graph."""

    def __init__(self, model: Any, batch: int) -> None:
        self.plan: Plan = model._plan
        self.batch = batch
        self.trace = ShapeTrace()
        self.graph = OnnxGraph(batch, self._inside, model.dtype)
        self.cannot: dict[str, list[str]] = {}  # names of layers, by why not
        self.beside: dict[int, Tensor] = {}  # the integers of nodes, by their outputs

    def _inside(self, part: Any, inputs: Any) -> Tensor:
        """Apply a layer or activation inside a call to tensors."""
        with self.trace.active():
            if part._kind == "activation":
                y: Tensor = activation(part, inputs[0], type(part).__name__)
            else:
                y = self._applied(part, [list(inputs) if part.takes_list else inputs[0]], {})
        for variable in self.trace.variables.values():  # weights that were read on the way
            self._put(variable)
        return y

    def _put(self, variable: Any) -> None:
        if isinstance(variable.source, (Parameter, Variable)):
            values = variable.source.numpy().astype(variable.first.dtype)
            self.graph.put(variable.first, self.graph.constant(values))

    def _applied(self, layer: Any, args: Any, kwargs: Any) -> Any:
        return layer_formula(layer, args, kwargs)

    def outputs(self, fed: list[Tensor]) -> list[Tensor]:
        """Compute the outputs node by node; collect the nodes that cannot be exported."""
        made: list[Tensor] = []

        def found(number: int) -> Tensor:
            return made[number] if number >= 0 else fed[INPUT - number]

        for number, node in enumerate(self.plan.nodes):
            xs = [found(n) for n in node.sources]
            try:
                made.append(self._node(number, node, xs))
            except NotExportable as error:
                self.cannot.setdefault(str(error), []).append(node.name)
                made.append(self._missing(node.output_shape, node.dtype))
                if node.integers:
                    self.beside[id(made[-1])] = self._missing((node.integers,), "int32")
        ends = zip(self.plan.outputs, self.plan.output_dtypes, strict=True)
        with self.trace.active():
            return [convert(found(n), dtype or "float32") for n, dtype in ends]

    def _missing(self, shape: tuple[int, ...], dtype: str | None) -> Tensor:
        """Return a placeholder for a node that cannot be exported, to check the rest anyway."""
        made = self.trace.leaf((self.batch, *shape), dtype or "float32")
        self.graph.put(made, "")
        return made

    def _node(self, number: int, node: Any, xs: list[Tensor]) -> Tensor:
        layer = node.layer
        if node.training:
            raise NotExportable("it is always in training mode, layer(x, training=True)")
        with self.trace.active():
            if isinstance(layer, OutputSlice):
                given = self.beside[id(xs[0])] if node.reads_integers else xs[0]
                row = ops.reshape(given, (self.batch, -1))
                size = int(np.prod(node.output_shape, dtype=int))
                part = row[:, layer.start : layer.start + size]
                part = convert(part, node.dtype or "float32")
                return ops.reshape(part, (self.batch, *node.output_shape))
            xs = [
                convert(x, self.plan.reads_as(number, k) or "float32") for k, x in enumerate(xs)
            ]
            if isinstance(layer, ActivityPenalty):
                return xs[0]
            args: Any = (xs if layer.takes_list or len(xs) > 1 else xs[0],)
            kwargs: Any = {}
            if node.given is not None:
                args, kwargs = node.given.filled(xs)
            y = self._applied(layer, args, kwargs)
            tensors = [convert(t) for t in _flat(y)]
            y, beside = side_by_side(tensors, self.batch, bool(node.integers))
            y = convert(y, self.plan.dtypes[number] or "float32")
        for variable in self.trace.variables.values():
            self._put(variable)
        self.graph.name_of(y)
        if beside is not None:
            self.graph.name_of(beside)
            self.beside[id(y)] = beside
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
    kinds: dict[str, int] = {}
    numbers = range(INPUT, INPUT - len(model.inputs), -1) if host is None else host.fed
    read_as = {number: exporter.plan.dtypes[INPUT - j] for j, number in enumerate(numbers)}
    for k, (name, tensor) in enumerate(zip(model.input_names, model.inputs, strict=True)):
        kind = KINDS[read_as.get(INPUT - k) or "float32"]
        if host is not None and k in host.encoded:
            readers = [layer for layer, number in host.steps if number == INPUT - k]
            strings = any(isinstance(layer, (StringLookup, RowEncoder)) for layer in readers)
            whole = any(isinstance(layer, IntegerLookup) for layer in readers)
            kind = types.STRING if strings else types.INT64 if whole else types.FLOAT
        inputs.append(helper.make_tensor_value_info(name, kind, ["batch", *tensor.sample]))
        names.append(name)
        kinds[name] = kind
    graph.first = names[0]
    encoded: list[str] = []
    fed: list[Tensor] = []

    def found(number: int) -> str:
        return encoded[number] if number >= 0 else names[INPUT - number]

    for layer, number in host.steps if host is not None else ():
        try:
            encoded.append(_encoded(graph, layer, found(number)))
        except NotExportable as error:
            exporter.cannot.setdefault(str(error), []).append(layer.name)
            encoded.append("")
    for number, shape in zip(numbers, exporter.plan.input_shapes, strict=True):
        k = len(fed)
        dtype = exporter.plan.dtypes[INPUT - k] or "float32"
        leaf = exporter.trace.leaf((batch, *shape), dtype)
        name = found(number)
        given = kinds.get(name, KINDS["float32"])  # encoded values are floats
        if name and given != KINDS[dtype]:
            name = graph.add("Cast", name, to=KINDS[dtype])
        graph.put(leaf, name)
        fed.append(leaf)
    made = exporter.outputs(fed)
    if exporter.cannot:
        cannot = "; ".join(f"{', '.join(names)}: {why}" for why, names in exporter.cannot.items())
        raise ValueError(f"export: ONNX has no counterpart of {cannot}. Nothing was written.")
    outputs = []
    for name, tensor, shape in zip(
        model.output_names, made, exporter.plan.output_shapes, strict=True
    ):
        called = name if name not in names else f"{name}_output"
        graph.nodes.append(helper.make_node("Identity", [graph.name_of(tensor)], [called]))
        kind = KINDS[tensor.dtype]
        outputs.append(helper.make_tensor_value_info(called, kind, ["batch", *shape]))
    read = {name for node in graph.nodes for name in node.input}
    constants = [constant for constant in graph.constants if constant.name in read]
    whole_graph = helper.make_graph(graph.nodes, model.name, inputs, outputs, constants)
    sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
    return helper.make_model(
        whole_graph, opset_imports=sets, ir_version=8, producer_name="gpunn"
    )


def _is_missing(graph: OnnxGraph, layer: SimpleImputer | MissingIndicator, x: str) -> str:
    found = graph.add("IsNaN", x)
    markers = [] if layer.missing_values is None else np.atleast_1d(layer.missing_values).tolist()
    for marker in markers:
        same = graph.add("Equal", x, graph.constant(np.asarray(marker, np.float32)))
        found = graph.add("Or", found, same)
    return found


def _encoded(graph: OnnxGraph, layer: Any, x: str) -> str:
    """Add the operators of a layer that computes on the host; return the name of its output."""
    to_float = 1
    if isinstance(layer, SimpleImputer):
        fill = graph.constant(np.asarray(layer.statistics, np.float32))
        return graph.add("Where", _is_missing(graph, layer, x), fill, x)
    if isinstance(layer, MissingIndicator):
        return graph.add("Cast", _is_missing(graph, layer, x), to=to_float)
    if isinstance(layer, RowEncoder):
        raise NotExportable(
            "ONNX has no operators that read dates or hash texts; train without the column, or "
            "give a model the layer's rows as an input of numbers"
        )
    known = isinstance(layer, (StringLookup, IntegerLookup)) and not hasattr(layer, "ngrams")
    if not known or layer.invert:
        raise NotExportable(f"the work of {type(layer).__name__} on the host")
    if layer.num_oov_indices != 1:
        raise NotExportable(
            f"num_oov_indices={layer.num_oov_indices} (unknown values that are rejected or hashed)"
        )
    tokens = layer.get_vocabulary(include_special_tokens=False)
    start = layer.vocabulary_size() - len(tokens)
    codes = {token: start + k for k, token in enumerate(tokens)}
    keys = "keys_int64s"
    if isinstance(layer, StringLookup):
        keys = "keys_strings"
        if layer.fold:
            codes = {each: code for token, code in codes.items() for each in _spellings(token)}
    if layer.mask_token is not None:
        codes[layer.mask_token] = layer.masked_code()
    options = {keys: [*codes], "values_int64s": [*codes.values()], "default_int64": start - 1}
    found = graph.add("LabelEncoder", x, domain=ML, **options)
    return graph.add("Cast", found, to=to_float)


def _spellings(token: str) -> list[str]:
    """Return the usual spellings of a string: no operator of ONNX changes the case of strings on
    every machine.

    >>> _spellings("new  York")
    ['new  York', 'new york', 'NEW YORK', 'New york', 'New York']
    """
    plain = folded(token)
    usual = dict.fromkeys([token, plain, plain.upper(), plain.capitalize(), plain.title()])
    return [text for text in usual if folded(text) == plain]  # upper case may have more letters
