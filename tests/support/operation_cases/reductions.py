"""Of operations along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gpunn import ops

from .case import bools, called, case, floats, ints

Tensor = torch.Tensor
# A shape, and axes of it.
AXES = (
    ((3, 4), None), ((3, 4), 0), ((3, 4), -1), ((2, 3, 4), (0, 2)), ((2, 3, 4), 1),
    ((2, 3, 4), (-1, 0)), ((), None), ((1,), 0), ((5,), 0), ((3, 4), ()), ((1, 1), None),
    ((3, 2), (1, 0)),
)  # fmt: skip
EMPTY = (((0,), None), ((0, 3), 0), ((0, 3), 1), ((2, 0, 3), (0, 1)))


def axes(x: Tensor, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def along(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """One of PyTorch's that takes several axes, none of which it takes as all."""

    def reduced(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
        over = axes(x, axis)
        return function(x, dim=over, keepdim=keepdims) if over else function(x[None], dim=(0,))

    return reduced


def one_by_one(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """One of PyTorch's that takes one axis only."""

    def reduced(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
        for a in sorted((a % max(x.ndim, 1) for a in axes(x, axis)), reverse=True):
            x = function(x, a, keepdims)
        return x

    return reduced


def truth(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """The same of truth values, of which PyTorch keeps those of no axis as numbers."""
    one = one_by_one(function)

    def reduced(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
        return one(x.bool(), axis, keepdims)

    return reduced


def variance(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return torch.square(x - x.mean(dim, True)).mean(dim, keepdim)


def deviation(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    return torch.std(x, dim, correction=0, keepdim=keepdim)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": along(torch.sum), "mean": along(torch.mean), "var": along(variance),
    "std": along(deviation), "max": along(torch.amax), "min": along(torch.amin),
    "amax": along(torch.amax), "amin": along(torch.amin), "logsumexp": along(torch.logsumexp),
    "prod": one_by_one(torch.prod), "all": truth(torch.all), "any": truth(torch.any),
    "norm": along(torch.linalg.vector_norm),
}  # fmt: skip
NOT_OF_NONE = ("max", "min", "amax", "amin")

for name, theirs in REDUCTIONS.items():
    for shape, axis in AXES + EMPTY:
        if name in NOT_OF_NONE and 0 in shape and axis != 1:
            continue
        if name == "norm" and axis == ():
            continue  # PyTorch's is of all then
        if name in ("std", "norm") and (0 in shape or axis == () or 1 in shape or not shape):
            continue  # the derivative of a root is not there at 0
        for keepdims in (False, True):
            case(
                name,
                called(name, axis=axis, keepdims=keepdims),
                lambda x, a=axis, k=keepdims, f=theirs: f(x, a, k),
                floats(*shape),
                smooth=0 not in shape or name in ("sum", "prod"),
            )

for name in ("sum", "prod", "max", "min", "mean"):
    theirs = REDUCTIONS[name]
    if name == "mean":
        continue
    for axis in (None, 1):
        case(name, called(name, axis=axis), lambda x, a=axis, f=theirs: f(x, a, False), ints(3, 4))
case("mean", called("mean", axis=0), lambda x: x.float().mean(0), ints(3, 4))
case("sum", called("sum", axis=0), lambda x: x.sum(0), bools(3, 4))
case("any", called("any", axis=0), lambda x: x.any(0), bools(3, 4))
case("all", called("all", axis=0), lambda x: x.all(0), bools(3, 4))

# Equal ones share the gradient of an extreme; a product has a derivative where it is 0.
case("max", called("max", axis=1), lambda x: x.amax(1), floats(3, 9).round())
case("min", called("min"), lambda x: x.amin(), floats(3, 9).round())
case("prod", called("prod", axis=1), lambda x: x.prod(1), floats(4, 5) * (floats(4, 5, seed=1) > 0))

INFINITY = float("inf")
for order in (None, 1, 2, 3, 0.5, -1, INFINITY, -INFINITY):
    number = 2 if order is None else order
    case(
        "norm", called("norm", ord=order, axis=-1),
        lambda x, n=number: torch.linalg.vector_norm(x, n, dim=-1), floats(3, 4),
    )  # fmt: skip
for order in ("fro", 1, -1, INFINITY, -INFINITY):  # those by singular values are tried elsewhere
    for axis in ((0, 2), (2, 1)):
        case(
            "norm", called("norm", ord=order, axis=axis, keepdims=True),
            lambda x, n=order, a=axis: torch.linalg.matrix_norm(x, n, a, keepdim=True),
            floats(2, 3, 4),
        )  # fmt: skip
    case("norm", called("norm", order), lambda x, n=order: torch.linalg.norm(x, n), floats(3, 4))

case("moments", called("moments", axes=0), lambda x: (x.mean(0), variance(x, 0)), floats(3, 4))
case(
    "moments", called("moments", axes=(0, 2), keepdims=True),
    lambda x: (x.mean((0, 2), True), variance(x, (0, 2), True)), floats(3, 4, 2),
)  # fmt: skip
for shape, axis in (((3, 4), None), ((3, 4), 0), ((3, 4), -1), ((5,), 0), ((2, 3, 4), 1)):
    for keepdims in (False, True):
        for name in ("argmax", "argmin"):
            for array in (floats(*shape), ints(*shape, low=0, high=3).astype(float)):
                theirs = torch.argmax if name == "argmax" else torch.argmin
                case(
                    name, called(name, axis=axis, keepdims=keepdims),
                    lambda x, a=axis, k=keepdims, f=theirs: first_place(f, x, a, k), array,
                )  # fmt: skip


def first_place(function: Any, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """PyTorch gives any of equals: of them the first, by a little taken away from later ones."""
    later = torch.arange(x.numel()).reshape(x.shape) * 1e-6
    x = x.detach().double() + (later if function is torch.argmin else -later)
    return function(x, axis, keepdim=keepdims)


for axis in (None, 0, (0, 1)):
    case(
        "count_nonzero", called("count_nonzero", axis=axis),
        lambda x, a=axis: torch.count_nonzero(x, a), ints(3, 4, low=-1, high=2),
    )  # fmt: skip

case(
    "logsumexp", called("logsumexp", axis=-1), lambda x: torch.logsumexp(x, -1), floats(3, 4) * 500
)
for axis in (-1, 0, 1):
    for shape in ((3, 4), (2, 3, 4), (1, 1)):
        x = floats(*shape) * 3
        case("softmax", called("softmax", axis), lambda x, a=axis: torch.softmax(x, a), x)
        case(
            "log_softmax", called("log_softmax", axis),
            lambda x, a=axis: torch.log_softmax(x, a), x,
        )  # fmt: skip
        case(
            "normalize", called("normalize", axis),
            lambda x, a=axis: torch.nn.functional.normalize(x, dim=a), x,
        )  # fmt: skip
case("softmax", called("softmax"), lambda x: torch.softmax(x, -1), floats(3, 4) * 500)
case(
    "normalize", called("normalize", axis=0, order=1),
    lambda x: torch.nn.functional.normalize(x, 1.0, 0), floats(3, 4),
)  # fmt: skip

for shape, axis in (((3, 4), 0), ((3, 4), -1), ((5,), 0), ((0,), 0), ((2, 3, 4), 1), ((1,), 0)):
    x = floats(*shape)
    case("cumsum", called("cumsum", axis=axis), lambda x, a=axis: torch.cumsum(x, a), x)
    case("sort", called("sort", axis=axis), lambda x, a=axis: torch.sort(x, a).values, x)
    case(
        "argsort", called("argsort", axis=axis),
        lambda x, a=axis: torch.argsort(x, dim=a, stable=True), ints(*shape, low=0, high=3),
    )  # fmt: skip
case("cumsum", called("cumsum"), lambda x: torch.cumsum(x.reshape(-1), 0), floats(3, 4))
case("cumsum", called("cumsum", axis=0), lambda x: torch.cumsum(x, 0), ints(5))
case("sort", called("sort"), lambda x: torch.sort(x).values, ints(3, 4))
for k in (1, 2, 4):
    case("top_k", called("top_k", k), lambda x, k=k: tuple(torch.topk(x, k)), floats(3, 4))
    case("top_k", lambda x, k=k: ops.top_k(x, k)[0], lambda x, k=k: torch.topk(x, k)[0], ints(3, 4))
for shape, axis in (((3, 4), 0), ((3, 7), -1), ((5,), 0), ((0,), 0), ((2, 3, 4), 1), ((1,), 0)):
    case("cumprod", called("cumprod", axis), lambda x, a=axis: torch.cumprod(x, a), floats(*shape))
case("cumprod", called("cumprod"), lambda x: torch.cumprod(x.reshape(-1), 0), ints(3, 4))

for axis in (None, 0, -1, (0, 1)):
    for keepdims in (False, True):
        case(
            "ptp", called("ptp", axis, keepdims),
            lambda x, a=axis, k=keepdims: x.amax(axes(x, a), k) - x.amin(axes(x, a), k),
            floats(3, 4),
        )  # fmt: skip

holes = floats(4, 5)
holes[holes > 0.8] = np.nan
holes[:, 2] = [0.5, 0.25, -1, 2]
NAN = {
    "nansum": torch.nansum, "nanmean": torch.nanmean,
    "nanprod": lambda x, dim: torch.nan_to_num(x, 1.0).prod(dim),
    "nanmax": lambda x, dim: torch.where(x.isnan(), -9.0, x).amax(dim),
    "nanmin": lambda x, dim: torch.where(x.isnan(), 9.0, x).amin(dim),
    "nanvar": lambda x, dim: torch.nanmean(torch.square(x - torch.nanmean(x, dim, True)), dim),
    "nanstd": lambda x, dim: torch.sqrt(
        torch.nanmean(torch.square(x - torch.nanmean(x, dim, True)), dim)
    ),
}  # fmt: skip
for name, theirs in NAN.items():
    for axis in (0, 1):
        smooth = name not in ("nanvar", "nanstd")  # PyTorch's gradient is not a number there
        case(
            name, called(name, axis=axis), lambda x, a=axis, f=theirs: f(x, a), holes, smooth=smooth
        )
        plain = floats(4, 5)
        case(name, called(name, axis=axis), lambda x, a=axis, f=theirs: f(x, a), plain)
case("nansum", called("nansum"), lambda x: x.sum(), ints(4))

case("average", called("average", axis=1), lambda x: x.mean(1), floats(3, 4))
case("average", called("average"), lambda x: x.mean(), floats(3, 4))
case(
    "average", lambda x, w: ops.average(x, 0, w), lambda x, w: (x * w[:, None]).sum(0) / w.sum(),
    floats(3, 4), floats(3, low=0.2, high=1),
)  # fmt: skip
case(
    "average", lambda x, w: ops.average(x, weights=w), lambda x, w: (x * w).sum() / w.sum(),
    floats(3, 4), floats(3, 4, low=0.2, high=1),
)  # fmt: skip
for shape in ((5,), (4,), (3, 4)):
    case("median", called("median"), lambda x: torch.quantile(x, 0.5), floats(*shape))
for method in ("linear", "lower", "higher", "midpoint", "nearest"):
    for q in (0.3, [0.0, 0.25, 1.0]):
        case(
            "quantile", called("quantile", q, axis=-1, method=method),
            lambda x, q=q, m=method: torch.quantile(
                x, torch.tensor(q, dtype=x.dtype), -1, interpolation=m
            ),
            floats(3, 6),
        )  # fmt: skip
case(
    "quantile", called("quantile", [0.5, 0.25], axis=(0, 2), keepdims=True),
    lambda x: torch.quantile(
        x.transpose(1, 2).reshape(-1, 3), torch.tensor([0.5, 0.25], dtype=x.dtype), 0
    )[:, None, :, None],
    floats(2, 3, 4),
)  # fmt: skip
case(
    "percentile",
    called("percentile", 25, axis=0),
    lambda x: torch.quantile(x, 0.25, 0),
    floats(5, 3),
)
