"""The plan of a model: the order in which its layers run.

A `Plan` is a list of nodes, each a layer and the nodes whose outputs it takes
(Sequential: a chain). In a `gpunn.core.workspace.Workspace`, which binds it to arrays, each
node becomes a `Call`: everything that a layer sees when it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import InitVar, field, replace
from typing import Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import Control
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.registry import is_own
from gpunn.distribution.communicator import Shard

from .storage import Parameter, ParameterStorage

KEPT_SHAPES = 16
"""Shapes of samples, if axes may have any length, whose plans, programs and arrays are kept."""
INPUT = -1  # the node number of the model's input; further inputs are -2, -3, ...


@dataclass(frozen=True)
class Node:
    """One application of a layer.

    Attributes:
        layer: the layer.
        sources: indices of the nodes it reads, `INPUT` and below for the model's inputs.
        output_shape: of one sample.
        name: of the layer, after the names of the models it is nested in: ``"inner/dense"``.
        training: True for a call that is in training mode even outside of a training step, False
            for one that is in inference mode even in it; None for one that is as the step.
        given: the arguments of a custom `call`, with placeholders for the outputs of ``sources``.
        reads: the dtype as which the layer reads each source: ``"int32"``, ``"bool"``, or None for
            the floats of the model. Empty: all as floats.
        dtype: of the output, likewise.
        integers: the number of integers of a sample besides the output, for a call with both.
        parts: the shapes of one sample of each of several outputs, which are concatenated.
        reads_integers: whether it reads the ``integers`` of its source, not the output.
    """

    layer: Any
    sources: tuple[int, ...]
    output_shape: tuple[int, ...]
    name: str = ""
    training: bool | None = None
    given: Any = None
    reads: tuple[str | None, ...] = ()
    dtype: str | None = None
    integers: int = 0
    parts: tuple[tuple[int, ...], ...] = ()
    reads_integers: bool = False

    def trains_in(self, training: bool) -> bool:
        """Whether it is in training mode in a step that is, or is not."""
        return training if self.training is None else self.training

    def reads_as(self, k: int) -> str | None:
        """Return the dtype as which it reads source ``k``."""
        return self.reads[k] if self.reads else None


@dataclass
class HostPart:
    """Preprocessing of data on the host, before a step reads them.

    Data are numbered like nodes: `INPUT` and below are inputs, from 0 on the results of ``steps``.

    Attributes:
        steps: a layer and the index of the data it encodes, each after those it reads.
        fed: the indices of the data that steps of the model read.
        checks: a layer, and the index of the data it checks before the first step.
    """

    steps: list[tuple[Any, int]]
    fed: list[int]
    checks: list[tuple[Any, int]] = field(default_factory=list)

    def source(self, number: int) -> int:
        """Return the index, from 0, of the input that data are computed from."""
        while number >= 0:
            number = self.steps[number][1]
        return INPUT - number

    @property
    def encoded(self) -> set[int]:
        """The indices, from 0, of the inputs that are encoded."""
        return {INPUT - number for _, number in self.steps if number < 0}


class Plan:
    """The nodes of a model in the order in which they run.

    Args:
        nodes: in topological order: every node comes after those it reads.
        input_shapes: of one sample of each input.
        outputs: indices of the nodes whose outputs are the model's; the last by default.
        host: preprocessing on the host, whose ``fed`` are then the inputs. None: nothing.
        input_dtypes: of each input, as in `Node`; by default floats.
        masks: for each output, the index of the node with its mask, or None; by default none.

    Attributes:
        dtypes: of the outputs of nodes, and of inputs, by index: ``"int32"``, ``"bool"``
            or None. Integers that are read only as floats are floats from the beginning.
        unknown: whether axes of inputs may have any length. Shapes then hold None, and such a plan
            does not run: `of` returns those that do.
    """

    others: Callable[[tuple[tuple[int, ...], ...]], Plan] | None = None

    def of(self, shapes: Iterable[Sequence[int]]) -> Plan:
        """Return the plan for samples of these shapes, one for each input: itself, unless some axes
        may have any length."""
        if not self.unknown or self.others is None:
            return self
        return self.others(tuple(map(tuple, shapes)))

    def __init__(
        self,
        nodes: Sequence[Node],
        input_shapes: Iterable[tuple[int, ...]],
        outputs: Iterable[int] | None = None,
        host: HostPart | None = None,
        input_dtypes: Iterable[str | None] = (),
        masks: Iterable[int | None] = (),
    ) -> None:
        self.nodes = list(nodes)
        self.masks = list(masks)
        self.host = host
        self.input_shapes = tuple(input_shapes)
        self.input_dtypes = tuple(input_dtypes) or (None,) * len(self.input_shapes)
        self.unknown = any(None in shape for shape in self.input_shapes)
        self.outputs = (len(self.nodes) - 1,) if outputs is None else tuple(outputs)
        self.dtypes = self._dtypes()
        self._reading: dict[int, list[tuple[int, int]]] = {}  # nodes, and which of their sources
        for i, node in enumerate(self.nodes):
            for k, source in enumerate(node.sources):
                self._reading.setdefault(source, []).append((i, k))
        self.output_shapes = tuple(map(self.shape_of, self.outputs))

    def shape_of(self, number: int) -> tuple[int, ...]:
        """Return the shape of one sample of a node's output, or of an input."""
        return self.nodes[number].output_shape if number >= 0 else self.input_shapes[INPUT - number]

    @property
    def output_dtypes(self) -> list[str | None]:
        """The dtypes of the model's outputs, as in `dtypes`."""
        return [self.dtypes[number] for number in self.outputs]

    def _dtypes(self) -> dict[int, str | None]:
        given: dict[int, str | None] = {INPUT - k: t for k, t in enumerate(self.input_dtypes)}
        given.update((i, node.dtype) for i, node in enumerate(self.nodes))
        wanted: dict[int, set[str | None]] = {number: {given[number]} for number in self.outputs}
        found: dict[int, str | None] = {}
        for i in reversed(range(-len(self.input_shapes), len(self.nodes))):
            free = i < 0 or self._is_view(i)  # these may be floats from the beginning
            found[i] = None if free and wanted.get(i) == {None} else given[i]
            for k, number in enumerate(self.nodes[i].sources if i >= 0 else ()):
                read = found[i] if self._is_view(i) else self.nodes[i].reads_as(k)
                wanted.setdefault(number, set()).add(read)
        return found

    def _is_view(self, number: int) -> bool:
        """Return whether a node only reshapes its input, and is the framework's own."""
        layer = self.nodes[number].layer
        return bool(layer._reshapes and is_own(layer))

    def reads_as(self, number: int, k: int) -> str | None:
        """Return the dtype as which a node reads source ``k``, see `Node`."""
        return self.dtypes[number] if self._is_view(number) else self.nodes[number].reads_as(k)

    def shows_floats(self, number: int) -> bool:
        """Return whether user code reads this node or input as floats, possibly reshaped: then it
        would see the integers' loss of precision."""
        for i, k in self._reading.get(number, ()):
            if self.reads_as(i, k) is None:
                layer = self.nodes[i].layer
                users = (layer._has_call and layer._reads_integers) or not is_own(layer)
                if users or (self._is_view(i) and self.shows_floats(i)):
                    return True
        return False

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The layers' parameters by path, ``"inner/dense/kernel"``; each of them once."""
        found: dict[int, tuple[str, Parameter]] = {}
        for node in self.nodes:
            for name, p in node.layer.named_parameters():
                found.setdefault(id(p), (f"{node.name}/{name}", p))
        return dict(found.values())

    def nodes_from(
        self, start: int, sources: Sequence[int], path: str = "", training: bool | None = None
    ) -> tuple[list[Node], list[int]]:
        """Return its nodes as nodes of another plan from index ``start`` on, and its outputs there.

        Args:
            sources: the indices, in the other plan, of this one's inputs.
            path: the prefix of the nodes' names.
            training: as in `Node`, of those nodes that do not state their own.
        """

        def there(number: int) -> int:
            return start + number if number >= 0 else sources[INPUT - number]

        nodes = [
            replace(
                node,
                sources=tuple(map(there, node.sources)),
                name=f"{path}{node.name}",
                training=training if node.training is None else node.training,
            )
            for node in self.nodes
        ]
        return nodes, [there(number) for number in self.outputs]

    def readers(self, number: int) -> list[int]:
        """Return the indices of the nodes that read this node or input, and the number of nodes for
        each time it is an output of the model."""
        outputs = [len(self.nodes)] * self.outputs.count(number)
        return [i for i, _ in self._reading.get(number, ())] + outputs

    def activation(self, number: int) -> Any:
        """Return the final activation of a node's layer, or None if it has none."""
        node = None if number < 0 else self.nodes[number]
        if node is None or node.layer._has_call or node.given:  # it may be used in any way
            return None
        return getattr(node.layer, "activation", None)

    @property
    def may_draw(self) -> bool:
        """Whether it may draw random numbers outside of training, or add to the loss: it has a
        custom `call`, or a layer that is always in training mode."""
        return any(node.layer._has_call or node.training for node in self.nodes)

    @property
    def reads_batches(self) -> bool:
        """Whether rows depend on the others of their batch outside of training: a layer with
        statistics, such as `BatchNormalization`, is always in training mode."""
        states = (node.layer.parameters for node in self.nodes if node.training)
        return any(not p.trained for parameters in states for p in parameters)

    @property
    def read(self) -> list[Any]:
        """The inputs of its programs: its layers, and the arguments of their calls."""
        given = [node.given for node in self.nodes if node.given is not None]
        return [
            *(node.layer for node in self.nodes),
            *(arguments for call in given for arguments in (call.args, call.kwargs)),
        ]

    @property
    def formulas(self) -> list[Any]:
        """Its layers and their activations. In a custom layer with a `call`, ``activation`` may be
        any function: then it is part of the call."""
        layers = [layer for node in self.nodes for layer in node.layer._with_layers_inside()]
        activations = (getattr(layer, "activation", None) for layer in layers)
        return [*layers, *(a for a in activations if hasattr(a, "_traceable"))]

    def folded_rescalings(self) -> dict[int, int]:
        """Return the node whose scale the batch gather applies, by input index (from 0).

        It is a Rescaling that is the only reader of the model's input, directly or through layers
        that only reshape it.
        """
        found = {}
        for k in range(len(self.input_shapes)):
            readers = self.readers(INPUT - k)
            while len(readers) == 1 and readers[0] < len(self.nodes):
                layer = self.nodes[readers[0]].layer
                if layer._scaling is not None and is_own(layer):
                    found[k] = readers[0]
                readers = self.readers(readers[0]) if layer._reshapes and is_own(layer) else []
        return found


