"""What runs in which order: the plan of a model, and the workspace that runs it.

A `Plan` is a list of nodes, each a layer and the nodes whose outputs it takes
(Sequential: a chain). A `Workspace` binds a plan to arrays for one batch size: each
node becomes a `Call`, which is all a layer sees when it runs. Training has its
workspaces, prediction its own, so that neither moves what the other recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .arena import Parameter
from .backends.base import Array, Backend
from .backends.control import BATCHES, Control

INPUT = -1  # the node number of the model's input; further inputs are -2, -3, ...


@dataclass(frozen=True)
class Node:
    """One application of a layer.

    Attributes:
        layer: the layer.
        sources: numbers of the nodes it reads, `INPUT` and below for the model's inputs.
        output_shape: of one sample.
        name: of the layer, after the names of the models it is nested in: ``"inner/dense"``.
        training: False for a call that is one of inference even in a training step.
    """

    layer: Any
    sources: tuple[int, ...]
    output_shape: tuple[int, ...]
    name: str = ""
    training: bool | None = None


class Plan:
    """The nodes of a model in the order in which they run.

    Args:
        nodes: in an order in which every node comes after those it reads.
        input_shapes: of one sample of each input.
        outputs: numbers of the nodes whose outputs are the model's; the last by default.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        input_shapes: Iterable[tuple[int, ...]],
        outputs: Iterable[int] | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self.input_shapes = tuple(input_shapes)
        self.outputs = (len(self.nodes) - 1,) if outputs is None else tuple(outputs)
        self.output_shapes = tuple(
            self.nodes[n].output_shape if n >= 0 else self.input_shapes[INPUT - n]
            for n in self.outputs
        )

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The layers' parameters by their path, ``"inner/dense/kernel"``; each of them once."""
        found: dict[int, tuple[str, Parameter]] = {}
        for node in self.nodes:
            for p in node.layer.weights:
                found.setdefault(id(p), (f"{node.name}/{p.name}", p))
        return dict(found.values())

    def readers(self, number: int) -> list[int]:
        """Numbers of the nodes that read this node or input, or the model's output so often."""
        outputs = [len(self.nodes)] * self.outputs.count(number)
        return [i for i, n in enumerate(self.nodes) for s in n.sources if s == number] + outputs

    def activation(self, number: int) -> Any:
        """The activation that the layer of a node ends with, or None if it has none."""
        return getattr(self.nodes[number].layer, "activation", None) if number >= 0 else None

    @property
    def formulas(self) -> list[Any]:
        """Its layers and their activations, None among them."""
        layers = [node.layer for node in self.nodes]
        return [*layers, *(getattr(layer, "activation", None) for layer in layers)]

    def folded_rescalings(self) -> dict[int, int]:
        """Of the inputs (counted from 0), the node whose scale the batch gather takes over.

        It is a Rescaling that alone reads the model's input, directly or through layers
        that only give it another shape.
        """
        found = {}
        for k in range(len(self.input_shapes)):
            readers = self.readers(INPUT - k)
            while len(readers) == 1 and readers[0] < len(self.nodes):
                layer = self.nodes[readers[0]].layer
                if layer.folds_into_input:
                    found[k] = readers[0]
                readers = self.readers(readers[0]) if layer.reshapes else []
        return found


class Call:
    """One application of a layer in one workspace: its arrays and what is asked of it.

    Most layers read one array and know it as ``x``, with ``dx`` and ``accumulate``; one that
    reads several finds them in ``xs``, with ``dxs`` and ``accumulates``.

    Attributes:
        backend: where it runs; its operations do the work, ``backend.xp`` the rest.
        x: input (batch, ...).
        y: output (batch, ...), to be written by `Layer.forward`.
        dy: gradient of the output, to be read (and, if useful, overwritten) by
            `Layer.backward`; None in inference.
        dx: gradient of the input, to be written; None if nobody needs it.
        accumulate: whether ``dx`` is added to instead (another layer wrote first).
        trains: whether gradients of the layer's parameters are wanted.
        adds: whether these are added to (the layer was applied before).
        training: whether this is a training step.
        activation: the layer's activation, or linear where the loss takes it over.
        precision: what products of float32 may round their factors to, or None.
        control: the control block: counters of the random streams.
        seed, stream: key and number of this call's random stream.
    """

    def __init__(
        self,
        backend: Backend,
        layer: Any,
        batch: int,
        dtype: str,
        training: bool,
        inputs: int = 1,
    ) -> None:
        self.backend = backend
        self.layer = layer
        self.batch = batch
        self.dtype = dtype
        self.training = training
        self.x: Array = None
        self.y: Array = None
        self.dx: Array = None
        self.dy: Array = None
        self.accumulate = False
        self.xs: list[Array] = [None] * inputs
        self.dxs: list[Array] = [None] * inputs
        self.accumulates = [False] * inputs
        self.trains = False
        self.adds = False
        self.folded = False
        self.activation: Any = getattr(layer, "activation", None)
        self.precision: str | None = None
        self.control: Control | None = None
        self.seed = 0
        self.stream = 0
        self._arrays: dict[str, Array] = {}

    def reads(self, number: int, x: Array) -> None:
        """Make ``x`` its input of this number."""
        self.xs[number] = x
        if number == 0:
            self.x = x

    def writes(self, number: int, dx: Array, accumulate: bool) -> None:
        """Make ``dx`` the gradient of its input of this number."""
        self.dxs[number], self.accumulates[number] = dx, accumulate
        if number == 0:
            self.dx, self.accumulate = dx, accumulate

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Any = None,
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """An array of this call's own, kept from forward to backward and step to step.

        ``fill(array)`` is called once, when it is made: for constants.
        """
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = self.backend.empty(shape, dtype or self.dtype)
            if fill is not None:
                fill(array)
        return array


