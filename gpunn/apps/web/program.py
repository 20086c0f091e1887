"""What a page runs of a model: its forward pass as calls of the kernels in gpunn.wasm.

The calls are those of the compiled backend, which here writes them down instead of performing them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends import choice_put_back, use_backend
from gpunn.backends.compiled.backend import CompiledBackend
from gpunn.backends.contract.backend import Array, NotTraceableError
from gpunn.backends.contract.control import Control
from gpunn.core.workspace import Pool, Workspace
from gpunn.models.cloning import clone_model

from .encodings import encodings

ALIGNMENT = 64  # bytes
_NAMES = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}  # of numbers in JavaScript
# Types of arrays of any type, as kernels/cpu/operation.hpp numbers them.
TYPES = (
    "none", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Recorded:
    """A call: an operation with its choices, and its arguments."""

    key: tuple[str, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Operation:
    key: tuple[str, ...]

    def bind(self, *arguments: Any) -> Recorded:
        return Recorded(self.key, arguments)


class _Operations:
    """Stands in for the table of the compiled operations."""

    def get(self, key: tuple[str | None, ...]) -> _Operation | None:
        names = tuple(name for name in key if name is not None)
        known = len(names) == len(key) and "float64" not in names
        return _Operation(names) if known else None


class _Library:
    """Stands in for an extension module."""

    operations = _Operations()
    Bound = Recorded

    def set_threads(self, count: int) -> None:
        """A page has one."""


class RecordingBackend(CompiledBackend):
    """The compiled backend, which computes nothing. It needs no compiled kernels."""

    name = "recording"

    def __init__(self) -> None:
        super().__init__((_Library(), "wasm"))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.zeros(shape, dtype)  # what is not zero later is a constant


def forward_program(model: Any, rows: int = 1) -> dict[str, Any]:
    """The forward pass of ``model`` on so many samples, as JSON can say it.

    `ForwardProgram` in ``js/engine/forward.js`` runs it. Arrays lie in one block of memory, which
    begins with ``constants``, the weights among them. ``layers`` says what each layer gives,
    ``given`` how the inputs are made of what users give: texts, numbers with gaps (`encodings`).

    Args:
        model: whose weights have values.
        rows: samples of a call.

    Raises:
        ValueError: for a model that cannot be computed in a page, and why.

    >>> from gpunn import Sequential, layers
    >>> found = forward_program(Sequential([layers.Input((2,)), layers.Dense(3, "relu")]))
    >>> [name for name, *arguments in found["calls"]]
    ['matmul float32', 'bias_activation float32 Relu']
    >>> found["inputs"][0]["shape"], found["outputs"][0]["shape"]
    ([1, 2], [1, 3])
    """
    model.require_values("A page")
    if np.dtype(model.dtype) != np.float32:
        raise ValueError(f"A page computes in float32; this model is one of {model.dtype}.")
    model = _on_host(model)
    plan, given = model.plan, encodings(model)
    backend = RecordingBackend().isolated()
    control = Control(backend) if plan.has_calls else None
    workspace = Workspace(
        plan, backend, "float32", rows, Pool(backend), control=control, assigns=False
    )
    scaled = [*zip(workspace.xs, workspace.scalings, strict=True)]
    fed = [x if by == (1.0, 0.0) else np.zeros_like(x) for x, by in scaled]
    layers = [(node.name, c.y) for node, c in zip(plan.nodes, workspace.calls, strict=True)]
    calls = _calls(backend, partial(_forward, workspace, fed))
    return {"given": given, **_laid_out(calls, fed, workspace.ys, layers)}


def _forward(workspace: Workspace, fed: Sequence[Array]) -> None:
    for raw, x, scaling in zip(fed, workspace.xs, workspace.scalings, strict=True):
        if raw is not x:
            workspace.backend.affine(raw, *scaling, x)
    workspace.forward()


def _on_host(model: Any) -> Any:
    """The model, or a copy of it whose arrays NumPy sees."""
    if all(isinstance(p.value, np.ndarray) for p in model.arena.parameters):
        return model
    with choice_put_back():
        use_backend("numpy")
        copy = clone_model(model)
        copy.set_weights(model.get_weights())
    return copy


def _calls(backend: RecordingBackend, step: Any) -> list[Recorded]:
    """The calls of a step, all of which must be operations of a page."""
    try:
        found: list[Any] = [*backend.trace(step).calls]
    except NotTraceableError as error:
        raise ValueError(f"A page cannot compute this model: {error}.") from error
    for call in found:
        if not isinstance(call, Recorded):
            function = getattr(call, "func", call)
            name = getattr(function, "__name__", repr(function))
            raise ValueError(
                f"A page cannot compute this model: the kernels have no operation for what a layer "
                f"of it does by NumPy's {name}."
            )
    return found


class _Memory:
    """Gives each array of the calls its place in one block of memory, constants first."""

    def __init__(self, calls: Sequence[Recorded], others: Sequence[Array]) -> None:
        values = [value for call in calls for value in call.arguments]
        values += [value for several in values if isinstance(several, tuple) for value in several]
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        roots = {id(root): root for root in map(_root, [*arrays, *others])}
        ordered = sorted(roots.values(), key=lambda root: not root.any())  # constants first
        self.places: dict[int, int] = {}
        self.bytes, self.constant = 0, 0
        for root in ordered:
            self.places[id(root)] = self.bytes
            self.bytes += -(-root.nbytes // ALIGNMENT) * ALIGNMENT
            if root.any():
                self.constant = self.bytes
        self.roots = ordered

    def at(self, array: Array) -> int:
        root = _root(array)
        begin = root.__array_interface__["data"][0]
        return int(self.places[id(root)] + array.__array_interface__["data"][0] - begin)

    def constants(self) -> bytes:
        image = bytearray(self.constant)
        for root in self.roots:
            if root.any():
                at = self.places[id(root)]
                image[at : at + root.nbytes] = np.ascontiguousarray(root).tobytes()
        return bytes(image)


def _root(array: Array) -> Array:
    """The array that owns the memory of another."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _laid_out(
    calls: Sequence[Recorded],
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    layers: Sequence[tuple[str, Array]],
) -> dict[str, Any]:
    ys = [y for _, y in layers]
    memory = _Memory(calls, [*inputs, *outputs, *ys])

    def number(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return memory.at(value) if value.size else None
        if isinstance(value, tuple):
            return [[memory.at(a), TYPES.index(a.dtype.name), a.size] for a in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (float, np.floating)):
            return float(value) if math.isfinite(value) else _NAMES[str(float(value))]
        return int(value) if abs(int(value)) < 2**53 else str(int(value))

    def place(array: Array) -> dict[str, Any]:
        return {"at": memory.at(array), "shape": [*array.shape]}

    return {
        "bytes": memory.bytes,
        "constants": base64.b64encode(memory.constants()).decode(),
        "calls": [[" ".join(call.key), *map(number, call.arguments)] for call in calls],
        "inputs": [place(x) for x in inputs],
        "outputs": [place(y) for y in outputs],
        "layers": [{"name": name, **place(y)} for name, y in layers],
    }
