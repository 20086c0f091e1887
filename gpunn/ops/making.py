"""Operations that create tensors from values and shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .conversion import convert, promoted
from .dtypes import is_float, result_type, standard
from .shapes import broadcast_to
from .table import operation, ops
from .tensor import Tensor, constant


@operation
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of the given shape, filled with one value."""
    value = convert(fill_value, dtype)
    return broadcast_to(value, [shape] if isinstance(shape, int) else shape)


@operation
def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of zeros, of dtype floatx by default."""
    return constant(np.zeros(shape), standard(dtype))


@operation
def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of ones, of dtype floatx by default."""
    return constant(np.ones(shape), standard(dtype))


@operation
def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of zeros with the shape and dtype of x."""
    x = convert(x)
    return zeros(x.shape, dtype or x.dtype)


@operation
def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """Create a tensor of ones with the shape and dtype of x."""
    x = convert(x)
    return ones(x.shape, dtype or x.dtype)


@operation
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """Create a tensor with the shape and dtype of x, filled with one value."""
    x = convert(x)
    return full(x.shape, fill_value, dtype or x.dtype)


@operation
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """Create evenly spaced values from ``start`` (0 by default) up to, but excluding, ``stop``.

    >>> from gpunn import ops
    >>> ops.arange(3).tolist(), ops.arange(1, 6, 2).tolist()
    ([0, 1, 2], [1, 3, 5])
    """
    first, end = (0, start) if stop is None else (start, stop)
    ends = (first, end, 1 if step is None else step)
    given = [x.item() if isinstance(x, Tensor) else x for x in ends]
    values = np.arange(*given)
    kinds = [float if isinstance(x, float) else int for x in given]
    return convert(values, dtype or result_type(*kinds))


@operation
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Create ``num`` evenly spaced values from start to stop; with ``retstep``, also return the
    step.

    >>> from gpunn import ops
    >>> ops.linspace(0.0, 1.0, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if num < 0:
        raise ValueError(f"linspace: num must be 0 or more; got {num}.")
    whole = dtype is not None and not is_float(standard(dtype))
    a, b = promoted(start, stop, at_least="float64" if whole else "float32")
    steps = num - 1 if endpoint else num
    step = (b - a) / float(max(steps, 1))
    places = np.arange(num).reshape(num, *(1,) * step.ndim)
    found = a + step * convert(places, step.dtype)
    if endpoint and num > 1:
        found = ops.where(places == num - 1, b, found)
    found = ops.moveaxis(found, 0, axis)
    if whole:  # as in NumPy, also below 0
        found = ops.floor(found)
    known = whole and found.is_constant  # then values that the dtype cannot hold raise an error
    found = convert(found.numpy() if known else found, dtype)
    if not retstep:
        return found
    return found, step if steps > 0 else step * math.nan  # one value has no step


@operation
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Create a matrix with 1 on a diagonal and 0 elsewhere."""
    return constant(np.eye(N, M, k), standard(dtype))


@operation
def identity(n: int, dtype: Any = None) -> Tensor:
    """Create the identity matrix."""
    return eye(n, dtype=dtype)


@operation
def tril(x: Any, k: int = 0) -> Tensor:
    """Return the lower triangle: elements above a diagonal become 0."""
    x = _matrices("tril", x)
    return _kept(np.tri(x.shape[-2], x.shape[-1], k, bool), x)


@operation
def triu(x: Any, k: int = 0) -> Tensor:
    """Return the upper triangle: elements below a diagonal become 0."""
    x = _matrices("triu", x)
    return _kept(~np.tri(x.shape[-2], x.shape[-1], k - 1, bool), x)


def _matrices(name: str, x: Any) -> Tensor:
    x = convert(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: expected a matrix, or a stack of them; got shape {x.shape}.")
    return x


def _kept(where: np.ndarray, x: Tensor) -> Tensor:
    """Return x where the mask holds, else 0: by choice, as 0 times a non-finite value is not 0."""
    return ops.where(where, x, convert(0, x.dtype))
