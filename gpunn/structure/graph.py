"""The graph between a model's inputs and outputs: its layers and their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpunn.common import registry
from gpunn.common.names import closest
from gpunn.common.nested import TreeDef
from gpunn.core.plan import INPUT, Node, Plan
from gpunn.layers import InputLayer
from gpunn.layers.applying import append_nodes, symbolic_outputs
from gpunn.layers.shapes import dtype_of, sample_of
from gpunn.layers.symbolic import (
    Application,
    GraphOperation,
    SampleShape,
    SymbolicTensor,
)
from gpunn.ops.dtypes import is_float
from gpunn.ops.op_arguments import OpArguments

from .host import Fed


class Graph:
    """The layers between symbolic inputs and outputs.

    Args:
        inputs, outputs: A tensor, or a list, tuple or dictionary of tensors.

    Attributes:
        inputs, outputs: Lists of tensors; ``input_form`` and ``output_form`` are the structures.
        input_layers: An InputLayer for each input.
        layers: All layers, including layers of inputs and operators, sorted by decreasing
            distance from the outputs.
        applications: Applications of layers to tensors, each after those it depends on.

    Raises:
        ValueError: for an entry that is not a tensor, for an output that depends on a tensor
            outside the inputs, and for two layers with the same name.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.input_form, self.output_form = TreeDef.of(inputs), TreeDef.of(outputs)
        self.inputs = _tensors("inputs", self.input_form.unpack(inputs))
        self.outputs = _tensors("outputs", self.output_form.unpack(outputs))
        if len({id(t) for t in self.inputs}) < len(self.inputs):
            raise ValueError("inputs: the same tensor occurs twice.")
        self.input_layers = [_input_layer(t) for t in self.inputs]
        self._number_inputs()
        self.layers: list[GraphOperation] = []
        self.applications: list[Application] = []
        self._sort()
        for name, count in Counter(layer.name for layer in self.layers).items():
            if count > 1:
                raise ValueError(
                    f"The name {name!r} is used {count} times in the model: the "
                    f"names of its layers must differ. Pass name=."
                )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without tables keyed by object identity. Applications come after those
        that they depend on, so that copying a deep graph does not recurse deeply."""
        first = ("input_layers", "inputs", "applications")
        state = {name: vars(self)[name] for name in first} | vars(self)
        del state["_numbers"], state["_seen"], state["_firsts"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._number_inputs()

    def _number_inputs(self) -> None:
        self._numbers = {id(t): INPUT - k for k, t in enumerate(self.inputs)}
        self._firsts = {id(layer._applications[0]) for layer in self.input_layers}
        self._seen: dict[int, int] = {}

    @property
    def input_names(self) -> list[str]:
        """Names of inputs in dictionaries of data: their keys, or the names of their layers."""
        keys = () if self.input_form.is_nested else self.input_form.keys
        return list(keys) or [layer.name for layer in self.input_layers]

    @property
    def output_names(self) -> list[str]:
        """Names of outputs in logs and dictionaries of data."""
        nested = self.output_form.is_nested
        if self.output_form.keys and not nested:
            return list(self.output_form.keys)
        firsts = [tensor.name for tensor in self.outputs]
        if nested:
            firsts = self.output_form.paths(firsts)
        names: list[str] = []
        for first in firsts:
            name, number = first, 1
            while name in names:  # a shared layer, or one of several outputs of a model
                name, number = f"{first}_{number}", number + 1
            names.append(name)
        return names

    def declared_inputs(self) -> list[SampleShape]:
        """Return the sample shapes of the inputs; see `gpunn.structure.builder.Source`."""
        return [tensor.sample for tensor in self.inputs]

    def graph_for(self, shapes: Sequence[SampleShape]) -> Graph:
        """Return the graph itself."""
        return self

    def _sort(self) -> None:
        """Sort layers and applications by their distance from the outputs, as Keras counts it."""
        found = list(self._walk())  # each after what it depends on
        depth = {id(a): 0 for a in found}
        layers: dict[int, GraphOperation] = {}
        order: dict[int, tuple[int, int]] = {}
        for application in reversed(found):
            layer = application.layer
            far = -order[id(layer)][0] if id(layer) in order else 0
            depth[id(application)] = here = max(depth[id(application)], far)
            seen = min(self._seen[id(application)], order.get(id(layer), (0, len(found)))[1])
            layers[id(layer)], order[id(layer)] = layer, (-here, seen)
            for source in self._sources(application):
                depth[id(source)] = max(depth[id(source)], here + 1)
        for layer in self.input_layers:  # one that nothing depends on
            layers.setdefault(id(layer), layer)
            order.setdefault(id(layer), (0, -1))
        found.sort(key=lambda a: (-depth[id(a)], self._seen[id(a)]))
        self.applications = [a for a in found if not self._is_input(a)]
        self.layers = sorted(layers.values(), key=lambda layer: order[id(layer)])

    def _sources(self, application: Application) -> list[Application]:
        """Return the applications that one reads; for model inputs, their layers'."""
        inputs = [] if self._is_input(application) else application.inputs
        return [self._origin(tensor) for tensor in inputs]

    def _origin(self, tensor: SymbolicTensor) -> Application:
        number = self._numbers.get(id(tensor))
        if number is not None:
            return self.input_layers[INPUT - number]._applications[0]
        if not tensor.application.inputs:
            given = ", ".join(repr(layer.name) for layer in self.input_layers)
            raise ValueError(
                f"Graph disconnected: the outputs depend on the input {tensor.name!r}, which is "
                f"not among the model's inputs ({given}). Add it to inputs."
            )
        return tensor.application

    def _walk(self) -> Iterator[Application]:
        """Walk depth first from the outputs; yield each application after its dependencies."""
        done: set[int] = set()
        for output in self.outputs:
            stack = [(self._origin(output), False)]
            while stack:
                application, left = stack.pop()
                if left:
                    yield application
                elif id(application) not in done:
                    done.add(id(application))
                    self._seen[id(application)] = len(self._seen)
                    stack.append((application, True))
                    sources = reversed(self._sources(application))
                    stack += [(source, False) for source in sources]

    def _is_input(self, application: Application) -> bool:
        return id(application) in self._firsts

    def plan(self, given: Sequence[SampleShape] | None = None) -> Plan:
        """Return the nodes in execution order, with the preceding work on the host.

        Args:
            given: Sample shapes of the data that steps read, if axes of these are unknown.
        """
        fed = Fed(self.inputs, self._read_in_steps())
        nodes = list[Node]()

        def shape_of(tensor: SymbolicTensor, number: int) -> SampleShape:
            if given is None:
                return tensor.sample
            if number < 0:
                return sample_of(given[INPUT - number], dtype_of(tensor.sample))
            return sample_of(nodes[number].output_shape, nodes[number].dtype)

        applications, known = self._with_masks()
        for application in applications:
            layer, masks, arguments = application.layer, application.masks, application.masked
            if not known.issuperset(map(id, masks)):  # a model that begins behind them
                masks, arguments = (), application.given
            sources = fed.sources(application)
            if layer._gives_on_host:
                continue
            read = [*zip(application.inputs, sources, strict=False)]
            read += [(mask, fed.number(mask)) for mask in masks]
            sources += map(fed.number, masks)
            shapes = [shape_of(*each) for each in read]
            given_to = shapes, "", application.training, arguments
            appended = append_nodes(layer, nodes, sources, *given_to)
            for tensor, number in zip(application.outputs, appended, strict=True):
                fed.numbers.setdefault(id(tensor), number)
        outputs = [fed.number(t) for t in self.outputs]
        of_outputs = [t._keras_mask for t in self.outputs]
        marked = [fed.number(m) if id(m) in known else None for m in of_outputs]
        dtypes = map(dtype_of, fed.shapes)
        return Plan(nodes, given or fed.shapes, outputs, fed.part(), dtypes, marked)

    def _with_masks(self) -> tuple[list[Application], set[int]]:
        """Return the applications, with those that compute masks before what reads them; and the
        ids of all tensors that these compute from the inputs.

        Masks are no part of a file: layers give them again.
        """
        found: list[Application] = []
        known = {id(t) for t in self.inputs}

        def is_known(tensor: SymbolicTensor) -> bool:
            made = tensor.application
            if id(tensor) not in known and made.inputs and all([*map(is_known, made.inputs)]):
                take(made)
            return id(tensor) in known

        def take(application: Application) -> None:
            for mask in application.masks:
                is_known(mask)
            found.append(application)
            known.update(map(id, application.outputs))

        for application in self.applications:
            take(application)
        for output in self.outputs:
            if output._keras_mask is not None:
                is_known(output._keras_mask)
        return found, known

    def _read_in_steps(self) -> list[bool]:
        """Return, for each input, whether anything reads it unencoded, or nothing reads it."""
        encoded, read = set[int](), {id(t) for t in self.outputs}
        for application in self._with_masks()[0]:
            host = application.layer._host_part
            direct = list(range(len(application.inputs)))
            if host is not None:
                encoded |= {id(application.inputs[k]) for k in host.encoded}
                direct = [INPUT - number for number in host.fed if number < 0]
            read |= {id(application.inputs[k]) for k in direct}
        return [id(t) in read or id(t) not in encoded for t in self.inputs]

    # -- files

    def references(self) -> dict[int, list[Any]]:
        """Return [layer, number of its application in the model, output number] by tensor."""
        found: dict[int, list[Any]] = {}
        counts: dict[int, int] = {}
        for application in self.applications:
            number = counts[id(application.layer)] = counts.get(id(application.layer), -1) + 1
            for tensor in application.outputs:
                found[id(tensor)] = [application.layer.name, number, tensor.index]
        for layer, tensor in zip(self.input_layers, self.inputs, strict=True):
            found[id(tensor)] = [layer.name, 0, 0]
        return found

    def _check_owners(self, operation: Any) -> None:
        """Check that an operation's parameters, if any, belong to layers of this model."""
        for p in operation.parameters if operation._by_operator else ():
            if p.layer not in self.layers:
                raise ValueError(
                    f"{operation.name} reads {p.path}, whose layer is not part of this model: a "
                    f"file could not refer to it. Write a layer that owns it, with a call(x)."
                )

    def get_config(self) -> dict[str, Any]:
        """Return layers, their applications, inputs and outputs as JSON-serializable values."""
        references = self.references()
        layers: list[dict[str, Any]] = []
        from gpunn.layers.operations import Operation

        for layer in self.layers:
            self._check_owners(layer)
            calls = [
                {
                    "inputs": [references[id(t)] for t in a.inputs],
                    "training": a.training,
                    **({"given": a.given.get_config()} if a.given is not None else {}),
                }
                for a in self.applications
                if a.layer is layer
            ]
            if isinstance(layer, Operation):
                layers.append({"operation": layer.get_config(), "calls": calls})
                continue
            entry: dict[str, Any] = {"layer": registry.serialize(layer), "calls": calls}
            layers.append({**entry, "by_operator": True} if layer._by_operator else entry)
        return {
            "layers": layers,
            "inputs": self.input_form.pack([references[id(t)] for t in self.inputs]),
            "outputs": self.output_form.pack([references[id(t)] for t in self.outputs]),
            "forms": [_form_name(self.input_form), _form_name(self.output_form)],
        }


