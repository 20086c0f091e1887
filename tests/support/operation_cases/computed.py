"""Functions of operations, computed in a step, eagerly, and by PyTorch.

A step's memory is poisoned once it is no longer needed: later reads of it return wrong values.
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
from gpunn.ops.running.computation import Computation, Destination
from gpunn.ops.running.eager import Stages, stages_of, trace_for
from gpunn.ops.tensor import Tensor

BACKENDS = ["numpy", "compiled", "emulated"]

Arrays = list[np.ndarray]


class Result(NamedTuple):
    """The results of a function and its derivatives.

    Attributes:
        values: its results.
        first: the gradients of its weighted results with respect to each input.
        second: the gradients of those, weighted, with respect to each input and the weights of the
            results.
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
    """Return a function's results as tensors: there may be several, or plain numbers."""
    several = isinstance(results, list) or (
        isinstance(results, tuple) and any(isinstance(r, Tensor) for r in results)
    )
    return [ops.convert_to_tensor(r) for r in (results if several else [results])]


def weights(shapes: Sequence[tuple[int, ...]], dtype: Any, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32).astype(dtype) for shape in shapes]


def eagerly(function: Callable[..., Any], arrays: Arrays) -> Arrays:
    """Compute the results for tensors that have their values."""
    given = [ops.convert_to_tensor(array, array.dtype.name) for array in arrays]
    return [t.numpy() for t in listed(function(*given))]


def in_steps(
    function: Callable[..., Any],
    arrays: Arrays,
    backend: str | Backend = "numpy",
    twice: bool = True,
) -> Result:
    """Compute the results and gradients on a backend; a second step must give the same."""
    dtype = next((a.dtype.name for a in arrays if is_float(a)), "float32")
    device = (get_backend(backend) if isinstance(backend, str) else backend).isolated()
    trace = trace_for(device)

    def standing_for(arrays: Arrays) -> list[Tensor]:
        return [trace.placeholder(device.upload(a).reshape(a.shape)) for a in arrays]

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
    with device.stream_lock:
        outs = [
            [None if t is None else device.empty(t.shape, t.dtype) for t in stage]
            for stage in stages
        ]
        targets = [
            [Destination(t, out) for t, out in zip(*both, strict=True) if t is not None]
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


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the function in further element-wise operations that change no bit."""

    def around(x: Any) -> Any:
        x = ops.convert_to_tensor(x)
        return ops.negative(ops.negative(x)) if is_float(x) else x

    return lambda *xs: [around(y) for y in listed(function(*map(around, xs)))]


def by_torch(function: Callable[..., Any], arrays: Arrays, twice: bool = True) -> Result:
    """Compute the results and gradients with PyTorch, in the dtypes of the arrays."""
    dtype = next((a.dtype.name for a in arrays if is_float(a)), "float32")
    leaves = [torch.tensor(a, requires_grad=is_float(a)) for a in arrays]
    results = function(*leaves)
    tensors = isinstance(results, (list, tuple)) and any(map(torch.is_tensor, results))
    results = results if tensors or results == [] else [results]
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


# -- element-wise operations, in PyTorch

# Of one tensor: the PyTorch equivalent, and the bounds of the test values.
UNARY = {
    "abs": (torch.abs, None), "absolute": (torch.abs, None), "negative": (torch.neg, None),
    "square": (torch.square, None), "sign": (torch.sign, None), "exp": (torch.exp, None),
    "expm1": (torch.expm1, None), "log": (torch.log, (0.1, 5)), "log1p": (torch.log1p, (-0.9, 5)),
    "sqrt": (torch.sqrt, (0.1, 5)), "rsqrt": (torch.rsqrt, (0.1, 5)),
    "reciprocal": (torch.reciprocal, (0.1, 5)), "sin": (torch.sin, (-9, 9)),
    "cos": (torch.cos, (-9, 9)), "tan": (torch.tan, (-1.3, 1.3)),
    "arcsin": (torch.arcsin, (-0.9, 0.9)), "arccos": (torch.arccos, (-0.9, 0.9)),
    "arctan": (torch.arctan, (-9, 9)), "sinh": (torch.sinh, None), "cosh": (torch.cosh, None),
    "tanh": (torch.tanh, None), "arcsinh": (torch.arcsinh, (-9, 9)),
    "arccosh": (torch.arccosh, (1.2, 9)), "arctanh": (torch.arctanh, (-0.9, 0.9)),
    "floor": (torch.floor, (-9, 9)), "ceil": (torch.ceil, (-9, 9)),
    "round": (torch.round, (-9, 9)), "isnan": (torch.isnan, None), "isinf": (torch.isinf, None),
    "isfinite": (torch.isfinite, None), "logical_not": (torch.logical_not, None),
    "sigmoid": (torch.sigmoid, (-9, 9)), "relu": (torch.relu, None),
    "softplus": (torch.nn.functional.softplus, (-9, 9)),
    "stop_gradient": (lambda x: x.detach(), None), "erf": (torch.erf, (-4, 4)),
    "erfc": (torch.erfc, (-4, 4)), "erfinv": (torch.erfinv, (-0.99, 0.99)),
    "log2": (torch.log2, (0.1, 5)), "log10": (torch.log10, (0.1, 5)), "exp2": (torch.exp2, (-5, 5)),
    "trunc": (torch.trunc, (-9, 9)), "fabs": (torch.abs, None), "signbit": (torch.signbit, None),
    "deg2rad": (torch.deg2rad, (-9, 9)), "rad2deg": (torch.rad2deg, (-9, 9)),
    "isposinf": (torch.isposinf, None), "isneginf": (torch.isneginf, None),
    "nan_to_num": (torch.nan_to_num, None),
}  # fmt: skip

# Of two tensors.
BINARY = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply,
    "maximum": torch.maximum, "minimum": torch.minimum, "arctan2": torch.arctan2,
    "logaddexp": torch.logaddexp, "hypot": torch.hypot, "fmax": torch.fmax, "fmin": torch.fmin,
    "logaddexp2": torch.logaddexp2,
}  # fmt: skip
DIVIDING = {
    "fmod": torch.fmod,
    "divide": torch.divide, "true_divide": torch.true_divide, "mod": torch.remainder,
    "floor_divide": lambda a, b: torch.floor_divide(a.detach(), b.detach()),
}  # fmt: skip
COMPARING = {
    "equal": torch.eq, "not_equal": torch.ne, "less": torch.less, "less_equal": torch.less_equal,
    "greater": torch.greater, "greater_equal": torch.greater_equal,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}  # fmt: skip
