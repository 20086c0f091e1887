"""Prediction: a plan run forward on batches, and the loop of predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from threading import get_ident
from typing import Any

import numpy as np

from ..backends.base import Array, Program
from ..layers.operation import Form
from ..plan import Plan
from ..registry import is_own
from ..workspace import Pool, Workspace
from .arrays import check_finite, is_finite, on_device
from .data import Spec
from .memory import room_for_batch, sample_bytes
from .trainer import CACHED_PROGRAMS


class Predictor:
    """Runs a plan forward on batches of any size; keeps what the last few sizes need.

    Args:
        plan: what to run.
        spec: backend, dtype and shapes of the model.
        form: of its outputs.
    """

    def __init__(self, plan: Plan, spec: Spec, form: Form) -> None:
        self.spec = spec
        self.form = form
        self._bind = (plan, spec.backend, spec.dtype)
        self._pool = Pool(spec.backend)
        self._programs: dict[int, tuple[Workspace, Program]] = {}
        self._pieces: dict[tuple[int, int], Workspace] = {}  # by thread and size
        self._listable = all(map(is_own, plan.formulas))
        cache = spec.backend.cache_bytes
        row = sample_bytes(plan, spec.dtype, training=False)
        self._rows = sys.maxsize if cache is None else max(1, cache // row)

    def run(self, xs: Sequence[Array]) -> Workspace:
        """Forward on arrays on the device, one for each input; outputs are in its ``ys``."""
        size = len(xs[0])
        if size not in self._programs:
            with room_for_batch(size, *self._bind, False, self._programs, self._pool):
                self._programs[size] = self._program(size)
                return self.run(xs)
        workspace, program = entry = self._programs.pop(size)
        self._programs[size] = entry  # last: most recently used
        workspace.put(xs)
        program.run(1)
        return workspace

    def _program(self, size: int) -> tuple[Workspace, Program]:
        while len(self._programs) >= CACHED_PROGRAMS:
            del self._programs[next(iter(self._programs))]
            self.spec.backend.release()  # work arrays of its size
        workspace = Workspace(*self._bind, size, self._pool)
        return workspace, self.spec.backend.capture(workspace.forward, self._listable)

    def _workspace(self, size: int) -> Workspace:
        """One of this thread's own."""
        key = get_ident(), size
        workspace = self._pieces.get(key)
        if workspace is None:
            if len(self._pieces) >= CACHED_PROGRAMS:
                self._pieces.clear()
            workspace = Workspace(*self._bind, size, Pool(self.spec.backend))
            self._pieces[key] = workspace
        return workspace

    def predict(self, xs: Sequence[Any], where: str = "", first: int = 0) -> list[np.ndarray]:
        """Outputs (rows, ...) for inputs (rows, ...), of any real dtype, wherever they are.

        Args:
            xs: the samples, an array for each input.
            where, first: begins what messages call them, and the number of the first.

        Raises:
            ValueError: for a value that is not finite.
        """
        _, backend, dtype = self._bind
        large = len(xs[0]) > self._rows
        with backend.session(threads=large):
            if large:
                return self._in_pieces(xs, where, first)
            for x, (argument, _) in zip(xs, self.spec.inputs, strict=True):
                if not is_finite(backend, x, dtype):
                    check_finite(backend, x, dtype, where + argument, first)
            if not all(map(backend.owns, xs)):
                xs = [
                    x if backend.owns(x) else on_device(backend, x, dtype, where + argument)
                    for x, (argument, _) in zip(xs, self.spec.inputs, strict=True)
                ]
            return list(map(backend.read, self.run(xs).ys))

    def _in_pieces(self, xs: Sequence[Any], where: str, first: int) -> list[np.ndarray]:
        """Each thread takes a part, in pieces whose arrays stay in its cache."""
        plan, backend, dtype = self._bind
        outs = [np.empty((len(xs[0]), *shape), dtype) for shape in plan.output_shapes]
        floats = [x for x in xs if x.dtype.kind == "f"]  # the others are finite
        suspects: list[slice] = []

        def work(part: slice) -> None:
            for start in range(part.start, part.stop, self._rows):
                at = slice(start, min(start + self._rows, part.stop))
                workspace = self._workspace(at.stop - start)
                workspace.read([*map(itemgetter(at), xs)])
                workspace.forward()
                for out, y in zip(outs, workspace.ys, strict=True):
                    np.copyto(out[at], y)
                for x in floats:
                    if not is_finite(backend, x[at], dtype):
                        suspects.append(at)

        with room_for_batch(self._rows, *self._bind, False, self._pieces):
            backend.share(len(xs[0]), work)
        for at in suspects:
            for x, (argument, _) in zip(xs, self.spec.inputs, strict=True):
                check_finite(backend, x[at], dtype, where + argument, first + at.start)
        return outs


def predict(
    forward: Callable[..., list[np.ndarray]],
    batches: Iterator[tuple[Any, ...]],
    callbacks: Any,
    form: Form,
) -> Any:
    """Outputs of all batches, one below the other.

    Args:
        forward: gives the outputs of a batch; takes what each consists of.
        batches: what to predict.
        callbacks: who is told, or None.
        form: of what comes out.
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
        raise ValueError("x gave no batch at all: there is nothing to predict.")
    if len(outputs) > 1:
        outputs = [[np.concatenate(parts) for parts in zip(*outputs, strict=True)]]
    return outputs[0][0] if form.kind is None else form.pack(outputs[0])
