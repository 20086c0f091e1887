"""Running means of gradients, and what several optimizers correct them by."""

from __future__ import annotations

import math
from typing import Any, cast

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_below_one, check_not_negative
from gpunn.common.fields import field

from .optimizer import Optimizer


class _TwoMeans(Optimizer):
    """What optimizers share that keep two decaying means of the gradient."""

    parameter_names = cast("tuple[str, ...]", ("beta_1", "beta_2", "epsilon", "weight_decay"))

    learning_rate: Any = 0.001
    beta_1: float = field(default=0.9, check=check_below_one)
    beta_2: float = field(default=0.999, check=check_below_one)
    epsilon: float = field(default=1e-7, check=check_not_negative)
    weight_decay: float | None = None


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
