"""A plan bound to arrays for one batch size, and its execution.

Training and prediction have separate workspaces: a program keeps the addresses of the
arrays that it was captured with, so no other call may replace them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.backends.contract.expression import filling
from gpunn.distribution.communicator import Shard

from .plan import INPUT, Call, Plan
from .storage import Parameter


class Pool:
    """Named arrays that workspaces of several batch sizes share.

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
        """Drop the arrays: workspaces that are created from now on get others."""
        self._arrays.clear()


class Workspace:
    """A plan bound to arrays for one batch size.

    Args:
        plan: what to run.
        backend, dtype: of the computation.
        batch: number of samples.
        pool: provides the arrays.
        training: whether dropout is active and gradients are kept; a node may have a mode of its
            own, see `Node`.
        activations: by index of a node, the activation applied instead of its layer's own: linear
            if the loss applies that one.
        control, seed: for layers with random streams (training only).
        precision: of products, see `Call`.
        learned: the indices, from 0, of the outputs that a loss reads; all by default.
        loss_scale: the factor on the gradients of losses.
        assigns: whether a `call` may assign to parameters.
        counts: whether metrics that a `call` updates count.
        by_inputs: whether gradients of the inputs are kept, instead of the parameters'.
        shard: the rank's shard of the rows; None if there is only one process.
        by_rows: parameters whose gradients are written by rows.

    Attributes:
        xs: the model's inputs (batch, ...), written by the gather or by the host.
        ys: its outputs (logits if the loss applies the activation).
        masks: of the outputs (batch, steps), or None.
        dys: the gradients of the outputs, written by the losses; None for an output that no loss
            reads. Empty without gradients, as in inference.
        dxs: the gradients with respect to ``xs``, if they are kept.
        scalings: scale and offset of a leading Rescaling of each input, for the gather.
        losses: those that layers add (1,), each for the whole batch.
        by_rows: the gradients that are written by rows, by the `id` of the parameter.
        reached: the `id` of each trainable parameter that a loss depends on. The gradients of the
            others are 0.
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
        loss_scale: float = 1.0,
        assigns: bool = True,
        by_inputs: bool = False,
        shard: Shard | None = None,
        by_rows: Sequence[Parameter] = (),
        counts: bool = True,
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.batch = batch
        self._pool, self._dtype = pool, dtype
        self.xs: list[Array] = [
            pool.array(f"input {k}", (batch, *shape), self._stored(INPUT - k))
            for k, shape in enumerate(plan.input_shapes)
        ]
        self.scalings = [(1.0, 0.0)] * len(self.xs)
        self.calls: list[Call] = []
        self._inputs = {INPUT - k: x for k, x in enumerate(self.xs)}
        folded = {node: k for k, node in plan.folded_rescalings().items()}
        views = self._views = set[int]()
        passes: dict[int, Any] = {}
        self._forward: list[tuple[Callable[[Any], None], Any]] = []
        self._converted: dict[tuple[int, str | None], Array] = {}
        self._unread: list[Array] = []  # gradients of outputs that only their layer's loss reads
        for i, node in enumerate(plan.nodes):
            call = Call(
                backend, node.layer, batch, dtype, node.trains_in(training),
                len(node.sources), precision, control, node.layer.stream_seed(seed), i,
                node.given, node.parts, loss_scale=loss_scale, assigns=assigns,
                shard=shard, counts=counts,
            )
            for k, source in enumerate(node.sources):
                call.reads(k, self._read(source, plan.reads_as(i, k), node.reads_integers))
            for p in by_rows:
                if any(p is known for known in node.layer.parameters):
                    from .by_rows import RowGradient  # which most trainings do not need

                    call.by_rows[id(p)] = RowGradient(backend, p, call.x.size)
            if activations is not None and i in activations:
                call.activation = activations[i]
            if i in folded:
                call.folded = True
                self.scalings[folded[i]] = node.layer._scaling
            shape = (batch, *node.output_shape)
            if node.layer._is_skipped(call):
                call.y = call.x.reshape(shape)
                views.add(i)
            else:
                call.y = pool.array(f"{i} output", shape, self._stored(i))
                if node.integers:
                    call.integers = pool.array(f"{i} integers", (batch, node.integers), "int32")
                forward, backward = node.layer._passes(call)
                name = node.layer.name
                passes[i] = backend.named(f"{name}, backward", backward)
                self._forward.append((backend.named(name, forward), call))
            if call.adds_loss:
                call.loss = pool.array(f"{i} loss", (1,), dtype)
            self.calls.append(call)
        outputs = set(range(len(plan.outputs)) if learned is None else learned)
        compared = learned is not None  # with targets, of floats
        self.ys = [
            self._read(number, None if compared and k in outputs else plan.dtypes[number])
            for k, number in enumerate(plan.outputs)
        ]
        self.masks = [
            None if number is None else self._read(number, "bool") for number in plan.masks
        ]
        self.dys: list[Array] = []
        self.dxs: list[Array] = []
        if by_inputs:
            self.dxs = [
                pool.array(f"input {k} gradient", x.shape, dtype) for k, x in enumerate(self.xs)
            ]
        self._added: list[tuple[Array, Array]] = []  # gradients of one node read as two outputs
        self.reached = set[int]()
        self._zeroed: list[Array] = []  # gradients that no node writes, or only adds to
        if training or by_inputs:
            self._bind_gradients(pool, dtype, outputs)
        self.losses = [call.loss for call in self.calls if call.adds_loss]
        self.by_rows = {
            key: g for call in self.calls for key, g in call.by_rows.items() if key in self.reached
        }
        run = [(backward, self.calls[i]) for i, backward in passes.items()]
        self._backward = [
            (backward, call)
            for backward, call in reversed(run)
            if call.dy is not None and (call.trains or any(dx is not None for dx in call.dxs))
        ]

    @property
    def unread(self) -> list[Array]:
        """The outputs of nodes that nothing reads after a step, unless it looks at all of them."""
        wanted = [*self.ys, *(mask for mask in self.masks if mask is not None)]
        overlap = self.backend.overlap
        return [
            call.y for call in self.calls if all(overlap(call.y, y) is None for y in wanted)
        ]

    def _stored(self, number: int) -> str:
        """Return the storage dtype of an input, or the output of a node: inputs are never bool."""
        dtype = self.plan.dtypes[number]
        return self._dtype if dtype is None else "int32" if number < 0 else dtype

    def _output(self, number: int) -> Array:
        return self._inputs[number] if number < 0 else self.calls[number].y

    def _read(self, number: int, dtype: str | None, integers: bool = False) -> Array:
        """Return an input, or the output of a node, in a dtype as in `Node`; converted, if
        necessary, in each forward pass. With ``integers``, return those beside the output."""
        if integers:
            return self.calls[number].integers
        array, wanted = self._output(number), dtype or self._dtype
        if array.dtype == wanted:
            return array
        key = number, dtype
        if key not in self._converted:
            into = self._pool.array(f"{number} as {wanted}", array.shape, wanted)
            self._converted[key] = into
            self._forward.append((self._convert, (array, into)))
        return self._converted[key]

    def _convert(self, pair: tuple[Array, Array]) -> None:
        array, into = pair
        if into.dtype == bool:
            self.backend.xp.not_equal(array, 0, out=into)
        else:
            self.backend.affine(array, 1.0, 0.0, into)

    def _gradient(self, number: int) -> Array:
        return self.dxs[INPUT - number] if number < 0 else self.calls[number].dy

    def _bind_gradients(self, pool: Pool, dtype: str, learned: set[int]) -> None:
        """Give each call the arrays of its gradients, in reverse order where it matters.

        A node's output needs a gradient only if a loss depends on it, and it or something
        before it is trained or is an input whose gradient is requested. The first to write a
        gradient overwrites, the others add.
        """
        nodes, calls, outputs, views = self.plan.nodes, self.calls, self.plan.outputs, self._views
        used = {outputs[k] for k in learned}  # nodes with an output that a loss depends on
        matters = set[int]()  # these, and those that add a loss
        starts: dict[int, set[int]] = {}  # of those outputs of a call with several
        for i in reversed(range(len(nodes))):
            node, call = nodes[i], calls[i]
            if i not in used and not call.adds_loss:
                continue
            matters.add(i)
            places: Iterable[int] = range(len(node.sources))
            if call.depends is not None:
                every = None if i in used else ()
                places = call.depends(starts.get(i, ()) if node.parts else every)
            for k in places:
                used.add(source := node.sources[k])
                if source >= 0 and nodes[source].parts and not node.reads_integers:
                    starts.setdefault(source, set()).add(node.layer.start)
        inputs = [INPUT - k for k, _ in enumerate(self.dxs)]
        needed = set(inputs)
        for i, (node, call) in enumerate(zip(nodes, calls, strict=True)):
            if self.plan.dtypes[i] is not None and not call.adds_loss:
                continue  # integers have no gradient
            learns = i in matters and not inputs
            call.trains = learns and any(p.trainable for p in node.layer.parameters)
            before = needed.intersection(node.sources)
            if not call.trains and not (before and i in matters):
                continue
            needed.add(i)
            if i in views and before:
                call.dy = self._gradient(node.sources[0]).reshape(call.y.shape)
            else:
                call.dy = pool.array(f"{i} gradient", call.y.shape, dtype)

        def written_in(i: int) -> int:
            """Return the node that owns the array of node i's gradient."""
            while i in views and nodes[i].sources[0] in needed:
                i = nodes[i].sources[0]
            return i

        written: set[int] = set()
        for k, n in enumerate(outputs):
            gradient: Array = None
            if k in learned and n in needed and written_in(n) not in written:
                gradient = self._gradient(n)
                written.add(written_in(n))
            elif k in learned:
                gradient = pool.array(f"output {k} gradient", self._output(n).shape, dtype)
                if n in needed:
                    self._added.append((gradient, self._gradient(n)))
            self.dys.append(gradient)
        seen = self.reached  # parameters whose gradients have been written by then
        known: dict[int, Parameter] = {}  # all that are trainable
        for i in reversed(range(len(nodes))):
            node, call = nodes[i], calls[i]
            own = [p for p in node.layer.parameters if p.trainable] if not inputs else []
            trained = [p for p in own if call.trains and id(p) not in call.unread]
            for p in own:
                known[id(p)] = p
            call.accumulate_gradients = any(id(p) in seen for p in trained)
            if call.accumulate_gradients:  # then it adds to all of its gradients
                self._zeroed += [p.gradient for p in trained if id(p) not in seen]
            seen.update(map(id, trained))
            if i not in needed or i in views:
                continue
            for k, source in enumerate(node.sources):
                if source in needed and self.plan.dtypes[source] is None:
                    call.writes(k, self._gradient(source), written_in(source) in written)
                    written.add(written_in(source))
        self._unread = [self._gradient(n) for n in sorted(needed) if written_in(n) not in written]
        self._zeroed += [p.gradient for key, p in known.items() if key not in seen]

    # For models with one input and one output.

    @property
    def y(self) -> Array:
        """The first output (logits if the loss applies the activation)."""
        return self.ys[0]

    @property
    def dy(self) -> Array:
        """The gradient of the first output; None in inference."""
        return self.dys[0] if self.dys else None

    def put(self, xs: Sequence[Array]) -> None:
        """Write batches of any real dtype to ``self.xs``, converted and scaled."""
        for x, into, scaling in zip(xs, self.xs, self.scalings, strict=True):
            self.backend.convert(x, into, *scaling)

    def forward(self) -> None:
        """Run every layer on ``xs``; the results are in ``ys``."""
        for forward, call in self._forward:
            forward(call)

    def backward(self) -> None:
        """Compute the gradients of all trainable parameters, or ``dxs``, from ``dys``."""
        for gradient in (*self._zeroed, *self._unread):
            if gradient.size:
                zeros = filling(gradient.dtype.name, 0.0, 1.0)
                self.backend.expression(zeros, 1, gradient.size, [], [gradient.reshape(1, -1)])
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
    assigns: bool = True,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray | None]]:
    """Return the outputs of a plan for one batch ``xs`` on the device, as NumPy arrays; the losses
    (1,) that its layers add; and the mask of each output (batch, steps), or None.

    ``number`` counts the calls that draw random numbers: each gets different ones.
    """
    backend = backend.isolated()
    control = None
    if training or plan.may_draw:
        control = Control(backend)
        control.set(BATCHES, number)
    workspace = Workspace(
        plan, backend, dtype, len(xs[0]), Pool(backend), training, control=control, seed=seed,
        assigns=assigns,
    )
    workspace.put(xs)
    with backend.stream_lock, np.errstate(all="ignore"):  # as in steps
        workspace.forward()
    masks = [None if mask is None else backend.read(mask) for mask in workspace.masks]
    return list(map(backend.read, workspace.ys)), list(map(backend.read, workspace.losses)), masks
