"""Tensors made of numbers and shapes."""

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
    """One number everywhere."""
    value = convert(fill_value, dtype)
    return broadcast_to(value, [shape] if isinstance(shape, int) else shape)


@operation
def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """0 everywhere, in floatx by default."""
    return constant(np.zeros(shape), standard(dtype))


@operation
def ones(shape: Any, dtype: Any = None) -> Tensor:
    """1 everywhere, in floatx by default."""
    return constant(np.ones(shape), standard(dtype))


@operation
def zeros_like(x: Any, dtype: Any = None) -> Tensor:
    """0 in the shape of x."""
    x = convert(x)
    return zeros(x.shape, dtype or x.dtype)


@operation
def ones_like(x: Any, dtype: Any = None) -> Tensor:
    """1 in the shape of x."""
    x = convert(x)
    return ones(x.shape, dtype or x.dtype)


@operation
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One number in the shape of x."""
    x = convert(x)
    return full(x.shape, fill_value, dtype or x.dtype)


@operation
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """From ``start`` on, or 0, in steps, up to what is before ``stop``."""
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
    """So many numbers at equal distances, and their distance where ``retstep`` asks for it."""
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
    if whole:  # as in NumPy, those below 0 too
        found = ops.floor(found)
    known = whole and found.is_constant  # then numbers that the dtype does not hold are refused
    found = convert(found.numpy() if known else found, dtype)
    if not retstep:
        return found
    return found, step if steps > 0 else step * math.nan  # of one number there is none


@operation
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """1 on a diagonal, else 0."""
    return constant(np.eye(N, M, k), standard(dtype))


@operation
def identity(n: int, dtype: Any = None) -> Tensor:
    """1 on the diagonal, else 0."""
    return eye(n, dtype=dtype)


@operation
def tril(x: Any, k: int = 0) -> Tensor:
    """What is on and below a diagonal; 0 above it."""
    x = _matrices("tril", x)
    return _kept(np.tri(x.shape[-2], x.shape[-1], k, bool), x)


@operation
def triu(x: Any, k: int = 0) -> Tensor:
    """What is on and above a diagonal; 0 below it."""
    x = _matrices("triu", x)
    return _kept(~np.tri(x.shape[-2], x.shape[-1], k - 1, bool), x)


def _matrices(name: str, x: Any) -> Tensor:
    x = convert(x)
    if x.ndim < 2:
        raise ValueError(f"{name}: a matrix, or a stack of them, is expected; got shape {x.shape}.")
    return x


def _kept(where: np.ndarray, x: Tensor) -> Tensor:
    """x there, else 0: chosen, since 0 times what is not finite is no 0."""
    return ops.where(where, x, convert(0, x.dtype))
