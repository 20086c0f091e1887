"""What runs in which order: the plan of a model, and the workspace that runs it.

A `Plan` is a list of nodes, each a layer and the node whose output it takes
(Sequential: a chain). A `Workspace` binds a plan to arrays for one batch size: each
node becomes a `Call`, which is all a layer sees when it runs. Training has its
workspaces, prediction its own, so that neither moves what the other recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backends.base import Array, Backend
from .backends.control import BATCHES, Control

INPUT = -1  # the node number of the model's input


@dataclass(frozen=True)
class Node:
    """One application of a layer: ``source`` is the number of the node it reads."""

    layer: Any
    source: int
    output_shape: tuple[int, ...]  # of one sample


class Plan:
    """The nodes of a model in the order in which they run.

    Args:
        nodes: in an order in which every node comes after its source.
        input_shape: of one sample.
    """

    def __init__(self, nodes: list[Node], input_shape: tuple[int, ...]) -> None:
        self.nodes = nodes
        self.input_shape = input_shape
        self.output_shape = nodes[-1].output_shape

    @property
    def output_activation(self) -> Any:
        """The activation that the last layer ends with, or None if it has none."""
        return getattr(self.nodes[-1].layer, "activation", None)

    @property
    def formulas(self) -> list[Any]:
        """Its layers and their activations, None among them."""
        layers = [node.layer for node in self.nodes]
        return [*layers, *(getattr(layer, "activation", None) for layer in layers)]

    def folded_rescaling(self) -> int | None:
        """Number of the node whose scale and offset the batch gather takes over.

        It is a Rescaling that reads the model's input directly, or through layers
        that only give it another shape.
        """
        for i, node in enumerate(self.nodes):
            if node.source != i - 1:
                return None
            if node.layer.folds_into_input:
                return i
            if not node.layer.reshapes:
                return None
        return None


class Call:
    """One application of a layer in one workspace: its arrays and what is asked of it.

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
        self, backend: Backend, layer: Any, batch: int, dtype: str, training: bool
    ) -> None:
        self.backend = backend
        self.layer = layer
        self.batch = batch
        self.dtype = dtype
        self.training = training
        self.x: Array = None
        self.y: Array = None
        self.dy: Array = None
        self.dx: Array = None
        self.accumulate = False
        self.trains = False
        self.adds = False
        self.folded = False
        self.activation: Any = getattr(layer, "activation", None)
        self.precision: str | None = None
        self.control: Control | None = None
        self.seed = 0
        self.stream = 0
        self._arrays: dict[str, Array] = {}

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
        output_activation: applied in place of the last layer's own: linear where the loss
            takes over what that one does.
        control, seed: for layers with random streams (training only).
        precision: of products, see `Call`.

    Attributes:
        x: the model's input (batch, ...), written by the gather or by the host.
        y: its output (logits where the loss takes over the activation).
        dy: the gradient of ``y``, written by the loss; None in inference.
        scale, offset: of a leading Rescaling, for the gather.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        dtype: str,
        batch: int,
        pool: Pool,
        training: bool = False,
        output_activation: Any = None,
        control: Control | None = None,
        seed: int = 0,
        precision: str | None = None,
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.batch = batch
        self.x: Array = pool.array("input", (batch, *plan.input_shape), dtype)
        self.scale, self.offset = 1.0, 0.0
        self.calls: list[Call] = []
        folded = plan.folded_rescaling()
        views = self._views = set[int]()
        for i, node in enumerate(plan.nodes):
            call = Call(backend, node.layer, batch, dtype, training)
            call.control, call.precision = control, precision
            call.seed, call.stream = node.layer.stream_seed(seed), i
            call.x = self.x if node.source == INPUT else self.calls[node.source].y
            if output_activation is not None and i == len(plan.nodes) - 1:
                call.activation = output_activation
            if i == folded:
                call.folded = True
                self.scale, self.offset = node.layer.scale, node.layer.offset
            shape = (batch, *node.output_shape)
            if node.layer.is_view(call):
                call.y = call.x.reshape(shape)
                views.add(i)
            else:
                call.y = pool.array(f"{i} output", shape, dtype)
            self.calls.append(call)
        self.y: Array = self.calls[-1].y
        self.dy: Array = None
        if training:
            self._bind_gradients(pool, dtype, views)
        run = [(i, call) for i, call in enumerate(self.calls) if i not in views]
        self._forward = [(call.layer.forward, call) for _, call in run]
        self._backward = [
            (call.layer.backward, call)
            for _, call in reversed(run)
            if call.dy is not None and (call.trains or call.dx is not None)
        ]

    def _bind_gradients(self, pool: Pool, dtype: str, views: set[int]) -> None:
        """Give each call the arrays of its gradients, back to front where it matters.

        A node's output needs a gradient only if it or something before it is
        trained; the first to write a gradient overwrites, the others add.
        """
        nodes, calls = self.plan.nodes, self.calls
        needed: list[bool] = []
        for i, (node, call) in enumerate(zip(nodes, calls, strict=True)):
            call.trains = any(p.trainable for p in node.layer.parameters)
            before = node.source != INPUT and needed[node.source]
            needed.append(call.trains or before)
            if not needed[i] and i < len(nodes) - 1:
                continue
            if i in views and before:
                call.dy = calls[node.source].dy.reshape(call.y.shape)
            else:
                call.dy = pool.array(f"{i} gradient", call.y.shape, dtype)
        written: set[int] = set()
        seen: set[int] = set()
        for i in reversed(range(len(nodes))):
            node, call = nodes[i], calls[i]
            call.adds = id(node.layer) in seen
            seen.add(id(node.layer))
            if node.source == INPUT or not needed[node.source] or i in views:
                continue
            target = node.source
            while target in views:
                target = nodes[target].source
            call.dx = calls[node.source].dy
            call.accumulate = target in written
            written.add(target)
        self.dy = calls[-1].dy

    def put(self, x: Array) -> None:
        """Write a batch ``x`` of any real dtype to ``self.x``, converted and scaled."""
        self.backend.affine(x, self.scale, self.offset, self.x)

    def read(self, x: Array) -> None:
        """Take a batch ``x`` as the input where it stands; only if that needs more, `put` it.

        A step that was captured reads ``self.x``: this is for one that was not.
        """
        plain = self.scale == 1.0 and self.offset == 0.0
        if not (plain and x.dtype == self.x.dtype and x.flags.c_contiguous):
            self.put(x)
            x = self.x
        sources: dict[int, Array] = {INPUT: x}
        for number, (node, call) in enumerate(zip(self.plan.nodes, self.calls, strict=True)):
            if node.source in sources:
                call.x = sources[node.source]
                if number in self._views:
                    call.y = sources[number] = call.x.reshape(call.y.shape)

    def forward(self) -> None:
        """Run every layer on ``x``; the result is in ``y``."""
        for forward, call in self._forward:
            forward(call)

    def backward(self) -> None:
        """From ``dy`` to the gradients of all trainable parameters."""
        for backward, call in self._backward:
            backward(call)


def run_once(
    plan: Plan, backend: Backend, dtype: str, x: Array, training: bool, number: int, seed: int
) -> np.ndarray:
    """The output of a plan for one batch ``x`` on the device, as a NumPy array.

    ``number`` counts the calls made in training: each has random numbers of its own.
    """
    control = None
    if training:
        control = Control(backend)
        control.set(BATCHES, number)
    workspace = Workspace(
        plan, backend, dtype, len(x), Pool(backend), training, control=control, seed=seed
    )
    backend.affine(x, workspace.scale, workspace.offset, workspace.x)
    workspace.forward()
    return backend.read(workspace.y)
