"""Keras's functions, computed with PyTorch.

They replace those that differ on Keras's PyTorch backend from its other backends or from NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def torch() -> Any:
    import torch

    return torch


def dot(x1: Any, x2: Any) -> Any:
    if not (x1.ndim and x2.ndim):
        return x1 * x2
    a, b = promoted(x1, x2)
    return torch().tensordot(a, b, ([a.ndim - 1], [max(b.ndim - 2, 0)]))


def promoted(*xs: Any) -> list[Any]:
    dtype = xs[0].dtype
    for x in xs[1:]:
        dtype = torch().promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in xs]


def get_item(x: Any, key: Any) -> Any:
    """Index with NumPy's positions: PyTorch has no negative steps, and another order of axes."""
    places = np.arange(x.numel()).reshape(tuple(x.shape))[key]
    return x.reshape(-1)[torch().tensor(places)]


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    places = np.arange(x.numel()).reshape(tuple(x.shape))
    if mode != "constant":
        options = {} if constant_values is None else {"constant_values": constant_values}
        return x.reshape(-1)[torch().tensor(np.pad(places, pad_width, mode, **options))]
    outside = torch().tensor(np.pad(places, pad_width, constant_values=-1))
    value = torch().tensor(constant_values or 0, dtype=x.dtype)
    inside = x.reshape(-1)[outside.clamp(min=0)] if x.numel() else x.new_zeros(outside.shape)
    return torch().where(outside < 0, value, inside)