def _tensors(argument: str, given: list[Any]) -> list[SymbolicTensor]:
    if not given:
        raise ValueError(f"{argument}: a model needs at least one; got none.")
    for entry in given:
        if not isinstance(entry, SymbolicTensor):
            raise ValueError(
                f"All {argument} must be symbolic tensors, which Input and layers called on "
                f"them return; got {entry!r}."
            )
        if entry.only_shape:
            raise ValueError(f"{argument}: a model cannot compute {entry!r}. {entry.only_shape}")
    return given


def _input_layer(tensor: SymbolicTensor) -> InputLayer:
    """Return the layer of an input; a new one for an intermediate tensor of another model."""
    if isinstance(tensor.layer, InputLayer):
        return tensor.layer
    dtype = None if is_float(tensor.dtype) else tensor.dtype
    return InputLayer(tensor.sample, tensor.shape[0], dtype, name=f"{tensor.name}_input")


def _form_name(form: TreeDef) -> Any:
    """Return the structure of inputs or outputs for files, where their keys are known."""
    name = "one" if form.kind is None else form.kind.__name__
    return [name, [_form_name(part) for part in form.parts]] if form.parts else name


def restore_layer(document: Any) -> Any:
    """Restore a layer, or a model used as a layer, from `registry.serialize`."""
    name = document.get("class_name") if isinstance(document, dict) else None
    kind = "model" if registry.is_model(name) else "layer"
    return registry.deserialize(document, kind)


