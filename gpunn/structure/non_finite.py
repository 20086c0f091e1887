"""Where numbers that are not finite come from: a batch runs again, and each layer is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.control import BATCHES, Control
from gpunn.common.nested import found_in
from gpunn.common.random import Draws, drawing_from
from gpunn.core.plan import Plan
from gpunn.core.recording import active
from gpunn.core.storage import ParameterStorage
from gpunn.core.workspace import Pool, Workspace
from gpunn.layers import traced
from gpunn.layers.layer import Layer
from gpunn.layers.symbolic import mask_of
from gpunn.ops.conversion import convert
from gpunn.ops.library.derivatives import at_once
from gpunn.ops.op_arguments import Place
from gpunn.ops.tensor import Tensor


@dataclass(frozen=True)
class Origin:
    """The first layer whose output is not finite for a row for which its inputs are.

    Attributes:
        layer: its name.
        row: of the batch, from 0.
        value: what is in its output, "NaN" or "infinite values".
        masked: whether its mask hides all steps of that row.
    """

    layer: str
    row: int
    value: str
    masked: bool

    def explained(self, row: int | None = None) -> str:
        """Return a sentence about it; ``row``: the number of the row in the data, if known."""
        of_data = "" if row is None else f" (row {row} of x)"
        what = f"the layer {self.layer!r} returns {self.value}"
        start = f"{what} for row {self.row} of a batch{of_data}"
        if self.masked:
            return (
                f"{start}, as its mask hides all steps of that row. Remove rows without steps, or "
                f"let at least one step of each count."
            )
        return (
            f"{start}, where its inputs are finite, also with newly drawn weights. Usual reasons: "
            f"a division by 0, a logarithm or a root of a number that is not positive, inputs that "
            f"are not scaled."
        )


def origin(
    plan: Plan,
    storage: ParameterStorage,
    xs: Sequence[Array],
    *,
    training: bool,
    seed: int,
    number: int = 0,
    scaled: bool = False,
) -> Origin | None:
    """Return where the first values come from that are not finite, for one batch ``xs``.

    The batch runs once more with newly drawn weights: steps spoil weights, and values that only
    diverged weights give have no origin. Weights and state are the same afterwards.

    Args:
        plan: of the model.
        storage: of its weights.
        xs: its inputs (batch, ...), on the host or the device.
        training: whether the batch was one of training.
        seed, number: of its random numbers.
        scaled: whether a leading Rescaling has been applied.
    """
    with storage.access.writing(), np.errstate(all="ignore"):  # as in steps
        kept = [storage.backend.read(array) for array in (storage.values, storage.state)]
        try:
            _draw(storage)
            plan = plan.of([x.shape[1:] for x in xs])
            workspace = _run(plan, storage, xs, training, seed, number, scaled)
            return _first(workspace, training)
        finally:
            for array, values in zip((storage.values, storage.state), kept, strict=True):
                storage.backend.write(array, values)


def _draw(storage: ParameterStorage) -> None:
    """Draw the trained weights anew, and all that are not finite."""
    trained = set(map(id, storage.trained))
    with drawing_from(Draws(0)):  # not from the source that the user seeded
        for p in storage.parameters:
            if p.initializer is None or (id(p) not in trained and np.isfinite(p.stored()).all()):
                continue
            storage.backend.write(p.array, np.asarray(p.initializer(p.shape, storage.dtype)))


def _run(
    plan: Plan, storage: ParameterStorage, xs: Sequence[Array], training: bool, seed: int,
    number: int,
    scaled: bool,
) -> Workspace:
    backend = storage.backend.isolated()
    control = Control(backend)
    control.set(BATCHES, number)
    workspace = Workspace(
        plan, backend, storage.dtype, len(xs[0]), Pool(backend), training, control=control,
        seed=seed, assigns=False, counts=False,
    )
    given = [x if backend.owns(x) else backend.upload(np.ascontiguousarray(x)) for x in xs]
    if scaled:
        for x, into in zip(given, workspace.xs, strict=True):
            backend.write(into, backend.read(x))
    else:
        workspace.put(given)
    with backend.stream_lock:
        workspace.forward()
    return workspace


def _first(workspace: Workspace, training: bool) -> Origin | None:
    read = workspace.backend.read
    for node, call in zip(workspace.plan.nodes, workspace.calls, strict=True):
        y = read(call.y)
        if _finite(y).all():
            continue
        xs = list(map(read, call.xs))
        masks = [xs[place.number] for place in found_in(_masks_of(node), Place)]
        found = _of_layer(node.name, xs, y, masks)
        if found is not None:
            return _inside(node, xs, training, workspace) or found
    return None


def _masks_of(node: Any) -> Any:
    """Return the places of the masks among the inputs of a custom `call`."""
    return node.given.kwargs.get("mask") if node.given is not None else None


def _of_layer(
    name: str, xs: Sequence[Any], y: Any, masks: Sequence[Any] = ()
) -> Origin | None:
    """Return the first row for which ``y`` (batch, ...) is not finite, but each of ``xs`` is."""
    of_rows = [x for x in xs if np.ndim(x) and len(x) == len(y)]
    wrong = ~_finite(y) & np.logical_and.reduce([np.ones(len(y), bool), *map(_finite, of_rows)])
    if not wrong.any():
        return None
    row = int(wrong.argmax())
    value = "NaN" if np.isnan(y[row]).any() else "infinite values"
    masked = any(mask.ndim > 1 and not mask[row].any() for mask in masks)
    return Origin(name, row, value, masked)


def _finite(x: np.ndarray) -> np.ndarray:
    """Return for each row whether all of its numbers are finite."""
    if x.dtype.kind != "f":
        return np.ones(len(x), bool)
    return np.isfinite(x.reshape(len(x), math.prod(x.shape[1:]))).all(1)


# -- layers inside a call


class _Watching:
    """Records the calls of layers, with their inputs and outputs, and changes nothing."""

    records = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any], list[Any], list[Any]]] = []

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, always: bool) -> Any:
        of_layer = bool(args) and isinstance(args[0], Layer)
        active.watcher = self if of_layer else None
        try:
            result = function(*args, **kwargs)
        finally:
            active.watcher = self
        if of_layer:
            given = [*found_in((args[1:], kwargs), Tensor)]
            masks = [mask for mask in map(mask_of, given) if mask is not None]
            masks += found_in(kwargs.get("mask"), Tensor)
            made = [*found_in(result, Tensor)]
            self.calls.append((args[0].name, given, made, masks))
        return result

    def asked(self, x: Any, what: str) -> None:
        pass

    def substitute(self, x: Any) -> Any:
        return x

    def number(self, x: Any, dtype: str) -> Any:
        return x

    def introduce(self, x: Any, make: Callable[[], Any]) -> None:
        pass

    def refuse(self, why: str) -> None:
        pass


def _inside(node: Any, xs: Sequence[np.ndarray], training: bool, of: Workspace) -> Origin | None:
    """Return the origin among the layers that a custom `call` applies, if they can be told."""
    layer, watching = node.layer, _Watching()
    if not layer._has_call:
        return None

    def called() -> Any:
        given = node.given or traced.given_for(layer, len(xs))
        args, kwargs = given.filled([convert(x) for x in xs])
        before, active.watcher = active.watcher, watching
        try:
            traced.call_of(layer, args, kwargs, training)
        finally:
            active.watcher = before
        return [(name, *parts) for name, *parts in watching.calls]

    for name, *parts in at_once(called, of.backend):
        inputs, outputs, masks = (list(map(np.asarray, part)) for part in parts)
        for y in outputs:
            if y.ndim and (found := _of_layer(name, inputs, y, masks)) is not None:
                return found
    return None
