"""The program that a page runs for a model: its forward pass as calls of the kernels in
gpunn.wasm, and optionally its gradients with respect to the inputs.

The compiled backend makes the calls, and here records them instead of performing them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn import activations
from gpunn.backends import choice_put_back, use_backend
from gpunn.backends.compiled.backend import CompiledBackend
from gpunn.backends.contract.backend import Array, NotTraceableError
from gpunn.backends.contract.control import Control
from gpunn.common.overrides import replaces
from gpunn.core.plan import Plan
from gpunn.core.workspace import Pool, Workspace
from gpunn.models.cloning import clone_model

from .encodings import encodings

ALIGNMENT = 64  # bytes
_NAMES = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}  # JavaScript's names
# Types of arrays of any type, as kernels/cpu/operation.hpp numbers them.
TYPES = (
    "none", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recorded call: an operation with its variants, and its arguments."""

    key: tuple[str, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Operation:
    key: tuple[str, ...]

    def bind(self, *arguments: Any) -> Recorded:
        return Recorded(self.key, arguments)


class _Operations:
    """A replacement for the table of the compiled operations."""

    # Operations of kernels/cpu/places.cpp, attention.cpp and generated_loops.cpp.
    excluded = frozenset(
        ("take_rows", "scatter_rows", "check_range", "loop", "attention", "attention_gradient")
    )

    def get(self, key: tuple[str | None, ...]) -> _Operation | None:
        names = tuple(name for name in key if name is not None)
        known = len(names) == len(key) and "float64" not in names and key[0] not in self.excluded
        return _Operation(names) if known else None


class _Library:
    """A replacement for an extension module."""

    operations = _Operations()
    Bound = Recorded

    def set_threads(self, count: int) -> None:
        """Do nothing: a page has one thread."""


class RecordingBackend(CompiledBackend):
    """A compiled backend that only records calls. It needs no compiled kernels."""

    name = "recording"

    def __init__(self) -> None:
        super().__init__((_Library(), "wasm"))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.zeros(shape, dtype)  # an array that is not zero later is a constant


def forward_program(model: Any, rows: int = 1, gradient: bool = False) -> dict[str, Any]:
    """Return the forward pass of ``model`` on ``rows`` samples, as JSON data.

    `ForwardProgram` in ``js/engine/forward.js`` runs it. Arrays share one block of memory, which
    begins with ``constants``, including the weights. ``layers`` has the output of each layer, and
    ``given`` describes how user data (strings, numbers with missing values) become inputs; see
    `encodings`. ``gradient`` has the calls that, after the forward pass, turn gradients of the
    outputs, ``by``, into gradients of the inputs. If an output's layer ends with a softmax or
    sigmoid, they are gradients of the logits (``logits``), since gradients of the activation vanish
    for confident predictions. A model that a page cannot compute raises ValueError, with the
    reason.

    >>> from gpunn import Sequential, layers
    >>> found = forward_program(Sequential([layers.Input((2,)), layers.Dense(3, "relu")]))
    >>> [name for name, *arguments in found["calls"]]
    ['matmul float32', 'bias_activation float32 Relu']
    >>> found["inputs"][0]["shape"], found["outputs"][0]["shape"]
    ([1, 2], [1, 3])
    """
    model._require_values("A page")
    if np.dtype(model.dtype) != np.float32:
        raise ValueError(f"A page computes in float32; this model's dtype is {model.dtype}.")
    model = _on_host(model)
    plan, given = model._plan, encodings(model)
    for node in plan.nodes:
        if node.training:
            raise ValueError(
                f"A page draws no random numbers, but {node.name} is always in training mode, "
                f"layer(x, training=True). Make a model without it."
            )
    backend = RecordingBackend().isolated()
    control = Control(backend) if plan.may_draw else None
    ends = {n: end for n in plan.outputs if (end := _end(plan, n))} if gradient else {}
    workspace = Workspace(
        plan, backend, "float32", rows, Pool(backend), control=control, assigns=False, counts=False,
        activations=dict.fromkeys(ends, activations.linear), by_inputs=gradient, loss_scale=0.0,
    )
    shown = {n: np.zeros_like(workspace.calls[n].y) for n in ends}  # behind the activations
    integers: list[tuple[Array, Array]] = []  # with the float arrays that a page sees

    def seen(y: Array) -> Array:
        if y.dtype == np.float32:
            return y
        integers.append((y, np.zeros(y.shape, np.float32)))
        return integers[-1][1]

    run = _Run(
        workspace,
        [_own(x, by) for x, by in zip(workspace.xs, workspace.scalings, strict=True)],
        [shown.get(n, seen(y)) for n, y in zip(plan.outputs, workspace.ys, strict=True)],
        [_own(dx, by) for dx, by in zip(workspace.dxs, workspace.scalings, strict=False)],
        [(ends[n], workspace.calls[n].y, y) for n, y in shown.items()],
        integers,
    )
    layers = [
        (node.name, shown.get(n, seen(call.y)))
        for n, (node, call) in enumerate(zip(plan.nodes, workspace.calls, strict=True))
    ]
    calls = _calls(backend, run.forward)
    back = _calls(backend, run.backward) if gradient else []
    memory = _Memory(
        [*calls, *back], [*run.xs, *run.ys, *run.dxs, *workspace.dys, *(y for _, y in layers)]
    )
    return {
        "given": given,
        "bytes": memory.bytes,
        "constants": base64.b64encode(memory.constants()).decode(),
        "calls": [*map(memory.written, calls)],
        "inputs": [*map(memory.place, run.xs)],
        "outputs": [*map(memory.place, run.ys)],
        "layers": [{"name": name, **memory.place(y)} for name, y in layers],
        "gradient": {
            "logits": len(ends) == len(plan.outputs),
            "calls": [*map(memory.written, back)],
            "by": [*map(memory.place, workspace.dys)],
            "inputs": [*map(memory.place, run.dxs)],
        } if gradient else None,
    }


def _end(plan: Plan, number: int) -> Any:
    """Return the softmax or sigmoid at the end of an output's layer, if nothing else reads it."""
    end = plan.activation(number)
    if not isinstance(end, (activations.Softmax, activations.Sigmoid)):
        return None
    alone = len(plan.readers(number)) == 1
    return None if not alone or replaces(type(plan.nodes[number].layer), "forward") else end


def _own(array: Array, scaling: tuple[float, float]) -> Array:
    """Return the array, or a new one if its values need scaling or are integers."""
    own = scaling == (1.0, 0.0) and array.dtype == np.float32
    return array if own else np.zeros(array.shape, np.float32)


@dataclass(frozen=True)
class _Run:
    """A workspace with the arrays of a page.

    ``xs`` are the inputs as given, ``ys`` the outputs, and ``dxs`` the gradients with respect to
    the inputs. ``ends`` are (activation, source, target); ``integers`` are integer arrays, each
    with the float array it is converted to.
    """

    workspace: Workspace
    xs: Sequence[Array]
    ys: Sequence[Array]
    dxs: Sequence[Array]
    ends: Sequence[tuple[Any, Array, Array]]
    integers: Sequence[tuple[Array, Array]] = ()

    def forward(self) -> None:
        workspace = self.workspace
        for raw, x, scaling in zip(self.xs, workspace.xs, workspace.scalings, strict=True):
            if raw is not x:
                workspace.backend.affine(raw, *scaling, x)
        workspace.forward()
        for end, logits, y in self.ends:
            workspace.backend.bias_activation(logits, None, end, y)
        for whole, y in self.integers:
            workspace.backend.affine(whole, 1.0, 0.0, y)

    def backward(self) -> None:
        workspace = self.workspace
        workspace.backward()
        for raw, dx, (scale, _) in zip(self.dxs, workspace.dxs, workspace.scalings, strict=True):
            if raw is not dx:
                workspace.backend.affine(dx, scale, 0.0, raw)


def _on_host(model: Any) -> Any:
    """Return the model, or a copy with NumPy arrays."""
    if all(isinstance(p.array, np.ndarray) for p in model._storage.parameters):
        return model
    with choice_put_back():
        use_backend("numpy")
        copy = clone_model(model)
        copy.set_weights(model.get_weights())
    return copy


def _calls(backend: RecordingBackend, step: Any) -> list[Recorded]:
    """Return the calls of a step, which must all be operations that pages support."""
    try:
        found: list[Any] = [*backend.trace(step).calls]
    except NotTraceableError as error:
        raise ValueError(f"A page cannot compute this model: {error}.") from error
    for call in found:
        if not isinstance(call, Recorded):
            function = getattr(call, "func", call)
            name = getattr(function, "__name__", repr(function))
            raise ValueError(
                f"A page cannot compute this model: the kernels have no operation for NumPy's "
                f"{name}, which one of its layers uses."
            )
    return found


class _Memory:
    """Assigns each array of the calls an offset in one block of memory, constants first."""

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

    def place(self, array: Array) -> dict[str, Any]:
        return {"at": self.at(array), "shape": [*array.shape]}

    def written(self, call: Recorded) -> list[Any]:
        """Return a call as JSON data."""
        return [" ".join(call.key), *map(self._argument, call.arguments)]

    def _argument(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.at(value) if value.size else None
        if isinstance(value, tuple):
            return [[self.at(a), TYPES.index(a.dtype.name), a.size] for a in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (float, np.floating)):
            return float(value) if math.isfinite(value) else _NAMES[str(float(value))]
        return int(value) if abs(int(value)) < 2**53 else str(int(value))


def _root(array: Array) -> Array:
    """Return the array that owns another's memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
