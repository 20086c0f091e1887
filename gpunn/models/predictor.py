"""Prediction: a plan run forward on batches, and the loop of predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backends.base import Array, Backend
from ..plan import Plan, Pool, Workspace
from .data import Rows
from .memory import room_for_batch
from .trainer import CACHED_PROGRAMS


class Predictor:
    """Runs a plan forward on batches of any size; keeps the arrays of the last few sizes."""

    def __init__(self, plan: Plan, backend: Backend, dtype: str) -> None:
        self._bind = (plan, backend, dtype)
        self._pool = Pool(backend)
        self._workspaces: dict[int, Workspace] = {}

    def run(self, x: Array) -> Workspace:
        """Forward on ``x`` (batch, ...), an array on the device; outputs are in its ``y``."""
        with room_for_batch(len(x), *self._bind, False, self._workspaces, self._pool):
            return self._run(x)

    def _run(self, x: Array) -> Workspace:
        workspace = self._workspaces.pop(len(x), None)
        if workspace is None:
            workspace = Workspace(*self._bind, len(x), self._pool)
            while len(self._workspaces) >= CACHED_PROGRAMS:
                del self._workspaces[next(iter(self._workspaces))]
                workspace.backend.release()  # work arrays of its size
        self._workspaces[len(x)] = workspace  # the last place: most recently used
        workspace.backend.affine(x, workspace.scale, workspace.offset, workspace.x)
        workspace.forward()
        return workspace


def predict(
    forward: Callable[[Rows], Workspace], batches: Iterator[Rows], callbacks: Any
) -> np.ndarray:
    """Outputs of all batches, one below the other."""
    if callbacks is not None:
        callbacks.model.stop_predicting = False
        callbacks.on_predict_begin({})
    outputs: list[np.ndarray] = []
    for number, rows in enumerate(batches):
        if callbacks is not None:
            callbacks.on_predict_batch_begin(number, {})
        workspace = forward(rows)
        outputs.append(workspace.backend.read(workspace.y))
        if callbacks is not None:
            callbacks.on_predict_batch_end(number, {"outputs": outputs[-1]})
            if callbacks.model.stop_predicting:
                break
    if callbacks is not None:
        callbacks.on_predict_end({})
    if not outputs:
        raise ValueError("x gave no batch at all: there is nothing to predict.")
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