def check_unchanged(plan: Plan, storage: ParameterStorage) -> None:
    """Raise a ValueError that names the changes of a plan's layers since it was made."""
    owned = {id(p): path for path, p in plan.parameters.items()}
    known = set(map(id, storage.parameters))
    names = ", ".join(path for key, path in owned.items() if key not in known)
    if names or len(owned) != len(known):
        raise ValueError(
            f"The model's layers have changed since it was built: "
            f"{names or 'some were removed'}. A layer with weights cannot be replaced in a built "
            f"model. Create a new model, or change the layer's weights by set_weights."
        )
    for node in plan.nodes:
        layer = node.layer
        if not is_own(layer) or layer._has_call or not hasattr(layer, "_output_sample"):
            continue
        read = [plan.shape_of(number) for number in node.sources]
        shape = layer._output_sample(read if layer.takes_list else read[0])
        if tuple(shape) != tuple(node.output_shape):
            raise ValueError(
                f"{node.name}: an attribute changed the shape of its output since the model was "
                f"built, from {(None, *node.output_shape)} to {(None, *shape)}. Create a new "
                f"model, or call gpunn.models.clone_model and set_weights."
            )
    penalized = {id(getattr(node.layer, "penalizes", None)) for node in plan.nodes}
    for node in plan.nodes:
        if node.layer.activity_regularizer is not None and id(node.layer) not in penalized:
            raise ValueError(
                f"{node.name} was given an activity_regularizer after the model was built. Pass "
                f"it to the constructor of the layer."
            )


