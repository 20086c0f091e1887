"""Tensors made of numbers and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.config import floatx

from .conversion import convert
from .dtypes import result_type, standard
from .shapes import broadcast_to
from .table import operation
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
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """From ``start`` on, or 0, in steps, up to what is before ``stop``."""
    given = [x.item() if isinstance(x, Tensor) else x for x in (start, stop, step)]
    values = np.arange(given[0], step=given[2]) if stop is None else np.arange(*given)
    kinds = [float if isinstance(x, float) else int for x in given if x is not None]
    return constant(values, standard(dtype) if dtype else result_type(*kinds))


@operation
def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True) -> Tensor:
    """So many numbers at equal distances."""
    return constant(np.linspace(start, stop, num, endpoint), floatx())


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
    x = convert(x)
    return x * convert(np.tri(x.shape[-2], x.shape[-1], k), x.dtype)


@operation
def triu(x: Any, k: int = 0) -> Tensor:
    """What is on and above a diagonal; 0 below it."""
    x = convert(x)
    return x * convert(1 - np.tri(x.shape[-2], x.shape[-1], k - 1), x.dtype)