def segment_sum(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    ids = torch().as_tensor(segment_ids).long()
    count = int(ids.max()) + 1 if num_segments is None else num_segments
    kept = (ids >= 0) & (ids < count)
    zeros = data.new_zeros((count, *data.shape[1:]))
    return zeros.index_add(0, ids[kept], data[kept])


def _by_segments(data: Any, segment_ids: Any, count: Any, reduce: str, start: float) -> Any:
    """Keras computes this in float32."""
    ids = torch().as_tensor(segment_ids).long()
    count = int(ids.max()) + 1 if count is None else count
    kept = (ids >= 0) & (ids < count)
    rows = data[kept]
    places = ids[kept].reshape(-1, *(1,) * (data.ndim - 1)).expand_as(rows)
    first = data.new_full((count, *data.shape[1:]), start)
    return first.scatter_reduce(0, places, rows, reduce)


def segment_max(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    lowest = -np.inf if data.is_floating_point() else -(2**31)
    return _by_segments(data, segment_ids, num_segments, "amax", lowest)


def segment_min(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    highest = np.inf if data.is_floating_point() else 2**31 - 1
    return _by_segments(data, segment_ids, num_segments, "amin", highest)


def segment_prod(
    data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False
) -> Any:
    return _by_segments(data, segment_ids, num_segments, "prod", 1)


def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    x = x if x.is_floating_point() else x.float()
    over = tuple(range(x.ndim)) if axis is None else axis
    if weights is None:
        return x.mean(over)
    if weights.shape != x.shape:
        axes = [a % x.ndim for a in ([axis] if isinstance(axis, int) else axis)]
        weights = weights.reshape([x.shape[a] if a in axes else 1 for a in range(x.ndim)])
    return (x * weights).sum(over) / (weights + 0 * x).sum(over)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """PyTorch's second derivative adds a small value to a divisor."""
    import keras

    if from_logits:
        return keras.ops.binary_crossentropy(target, output, True)
    if target.shape != output.shape:
        raise ValueError("shapes differ")
    y = output.clip(1e-7, 1 - 1e-7)
    return -target * y.log() - (1 - target) * (1 - y).log()


def sparsemax(x: Any, axis: int = -1) -> Any:
    x = x.movedim(axis, -1)
    x = x - x.amax(-1, True).detach()  # the same projection, by sums of smaller numbers
    ordered = x.sort(-1, descending=True).values
    ranks = torch().arange(1, x.shape[-1] + 1)
    inside = 1 + ranks * ordered > ordered.cumsum(-1)
    over = (torch().where(inside, ordered, 0).sum(-1, True) - 1) / inside.sum(-1, True)
    return torch().relu(x - over).movedim(-1, axis)


def squareplus(x: Any, b: float = 4.0) -> Any:
    """Keras's formula, in which nothing cancels and no square overflows."""
    z = x.clamp(-1e18, 1e18) * torch().where(x.isnan(), x, 1)
    size = torch().where(z >= 0, z, -z)
    return torch().where(x >= 0, x, 0) + b / (2 * ((z * z + b).sqrt() + size))


def hard_sigmoid(x: Any) -> Any:
    """PyTorch rounds 1/6 to float32."""
    return torch().nn.functional.relu6(x + 3) / 6


def hard_silu(x: Any) -> Any:
    where = torch().where
    bent = where(x.abs() >= 3, 0, x)
    return where(x >= 3, x, bent * (bent / 6 + 0.5)) + 0 * where(x.isnan(), x, 0)


def average_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
) -> Any:
    """Pixels outside the images are not counted, as on Keras's other backends."""
    import keras

    def pooled(x: Any) -> Any:
        return keras.ops.average_pool(x, pool_size, strides, "valid", data_format)

    if padding != "same":
        return pooled(inputs)
    first = data_format == "channels_first"
    axes = range(2, inputs.ndim) if first else range(1, inputs.ndim - 1)
    widths = [(0, 0)] * inputs.ndim
    sizes = (np.broadcast_to(n, len(axes)) for n in (pool_size, strides or pool_size))
    for axis, window, step in zip(axes, *sizes, strict=True):
        n = inputs.shape[axis]
        total = max((-(-n // step) - 1) * step + window - n, 0)
        widths[axis] = (total // 2, total - total // 2)
    inside = torch().ones_like(inputs)
    return pooled(pad(inputs, widths)) / pooled(pad(inside, widths))


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None) -> Any:
    import keras

    hits = keras.ops.one_hot(x, num_classes, -1, dtype)
    return hits.movedim(-1, axis)


def ldexp(x1: Any, x2: Any) -> Any:
    """PyTorch's gradient is 0 for negative x2."""
    x1 = x1 if x1.is_floating_point() else x1.float()
    return (x1.double() * 2.0 ** x2.double()).to(x1.dtype)


def _quantile(name: str, most: float) -> Any:
    def found(
        x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
    ) -> Any:
        """Keras converts q to float32."""
        x = x if x.is_floating_point() else x.float()
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        axes = [a % x.ndim for a in axes]
        rest = [a for a in range(x.ndim) if a not in axes]
        rows = x.permute(*rest, *axes).reshape(*(x.shape[a] for a in rest), -1)
        shares = torch().as_tensor(q, dtype=x.dtype) / most
        found = getattr(torch(), name)(rows, shares.reshape(-1), -1, interpolation=method)
        kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
        shape = kept if keepdims else [x.shape[a] for a in rest]
        return found.reshape(*shares.shape, *shape)

    return found


def associative_scan(f: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """One entry after the other; Keras's on PyTorch gives float32 for float64."""
    xs = elems if isinstance(elems, tuple) else (elems,)
    rows = list(zip(*(x.unbind(axis) for x in xs), strict=True))[:: -1 if reverse else 1]
    found = [rows[0]]
    for row in rows[1:]:
        made = f(*(now if isinstance(elems, tuple) else now[0] for now in (found[-1], row)))
        found.append(made if isinstance(elems, tuple) else (made,))
    turned = zip(*found[:: -1 if reverse else 1], strict=True)
    results = tuple(torch().stack(column, axis) for column in turned)
    return results if isinstance(elems, tuple) else results[0]


FUNCTIONS: dict[str, Any] = {
    f.__name__: f
    for f in (
        dot, get_item, pad, segment_sum, segment_max, segment_min, segment_prod, average, sparsemax,
        squareplus, hard_sigmoid, hard_silu, average_pool, binary_crossentropy, one_hot, ldexp,
        associative_scan,
    )
}  # fmt: skip
for skipping in ("", "nan"):
    FUNCTIONS[f"{skipping}quantile"] = _quantile(f"{skipping}quantile", 1.0)
    FUNCTIONS[f"{skipping}percentile"] = _quantile(f"{skipping}quantile", 100.0)
FUNCTIONS["hard_swish"] = hard_silu
