"""Functions of operations, computed as a step computes them, at once, and by PyTorch.

Memory of a step that is needed no longer is overwritten by what shows: who reads it later gets
other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import emulated  # noqa: F401  makes the backend known
import numpy as np
import torch
from host_kernels import poison

from gpunn import ops
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.common.config import runs_eagerly
from gpunn.ops.gradients import gradients
from gpunn.ops.running.computation import Computation, Target
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.tensor import Tensor

BACKENDS = ["numpy", "compiled", "emulated"]

Arrays = list[np.ndarray]


class Result(NamedTuple):
    """What a function gives.

    Attributes:
        values: its results.
        first: the gradients of its results by each input, each result weighted.
        second: the gradients of those, weighted, by each input and by the weights of the results.
    """

    values: Arrays
    first: Arrays
    second: Arrays


class Poisoning(Computation):
    def released(self, array: Any) -> Any:
        return [lambda: poison(array)]


def is_float(array: Any) -> bool:
    return np.dtype(array.dtype).kind == "f"


def listed(results: Any) -> list[Tensor]:
    """A function's results as tensors: there may be several, or numbers."""
    several = isinstance(results, list) or (
        isinstance(results, tuple) and any(isinstance(r, Tensor) for r in results)
    )
    return [ops.convert_to_tensor(r) for r in (results if several else [results])]


def weights(shapes: Sequence[tuple[int, ...]], dtype: Any, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32).astype(dtype) for shape in shapes]


def at_once(function: Callable[..., Any], arrays: Arrays) -> Arrays:
    """The results for tensors that have their numbers."""
    given = [ops.convert_to_tensor(array, array.dtype.name) for array in arrays]
    return [t.numpy() for t in listed(function(*given))]


def in_steps(
    function: Callable[..., Any],
    arrays: Arrays,
    backend: str | Backend = "numpy",
    twice: bool = True,
) -> Result:
    """The results and gradients on a backend, each the same in a second step."""
    dtype = next((a.dtype.name for a in arrays if is_float(a)), "float32")
    device = (get_backend(backend) if isinstance(backend, str) else backend).isolated()
    trace = trace_for(device)

    def standing_for(arrays: Arrays) -> list[Tensor]:
        return [trace.stands_for(device.upload(a).reshape(a.shape)) for a in arrays]

    def weighted(tensors: list[Tensor], seed: int) -> list[Tensor]:
        values = weights([t.shape for t in tensors], dtype, seed)
        return standing_for([v.astype(t.dtype) for t, v in zip(tensors, values, strict=True)])

    leaves = standing_for(arrays)
    xs = [x for x in leaves if is_float(x)]
    with trace.active():
        ys = listed(function(*leaves))
    floats = [y for y in ys if is_float(y)]
    first: list[Any] = [None] * len(xs)
    second: list[Any] = [None] * (len(xs) + len(floats))
    with trace.active():
        dys = weighted(floats, 1)
        if floats:
            first = gradients(floats, xs, dys)
        given = weighted([x for x in xs], 2)
        if twice and any(g is not None for g in first):
            pairs = [(g, v) for g, v in zip(first, given, strict=True) if g is not None]
            second = gradients([g for g, _ in pairs], [*xs, *dys], [v for _, v in pairs])
    stages = [ys, first, second if twice else []]
    likes = [ys, xs, [*xs, *dys] if twice else []]
    with device.turn:
        outs = [
            [None if t is None else device.empty(t.shape, t.dtype) for t in stage]
            for stage in stages
        ]
        targets = [
            [Target(t, out) for t, out in zip(*both, strict=True) if t is not None]
            for both in zip(stages, outs, strict=True)
        ]
        computation: Stages
        if runs_eagerly():
            computation = stages_of(trace, device, targets)
        else:
            computation = Poisoning(device, trace.arrays, targets)
        found = []
        for _ in range(2):
            with np.errstate(all="ignore"):
                for stage in range(3):
                    computation.run(stage)
            found.append(
                [
                    np.zeros(like.shape, like.dtype) if out is None else device.read(out).copy()
                    for stage, tensors in zip(outs, likes, strict=True)
                    for out, like in zip(stage, tensors, strict=True)
                ]
            )
    for before, again in zip(*found, strict=True):
        np.testing.assert_array_equal(again, before, "a second step differs")
    n, m = len(ys), len(xs)
    return Result(found[0][:n], found[0][n : n + m], found[0][n + m :])


def by_torch(function: Callable[..., Any], arrays: Arrays, twice: bool = True) -> Result:
    """The results and gradients by PyTorch, in the dtypes of the arrays."""
    dtype = next((a.dtype.name for a in arrays if is_float(a)), "float32")
    leaves = [torch.tensor(a, requires_grad=is_float(a)) for a in arrays]
    results = function(*leaves)
    results = results if isinstance(results, (list, tuple)) else [results]
    ys = [torch.as_tensor(y) for y in results]
    xs = [x for x in leaves if x.requires_grad]
    floats = [y for y in ys if y.is_floating_point()]
    dys = [
        torch.tensor(w, dtype=y.dtype, requires_grad=True)
        for y, w in zip(floats, weights([tuple(y.shape) for y in floats], dtype, 1), strict=True)
    ]

    def by(
        outs: list[torch.Tensor], ins: list[torch.Tensor], ws: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        pairs = [(o, w) for o, w in zip(outs, ws, strict=True) if o.requires_grad]
        if not (pairs and ins):
            return [torch.zeros_like(i) for i in ins]
        return list(
            torch.autograd.grad(
                [o for o, _ in pairs], ins, [w for _, w in pairs],
                create_graph=True, allow_unused=True, materialize_grads=True,
            )
        )  # fmt: skip

    first = by(floats, xs, dys)
    second = []
    if twice:
        given = weights([tuple(x.shape) for x in xs], dtype, 2)
        second = by(first, [*xs, *dys], [torch.tensor(v) for v in given])
    return Result(*([t.numpy(force=True) for t in ts] for ts in (ys, first, second)))