class Pool:
    """Arrays by name that workspaces of several batch sizes share.

    A ragged last batch uses the first rows of the full batch's arrays.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        size = math.prod(shape)
        flat = self._arrays.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            flat = self._arrays[name] = self._backend.empty((size,), dtype)
        return flat[:size].reshape(shape)

    def clear(self) -> None:
        """Forget the arrays: workspaces that are made from now on get others."""
        self._arrays.clear()


class Workspace:
    """A plan bound to arrays for one batch size.

    Args:
        plan: what to run.
        backend, dtype: where and in what.
        batch: number of samples.
        pool: where arrays come from.
        training: whether dropout drops and gradients are kept.
        activations: by number of a node, what is applied in place of its layer's own: linear
            where the loss takes over what that one does.
        control, seed: for layers with random streams (training only).
        precision: of products, see `Call`.
        learned: which outputs a loss looks at, counted from 0; all by default.

    Attributes:
        xs: the model's inputs (batch, ...), written by the gather or by the host.
        ys: its outputs (logits where the loss takes over the activation).
        dys: the gradients of the outputs, written by the losses; empty in inference, and
            None for an output that no loss looks at.
        scalings: scale and offset of a leading Rescaling of each input, for the gather.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        dtype: str,
        batch: int,
        pool: Pool,
        training: bool = False,
        activations: Mapping[int, Any] | None = None,
        control: Control | None = None,
        seed: int = 0,
        precision: str | None = None,
        learned: Iterable[int] | None = None,
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.batch = batch
        self.xs: list[Array] = [
            pool.array(f"input {k}", (batch, *shape), dtype)
            for k, shape in enumerate(plan.input_shapes)
        ]
        self.scalings = [(1.0, 0.0)] * len(self.xs)
        self.calls: list[Call] = []
        self._inputs = {INPUT - k: x for k, x in enumerate(self.xs)}
        folded = {node: k for k, node in plan.folded_rescalings().items()}
        views = self._views = set[int]()
        for i, node in enumerate(plan.nodes):
            trains = training and node.training is not False
            call = Call(backend, node.layer, batch, dtype, trains, len(node.sources))
            call.control, call.precision = control, precision
            call.seed, call.stream = node.layer.stream_seed(seed), i
            for k, source in enumerate(node.sources):
                call.reads(k, self._output(source))
            if activations is not None and i in activations:
                call.activation = activations[i]
            if i in folded:
                call.folded = True
                self.scalings[folded[i]] = node.layer.scale, node.layer.offset
            shape = (batch, *node.output_shape)
            if node.layer.is_view(call):
                call.y = call.x.reshape(shape)
                views.add(i)
            else:
                call.y = pool.array(f"{i} output", shape, dtype)
            self.calls.append(call)
        self.ys = [self._output(number) for number in plan.outputs]
        self.dys: list[Array] = []
        self._added: list[tuple[Array, Array]] = []  # gradients of one node read as two outputs
        if training:
            outputs = range(len(plan.outputs)) if learned is None else learned
            self._bind_gradients(pool, dtype, set(outputs))
        run = [(i, call) for i, call in enumerate(self.calls) if i not in views]
        self._forward = [(call.layer.forward, call) for _, call in run]
        self._backward = [
            (call.layer.backward, call)
            for _, call in reversed(run)
            if call.dy is not None and (call.trains or any(dx is not None for dx in call.dxs))
        ]

    def _output(self, number: int) -> Array:
        return self._inputs[number] if number < 0 else self.calls[number].y

    def _bind_gradients(self, pool: Pool, dtype: str, learned: set[int]) -> None:
        """Give each call the arrays of its gradients, back to front where it matters.

        A node's output needs a gradient only if a loss depends on it and it or something
        before it is trained; the first to write a gradient overwrites, the others add.
        """
        nodes, calls, outputs, views = self.plan.nodes, self.calls, self.plan.outputs, self._views
        matters = {outputs[k] for k in learned}
        for i in reversed(range(len(nodes))):
            if i in matters:
                matters.update(nodes[i].sources)
        needed = set[int]()
        for i, (node, call) in enumerate(zip(nodes, calls, strict=True)):
            call.trains = i in matters and any(p.trainable for p in node.layer.parameters)
            before = needed.intersection(node.sources)
            if not call.trains and not (before and i in matters):
                continue
            needed.add(i)
            if i in views and before:
                call.dy = calls[node.sources[0]].dy.reshape(call.y.shape)
            else:
                call.dy = pool.array(f"{i} gradient", call.y.shape, dtype)

        def written_in(i: int) -> int:
            """The node that the gradient of node i is an array of."""
            while i in views and nodes[i].sources[0] in needed:
                i = nodes[i].sources[0]
            return i

        written: set[int] = set()
        for k, n in enumerate(outputs):
            gradient: Array = None
            if k in learned and n in needed and written_in(n) not in written:
                gradient = calls[n].dy
                written.add(written_in(n))
            elif k in learned:
                gradient = pool.array(f"output {k} gradient", self._output(n).shape, dtype)
                if n in needed:
                    self._added.append((gradient, calls[n].dy))
            self.dys.append(gradient)
        seen: set[int] = set()
        for i in reversed(range(len(nodes))):
            node, call = nodes[i], calls[i]
            call.adds = id(node.layer) in seen
            if call.trains:
                seen.add(id(node.layer))
            if i not in needed or i in views:
                continue
            for k, source in enumerate(node.sources):
                if source in needed:
                    call.writes(k, calls[source].dy, written_in(source) in written)
                    written.add(written_in(source))

    # What most models have one of.

    @property
    def x(self) -> Array:
        """The first input."""
        return self.xs[0]

    @property
    def y(self) -> Array:
        """The first output (logits where the loss takes over the activation)."""
        return self.ys[0]

    @property
    def dy(self) -> Array:
        """The gradient of the first output; None in inference."""
        return self.dys[0] if self.dys else None

    def put(self, xs: Sequence[Array]) -> None:
        """Write batches of any real dtype to ``self.xs``, converted and scaled."""
        for x, scaling, into in zip(xs, self.scalings, self.xs, strict=True):
            self.backend.affine(x, *scaling, into)

    def read(self, xs: Sequence[Array]) -> None:
        """Take batches as the inputs where they stand; only if that needs more, `put` one.

        A step that was captured reads ``self.xs``: this is for one that was not.
        """
        inputs, moved = self._inputs, False
        for k, x in enumerate(xs):
            into = self.xs[k]
            if self.scalings[k] != (1.0, 0.0) or x.dtype != into.dtype or not x.flags.c_contiguous:
                self.backend.affine(x, *self.scalings[k], into)
                x = into
            if inputs[INPUT - k] is not x:
                inputs[INPUT - k] = x
                moved = True
        if not moved:
            return
        for number, k, source in self._of_inputs:
            call = self.calls[number]
            call.xs[k] = x = inputs[source] if source < 0 else self.calls[source].y
            if k == 0:
                call.x = x
            if number in self._views:
                call.y = x.reshape(call.y.shape)
        if self._moves:
            self.ys = [self._output(number) for number in self.plan.outputs]

    @cached_property
    def _of_inputs(self) -> list[tuple[int, int, int]]:
        """Nodes that read an input or a view of one: their numbers, which of what they read
        it is, and the number of that."""
        views = set(self._inputs)
        found = []
        for number, node in enumerate(self.plan.nodes):
            for k, source in enumerate(node.sources):
                if source in views:
                    found.append((number, k, source))
                    views.update({number} & self._views)
        return found

    @cached_property
    def _moves(self) -> bool:
        """Whether an output is an input or a view of one."""
        views = {number for number, _, _ in self._of_inputs} & self._views
        return any(number < 0 or number in views for number in self.plan.outputs)

    def forward(self) -> None:
        """Run every layer on ``xs``; the results are in ``ys``."""
        for forward, call in self._forward:
            forward(call)

    def backward(self) -> None:
        """From ``dys`` to the gradients of all trainable parameters."""
        for gradient, total in self._added:
            self.backend.affine(gradient, 1.0, 0.0, total, accumulate=True)
        for backward, call in self._backward:
            backward(call)


def run_once(
    plan: Plan,
    backend: Backend,
    dtype: str,
    xs: Sequence[Array],
    training: bool,
    number: int,
    seed: int,
) -> list[np.ndarray]:
    """The outputs of a plan for one batch ``xs`` on the device, as NumPy arrays.

    ``number`` counts the calls made in training: each has random numbers of its own.
    """
    control = None
    if training:
        control = Control(backend)
        control.set(BATCHES, number)
    workspace = Workspace(
        plan, backend, dtype, len(xs[0]), Pool(backend), training, control=control, seed=seed
    )
    workspace.put(xs)
    workspace.forward()
    return [backend.read(y) for y in workspace.ys]