def restore_graph(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Restore the inputs and outputs of a graph from `Graph.get_config`, with new layers."""
    from gpunn.layers.operations import Operation

    layers: dict[str, Any] = {}
    waiting: list[tuple[Any, int, dict[str, Any]]] = []
    tensors: dict[tuple[Any, ...], SymbolicTensor] = {}
    for entry in config["layers"]:
        if "operation" in entry:
            layer: Any = Operation(**entry["operation"])
        else:
            layer = restore_layer(entry["layer"])
            layer._by_operator = bool(entry.get("by_operator", False))
        layers[layer.name] = layer
        if isinstance(layer, InputLayer):
            tensors[layer.name, 0, 0] = layer.output
        waiting += [(layer, number, call) for number, call in enumerate(entry["calls"])]
    while waiting:
        later = []
        for layer, number, call in waiting:
            places = [tuple(place) for place in call["inputs"]]
            before = number and (layer.name, number - 1, 0) not in tensors
            there = all(place in tensors for place in places) and layer._find_parameters(layers)
            if before or not there:
                later.append((layer, number, call))
                continue
            read = [tensors[place] for place in places]
            given = OpArguments.from_config(call["given"]) if call.get("given") else None
            single = len(read) == 1 and given is None and not getattr(layer, "takes_list", False)
            made = symbolic_outputs(layer, read[0] if single else read, call["training"], given)
            for index, tensor in enumerate(made):
                tensors[layer.name, number, index] = tensor
        if len(later) == len(waiting):
            layer, _, call = later[0]
            raise ValueError(
                f"The layer {layer.name!r} reads {call['inputs']!r}, some of which are missing."
            )
        waiting = later
    forms = config["forms"]
    return (
        _restored("inputs", config["inputs"], forms[0], tensors),
        _restored("outputs", config["outputs"], forms[1], tensors),
    )


def _restored(argument: str, given: Any, form: Any, tensors: Mapping[tuple, Any]) -> Any:
    if form == "one":
        if tuple(given) not in tensors:
            raise ValueError(f"{argument} names {given!r}, which is not an output of a layer.")
        return tensors[tuple(given)]
    name, parts = (form, ["one"] * len(given)) if isinstance(form, str) else form
    entries = given.values() if name == "dict" else given
    found = [
        _restored(argument, entry, part, tensors)
        for entry, part in zip(entries, parts, strict=True)
    ]
    if name == "dict":
        return dict(zip(given, found, strict=True))
    if hasattr(given, "_fields"):  # a named tuple, of a configuration that was in no file
        return type(given)(*found)
    return tuple(found) if name == "tuple" else found


def by_name(names: Sequence[str], given: Any, what: str, missing: bool = False) -> list[Any]:
    """Return the entry for each of several inputs or outputs, in order, from a list or tuple, or a
    dictionary by name.

    Args:
        what: Name of the argument in messages.
        missing: Whether a dictionary may leave out entries, which are then None.

    Raises:
        ValueError: for too many, too few, or unknown entries.
    """
    if isinstance(given, Mapping):
        for key in given:
            if key not in names:
                raise ValueError(
                    f"{what} has the key {key!r}; {_listed(names)} are expected."
                    f"{closest(str(key), list(names))}"
                )
        for name in names:
            if name not in given and not missing:
                raise ValueError(f"{what} lacks the key {name!r}; got {list(given)}.")
        return [given.get(name) for name in names]
    if not isinstance(given, (list, tuple)):
        raise ValueError(
            f"{what} must be a list of {len(names)} or a dictionary, for {_listed(names)}; got "
            f"{type(given).__name__}."
        )
    if len(given) != len(names):
        raise ValueError(
            f"{what} has {len(given)} entries; {len(names)} are expected, for {_listed(names)}."
        )
    return list(given)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) if any(names) else "the only output"
