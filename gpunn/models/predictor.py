"""Prediction: a plan run forward on batches, and the loop of predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import get_ident
from typing import Any

import numpy as np

from ..backends.base import Array, Program
from ..plan import Plan, Pool, Workspace
from ..registry import is_own
from .arrays import check_finite, is_finite, on_device
from .data import Spec
from .memory import room_for_batch, sample_bytes
from .trainer import CACHED_PROGRAMS


class Predictor:
    """Runs a plan forward on batches of any size; keeps what the last few sizes need.

    Args:
        plan: what to run.
        spec: backend, dtype and shapes of the model.
    """

    def __init__(self, plan: Plan, spec: Spec) -> None:
        self.spec = spec
        self._bind = (plan, spec.backend, spec.dtype)
        self._pool = Pool(spec.backend)
        self._programs: dict[int, tuple[Workspace, Program]] = {}
        self._pieces: dict[tuple[int, int], Workspace] = {}  # by thread and size
        self._listable = all(map(is_own, plan.formulas))
        cache = spec.backend.cache_bytes
        row = sample_bytes(plan, spec.dtype, training=False)
        self._rows = sys.maxsize if cache is None else max(1, cache // row)

    def run(self, x: Array) -> Workspace:
        """Forward on ``x`` (batch, ...), an array on the device; outputs are in its ``y``."""
        size, caches = len(x), (self._programs, self._pool)
        known = size in self._programs
        with nullcontext() if known else room_for_batch(size, *self._bind, False, *caches):
            entry = self._programs.pop(size, None) or self._program(size)
            self._programs[size] = workspace, program = entry  # last: most recently used
            workspace.put(x)
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

    def predict(self, x: Any, argument: str = "x", first: int = 0) -> np.ndarray:
        """Outputs (rows, ...) for ``x`` (rows, ...), of any real dtype, wherever it is.

        Args:
            x: the samples.
            argument, first: what a message calls them, and the number of the first.

        Raises:
            ValueError: for a value that is not finite.
        """
        backend, dtype = self.spec.backend, self.spec.dtype
        large = len(x) > self._rows
        with backend.session(threads=large):
            if large:
                return self._in_pieces(x, argument, first)
            check_finite(backend, x, dtype, argument, first)
            if not backend.owns(x):
                x = on_device(backend, x, dtype, argument)
            return backend.read(self.run(x).y)

    def _in_pieces(self, x: Any, argument: str, first: int) -> np.ndarray:
        """Each thread takes a part, in pieces whose arrays stay in its cache."""
        plan, backend, dtype = self._bind
        out = np.empty((len(x), *plan.output_shape), dtype)
        suspects: list[slice] = []

        def work(part: slice) -> None:
            for start in range(part.start, part.stop, self._rows):
                at = slice(start, min(start + self._rows, part.stop))
                workspace = self._workspace(at.stop - start)
                workspace.read(x[at])
                workspace.forward()
                np.copyto(out[at], workspace.y)
                if not is_finite(x[at], dtype):
                    suspects.append(at)

        with room_for_batch(self._rows, *self._bind, False, self._pieces):
            backend.share(len(x), work)
        for at in suspects:
            check_finite(backend, x[at], dtype, argument, first + at.start)
        return out


def predict(
    forward: Callable[..., np.ndarray], batches: Iterator[tuple[Any, ...]], callbacks: Any
) -> np.ndarray:
    """Outputs of all batches, one below the other; ``forward`` takes what each consists of."""
    if callbacks is not None:
        callbacks.model.stop_predicting = False
        callbacks.on_predict_begin({})
    outputs: list[np.ndarray] = []
    for number, batch in enumerate(batches):
        if callbacks is not None:
            callbacks.on_predict_batch_begin(number, {})
        outputs.append(forward(*batch))
        if callbacks is not None:
            callbacks.on_predict_batch_end(number, {"outputs": outputs[-1]})
            if callbacks.model.stop_predicting:
                break
    if callbacks is not None:
        callbacks.on_predict_end({})
    if not outputs:
        raise ValueError("x gave no batch at all: there is nothing to predict.")
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