@dataclass(eq=False)
class Call:
    """One application of a layer in one workspace: its arrays and options.

    The layer computes in it by operations of the backend, each an `OpCall`.

    Most layers read one array as ``x``, with ``dx`` and ``accumulate_dx``; a layer that
    reads several finds them in ``xs``, with ``dxs`` and ``accumulate_dxs``.

    Attributes:
        backend: where it runs; its operations do the work, ``backend.xp`` the rest.
        x: input (batch, ...).
        y: output (batch, ...), to be written by `Layer.forward`.
        dy: gradient of the output, to be read (and, if useful, overwritten) by
            `Layer.backward`; None in inference.
        dx: gradient of the input, to be written; None if it is not needed.
        accumulate_dx: whether ``dx`` is added to instead (another layer wrote first).
        trains: whether gradients of the layer's parameters are requested.
        accumulate_gradients: whether these are added to (the layer was applied before).
        training: whether this is a training step.
        integers: the integers (batch, n) that a `call` returns besides floats; else None.
        activation: the layer's activation, or linear if the loss applies it.
        precision: the format that float32 products may round their factors to, or None.
        control: the control block: counters of the random streams.
        own_control: the control block of streams with a seed of their own, if it is another one.
        seed, stream: key and number of this call's random stream.
        given, parts: as in `Node`.
        adds_loss: whether the layer adds a loss.
        loss: that loss (1,), to be written by the forward pass.
        loss_scale: the factor on the gradient of that loss in the backward pass.
        shard: the rank's shard of the rows; None if there is only one process.
        assigns: whether it may assign to parameters.
        counts: whether metrics that it updates count.
        by_rows: each `gpunn.core.by_rows.RowGradient` that it writes, by the `id` of the parameter.
        unread: the `id` of each of the layer's parameters that no loss depends on, by this call.
        depends: set by a `call`, which finds ``unread``: returns the places of the inputs that its
            loss depends on, and the outputs that start at these places in ``y``; None for all.
    """

    backend: Backend
    layer: Any
    batch: int
    dtype: str
    training: bool
    inputs: InitVar[int] = 1
    precision: str | None = None
    control: Control | None = None
    seed: int = 0
    stream: int = 0
    given: Any = None
    parts: tuple[tuple[int, ...], ...] = ()
    adds_loss: bool = False
    loss: Array = None
    loss_scale: float = 1.0
    shard: Shard | None = None
    x: Array = None
    y: Array = None
    dx: Array = None
    dy: Array = None
    accumulate_dx: bool = False
    trains: bool = False
    accumulate_gradients: bool = False
    folded: bool = False
    assigns: bool = True
    counts: bool = True
    integers: Array = None
    own_control: Control | None = None

    def control_for(self, seed: int | None) -> Control | None:
        """Return the control block for draws with this seed of their own, or without one."""
        return self.control if seed is None else self.own_control or self.control

    def __post_init__(self, inputs: int) -> None:
        self.xs: list[Array] = [None] * inputs
        self.dxs: list[Array] = [None] * inputs
        self.accumulate_dxs = [False] * inputs
        self.activation: Any = getattr(self.layer, "activation", None)
        self._arrays: dict[str, Array] = {}
        self.by_rows: dict[int, Any] = {}
        self.unread = set[int]()
        self.depends: Callable[[Container[int] | None], Collection[int]] | None = None

    def reads(self, number: int, x: Array) -> None:
        """Make ``x`` its input of this index."""
        self.xs[number] = x
        if number == 0:
            self.x = x

    def writes(self, number: int, dx: Array, accumulate: bool) -> None:
        """Make ``dx`` the gradient of its input of this index."""
        self.dxs[number], self.accumulate_dxs[number] = dx, accumulate
        if number == 0:
            self.dx, self.accumulate_dx = dx, accumulate

    def first_element(self, shape: tuple[int, ...], entries: int = 1) -> int:
        """Return how many elements earlier ranks have, of an array of which this rank has a part.

        The part has this shape. Its first axis has so many entries for each row.
        """
        first = 0 if self.shard is None else self.shard.first
        return first * entries * math.prod(shape[1:])

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Any = None,
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """Return an array of this call, kept from forward to backward and step to step.

        ``fill(array)`` is called once, when it is created: for constants.
        """
        array = self._arrays.get(name)
        if array is None:
            array = self.backend.empty(shape, dtype or self.dtype)
            if fill is not None:
                with self.backend.stream_lock:
                    fill(array)
            self._arrays[name] = array  # not earlier: an interrupt would leave it unfilled
        return array
