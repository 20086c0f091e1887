"""Prediction: forward passes of a plan on batches, and the loop of predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Program
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.common.config import eagerly, runs_eagerly
from gpunn.common.nested import TreeDef
from gpunn.common.random import Counter
from gpunn.common.registry import is_traceable
from gpunn.core.plan import KEPT_SHAPES, Node, Plan, check_unchanged
from gpunn.core.settings import Cached, Settings
from gpunn.core.storage import ParameterStorage
from gpunn.core.workspace import Pool, Workspace
from gpunn.feeding.arrays import (
    check_finite,
    check_placed,
    is_checked_there,
    is_finite,
    on_device,
    stored_dtype,
)
from gpunn.feeding.batches import PREDICT_BATCH
from gpunn.feeding.memory import memory_for_batch, sample_bytes
from gpunn.feeding.rows import name_of
from gpunn.feeding.spec import Spec
from gpunn.layers.traced import trains_alone

from .object_pool import ObjectPool
from .programs import CACHED_PROGRAMS

DRAWN = 1 << 62  # first random counter of predictions; the counters of steps stay below
PIECES = 32  # bits of a piece number
# On a GPU more rows than PREDICT_BATCH, if they are small.
PREDICT_BYTES = 1 << 26
KERAS_BATCH = 32


class Forward:
    """Forward programs of a plan for batches of any size; one call at a time uses them.

    It caches the programs of the last few sizes. ``seed`` is the key of random numbers that a
    custom `call` may draw.
    """

    def __init__(self, plan: Plan, spec: Spec, seed: int = 0) -> None:
        self._plan, self._dtype, self._seed, self._eager = plan, spec.dtype, seed, spec.eager
        self.backend = spec.backend.isolated()
        self._control = Control(self.backend) if plan.may_draw else None
        self._pool = Pool(self.backend)
        self._traceable = all(map(is_traceable, plan.formulas))
        self._programs: dict[tuple[int, bool], tuple[Workspace, Program]] = {}

    def run(self, xs: Sequence[Array], number: int = 0) -> Workspace:
        """Run a forward pass on arrays, one for each input; outputs are in the result's ``ys``.

        ``number``: counter of random numbers, if any are drawn.
        """
        eager = runs_eagerly()
        if self._eager and not eager:
            with eagerly(True):
                return self.run(xs, number)
        key = xs[0].shape[0], eager
        entry = self._programs.pop(key, None)
        if entry is None:
            with self.memory_for(key[0]):
                self._programs[key] = self._program(key[0])
                return self.run(xs, number)
        self._programs[key] = workspace, program = entry  # last: most recently used
        workspace.put(xs)
        if self._control is not None:
            self._control.set(BATCHES, number)
        program.run(1)
        return workspace

    def memory_for(self, size: int) -> Any:
        """See `memory_for_batch`."""
        caches = self._programs, self._pool
        return memory_for_batch(size, self._plan, self.backend, self._dtype, False, *caches)

    def _program(self, size: int) -> tuple[Workspace, Program]:
        while len(self._programs) >= CACHED_PROGRAMS:
            del self._programs[next(iter(self._programs))]
            self.backend.release()  # work arrays of its size
        workspace = Workspace(
            self._plan, self.backend, self._dtype, size, self._pool,
            control=self._control, seed=self._seed, assigns=False,
            counts=False,
        )
        unread = workspace.unread
        return workspace, self.backend.program(workspace.forward, self._traceable, None, unread)


class Forwards:
    """What predictions use as long as no setting changes; arguments as in `Predictor`."""

    def __init__(self, plan: Plan, storage: ParameterStorage, spec: Spec, seed: int) -> None:
        check_unchanged(plan, storage)
        self.contexts = ObjectPool(lambda: Forward(plan, spec, seed))
        nodes = [replace(node, training=node.trains_in(_trains_alone(node))) for node in plan.nodes]
        assigns = plan.reads_batches or any(map(_trains_alone, plan.nodes))
        self.training_alone = copy(plan) if assigns else None
        if self.training_alone is not None:
            self.training_alone.nodes = nodes


def _trains_alone(node: Node) -> bool:
    alone = node.training is None and node.layer._has_call
    return alone and trains_alone(node.layer)


class Predictor:
    """Predictions of a model; several threads may predict at the same time.

    Args:
        form: Structure of the outputs.
        calls: Counts the calls that draw random numbers.

    Attributes:
        may_draw: Whether it may draw random numbers, see `Plan`.
        batch: Rows of a batch unless the caller chooses: all on a CPU, where `predict` takes them
            in pieces, and on a GPU as many as take `PREDICT_BYTES`.
    """

    def __init__(
        self, plan: Plan, storage: ParameterStorage, spec: Spec, form: TreeDef, seed: int,
        calls: Counter,
    ) -> None:
        self.plan = plan
        self.storage = storage
        self.spec = spec
        self.form = form
        made = partial(Forwards, plan, storage, spec, seed)
        self._forwards = Cached(lambda: Settings(plan.read), made)
        self._seed, self._calls = seed, calls
        self.may_draw = plan.may_draw
        self._on_host = spec.backend.xp is np
        self._resolved = lru_cache(KEPT_SHAPES)(self._resolve)
        if plan.unknown:  # `of` returns those that predict
            return
        cache = spec.backend.cache_bytes
        row = max(1, sample_bytes(plan, spec.dtype, training=False))
        self._rows = sys.maxsize if cache is None else max(1, cache // row)
        self.batch = sys.maxsize if cache else max(PREDICT_BATCH, PREDICT_BYTES // row)
        if plan.reads_batches:  # then the batch matters: it is the one asked for, or Keras's
            self._rows, self.batch = sys.maxsize, KERAS_BATCH

    def of(self, xs: Sequence[Any]) -> Predictor:
        """Return the predictor for samples of the shapes of these inputs, if axes may have any
        length."""
        return self._resolved(tuple(tuple(x.shape[1:]) for x in xs))

    def _resolve(self, shapes: tuple[tuple[int, ...], ...]) -> Predictor:
        inputs = tuple((name, s) for (name, _), s in zip(self.spec.inputs, shapes, strict=True))
        spec = replace(self.spec, inputs=inputs)
        of = self.storage, spec, self.form, self._seed, self._calls
        return Predictor(self.plan.of(shapes), *of)

    def predict(
        self, xs: Sequence[Any], where: str = "", first: int = 0,
        added: list[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Return outputs (rows, ...) for inputs (rows, ...) of any real dtype, on any device.

        Args:
            where, first: Prefix for argument names in messages, and the number of the first row.
            added: List that receives the losses (1,) that layers add over all samples.

        Raises:
            ValueError: for a value that is not finite.
        """
        if self.plan.unknown:
            return self.of(xs).predict(xs, where, first, added)
        contexts, spec = self._forwards.get().contexts, self.spec
        backend, dtype, large = spec.backend, spec.dtype, xs[0].shape[0] > self._rows
        if large and (added is None or not self.may_draw):
            with backend.parallel_region():
                return self.storage.access.read(self._in_pieces, contexts, xs, where, first)
        if not self._on_host:
            return self._predict_there(contexts, xs, where, first, added)
        for x, (argument, _) in zip(xs, spec.inputs, strict=True):
            if not is_finite(backend, x, dtype):
                check_finite(backend, x, dtype, where + argument, first)
        number = self._number() if self.may_draw else 0
        return self.storage.access.read(contexts.call, self._outputs, xs, number, added)

    def _predict_there(
        self, contexts: ObjectPool[Forward], xs: Sequence[Any], where: str, first: int,
        added: list[np.ndarray] | None,
    ) -> list[np.ndarray]:
        """Predict on a device, which also checks large inputs."""
        spec, backend = self.spec, self.spec.backend
        names = [where + argument for argument, _ in spec.inputs]
        there = [is_checked_there(backend, x) for x in xs]
        for x, is_there, name in zip(xs, there, names, strict=True):
            if not is_there:
                check_finite(backend, x, spec.dtype, name, first)
        stored = [stored_dtype(x, spec.dtype_of(name_of("x", k))) for k, x in enumerate(xs)]
        placed = [
            x if backend.owns(x) else on_device(backend, x, dtype, name)
            for x, dtype, name in zip(xs, stored, names, strict=True)
        ]
        checks = [
            check_placed(backend, x, array, spec.dtype, name, first)
            for x, array, is_there, name in zip(xs, placed, there, names, strict=True) if is_there
        ]
        number = self._number() if self.may_draw else 0
        try:
            outputs = self.storage.access.read(contexts.call, self._outputs, placed, number, added)
        except Exception:  # such as that of an index which is NaN
            for check in checks:
                check()
            raise
        for check in checks:
            check()
        return outputs

    def plan_for(self, training: bool | None) -> Plan | None:
        """Return the plan, whose layers are checked, for a call in training. Otherwise return that
        in which those layers train that do so when they are called by themselves, and no others,
        as in Keras; None without such a layer."""
        alone = self._forwards.get().training_alone
        return self.plan if training else alone

    def _number(self) -> int:
        """Return the random counter of a call; each call and each of its pieces has its own."""
        return DRAWN + (next(self._calls) << PIECES)

    def _outputs(
        self, forward: Forward, xs: Sequence[Array], number: int, added: list[np.ndarray] | None
    ) -> list[np.ndarray]:
        run, read = forward.run(xs, number), forward.backend.read
        if added is not None:
            added += map(read, run.losses)
        return list(map(read, run.ys))

    def activations(self, xs: Sequence[Array]) -> list[np.ndarray]:
        """Return the outputs of all nodes of the plan, for arrays on the device."""

        def work(forward: Forward) -> list[np.ndarray]:
            run, backend = forward.run(xs, self._number() if self.may_draw else 0), forward.backend
            if not all(backend.is_written(call.y) for call in run.calls):
                with backend.stream_lock:
                    run.forward()
            return [forward.backend.read(call.y) for call in run.calls]

        return self.storage.access.read(self._forwards.get().contexts.call, work)

    def _in_pieces(
        self, contexts: ObjectPool[Forward], xs: Sequence[Any], where: str, first: int
    ) -> list[np.ndarray]:
        """Predict on all threads, in pieces whose arrays fit in a thread's cache."""
        spec, rows = self.spec, len(xs[0])
        backend, dtype = spec.backend, spec.dtype
        ends = zip(self.plan.output_shapes, self.plan.output_dtypes, strict=True)
        outs = [np.empty((rows, *shape), whole or dtype) for shape, whole in ends]
        floats = [x for x in xs if x.dtype.kind == "f"]  # the others are finite
        suspects: list[slice] = []
        number = self._number() if self.may_draw else 0

        def work(forward: Forward, piece: int) -> None:
            at = slice(piece * self._rows, min((piece + 1) * self._rows, rows))
            ys = forward.run([*map(itemgetter(at), xs)], number + piece).ys
            for out, y in zip(outs, ys, strict=True):
                np.copyto(out[at], y)
            for x in floats:
                if not is_finite(backend, x[at], dtype):
                    suspects.append(at)

        backend.parallel_for(-(-rows // self._rows), partial(contexts.call, work))
        for at in suspects:
            for x, (argument, _) in zip(xs, spec.inputs, strict=True):
                check_finite(backend, x[at], dtype, where + argument, first + at.start)
        return outs


def predict(
    forward: Callable[..., list[np.ndarray]], batches: Iterable[tuple[Any, ...]], callbacks: Any,
    form: Any,
) -> Any:
    """Return the concatenated outputs of all batches.

    Args:
        forward: Returns the outputs of a batch; its arguments are the items of the batch.
        batches: The batches to predict.
        callbacks: Callbacks to notify, or None.
        form: Structure of the outputs; it is not read before ``forward`` has returned.
    """
    if callbacks is not None:
        callbacks.model.stop_predicting = False
        callbacks.on_predict_begin({})
    outputs: list[list[np.ndarray]] = []
    for number, batch in enumerate(batches):
        if callbacks is not None:
            callbacks.on_predict_batch_begin(number, {})
        outputs.append(forward(*batch))
        if callbacks is not None:
            callbacks.on_predict_batch_end(number, {"outputs": form.pack(outputs[-1])})
            if callbacks.model.stop_predicting:
                break
    if callbacks is not None:
        callbacks.on_predict_end({})
    if not outputs:
        raise ValueError("x yielded no batches: there is nothing to predict.")
    for parts in zip(*outputs, strict=True) if len(outputs) > 1 else ():
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"The outputs of the batches have different shapes, {parts[0].shape[1:]} and "
                f"others: pad all batches to one length, or predict each with predict_on_batch."
            )
    if len(outputs) > 1:
        outputs = [[np.concatenate(parts) for parts in zip(*outputs, strict=True)]]
    return outputs[0][0] if form.kind is None else form.pack(outputs[0])
