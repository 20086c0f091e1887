"""Running means of gradients, and what several optimizers correct them by."""

from __future__ import annotations

import math
from typing import Any

from gpunn.backends.contract.backend import Array, Backend


def averaged(backend: Backend, mean: Array, x: Array, keep: float, scratch: Array) -> None:
    """mean = keep mean + (1 - keep) x; x may be scratch."""
    backend.xp.multiply(mean, keep, out=mean)
    backend.xp.multiply(x, 1 - keep, out=scratch)
    backend.xp.add(mean, scratch, out=mean)


def approach(backend: Backend, mean: Array, x: Array, share: float, scratch: Array) -> None:
    """mean += (x - mean) share; x may be scratch."""
    backend.xp.subtract(x, mean, out=scratch)
    backend.xp.multiply(scratch, share, out=scratch)
    backend.xp.add(mean, scratch, out=mean)


def one_minus_power(backend: Backend, beta: float, t: Any) -> Any:
    """1 - beta^t, also where beta^t is so near 1 that the difference would lose its digits.

    For a number it is a plain one, with which arrays of float32 stay such.
    """
    exponent = t * (math.log1p(-(1 - beta)) if beta else -math.inf)
    return -(math.expm1(exponent) if isinstance(exponent, float) else backend.xp.expm1(exponent))
